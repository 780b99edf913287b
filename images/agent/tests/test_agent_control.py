# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's rounds: requests of the start script at a real socket, an API server and peers in memory."""

from __future__ import annotations

import contextlib
import fcntl
import json
import socket
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from agent_fakes import Clock, FakeKube, locked
from galera_agent import control as module
from galera_agent import door, upkeep
from galera_agent.control import Control
from galera_agent.datadir import Evidence
from galera_agent.events import Events
from galera_agent.kube import ApiError
from galera_agent.lease import BootstrapLease
from galera_agent.members import Contact, Member, View
from galera_agent.record import Recorder, consent_of
from galera_agent.record import parse as parse_record
from galera_agent.settings import Settings
from galera_agent.state import State
from galera_agent.wsrep import Status, parse

A = "aaaaaaaa-0000-4000-8000-00000000000a"
B = "bbbbbbbb-0000-4000-8000-00000000000b"
GRASTATE = f"# GALERA saved state\nversion: 2.1\nuuid:    {A}\nseqno:   7\nsafe_to_bootstrap: 0\n"


class World:
    """The facts of a test: peers as given, the rest from the API server in memory."""

    def __init__(self, kube: FakeKube, lease: BootstrapLease, state_map: str) -> None:
        self.kube, self.lease, self.state_map = kube, lease, state_map
        self.peers: tuple[Member, ...] = ()
        self.fresh: list[bool] = []

    def view(self, me: Member, fresh: bool = False) -> View:
        self.fresh.append(fresh)
        error = "connection refused" if self.kube.down else None
        data = {} if error else self.kube.maps[self.state_map].get("data", {})
        lease = None if error else self.lease.read()
        return View(me, self.peers, 3, error, parse_record(data), lease, consent_of(data))

    def address(self, pod: str) -> str:
        return f"ip-of-{pod}"

    def pod_uid(self) -> str:
        return "uid"


class Rig:
    """A Control with a door, and the start script's side of it."""

    def __init__(self, settings: Settings, kube: FakeKube) -> None:
        self.settings, self.kube, self.lines = settings, kube, list[str]()
        kube.make_map(settings.state_map)
        self.state = State(self.lines.append)
        lease = BootstrapLease(kube, settings.lease, settings.pod)
        self.world = World(kube, lease, settings.state_map)
        self.control = Control(
            settings,
            self.state,
            self.world,  # type: ignore[arg-type]
            lease,
            Recorder(kube, settings.state_map, settings.pod),
            Events(kube, settings.namespace, settings.pod),
            self.lines.append,
        )
        self.path = settings.rundir / "agent.sock"
        self._arrived = threading.Semaphore(0)
        door.listen(self.path, self._handle)

    def _handle(self, word: str, text: str, caller: door.Caller) -> None:
        self.control.handle(word, text, caller)
        self._arrived.release()

    def send(self, request: str) -> socket.socket:
        """Send a request; returns when the agent has taken it."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(self.path))
        connection.settimeout(10)
        connection.sendall(request.encode())
        connection.shutdown(socket.SHUT_WR)
        assert self._arrived.acquire(timeout=10)
        return connection

    def rounds(self, count: int = 5) -> None:
        for _ in range(count):
            self.control.round()

    @property
    def reason(self) -> str:
        return f"{self.state.now.phase}: {self.state.now.reason}"


def words(connection: socket.socket) -> list[str]:
    """The agent's answer; it must be whole."""
    raw = b""
    while part := connection.recv(4096):
        raw += part
    found = raw.decode().split("\0")
    assert found[-2:] == ["end", ""]
    return found[:-2]


