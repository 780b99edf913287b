# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods and agents of *_healthy.json are those of a cluster of three on Kubernetes 1.36 with MariaDB 11.8."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _wsrep
from ansible_collections.stateful.galera.plugins.module_utils._observe import Sight
from unit.plugins.module_utils.sights import (
    OTHER,
    SEED,
    SET,
    UUID,
    leaving,
    node,
    pod,
    seed_node,
    sight,
    waiting,
)

FIXTURES = Path(__file__).parent / "fixtures"
PODS: list[dict[str, Any]] = json.loads((FIXTURES / "pods_healthy.json").read_text())
AGENTS: list[dict[str, Any]] = json.loads((FIXTURES / "agents_healthy.json").read_text())
SERVERS = [each for each in PODS if each["metadata"]["labels"]["app.kubernetes.io/component"] == "node"]


def test_row_of_a_real_node() -> None:
    assert _wsrep.node_of(SERVERS[0], AGENTS[0]).row() == {
        "name": "lead-galera-0",
        "role": "node",
        "pod_phase": "Running",
        "ready": True,
        "phase": "running",
        "reason": "Synced in a primary component of 3",
        "cluster_status": "Primary",
        "state": "Synced",
        "cluster_size": 3,
        "cluster_uuid": "1a7ac90c-e57a-11f1-a434-cb576fa25710",
        "last_committed": 5,
        "flow_control_paused": 0,
        "recv_queue": 0,
        "send_queue": 0,
        "version": "11.8.6-MariaDB-0+deb13u1 from Debian",
        "provider_version": "4.23(rXXXX)",
        "kubernetes_node": "stateful-galera-worker",
        "agent_version": "1.0.0",
        "restarts": 0,
        "evidence": "present",
        "evidence_uuid": "1a7ac90c-e57a-11f1-a434-cb576fa25710",
        "evidence_seqno": 5,
        "cluster_conf_id": 5,
    }


def test_real_cluster_is_healthy() -> None:
    nodes = [_wsrep.node_of(each, status) for each, status in zip(SERVERS, AGENTS, strict=True)]
    facts = _wsrep.cluster_facts(sight(*nodes, pods=tuple(PODS)))
    assert {key: facts[key] for key in ("size", "ready", "haproxy", "haproxy_ready", "seed")} == {
        "size": 3,
        "ready": 0,
        "haproxy": 2,
        "haproxy_ready": 2,
        "seed": False,
    }


@pytest.mark.parametrize("age", [None, _wsrep.STALE_SECONDS + 0.1])
def test_what_is_stale_is_not_known(age: float | None) -> None:
    status = {**AGENTS[0], "age_seconds": age}
    seen = _wsrep.node_of(SERVERS[0], status)
    assert (seen.synced, seen.primary, seen.state, seen.cluster_size) == (False, False, None, None)
    assert (seen.phase, seen.evidence) == ("running", "present")


@pytest.mark.parametrize("key", ["connected", "ready"])
def test_server_that_does_not_take_queries_is_not_primary(key: str) -> None:
    status = copy.deepcopy(AGENTS[0])
    status["wsrep"][key] = False
    assert not _wsrep.node_of(SERVERS[0], status).primary


def test_agent_that_is_silent() -> None:
    seen = _wsrep.node_of(SERVERS[0], None, "its agent does not answer")
    assert (seen.phase, seen.reason, seen.evidence, seen.synced) == (
        "unknown",
        "its agent does not answer",
        "unknown",
        False,
    )


def test_agent_without_a_server() -> None:
    status = {"phase": "waiting", "reason": "waits", "evidence": {"data": "empty"}, "wsrep": None, "age_seconds": None}
    seen = _wsrep.node_of(SERVERS[0], status)
    assert (seen.phase, seen.reason, seen.evidence, seen.version) == ("waiting", "waits", "empty", None)


def test_pod_without_a_status() -> None:
    seen = _wsrep.node_of({"metadata": {"name": "x"}}, None)
    assert (seen.pod_phase, seen.ready, seen.restarts, seen.kubernetes_node) == ("Unknown", False, 0, None)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (node(0), "demo-galera-0 is Synced and Ready"),
        (node(0, ready=False), "demo-galera-0 is Synced"),
        (
            node(0, state="Donor/Desynced", reason="gives a copy."),
            "demo-galera-0 is Donor/Desynced and Ready (gives a copy)",
        ),
        (waiting(0), "demo-galera-0 is waiting (waits for the seed)"),
        (_wsrep.Node("demo-galera-0", "node", "Pending"), "demo-galera-0 is Pending"),
        (node(0, cluster_status="non-Primary", reason=""), "demo-galera-0 is running"),
    ],
)
def test_summary(seen: _wsrep.Node, words: str) -> None:
    assert seen.summary() == words


