# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _holder

PLAY = ["python", "/opt/bin/ansible-playbook", "site.yml"]
MODULE = ["python", "/tmp/ansible-tmp-1/AnsiballZ_cluster.py"]
SHELL = ["/bin/sh", "-c", "python /tmp/ansible-tmp-1/AnsiballZ_cluster.py"]


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc of one machine."""
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("0b00-7\n")
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026531836]")
    return tmp_path


def _add(proc: Path, pid: int, parent: int, command: list[str], started: int = 0) -> None:
    (proc / str(pid)).mkdir()
    fields = ["S", str(parent), *["0"] * 17, str(started or pid * 10), "0"]
    (proc / str(pid) / "stat").write_text(f"{pid} (py) thon) {' '.join(fields)}\n")
    (proc / str(pid) / "cmdline").write_text("".join(f"{word}\0" for word in command))


def test_modules_of_a_play_have_one_holder(proc: Path) -> None:
    _add(proc, 1, 0, ["init"])
    _add(proc, 50, 1, ["bash", "-c", "ansible-playbook site.yml"])
    _add(proc, 100, 50, PLAY)
    for worker, shell, module in ((110, 111, 112), (120, 121, 122)):
        _add(proc, worker, 100, PLAY)
        _add(proc, shell, worker, SHELL)
        _add(proc, module, shell, MODULE)
    first, outlives = _holder.current(proc, 112)
    second, _ = _holder.current(proc, 122)
    # in the process of the play itself
    third, _ = _holder.current(proc, 110)
    assert (first.pid, first.started, outlives) == (100, 1000, True)
    assert first == second == third
    assert (first.boot, first.pid_namespace) == ("0b00-7", 4026531836)


def test_play_that_a_play_started_is_a_run_of_its_own(proc: Path) -> None:
    _add(proc, 100, 1, PLAY)
    _add(proc, 110, 100, PLAY)
    _add(proc, 120, 110, ["python", "molecule", "test"])
    _add(proc, 130, 120, ["python", "/opt/bin/ansible-playbook", "inner.yml"])
    _add(proc, 140, 130, MODULE)
    assert _holder.current(proc, 140)[0].pid == 130


def test_worker_that_a_killed_play_leaves_behind_stays_that_plays(proc: Path) -> None:
    """It goes on with the items of its loop."""
    _add(proc, 1, 0, ["init"])
    _add(proc, 100, 1, PLAY)
    _add(proc, 110, 100, PLAY)
    before = _holder.current(proc, 110)
    stat = proc / "110/stat"
    stat.write_text(stat.read_text().replace(" S 100 ", " S 1 "))
    assert before[0].pid == 100
    assert _holder.current(proc, 110) == before
    # another process that got its number
    stat.write_text(stat.read_text().replace(" 1100 ", " 2200 "))
    assert _holder.current(proc, 110)[0].pid == 110


def test_process_outside_of_ansible_stands_for_itself(proc: Path) -> None:
    _add(proc, 1, 0, ["init"])
    _add(proc, 70, 1, ["pytest"])
    holder, outlives = _holder.current(proc, 70)
    assert (holder.pid, outlives) == (70, False)


def test_identity_comes_back() -> None:
    holder, _ = _holder.current()
    assert _holder.Holder.parse(str(holder)) == holder
    assert _holder.describe(str(holder)) == f"{holder.user}@{holder.host} (process {holder.pid})"
    assert _holder.Holder.parse("tier1-galera-0") is None
    assert _holder.describe("tier1-galera-0") == "tier1-galera-0"


def test_this_process_lives() -> None:
    holder, _ = _holder.current()
    assert not holder.is_dead()
    assert dataclasses.replace(holder, started=holder.started - 1).is_dead(), "its number is another process's now"


def test_ended_process_is_dead_where_it_could_be_seen() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    started = _holder._started(_holder.PROC, child)
    ended = dataclasses.replace(_holder.current()[0], pid=child, started=started)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert ended.is_dead(), "nobody has waited for it"
    os.waitpid(child, 0)
    assert ended.is_dead()
    assert not dataclasses.replace(ended, boot="00-1").is_dead(), "of another machine nothing is known"
    assert not dataclasses.replace(ended, pid_namespace=1).is_dead(), "of another container nothing is known"
