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
from ansible_collections.stateful.galera.plugins.plugin_utils._in_process import is_path, masked, plain

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
        %(more)s
        passwords: {root-password: Fender2000}
      %(keyword)s
"""
SERVER = "host: http://127.0.0.1:9\n        api_key: unused"
# A task that asks for something else than this process, and what asks for nothing
ELSEWHERE = ["environment: {LANG: C}", "vars: {ansible_python_interpreter: '%(folder)s/python'}", "async: 60"]
HERE = ["environment: {}", "no_log: false"]
UNREACHABLE = "The API server at http://127.0.0.1:9 does not answer"


def run(folder: Path, keyword: str, name: str = "demo", more: str = SERVER) -> str:
    """Return the output of a play with one task that cannot reach an API server."""
    (folder / "play.yml").write_text(PLAY % {"keyword": keyword % {"folder": folder}, "name": name, "more": more})
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


@pytest.mark.parametrize("word", ["healthy", "Synced", "created", "demo-galera-0", "1", "True", "e"])
def test_a_password_that_is_a_word_of_the_facts_does_not_change_them(word: str) -> None:
    facts = {
        "changed": True,
        "status": {
            "cluster": {"verdict": "healthy", "size": 1},
            "nodes": [{"pod": "demo-galera-0", "state": "Synced"}],
        },
        "objects": [{"kind": "StatefulSet", "name": "demo-galera", "result": "created"}],
        "seed": "not_needed",
    }
    assert masked(facts, {word}) == facts


def test_a_password_in_what_is_shown_is_hidden() -> None:
    """Wherever it stands: messages, warnings, differences, unknown keys, and sentences among the facts."""
    result = {
        "msg": "it is Fender2000",
        "warnings": ["Fender2000 is meant"],
        "diff": [{"before": "a: Fender2000", "after": "b"}],
        "exception": "Fender2000",
        "log": ["Fender2000"],
        "else": {"any": "Fender2000"},
        "nodes": [{"reason": "refused with Fender2000 by the node", "note": ("says Fender2000",)}],
        "cluster": {"text": "the word Fender2000"},
    }
    shown = masked(result, {"Fender2000"})
    assert "Fender2000" not in str(shown)
    assert set(shown) == set(result)


def test_the_path_of_a_kubeconfig_is_told_with_its_variable(tmp_path: Path) -> None:
    (tmp_path / "nowhere").mkdir()
    output = run(tmp_path, HERE[0], more=f"kubeconfig: {tmp_path}/nowhere\n        context: other")
    assert f"(galera_cluster_kubeconfig={tmp_path}/nowhere, galera_cluster_context=other): " in output


def test_the_content_of_a_kubeconfig_is_not_told(tmp_path: Path) -> None:
    output = run(tmp_path, HERE[0], more="kubeconfig: {users: [{user: {token: Fender2000}}]}")
    assert "Fender2000" not in output
    output = run(tmp_path, HERE[0], more="kubeconfig: 'apiVersion: {Fender2000}'")
    assert "Fender2000" not in output


@pytest.mark.parametrize(
    ("kubeconfig", "expected"),
    [("~/.kube/config", True), ("{a: b}", False), ("a: b", False), ("a\nb", False), ({"a": "b"}, False), (None, False)],
)
def test_what_is_the_path_of_a_kubeconfig(kubeconfig: Any, expected: bool) -> None:
    assert is_path(kubeconfig) is expected


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