SYNCED = [node(ordinal) for ordinal in range(3)]
WITH_SEED = [node(ordinal, cluster_size=4) for ordinal in range(3)]


@pytest.mark.parametrize(
    ("seen", "verdict", "said"),
    [
        pytest.param(sight(*SYNCED), "healthy", "All 3 nodes are Synced in one Primary component.", id="healthy"),
        pytest.param(sight(*SYNCED, record=None), "healthy", "All 3 nodes", id="healthy without a record"),
        pytest.param(
            sight(*WITH_SEED, seed_node(), seed=SEED),
            "healthy",
            "the seed is still there: the seed_decommission",
            id="healthy with a seed",
        ),
        pytest.param(
            sight(record=None, stateful_set=None),
            "absent",
            "There is no cluster demo in the namespace db: ",
            id="absent",
        ),
        pytest.param(sight(stateful_set=None), "absent", "but its record is there", id="torn down"),
        pytest.param(
            sight(*[waiting(i) for i in range(3)], record=None, seed=SEED),
            "bootstrapping",
            "0 of 3 nodes are Synced: demo-galera-0 is waiting (waits for the seed), ",
            id="begins",
        ),
        pytest.param(
            sight(*WITH_SEED[:2], seed_node(), seed=SEED),
            "bootstrapping",
            "2 of 3 nodes are Synced: demo-galera-2 has no pod",
            id="the last one joins",
        ),
        pytest.param(sight(seed=None, record=None), "bootstrapping", "0 of 3 nodes", id="no pods yet"),
        pytest.param(
            sight(*SYNCED[:2], node(2, state="Joiner", reason="")),
            "degraded",
            "only 2 of 3 nodes are Synced: demo-galera-2 is Joiner",
            id="degraded",
        ),
        pytest.param(
            sight(*SYNCED[:2], waiting(2, "present"), seed=leaving(SEED)), "degraded", "only 2 of 3", id="seed leaves"
        ),
        pytest.param(
            sight(*SYNCED[:2], node(2, ready=False)),
            "degraded",
            "Kubernetes does not count demo-galera-2 as Ready",
            id="not Ready",
        ),
        pytest.param(
            sight(*[node(i, cluster_size=4) for i in range(3)]),
            "degraded",
            "count 4 members where 3 are seen",
            id="a stranger",
        ),
        pytest.param(
            sight(*[waiting(i, "present") for i in range(3)]),
            "down",
            "No node is in a Primary component; 0 of 3",
            id="down",
        ),
        pytest.param(
            sight(*[node(i, cluster_status="non-Primary") for i in range(3)]),
            "down",
            "No node is in a Primary",
            id="no quorum",
        ),
        pytest.param(
            sight(*SYNCED[:2], node(2, cluster_uuid=OTHER)),
            "split",
            f"demo-galera-0 and demo-galera-1 in {UUID} and demo-galera-2 in {OTHER}",
            id="two clusters",
        ),
        pytest.param(
            sight(*[node(i, cluster_size=1) for i in range(3)]),
            "split",
            "3 nodes are Primary, but none counts more than 1",
            id="components of one",
        ),
        pytest.param(
            sight(
                *SYNCED[:2],
                waiting(2, "present").__class__(
                    "demo-galera-2", "node", "Running", phase="refused", reason="its data is of another cluster."
                ),
            ),
            "refused",
            "demo-galera-2 is refused (its data is of another cluster).",
            id="refused",
        ),
        pytest.param(sight(*SYNCED, waiting(3, "empty"), size=4), "degraded", "only 3 of 4", id="grows"),
    ],
)
def test_judge(seen: Sight, verdict: str, said: str) -> None:
    found = _wsrep.judge(seen)
    assert found.verdict == verdict
    assert said in found.reason
    assert found.reason.endswith(".")


def test_facts() -> None:
    facts = _wsrep.cluster_facts(sight(*WITH_SEED, seed_node(), seed=SEED))
    assert {key: facts[key] for key in ("size", "wanted", "uuid", "ready", "seed")} == {
        "size": 4,
        "wanted": 3,
        "uuid": UUID,
        "ready": 3,
        "seed": True,
    }


def test_facts_of_a_cluster_that_is_down() -> None:
    facts = _wsrep.cluster_facts(sight(*[waiting(i, "present") for i in range(3)]))
    assert (facts["uuid"], facts["size"], facts["ready"]) == (UUID, 0, 0)


