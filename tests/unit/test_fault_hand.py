# SPDX-License-Identifier: GPL-3.0-or-later
"""What the harness does on a machine, as far as it needs none."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fault.workload import hand

CHAIN = """Chain GALERA-FAULT (2 references)
    pkts      bytes target     prot opt in     out     source               destination
      12     1040 DROP       all  --  *      *       10.0.0.1             0.0.0.0/0
       3      180 DROP       all  --  *      *       0.0.0.0/0            10.0.0.1
"""


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand, "MACHINE", "")


def test_the_position_of_a_copy_is_recovered_with_its_binary_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As start.sh does it: the oracle must not have less than the node has acknowledged."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(list(command))
        return subprocess.CompletedProcess(command, 0, "WSREP: Recovered position: u:7", "")

    monkeypatch.setattr(hand.subprocess, "run", run)
    monkeypatch.setattr(hand.shutil, "copytree", lambda *_, **__: None)
    (tmp_path / "ibdata1").touch()
    found = json.loads(hand.recover(str(tmp_path), "/fault/galera.cnf"))
    assert found == {"partial": False, "log": "WSREP: Recovered position: u:7"}
    (server,) = [command for command in commands if command[0] == "mariadbd"]
    assert "--wsrep-recover" in server
    assert not [word for word in server if "log-bin" in word]


@pytest.mark.parametrize(("listed", "packets"), [(CHAIN, 15), ("", 0), ("\n".join(CHAIN.splitlines()[:2]), 0)])
def test_packets_that_met_the_rules_are_counted(listed: str, packets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand, "some_pid", lambda uid: 1)
    monkeypatch.setattr(hand, "in_net", lambda *_, **__: listed)
    assert hand.taken("uid") == packets


def test_what_interrupts_a_state_transfer_tells_whether_it_went_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hand, "pids", lambda uid, name: [])
    (tmp_path / "ibdata1").write_bytes(b"x" * 100)
    begun = json.loads(hand.until_size(str(tmp_path), "100", "1", "signal", "uid", "mariadbd", "KILL"))
    assert begun == {"bytes": 100, "under_way": False, "done": '{"mariadbd": 0}'}
    (tmp_path / "sst_in_progress").touch()
    assert json.loads(hand.until_size(str(tmp_path), "100", "1", "size", "/proc/self/nothing"))["under_way"] is True
    assert hand.act("joining", str(tmp_path)) == "yes"
