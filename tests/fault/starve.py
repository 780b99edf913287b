# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines without processor time: whether Galera takes a member that is only slow for a dead one.

Pods of the class BestEffort keep every Kubernetes node busy with twice as many endless loops as it has cores, while the
clients write. Each change of the view counts: a member that was alive was evicted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fault.kube import until
from fault.world import World

LOOPS_PER_CORE = 2


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
