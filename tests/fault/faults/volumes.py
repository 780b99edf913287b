# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes: emptied, a temporary directory without space; state transfers that are cut off."""

from __future__ import annotations

import json
import time

from fault.cluster import DATA
from fault.faults.network import clear_rules, set_rules
from fault.hands import drop_both
from fault.kube import KubeError, until
from fault.plan import Params
from fault.world import Fault, Injected, NotInjectedError, World

# Far more than a temporary directory of 4 MB holds
_BIG_SORT = """USE galera_fault; SET SESSION tmp_memory_table_size=1024, sort_buffer_size=1024; SELECT COUNT(*) FROM (
SELECT seq, RAND() AS place, REPEAT('x', 500) AS ballast FROM seq_1_to_100000 ORDER BY place LIMIT 99999) AS sorted"""
_BELOW = DATA.removeprefix("/var/lib/mysql")


def data_path(world: World, pod: str) -> str:
    """The data directory of a pod on its machine. Raises KubeError where the volume is no directory there."""
    path = world.cluster.volume(pod)
    if path is None:
        raise KubeError(f"the volume of {pod} is no directory of its machine")
    return path + _BELOW


def hidden(world: World) -> str | None:
    """Why the volumes cannot be reached, None where they can."""
    found = [pod for pod in world.cluster.nodes if world.cluster.volume(pod) is None]
    return f"the volumes of {', '.join(found)} are no directories of their machines" if found else None


def stop_and_empty(world: World, pods: list[str]) -> None:
    """Kill servers, their agents frozen, and empty their volumes; the agents stay frozen."""
    world.strike(pods, "agent", "STOP", "mariadbd", "KILL")
    for pod in pods:
        until(
            lambda pod=pod: None if world.hands.at(pod, "pids", "mariadbd") == "[]" else "it runs",
            f"the end of mariadbd in {pod}",
            60,
        )
        world.hands.on(world.machine(pod), "wipe", data_path(world, pod))


class EmptyVolume(Fault):
    """The volume of a node emptied while its server is down; others killed at the same time or not."""

    name = "empty_volume"

    def variants(self, size: int) -> list[Params]:
        """One node; one node, and all killed."""
        nodes = ["writer", "other"] if size >= 3 else ["other"]
        return [{"nodes": [node], "kill": kill} for node in nodes for kill in ("nobody", "all")]

    def impossible(self, world: World) -> str | None:
        """Needs volumes that are directories."""
        return hidden(world) or (
            None if world.recover else "it ends with the consent of a human, by the playbook recover"
        )

    def inject(self, world: World, params: Params) -> Injected:
        """Empty; with all killed, the volumes are looked into before anybody starts again."""
        emptied = world.resolve(params["nodes"])
        volumes = None
        if params["kill"] == "all":
            rest = [pod for pod in world.cluster.nodes if pod not in emptied]
            world.strike(rest, "agent", "STOP", "mariadbd", "KILL")
        stop_and_empty(world, emptied)
        if params["kill"] == "all":
            for pod in world.cluster.nodes:
                until(
                    lambda pod=pod: None if world.hands.at(pod, "pids", "mariadbd") == "[]" else "it runs",
                    f"the end of mariadbd in {pod}",
                    60,
                )
            volumes = world.look()
            world.signal(world.cluster.pods(), "agent", "CONT")
            return Injected(emptied, volumes=volumes, measured=self._consent(world))
        return Injected(emptied, volumes=volumes)

    def _consent(self, world: World) -> dict[str, float]:
        """An emptied volume may have held the most: the nodes must not guess, but wait for somebody's consent."""
        said = until(lambda: self._unheard(world), "every node to say that it waits for consent", 120)
        if world.recover is not None:
            world.recover()
        return {"asked_for_consent": round(said, 1)}

    def _unheard(self, world: World) -> str | None:
        reasons = {pod: str(world.cluster.status(pod).get("reason")) for pod in world.cluster.nodes}
        return None if all("recover playbook" in reason for reason in reasons.values()) else str(reasons)

    def heal(self, world: World, params: Params) -> None:
        """Let the agents go on."""
        world.signal(world.cluster.pods(), "agent", "CONT")


