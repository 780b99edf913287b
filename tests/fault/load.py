# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients while they run: started in a pod beside the cluster or on this machine, paused, and read."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fault.cluster import Cluster
from fault.journal import Entry, Worker, parse
from fault.kube import KubeError, WaitError, file_map, until

CLIENT = Path(__file__).parent / "workload" / "client.py"
DATABASE = USER = "galera_fault"
PORT = 8090


@dataclass(frozen=True)
class Mix:
    """What the clients do: writes a second in all, tries after a lost connection, unlocked transfers only."""

    rate: float = 100.0
    retries: int = 0
    unlocked: bool = False

    def workers(self) -> list[dict[str, Any]]:
        """The clients with their ports and rates; indexes are their numbers in the tables."""
        if self.unlocked:
            kinds = [("unlocked", 3307, 50.0), ("unlocked", 3308, 50.0)]
        else:
            appends = [("append", port, self.rate * 0.8 / 8) for port in (3306, 3307) for _ in range(4)]
            transfers = [("transfer", port, self.rate * 0.15 / 3) for port in (3306, 3306, 3307)]
            tick = [("tick", 3307, self.rate * 0.05)]
            readers = [("read", 3306, 10.0), ("read", 3308, 10.0), ("read_sync", 3306, 5.0), ("read_sync", 3308, 5.0)]
            kinds = [*appends, *transfers, *tick, *readers]
        return [
            {"name": f"{kind}-{index}", "kind": kind, "port": port, "rate": rate, "index": index}
            for index, (kind, port, rate) in enumerate(kinds)
        ]


class Place(Protocol):
    """Where the clients run."""

    def start(self, config: dict[str, Any], password: str) -> None:
        """Start them."""

    def ask(self, path: str, seconds: float = 40) -> str:
        """GET a path of theirs."""

    def stop(self) -> None:
        """End them."""

    def machine(self) -> str:
        """The Kubernetes node that they run on, empty where they run outside."""


class InPod:
    """The clients in a pod; on a machine that has none of the cluster's pods, where there is one."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace, self._kubectl = cluster, namespace, cluster.kubectl
        self.host = f"{cluster.proxy}.{cluster.namespace}"

    def start(self, config: dict[str, Any], password: str) -> None:
        """Make the pod and wait until it answers. Raises WaitError."""
        self.stop()
        config = {**config, "host": self.host, "listen": f":{PORT}", "journal": "/journal"}
        files = file_map("client", self._namespace, CLIENT, extra={"config.json": json.dumps(config)})
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "client", "namespace": self._namespace},
            "stringData": {"password": password},
        }
        self._kubectl.apply(files, secret, _pod(self._namespace, self._cluster))
        until(self._missing, "the pod of the clients", 180)

    def _missing(self) -> str | None:
        self.ask("/status", 3)
        return None

    def ask(self, path: str, seconds: float = 40) -> str:
        """GET through the API server."""
        return self._kubectl.raw(f"/api/v1/namespaces/{self._namespace}/pods/http:client:{PORT}/proxy{path}", seconds)

    def machine(self) -> str:
        """The Kubernetes node of the pod."""
        return str(self._kubectl.get("-n", self._namespace, "pod", "client")["spec"]["nodeName"])

    def stop(self) -> None:
        """Delete the pod, and its journals with it."""
        # Its end does not wait for that of the processes, which would go on writing for a moment
        with suppress(KubeError):
            self.ask("/pause")
        self._kubectl("-n", self._namespace, "delete", "pod", "client", "--ignore-not-found", "--wait")


class Outside:
    """The clients as a process of this machine, against an address that leads to HAProxy from outside."""

    def __init__(self, address: str) -> None:
        self._host = address
        self._folder = tempfile.TemporaryDirectory(prefix="galera-fault-")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, config: dict[str, Any], password: str) -> None:
        """Start the process and wait until it answers. Raises WaitError."""
        self.stop()
        folder = Path(self._folder.name)
        config = {**config, "host": self._host, "listen": f"127.0.0.1:{PORT}", "journal": str(folder / "journal")}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "password").touch(mode=0o600)
        (folder / "password").write_text(password)
        self._process = subprocess.Popen(
            [sys.executable, str(CLIENT), str(folder / "config.json"), str(folder / "password")]
        )
        until(self._missing, "the clients on this machine", 30)

    def _missing(self) -> str | None:
        self.ask("/status", 3)
        return None

    def ask(self, path: str, seconds: float = 40) -> str:
        """GET from the process. Raises KubeError, as the other place does."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=seconds) as answer:
                return str(answer.read().decode())
        except OSError as problem:
            raise KubeError(f"the clients do not answer: {problem}") from None

    def machine(self) -> str:
        """None of the cluster's."""
        return ""

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


