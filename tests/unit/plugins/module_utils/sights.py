# SPDX-License-Identifier: GPL-3.0-or-later
"""What is seen of a cluster, made up for tests of decisions."""

from __future__ import annotations

import dataclasses
from typing import Any

from ansible_collections.stateful.galera.plugins.module_utils._observe import Names, Sight
from ansible_collections.stateful.galera.plugins.module_utils._wsrep import Node

NAMES = Names("demo", "db")
UUID = "5ff0b4a2-6f6f-11f0-9c4e-3f6f1c5a3b11"
OTHER = "77777777-6f6f-11f0-9c4e-3f6f1c5a3b11"
RECORD = f'{{"uuid": "{UUID}", "time": "2026-11-21T07:00:00Z"}}'
SET = {
    "metadata": {"name": "demo-galera", "uid": "1", "generation": 1},
    "spec": {"replicas": 3},
    "status": {"observedGeneration": 1},
}
SEED = {"metadata": {"name": "demo-galera-seed", "namespace": "db", "uid": "2"}, "spec": {"replicas": 1}, "status": {}}


def node(ordinal: int, **change: Any) -> Node:
    """A node that is Synced in a component of three."""
    synced = Node(
        name=f"demo-galera-{ordinal}",
        role="node",
        pod_phase="Running",
        ready=True,
        phase="running",
        reason="serves",
        connected=True,
        cluster_status="Primary",
        state="Synced",
        cluster_size=3,
        cluster_uuid=UUID,
        evidence="present",
    )
    return dataclasses.replace(synced, **change)


def waiting(ordinal: int, evidence: str = "empty", reason: str = "waits for the seed") -> Node:
    """A node whose server does not run."""
    return Node(f"demo-galera-{ordinal}", "node", "Running", phase="waiting", reason=reason, evidence=evidence)


def seed_node(**change: Any) -> Node:
    return node(0, **{"name": "demo-galera-seed-0", "role": "seed", "cluster_size": 4, **change})


def pod(name: str, component: str = "node", ready: bool = True, leaving: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "db",
        "uid": f"uid-{name}",
        "labels": {"app.kubernetes.io/instance": "demo", "app.kubernetes.io/component": component},
    }
    if leaving:
        metadata["deletionTimestamp"] = "2026-11-21T07:00:00Z"
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "kind": "Pod",
        "metadata": metadata,
        "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [condition]},
    }


def claim(name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "db", "uid": f"uid-{name}", **metadata},
    }


NODE_CLAIMS = tuple(claim(f"data-demo-galera-{ordinal}") for ordinal in range(3))
SEED_CLAIM = claim("demo-galera-seed-volume-claim")


def sight(*nodes: Node, **change: Any) -> Sight:
    """A look at a cluster of three with a record."""
    return Sight(**{"names": NAMES, "size": 3, "stateful_set": SET, "nodes": nodes, "record": RECORD, **change})


def leaving(manifest: dict[str, Any]) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], "deletionTimestamp": "2026-11-21T07:00:00Z"}}