def no_answer(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    with contextlib.suppress(TimeoutError):
        return connection.recv(1) is None
    return True


def fill(path: Path, grastate: str | None = None) -> None:
    for name in ("ibdata1", "mysql"):
        (path / name).mkdir()
    if grastate is not None:
        (path / "grastate.dat").write_text(grastate)


def peer(ordinal: int, evidence: Evidence, **more: object) -> Member:
    pod = f"n-galera-{ordinal}"
    return replace(Member(pod, False, ordinal, Contact.ANSWERS, evidence, stopped=True), **more)  # type: ignore[arg-type]


NO_SEED = Member("n-galera-seed-0", True, 0, Contact.ABSENT)
PRIMARY = peer(1, Evidence("present", A, 100), primary=A, size=1, stopped=False)


def status(**rows: str) -> Status:
    said = {"cluster_status": "Primary", "connected": "ON", "ready": "ON", "local_state": "4", "cluster_size": "1"}
    return parse({f"wsrep_{name}": value for name, value in {**said, "cluster_state_uuid": A, **rows}.items()})


@pytest.fixture
def rig(settings: Settings, kube: FakeKube) -> Rig:
    return Rig(settings, kube)


@pytest.fixture
def seed(settings: Settings, kube: FakeKube) -> Rig:
    found = Rig(replace(settings, role="seed", pod="n-galera-seed-0"), kube)
    found.world.peers = tuple(Member(f"n-galera-{n}", False, n, Contact.ABSENT) for n in range(3))
    return found


def test_a_seed_from_nothing_to_primary(seed: Rig) -> None:
    waiting = seed.send("start\n")
    seed.rounds(1)
    what, path = words(waiting)
    assert (what, seed.state.now.phase) == ("initialise", "initialising")
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert "CREATE DATABASE IF NOT EXISTS `d`;" in Path(path).read_text()
    fill(seed.settings.datadir)
    waiting = seed.send("initialised\n")
    assert not Path(path).exists()
    seed.rounds(2)
    found = words(waiting)
    assert (found[0], found[-1], seed.state.now.phase) == ("exec", "--wsrep-new-cluster", "starting")
    assert seed.world.fresh[-1], "decided with what was read before the Lease was held"
    assert seed.kube.leases[seed.settings.lease]["spec"]["holderIdentity"] == "n-galera-seed-0"
    seed.state.heard(status(last_committed="1"), "11.8.6", "", True)
    seed.rounds(1)
    assert json.loads(seed.kube.maps[seed.settings.state_map]["data"]["cluster"])["uuid"] == A
    assert seed.kube.leases[seed.settings.lease]["spec"]["holderIdentity"] == ""
    assert [event["reason"] for event in seed.kube.events] == ["GaleraBootstrap"]


def test_a_missing_password_is_named_and_nothing_is_made(seed: Rig) -> None:
    (seed.settings.secrets / "user-password").unlink()
    waiting = seed.send("start\n")
    seed.rounds()
    assert no_answer(waiting)
    assert seed.reason == "refused: the Secret has no key user-password, which the first start needs"


def test_a_failed_initialisation_says_why(seed: Rig) -> None:
    waiting = seed.send("failed\nERROR: 28  No space left on device\n")
    seed.rounds()
    assert no_answer(waiting)
    assert seed.state.now.phase == "refused"
    assert "No space left on device" in seed.reason


def test_what_failed_is_tried_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = rig.send("recovered\n1\n[ERROR] disk full\n")
    rig.rounds()
    assert "disk full" in rig.reason
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.0)
    rig.rounds(1)
    assert words(waiting) == ["again"]


def test_an_empty_node_joins_without_a_position(rig: Rig) -> None:
    (rig.settings.datadir / "grastate.dat").write_text(GRASTATE)
    rig.world.peers = (PRIMARY,)
    waiting = rig.send("start\n")
    rig.rounds(1)
    found = words(waiting)
    assert (found[0], found[-1]) == ("exec", "--wsrep_cluster_address=gcomm://ip-of-n-galera-1")
    assert not [one for one in found if "start_position" in one]
    assert not (rig.settings.datadir / "grastate.dat").exists()


def test_a_server_stopped_in_order_needs_no_recovery(rig: Rig) -> None:
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (PRIMARY,)
    waiting = rig.send("start\n")
    rig.rounds(1)
    assert f"--wsrep_start_position={A}:7" in words(waiting)
    assert (rig.settings.datadir / "grastate.dat").read_text() == GRASTATE


def test_a_killed_server_recovers_first(rig: Rig) -> None:
    fill(rig.settings.datadir, GRASTATE.replace("seqno:   7", "seqno:   -1"))
    rig.world.peers = (PRIMARY,)
    assert words(rig.send("start\n")) == ["recover"]
    waiting = rig.send(f"recovered\n0\n2026-11-21  7:07:18 0 [Note] WSREP: Recovered position: {A}:44\n")
    rig.rounds(1)
    assert f"--wsrep_start_position={A}:44" in words(waiting)


def test_the_winner_bootstraps_with_a_state_file_that_allows_it(rig: Rig) -> None:
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (peer(1, Evidence("present", A, 6)), peer(2, Evidence("empty")), NO_SEED)
    waiting = rig.send("start\n")
    rig.rounds(2)
    found = words(waiting)
    assert {f"--wsrep_start_position={A}:7", "--wsrep-new-cluster"} < set(found)
    assert "safe_to_bootstrap: 1" in (rig.settings.datadir / "grastate.dat").read_text()


