# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's rounds: requests of the start script at a real socket, an API server and peers in memory."""

from __future__ import annotations

import json
import socket
import stat
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from agent_fakes import locked
from agent_rig import GRASTATE, NO_SEED, PRIMARY, A, B, Rig, fill, no_answer, peer, status, words
from galera_agent import control as module
from galera_agent.datadir import Evidence
from galera_agent.kube import ApiError
from galera_agent.lease import BootstrapLease
from galera_agent.members import Action, Contact, Decision, Member, View
from galera_agent.record import parse as parse_record


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


def test_a_request_is_decided_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUND_SECONDS", 3600.0)
    began, original = threading.Event(), rig.control.round

    def begins() -> bool:
        began.set()
        return original()

    monkeypatch.setattr(rig.control, "round", begins)
    rig.world.peers = (PRIMARY,)
    stop = threading.Event()
    thread = threading.Thread(target=rig.control.run, args=(stop,), daemon=True)
    thread.start()
    assert began.wait(10)
    assert words(rig.send("start\n"))[0] == "exec"
    stop.set()
    rig.send("start\n")
    thread.join(10)
    assert not thread.is_alive()


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


@pytest.mark.parametrize("wins", [False, True])
def test_a_position_that_a_power_cut_left_in_the_state_file_counts_for_nothing(rig: Rig, wins: bool) -> None:
    """Galera does not flush the file, and believes it more than the position that it is given."""
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (peer(1, Evidence("present", A, 40)), peer(2, Evidence("empty")), NO_SEED) if wins else (PRIMARY,)
    waiting = rig.begin(seqno=44)
    assert rig.state.now.evidence == Evidence("present", A, 44)
    rig.rounds(2)
    assert f"--wsrep_start_position={A}:44" in words(waiting)
    left = GRASTATE.replace("seqno:   7", "seqno:   -1").replace("bootstrap: 0", f"bootstrap: {wins:d}")
    assert (rig.settings.datadir / "grastate.dat").read_text() == left


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
    waiting = rig.begin()
    rig.rounds(2)
    found = words(waiting)
    assert {f"--wsrep_start_position={A}:7", "--wsrep-new-cluster"} < set(found)
    assert "safe_to_bootstrap: 1" in (rig.settings.datadir / "grastate.dat").read_text()


def test_a_lease_lost_at_the_last_moment_stops_the_bootstrap(rig: Rig) -> None:
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (peer(1, Evidence("present", A, 6)), peer(2, Evidence("empty")), NO_SEED)
    waiting = rig.begin()
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
    waiting = rig.begin()
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
    waiting = rig.begin()
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
    waiting = rig.begin(uuid=B)
    rig.rounds()
    assert no_answer(waiting)
    assert rig.state.now.phase == "refused"
    assert B in rig.reason
    assert (rig.settings.datadir / "grastate.dat").read_text() == text
    assert [event["reason"] for event in rig.kube.events] == ["GaleraRefused"]


def test_evidence_ends_with_the_container_that_gave_it(rig: Rig) -> None:
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (peer(1, Evidence("empty")), NO_SEED, Member("n-galera-2", False, 2, Contact.SILENT))
    waiting = rig.begin()
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
        waiting = rig.begin()
        rig.rounds(1)
        assert f"--wsrep_start_position={A}:7" in words(waiting)
        rig.state.heard(status(cluster_status="Disconnected", local_state="0"), "11.8.6", "", True)
    waiting = rig.begin()
    rig.rounds(1)
    assert f"--wsrep_start_position={module.ZERO_POSITION}" in words(waiting)
    assert not (rig.settings.datadir / "grastate.dat").exists()


def test_a_server_that_never_ran_keeps_its_position(rig: Rig) -> None:
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (PRIMARY,)
    for _ in range(5):
        waiting = rig.begin()
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


def test_an_empty_volume_waits_for_a_donor_for_as_long_as_it_takes_and_then_in_the_queue(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience with the queue begins when there is a donor."""
    rig.world.peers = (replace(PRIMARY, desynced=True), NO_SEED)
    waiting = rig.send("start\n")
    rig.rounds(2)
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 2 * module.QUEUE_SECONDS)
    rig.rounds(1)
    assert no_answer(waiting)
    assert rig.reason.startswith("waiting: waits for a donor: n-galera-1 is one already, or desynced, then joins")
    rig.world.peers = (replace(PRIMARY, size=2), replace(peer(2, Evidence("empty")), starting=True), NO_SEED)
    rig.rounds(1)
    assert no_answer(waiting)
    assert rig.reason.startswith("waiting: lets n-galera-2 find a donor first, then joins")
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + module.QUEUE_SECONDS)
    rig.rounds(1)
    waiting.settimeout(10)
    assert words(waiting)[0] == "exec"


def test_a_volume_that_stays_ahead_of_a_settled_cluster_never_joins_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the cluster's seqno has passed that of the volume, nothing but the record tells that it is not its own."""
    monkeypatch.setattr(module, "AHEAD_SECONDS", 0.0)
    rig.kube.make_map(rig.settings.state_map, {"cluster": json.dumps({"uuid": A})})
    fill(rig.settings.datadir, GRASTATE)
    behind = replace(PRIMARY, evidence=Evidence("present", A, 5), caught_up=True)
    rig.world.peers = (behind,)
    waiting = rig.begin()
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
    waiting = rig.begin()
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
    waiting = rig.begin()
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
    waiting = rig.begin()
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


def test_a_decision_for_a_container_that_has_ended_changes_nothing(rig: Rig) -> None:
    fill(rig.settings.datadir, GRASTATE)
    old = rig.begin()
    caller = rig.control._caller
    assert caller is not None
    rig.begin()
    evidence = rig.state.now.evidence
    assert evidence.seqno == 7
    rig.control._execute(caller, Decision(Action.JOIN, "joins"), ["--an-argument"])
    assert rig.state.now.evidence == evidence
    assert rig.state.now.phase == "waiting"
    old.close()
