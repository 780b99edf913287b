# SPDX-License-Identifier: GPL-3.0-or-later
"""Child processes: what they tell at their end, and that they end with all they have started."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from agent_fakes import Clock
from galera_agent.backup.child import Child, Children


def until(find: Callable[[], Mapping[str, Any] | bool | None]) -> Any:
    end = time.monotonic() + 30
    while not (found := find()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def child(code: str, clock: Clock) -> Child:
    return Child(["tick"], clock, (sys.executable, "-c", f"import json, subprocess, time\n{code}"))


def test_a_child_tells_its_end(clock: Clock) -> None:
    found = child("print('noise'); print('[1]'); print(json.dumps({'type': 'end', 'state': 'succeeded'}))", clock)
    assert until(found.result) == {"type": "end", "state": "succeeded"}


def test_a_child_that_fails_tells_where_it_was_at_work(clock: Clock) -> None:
    result = until(child("print(json.dumps({'type': 'begin', 'targets': ['a']})); 1 / 0", clock).result)
    assert (result["state"], result["tried"]) == ("failed", ["a"])


def test_a_child_that_ends_without_a_word(clock: Clock) -> None:
    result = until(child("raise SystemExit(7)", clock).result)
    assert (result["state"], result["message"]) == ("failed", "the process ended with 7")


def test_a_child_that_has_told_its_end_is_not_waited_for(clock: Clock) -> None:
    """A thread of it may wait for a target that answers nothing."""
    found = child("print(json.dumps({'type': 'end', 'state': 'succeeded'}), flush=True); time.sleep(600)", clock)
    assert until(found.result) == {"type": "end", "state": "succeeded"}


def test_a_child_that_cannot_be_killed_has_told_its_end(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may keep it for as long as a server of NFS is away."""
    found = child("print(json.dumps({'type': 'end', 'state': 'succeeded'}), flush=True); time.sleep(600)", clock)
    until(lambda: found.last)
    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", lambda pid, number: None)
        assert found.result() is None
        clock.now += 4
        assert found.result() is None
        clock.now += 2
        assert found.result() == {"type": "end", "state": "succeeded"}
    until(found.result)
    os.killpg(found._process.pid, signal.SIGKILL)


def test_what_a_child_waits_for_that_cannot_be_killed_no_other_one_asks(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else there would be one more of them with each backup, and each round of the archive."""
    told = json.dumps({"type": "end", "state": "succeeded", "silent": ["volume /backups"]})
    asked: list[tuple[str, ...]] = []

    def start(words: Sequence[str]) -> Child:
        asked.append(tuple(words))
        return child(f"print({told!r}, flush=True); time.sleep(600)", clock)

    children = Children(start)
    first = children(["tick"])
    until(lambda: first.last)
    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", lambda pid, number: None)
        assert first.result() is None
        clock.now += 6
        assert first.result() is not None
        others = [children([one]) for one in ("archive", "tick", "verify")]
    for one in (first, *others):
        until(lambda one=one: one.result() if not one.alive else one.result() and None)
    children(["tick", "--kind", "full"])._signal(signal.SIGKILL)
    assert asked == [
        ("tick",),
        ("archive", "--silent", "volume /backups"),
        ("tick", "--silent", "volume /backups"),
        ("verify",),
        ("tick", "--kind", "full"),
    ]


def test_a_child_that_does_not_obey_is_killed_with_its_programs(clock: Clock) -> None:
    code = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = subprocess.Popen(['sleep', '600'])
print(json.dumps({'type': 'begin', 'pid': other.pid}), flush=True)
time.sleep(600)"""
    found = child(code, clock)
    pid = until(lambda: found.last)["pid"]
    found.stop()
    clock.now += 6
    found.stop()
    assert until(found.result)["message"] == "the process was stopped"
    until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
