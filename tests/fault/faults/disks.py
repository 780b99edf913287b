# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes without a free byte."""

from __future__ import annotations

import time

from fault.faults.volumes import hidden
from fault.kube import KubeError
from fault.plan import Params
from fault.world import Fault, Injected, World

DISK = "disk.py"
# Holds the small data of the harness twice, as a state transfer needs it, Galera's cache and InnoDB's logs
MEGABYTES = 900


class DataFull(Fault):
    """Not a byte left in the volume of a node for a while."""

    name = "data_full"

    def variants(self, size: int) -> list[Params]:
        """The writer's, another's."""
        return [{"nodes": [node], "seconds": 30} for node in ("writer", "other")]

    def impossible(self, world: World) -> str | None:
        """Needs volumes that are file systems of their own; only the harness's own cluster may be given some."""
        if (reason := hidden(world)) or world.own:
            return reason
        shared = [pod for pod in world.cluster.nodes if _disk(world, pod, "own") == "no"]
        return f"the volumes of {', '.join(shared)} share their file systems with others" if shared else None

    def inject(self, world: World, params: Params) -> Injected:
        """Fill, wait, give the space back, and see the node come back on that same volume."""
        pods = world.resolve(params["nodes"])
        for pod in pods:
            if _disk(world, pod, "own") == "no":
                _disk(world, pod, "mount", str(MEGABYTES))
                _replace(world, pod)
        world.await_whole("the cluster to be whole on volumes that can be filled")
        injected = Injected(pods)
        for pod in pods:
            injected.measured[f"{pod} bytes"] = int(_disk(world, pod, "fill"))
        time.sleep(params["seconds"])
        for pod in pods:
            injected.measured[pod] = _state(world, pod)
            _disk(world, pod, "unfill")
        injected.measured["whole_with_space"] = round(world.await_whole("the cluster to be whole with space again"), 1)
        return injected

    def heal(self, world: World, params: Params) -> None:
        """Give the space back, and each node its first volume, which holds what it held then."""
        for pod in world.cluster.nodes:
            _disk(world, pod, "unfill")
            if world.own and _disk(world, pod, "own") == "yes":
                _disk(world, pod, "unmount")
                _replace(world, pod)


def _disk(world: World, pod: str, command: str, *arguments: str) -> str:
    return world.hands.on(world.homes[pod], command, str(world.cluster.volume(pod)), *arguments, script=DISK)


def _replace(world: World, pod: str) -> None:
    """A new pod, which sees what is mounted now."""
    world.cluster.kubectl("-n", world.cluster.namespace, "delete", "pod", pod, "--wait", seconds=700)


def _state(world: World, pod: str) -> str:
    try:
        status = world.cluster.status(pod)
    except KubeError as problem:
        return str(problem)[-100:]
    return f"{status.get('phase')}: {status.get('reason')}"[:160]


FAULTS = (DataFull,)