def test_a_lease_lost_at_the_last_moment_stops_the_bootstrap(rig: Rig) -> None:
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (peer(1, Evidence("present", A, 6)), peer(2, Evidence("empty")), NO_SEED)
    waiting = rig.send("start\n")
    rig.rounds(1)
    decide = rig.world.view

    def steal(me: Member, fresh: bool = False) -> View:
        view = decide(me, fresh)
        other = BootstrapLease(rig.kube, rig.settings.lease, "n-galera-1")
        other.read()
        other.take()
        return view

    rig.world.view = steal  # type: ignore[method-assign]
    rig.rounds(1)
    assert no_answer(waiting)
    assert "safe_to_bootstrap: 0" in (rig.settings.datadir / "grastate.dat").read_text()


def test_a_lease_that_is_not_needed_any_more_is_given_back(rig: Rig) -> None:
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (peer(1, Evidence("present", A, 6)), peer(2, Evidence("empty")), NO_SEED)
    waiting = rig.send("start\n")
    rig.rounds(1)
    assert rig.kube.leases[rig.settings.lease]["spec"]["holderIdentity"] == "n-galera-0"
    rig.world.peers = (peer(1, Evidence("present", A, 9)), peer(2, Evidence("empty")), NO_SEED)
    rig.rounds(2)
    assert rig.kube.leases[rig.settings.lease]["spec"]["holderIdentity"] == ""
    assert "waits for n-galera-1" in rig.reason
    assert no_answer(waiting)


def test_the_api_server_away_means_waiting(rig: Rig) -> None:
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (peer(1, Evidence("present", A, 6)), peer(2, Evidence("empty")), NO_SEED)
    waiting = rig.send("start\n")
    rig.kube.down = True
    rig.rounds()
    assert no_answer(waiting)
    assert rig.reason.startswith("waiting: the API server does not answer")
    rig.kube.down = False
    rig.rounds(2)
    assert words(waiting)[0] == "exec"


def test_foreign_data_are_refused_and_left_alone(rig: Rig) -> None:
    text = GRASTATE.replace(A, B)
    fill(rig.settings.datadir, text)
    rig.world.peers = (PRIMARY,)
    waiting = rig.send("start\n")
    rig.rounds()
    assert no_answer(waiting)
    assert rig.state.now.phase == "refused"
    assert B in rig.reason
    assert (rig.settings.datadir / "grastate.dat").read_text() == text
    assert [event["reason"] for event in rig.kube.events] == ["GaleraRefused"]


def test_evidence_ends_with_the_container_that_gave_it(rig: Rig) -> None:
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (peer(1, Evidence("empty")), NO_SEED, Member("n-galera-2", False, 2, Contact.SILENT))
    waiting = rig.send("start\n")
    rig.rounds(1)
    assert rig.state.now.evidence == Evidence("present", A, 7)
    waiting.close()
    rig.rounds(1)
    assert (rig.state.now.phase, rig.state.now.evidence) == ("stopped", Evidence("unknown"))


def test_a_new_start_replaces_one_that_waits(rig: Rig) -> None:
    first = rig.send("start\n")
    second = rig.send("start\n")
    assert first.recv(1) == b""
    rig.world.peers = (PRIMARY,)
    rig.rounds(1)
    assert words(second)[0] == "exec"


def test_failed_incremental_transfers_end_in_a_full_one(rig: Rig) -> None:
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (PRIMARY,)
    for _ in range(2):
        waiting = rig.send("start\n")
        rig.rounds(1)
        assert f"--wsrep_start_position={A}:7" in words(waiting)
        rig.state.heard(status(cluster_status="Disconnected", local_state="0"), "11.8.6", "", True)
    waiting = rig.send("start\n")
    rig.rounds(1)
    assert f"--wsrep_start_position={module.ZERO_POSITION}" in words(waiting)
    assert not (rig.settings.datadir / "grastate.dat").exists()


def test_a_server_that_never_ran_keeps_its_position(rig: Rig) -> None:
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (PRIMARY,)
    for _ in range(5):
        waiting = rig.send("start\n")
        rig.rounds(1)
        assert f"--wsrep_start_position={A}:7" in words(waiting)


def test_draining_ends_when_the_proxies_have_noticed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAIN_SECONDS", 0.2)
    rig.state.heard(status(), "11.8.6", "", True)
    assert rig.state.not_ready() is None
    assert words(rig.send("drain\n")) == ["drained"]
    assert "draining" in str(rig.state.not_ready())


def test_an_unknown_request_is_answered(rig: Rig) -> None:
    assert words(rig.send("dance\n")) == ["error", "unknown request 'dance'"]


def test_a_record_of_another_cluster_is_a_problem_that_is_logged_once(rig: Rig) -> None:
    rig.kube.make_map(rig.settings.state_map, {"cluster": json.dumps({"uuid": B})})
    rig.state.heard(status(last_committed="1"), "11.8.6", "", True)
    rig.rounds()
    assert len([line for line in rig.lines if f"records {B}" in line]) == 1


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


