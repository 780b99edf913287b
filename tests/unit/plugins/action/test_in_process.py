# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions that do a module's work in the process of the play: the outcome is that of the module."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.plugin_utils._in_process import plain

PLUGINS = "ansible_collections.stateful.galera.plugins"
ROOT = Path(__file__).resolve().parents[4]
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - stateful.galera.cluster:
        name: %(name)s
        namespace: db
        size: 1
        phases: []
        host: http://127.0.0.1:9
        api_key: unused
        passwords: {root-password: Fender2000}
      %(keyword)s
"""
# A task that asks for something else than this process, and what asks for nothing
ELSEWHERE = ["environment: {LANG: C}", "vars: {ansible_python_interpreter: '%(folder)s/python'}", "async: 60"]
HERE = ["environment: {}", "no_log: false"]
UNREACHABLE = "The API server at http://127.0.0.1:9 does not answer"


def run(folder: Path, keyword: str, name: str = "demo") -> str:
    """Return the output of a play with one task that cannot reach an API server."""
    (folder / "play.yml").write_text(PLAY % {"keyword": keyword % {"folder": folder}, "name": name})
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / "python").chmod(0o755)
    (folder / "ansible.cfg").touch()
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "play.yml", "-vvv"]
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections"),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "COLUMNS": "1000",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout
    return done.stdout + done.stderr


@pytest.mark.parametrize("keyword", HERE)
def test_the_work_is_done_in_the_process_of_the_play(tmp_path: Path, keyword: str) -> None:
    output = run(tmp_path, keyword)
    assert UNREACHABLE in output
    assert " EXEC " not in output, "a process was started"
    assert "Fender2000" not in output


@pytest.mark.parametrize("keyword", ELSEWHERE)
def test_the_module_runs_where_the_task_asks_for_something_else(tmp_path: Path, keyword: str) -> None:
    output = run(tmp_path, keyword)
    assert " EXEC " in output
    assert UNREACHABLE in output
    assert "Fender2000" not in output


@pytest.mark.parametrize("keyword", [HERE[0], ELSEWHERE[0]])
def test_a_password_that_an_error_would_show_is_hidden(tmp_path: Path, keyword: str) -> None:
    """Here the name of the cluster holds it, which the message repeats."""
    output = run(tmp_path, keyword, name="Fender2000")
    assert "is no DNS label" in output
    assert "Fender2000" not in output


class Tagged(str):
    """As the texts that templates make."""


def test_options_are_as_plain_as_a_module_gets_them() -> None:
    found = plain({Tagged("a"): [Tagged("b"), {"c": (Tagged("d"), 1, None, True, 0.5)}]})
    assert found == {"a": ["b", {"c": ["d", 1, None, True, 0.5]}]}
    texts = [*found, found["a"][0], *found["a"][1], found["a"][1]["c"][0]]
    assert [type(text) for text in texts] == [str, str, str, str]


@pytest.mark.parametrize("name", ["cluster", "lease", "restore", "rollout", "seed", "wsrep_info"])
def test_module_and_action_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"{PLUGINS}.modules.{name}")
    action = importlib.import_module(f"{PLUGINS}.action.{name}").ActionModule
    seen: list[Any] = []
    monkeypatch.setattr(module, "AnsibleModule", lambda argument_spec, supports_check_mode: argument_spec)
    monkeypatch.setattr(module, "run", lambda spec, work: seen.extend([spec, work]))
    module.main()
    assert seen == [action.argument_spec, action.work]
