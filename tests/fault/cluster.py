# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster that is injured: its inventory, its pods, what its agents and servers say."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fault.kube import Kubectl, KubeError

_SELECTOR = "app.kubernetes.io/name=galera,app.kubernetes.io/instance={name},app.kubernetes.io/component={component}"
# What the donor says of a state transfer, and what the joiner says of it
_TRANSFERS = {
    "sst": ("mariabackup SST completed on donor", "Moving the backup to"),
    "ist": ("mariabackup IST completed on donor", "received from donor: Running IST"),
}
DATA = "/var/lib/mysql/data"


class InventoryError(Exception):
    """An inventory that does not name one cluster; the text says what is wrong."""


def read_inventory(path: Path, host: str | None) -> dict[str, Any]:
    """Return the variables of one cluster as Ansible reads them. Raises InventoryError."""
    if not path.exists():
        raise InventoryError(f"-i {path}: there is no such inventory")
    command = ["ansible-inventory", "-i", str(path), "--list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    if done.returncode:
        raise InventoryError(f"-i {path}: {done.stderr.strip()[-500:]}")
    hosts: dict[str, dict[str, Any]] = json.loads(done.stdout)["_meta"]["hostvars"]
    clusters = {name: found for name, found in hosts.items() if "galera_cluster_name" in found}
    if host is not None and host not in clusters:
        raise InventoryError(f"--limit {host}: no such cluster in {path}; there are {', '.join(sorted(clusters))}")
    if host is None and len(clusters) != 1:
        names = ", ".join(sorted(clusters)) or "none"
        raise InventoryError(f"-i {path}: one cluster is needed, there are {names}; choose with --limit")
    return clusters[host or next(iter(clusters))]


def connection(variables: dict[str, Any]) -> list[str]:
    """The options of kubectl that an inventory asks for."""
    names = {"galera_cluster_kubeconfig": "--kubeconfig", "galera_cluster_context": "--context"}
    return [f"{option}={variables[name]}" for name, option in names.items() if variables.get(name)]


@dataclass(frozen=True)
class Pod:
    """A pod of the cluster as the API server knows it."""

    name: str
    uid: str
    ip: str
    node: str
    ready: bool
    restarts: int
    terminating: bool
    raw: dict[str, Any]


class Cluster:
    """Reads and asks one cluster; changes nothing but through SQL."""

    def __init__(self, name: str, namespace: str, kubectl: Kubectl) -> None:
        self.name, self.namespace, self.kubectl = name, namespace, kubectl
        self.set = f"{name}-galera"
        self.proxy = f"{self.set}-haproxy"

    @cached_property
    def size(self) -> int:
        """Number of nodes of the StatefulSet."""
        return int(self.get("statefulset", self.set)["spec"]["replicas"])

    @property
    def nodes(self) -> list[str]:
        """Names of the pods of all nodes."""
        return [f"{self.set}-{ordinal}" for ordinal in range(self.size)]

    @cached_property
    def agent_image(self) -> str:
        """The image that has Python, PyMySQL and MariaDB."""
        containers = self.get("statefulset", self.set)["spec"]["template"]["spec"]["initContainers"]
        return str(next(one["image"] for one in containers if one["name"] == "agent"))

    @cached_property
    def _root_password(self) -> str:
        return base64.b64decode(self.get("secret", self.set)["data"]["root-password"]).decode().removesuffix("\n")

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get` in the cluster's namespace."""
        return self.kubectl.get("-n", self.namespace, *arguments)

    def pods(self, component: str = "node") -> dict[str, Pod]:
        """Pods of one component, by name."""
        selector = quote(_SELECTOR.format(name=self.name, component=component))
        found = json.loads(self.kubectl.raw(f"/api/v1/namespaces/{self.namespace}/pods?labelSelector={selector}"))
        return {pod.name: pod for pod in map(_pod, found["items"])}

    def status(self, pod: str) -> dict[str, Any]:
        """What the agent of a pod says. Raises KubeError where it says nothing."""
        answer: dict[str, Any] = json.loads(
            self.kubectl.raw(f"/api/v1/namespaces/{self.namespace}/pods/http:{pod}:9200/proxy/status", seconds=3)
        )
        return answer

    def sql(self, pod: str, statement: str, seconds: float = 300) -> list[list[str]]:
        """Run SQL as root in the pod of a node; returns rows of texts. The password goes by standard input."""
        script = "IFS= read -r MYSQL_PWD; export MYSQL_PWD; exec mariadb --batch --skip-column-names -u root"
        exec_ = ["-n", self.namespace, "exec", "-i", "-c", "mariadb", pod, "--", "bash", "-c", script]
        out = self.kubectl(*exec_, stdin=f"{self._root_password}\n{statement}", seconds=seconds)
        return [line.split("\t") for line in out.splitlines()]

    def logs(self, pod: str, container: str, since: str) -> str:
        """Log of a container and of the one before it, since a time of the API server."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log?container={container}&sinceTime={quote(since)}"
        texts = []
        for more in ("", "&previous=true"):
            with suppress(KubeError):
                texts.append(self.kubectl.raw(path + more))
        return "\n".join(texts)

    def transfers(self, since: str) -> dict[str, int]:
        """How many state transfers were made since a time, at least.

        By the logs of the donors or those of the joiners, whichever tell of more: a pod that was deleted since has
        taken its log with it. In a rolling restart nearly all donors have, and no joiner.
        """
        logs = "\n".join(self.logs(pod, "mariadb", since) for pod in self.nodes)
        return {kind: max(map(logs.count, texts)) for kind, texts in _TRANSFERS.items()}

    def volume(self, pod: str) -> str | None:
        """Path of a pod's data directory on its machine, None where its volume is no directory there."""
        claim = self.get("persistentvolumeclaim", f"data-{pod}")
        spec = self.kubectl.get("persistentvolume", claim["spec"]["volumeName"])["spec"]
        place = spec.get("hostPath") or spec.get("local")
        return None if place is None else str(place["path"])

    def trouble(self) -> str | None:
        """What keeps the cluster from being whole: all nodes Synced in one component and Ready, proxies Ready."""
        pods, proxies = self.pods(), self.pods("haproxy")
        missing = [f"{name} does not exist" for name in self.nodes if name not in pods]
        uuids: set[str] = set()
        for name, pod in sorted(pods.items()):
            found = None if pod.terminating else self._node_trouble(name, pod, uuids)
            if pod.terminating or found:
                missing.append(f"{name} {found or 'is being deleted'}")
        missing += [f"{name} is not Ready" for name, pod in proxies.items() if not pod.ready and not pod.terminating]
        if len(uuids) > 1:
            missing.append(f"two clusters: {', '.join(sorted(uuids))}")
        return "; ".join(missing) or None

    def _node_trouble(self, name: str, pod: Pod, uuids: set[str]) -> str | None:
        try:
            status = self.status(name)
        except KubeError as problem:
            return f"says nothing ({str(problem)[-120:]})"
        wsrep = status.get("wsrep") or {}
        if status.get("phase") != "running" or not wsrep:
            return f"is {status.get('phase')}: {status.get('reason')}"
        if wsrep["cluster_status"] != "Primary" or wsrep["local_state"] != 4 or wsrep["cluster_size"] != self.size:
            state, of = wsrep["local_state_comment"], wsrep["cluster_size"]
            return f"is {state} in a {wsrep['cluster_status']} component of {of}"
        uuids.add(wsrep["cluster_state_uuid"])
        return None if pod.ready else "is not Ready"


def _pod(raw: dict[str, Any]) -> Pod:
    status = raw.get("status") or {}
    containers = [*status.get("containerStatuses", ())]
    return Pod(
        raw["metadata"]["name"],
        raw["metadata"]["uid"],
        status.get("podIP", ""),
        raw["spec"].get("nodeName", ""),
        any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", ())),
        sum(one.get("restartCount", 0) for one in containers),
        "deletionTimestamp" in raw["metadata"],
        raw,
    )
