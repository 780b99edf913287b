# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's upkeep of a server that runs: brought back from outside a component, and as a donor that is kept."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from agent_fakes import Clock
from agent_rig import NO_SEED, PRIMARY, A, Rig, peer, status
from galera_agent import record, upkeep
from galera_agent.datadir import Evidence
from galera_agent.decide import HOW_TO_CONSENT
from galera_agent.members import Contact, Member, Record
from galera_agent.state import State


class Stopper:
    """Stands for the connection through which a server is stopped."""

    def __init__(self) -> None:
        self.stopped = 0
        self.broken = self.by_hand = False

    def shut_down(self) -> None:
        self.stopped += 1
        if self.broken:
            raise OSError("Broken pipe")

    def desynced_by_hand(self) -> bool:
        return self.by_hand

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("peers", "stopped"),
    [
        ((peer(1, Evidence("present", A, 6)), peer(2, Evidence("present", A, 6)), NO_SEED), True),
        ((peer(1, Evidence("present", A, 6)), Member("n-galera-2", False, 2, Contact.SILENT), NO_SEED), False),
        ((PRIMARY, NO_SEED), False),
    ],
)
def test_a_server_left_alone_is_started_again(rig: Rig, peers: tuple[Member, ...], stopped: bool) -> None:
    stopper = Stopper()
    rig.control._upkeep._server = stopper  # type: ignore[assignment]
    rig.world.peers = peers
    rig.state.heard(status(cluster_status="non-Primary", local_state="0", last_committed="7"), "11.8.6", "", True)
    rig.rounds(1)
    assert stopper.stopped == stopped


def test_a_server_that_galera_does_not_take_in_is_started_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "MERGE_SECONDS", 0.0)
    stopper = Stopper()
    rig.control._upkeep._server = stopper  # type: ignore[assignment]
    rig.world.peers = (PRIMARY, NO_SEED)
    rig.state.heard(status(cluster_status="non-Primary", local_state="0", last_committed="7"), "11.8.6", "", True)
    rig.rounds(1)
    assert stopper.stopped == 1


@pytest.mark.parametrize(("cluster_status", "stopped"), [("Disconnected", 1), ("non-Primary", 0)])
def test_one_that_has_left_its_group_is_not_waited_for_as_long(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, cluster_status: str, stopped: int
) -> None:
    """As after a state transfer that failed at its end: Galera takes in who is parted from the others, not who left."""
    stopper = rig.control._upkeep._server = Stopper()  # type: ignore[assignment]
    rig.world.peers = (PRIMARY, NO_SEED)
    seen = status(cluster_status=cluster_status, local_state="0", last_committed="7")
    for passed in (0.0, upkeep.LEFT_SECONDS - 0.5, 1.0):
        assert stopper.stopped == 0
        monkeypatch.setattr(time, "monotonic", lambda passed=passed, now=time.monotonic: now() + passed)
        rig.state.heard(seen, "11.8.6", "", True)
        rig.rounds(1)
    assert stopper.stopped == stopped


def test_each_time_outside_a_component_is_waited_for_anew(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    stopper = rig.control._upkeep._server = Stopper()  # type: ignore[assignment]
    rig.world.peers = (PRIMARY, NO_SEED)
    outside = status(cluster_status="non-Primary", local_state="0", last_committed="7")
    for seen in (outside, status(), outside):
        rig.state.heard(seen, "11.8.6", "", True)
        rig.rounds(1)
        monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + upkeep.MERGE_SECONDS)
    assert stopper.stopped == 0


def test_one_whose_majority_is_gone_tells_for_whom_it_waits_and_what_may_be_offered(rig: Rig) -> None:
    rig.control._upkeep._server = Stopper()  # type: ignore[assignment]
    rig.kube.make_map(rig.settings.state_map, {"cluster": json.dumps({"uuid": A})})
    gone = (Member("n-galera-1", False, 1, Contact.SILENT), Member("n-galera-2", False, 2, Contact.SILENT))
    rig.world.peers = (*gone, NO_SEED)
    outside = status(cluster_status="non-Primary", local_state="0", last_committed="7")
    for _ in range(2):
        rig.state.heard(outside, "11.8.6", "", True)
        rig.rounds(1)
    assert "outside the primary component (non-Primary): waits for n-galera-1, n-galera-2" in rig.reason
    assert rig.reason.endswith(HOW_TO_CONSENT)
    offer = rig.state.now.offer
    assert offer is not None
    assert offer.words() == f"n-galera-0 at {A}:7 without n-galera-1, n-galera-2"
    assert rig.control._upkeep._server.stopped == 0
    # Nothing is offered by one that serves.
    rig.state.heard(status(), "11.8.6", "", True)
    assert (rig.state.now.offer, rig.state.now.outside) == (None, "")
    # With consent it starts again, and elects.
    consent = json.dumps({**offer.as_dict(), "time": "2026-11-21T07:00:00Z"})
    rig.kube.patch_config_map(rig.settings.state_map, {"consent": consent})
    rig.state.heard(outside, "11.8.6", "", True)
    rig.rounds(1)
    assert rig.control._upkeep._server.stopped == 1


