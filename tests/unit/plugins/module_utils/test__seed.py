# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _seed
from ansible_collections.stateful.galera.plugins.module_utils._observe import Sight
from unit.plugins.module_utils.sights import (
    NODE_CLAIMS,
    OTHER,
    RECORD,
    SEED,
    SEED_CLAIM,
    UUID,
    claim,
    leaving,
    node,
    pod,
    seed_node,
    sight,
    waiting,
)

CLAIMS = ["data-demo-galera-0", "data-demo-galera-1"]


@pytest.mark.parametrize(
    ("record", "seed", "seed_claim", "claims", "ready", "action"),
    [
        pytest.param(None, "absent", False, [], 0, "needed", id="new"),
        pytest.param(None, "absent", True, [], 0, "needed", id="killed before the seed was made"),
        pytest.param(None, "present", True, [], 0, "present", id="killed right after the seed was made"),
        pytest.param(None, "present", True, CLAIMS, 0, "present", id="killed before the bootstrap"),
        pytest.param(RECORD, "present", True, CLAIMS, 3, "present", id="killed before the decommission"),
        pytest.param(RECORD, "leaving", True, CLAIMS, 3, "leaving", id="killed in the decommission"),
        pytest.param(RECORD, "absent", True, CLAIMS, 3, "leaving", id="killed before the claim was removed"),
        pytest.param(None, "absent", True, CLAIMS, 3, "leaving", id="the same, record lost"),
        pytest.param(RECORD, "absent", False, CLAIMS, 3, "not_needed", id="healthy"),
        pytest.param(RECORD, "absent", False, CLAIMS, 0, "not_needed", id="down"),
        pytest.param(RECORD, "absent", False, [], 0, "not_needed", id="volumes lost: no new cluster by itself"),
        pytest.param(None, "absent", False, CLAIMS, 2, "not_needed", id="lives, record lost"),
        pytest.param(None, "leaving", True, CLAIMS, 0, "leaving", id="seed goes, no record"),
        pytest.param(None, "absent", False, CLAIMS, 0, "undecided", id="kept volumes, no record"),
        pytest.param(None, "absent", True, CLAIMS, 0, "undecided", id="kept volumes and the seed's, no record"),
        pytest.param("", "absent", False, CLAIMS, 0, "undecided", id="empty record is none"),
    ],
)
def test_in_cluster_run(
    record: str | None, seed: str, seed_claim: bool, claims: list[str], ready: int, action: str
) -> None:
    decision = _seed.in_cluster_run(record, seed, seed_claim, claims, ready)
    assert decision.action == action
    assert decision.reason.endswith(".")


FRESH: dict[str, Any] = {"record": None, "claims": NODE_CLAIMS}
EMPTY = [waiting(ordinal) for ordinal in range(3)]


@pytest.mark.parametrize(
    ("seen", "action", "said"),
    [
        pytest.param(sight(*EMPTY, **FRESH), "create", "All 3 nodes answer and are empty.", id="all empty"),
        pytest.param(
            sight(record=None, stateful_set=None), "create", "no nodes, no volumes and no record.", id="nothing at all"
        ),
        pytest.param(
            sight(*EMPTY, **FRESH, seed=SEED), "present", "The seed demo-galera-seed exists.", id="there is one"
        ),
        pytest.param(sight(*EMPTY, **FRESH, seed=leaving(SEED)), "present", "exists.", id="one is leaving"),
        pytest.param(sight(*EMPTY, claims=NODE_CLAIMS), "not_needed", f"(uuid {UUID})", id="record"),
        pytest.param(
            sight(*EMPTY, record="garbage", claims=NODE_CLAIMS), "not_needed", "bootstrapped", id="unreadable record"
        ),
        pytest.param(
            sight(*EMPTY[:2], waiting(2, "present"), **FRESH), "not_needed", "demo-galera-2 has data", id="data on one"
        ),
        pytest.param(
            sight(*EMPTY[:2], node(2, evidence="unknown"), **FRESH),
            "not_needed",
            "demo-galera-2 is in a Primary",
            id="one in a Primary component",
        ),
        pytest.param(
            sight(*EMPTY[:2], waiting(2, "partial"), **FRESH), "refuse", "demo-galera-2 has an incomplete", id="half"
        ),
        pytest.param(
            sight(waiting(0, "partial"), waiting(1, "present"), **FRESH),
            "not_needed",
            "demo-galera-1 has data",
            id="data goes before half a directory",
        ),
        pytest.param(
            sight(*EMPTY[:2], waiting(2, "unknown", "recovers the position"), **FRESH),
            "wait",
            "demo-galera-2 is waiting (recovers the position)",
            id="one does not know yet",
        ),
        pytest.param(sight(*EMPTY[:2], **FRESH), "wait", "demo-galera-2: no pod", id="one has no pod"),
        pytest.param(sight(*EMPTY, **{**FRESH, "size": 4}), "wait", "demo-galera-3: no pod", id="one more is wanted"),
        pytest.param(sight(**FRESH, stateful_set=None), "refuse", "apply the nodes first", id="volumes without nodes"),
        pytest.param(
            sight(*EMPTY, node(5, name="demo-galera-seed-0", role="seed"), **FRESH),
            "create",
            "empty",
            id="a seed's pod is no node",
        ),
    ],
)
def test_to_create(seen: Sight, action: str, said: str) -> None:
    decision = _seed.to_create(seen)
    assert decision.action == action
    assert said in decision.reason


