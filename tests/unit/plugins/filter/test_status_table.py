# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.stateful.galera.plugins.filter.status_table import status_table

NODE = {
    "name": "demo-galera-0",
    "kubernetes_node": "w1",
    "role": "node",
    "ready": True,
    "cluster_status": "Primary",
    "state": "Synced",
    "cluster_conf_id": 7,
    "cluster_size": 2,
    "last_committed": 12,
    "recv_queue": 0,
    "send_queue": 0,
    "flow_control_paused": 0.0,
    "version": "11.8.6",
    "reason": "runs",
}
WAITING = {"name": "demo-galera-1", "role": "node", "ready": False, "phase": "waiting", "reason": "waits for the seed"}


def test_columns_line_up_and_missing_values_are_dashes() -> None:
    lines = status_table({"nodes": [NODE, WAITING], "cluster": {"verdict": "degraded", "reason": "1 of 2 nodes"}})
    assert (
        " ".join(lines[0].split()) == "node on role ready cluster state view size committed queue sends paused version"
    )
    assert " ".join(lines[1].split()) == "demo-galera-0 w1 node yes Primary Synced 7 2 12 0 0 0.0 11.8.6"
    assert lines[2].split() == ["demo-galera-1", "-", "node", "no", "-", "waiting", "-", "-", "-", "-", "-", "-", "-"]
    assert lines[0].index("role") == lines[1].index("node", 5) == lines[2].index("node", 5)


def test_says_why_a_node_is_not_ready_and_closes_with_the_verdict() -> None:
    lines = status_table({"nodes": [NODE, WAITING], "cluster": {"verdict": "degraded", "reason": "1 of 2 nodes"}})
    assert lines[3:] == ["demo-galera-1: waits for the seed", "degraded: 1 of 2 nodes"]


def test_an_absent_cluster_has_a_header_and_a_verdict() -> None:
    lines = status_table({"nodes": [], "cluster": {"verdict": "absent", "reason": "nothing there"}})
    assert len(lines) == 2
    assert lines[1] == "absent: nothing there"


def test_tells_what_a_diagnosis_found() -> None:
    waiting = {
        **WAITING,
        "claim": "data-demo-galera-1",
        "claim_phase": "Pending",
        "evidence": "present",
        "evidence_uuid": "u",
        "evidence_seqno": 7,
        "transfer_error": "SST failed",
    }
    lease = {"holder": "ci", "since": "7:00", "renewed": "7:05", "dead": True}
    cluster = {
        "verdict": "degraded",
        "reason": "r",
        "uuid": "u",
        "writer": "",
        "next_step": "Wait.",
        "site_lease": lease,
    }
    assert status_table({"nodes": [NODE, waiting], "cluster": cluster})[4:] == [
        "demo-galera-1: last state transfer failed: SST failed",
        "demo-galera-1: claim data-demo-galera-1 is Pending",
        "demo-galera-1: volume is present at u:7",
        "run: ci, which has ended, since 7:00, renewed 7:05",
        "history u, writer none",
        "degraded: r",
        "next step: Wait.",
    ]


@pytest.mark.parametrize(
    ("next_step", "told"),
    [("Wait.", ["unfinished: 2 of 3 nodes lack it"]), ("Run the site playbook: 2 of 3 nodes lack it.", [])],
)
def test_what_a_run_has_left_to_do_is_told_once(next_step: str, told: list[str]) -> None:
    cluster = {"verdict": "v", "reason": "r", "next_step": next_step, "unfinished": "2 of 3 nodes lack it"}
    assert status_table({"nodes": [], "cluster": cluster})[1:-2] == told
