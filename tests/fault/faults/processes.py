# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals to mariadbd: killed, stopped in order, frozen; on one node, on some, on all."""

from __future__ import annotations

import time
from itertools import permutations

from fault.plan import Params
from fault.world import Fault, Injected, World

ONE_TWO_ALL: list[list[str] | str] = [["writer"], ["other"], ["writer", "other"], ["other", "third"], "all"]


def targets(size: int) -> list[list[str] | str]:
    """Targets that a cluster of this size has."""
    return [one for one in ONE_TWO_ALL if size >= 3 or one in (["writer"], "all") or (size == 2 and one == ["other"])]


class Kill(Fault):
    """SIGKILL to mariadbd, on several nodes at the same moment."""

    name = "kill"

    def variants(self, size: int) -> list[Params]:
        """Writer, another, two, all."""
        return [{"nodes": nodes} for nodes in targets(size)]

    def inject(self, world: World, params: Params) -> Injected:
        """Kill."""
        pods = world.resolve(params["nodes"])
        world.kill(pods)
        return Injected(pods)


class Terminate(Fault):
    """SIGTERM to mariadbd, behind the back of Kubernetes: an orderly stop without a drain."""

    name = "terminate"

    def variants(self, size: int) -> list[Params]:
        """Writer, another, two, all."""
        return [{"nodes": nodes} for nodes in targets(size)]

    def inject(self, world: World, params: Params) -> Injected:
        """Terminate."""
        pods = world.resolve(params["nodes"])
        world.kill(pods, "TERM")
        return Injected(pods)


class Freeze(Fault):
    """SIGSTOP to mariadbd, SIGCONT after a while: a server that hangs."""

    name = "freeze"

    def variants(self, size: int) -> list[Params]:
        """Writer, another, two, all; shorter and longer than Galera's patience."""
        return [{"nodes": nodes, "seconds": seconds} for nodes in targets(size) for seconds in (3, 20)]

    def inject(self, world: World, params: Params) -> Injected:
        """Freeze, wait."""
        pods = world.resolve(params["nodes"])
        world.kill(pods, "STOP")
        time.sleep(params["seconds"])
        return Injected(pods)

    def heal(self, world: World, params: Params) -> None:
        """Go on, wherever one is frozen."""
        world.signal(world.cluster.pods(), "mariadbd", "CONT")


class KillInOrder(Fault):
    """All nodes one after the other with writes in between, their agents frozen; then the volumes are looked into."""

    name = "kill_in_order"

    def variants(self, size: int) -> list[Params]:
        """All orders of up to three nodes, some of more; killed or stopped; no, some and many writes between."""
        orders = list(permutations(range(size))) if size <= 3 else [tuple(range(size)), tuple(reversed(range(size)))]
        return [
            {"order": list(order), "signal": signal, "writes": writes}
            for order in orders
            for signal in ("KILL", "TERM")
            for writes in (0, 1, 10, 1000)
        ]

    def inject(self, world: World, params: Params) -> Injected:
        """A frozen agent neither starts its server again nor elects, until all have been looked at."""
        pods = world.resolve(params["order"])
        for place, pod in enumerate(pods):
            world.strike([pod], "agent", "STOP", "mariadbd", params["signal"])
            left = len(pods) - place - 1
            # A killed member counts until it is out of the view; who is left then may be no majority.
            if left > 1 or (left == 1 and params["signal"] == "TERM"):
                world.load.await_writes(params["writes"], 120)
        _await_end(world, pods)
        return Injected(pods, volumes=world.look())

    def heal(self, world: World, params: Params) -> None:
        """Let the agents go on."""
        world.signal(world.cluster.pods(), "agent", "CONT")


def _await_end(world: World, pods: list[str]) -> None:
    """Wait until no server runs; one that was told to stop in order may take its time."""
    end = time.monotonic() + 120
    while any(world.hands.at(pod, "pids", "mariadbd") != "[]" for pod in pods):
        if time.monotonic() > end:
            raise TimeoutError(f"mariadbd still runs 120 s after it was told to stop on one of {', '.join(pods)}")
        time.sleep(0.2)


FAULTS = (Kill, Terminate, Freeze, KillInOrder)