class Load:
    """Clients that write, are paused for a check, and whose journals are read bit by bit."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.password = secrets.token_hex(16)
        self._offset: dict[str, int] = {}
        self._rest: dict[str, str] = {}
        self.workers: dict[str, Worker] = {}
        self._ahead = 0.0

    def start(self, mix: Mix) -> None:
        """Start the clients from the beginning, paused."""
        config = {"user": USER, "database": DATABASE, "retries": mix.retries, "workers": mix.workers(), "start": False}
        self._place.start(config, self.password)
        workers = [Worker(one["name"], one["kind"], one["port"], one["index"]) for one in mix.workers()]
        self.workers = {worker.name: worker for worker in workers}
        self._offset, self._rest = {}, {}
        self._measure_clock()

    def machine(self) -> str:
        """The Kubernetes node that the clients run on, empty where they run outside."""
        return self._place.machine()

    def stop(self) -> None:
        """End the clients."""
        self._place.stop()

    def _measure_clock(self) -> None:
        """How far their monotonic clock is ahead of ours, from the quickest of some answers."""
        best = float("inf")
        for _ in range(5):
            begin = time.monotonic()
            theirs = float(json.loads(self._place.ask("/status"))["now"])
            end = time.monotonic()
            if end - begin < best:
                best, self._ahead = end - begin, theirs - (begin + end) / 2

    def now(self) -> float:
        """This moment on the clients' clock; as exact as half the time of an answer."""
        return time.monotonic() + self._ahead

    def status(self) -> list[dict[str, Any]]:
        """The state of each client. Raises KubeError."""
        found: list[dict[str, Any]] = json.loads(self._place.ask("/status", 5))["workers"]
        return found

    def acknowledged(self) -> int:
        """Writes acknowledged so far."""
        return sum(one["acked"] for one in self.status() if not one["kind"].startswith("read"))

    def writer(self) -> str:
        """The node that the writer port leads to now. Raises WaitError where no client is connected there."""
        found = [one["node"] for one in self.status() if one["port"] == 3307 and one["node"]]
        if not found:
            raise WaitError("no client is connected through the writer port, so nobody knows which node writes")
        return str(max(set(found), key=found.count))

    def await_writes(self, count: int, seconds: float) -> None:
        """Wait for so many more acknowledged writes. Raises WaitError."""
        if not count:
            return
        goal = self.acknowledged() + count

        def missing() -> str | None:
            left = goal - self.acknowledged()
            errors = {one["last_error"] for one in self.status() if one["last_error"]}
            return f"{left} are missing; errors: {'; '.join(sorted(errors)) or 'none'}" if left > 0 else None

        until(missing, f"{count} acknowledged writes", seconds)

    def await_all(self, seconds: float) -> None:
        """Wait until every client has had an answer from now on. Raises WaitError."""
        before = {one["name"]: one["acked"] for one in self.status()}

        def missing() -> str | None:
            behind = [
                f"{one['name']} ({one['last_error']})" for one in self.status() if one["acked"] <= before[one["name"]]
            ]
            return ", ".join(behind) or None

        until(missing, "an answer to every client", seconds)

    def pause(self) -> None:
        """End when nothing is under way. Raises KubeError."""
        self._place.ask("/pause")

    def resume(self) -> None:
        """Go on."""
        self._place.ask("/resume")

    def read(self) -> dict[Worker, Sequence[Entry]]:
        """What the journals have gained since the last call."""
        return {worker: self._read(worker.name) for worker in self.workers.values()}

    def _read(self, name: str) -> list[Entry]:
        text = self._rest.get(name, "")
        while piece := self._place.ask(f"/journal?worker={name}&from={self._offset.get(name, 0)}"):
            self._offset[name] = self._offset.get(name, 0) + len(piece.encode())
            text += piece
        whole = text[: text.rfind("\n") + 1]
        self._rest[name] = text[len(whole) :]
        return parse(whole)


def _pod(namespace: str, cluster: Cluster) -> dict[str, Any]:
    instance = {"matchLabels": {"app.kubernetes.io/name": "galera", "app.kubernetes.io/instance": cluster.name}}
    apart = {"topologyKey": "kubernetes.io/hostname", "labelSelector": instance, "namespaces": [cluster.namespace]}
    container = {
        "name": "client",
        "image": cluster.agent_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/fault/client.py", "/fault/config.json", "/secret/password"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "files", "mountPath": "/fault"},
            {"name": "secret", "mountPath": "/secret"},
            {"name": "journal", "mountPath": "/journal"},
        ],
    }
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": apart}]
            }
        },
        "securityContext": {"runAsNonRoot": True, "runAsUser": 999, "runAsGroup": 999, "fsGroup": 999},
        "containers": [container],
        "volumes": [
            {"name": "files", "configMap": {"name": "client"}},
            {"name": "secret", "secret": {"secretName": "client"}},
            {"name": "journal", "emptyDir": {}},
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": namespace, "labels": {"fault": "client"}},
        "spec": spec,
    }
