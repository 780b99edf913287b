# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _diagnosis
from ansible_collections.stateful.galera.plugins.module_utils._observe import Sight
from ansible_collections.stateful.galera.plugins.module_utils._wsrep import Node
from unit.plugins.module_utils.sights import (
    NODE_CLAIMS,
    OTHER,
    SEED,
    SEED_CLAIM,
    SET,
    UUID,
    claim,
    leaving,
    node,
    pod,
    sight,
    waiting,
)

PODS = tuple(pod(f"demo-galera-{ordinal}") for ordinal in range(3))
# as a joiner wrote them whose donor was killed, and after a failed start of socat
BROKEN_TRANSFER = """2026-11-21 12:00:00 0 [Note] WSREP: Member 1.0 requested state transfer
2026-11-21 12:00:01 0 [ERROR] WSREP: SST failed: 32 (Broken pipe)
WSREP_SST: [ERROR] Cleanup after exit with status: 32 (20261121 12:00:01)
2026-11-21 12:00:02 0 [ERROR] Aborting"""


def _silent(ordinal: int) -> Node:
    return Node(f"demo-galera-{ordinal}", "node", "Running", reason="its agent did not answer within 3 s")


def _pending(ordinal: int) -> dict[str, Any]:
    manifest = pod(f"demo-galera-{ordinal}", ready=False)
    message = "0/3 nodes are available: 3 Insufficient cpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    manifest["status"] = {"phase": "Pending", "conditions": [condition]}
    return manifest


TWO = (node(0, cluster_size=2), node(1, cluster_size=2))
DOWN = tuple(waiting(ordinal, "present", "waits for demo-galera-2") for ordinal in range(2))


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (sight(node(0), node(1), node(2), pods=PODS), "Nothing is to be done."),
        (
            sight(node(0), node(1), node(2), pods=PODS, record=None),
            "Run the site playbook: the ConfigMap demo-galera-state is gone",
        ),
        (
            sight(node(0), node(1), node(2), pods=PODS, stateful_set=None),
            "Run the site playbook: the StatefulSet demo-galera is gone, without which no pod is made again.",
        ),
        (sight(node(0), node(1), node(2), seed=SEED), "Run the seed_decommission playbook"),
        (sight(stateful_set=None, record=None), "Run the site playbook."),
        (sight(stateful_set=None), "Run the site playbook."),
        (sight(node(0), waiting(1), waiting(2), record=None), "Wait, or run the site playbook, which goes on"),
        (sight(*TWO, node(2, state="Joiner", ready=False)), "Wait: demo-galera-2 gets what was missed"),
        (
            sight(*TWO, node(2, cluster_status=None, state=None, ready=False)),
            "Wait: demo-galera-2 comes back by itself. If that takes longer than five minutes: Read `kubectl",
        ),
        (sight(*TWO, _silent(2)), "Read `kubectl -n db describe pod demo-galera-2`"),
        (
            sight(*TWO, Node("demo-galera-2", "node", "Pending"), pods=(*PODS[:2], _pending(2))),
            "Mend this: demo-galera-2",
        ),
        (
            sight(*TWO, stateful_set={**SET, "spec": {"replicas": 2}}),
            "Run the site playbook: demo-galera-2 has no pod.",
        ),
        (
            sight(stateful_set={**SET, "spec": {"replicas": 0}}),
            "Run the site playbook: the StatefulSet demo-galera has 0 replicas.",
        ),
        (
            sight(node(0), node(1), node(2), claims=(leaving(claim("data-demo-galera-1")), leaving(SEED_CLAIM))),
            "Delete the pod of data-demo-galera-1, one after the other while all nodes are Synced: data-demo-galera-1 "
            "was deleted, the volume vanishes at the next stop of its pod",
        ),
        (
            sight(node(0), node(1), node(2), proxies=()),
            "Run the site playbook: No client can connect: there is no Deployment demo-galera-haproxy",
        ),
        (
            sight(node(0), node(1), node(2), proxies=({"metadata": {}, "spec": {"replicas": 2}},)),
            "Read `kubectl -n db describe deployment/demo-galera-haproxy` and `kubectl -n db logs deployment/demo-",
        ),
        (
            sight(*DOWN),
            "Bring demo-galera-2 back, and the cluster starts by itself. If that cannot be, run the recover",
        ),
        (sight(*DOWN, waiting(2, "present")), "Wait a minute: the nodes elect who starts the cluster."),
        (
            sight(_silent(0), _silent(1), _silent(2)),
            "No agent answers: Read `kubectl -n db describe pod demo-galera-0`",
        ),
        (
            sight(*DOWN, Node("demo-galera-2", "node", "Pending"), pods=(*PODS[:2], _pending(2))),
            "Mend this, and the cluster starts by itself: demo-galera-2 finds no Kubernetes node: 0/3 nodes are",
        ),
        (
            sight(waiting(0), Node("demo-galera-1", "node", "Running", phase="refused", reason="lost")),
            "Read why demo-galera-1 refuses, and bring back the volume that is told of; to go on without it, run the "
            "recover playbook with -e galera_recover_confirm=demo.",
        ),
        (
            sight(*TWO, Node("demo-galera-2", "node", "Running", phase="refused", reason="foreign")),
            "The others serve. Bind the right volume, or save what is needed from that of demo-galera-2 and empty it: "
            "`kubectl -n db delete pvc data-demo-galera-2 --wait=false`, `kubectl -n db delete pod demo-galera-2`.",
        ),
        (
            sight(Node("demo-galera-1", "node", "Running", phase="refused", reason="x"), record=None),
            "Mend what demo-galera-1 tells, then run the site playbook.",
        ),
        (sight(node(0), node(1), node(2, cluster_uuid=OTHER)), "Stop the writes, decide which of the histories"),
    ],
)
def test_next_step(seen: Sight, said: str) -> None:
    assert _diagnosis.next_step(seen).startswith(said)


