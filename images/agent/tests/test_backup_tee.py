# SPDX-License-Identifier: GPL-3.0-or-later
"""One object into two targets, of which one fails, is slow, or falls silent."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType

import pytest
import s3_server
from galera_agent.backup import tee as tee_module
from galera_agent.backup.pipe import CHUNK, Limit, StreamError
from galera_agent.backup.s3_store import Patience, open_s3
from galera_agent.backup.store import SilentError, StoreError
from galera_agent.backup.targets import GIVEN_UP
from galera_agent.backup.tee import Tee
from galera_agent.backup.volume_store import VolumeStore
from s3_server import Link, Server

PIECE = bytes(range(256)) * (CHUNK // 1024)
PIECES = 14


class Target:
    """Keeps what it gets. at: the step in which it does something else: begin, write, commit or end."""

    def __init__(self, at: str = "", does: Callable[[], None] = lambda: None, most: int = 1 << 40) -> None:
        self.data, self.whole, self.closed = b"", False, threading.Event()
        self._at, self._does, self._most = at, does, most

    def begin(self) -> Target:
        self._step("begin")
        return self

    def __enter__(self) -> Target:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._step("end")
        self.closed.set()

    def write(self, data: bytes) -> int:
        self._step("write")
        if len(self.data) + len(data) > self._most:
            raise StoreError("it is full")
        self.data += data
        return len(data)

    def commit(self) -> None:
        self._step("commit")
        self.whole = True

    def _step(self, name: str) -> None:
        if name == self._at:
            self._does()


@pytest.fixture
def silence() -> Iterator[threading.Event]:
    """What a silent target waits for; when the test is over it answers."""
    found, others = threading.Event(), threading.enumerate()
    yield found
    found.set()
    for thread in [one for one in threading.enumerate() if one not in others]:
        thread.join(10)


def wait_for(event: threading.Event) -> Callable[[], None]:
    return lambda: None if event.wait(60) else pytest.fail("it was waited for")


def copy(targets: dict[str, Target], patience: float = 60, limit: Limit | None = None) -> tuple[list[str], Tee]:
    """The labels of those that have all the pieces."""
    with Tee({label: one.begin for label, one in targets.items()}, limit or Limit(), patience) as tee:
        for _ in range(PIECES):
            tee.write(PIECE)
        there = tee.commit()
    return there, tee


def test_all_get_all_and_nothing_is_left() -> None:
    targets, others = {"a": Target(), "b": Target()}, threading.enumerate()
    there, tee = copy(targets)
    assert (there, tee.failures) == (["a", "b"], {})
    assert all(one.data == PIECE * PIECES and one.whole and one.closed.is_set() for one in targets.values())
    left = [one for one in threading.enumerate() if one not in others]
    for thread in left:
        thread.join(10)
    assert not any(thread.is_alive() for thread in left)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_one_that_fails_does_not_fail_the_other(order: str) -> None:
    known = {"a": Target(most=CHUNK), "b": Target()}
    there, tee = copy({label: known[label] for label in order})
    assert there == ["b"]
    assert known["b"].data == PIECE * PIECES
    assert {label: str(error) for label, error in tee.failures.items()} == {"a": "it is full"}
    assert known["a"].closed.is_set()
    assert not known["a"].whole


@pytest.mark.parametrize("at", ["begin", "write", "commit"])
def test_the_failure_of_all_is_raised(at: str) -> None:
    def fail() -> None:
        raise StoreError("it is gone")

    with pytest.raises(StoreError, match=r"^it is gone; it is gone$"):
        copy({"a": Target(at, fail), "b": Target(at, fail)})


@pytest.mark.parametrize("at", ["begin", "write", "commit"])
def test_one_that_falls_silent_is_given_up_and_removes_its_half_when_it_answers(
    silence: threading.Event, at: str
) -> None:
    silent, other = Target(at, wait_for(silence)), Target()
    GIVEN_UP.clear()
    there, tee = copy({"a": silent, "b": other}, patience=0.2)
    assert (there, other.whole, other.data) == (["b"], True, PIECE * PIECES)
    assert isinstance(tee.failures["a"], SilentError)
    assert {"a"} == GIVEN_UP
    assert str(tee.failures["a"]) == "a took nothing for 0 s, so the others get this backup without it"
    assert not silent.closed.is_set()
    silence.set()
    assert silent.closed.wait(10)
    assert silent.whole == (at == "commit")
    assert len(silent.data) < len(other.data) or at == "commit"


def test_one_whose_half_is_not_removed_holds_up_nobody_for_long(
    silence: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tee_module, "_CLOSE_SECONDS", 0.1)
    there, _ = copy({"a": Target("end", wait_for(silence), most=CHUNK), "b": Target()})
    assert there == ["b"]


@pytest.mark.parametrize("slow", ["a", "b"])
def test_slow_is_not_silent_and_sets_the_pace(slow: str) -> None:
    """The whole takes much longer than the patience, each step less."""
    pause, behind = threading.Event(), []

    def take() -> None:
        pause.wait(0.05)
        behind.append(len(other.data) - len(sluggish.data))

    sluggish, other = Target("write", take), Target()
    targets = {"a": sluggish, "b": other} if slow == "a" else {"a": other, "b": sluggish}
    there, tee = copy(targets, patience=0.4)
    assert (there, tee.failures) == (["a", "b"], {})
    assert sluggish.data == other.data == PIECE * PIECES
    assert len(behind) == PIECES
    # Not more than what is handed over at once
    assert max(behind) < 2 * CHUNK


@pytest.mark.parametrize("fails", ["begin", "write", "commit", ""])
def test_the_last_one_is_waited_for(silence: threading.Event, fails: str) -> None:
    """It may answer again; without it there is no backup at all."""

    def fail() -> None:
        raise StoreError("it is gone")

    waited = Target(fails or "write", wait_for(silence))
    targets = {"a": waited, "b": Target(fails, fail)} if fails else {"a": waited}
    timer = threading.Timer(0.5, silence.set)
    timer.start()
    there, _ = copy(targets, patience=0.1)
    assert there == ["a"]
    assert waited.data == PIECE * PIECES


@pytest.mark.parametrize("at", ["begin", "write", "commit"])
def test_the_deadline_names_who_took_nothing(
    silence: threading.Event, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr(tee_module, "_LATE_SECONDS", 0.3)
    monkeypatch.setattr(tee_module, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(tee_module, "_CLOSE_SECONDS", 0.1)
    monkeypatch.setattr(tee_module, "_STOP_SECONDS", 0.1)
    said = r"^the backup did not end within its deadline of 0\.1 s: a and b took nothing for 0 s$"
    with pytest.raises(StreamError, match=said):
        copy({"a": Target(at, wait_for(silence)), "b": Target(at, wait_for(silence))}, limit=Limit(0.1))
    # Who has all of it at the deadline keeps it
    other = Target()
    there, tee = copy({"a": Target(at, wait_for(silence)), "b": other}, limit=Limit(0.1))
    assert (there, other.whole, list(tee.failures)) == (["b"], True, ["a"])


def test_what_is_near_its_end_at_the_deadline_comes_to_it(silence: threading.Event) -> None:
    limit = Limit()
    target = Target("commit", lambda: limit.cancel("the time is over"))
    assert copy({"a": target, "b": Target("commit", lambda: threading.Event().wait(0.3) or None)}, limit=limit)[0] == [
        "a",
        "b",
    ]


def test_an_exit_removes_the_halves() -> None:
    """As of a signal between two pieces."""
    targets = {"a": Target(), "b": Target()}

    def stopped() -> None:
        with Tee({label: one.begin for label, one in targets.items()}, Limit(), 60) as tee:
            tee.write(PIECE * 4)
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        stopped()
    assert all(one.data and one.closed.is_set() and not one.whole for one in targets.values())


def test_an_exit_waits_for_no_target_without_end(silence: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the signal comes while a target that is silent is waited for."""
    monkeypatch.setattr(tee_module, "_STOP_SECONDS", 0.1)

    class Stopped(Limit):
        def problem(self) -> str | None:
            raise SystemExit(143)

    monkeypatch.setattr(tee_module, "_LATE_SECONDS", 0)
    monkeypatch.setattr(tee_module, "_LOOK_SECONDS", 0.05)
    other = Target()
    with pytest.raises(SystemExit):
        copy({"a": Target("begin", wait_for(silence)), "b": other}, limit=Stopped())
    assert other.closed.is_set()


