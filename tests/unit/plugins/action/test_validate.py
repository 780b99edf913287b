# SPDX-License-Identifier: GPL-3.0-or-later
"""The action as plays use it: real ansible-playbook runs with real inventories."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.stateful.galera.plugins.action.validate import read_spec

ROOT = Path(__file__).resolve().parents[4]
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - stateful.galera.validate:
"""
HOSTS = "\n[template_target]\nlocalhost ansible_connection=local\n"


def play(folder: Path, inventory: str, *arguments: str, tasks: str = PLAY) -> tuple[int, str]:
    """Return exit code and output of a play that checks an inventory."""
    (folder / "ansible.cfg").touch()
    (folder / "play.yml").write_text(tasks)
    (folder / "galera.conf").write_text("[all:vars]\n" + inventory + HOSTS)
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "galera.conf", "play.yml", *arguments]
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections"),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "COLUMNS": "1000",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [[], ["--check", "--diff"]])
def test_right_variables_change_nothing(tmp_path: Path, arguments: list[str]) -> None:
    code, output = play(tmp_path, "galera_cluster_name=demo\ngalera_cluster_size=3\n", *arguments)
    assert code == 0
    assert "ok=1    changed=0" in output
    assert "WARNING" not in output


def test_all_problems_are_one_message_without_passwords(tmp_path: Path) -> None:
    inventory = """
galera_cluster_name=Demo
galera_cluster_sise=3
galera_cluster_size=2.5
galera_cluster_docker_image=11.10
galera_cluster_volume_size=10Gi # thin
galera_mysql_password=1e5
galera_mysql_root_password={"a": "Fender2000"}
"""
    code, output = play(tmp_path, inventory, "-vvv")
    assert code == 2
    # in the order of their variables, a line each
    places = [
        output.index(line)
        for line in (
            "galera_cluster_docker_image is 11.1, but must be an image reference with its tag",
            'galera_cluster_name is "Demo", but must be a DNS label',
            "galera_cluster_sise is not a variable of this collection: did you mean galera_cluster_size?\n",
            "galera_cluster_size is 2.5, but must be a whole number of nodes from 1 to 99.\n",
            'galera_cluster_volume_size is "10Gi # thin", but must be a size',
            "galera_mysql_password is a number (not shown), but must be text",
            "galera_mysql_root_password is a dictionary (not shown), but must be text",
        )
    ]
    assert places == sorted(places)
    assert "Fender2000" not in output
    assert "100000" not in output


def test_a_warning_does_not_stop_the_play(tmp_path: Path) -> None:
    code, output = play(tmp_path, "galera_cluster_name=demo\ngalera_cluster_size=2\n")
    assert code == 0
    assert "galera_cluster_size is 2: a cluster of fewer than 3 nodes stops serving when one node is lost." in output


def test_a_variable_that_cannot_be_evaluated_is_named_beside_the_others(tmp_path: Path) -> None:
    inventory = (
        'galera_cluster_name="{{ nowhere }}"\ngalera_cluster_size=0\ngalera_mysql_user="{{ (1 / 0) | string }}"\n'
    )
    code, output = play(tmp_path, inventory)
    assert code == 2
    assert "galera_cluster_name cannot be evaluated: 'nowhere' is undefined.\n" in output
    assert "galera_cluster_size is 0, but must be" in output
    assert "galera_mysql_user cannot be evaluated: " in output
    assert "galera_cluster_name is missing" not in output


def test_templates_are_evaluated_and_omitted_variables_left_out(tmp_path: Path) -> None:
    inventory = 'base=de\ngalera_cluster_name="{{ base }}mo"\ngalera_mysql_user="{{ omit }}"\n'
    inventory += 'galera_cluster_mycnf={"max_connections": "{{ 2 * 250 }}"}\n'
    assert play(tmp_path, inventory)[0] == 0


PASSWORD_TEMPLATES = ["Fen{%der2000", "Fen{{der2000", "{{ Fender2000 }}", "{% Fender2000 %}"]


