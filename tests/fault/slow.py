# SPDX-License-Identifier: GPL-3.0-or-later
"""A full state transfer that takes as long as it is told to: whether anything loses patience while bytes move.

The joiner's machine drops what comes faster than the wanted rate to the port of the transfer alone, so that the group's
own packets go on as ever.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from fault.faults.network import clear_rules, set_rules
from fault.faults.volumes import stop_and_empty
from fault.kube import KubeError, WaitError, until, utc
from fault.views import Views, watch
from fault.world import World

SST_PORT = 4444
_LOOK_SECONDS = 5.0
_PATIENCE = 2.0
# What is streamed, but for a little of the redo log
_SIZE = "SELECT SUM(file_size) FROM information_schema.innodb_sys_tablespaces WHERE name <> 'innodb_temporary'"


@dataclass(frozen=True)
class Transfer:
    """seconds: until the joiner was Synced. starts: of its server. completed: full transfers that came to their end.

    views: of the group while it lasted; one change is the joiner's entry.
    """

    seconds: float
    bytes: int
    starts: int
    restarts: int
    completed: int
    views: Views


def transfer(world: World, seconds: float) -> Transfer:
    """Empty a node that is not the writer, and let its transfer take so many seconds.

    Raises WaitError where it is not Synced after twice the time, KubeError where the harness cannot work.
    """
    joiner = world.order()[1]
    pod = world.cluster.pods()[joiner]
    size = int(world.cluster.sql(joiner, _SIZE)[0][0])
    kilobytes = max(round(size / seconds / 1024), 1)
    limit = ["hashlimit", "--hashlimit-name", "slow", "--hashlimit-above", f"{kilobytes}kb/s"]
    rule = [
        "-p",
        "tcp",
        "--dport",
        str(SST_PORT),
        "-m",
        *limit,
        "--hashlimit-burst",
        f"{kilobytes * 2}kb",
        "-j",
        "DROP",
    ]
    since = utc()
    stop_and_empty(world, [joiner])
    until(lambda: _counted(world, joiner), f"the others to go on without {joiner}", 60)
    try:
        set_rules(world, {joiner: [rule]})
        begin = time.monotonic()
        world.signal([joiner], "agent", "CONT")
        views = watch(world, seconds * _PATIENCE, lambda: _synced(world, joiner), _LOOK_SECONDS)
        if not _synced(world, joiner):
            status = world.cluster.status(joiner)
            raise WaitError(f"{joiner} is not Synced after {seconds * _PATIENCE:.0f} s: {status.get('reason')}")
        took = time.monotonic() - begin
    finally:
        clear_rules(world)
        world.signal([joiner], "agent", "CONT")
    starts = world.cluster.logs(joiner, "mariadb", since).count("galera start: mariadbd --")
    restarts = world.cluster.pods()[joiner].restarts - pod.restarts
    return Transfer(took, size, starts, restarts, world.cluster.transfers(since)["sst"], views)


def _synced(world: World, pod: str) -> bool:
    try:
        status = world.cluster.status(pod)
    except KubeError:
        return False
    wsrep, age = status.get("wsrep") or {}, status.get("age_seconds")
    fresh = age is not None and age < 1
    return fresh and wsrep.get("cluster_status") == "Primary" and wsrep.get("local_state") == 4


def _counted(world: World, gone: str) -> str | None:
    """Who still counts the member that is gone, None where nobody does."""
    others = [pod for pod in world.cluster.nodes if pod != gone]
    sizes = {pod: (world.cluster.status(pod).get("wsrep") or {}).get("cluster_size") for pod in others}
    return None if set(sizes.values()) == {len(others)} else str(sizes)
