# SPDX-License-Identifier: GPL-3.0-or-later
"""Who leads: one at a time, the last node by preference, and nobody who may have lost the Lease."""

from __future__ import annotations

import pytest
from agent_fakes import Clock, FakeKube
from galera_agent.backup.leader import LOST_SECONDS, OFFER_SECONDS, PASSED_SECONDS, Leader, Step, View, decide
from galera_agent.kube import ApiError
from galera_agent.lease import DURATION_SECONDS, RENEW_SECONDS, BootstrapLease
from galera_agent.members import Lease

OTHER, DEAD, FREE = Lease("n-galera-1", "t"), Lease("n-galera-1", "t", expired=True), Lease("", "t")


@pytest.mark.parametrize(
    ("held", "lease", "unfit", "busy", "better", "step"),
    [
        (False, None, "", False, None, Step.TAKE),
        (False, FREE, "", False, None, Step.TAKE),
        (False, DEAD, "", False, None, Step.TAKE),
        (False, OTHER, "", False, None, Step.WAIT),
        (False, None, "not Synced", False, None, Step.WAIT),
        (False, None, "", False, "n-galera-2", Step.WAIT),
        (True, FREE, "", False, None, Step.RENEW),
        (True, FREE, "", False, "n-galera-2", Step.GIVE_BACK),
        (True, FREE, "", True, "n-galera-2", Step.RENEW),
        (True, FREE, "not Synced", False, None, Step.GIVE_BACK),
        # mariadb-backup itself makes the node a Donor for a moment
        (True, FREE, "not Synced", True, None, Step.RENEW),
    ],
)
def test_decisions(held: bool, lease: Lease | None, unfit: str, busy: bool, better: str | None, step: Step) -> None:
    assert decide(View(held, lease, unfit, busy, better))[0] is step


class Node:
    """An agent with its leader; better says who is preferred."""

    def __init__(self, kube: FakeKube, clock: Clock, pod: str) -> None:
        self.better: str | None = None
        self.leader = Leader(BootstrapLease(kube, "n-galera-backup", pod, clock), lambda: self.better, clock)

    def round(self, unfit: str = "", busy: bool = False) -> bool:
        self.leader.round(unfit, busy)
        return self.leader.leads


@pytest.fixture
def nodes(kube: FakeKube, clock: Clock) -> tuple[Node, Node]:
    return Node(kube, clock, "n-galera-1"), Node(kube, clock, "n-galera-2")


def test_one_leads_and_the_other_takes_over_when_it_is_silent(nodes: tuple[Node, Node], clock: Clock) -> None:
    one, two = nodes
    assert two.round()
    assert not one.round()
    assert one.leader.reason == "n-galera-2 leads"
    for _ in range(int(DURATION_SECONDS / RENEW_SECONDS)):
        clock.now += RENEW_SECONDS
        assert not one.round()
    clock.now += RENEW_SECONDS
    assert not two.leader.leads
    assert one.round()
    clock.now += RENEW_SECONDS
    assert not two.round()


def test_a_leader_that_cannot_renew_stops_before_another_may_begin(
    nodes: tuple[Node, Node], clock: Clock, kube: FakeKube
) -> None:
    assert LOST_SECONDS < DURATION_SECONDS
    _, two = nodes
    assert two.round()
    kube.down = True
    clock.now += LOST_SECONDS - 1
    with pytest.raises(ApiError):
        two.round()
    assert two.leader.leads
    clock.now += 1
    assert not two.leader.leads


def test_it_is_renewed_no_more_often_than_needed(nodes: tuple[Node, Node], clock: Clock, kube: FakeKube) -> None:
    _, two = nodes
    two.round()
    before = kube.leases["n-galera-backup"]["metadata"]["resourceVersion"]
    clock.now += RENEW_SECONDS / 2
    two.round()
    assert kube.leases["n-galera-backup"]["metadata"]["resourceVersion"] == before
    clock.now += RENEW_SECONDS
    two.round()
    assert kube.leases["n-galera-backup"]["metadata"]["resourceVersion"] != before


def test_it_is_handed_to_the_last_node_but_not_amid_a_backup(nodes: tuple[Node, Node], clock: Clock) -> None:
    one, two = nodes
    assert one.round()
    one.better = "n-galera-2"
    clock.now += RENEW_SECONDS
    assert one.round(busy=True)
    assert not two.round()
    clock.now += RENEW_SECONDS
    assert not one.round()
    clock.now += RENEW_SECONDS
    assert two.round()


def test_it_is_handed_over_when_this_node_is_ready(nodes: tuple[Node, Node], clock: Clock) -> None:
    one, two = nodes
    one.round()
    one.better = "n-galera-2"
    for ready in (False, False, True):
        assert one.leader.leads
        assert not two.round()
        clock.now += RENEW_SECONDS
        one.leader.round("", busy=False, ready=lambda ready=ready: ready)  # type: ignore[misc]
    assert not one.leader.leads
    clock.now += RENEW_SECONDS
    assert two.round()


def test_a_better_node_that_does_not_take_it_is_passed_over_for_a_while(nodes: tuple[Node, Node], clock: Clock) -> None:
    """Its server is well, and its agent does not reach the API server."""
    one, two = nodes
    one.better = "n-galera-2"

    def led(rounds: int) -> list[bool]:
        found = []
        for _ in range(rounds):
            found.append(one.round())
            clock.now += RENEW_SECONDS
        return found

    offered = int(OFFER_SECONDS / RENEW_SECONDS)
    passed = int(PASSED_SECONDS / RENEW_SECONDS)
    assert led(offered + 1) == [False] * offered + [True]
    assert led(passed) == [True] * (passed - 1) + [False]
    assert led(offered) == [False] * (offered - 1) + [True]
    # another one is none that did not take it
    one.better = "n-galera-3"
    assert led(1) == [False]
    assert two.round()


def test_a_node_that_is_not_synced_does_not_ask(nodes: tuple[Node, Node], clock: Clock) -> None:
    _, two = nodes
    two.round()
    clock.now += RENEW_SECONDS
    two.leader.round("not Synced", busy=False, ready=lambda: False)
    assert not two.leader.leads


def test_a_node_that_is_not_synced_gives_it_back(nodes: tuple[Node, Node], clock: Clock) -> None:
    one, two = nodes
    assert two.round()
    clock.now += RENEW_SECONDS
    assert not two.round(unfit="not Synced")
    assert one.round()


def test_who_was_replaced_does_not_lead_at_once(nodes: tuple[Node, Node], clock: Clock, kube: FakeKube) -> None:
    _, two = nodes
    assert two.round()
    kube.leases["n-galera-backup"]["spec"]["holderIdentity"] = "n-galera-1"
    clock.now += RENEW_SECONDS
    assert not two.round()