SYNCED = [node(ordinal) for ordinal in range(3)]
WITH_SEED = [node(ordinal, cluster_size=4) for ordinal in range(3)]
BEFORE: dict[str, Any] = {
    "seed": SEED,
    "claims": (*NODE_CLAIMS, SEED_CLAIM),
    "pods": (pod("demo-galera-seed-0", "seed"),),
}
STOPPING: dict[str, Any] = {**BEFORE, "seed": None, "pods": (pod("demo-galera-seed-0", "seed", leaving=True),)}
GONE: dict[str, Any] = {**BEFORE, "seed": None, "pods": ()}


@pytest.mark.parametrize(
    ("seen", "action", "said"),
    [
        pytest.param(sight(*SYNCED, claims=NODE_CLAIMS), "nothing", "There is no seed.", id="done"),
        pytest.param(sight(record=None, stateful_set=None), "nothing", "There is no seed.", id="no cluster"),
        pytest.param(
            sight(*WITH_SEED, seed_node(), **BEFORE), "remove_seed", "All 3 nodes are Synced", id="ready to go"
        ),
        pytest.param(
            sight(*SYNCED, **BEFORE), "remove_seed", "All 3 nodes are Synced", id="the seed is outside already"
        ),
        pytest.param(
            sight(*WITH_SEED, seed_node(state="Donor/Desynced"), **BEFORE),
            "wait",
            "the seed is Donor/Desynced",
            id="donor",
        ),
        pytest.param(
            sight(*WITH_SEED[:2], node(2, state="Joiner", reason="gets a copy", ready=False), seed_node(), **BEFORE),
            "wait",
            "2 of 3 nodes are Synced in a Primary component: demo-galera-2 is Joiner (gets a copy)",
            id="a joiner",
        ),
        pytest.param(
            sight(*WITH_SEED[:2], seed_node(), **BEFORE), "wait", "demo-galera-2: no pod", id="a node is missing"
        ),
        pytest.param(
            sight(*WITH_SEED[:2], node(2, cluster_status="non-Primary"), seed_node(), **BEFORE),
            "wait",
            "2 of 3 nodes",
            id="a node is not Primary",
        ),
        pytest.param(
            sight(*WITH_SEED[:2], node(2, connected=False), seed_node(), **BEFORE),
            "wait",
            "2 of 3 nodes",
            id="a node's state is stale",
        ),
        pytest.param(
            sight(*WITH_SEED[:2], node(2, cluster_size=4, cluster_uuid=OTHER), seed_node(), **BEFORE),
            "wait",
            f"the nodes are in different clusters: {UUID} and {OTHER}",
            id="two clusters",
        ),
        pytest.param(
            sight(*SYNCED, seed_node(cluster_uuid=OTHER), **BEFORE),
            "wait",
            f"the seed is in another cluster ({OTHER})",
            id="the seed alone",
        ),
        pytest.param(
            sight(node(0, cluster_size=2), node(1, cluster_size=4), node(2, cluster_size=4), seed_node(), **BEFORE),
            "wait",
            "the nodes count 2 or 4 members, 3 or 4 are expected",
            id="views differ",
        ),
        pytest.param(
            sight(*[node(i, cluster_size=5) for i in range(3)], seed_node(cluster_size=5), **BEFORE),
            "wait",
            "the nodes count 5 members, 3 or 4 are expected",
            id="a stranger in the cluster",
        ),
        pytest.param(
            sight(*WITH_SEED, seed_node(), **BEFORE, stateful_set=None),
            "refuse",
            "There are no nodes (demo-galera)",
            id="no nodes",
        ),
        pytest.param(
            sight(*WITH_SEED, seed_node(), **{**BEFORE, "seed": leaving(SEED)}),
            "wait_gone",
            "demo-galera-seed-0 is stopping",
            id="set is being deleted",
        ),
        pytest.param(sight(*SYNCED, **STOPPING), "wait_gone", "demo-galera-seed-0 is stopping", id="pod stops"),
        pytest.param(
            sight(*SYNCED, **{**STOPPING, "pods": BEFORE["pods"]}), "remove_pod", "was left behind", id="orphaned pod"
        ),
        pytest.param(
            sight(*SYNCED, **GONE),
            "remove_claim",
            "All 3 nodes are Synced without the seed.",
            id="killed before the claim",
        ),
        pytest.param(
            sight(*WITH_SEED, **GONE),
            "wait",
            "the nodes count 4 members, 3 are expected",
            id="the view has not changed yet",
        ),
        pytest.param(
            sight(*SYNCED[:2], **GONE), "wait", "demo-galera-2: no pod", id="the claim stays while a node is missing"
        ),
        pytest.param(
            sight(*SYNCED, **{**GONE, "claims": (*NODE_CLAIMS, leaving(SEED_CLAIM))}),
            "wait_gone",
            "the claim demo-galera-seed-volume-claim is being deleted",
            id="claim is being deleted",
        ),
        pytest.param(
            sight(*SYNCED, **{**GONE, "claims": (*NODE_CLAIMS, claim("demo-galera-backup-volume-claim"))}),
            "nothing",
            "There is no seed.",
            id="other claims are none of the seed",
        ),
    ],
)
def test_to_remove(seen: Sight, action: str, said: str) -> None:
    decision = _seed.to_remove(seen)
    assert decision.action == action
    assert said in decision.reason


def test_nothing_of_the_seed_is_removed_unless_every_node_is_synced() -> None:
    """Whatever single node is not Synced, no step of the decommission removes something."""
    for phase in (BEFORE, GONE):
        for ordinal in range(3):
            for bad in (
                node(ordinal, state="Joined"),
                node(ordinal, cluster_status="Disconnected"),
                waiting(ordinal, "present"),
            ):
                nodes = [bad if bad.name == each.name else each for each in SYNCED]
                assert _seed.to_remove(sight(*nodes, **phase)).action == "wait"
