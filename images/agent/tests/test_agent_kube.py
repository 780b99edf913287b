# SPDX-License-Identifier: GPL-3.0-or-later
"""The API client against a real HTTP server."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from galera_agent.kube import ApiError, Kube, in_cluster


class Api(BaseHTTPRequestHandler):
    """Answers what the test prepared for `METHOD path`, and keeps every request."""

    protocol_version = "HTTP/1.1"
    answers: dict[str, tuple[int, Any]]
    requests: list[dict[str, Any]]
    port: int
    hang_up_after = False

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        self.requests.append(
            {
                "line": f"{self.command} {self.path}",
                "token": self.headers["Authorization"],
                "type": self.headers["Content-Type"],
                "body": json.loads(raw) if raw else None,
            }
        )
        status, answer = self.answers.get(f"{self.command} {self.path}", (404, {"message": "not found"}))
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.hang_up_after

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[type[Api]]:
    fresh: Any = type("Fresh", (Api,), {"answers": {}, "requests": []})
    for method in ("GET", "POST", "PUT", "PATCH"):
        setattr(fresh, f"do_{method}", Api.answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), fresh)
    server.daemon_threads = True
    fresh.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield fresh
    server.shutdown()
    server.server_close()


@pytest.fixture
def kube(api: type[Api], tmp_path: Path) -> Kube:
    (tmp_path / "token").write_text("first\n")
    port = api.port
    return Kube("ns", lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=2), tmp_path / "token")


MAPS = "/api/v1/namespaces/ns/configmaps"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
SETS = "/apis/apps/v1/namespaces/ns/statefulsets"


def test_reading(api: type[Api], kube: Kube) -> None:
    api.answers |= {
        f"GET {MAPS}/m": (200, {"data": {"a": "b"}}),
        f"GET {LEASES}/l": (200, {"spec": {}}),
        f"GET {SETS}/three": (200, {"spec": {"replicas": 3}}),
        f"GET {SETS}/one": (200, {"spec": {}}),
        "GET /api/v1/namespaces/ns/pods?labelSelector=a%3Db%2Cc%3Dd": (200, {"items": [{"x": 1}]}),
    }
    assert kube.config_map("m") == {"data": {"a": "b"}}
    assert kube.lease("l") == {"spec": {}}
    assert [kube.replicas(name) for name in ("three", "one", "none")] == [3, 1, 0]
    assert kube.pods("a=b,c=d") == [{"x": 1}]
    assert (kube.config_map("none"), kube.lease("none")) == (None, None)


def test_writing(api: type[Api], kube: Kube) -> None:
    lease = {"metadata": {"name": "l", "resourceVersion": "7"}, "spec": {"holderIdentity": "x"}}
    api.answers |= {
        f"PATCH {MAPS}/m": (200, {}),
        f"POST {LEASES}": (201, lease),
        f"PUT {LEASES}/l": (200, lease),
        "POST /api/v1/namespaces/ns/events": (201, {}),
    }
    kube.patch_config_map("m", {"k": "v"})
    kube.patch_config_map("m", {"k": "v"}, "7")
    assert kube.create_lease("l", {"holderIdentity": "x"}) == lease
    assert kube.replace_lease(lease) == lease
    kube.create_event({"reason": "R"})
    assert [(one["type"], one["body"]) for one in api.requests[:2]] == [
        ("application/merge-patch+json", {"data": {"k": "v"}}),
        ("application/merge-patch+json", {"data": {"k": "v"}, "metadata": {"resourceVersion": "7"}}),
    ]
    assert api.requests[2]["body"]["metadata"] == {"name": "l"}
    assert api.requests[3]["body"] == lease


@pytest.mark.parametrize("status", [403, 409, 500])
def test_a_refusal_has_its_status_and_reason(api: type[Api], kube: Kube, status: int) -> None:
    api.answers[f"GET {MAPS}/m"] = (status, {"message": "not for you"})
    with pytest.raises(ApiError, match=f"GET {MAPS}/m: {status} not for you") as error:
        kube.config_map("m")
    assert error.value.status == status


def test_the_token_is_read_each_time(api: type[Api], kube: Kube, tmp_path: Path) -> None:
    kube.config_map("m")
    (tmp_path / "token").write_text("second")
    kube.config_map("m")
    assert [one["token"] for one in api.requests] == ["Bearer first", "Bearer second"]


def test_a_connection_closed_while_idle_is_opened_again(api: type[Api], kube: Kube) -> None:
    api.hang_up_after = True
    assert [kube.config_map("m") for _ in range(3)] == [None, None, None]


def test_an_answer_that_is_no_json(api: type[Api], kube: Kube) -> None:
    api.answers[f"GET {MAPS}/m"] = (200, b"<html>")
    with pytest.raises(ApiError) as error:
        kube.config_map("m")
    assert error.value.status == 0


def test_nobody_answers(kube: Kube, tmp_path: Path) -> None:
    def refuse() -> http.client.HTTPConnection:
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(ApiError, match="Connection refused") as error:
        Kube("ns", refuse, tmp_path / "token").config_map("m")
    assert error.value.status == 0


def test_outside_a_pod_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    with pytest.raises(ApiError, match="KUBERNETES_SERVICE_HOST is not set"):
        in_cluster("ns", {}, tmp_path).config_map("m")


def test_without_a_token_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="token"):
        in_cluster("ns", {"KUBERNETES_SERVICE_HOST": "127.0.0.1"}, tmp_path).config_map("m")
