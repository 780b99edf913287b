# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines: kubelet, containerd, the machine itself, its clock. Other pods of the machine are hurt as well."""

from __future__ import annotations

import subprocess
import time

from fault.kube import KubeError
from fault.plan import Params
from fault.world import Fault, Injected, NotInjectedError, World, see


class StopService(Fault):
    """A service of the writer's machine stopped for a while; the harness does not need it to start it again."""

    service = ""
    seconds: tuple[int, ...] = (30, 90)

    def variants(self, size: int) -> list[Params]:
        """For less and for more time than Kubernetes takes to notice, the server killed meanwhile or not."""
        return [{"seconds": seconds, "kill": kill} for seconds in self.seconds for kill in (False, True)]

    def impossible(self, world: World) -> str | None:
        """Needs consent, as other pods live there, and systemd."""
        if "machines" not in world.allowed:
            return "other pods live on that machine: --allow machines consents"
        try:
            world.hands.on(world.hands.machines[0], "host", "systemctl", "cat", self.service)
        except KubeError as problem:
            return f"systemctl knows no {self.service} on {world.hands.machines[0]}: {str(problem)[-200:]}"
        return None

    def inject(self, world: World, params: Params) -> Injected:
        """Both the stop and the start are left to the machine: without kubelet nobody could start it from here."""
        (writer,) = world.resolve(["writer"])
        pod = world.cluster.pods()[writer]
        before, since = world.servers([writer]) if params["kill"] else {}, self._begun(world, pod.node)
        world.hands.on(pod.node, "host_later", str(params["seconds"] + 2), "systemctl", "start", self.service)
        if params["kill"]:
            world.hands.on(pod.node, "later", "5", "signal", pod.uid, "mariadbd", "KILL")
        world.hands.on(pod.node, "host_later", "2", "systemctl", "stop", self.service)
        time.sleep(params["seconds"] + 4)
        see(lambda: self._as_before(world, pod.node, since), f"another start of {self.service}")
        world.see_killed(before)
        return Injected([f"{writer} on {pod.node}"])

    def _begun(self, world: World, machine: str) -> str:
        command = ["systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "--value", self.service]
        return world.hands.on(machine, "host", *command)

    def _as_before(self, world: World, machine: str, since: str) -> str | None:
        found = self._begun(world, machine)
        return f"it has run since {since}" if found in ("", "0", since) else None


class KubeletStop(StopService):
    """kubelet of the writer's machine stopped for a while."""

    name = "kubelet_stop"
    service = "kubelet"


class ContainerdStop(StopService):
    """containerd of the writer's machine stopped for a while."""

    name = "containerd_stop"
    service = "containerd"
    seconds = (20,)


class MachineStop(Fault):
    """Machines without power for a while: the containers of kind's nodes killed and started again."""

    name = "machine_stop"

    def variants(self, size: int) -> list[Params]:
        """The writer's, another's, all of them."""
        return [
            {"nodes": nodes, "seconds": seconds} for nodes in (["writer"], ["other"], "all") for seconds in (10, 60)
        ]

    def impossible(self, world: World) -> str | None:
        """Only where machines are containers of Docker, and none of them holds the clients or the control plane."""
        if "machines" not in world.allowed:
            return "other pods live on these machines: --allow machines consents to their stop"
        names = set(
            subprocess.run(["docker", "ps", "--format", "{{.Names}}"], capture_output=True, text=True).stdout.split()
        )
        strangers = sorted({pod.node for pod in world.cluster.pods().values()} - names)
        if strangers:
            return (
                f"{', '.join(strangers)} are no containers of the Docker engine in reach, so nobody can switch them off"
            )
        return None

    def inject(self, world: World, params: Params) -> Injected:
        """Kill, wait, start."""
        pods = world.resolve(params["nodes"])
        machines = sorted({world.homes[pod] for pod in pods} - _needed(world))
        if not machines:
            raise NotInjectedError(f"the clients or the API server run on the machine of {', '.join(pods)}")
        subprocess.run(["docker", "kill", *machines], check=True, capture_output=True)
        try:
            time.sleep(params["seconds"])
        finally:
            subprocess.run(["docker", "start", *machines], check=True, capture_output=True)
        return Injected([f"{pod} on {world.homes[pod]}" for pod in pods if world.homes[pod] in machines])


def _needed(world: World) -> set[str]:
    """Machines whose loss would end the run: that of the clients, that of the API server."""
    return {world.load.machine(), *world.control_plane()}


class ClockStep(Fault):
    """The clock of the writer's machine put forward or back by five minutes, and put right again."""

    name = "clock_step"

    def variants(self, size: int) -> list[Params]:
        """Forward, back."""
        return [{"minutes": minutes, "seconds": 30} for minutes in (5, -5)]

    def impossible(self, world: World) -> str | None:
        """Each machine must have a clock of its own, and somebody must have said that it may be stepped."""
        kernels = {
            world.hands.on(machine, "host", "cat", "/proc/sys/kernel/random/boot_id")
            for machine in world.hands.machines
        }
        if len(kernels) < len(world.hands.machines):
            return "the Kubernetes nodes share one kernel and so one clock, which is also this machine's"
        if "clock" not in world.allowed:
            return "--allow clock consents to it"
        return None

    def inject(self, world: World, params: Params) -> Injected:
        """Step, wait, step back."""
        (writer,) = world.resolve(["writer"])
        machine = world.machine(writer)
        for minutes in (params["minutes"], -params["minutes"]):
            world.hands.on(machine, "host", "date", "-s", f"{minutes} minutes")
            time.sleep(params["seconds"] if minutes == params["minutes"] else 0)
        return Injected([f"{writer} on {machine}"])


FAULTS = (KubeletStop, ContainerdStop, MachineStop, ClockStep)
