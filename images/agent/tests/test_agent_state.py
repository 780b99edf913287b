# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of a pod, its health, and what /status says in each of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from agent_fakes import Clock
from galera_agent.datadir import Evidence
from galera_agent.state import DESYNCED_SECONDS, FULL_SECONDS, LIVE_SECONDS, State, report
from galera_agent.wsrep import Status, parse

A = "aaaaaaaa-0000-4000-8000-00000000000a"
SYNCED = parse(
    {
        "wsrep_cluster_status": "Primary",
        "wsrep_connected": "ON",
        "wsrep_ready": "ON",
        "wsrep_local_state": "4",
        "wsrep_local_state_comment": "Synced",
        "wsrep_cluster_size": "3",
        "wsrep_cluster_state_uuid": A,
        "wsrep_last_committed": "41",
    }
)
DONOR = replace(SYNCED, local_state=2, local_state_comment="Donor/Desynced")


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def state(lines: list[str], clock: Clock) -> State:
    return State(lines.append, clock)


def running(state: State, status: Status = SYNCED) -> None:
    state.heard(status, "11.8.6", "", True)


def show(state: State, clock: Clock) -> dict[str, object]:
    return report(state.now, state.age(state.now), "n-0", "node")


def test_at_first_nothing_is_known(state: State, clock: Clock) -> None:
    shown = show(state, clock)
    assert (shown["phase"], shown["wsrep"], shown["age_seconds"]) == ("stopped", None, None)
    assert shown["evidence"] == {"data": "unknown", "uuid": None, "seqno": None}
    assert "stopped" in str(state.not_ready())
    assert state.dead() is None


def test_a_running_server_speaks_for_itself(state: State, clock: Clock) -> None:
    running(state)
    clock.now += 0.25
    shown = show(state, clock)
    assert (shown["phase"], shown["reason"]) == ("running", "Synced in a primary component of 3")
    assert shown["evidence"] == {"data": "present", "uuid": A, "seqno": 41}
    assert (shown["age_seconds"], shown["server_version"], shown["agent_version"]) == (0.25, "11.8.6", "1.0.0")
    assert state.not_ready() is None


def test_silence_takes_the_pod_out_within_a_second(state: State, clock: Clock) -> None:
    running(state)
    clock.now += 1
    assert "has not answered for 1.0 s" in str(state.not_ready())


def test_evidence_ends_when_the_server_is_told_to_start(state: State, clock: Clock) -> None:
    state.begin()
    state.testify(Evidence("present", A, 40))
    state.set("waiting", "waits")
    assert show(state, clock)["evidence"] == {"data": "present", "uuid": A, "seqno": 40}
    state.executed("joins")
    assert show(state, clock)["evidence"] == {
        "data": "unknown",
        "uuid": None,
        "seqno": None,
        "note": "its server is starting",
    }


def test_a_new_start_forgets_the_old_server(state: State, clock: Clock) -> None:
    running(state)
    state.drain()
    state.begin()
    shown = show(state, clock)
    assert (shown["phase"], shown["wsrep"], shown["age_seconds"], shown["server_version"]) == (
        "starting",
        None,
        None,
        None,
    )
    assert "draining" not in str(state.not_ready())


@pytest.mark.parametrize("phase", ["waiting", "refused", "initialising", "filling"])
def test_a_late_answer_of_the_old_server_counts_for_nothing(state: State, phase: str) -> None:
    state.begin()
    state.set(phase, "why")
    running(state)
    assert (state.now.phase, state.now.wsrep) == (phase, None)


def test_a_dead_server_is_told_from_a_hanging_one(state: State) -> None:
    running(state)
    state.heard(None, None, "timed out", True)
    assert (state.now.phase, state.now.reason) == ("running", "mariadbd does not answer: timed out")
    assert state.now.wsrep is None
    assert state.not_ready() == "mariadbd does not answer: timed out"
    state.heard(None, None, "Connection refused", False)
    assert (state.now.phase, state.now.wsrep) == ("stopped", None)


def test_draining_takes_the_pod_out_at_once_and_for_good(state: State) -> None:
    running(state)
    state.drain()
    running(state)
    assert "draining" in str(state.not_ready())
    assert "draining" in state.now.reason


def test_a_server_that_was_desynced_a_moment_ago_keeps_its_sessions(state: State, clock: Clock) -> None:
    running(state)
    assert state.not_ready() is None
    running(state, DONOR)
    clock.now += DESYNCED_SECONDS - 0.5
    running(state, DONOR)
    assert "Donor/Desynced" in str(state.not_ready())
    assert state.keeps_sessions()
    clock.now += 0.5
    running(state, DONOR)
    assert not state.keeps_sessions()
    # The next time counts from its own begin
    running(state)
    running(state, DONOR)
    assert state.keeps_sessions()


