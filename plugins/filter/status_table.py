# SPDX-License-Identifier: GPL-3.0-or-later
"""The closing table of the playbooks: what stateful.galera.wsrep_info returned, as lines of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_COLUMNS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "node": lambda node: node.get("name"),
    "on": lambda node: node.get("kubernetes_node"),
    "role": lambda node: node.get("role"),
    "ready": lambda node: "yes" if node.get("ready") else "no",
    "cluster": lambda node: node.get("cluster_status"),
    "state": lambda node: node.get("state") or _phase(node),
    "view": lambda node: node.get("cluster_conf_id"),
    "size": lambda node: node.get("cluster_size"),
    "committed": lambda node: node.get("last_committed"),
    "queue": lambda node: node.get("recv_queue"),
    "sends": lambda node: node.get("send_queue"),
    "paused": lambda node: node.get("flow_control_paused"),
    "version": lambda node: (node.get("version") or "").partition("-")[0] or None,
}


def status_table(info: dict[str, Any]) -> list[str]:
    """Lay out the nodes of a cluster as a table, closed by the verdict.

    info is the result of stateful.galera.wsrep_info (nodes: list of dicts, cluster: dict with verdict and reason).
    Returns a header, one line a node, one line why for each node that is not ready, what a diagnosis found (failed
    state transfers, volumes, positions, Leases), the verdict, and the next step where there is one.
    """
    nodes = info.get("nodes", [])
    rows = [list(_COLUMNS)] + [["-" if (v := get(n)) is None else str(v) for get in _COLUMNS.values()] for n in nodes]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{n['name']}: {n['reason']}" for n in nodes if not n.get("ready") and n.get("reason")]
    cluster = info.get("cluster", {})
    lines += [line for node in nodes for line in _findings(node)]
    lines += [_lease(name, cluster[key]) for key, name in _LEASES.items() if cluster.get(key)]
    if cluster.get("unfinished") and cluster["unfinished"] not in cluster.get("next_step", ""):
        lines.append(f"unfinished: {cluster['unfinished']}")
    if cluster.get("uuid") and "next_step" in cluster:
        lines.append(f"history {cluster['uuid']}, writer {cluster.get('writer') or 'none'}")
    lines.append(f"{cluster.get('verdict')}: {cluster.get('reason')}")
    return [*lines, *([f"next step: {cluster['next_step']}"] if cluster.get("next_step") else [])]


def _phase(node: dict[str, Any]) -> Any:
    """Return what the agent does, or the phase of the pod where no agent answers."""
    phase = node.get("phase")
    return node.get("pod_phase") if phase in (None, "unknown") else phase


_LEASES = {"site_lease": "run", "bootstrap_lease": "bootstrap"}


def _findings(node: dict[str, Any]) -> list[str]:
    """What a diagnosis found on one node, beyond its row."""
    found = []
    if node.get("transfer_error"):
        found.append(f"{node['name']}: last state transfer failed: {node['transfer_error']}")
    if node.get("claim_phase") not in (None, "Bound"):
        found.append(f"{node['name']}: claim {node['claim']} is {node['claim_phase']}")
    if node.get("claim") and node.get("cluster_status") != "Primary" and node.get("evidence") not in (None, "unknown"):
        at = f" at {node['evidence_uuid']}:{node['evidence_seqno']}" if node.get("evidence_uuid") else ""
        found.append(f"{node['name']}: volume is {node['evidence']}{at}")
    return found


def _lease(name: str, lease: dict[str, Any]) -> str:
    """Return one line about who holds a Lease."""
    state = ", which has ended" if lease.get("dead") else ""
    return f"{name}: {lease['holder']}{state}, since {lease['since']}, renewed {lease['renewed']}"


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"status_table": status_table}
