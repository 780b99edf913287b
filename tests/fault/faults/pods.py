# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that are deleted: by force, in order, and by drains of their machines."""

from __future__ import annotations

from fault.faults.processes import targets
from fault.faults.volumes import hidden
from fault.kube import until
from fault.plan import Params
from fault.world import Fault, Injected, World, together


class DeleteByForce(Fault):
    """Pods deleted with no time to stop, several at the same moment."""

    name = "delete_by_force"

    def variants(self, size: int) -> list[Params]:
        """Writer, another, two, all."""
        return [{"nodes": nodes} for nodes in targets(size)]

    def inject(self, world: World, params: Params) -> Injected:
        """Delete."""
        pods = world.resolve(params["nodes"])
        _delete(world, pods)
        return Injected(pods)


class DeleteAllAndLook(Fault):
    """All pods deleted by force while their machines take no new ones, so that the volumes can be looked into."""

    name = "delete_all_and_look"

    def variants(self, size: int) -> list[Params]:
        """One."""
        return [{}]

    def impossible(self, world: World) -> str | None:
        """Needs volumes that are directories of their machines."""
        return hidden(world) or _cordoned(world)

    def inject(self, world: World, params: Params) -> Injected:
        """Cordon, delete, wait until nothing runs, look."""
        pods = world.cluster.pods()
        machines = sorted({world.homes[name] for name in pods})
        world.cluster.kubectl("cordon", *machines)
        _delete(world, list(pods))
        for pod in pods.values():
            until(
                lambda pod=pod: None if world.hands.on(pod.node, "pids", pod.uid, "mariadbd") == "[]" else "runs",
                f"the end of {pod.name}",
                120,
            )
        return Injected(sorted(pods), volumes=world.look())

    def heal(self, world: World, params: Params) -> None:
        """Take pods again."""
        world.cluster.kubectl("uncordon", *sorted(set(world.homes.values())))


class Delete(Fault):
    """Pods deleted in order, as `kubectl delete pod` does: drained, then stopped."""

    name = "delete"

    def variants(self, size: int) -> list[Params]:
        """Writer, another, all at once."""
        return [{"nodes": nodes} for nodes in targets(size)]

    def inject(self, world: World, params: Params) -> Injected:
        """Delete and wait for the end of the old pods."""
        pods = world.resolve(params["nodes"])
        world.cluster.kubectl("-n", world.cluster.namespace, "delete", "pod", *pods, "--wait", seconds=700)
        return Injected(pods)


class DeleteProxy(Fault):
    """One pod of HAProxy deleted by force, or all of them."""

    name = "delete_proxy"

    def variants(self, size: int) -> list[Params]:
        """One, all."""
        return [{"proxies": "one"}, {"proxies": "all"}]

    def inject(self, world: World, params: Params) -> Injected:
        """Delete."""
        pods = sorted(world.cluster.pods("haproxy"))
        pods = pods[:1] if params["proxies"] == "one" else pods
        _delete(world, pods)
        return Injected(pods)


class Drain(Fault):
    """`kubectl drain` of each machine in turn, for the pods of this cluster; a second drain at once has to wait."""

    name = "drain"

    def variants(self, size: int) -> list[Params]:
        """One after the other; two at once."""
        return [{"at_once": 1}, *([{"at_once": 2}] if size >= 3 else [])]

    def impossible(self, world: World) -> str | None:
        """Needs machines that take pods."""
        return _cordoned(world)

    def inject(self, world: World, params: Params) -> Injected:
        """Drain, uncordon, wait until whole, go on."""
        names, step = world.cluster.nodes, params["at_once"]
        for place in range(0, len(names), step):
            machines = [world.machine(name) for name in names[place : place + step]]
            together([lambda machine=machine: self._drain(world, machine) for machine in machines])
            world.await_whole(f"the cluster to be whole after the drain of {', '.join(machines)}")
        return Injected(names)

    def _drain(self, world: World, machine: str) -> None:
        selector = f"app.kubernetes.io/name=galera,app.kubernetes.io/instance={world.cluster.name}"
        command = ["drain", machine, f"--pod-selector={selector}", "--delete-emptydir-data", "--timeout=600s"]
        world.cluster.kubectl(*command, seconds=620)
        world.cluster.kubectl("uncordon", machine)

    def heal(self, world: World, params: Params) -> None:
        """Take pods again."""
        world.cluster.kubectl("uncordon", *sorted(set(world.homes.values())))


def _cordoned(world: World) -> str | None:
    """Why machines cannot be cordoned and uncordoned: somebody else has cordoned one, and wants it to stay so."""
    if world.own:
        return None
    nodes = world.cluster.kubectl.get("nodes")["items"]
    closed = {node["metadata"]["name"] for node in nodes if node["spec"].get("unschedulable")}
    theirs = sorted(closed & {pod.node for pod in world.cluster.pods().values()})
    return f"{', '.join(theirs)} is cordoned already, and would be uncordoned at the end" if theirs else None


def _delete(world: World, pods: list[str]) -> None:
    world.cluster.kubectl("-n", world.cluster.namespace, "delete", "pod", *pods, "--force", "--grace-period=0")


FAULTS = (DeleteByForce, DeleteAllAndLook, Delete, DeleteProxy, Drain)
