# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server for tests: objects in memory behind real HTTP, enough of server-side apply to see what is sent when."""

from __future__ import annotations

import copy
import itertools
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, Kind

Manifest = dict[str, Any]
Reply = tuple[int, Any]


def status(code: int, reason: str, message: str) -> Reply:
    return code, {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


class FakeKubernetes:
    """objects: by kind, namespace and name; agents: pod name -> answer of its agent; requests: (method, path, query).

    replies: (method, path) -> answers that are given, one after the other, instead of the true one;
    before: called with method and path before each request, to let the world change; denied: (verb, resource) pairs.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Manifest] = {}
        self.agents: dict[str, Any] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.replies: dict[tuple[str, str], list[Reply]] = {}
        self.denied: set[tuple[str, str]] = set()
        self.before: Callable[[str, str], None] = lambda method, path: None
        self._versions = itertools.count(1)
        self._lock = threading.RLock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # one packet an answer
            wbufsize = 1 << 16

            def serve(self) -> None:
                fake._serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def auth(self) -> dict[str, Any]:
        return {"host": self.host, "api_key": "token-of-the-test"}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, manifest: Manifest) -> Manifest:
        """Put an object there as if someone else had made it."""
        stored = copy.deepcopy(manifest)
        metadata = stored["metadata"]
        metadata.setdefault("uid", f"uid-{next(self._versions)}")
        metadata.setdefault("resourceVersion", str(next(self._versions)))
        self.objects[stored["kind"], metadata.get("namespace", ""), metadata["name"]] = stored
        return stored

    def get(self, kind: str, name: str, namespace: str = "db") -> Manifest | None:
        return self.objects.get((kind, namespace, name))

    def writes(self) -> list[tuple[str, str]]:
        """Method and path of the requests that changed something; the Lease of the run is no thing."""
        return [
            (method, path)
            for method, path, query in self.requests
            if method != "GET" and "dryRun" not in query and "/self" not in path and "/leases" not in path
        ]

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        length = int(handler.headers.get("Content-Length") or 0)
        body = json.loads(handler.rfile.read(length)) if length else None
        with self._lock:
            self.before(handler.command, url.path)
            self.requests.append((handler.command, url.path, query))
            self.bodies.append(body)
            self.headers.append({key.lower(): value for key, value in handler.headers.items()})
            code, answer = self._answer(handler.command, url.path, query, body)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        handler.send_response(code)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Reply:
        prepared = self.replies.get((method, path))
        if prepared:
            return prepared.pop(0)
        if path == "/version":
            return 200, {"major": "1", "minor": "33", "gitVersion": "v1.33.1"}
        if path.startswith(("/apis/authorization.k8s.io", "/apis/authentication.k8s.io")):
            return 201, self._review(path, body)
        if "/proxy/" in path:
            pod = path.split("/pods/http:")[1].split(":")[0]
            answer = self.agents.get(pod)
            return (200, answer) if answer is not None else status(503, "ServiceUnavailable", "connection refused")
        if path.endswith("/log"):
            return 200, b"first line\nlast line\n"
        return self._object(method, path, query, body)

    def _review(self, path: str, body: Manifest) -> Manifest:
        if path.endswith("selfsubjectreviews"):
            return {"status": {"userInfo": {"username": "tester"}}}
        if path.endswith("selfsubjectrulesreviews"):
            rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
            return {"status": {"resourceRules": [] if self.denied else [rule]}}
        wanted = body["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, [wanted["resource"], wanted.get("subresource")]))
        return {"status": {"allowed": (wanted["verb"], resource) not in self.denied}}

    def _object(self, method: str, path: str, query: dict[str, str], body: Any) -> Reply:
        kind, namespace, name = _parse(path)
        verb = {
            "GET": "get" if name else "list",
            "POST": "create",
            "PUT": "update",
            "PATCH": "patch",
            "DELETE": "delete",
        }[method]
        if (verb, kind.resource) in self.denied:
            return status(403, "Forbidden", f'{kind.resource} is forbidden: User "tester" cannot {verb} resource')
        if method == "GET" and not name:
            return 200, {"items": list(self._matching(kind, namespace, query))}
        name = name or body["metadata"].get("name", "generated")
        key, dry = (kind.kind, namespace, name), "dryRun" in query
        live = self.objects.get(key)
        if method in ("POST", "PATCH") and namespace and ("Namespace", "", namespace) not in self.objects:
            return status(404, "NotFound", f'namespaces "{namespace}" not found')
        if method == "POST" and live is not None:
            return status(409, "AlreadyExists", f'{kind.resource} "{name}" already exists')
        if method in ("GET", "DELETE", "PUT") and live is None:
            return status(404, "NotFound", f'{kind.resource} "{name}" not found')
        if method == "GET":
            return 200, live
        version = {"PUT": (body or {}).get("metadata"), "DELETE": (body or {}).get("preconditions")}.get(method) or {}
        if (
            live is not None
            and version.get("resourceVersion", live["metadata"]["resourceVersion"])
            != (live["metadata"]["resourceVersion"])
        ):
            return status(409, "Conflict", f'the object "{name}" has been modified')
        if method == "PUT":
            after = copy.deepcopy(body)
            del after["metadata"]["resourceVersion"]
            return 200, self.add(after)
        if method == "DELETE":
            del self.objects[key]
            return 200, {"kind": "Status", "status": "Success"}
        if method == "PATCH" and self.headers[-1].get("content-type") == "application/merge-patch+json":
            after = _without_none(_merge(live, body))
        else:
            after = self._applied(live, body, query["fieldManager"]) if method == "PATCH" else copy.deepcopy(body)
        if not dry:
            after = self.add(after)
        return (200 if live is not None else 201), after

    def _matching(self, kind: Kind, namespace: str, query: dict[str, str]) -> list[Manifest]:
        wanted, fields = (
            [part.split("=", 1) for part in query.get(which, "").split(",") if part]
            for which in ("labelSelector", "fieldSelector")
        )
        return [
            {key: item for key, item in each.items() if key not in ("apiVersion", "kind")}
            for (each_kind, space, _name), each in self.objects.items()
            if each_kind == kind.kind and namespace in ("", space)
            if all(each["metadata"].get("labels", {}).get(label) == value for label, value in wanted)
            if all(_field(each, path) == value for path, value in fields)
        ]

    def _applied(self, live: Manifest | None, wanted: Manifest, manager: str) -> Manifest:
        """The object after an apply; lists are owned as a whole."""
        after = _merge(live or {}, wanted)
        metadata = after["metadata"]
        fields = _fields({key: value for key, value in wanted.items() if key not in ("apiVersion", "kind")})
        for identity in ("f:name", "f:namespace", "f:resourceVersion"):
            fields["f:metadata"].pop(identity, None)
        if not fields["f:metadata"]:
            del fields["f:metadata"]
        others = [entry for entry in metadata.get("managedFields", []) if entry["manager"] != manager]
        metadata["managedFields"] = [*others, {"manager": manager, "operation": "Apply", "fieldsV1": fields}]
        metadata["resourceVersion"] = str(next(self._versions))
        return after


def _field(manifest: Manifest, path: str) -> Any:
    found: Any = manifest
    for name in path.split("."):
        found = (found or {}).get(name)
    return found


def _merge(live: Any, wanted: Any) -> Any:
    if isinstance(live, dict) and isinstance(wanted, dict):
        merged = {**copy.deepcopy(live), **{key: _merge(live.get(key), value) for key, value in wanted.items()}}
        return {key: value for key, value in merged.items() if value is not None or key not in wanted}
    return copy.deepcopy(wanted)


def _without_none(value: Any) -> Any:
    """A merge patch takes away what it names as null."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


def _fields(value: Any) -> dict[str, Any]:
    return {f"f:{key}": _fields(item) for key, item in value.items()} if isinstance(value, dict) else {}


def _parse(path: str) -> tuple[Kind, str, str]:
    """The kind, the namespace and the name in a path of the API."""
    for kind in KINDS.values():
        base = kind.path()
        prefix = base[: -len(kind.resource)]
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].split("/")
        namespace = ""
        if kind.namespaced and parts[0] == "namespaces" and len(parts) > 2:
            namespace, parts = parts[1], parts[2:]
        if parts[0] == kind.resource and len(parts) <= 2:
            return kind, namespace, parts[1] if len(parts) == 2 else ""
    raise ValueError(path)
