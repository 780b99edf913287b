# SPDX-License-Identifier: GPL-3.0-or-later
"""The network between pods: parted, one-way, lossy. Rules of iptables in the pods' own network namespaces."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import partial

from fault.hands import drop_both, drop_from, drop_port, hold_back, lose
from fault.plan import Params
from fault.world import Fault, Injected, NotInjectedError, World, together

Rules = dict[str, list[list[str]]]


class Network(Fault):
    """A fault made of rules: set, kept for a while, removed."""

    seconds: Sequence[int] = (20,)

    def rules(self, world: World, params: Params) -> Rules:
        """The rules for each pod that gets some."""
        raise NotImplementedError

    def inject(self, world: World, params: Params) -> Injected:
        """Set all rules at the same time, wait."""
        rules = self.rules(world, params)
        set_rules(world, rules)
        end = time.monotonic() + params["seconds"]
        time.sleep(params["seconds"] / 2)
        self.see(world, rules)
        time.sleep(max(0.0, end - time.monotonic()))
        return Injected(sorted(rules))

    def see(self, world: World, rules: Rules) -> None:
        """See that the rules took packets. Raises NotInjectedError."""
        taken = together([partial(world.hands.at, name, "taken") for name in rules])
        if not sum(map(int, taken)):
            raise NotInjectedError(f"no packet met the rules of {', '.join(sorted(rules))}")

    def heal(self, world: World, params: Params) -> None:
        """Remove the rules of every pod."""
        clear_rules(world)


class Partition(Network):
    """Nodes cut off from the others, the network being silent; clients and proxies still reach both sides."""

    name = "partition"

    def variants(self, size: int) -> list[Params]:
        """The writer alone, another alone, and everyone alone; shorter and longer than Galera's patience."""
        sides = [["writer"], ["other"], "all"] if size >= 3 else ["all"]
        return [{"nodes": nodes, "seconds": seconds} for nodes in sides for seconds in (2, 20)]

    def rules(self, world: World, params: Params) -> Rules:
        """Drop what the cut off say to the rest and hear from it."""
        pods = world.cluster.pods()
        alone = world.resolve(params["nodes"])
        return {name: drop_both(*(pods[peer].ip for peer in pods if peer != name)) for name in alone}


class Isolate(Network):
    """A node cut off from the other nodes and from the proxies."""

    name = "isolate"

    def variants(self, size: int) -> list[Params]:
        """The writer, another."""
        return [{"nodes": [node], "seconds": 20} for node in ("writer", "other")]

    def rules(self, world: World, params: Params) -> Rules:
        """Drop all between it and the cluster's other pods."""
        pods, proxies = world.cluster.pods(), world.cluster.pods("haproxy")
        (alone,) = world.resolve(params["nodes"])
        others = [pod.ip for name, pod in (pods | proxies).items() if name != alone]
        return {alone: drop_both(*others)}


class OneWay(Network):
    """The writer hears the other nodes no more, but they hear it; or the other way round."""

    name = "one_way"

    def variants(self, size: int) -> list[Params]:
        """Deaf, mute."""
        return [{"writer": how, "seconds": 20} for how in ("deaf", "mute")]

    def rules(self, world: World, params: Params) -> Rules:
        """Drop at the receiver."""
        pods = world.cluster.pods()
        writer, *others = world.order()
        if params["writer"] == "deaf":
            return {writer: drop_from(*(pods[name].ip for name in others))}
        return {name: drop_from(pods[writer].ip) for name in others}


class ProxyFromNode(Network):
    """The proxies reach the writer no more; the nodes reach each other."""

    name = "proxy_from_node"

    def variants(self, size: int) -> list[Params]:
        """The writer, all nodes."""
        return [{"nodes": nodes, "seconds": 15} for nodes in (["writer"], "all")]

    def rules(self, world: World, params: Params) -> Rules:
        """Drop between proxies and node."""
        proxies = [pod.ip for pod in world.cluster.pods("haproxy").values()]
        return {name: drop_both(*proxies) for name in world.resolve(params["nodes"])}


class Loss(Network):
    """A share of the packets between the nodes is lost."""

    name = "loss"

    def variants(self, size: int) -> list[Params]:
        """A little, much."""
        return [{"share": share, "seconds": 20} for share in (0.05, 0.3)]

    def rules(self, world: World, params: Params) -> Rules:
        """Lose at every node."""
        pods = world.cluster.pods()
        return {name: lose(params["share"], *(pods[peer].ip for peer in pods if peer != name)) for name in pods}


class Latency(Network):
    """Packets between the nodes take longer, each way."""

    name = "latency"

    def variants(self, size: int) -> list[Params]:
        """Another building, another continent; of all nodes, of the writer alone."""
        return [
            {"milliseconds": milliseconds, "nodes": nodes, "seconds": 30}
            for milliseconds in (20, 200)
            for nodes in ("all", ["writer"])
        ]

    def rules(self, world: World, params: Params) -> Rules:
        """Queue what goes to the other nodes."""
        pods = world.cluster.pods()
        slow = world.resolve(params["nodes"])
        return {name: hold_back(*(pods[peer].ip for peer in pods if peer != name)) for name in slow}

    def inject(self, world: World, params: Params) -> Injected:
        """Start the programs that hold packets back, then queue, wait."""
        lasting = str(params["seconds"] + 30)
        for name in world.resolve(params["nodes"]):
            world.hands.at(name, "delay", str(params["milliseconds"]), lasting)
        return super().inject(world, params)

    def see(self, world: World, rules: Rules) -> None:
        """See that packets were held back: without its program the queue lets them pass. Raises NotInjectedError."""
        see_held_back(world, sorted(rules))


class DnsAway(Network):
    """No pod of the cluster gets an answer from the name server."""

    name = "dns_away"

    def variants(self, size: int) -> list[Params]:
        """Alone, and with the writer killed meanwhile."""
        return [{"kill": kill, "seconds": 30} for kill in ("nobody", "writer")]

    def rules(self, world: World, params: Params) -> Rules:
        """Drop port 53."""
        return {name: drop_port(53) for name in world.cluster.pods() | world.cluster.pods("haproxy")}

    def inject(self, world: World, params: Params) -> Injected:
        """Cut, kill, wait."""
        set_rules(world, self.rules(world, params))
        pods = world.resolve(["writer"]) if params["kill"] == "writer" else []
        world.strike(pods, "mariadbd", "KILL")
        time.sleep(params["seconds"])
        return Injected(pods)


def see_held_back(world: World, pods: Sequence[str]) -> None:
    """See that the queue of each pod is served and has held packets. Raises NotInjectedError."""
    held = together([partial(world.hands.at, pod, "held") for pod in pods])
    if idle := [pod for pod, count in zip(pods, held, strict=True) if not int(count)]:
        raise NotInjectedError(f"no packet of {', '.join(idle)} was held back")


def set_rules(world: World, rules: Rules) -> None:
    """Set rules in several pods at the same time."""
    together([lambda pod=pod, what=what: world.hands.at(pod, "chain", json.dumps(what)) for pod, what in rules.items()])


def clear_rules(world: World) -> None:
    """Remove the rules of every pod of the cluster."""
    set_rules(world, {name: [] for name in world.cluster.pods() | world.cluster.pods("haproxy")})


FAULTS = (Partition, Isolate, OneWay, ProxyFromNode, Loss, Latency, DnsAway)