@pytest.mark.parametrize("others", [TWO, (node(0, cluster_status=None, state=None, ready=False),)])
@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("Access denied for user 'mysql'@'localhost'", "Give the account of the agents back, once for all nodes, with"),
        ("Too many connections", "End connections to demo-galera-2, or raise max_connections"),
    ],
)
def test_a_server_that_turns_its_agent_away_does_not_come_back_by_itself(
    others: tuple[Node, ...], why: str, said: str
) -> None:
    reason = f"mariadbd runs, but turns the agent away, which comes as mysql@localhost: {why}"
    away = node(2, connected=False, cluster_status=None, state=None, ready=False, reason=reason)
    assert _diagnosis.next_step(sight(*others, away)).startswith(said)


def test_what_the_agent_says_and_needs_is_told_as_it_is() -> None:
    agent = Path(__file__).parents[4] / "images" / "agent" / "galera_agent"
    assert f'SST_GRANTS = "{_diagnosis._AGENT_GRANTS}"' in (agent / "sql.py").read_text()
    assert _diagnosis._TURNED_AWAY in (agent / "state.py").read_text()


def test_recovery_is_told_with_its_consent() -> None:
    assert "-e galera_recover_confirm=demo" in _diagnosis.next_step(sight(*DOWN))


@pytest.mark.parametrize(
    ("dead", "said"), [(False, "Wait for the end of the run of ci"), (True, "Nothing is to be done.")]
)
def test_run_that_is_at_work_is_waited_for(dead: bool, said: str) -> None:
    run = {"holder": "ci", "dead": dead}
    assert _diagnosis.next_step(sight(node(0), node(1), node(2), pods=PODS), run=run).startswith(said)


def test_nodes_without_a_pod_get_a_row() -> None:
    claims = ({**NODE_CLAIMS[2], "status": {"phase": "Bound"}},)
    rows = _diagnosis.rows(sight(*TWO, claims=claims), {"demo-galera-1": "SST failed"})
    assert [(row["name"], row["pod_phase"], row["claim_phase"], row["transfer_error"]) for row in rows] == [
        ("demo-galera-0", "Running", "Absent", None),
        ("demo-galera-1", "Running", "Absent", "SST failed"),
        ("demo-galera-2", "Absent", "Bound", None),
    ]
    assert rows[0]["cluster_uuid"] == UUID


def test_nothing_at_all_has_no_rows() -> None:
    assert _diagnosis.rows(sight(stateful_set=None, record=None), {}) == []


def test_seed_and_nodes_beyond_the_size_get_rows() -> None:
    seed = node(0, name="demo-galera-seed-0", role="seed")
    claims = (claim("demo-galera-seed-volume-claim"),)
    rows = _diagnosis.rows(sight(*(node(ordinal) for ordinal in range(4)), seed, claims=claims), {})
    assert [row["name"] for row in rows][3:] == ["demo-galera-seed-0", "demo-galera-3"]
    assert rows[3]["claim_phase"] == "Unknown"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (BROKEN_TRANSFER, "[ERROR] WSREP: SST failed: 32 (Broken pipe)"),
        ("WSREP_SST: [ERROR] xtrabackup_checkpoints missing", "WSREP_SST: [ERROR] xtrabackup_checkpoints missing"),
        ("2026-11-21 12:00:02 0 [ERROR] Aborting\n2026-11-21 12:00:02 0 [Note] WSREP: IST received", ""),
        ("", ""),
    ],
)
def test_last_failed_transfer(log: str, said: str) -> None:
    assert _diagnosis.transfer_error(log) == said