@pytest.mark.parametrize("password", PASSWORD_TEMPLATES)
def test_a_password_that_looks_like_a_template_is_not_quoted(tmp_path: Path, password: str) -> None:
    code, output = play(tmp_path, f"galera_cluster_name=demo\ngalera_mysql_password='{password}'\n")
    assert code == 2
    assert "galera_mysql_password cannot be evaluated: its template is wrong; " in output
    assert "Fen" not in output
    assert "2000" not in output


# beside the host localhost
FLEET = """
galera_cluster_name="{{ 'demo' }}"
[galera]
beta ansible_connection=local %s
"""


@pytest.mark.parametrize("one", ["", "galera_cluster_namespace=default", "galera_cluster_kubeconfig="])
def test_two_hosts_that_mean_one_cluster_are_refused(tmp_path: Path, one: str) -> None:
    code, output = play(tmp_path, FLEET % one)
    assert code == 2
    said = (
        'galera_cluster_name is "demo" and galera_cluster_namespace "default" for the hosts beta and localhost, '
        "but each host of an inventory must mean a cluster of its own: "
    )
    assert output.count("failed=1") == 2
    assert said in output


@pytest.mark.parametrize(
    "one",
    [
        "galera_cluster_namespace=web",
        "galera_cluster_context=other",
        "galera_cluster_kubeconfig=~/.kube/other",
        "galera_cluster_name=other",
        "galera_cluster_name='{{ nowhere }}'",
    ],
)
def test_hosts_that_mean_clusters_of_their_own(tmp_path: Path, one: str) -> None:
    output = play(tmp_path, FLEET % one)[1]
    assert "a cluster of its own" not in output
    assert output.count("failed=0") == (1 if "nowhere" in one else 2)


def test_hosts_that_the_play_leaves_out_do_not_count(tmp_path: Path) -> None:
    assert play(tmp_path, FLEET % "", "--limit", "beta")[0] == 0


def test_arguments_are_refused(tmp_path: Path) -> None:
    code, output = play(tmp_path, "galera_cluster_name=demo\n", tasks=PLAY.rstrip() + " {name: demo}\n")
    assert code == 2
    assert "Unsupported parameters" in output


def test_variables_of_other_roles_are_known_by_name(tmp_path: Path) -> None:
    files = {
        "galera/meta/argument_specs.yml": "argument_specs: {main: {options: {galera_a: {type: str}}}}",
        "galera_more/meta/argument_specs.yml": "argument_specs: {main: {options: {galera_more_b: {type: str}, "
        "galera_more_d: {type: bool}, galera_more_e: {type: path}}}, other: {}}",
        "galera_more/defaults/main.yml": "galera_a: x\ngalera_more_c: y\n",
        "galera_none/defaults/main.yml": "---\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    checked = {"galera_a": {"type": "str"}, "galera_more_d": {"type": "bool"}, "galera_more_e": {"type": "path"}}
    assert read_spec(tmp_path) == (checked, {"galera_more_b", "galera_more_c"})


@pytest.mark.parametrize(("value", "code"), [("maybe", 2), ("", 2), ("false", 0), ("Yes", 0)])
def test_a_variable_of_another_role_that_is_true_or_false_is_checked_at_once(
    tmp_path: Path, value: str, code: int
) -> None:
    done, output = play(tmp_path, "galera_cluster_name=demo\n", "-e", f"galera_status_wait={value}")
    assert done == code, output
    assert (f'galera_status_wait is "{value}", but must be true or false.\n' in output) == bool(code)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("5", "galera_status_output is 5, but must be a path; it was read as a number, so write it in quotes."),
        ("null", "galera_status_output is null, but must be a path."),
        ('["a"]', 'galera_status_output is ["a"], but must be a path; it was read as a list, so write it in quotes.'),
        ('"none/x.json"', "must be a file in a folder that exists: there is no folder none."),
        ('"."', "must be a file in a folder that exists: this is a folder."),
        ('"new/"', "must be a file in a folder that exists: this is a folder."),
        ('"tier1.json"', ""),
        ('""', ""),
    ],
)
def test_a_file_that_is_written_at_the_end_is_checked_at_once(tmp_path: Path, value: str, says: str) -> None:
    code, output = play(tmp_path, "galera_cluster_name=demo\n", "-e", f'{{"galera_status_output": {value}}}')
    assert code == (2 if says else 0), output
    assert says in output