@pytest.fixture
def stuck(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A server outside the primary component that was told to stop, and a start script that listens."""
    monkeypatch.setattr(upkeep, "MERGE_SECONDS", 0.0)
    monkeypatch.setattr(upkeep, "LEFT_SECONDS", 0.0)
    rig.control._upkeep._server = Stopper()  # type: ignore[assignment]
    rig.world.peers = (PRIMARY, NO_SEED)
    rig.state.heard(status(cluster_status="non-Primary", local_state="1", last_committed="7"), "11.8.6", "", True)
    os.mkfifo(rig.settings.rundir / "kill")
    rig.rounds(1)
    return rig


@pytest.fixture
def pipe(rig: Rig, stuck: Rig) -> Iterator[int]:
    """The start script's end of the pipe."""
    reader = os.open(rig.settings.rundir / "kill", os.O_RDONLY | os.O_NONBLOCK)
    yield reader
    os.close(reader)


def test_a_server_that_does_not_stop_is_killed(stuck: Rig, pipe: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck.rounds(2)
    assert os.read(pipe, 100) == b"", "it has no time to end in order"
    monkeypatch.setattr(upkeep, "STUCK_SECONDS", 0.0)
    stuck.control._upkeep.look()
    assert os.read(pipe, 100) == b"now\n"
    assert stops(stuck) == 1
    (line,) = [line for line in stuck.lines if "is killed and starts again" in line]
    assert "still answers: it is outside the primary component" in line
    assert stuck.kube.events[-1]["message"] == line


def test_a_server_that_was_killed_in_vain_gets_time_before_the_next_kill(
    stuck: Rig, pipe: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = Clock()
    monkeypatch.setattr(upkeep.time, "monotonic", now)
    state = stuck.control._upkeep._state = State(stuck.lines.append, now)
    killed = []
    stuck.control._upkeep.begin()
    for second in range(35):
        state.heard(status(cluster_status="non-Primary", local_state="1", last_committed="7"), "11.8.6", "", True)
        stuck.control._upkeep.look()
        with contextlib.suppress(BlockingIOError):
            killed += [second] * os.read(pipe, 100).count(b"now")
        now.now += 1
    assert killed == [10, 20, 30]


def test_a_server_that_still_applies_what_it_has_received_is_left_to_end(
    stuck: Rig, pipe: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue may be long, as after a backup, and hold what no other volume has any more."""
    now = Clock()
    monkeypatch.setattr(upkeep.time, "monotonic", now)
    state = stuck.control._upkeep._state = State(stuck.lines.append, now)
    killed = []
    stuck.control._upkeep.begin()
    for second in range(80):
        reached = str(7 + min(second, 60) // 5)
        state.heard(status(cluster_status="Disconnected", local_state="0", last_committed=reached), "11.8.6", "", True)
        stuck.control._upkeep.look()
        with contextlib.suppress(BlockingIOError):
            killed += [second] * os.read(pipe, 100).count(b"now")
        now.now += 1
    assert killed == [70]


def test_a_server_that_answers_no_more_is_left_to_end_in_order(
    stuck: Rig, pipe: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "STUCK_SECONDS", 0.0)
    stuck.state.heard(None, None, "gone away", True)
    stuck.control._upkeep.look()
    assert os.read(pipe, 100) == b""


def test_a_kill_that_nobody_hears_is_tried_again(stuck: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "STUCK_SECONDS", 0.0)
    stuck.rounds(2)
    assert len([line for line in stuck.lines if "cannot have mariadbd killed: No such device" in line]) == 1
    reader = os.open(stuck.settings.rundir / "kill", os.O_RDONLY | os.O_NONBLOCK)
    stuck.control._upkeep.look()
    assert os.read(reader, 100) == b"now\n"
    os.close(reader)


@contextlib.contextmanager
def sending(rig: Rig) -> Iterator[None]:
    """A state transfer that this pod gives."""
    with (rig.settings.rundir / "sst.donor").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@pytest.fixture
def donor(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A donor whose transfer has ended, which Galera keeps as donor."""
    monkeypatch.setattr(upkeep, "IDLE_DONOR_SECONDS", 0.0)
    rig.control._upkeep._server = Stopper()  # type: ignore[assignment]
    with sending(rig):
        pass
    rig.state.heard(status(local_state="2", ready="OFF"), "11.8.6", "", True)
    return rig


def stops(rig: Rig) -> int:
    return rig.control._upkeep._server.stopped  # type: ignore[attr-defined, no-any-return]


def test_a_donor_that_galera_does_not_let_go_is_started_again_once(donor: Rig) -> None:
    donor.rounds(3)
    assert stops(donor) == 1
    assert len([line for line in donor.lines if "stayed Donor/Desynced for 0 s without a state transfer" in line]) == 1
    assert [(event["reason"], event["type"]) for event in donor.kube.events] == [("GaleraRestarted", "Warning")]
    donor.send("start\n")
    donor.state.executed("joins")
    donor.state.heard(status(local_state="2", ready="OFF"), "11.8.6", "", True)
    donor.control._upkeep.look()
    assert stops(donor) == 2, "a server that was started again is not looked after any more"


def test_a_donor_that_cannot_be_stopped_is_tried_again(donor: Rig) -> None:
    donor.control._upkeep._server.broken = True  # type: ignore[attr-defined]
    donor.rounds(2)
    assert stops(donor) == 2
    assert len([line for line in donor.lines if "cannot stop mariadbd: Broken pipe" in line]) == 1


@pytest.mark.parametrize(
    "rows",
    [
        {"local_state": "4", "ready": "OFF"},
        # Held back by a human's lock, or by a backup: it still takes statements.
        {"local_state": "2", "ready": "ON"},
        {"local_state": "2", "ready": "OFF", "cluster_status": "non-Primary"},
    ],
)
def test_no_other_server_is_taken_for_a_donor_that_is_kept(donor: Rig, rows: dict[str, str]) -> None:
    donor.world.peers = (PRIMARY, NO_SEED)
    donor.state.heard(status(**rows), "11.8.6", "", True)
    donor.rounds(3)
    assert stops(donor) == 0


def test_a_donor_has_all_the_time_that_its_transfer_needs(donor: Rig) -> None:
    with sending(donor):
        donor.rounds(3)
        assert stops(donor) == 0
    donor.rounds(1)
    assert stops(donor) == 1


@pytest.mark.parametrize("between", [{"ready": "ON"}, {"cluster_status": "non-Primary"}])
def test_a_donor_has_some_time_between_the_end_of_its_transfer_and_galeras_note(
    donor: Rig, monkeypatch: pytest.MonkeyPatch, between: dict[str, str]
) -> None:
    now = Clock()
    monkeypatch.setattr(upkeep, "IDLE_DONOR_SECONDS", 10.0)
    monkeypatch.setattr(upkeep.time, "monotonic", now)
    donor.world.peers = (PRIMARY, NO_SEED)
    donor.state = donor.control._upkeep._state = State(donor.lines.append, now)
    kept, waited = {"local_state": "2", "ready": "OFF"}, []
    for second in range(12):
        donor.state.heard(status(**{**kept, **(between if second == 1 else {})}), "11.8.6", "", True)
        donor.control._upkeep.look()
        waited.append(stops(donor))
        now.now += 1
    assert waited == [0] * 12, "ten seconds in all are not ten seconds in a row"
    donor.state.heard(status(**kept), "11.8.6", "", True)
    donor.control._upkeep.look()
    assert stops(donor) == 1


def test_a_donor_of_which_no_transfer_is_known_is_left_alone(donor: Rig) -> None:
    (donor.settings.rundir / "sst.donor").unlink()
    donor.rounds(3)
    assert stops(donor) == 0


def test_a_server_that_a_human_desynced_is_left_alone_and_it_is_said(donor: Rig) -> None:
    donor.control._upkeep._server.by_hand = True  # type: ignore[attr-defined]
    donor.rounds(3)
    assert stops(donor) == 0
    assert len([line for line in donor.lines if "because wsrep_desync is on" in line]) == 1


class Joiner:
    """A server in the primary component that stays Joining; a round a second, others that serve and go on."""

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rig, self.now = rig, Clock()
        monkeypatch.setattr(upkeep.time, "monotonic", self.now)
        rig.control._upkeep._server = Stopper()  # type: ignore[assignment]
        rig.state = rig.control._upkeep._state = State(rig.lines.append, self.now)

    def rounds(self, seconds: int, behind: int = 0, others: int = 100, **rows: str) -> int:
        """Let seconds pass; behind: by how many write-sets the server is. Returns how often it was stopped in all."""
        for _ in range(seconds):
            reached = others + int(self.now.now)
            primary = replace(PRIMARY, evidence=Evidence("present", A, reached))
            self.rig.world.peers = (primary, NO_SEED)
            said = {"local_state": "1", "ready": "OFF", "last_committed": str(reached - behind), **rows}
            self.rig.state.heard(status(**said), "11.8.6", "", True)
            self.rig.control._upkeep.look()
            self.now.now += 1
        return stops(self.rig)


@pytest.fixture
def joiner(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Joiner:
    return Joiner(rig, monkeypatch)


def test_a_joiner_that_has_everything_and_is_not_let_in_is_started_again(joiner: Joiner) -> None:
    assert joiner.rounds(20) == 0
    assert joiner.rounds(6) == 1
    assert len([line for line in joiner.rig.lines if "stays Joining, because the group had split" in line]) == 1
    assert joiner.rig.kube.events[-1]["reason"] == "GaleraRestarted"


def test_a_joiner_may_lag_by_a_moment(joiner: Joiner) -> None:
    assert joiner.rounds(40, behind=4) == 1


def test_a_joiner_has_all_the_time_that_it_needs_to_catch_up(joiner: Joiner) -> None:
    assert joiner.rounds(100, behind=7) == 0
    # As with the last, long write-set of an incremental transfer
    assert joiner.rounds(100, last_committed="99", others=100) == 0


@pytest.mark.parametrize(
    "rows", [{"local_state": "3"}, {"local_state": "4"}, {"cluster_state_uuid": "bbbbbbbb-0000-4000-8000-00000000000b"}]
)
def test_no_other_server_is_taken_for_a_joiner_that_is_not_let_in(joiner: Joiner, rows: dict[str, str]) -> None:
    assert joiner.rounds(60, **rows) == 0


def test_a_joiner_is_let_be_while_its_volume_is_filled(joiner: Joiner) -> None:
    with (joiner.rig.settings.rundir / "sst.joiner").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert joiner.rounds(60) == 0


@pytest.mark.parametrize("between", [{"local_state": "4", "ready": "ON"}, {"behind": 50}])
def test_a_joiner_must_be_level_all_the_time(joiner: Joiner, between: dict[str, Any]) -> None:
    joiner.rounds(16)
    joiner.rounds(6, **between)
    assert joiner.rounds(19) == 0
    assert joiner.rounds(12) == 1


@pytest.mark.parametrize(
    ("rows", "taken"), [({}, True), ({"local_state": "2"}, False), ({"cluster_status": "non-Primary"}, False)]
)
def test_the_volume_of_a_synced_server_is_not_taken_for_half_filled(
    rig: Rig, rows: dict[str, str], taken: bool
) -> None:
    datadir = rig.settings.datadir
    (datadir / ".sst").mkdir(parents=True)
    (datadir / "sst_in_progress").touch()
    with (rig.settings.rundir / "sst.joiner").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        rig.state.heard(status(**rows), "11.8.6", "", True)
        rig.rounds(1)
        assert sorted(path.name for path in datadir.iterdir()) == [".sst", "sst_in_progress"]
    rig.state.heard(status(**rows), "11.8.6", "", True)
    rig.rounds(1)
    assert sorted(path.name for path in datadir.iterdir()) == ([] if taken else [".sst", "sst_in_progress"])
    assert any("removed sst_in_progress and .sst" in line for line in rig.lines) == taken


def _give_up(rig: Rig, *pods: str) -> None:
    text = json.dumps({pod: {"seqno": 5, "time": "t"} for pod in pods})
    rig.kube.patch_config_map(rig.settings.state_map, {"given_up": text})


@pytest.fixture
def serving(rig: Rig) -> Rig:
    """A server that serves, of a cluster that is recorded."""
    rig.control._upkeep._server = Stopper()  # type: ignore[assignment]
    rig.kube.make_map(rig.settings.state_map, {"cluster": json.dumps({"uuid": A})})
    rig.state.heard(status(last_committed="7"), "11.8.6", "", True)
    rig.rounds(1)
    return rig


@pytest.mark.parametrize("outside", [True, False], ids=["taken in by Galera", "behind a partition"])
def test_a_server_that_was_given_up_and_serves_has_to_ask_again(
    serving: Rig, monkeypatch: pytest.MonkeyPatch, outside: bool
) -> None:
    _give_up(serving, "n-galera-0", "n-galera-2")
    if outside:
        serving.kube.down = True
        serving.state.heard(status(cluster_status="non-Primary", local_state="0"), "11.8.6", "", True)
        serving.rounds(1)
        serving.kube.down = False
    else:
        monkeypatch.setattr(record, "EVERY_SECONDS", 0.0)
    serving.state.heard(status(last_committed="9"), "11.8.6", "", True)
    serving.rounds(3)
    assert stops(serving) == 1
    assert len([line for line in serving.lines if "the cluster was continued without it" in line]) == 1


def test_a_server_that_came_back_is_not_taken_for_given_up(serving: Rig) -> None:
    """What was read of the record may be a minute old."""
    serving.control._recorder.known = Record(A, (), (("n-galera-0", 5),))
    _give_up(serving, "n-galera-2")
    serving.rounds(1)
    assert stops(serving) == 0
    assert serving.control._recorder.known == Record(A, (), (("n-galera-2", 5),))
    assert serving.world.learnt == serving.control._recorder.known
