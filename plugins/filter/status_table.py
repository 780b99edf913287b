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
    "state": lambda node: node.get("state") or node.get("phase") or node.get("pod_phase"),
    "size": lambda node: node.get("cluster_size"),
    "committed": lambda node: node.get("last_committed"),
    "queue": lambda node: node.get("recv_queue"),
    "paused": lambda node: node.get("flow_control_paused"),
    "version": lambda node: (node.get("version") or "").partition("-")[0] or None,
}


def status_table(info: dict[str, Any]) -> list[str]:
    """Lay out the nodes of a cluster as a table, closed by the verdict.

    info is the result of stateful.galera.wsrep_info (nodes: list of dicts, cluster: dict with verdict and reason).
    Returns a header, one line a node, one line why for each node that is not ready, and the verdict.
    """
    nodes = info.get("nodes", [])
    rows = [list(_COLUMNS)] + [["-" if (v := get(n)) is None else str(v) for get in _COLUMNS.values()] for n in nodes]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{n['name']}: {n['reason']}" for n in nodes if not n.get("ready") and n.get("reason")]
    cluster = info.get("cluster", {})
    return [*lines, f"{cluster.get('verdict')}: {cluster.get('reason')}"]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"status_table": status_table}
