# SPDX-License-Identifier: GPL-3.0-or-later
"""The status role where the API server cannot be asked; tests/e2e/test_operations.py has it with one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import INVENTORIES, ROOT, collection_environment

# Variables as YAML and --extra-vars give them, templates, what they must say
BOOLEANS: list[tuple[dict[str, object], str, bool]] = [
    ({"galera_status_wait": "false"}, "{{ __wait }}", False),
    ({"galera_status_wait": "no"}, "{{ __wait }}", False),
    ({"galera_status_wait": "true"}, "{{ __wait }}", True),
    ({"galera_status_wait": True}, "{{ __wait }}", True),
    ({"galera_cluster_backup_s3_path_style": False}, "{{ __galera_backup_s3.path_style }}", False),
    ({"galera_cluster_backup_s3_path_style": "false"}, "{{ __galera_backup_s3.path_style }}", False),
    ({"galera_cluster_backup_s3_path_style": ""}, "{{ __galera_backup_s3.path_style }}", True),
    ({"galera_cluster_backup_enabled": ""}, "{{ __galera_backup }}", True),
    ({"galera_cluster_backup_enabled": "no"}, "{{ __galera_backup }}", False),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """What the templates of BOOLEANS say."""
    folder = tmp_path_factory.mktemp("booleans")
    status: list[dict[str, Any]] = yaml.safe_load((ROOT / "roles/galera_status/tasks/main.yml").read_text())
    wait = status[0]["block"][0]["stateful.galera.wsrep_info"]["wait"]
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.import_role": {"name": "stateful.galera.galera", "rolespec_validate": False}}
    ]
    tasks += [
        {
            "ansible.builtin.copy": {"dest": str(folder / str(number)), "content": f"{template}", "mode": "0600"},
            "vars": {**given, "__wait": wait},
        }
        for number, (given, template, _) in enumerate(BOOLEANS)
    ]
    play = {"hosts": "template_target", "connection": "local", "gather_facts": False, "tasks": tasks}
    (folder / "play.yml").write_text(yaml.safe_dump([{**play, "vars": {"ansible_python_interpreter": sys.executable}}]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(INVENTORIES["local"]), "play.yml"]
    command += [
        "-e",
        "galera_cluster_backup_s3_bucket=backups",
        "-e",
        "galera_cluster_backup_s3_endpoint=https://s3.example",
    ]
    done = subprocess.run(
        command, cwd=folder, env=collection_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [yaml.safe_load((folder / str(number)).read_text()) for number in range(len(BOOLEANS))]


@pytest.mark.parametrize("number", range(len(BOOLEANS)))
def test_what_is_false_as_text_is_false(number: int, said: list[object]) -> None:
    assert said[number] is BOOLEANS[number][2]


@pytest.mark.parametrize("playbook", ["status", "recover", "teardown"])
def test_relative_paths_begin_where_the_play_was_started(tmp_path: Path, playbook: str) -> None:
    """Not in the collection, where its modules begin. Without an answer of the API server the JSON says so."""
    # port 1 of the loopback: nobody listens
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "away", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "away", "context": {"cluster": "away", "user": "nobody"}}],
        "users": [{"name": "nobody", "user": {}}],
        "current-context": "away",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    program = str(Path(sys.executable).parent / "ansible-playbook")
    command = [
        program,
        "-i",
        str(INVENTORIES["local"]),
        f"stateful.galera.{playbook}",
        "--check",
        "-e",
        "galera_status_output=status.json galera_cluster_kubeconfig=kubeconfig galera_teardown_confirm=demo",
    ]
    (tmp_path / "ansible.cfg").touch()
    environment = {**collection_environment(), "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "127.0.0.1" in done.stdout + done.stderr
    if playbook != "status":
        return
    seen = json.loads((tmp_path / "status.json").read_text())
    assert (seen["name"], seen["verdict"], seen["nodes"]) == ("demo", "unknown", [])
    assert seen["reason"].startswith("The API server at https://127.0.0.1:1 does not answer")
    assert seen["reason"] in " ".join(done.stdout.split())


def test_a_kubeconfig_behind_a_link_keeps_its_folder(tmp_path: Path) -> None:
    """Relative paths of certificates in it begin there, as with kubectl, not where the link leads to."""
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "kubeconfig").symlink_to(tmp_path / "elsewhere")
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.import_role": {"name": "stateful.galera.galera", "rolespec_validate": False}},
        {"ansible.builtin.copy": {"dest": f"{tmp_path}/said", "content": "{{ __galera_kubeconfig }}", "mode": "0600"}},
    ]
    play = {"hosts": "template_target", "connection": "local", "gather_facts": False, "tasks": tasks}
    play["vars"] = {"ansible_python_interpreter": sys.executable}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(INVENTORIES["local"]), "play.yml"]
    command += ["-e", "galera_cluster_kubeconfig=inventory/kubeconfig"]
    done = subprocess.run(
        command, cwd=tmp_path, env=collection_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "said").read_text() == str(tmp_path / "inventory" / "kubeconfig")