def _rolling(updated: int, observed: int = 2, strategy: str = "RollingUpdate", revision: str = "new") -> dict[str, Any]:
    return {
        "metadata": {**SET["metadata"], "generation": 2},  # type: ignore[dict-item]
        "spec": {"replicas": 3, "updateStrategy": {"type": strategy}},
        "status": {
            "observedGeneration": observed,
            "currentRevision": "old",
            "updateRevision": revision,
            "updatedReplicas": updated,
        },
    }


@pytest.mark.parametrize(
    ("seen", "lacks"),
    [
        (sight(*SYNCED), ""),
        (sight(*SYNCED[:2]), "The cluster works, but only 2 of 3 nodes are Synced: demo-galera-2 has no pod"),
        (sight(*SYNCED, stateful_set=_rolling(3)), ""),
        (sight(*SYNCED, stateful_set=_rolling(0, revision="old")), ""),
        (sight(*SYNCED, stateful_set=_rolling(1)), "1 of 3 nodes have the new form of the StatefulSet demo-galera"),
        (sight(*SYNCED, stateful_set=_rolling(1, strategy="OnDelete")), ""),
        (
            sight(*SYNCED, stateful_set=_rolling(3, observed=1)),
            "the change of the StatefulSet demo-galera has not been taken up yet",
        ),
    ],
)
def test_goal_healthy(seen: Sight, lacks: str) -> None:
    assert _wsrep.goal_healthy(seen) == lacks


PROXY, UNREADY, LEAVING = (
    pod("demo-galera-haproxy-1", "haproxy"),
    pod("demo-galera-haproxy-2", "haproxy", ready=False),
    pod("demo-galera-haproxy-3", "haproxy", ready=False, leaving=True),
)


@pytest.mark.parametrize(
    ("pods", "lacks"),
    [
        ((PROXY,), ""),
        ((PROXY, LEAVING), ""),
        ((PROXY, UNREADY), "1 of 2 pods of HAProxy are Ready"),
        ((), "0 of 0 pods of HAProxy are Ready"),
    ],
)
def test_goal_serving(pods: tuple[dict[str, Any], ...], lacks: str) -> None:
    assert _wsrep.goal_serving(sight(*SYNCED, pods=pods)) == lacks


def test_goal_serving_wants_the_nodes_first() -> None:
    assert _wsrep.goal_serving(sight(*SYNCED[:2], pods=(PROXY,))).startswith("The cluster works, but")


def _proxies(replicas: int = 2, updated: int = 2, generation: int = 1) -> tuple[dict[str, Any], ...]:
    metadata = {"name": "demo-galera-haproxy", "generation": generation}
    status = {"observedGeneration": 1, "updatedReplicas": updated}
    return ({"metadata": metadata, "spec": {"replicas": replicas}, "status": status},)


BOTH = (PROXY, pod("demo-galera-haproxy-2", "haproxy"))


@pytest.mark.parametrize(
    ("pods", "proxies", "verdict", "said", "waits_for"),
    [
        (BOTH, _proxies(), "healthy", "All 3", ""),
        ((), None, "healthy", "All 3", "0 of 0 pods"),
        ((), (), "degraded", "No client can connect: there is no Deployment demo-galera-haproxy", "No client can"),
        (
            (),
            _proxies(0, 0),
            "degraded",
            "No client can connect: the Deployment demo-galera-haproxy has 0",
            "No client",
        ),
        ((UNREADY,), _proxies(1), "degraded", "No client can connect: 0 of 1 pods of HAProxy are Ready. All", "No"),
        ((PROXY, UNREADY), _proxies(), "degraded", "Only 1 of 2 pods of HAProxy are Ready. All 3 nodes", "Only 1 of 2"),
        ((*BOTH, UNREADY), _proxies(updated=1), "healthy", "All 3", "1 of 2 pods of HAProxy have the new form; one t"),
        (BOTH, _proxies(generation=2), "healthy", "All 3", "the change of the Deployment demo-galera-haproxy has not"),
    ],
)
def test_haproxy_is_part_of_the_verdict_and_waited_for(
    pods: Any, proxies: Any, verdict: str, said: str, waits_for: str
) -> None:
    seen = sight(*SYNCED, pods=pods, proxies=proxies)
    facts = _wsrep.cluster_facts(seen)
    assert (facts["verdict"], facts["reason"][: len(said)]) == (verdict, said)
    assert _wsrep.goal_serving(seen)[: len(waits_for) or None] == waits_for
    # the nodes are rolled and recovered by what they say themselves
    assert _wsrep.goal_healthy(seen) == ""


def test_haproxy_of_a_cluster_that_is_down_is_no_verdict() -> None:
    assert _wsrep.cluster_facts(sight(waiting(0), pods=(UNREADY,), proxies=_proxies()))["verdict"] == "down"
