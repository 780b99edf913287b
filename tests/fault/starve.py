# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines without processor time: whether Galera takes a member that is only slow for a dead one.

Pods of the class BestEffort keep every Kubernetes node busy with twice as many endless loops as it has cores, while the
clients write. Each change of the view counts: a member that was alive was evicted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fault.kube import KubeError, until
from fault.world import World

LOOPS_PER_CORE = 2
_LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Views:
    """Changes of the view between two looks, and the smallest view that any look saw."""

    changes: int
    smallest: int


@contextmanager
def starved(world: World, namespace: str) -> Iterator[None]:
    """Busy loops on each Kubernetes node that runs pods of the cluster."""
    machines = sorted({pod.node for pod in world.cluster.pods().values()})
    names = [f"busy-{number}" for number in range(len(machines))]
    pods = [
        _pod(name, namespace, machine, world.cluster.agent_image) for name, machine in zip(names, machines, strict=True)
    ]
    world.cluster.kubectl.apply(*pods)
    try:
        until(lambda: _idle(world, namespace, names), "the busy loops", 300)
        yield
    finally:
        arguments = ["-n", namespace, "delete", "pod", *names, "--ignore-not-found", "--force", "--grace-period=0"]
        world.cluster.kubectl(*arguments, seconds=300)


def watch(
    world: World, seconds: float, enough: Callable[[], bool] = lambda: False, pause: float = _LOOK_SECONDS
) -> Views:
    """Ask the agents for the view for so long; a view that nobody tells of is not counted, its number is.

    enough ends it earlier; pause is the time between two looks, in seconds.
    """
    end = time.monotonic() + seconds
    first = last = _view(world)
    smallest = first[1]
    while time.monotonic() < end and not enough():
        time.sleep(pause)
        try:
            last = _view(world)
        except KubeError:
            continue
        smallest = min(smallest, last[1])
    return Views(last[0] - first[0], smallest)


def _view(world: World) -> tuple[int, int]:
    """Number and size of the newest view that a node tells of. Raises KubeError where none answers."""
    found: list[tuple[int, int]] = []
    for pod in world.cluster.nodes:
        try:
            wsrep = world.cluster.status(pod).get("wsrep")
        except KubeError:
            continue
        if wsrep:
            found.append((int(wsrep["cluster_conf_id"]), int(wsrep["cluster_size"])))
    if not found:
        raise KubeError("no agent tells of a view")
    return max(found)


def _idle(world: World, namespace: str, names: list[str]) -> str | None:
    found = world.cluster.kubectl.get("-n", namespace, "pods", *names)["items"]
    idle = [pod["metadata"]["name"] for pod in found if pod["status"].get("phase") != "Running"]
    return f"{', '.join(idle)} do not run" if idle else None


def _pod(name: str, namespace: str, machine: str, image: str) -> dict[str, Any]:
    loops = f"for _ in $(seq $(({LOOPS_PER_CORE} * $(nproc)))); do (while :; do :; done) & done; wait"
    container = {"name": "busy", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["bash", "-c", loops]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "nodeName": machine,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
        },
    }
