# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cluster leans on in Kubernetes: the API server."""

from __future__ import annotations

import time

from fault.kube import KubeError
from fault.plan import Params
from fault.world import Fault, Injected, NotInjectedError, World


class ApiAway(Fault):
    """The API server frozen for a while, with nodes killed meanwhile or not."""

    name = "api_away"

    def variants(self, size: int) -> list[Params]:
        """A minute of nothing, the writer killed, all killed."""
        return [{"kill": kill, "seconds": 60} for kill in ([], ["writer"], "all")]

    def impossible(self, world: World) -> str | None:
        """Needs the machine of the API server among those of the cluster, and consent where others use it."""
        if not world.control_plane():
            return "no machine that runs the API server is in reach"
        return None if "machines" in world.allowed else "others use this API server too: --allow machines consents"

    def inject(self, world: World, params: Params) -> Injected:
        """Nothing can be asked of Kubernetes meanwhile: all is laid out before, and happens on the machines."""
        pods = world.cluster.pods()
        killed = world.resolve(params["kill"]) if params["kill"] else []
        before = world.servers(killed)
        (machine, *_) = world.control_plane()
        pid = world.hands.on(machine, "host", "pidof", "kube-apiserver").split()[0]
        for name in killed:
            world.hands.on(pods[name].node, "later", "15", "signal", pods[name].uid, "mariadbd", "KILL")
        world.hands.on(machine, "host_later", str(params["seconds"] + 3), "kill", "-CONT", pid)
        world.hands.on(machine, "host_later", "3", "kill", "-STOP", pid)
        time.sleep(params["seconds"] / 2 + 3)
        try:
            world.cluster.kubectl.raw("/version", seconds=3)
        except KubeError:
            answered = False
        else:
            answered = True
        time.sleep(params["seconds"] / 2 + 2)
        if answered:
            raise NotInjectedError("the API server answered while it had to be frozen")
        world.see_killed(before)
        return Injected(killed)


FAULTS = (ApiAway,)
