# SPDX-License-Identifier: GPL-3.0-or-later
"""The group's view as the agents tell it, watched for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from fault.kube import KubeError
from fault.world import World

_LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Views:
    """Changes of the view between two looks, and the smallest view that any look saw."""

    changes: int
    smallest: int


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