class InterruptTransfer(Fault):
    """A full state transfer cut off after a share of its bytes: joiner or donor killed, joiner or all cut off."""

    name = "interrupt_transfer"
    rate = "200mbit"

    def variants(self, size: int) -> list[Params]:
        """Ten points, four ways; and slowly, so that the transfer outlives the time in which the joiner is cut off."""
        ways = ("joiner", "donor", "network", "everyone")
        points = [{"percent": percent, "who": who} for percent in range(5, 100, 10) for who in ways]
        return [*points, *({"percent": percent, "who": "network", "rate": "20mbit"} for percent in (25, 65))]

    def impossible(self, world: World) -> str | None:
        """Needs volumes that are directories, to empty one and to see it grow."""
        return hidden(world)

    def inject(self, world: World, params: Params) -> Injected:
        """Empty a node, slow the others down so that there is time to hit, let it join, and cut."""
        pods = world.cluster.pods()
        joiner = world.order()[1]
        donors = [pod for pod in world.cluster.nodes if pod != joiner]
        path, source = data_path(world, joiner), data_path(world, donors[0])
        whole = int(world.hands.on(pods[donors[0]].node, "size", source))
        for pod in donors:
            world.hands.at(pod, "shape", f"root tbf rate {params.get('rate', self.rate)} burst 1mb latency 400ms")
        stop_and_empty(world, [joiner])
        world.signal([joiner], "agent", "CONT")
        goal = max(whole * params["percent"] // 100, 1 << 20)
        done = ["signal", pods[joiner].uid, "mariadbd", "KILL"] if params["who"] == "joiner" else ["size", "/proc/self"]
        said = world.hands.on(pods[joiner].node, "until_size", path, str(goal), "120", *done, seconds=180)
        seen = json.loads(said)
        if not seen["under_way"]:
            raise NotInjectedError(f"the transfer had ended at {seen['bytes']} of {whole} bytes")
        if params["who"] == "joiner" and not json.loads(seen["done"])["mariadbd"]:
            raise NotInjectedError(f"no mariadbd ran in {joiner} while it joined")
        cut = self._cut(world, params["who"], joiner, donors)
        return Injected([joiner, *cut], measured={"bytes": seen["bytes"], "of": whole})

    def _cut(self, world: World, who: str, joiner: str, donors: list[str]) -> list[str]:
        pods = world.cluster.pods()
        if who == "donor":
            sending = [pod for pod in donors if (world.cluster.status(pod).get("wsrep") or {}).get("local_state") == 2]
            if not sending:
                raise NotInjectedError(f"none of {', '.join(donors)} was a donor any more")
            world.strike(sending, "mariadbd", "KILL")
            return sending
        if who == "network":
            set_rules(world, {joiner: drop_both(*(pods[pod].ip for pod in donors))})
            self._see_cut(world, joiner)
            time.sleep(15)
        if who == "everyone":
            # Nobody can write: the donor comes back to the same position, and has no transfer any more.
            ips = {name: pod.ip for name, pod in pods.items()}
            set_rules(world, {name: drop_both(*(ips[peer] for peer in ips if peer != name)) for name in ips})
            self._see_cut(world, joiner)
            time.sleep(4)
        return []

    def _see_cut(self, world: World, joiner: str) -> None:
        if world.hands.on(world.machine(joiner), "joining", data_path(world, joiner)) == "no":
            raise NotInjectedError("the transfer had ended before its network was cut")

    def heal(self, world: World, params: Params) -> None:
        """Full speed, no rules, no frozen agent."""
        clear_rules(world)
        for pod in world.cluster.pods():
            world.hands.at(pod, "shape", "none")
        world.signal(world.cluster.pods(), "agent", "CONT")


class TempFull(Fault):
    """Not a byte left in the temporary directory of a server: a small full file system lies over it."""

    name = "temp_full"

    def variants(self, size: int) -> list[Params]:
        """The writer's, another's, all."""
        return [{"nodes": nodes, "seconds": 20} for nodes in (["writer"], ["other"], "all")]

    def inject(self, world: World, params: Params) -> Injected:
        """Fill, and ask each server for something that it would write there."""
        pods = world.resolve(params["nodes"])
        injected = Injected(pods)
        for pod in pods:
            world.hands.at(pod, "squeeze", "/tmp", "4m")
        for pod in pods:
            try:
                world.cluster.sql(pod, _BIG_SORT)
                injected.measured[pod] = "answered"
            except KubeError as refused:
                injected.measured[pod] = str(refused)[-100:]
        time.sleep(params["seconds"])
        if answered := [pod for pod in pods if injected.measured[pod] == "answered"]:
            raise NotInjectedError(f"{', '.join(answered)} did without a temporary directory")
        return injected

    def heal(self, world: World, params: Params) -> None:
        """Take the small file systems away."""
        for pod in world.cluster.pods():
            world.hands.at(pod, "release", "/tmp")


FAULTS = (EmptyVolume, InterruptTransfer, TempFull)
