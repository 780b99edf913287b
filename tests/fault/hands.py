# SPDX-License-Identifier: GPL-3.0-or-later
"""Privileged pods, one on each Kubernetes node, that do there what workload/hand.py can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fault.cluster import Cluster
from fault.kube import WaitError, file_map, until

_SCRIPTS = [Path(__file__).parent / "workload" / name for name in ("hand.py", "delay.py", "stage.py", "disk.py")]
_DROP = ["-j", "DROP"]


class Hands:
    """Runs commands on the machines of the cluster."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self.namespace, self._kubectl = cluster, namespace, cluster.kubectl
        self._pods: dict[str, str] = {}
        self._addresses: dict[str, str] = {}

    def start(self) -> None:
        """Make the pods; the namespace exists. Raises WaitError."""
        config = self._cluster.get("configmap", f"{self._cluster.set}-config")["data"]["galera.cnf"]
        files = file_map("hand", self.namespace, *_SCRIPTS, extra={"galera.cnf": config})
        self._kubectl.apply(files, _daemon_set(self.namespace, self._cluster.agent_image))
        until(self._missing, "a privileged pod on each Kubernetes node", 180)

    def _missing(self) -> str | None:
        found = self._kubectl.get("-n", self.namespace, "pods", "-l", "fault=hand")["items"]
        wanted = self._kubectl.get("-n", self.namespace, "daemonset", "hand")["status"].get("desiredNumberScheduled", 0)
        running = [pod for pod in found if pod["status"].get("phase") == "Running"]
        self._pods = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in running}
        self._addresses = {pod["spec"]["nodeName"]: pod["status"].get("podIP", "") for pod in running}
        return None if wanted and len(running) == wanted else f"{len(running)} of {wanted} run"

    @property
    def machines(self) -> list[str]:
        """Names of the Kubernetes nodes that have a hand."""
        return sorted(self._pods)

    def address(self, machine: str) -> str:
        """Address of the hand of a machine in the pods' network."""
        return self._addresses[machine]

    def on(self, machine: str, *arguments: str, seconds: float = 120, script: str = "hand.py") -> str:
        """Do a command of hand.py, or of another of the scripts, on a machine. Raises KubeError."""
        if machine not in self._pods:
            raise WaitError(f"there is no privileged pod on {machine}, only on {', '.join(self.machines)}")
        command = ["-n", self.namespace, "exec", self._pods[machine], "--", "python3", f"/fault/{script}", *arguments]
        return self._kubectl(*command, seconds=seconds).strip()

    def at(self, pod: str, command: str, *arguments: str, seconds: float = 120) -> str:
        """Do a command that takes a pod's uid on the machine of that pod."""
        found = self._cluster.pods() | self._cluster.pods("haproxy")
        return self.on(found[pod].node, command, found[pod].uid, *arguments, seconds=seconds)

    def recovered(self, machine: str, path: str) -> dict[str, Any]:
        """What --wsrep-recover says about a copy of a data directory: {"partial", "log"}."""
        answer: dict[str, Any] = json.loads(self.on(machine, "recover", path, "/fault/galera.cnf", seconds=180))
        return answer


def drop_from(*addresses: str) -> list[list[str]]:
    """Rules that drop what comes from these addresses."""
    return [["-s", address, *_DROP] for address in addresses]


def drop_both(*addresses: str) -> list[list[str]]:
    """Rules that drop what comes from and goes to these addresses."""
    return [*drop_from(*addresses), *(["-d", address, *_DROP] for address in addresses)]


def drop_port(*ports: int) -> list[list[str]]:
    """Rules that drop TCP and UDP from and to these ports."""
    return [
        ["-p", protocol, side, str(port), *_DROP]
        for port in ports
        for protocol in ("tcp", "udp")
        for side in ("--dport", "--sport")
    ]


def lose(share: float, *addresses: str) -> list[list[str]]:
    """Rules that drop a share of the packets from and to these addresses."""
    match = ["-m", "statistic", "--mode", "random", "--probability", str(share)]
    return [[side, address, *match, *_DROP] for address in addresses for side in ("-s", "-d")]


def hold_back(*addresses: str) -> list[list[str]]:
    """Rules that send what goes to these addresses to the queue that delay.py serves."""
    return [["-d", address, "-j", "NFQUEUE", "--queue-num", "7", "--queue-bypass"] for address in addresses]


def _daemon_set(namespace: str, image: str) -> dict[str, Any]:
    container = {
        "name": "hand",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "securityContext": {"privileged": True, "runAsUser": 0, "runAsGroup": 0},
        "volumeMounts": [{"name": "files", "mountPath": "/fault"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        "hostPID": True,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
        "volumes": [{"name": "files", "configMap": {"name": "hand"}}, {"name": "tmp", "emptyDir": {}}],
    }
    labels = {"fault": "hand"}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "hand", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
