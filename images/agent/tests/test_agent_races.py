# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's threads against each other, and what is left of them when the machine has nothing more to give."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_rig import GRASTATE, NO_SEED, PRIMARY, A, Rig, fill, no_answer, peer, words
from galera_agent import door
from galera_agent.datadir import Evidence
from galera_agent.members import Contact, Member, View
from galera_agent.peers import Peers
from galera_agent.wsrep import Poller, Status


def test_a_container_that_comes_while_the_end_of_the_last_one_is_noted_is_heard(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was being made for the last one is removed in between, which may take a while."""
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (Member("n-galera-1", False, 1, Contact.SILENT), NO_SEED)
    rig.begin().close()
    came = []
    monkeypatch.setattr(rig.control._rejoin, "stop", lambda: came or came.append(rig.begin()))
    rig.rounds(1)
    assert (rig.state.now.phase, rig.state.now.evidence) == ("waiting", Evidence("present", A, 7))
    rig.world.peers = (PRIMARY,)
    rig.rounds(1)
    assert words(came[0])[0] == "exec"


def test_a_lease_that_was_given_back_is_taken_again_before_the_bootstrap_is_decided(rig: Rig) -> None:
    """The API server is asked twice a second only: a round may see the Lease as it was before it was given back."""
    fill(rig.settings.datadir, GRASTATE)
    held, unheld = peer(1, Evidence("present", A, 6)), Member("n-galera-1", False, 1, Contact.SILENT)
    rig.world.peers = (held, peer(2, Evidence("empty")), NO_SEED)
    waiting = rig.begin()
    rig.rounds(1)
    seen = rig.world.view(Member("n-galera-0", False, 0, Contact.ANSWERS)).lease
    view = rig.world.view

    def cached(me: Member, fresh: bool = False) -> View:
        return view(me, fresh) if fresh else replace(view(me), lease=seen)

    rig.world.view = cached  # type: ignore[method-assign]
    rig.world.peers = (unheld, peer(2, Evidence("empty")), NO_SEED)
    rig.rounds(1)
    assert rig.kube.leases[rig.settings.lease]["spec"]["holderIdentity"] == ""
    rig.world.peers = (held, peer(2, Evidence("empty")), NO_SEED)
    rig.rounds(1)
    assert no_answer(waiting), "it has not looked at anybody since it took the Lease"
    rig.rounds(1)
    waiting.settimeout(10)
    assert words(waiting)[-1] == "--wsrep-new-cluster"


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of threads that could not be started; the next one cannot."""
    failed, start = list[str](), threading.Thread.start

    def fails_once(self: threading.Thread) -> None:
        if not failed:
            failed.append(self.name)
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", fails_once)
    return failed


def test_who_cannot_be_asked_for_want_of_a_thread_is_silent_once(no_thread: list[str]) -> None:
    peers, address = Peers(1), {"n-galera-1": "127.0.0.1"}
    said = [peers.ask_all(address)["n-galera-1"].problem for _ in range(2)]
    assert no_thread == ["ask-n-galera-1"]
    assert "has not answered" in said[0]
    assert "refused" in said[1]


def test_the_door_outlives_a_request_for_which_there_is_no_thread(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    asked = list[str]()

    def handle(word: str, text: str, caller: door.Caller) -> None:
        asked.append(word)
        caller.answer([word])

    door.listen(tmp_path / "agent.sock", handle)
    request.getfixturevalue("no_thread")
    said = list[bytes]()
    for word in (b"drain", b"start"):
        # The first one is hung up on, at whichever of these steps it has come to.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            connection.connect(str(tmp_path / "agent.sock"))
            connection.sendall(word)
            connection.shutdown(socket.SHUT_WR)
            said.append(connection.recv(100))
    assert (said[-1], asked) == (b"start\0end\0", ["start"])


def test_a_start_that_fails_for_ever_says_why(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a volume without a free block: status goes by the reason, nobody reads the log of the agent."""
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (peer(1, Evidence("present", A, 6)), peer(2, Evidence("empty")), NO_SEED)
    stop, tries = threading.Event(), list[int]()

    def full(*_: object) -> None:
        tries.append(1)
        if len(tries) > 1:
            stop.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("galera_agent.datadir.allow_bootstrap", full)
    monkeypatch.setattr("galera_agent.control.ROUND_SECONDS", 0.01)
    waiting = rig.begin()
    rig.control.run(stop)
    assert rig.reason.startswith("waiting: cannot start mariadbd, tries again: this round failed: OSError: [Errno 28]")
    assert no_answer(waiting)
    assert len([line for line in rig.lines if line.startswith("problem")]) == 1


def test_the_poller_outlives_an_answer_that_the_driver_cannot_read() -> None:
    heard, stop = list[str](), threading.Event()

    class Fake:
        def poll(self) -> Status:
            raise AssertionError("Result length not requested length")

        def close(self) -> None: ...

    def listener(status: Status | None, problem: str, turned_away: str) -> None:
        heard.append(problem)
        if len(heard) > 1:
            stop.set()

    fake: Any = Fake()
    thread = Poller(fake, listener, stop)
    thread.start()
    thread.join(10)
    assert heard == ["Result length not requested length"] * 2
