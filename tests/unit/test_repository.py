# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the repository as a whole."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import ROOT

NOT_OURS = {".git", ".venv", ".ansible", ".mypy_cache", ".pytest_cache", ".ruff_cache", "__pycache__"}
PLAYBOOKS = sorted((ROOT / "playbooks").iterdir())
# Lines; tests are tables for the most part
LONGEST, LONGEST_TEST = 400, 600
# What a play says before its tasks, beside its name; render asks nothing of Kubernetes
HEAD: dict[str, Any] = {
    "hosts": "galera:template_target",
    "gather_facts": False,
    "connection": "local",
    "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
    "module_defaults": {
        "group/stateful.galera.galera": {"kubeconfig": "{{ __galera_kubeconfig }}", "context": "{{ __galera_context }}"}
    },
}


def _paths() -> Iterator[Path]:
    """All files and folders, without what tools leave behind; symbolic links are not followed."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        yield from (Path(folder) / name for name in [*folders, *files])


def _files(*suffixes: str) -> list[Path]:
    return [path for path in _paths() if path.suffix in suffixes and path.is_file()]


def test_no_folder_is_a_symbolic_link() -> None:
    assert [path for path in _paths() if path.is_symlink() and path.is_dir()] == []


def test_python_files_can_be_read_in_one_go() -> None:
    for path in _files(".py"):
        limit = LONGEST_TEST if "tests" in path.relative_to(ROOT).parts else LONGEST
        lines = len(path.read_text().splitlines())
        assert lines <= limit, f"{path} has {lines} lines"


def test_code_files_tell_their_licence() -> None:
    for path in _files(".py", ".sh"):
        head = path.read_text().splitlines()[:5]
        assert "# SPDX-License-Identifier: GPL-3.0-or-later" in head, path


def test_no_file_knows_where_this_checkout_lies() -> None:
    here = re.compile(rf"(?<![\w./-]){re.escape(str(ROOT))}\b")
    texts = _files(".py", ".sh", ".yml", ".yaml", ".md", ".conf", ".cnf", ".j2", ".toml")
    assert [path for path in texts if here.search(path.read_text())] == []


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.name)
def test_playbooks_have_the_same_head(path: Path) -> None:
    assert re.fullmatch(r"[a-z][a-z_]*\.yml", path.name), "the name is part of a full collection name"
    text = path.read_text()
    assert re.match(r"---\n# [A-Za-z]", text), "the first line says what it is for"
    (play,) = yaml.safe_load(text)
    tasks, head = play.pop("tasks"), {name: value for name, value in play.items() if name != "name"}
    assert head == {
        name: value for name, value in HEAD.items() if path.name != "render.yml" or name != "module_defaults"
    }
    assert tasks[0] == {
        "name": "Read the inventory",
        "ansible.builtin.import_role": {"name": "stateful.galera.galera", "rolespec_validate": False},
    }
    assert all(set(task) <= {"name", "ansible.builtin.import_role", "vars"} for task in tasks), "the work is in roles"


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.name)
def test_playbooks_are_documented(path: Path) -> None:
    row = re.compile(rf"^\| `stateful\.galera\.{path.stem}` \| \w.*\|$", flags=re.MULTILINE)
    assert row.search((ROOT / "README.md").read_text())


def test_there_is_one_version() -> None:
    sys.path.insert(0, str(ROOT / "images" / "agent"))
    from galera_agent import __version__ as agent

    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    role = yaml.safe_load((ROOT / "roles" / "galera" / "vars" / "main.yml").read_text())["__galera_version"]
    image = yaml.safe_load((ROOT / "roles" / "galera" / "defaults" / "main.yml").read_text())
    assert {galaxy, role, agent, image["galera_cluster_backup_agent_image"].rpartition(":")[2]} == {"1.0.0"}


def test_roles_have_spec_and_meta() -> None:
    for role in (ROOT / "roles").iterdir():
        spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]
        defaults = role / "defaults" / "main.yml"
        given = yaml.safe_load(defaults.read_text()) if defaults.is_file() else {}
        assert {name: about["default"] for name, about in spec["options"].items() if "default" in about} == given, role
        meta = yaml.safe_load((role / "meta" / "main.yml").read_text())
        assert meta["galaxy_info"]["description"][0].isupper(), role
        assert meta["dependencies"] == [], role


def test_variables_of_roles_are_prefixed() -> None:
    for path in ROOT.glob("roles/*/vars/*.yml"):
        role = path.parent.parent.name
        assert all(name.startswith(f"__{role}_") for name in yaml.safe_load(path.read_text())), path