def test_what_nobody_expects_is_raised() -> None:
    def wrong() -> None:
        raise ZeroDivisionError

    for at in ("begin", "write", "commit"):
        with pytest.raises(ZeroDivisionError):
            copy({"a": Target(at, wrong), "b": Target()})


def test_a_bucket_that_falls_silent(server: Server, tmp_path: Path) -> None:
    """Its server keeps the connection, and answers nothing, in the middle of a part."""
    bucket = s3_server.bucket(server, "falls-silent")
    link = Link(server.port, up_to=20 << 20, hold=True)
    place = s3_server.settings(server, "falls-silent", endpoint=link.endpoint)
    silent, volume = open_s3(place, server.secrets, Patience(10, 60, 2)), VolumeStore(tmp_path)
    (tmp_path / "owner.json").touch()
    key, data = "backups/20261121T132300Z-full/backup.xb.zst", random.Random(3).randbytes(CHUNK)
    begin = {one.label: partial(one.writer, key) for one in (silent, volume)}
    try:
        with Tee(begin, Limit(), 1) as tee:
            for _ in range(60):
                tee.write(data)
            assert tee.commit() == [volume.label]
        assert isinstance(tee.failures[silent.label], SilentError)
        assert volume.get(key) == data * 60
    finally:
        link.close()
        for thread in [one for one in threading.enumerate() if one.name == f"target {silent.label}"]:
            thread.join(30)
    assert list(bucket.list("")) == []
    # The upload, which the thread could not abort any more
    assert list(bucket.clean(timedelta(0), datetime.now(UTC) + timedelta(minutes=1))) == [key]