def test_each_time_outside_a_component_is_waited_for_anew(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    stopper = rig.control._upkeep._server = Stopper()  # type: ignore[assignment]
    rig.world.peers = (PRIMARY, NO_SEED)
    outside = status(cluster_status="non-Primary", local_state="0", last_committed="7")
    for seen in (outside, status(), outside):
        rig.state.heard(seen, "11.8.6", "", True)
        rig.rounds(1)
        monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + upkeep.MERGE_SECONDS)
    assert stopper.stopped == 0


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


def test_a_volume_that_another_server_still_uses_is_waited_for(rig: Rig) -> None:
    (rig.settings.datadir / "mysql").mkdir()
    (rig.settings.datadir / "ibdata1").write_bytes(b"x")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(rig.path))
    connection.settimeout(10)
    with locked(rig.settings.datadir / "ibdata1"):
        connection.sendall(b"start\n")
        connection.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + 10
        while not rig.state.now.reason.startswith("waits for another") and time.monotonic() < deadline:
            assert no_answer(connection)
        assert rig.reason == "waiting: waits for another server to leave this volume: it has ibdata1 locked"
    connection.settimeout(10)
    assert words(connection) == ["recover"]


def test_a_volume_that_stays_ahead_of_a_settled_cluster_never_joins_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the cluster's seqno has passed that of the volume, nothing but the record tells that it is not its own."""
    monkeypatch.setattr(module, "AHEAD_SECONDS", 0.0)
    rig.kube.make_map(rig.settings.state_map, {"cluster": json.dumps({"uuid": A})})
    fill(rig.settings.datadir, GRASTATE)
    behind = replace(PRIMARY, evidence=Evidence("present", A, 5), caught_up=True)
    rig.world.peers = (behind,)
    waiting = rig.send("start\n")
    rig.rounds(1)
    rig.world.peers = (replace(behind, evidence=Evidence("present", A, 50)),)
    rig.rounds(1)
    assert no_answer(waiting)
    assert rig.reason.startswith("refused: this cluster was continued without this volume from seqno 5")


def test_a_volume_ahead_of_a_cluster_that_still_applies_waits(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AHEAD_SECONDS", 0.0)
    rig.kube.make_map(rig.settings.state_map, {"cluster": json.dumps({"uuid": A})})
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (replace(PRIMARY, evidence=Evidence("present", A, 5)),)
    waiting = rig.send("start\n")
    rig.rounds(3)
    rig.world.peers = (replace(PRIMARY, evidence=Evidence("present", A, 7)),)
    rig.rounds(1)
    assert words(waiting)[0] == "exec"


def test_who_was_given_up_is_counted_again_before_it_starts(rig: Rig) -> None:
    given_up = json.dumps({"n-galera-0": {"seqno": 7, "time": "t"}})
    rig.kube.make_map(rig.settings.state_map, {"cluster": json.dumps({"uuid": A}), "given_up": given_up})
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (PRIMARY,)
    patch, rig.kube.patch_config_map = rig.kube.patch_config_map, _fails
    waiting = rig.send("start\n")
    rig.rounds(1)
    assert no_answer(waiting)
    assert "cannot change the record" in rig.reason
    rig.kube.patch_config_map = patch  # type: ignore[method-assign]
    rig.rounds(1)
    waiting.settimeout(10)
    assert words(waiting)[0] == "exec"
    assert "given_up" not in rig.kube.maps[rig.settings.state_map]["data"]


def _fails(*_: object) -> None:
    raise ApiError(0, "connection refused")


def test_a_consent_is_used_before_the_server_starts(rig: Rig) -> None:
    rig.kube.make_map(rig.settings.state_map, {"cluster": json.dumps({"uuid": A})})
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (peer(1, Evidence("present", A, 6)), Member("n-galera-2", False, 2, Contact.SILENT), NO_SEED)
    waiting = rig.send("start\n")
    rig.rounds(2)
    assert no_answer(waiting)
    offer = rig.state.now.offer
    assert offer is not None
    assert (offer.winner, offer.seqno, offer.given_up) == ("n-galera-0", 7, ("n-galera-2",))
    rig.kube.patch_config_map(rig.settings.state_map, {"consent": json.dumps({**offer.as_dict(), "time": "t"})})
    rig.rounds(2)
    waiting.settimeout(10)
    assert words(waiting)[-1] == "--wsrep-new-cluster"
    record = parse_record(rig.kube.maps[rig.settings.state_map]["data"])
    assert record is not None
    assert record.given_up == (("n-galera-2", 7),)
    assert "consent" not in rig.kube.maps[rig.settings.state_map]["data"]
