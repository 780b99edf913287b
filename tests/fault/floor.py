# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor of a recovery after a crash of all nodes: what the servers alone need, started by hand without a delay.

The copies of the killed nodes' data are recovered, started and joined by the hands, each on the machine of its node: no
agent, no election, no proxy. Nothing that runs these servers can be quicker.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from fault.cluster import DATA
from fault.kube import KubeError, until
from fault.world import World, together

STAGE = "stage.py"


@dataclass(frozen=True)
class Floor:
    """Seconds: of --wsrep-recover, the slowest of all nodes at once; until the first is Synced; until all are."""

    recover: float
    first: float
    whole: float

    @property
    def first_write(self) -> float:
        """Seconds from the crash until a write is possible."""
        return self.recover + self.first

    @property
    def all_synced(self) -> float:
        """Seconds from the crash until all are Synced."""
        return self.first_write + self.whole


def measure(world: World) -> Floor:
    """Kill all nodes, their agents frozen, do by hand what has to be done, and hand the nodes back to their agents."""
    pods = world.cluster.pods()
    machines = {name: pods[name].node for name in world.cluster.nodes}
    if len(set(machines.values())) < len(machines):
        raise KubeError(f"the floor needs a machine for each node, there are {sorted(set(machines.values()))}")
    world.load.pause()
    try:
        world.strike(machines, "agent", "STOP", "mariadbd", "KILL")
        for name in machines:
            until(partial(_running, world, name), f"the end of mariadbd in {name}", 60)
        _each(world, machines, "copy", {name: [_path(world, name)] for name in machines})
        found = {name: json.loads(answer) for name, answer in _each(world, machines, "recover").items()}
        most = max(found, key=lambda name: (int(found[name]["seqno"]), name))
        addresses = {name: world.hands.address(machine) for name, machine in machines.items()}
        first = _start(world, machines, addresses, [most], "gcomm://")
        rest = [name for name in machines if name != most]
        whole = _start(world, machines, addresses, rest, f"gcomm://{addresses[most]}")
        return Floor(max(one["seconds"] for one in found.values()), first, whole)
    finally:
        _each(world, machines, "end")
        world.signal(machines, "agent", "CONT")
        world.await_whole("the cluster to be whole after its floor was measured")
        world.load.resume()


def grow(world: World, megabytes: int) -> None:
    """Fill a table of random bytes, 8 MB a transaction, until it has so many."""
    node = world.cluster.nodes[0]
    world.cluster.sql(
        node,
        "CREATE DATABASE IF NOT EXISTS galera_fault_ballast; CREATE TABLE IF NOT EXISTS galera_fault_ballast.rows "
        "(id BIGINT AUTO_INCREMENT PRIMARY KEY, bytes VARBINARY(1024) NOT NULL)",
    )
    there = int(world.cluster.sql(node, "SELECT COUNT(*) FROM galera_fault_ballast.rows")[0][0]) // 1024
    # The engine of sequences needs a database that is in use.
    insert = "USE galera_fault_ballast; INSERT INTO `rows` (bytes) SELECT RANDOM_BYTES(1024) FROM seq_1_to_8192;"
    for _ in range(max(megabytes - there, 0) // 8):
        world.cluster.sql(node, insert)


def _start(world: World, machines: dict[str, str], addresses: dict[str, str], names: Sequence[str], join: str) -> float:
    """Start servers at the same moment; seconds until the last of them is Synced."""
    moment = str(time.time() + 1)
    calls = [
        partial(world.hands.on, machines[name], "start", addresses[name], join, moment, seconds=300, script=STAGE)
        for name in names
    ]
    return max(float(json.loads(answer)["seconds"]) for answer in together(calls))


def _each(
    world: World, machines: dict[str, str], command: str, arguments: dict[str, list[str]] | None = None
) -> dict[str, str]:
    """A command of stage.py on every machine at the same time; answers by the names of the nodes."""
    more = arguments or {}
    calls = [
        partial(world.hands.on, machine, command, *more.get(name, []), seconds=600, script=STAGE)
        for name, machine in machines.items()
    ]
    return dict(zip(machines, together(calls), strict=True))


def _path(world: World, name: str) -> str:
    path = world.cluster.volume(name)
    if path is None:
        raise KubeError(f"the volume of {name} is no directory of its machine")
    return path + DATA.removeprefix("/var/lib/mysql")


def _running(world: World, name: str) -> str | None:
    found = world.hands.at(name, "pids", "mariadbd")
    return None if found == "[]" else f"processes {found}"
