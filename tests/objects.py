# SPDX-License-Identifier: GPL-3.0-or-later
"""What end-to-end tests and benches put on Kubernetes: idle pods of the agent's image, and an S3 server."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

AGENT = "localhost/stateful-galera/agent:1.0.0"
GATEWAY = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stateful-galera/bin/versitygw"
BUCKET = "backups"
KEYS = {"access-key-id": "backup", "secret-access-key": "not-a-secret"}
SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 999,
    "runAsGroup": 999,
    "fsGroup": 999,
    "seccompProfile": {"type": "RuntimeDefault"},
}

_LISTENS = "(exec 3<>/dev/tcp/127.0.0.1/7070) 2>/dev/null"


class Kubectl(Protocol):
    """kubectl: raises where it fails."""

    def __call__(self, *arguments: str) -> object:
        """Run kubectl with these arguments."""


class Do(Protocol):
    """kubectl in one namespace: returns what it printed, raises where it fails."""

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl with these arguments."""


def apply(do: Do, *objects: dict[str, Any]) -> None:
    """Apply objects, given without a namespace."""
    do("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def remove_namespaces(kubectl: Kubectl, *names: str) -> None:
    """Remove namespaces and wait for their end.

    With pods in it, a namespace that is deleted is looked at again only after half of their grace period, 300 s.
    """
    for name in names:
        kubectl("-n", name, "delete", "statefulsets,deployments,jobs,pods", "--all", "--wait=false")
    for name in names:
        kubectl("-n", name, "delete", "pods", "--all", "--timeout=300s")
    kubectl("delete", "namespace", *names, "--ignore-not-found", "--wait", "--timeout=300s")


def pod(name: str, mounts: list[dict[str, Any]], volumes: list[dict[str, Any]]) -> dict[str, Any]:
    """A pod of the agent's image that does nothing by itself."""
    container = {
        "name": "main",
        "image": AGENT,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": mounts,
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "securityContext": SECURITY,
        "containers": [container],
        "volumes": volumes,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def serve_s3(do: Do) -> None:
    """Start an S3 server with the empty bucket BUCKET, as http://s3.<namespace>:7070 with KEYS; `make s3` brings it."""
    volumes = [
        {"name": "data", "emptyDir": {}},
        {"name": "small", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
    ]
    apply(
        do,
        pod("s3", [{"name": one["name"], "mountPath": f"/{one['name']}"} for one in volumes], volumes),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s3"},
            "spec": {"selector": {"app": "s3"}, "ports": [{"port": 7070}]},
        },
    )
    do("wait", "--for=condition=Ready", "pod/s3", "--timeout=120s")
    do("cp", str(GATEWAY), "s3:/data/versitygw")
    start_s3(do)


def start_s3(do: Do, secret: str = KEYS["secret-access-key"], place: str = "/data") -> None:
    """Start the server in its pod; place: /data, or /small, which holds 4 MiB of memory."""
    access = f"--access {KEYS['access-key-id']} --secret {secret}"
    serve = f"/data/versitygw {access} --port :7070 posix --sidecar {place}/meta {place}/root"
    begin = (
        f"mkdir -p {place}/root/{BUCKET} {place}/meta; nohup {serve} >>/data/log 2>&1 </dev/null & echo $! >/data/pid"
    )
    _in_s3(do, f"{begin}; until {_LISTENS}; do sleep 0.1; done")


def stop_s3(do: Do) -> None:
    """Kill the server, if it runs; what it stored stays."""
    _in_s3(do, f"kill -9 $(</data/pid) || true; while {_LISTENS}; do sleep 0.1; done")


def _in_s3(do: Do, script: str) -> None:
    do("exec", "s3", "--", "timeout", "30", "bash", "-c", script)