@pytest.mark.parametrize("change", [{"cluster_status": "non-Primary"}, {"ready": False}, {"local_state": 1}])
def test_a_server_that_cannot_serve_keeps_no_sessions(state: State, change: dict[str, Any]) -> None:
    running(state)
    running(state, replace(DONOR, **change))
    assert not state.keeps_sessions()


def test_a_server_that_died_while_desynced_starts_anew(state: State, clock: Clock) -> None:
    running(state, DONOR)
    state.heard(None, None, "connection refused", False)
    assert not state.keeps_sessions()
    clock.now += DESYNCED_SECONDS
    running(state, DONOR)
    assert state.keeps_sessions()


def test_only_a_server_that_ran_and_is_silent_is_dead(state: State, clock: Clock) -> None:
    running(state)
    clock.now += LIVE_SECONDS - 1
    assert state.dead() is None
    clock.now += 1
    assert "has not answered for 60 s" in str(state.dead())


@pytest.mark.parametrize("ran", [True, False])
def test_a_server_that_turns_the_agent_away_is_not_killed_and_says_why(state: State, clock: Clock, ran: bool) -> None:
    """As after an import that replaced the accounts, on all nodes: to restart them would end the service."""
    state.begin()
    if ran:
        running(state)
    for _ in range(90):
        clock.now += 1
        state.turned_away("Access denied for user 'mysql'@'localhost'")
    assert state.dead() is None
    assert state.now.wsrep is None
    assert state.now.phase == "running"
    assert "turns the agent away, which comes as mysql@localhost: Access denied" in str(state.not_ready())
    assert not state.keeps_sessions()
    state.heard(None, None, "timed out", True)
    clock.now += LIVE_SECONDS
    assert "has not answered for 60 s" in str(state.dead())


@pytest.mark.parametrize("ran", [True, False])
def test_a_server_that_hangs_is_found_out_although_it_says_that_it_is_full(
    state: State, clock: Clock, ran: bool
) -> None:
    """Connections that hang use up all that there are, and what is said then is said before any work."""
    state.begin()
    if ran:
        running(state)
    state.turned_away("Too many connections", full=True)
    clock.now += LIVE_SECONDS
    state.turned_away("Too many connections", full=True)
    assert state.dead() is None
    assert "turns the agent away" in str(state.not_ready())
    state.heard(None, None, "timed out", True)
    assert "has not answered for 60 s" in str(state.dead())
    clock.now += FULL_SECONDS - LIVE_SECONDS
    state.turned_away("Too many connections", full=True)
    assert "has not answered for 300 s" in str(state.dead())
    running(state)
    assert state.dead() is None


@pytest.mark.parametrize("phase", ["waiting", "refused", "initialising", "filling"])
def test_the_words_of_an_old_server_count_for_nothing(state: State, phase: str) -> None:
    state.begin()
    state.set(phase, "why")
    state.turned_away("Too many connections")
    assert (state.now.phase, state.now.reason) == (phase, "why")


@pytest.mark.parametrize("phase", ["waiting", "refused", "initialising", "filling", "starting", "stopped"])
def test_no_start_and_no_transfer_is_ever_dead(state: State, clock: Clock, phase: str) -> None:
    running(state)
    state.begin()
    state.set(phase, "takes an hour")
    clock.now += 3600
    assert state.dead() is None


def test_backups_are_vouched_for_as_long_as_the_server_stays_in_the_component(state: State, clock: Clock) -> None:
    running(state)
    stay = state.stay
    state.vouch(stay, ["b2", "b1"])
    state.heard(None, None, "timed out", True)
    running(state)
    state.vouch(stay, ["b3"])
    assert show(state, clock)["vouches"] == ["b1", "b2", "b3"]
    state.vouch(stay, [f"c{number:02}" for number in range(40)])
    assert len(state.now.vouches) == 30
    assert state.now.vouches[-1] == "c39"


@pytest.mark.parametrize("leave", ["outside", "dead", "restarted"])
def test_what_was_known_before_the_server_left_the_component_counts_no_more(state: State, leave: str) -> None:
    """A backup that ends in between must not be vouched for by the server that comes after."""
    running(state)
    stay = state.stay
    state.vouch(stay, ["b1"])
    if leave == "outside":
        running(state, replace(SYNCED, cluster_status="non-Primary"))
    elif leave == "dead":
        state.heard(None, None, "Connection refused", False)
    else:
        state.begin()
    running(state)
    state.vouch(stay, ["b2"])
    assert state.now.vouches == ()


def test_each_change_is_one_line(state: State, lines: list[str]) -> None:
    running(state)
    running(state)
    state.heard(None, None, "timed out", True)
    running(state)
    assert lines == [
        "running: Synced in a primary component of 3",
        "running: mariadbd does not answer: timed out",
        "running: Synced in a primary component of 3",
    ]
