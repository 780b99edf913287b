# SPDX-License-Identifier: GPL-3.0-or-later
"""The few calls of the Kubernetes API that the agent makes, over http.client: a client library costs 30 MiB."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT = 2.0
_MERGE = "application/merge-patch+json"


class ApiError(Exception):
    """The API server did not do what was asked; status is its HTTP status, 0 where it did not answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Kube:
    """A client for one namespace. Thread-safe; one connection is kept and opened again when it breaks."""

    def __init__(self, namespace: str, connect: Callable[[], http.client.HTTPConnection], token: Path) -> None:
        self._connect, self._token, self._namespace = connect, token, namespace
        self._connection: http.client.HTTPConnection | None = None
        self._lock = threading.Lock()

    def config_map(self, name: str) -> dict[str, Any] | None:
        """A ConfigMap, None where there is none."""
        return self._get(self._path("v1", "configmaps", name))

    def patch_config_map(self, name: str, data: Mapping[str, str | None], version: str | None = None) -> None:
        """Merge keys into a ConfigMap, None takes one away; with version only if it did not change (ApiError 409)."""
        body: dict[str, Any] = {"data": dict(data)}
        if version is not None:
            body["metadata"] = {"resourceVersion": version}
        self._call("PATCH", self._path("v1", "configmaps", name), body, _MERGE)

    def replicas(self, stateful_set: str) -> int:
        """How many replicas a StatefulSet wants, 0 where there is none or it is being deleted with its pods."""
        found = self._get(self._path("apps/v1", "statefulsets", stateful_set))
        return 0 if found is None else int(found["spec"].get("replicas", 1))

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """The pods that match a label selector."""
        query = urlencode({"labelSelector": selector})
        return list(self._call("GET", f"{self._path('v1', 'pods')}?{query}")["items"])

    def lease(self, name: str) -> dict[str, Any] | None:
        """A Lease, None where there is none."""
        return self._get(self._path("coordination.k8s.io/v1", "leases", name))

    def create_lease(self, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Create a Lease (ApiError 409 where one exists)."""
        path = self._path("coordination.k8s.io/v1", "leases")
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
        return self._call("POST", path, body)

    def replace_lease(self, lease: Mapping[str, Any]) -> dict[str, Any]:
        """Replace a Lease that was read before (ApiError 409 where it changed since)."""
        name = str(lease["metadata"]["name"])
        return self._call("PUT", self._path("coordination.k8s.io/v1", "leases", name), lease)

    def create_event(self, event: Mapping[str, Any]) -> None:
        """Create an Event."""
        self._call("POST", self._path("v1", "events"), event)

    def _path(self, group: str, kind: str, name: str = "") -> str:
        root = f"/api/{group}" if "/" not in group else f"/apis/{group}"
        tail = f"/{quote(name)}" if name else ""
        return f"{root}/namespaces/{self._namespace}/{kind}{tail}"

    def _get(self, path: str) -> dict[str, Any] | None:
        try:
            return self._call("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, kind: str = "application/json"
    ) -> dict[str, Any]:
        with self._lock:
            try:
                status, raw = self._exchange(method, path, body, kind)
                answer = json.loads(raw)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._drop()
                raise ApiError(0, f"{method} {path.partition('?')[0]}: {error or type(error).__name__}") from error
        if status >= 300:
            raise ApiError(status, f"{method} {path.partition('?')[0]}: {status} {answer.get('message', '')}".strip())
        return dict(answer)

    def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None, kind: str) -> tuple[int, bytes]:
        # The token is read each time, because the kubelet replaces it about every hour.
        headers = {"Authorization": f"Bearer {self._token.read_text().strip()}", "Accept": "application/json"}
        content = None
        if body is not None:
            headers["Content-Type"], content = kind, json.dumps(body)
        reused = self._connection is not None
        try:
            return self._once(method, path, content, headers)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            # An idle connection was closed at the other end; on a fresh one the same is a real error.
            if not reused:
                raise
            self._drop()
            return self._once(method, path, content, headers)

    def _once(self, method: str, path: str, content: str | None, headers: dict[str, str]) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request(method, path, content, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def in_cluster(namespace: str, env: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> Kube:
    """The client of the pod's ServiceAccount; what is missing shows as ApiError at the first call."""

    def connect() -> http.client.HTTPConnection:
        host = env.get("KUBERNETES_SERVICE_HOST")
        if not host:
            raise OSError("KUBERNETES_SERVICE_HOST is not set, so this is no pod")
        port = int(env.get("KUBERNETES_SERVICE_PORT", "443"))
        context = ssl.create_default_context(cafile=str(account / "ca.crt"))
        return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=context)

    return Kube(namespace, connect, account / "token")
