# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's HTTP side: health for the kubelet and HAProxy, status for people, plays and the other agents."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from . import metrics
from .kube import ApiError
from .state import State, report


class Server(ThreadingHTTPServer):
    """Serves one pod's state; port 0 takes any free port."""

    daemon_threads = True
    # A whole cluster, its proxies and a play may ask at the same moment.
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        state: State,
        pod: str,
        role: str,
        backups: Callable[[], str] | None = None,
        namespace: str | None = None,
    ) -> None:
        self.state, self.pod, self.role, self.backups = state, pod, role, backups
        self.namespace = namespace
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    server: Server
    timeout = 5

    def do_GET(self) -> None:
        """Answer /health/ready, /health/live, /status, /metrics and /backups."""
        state = self.server.state
        if self.path == "/health/ready":
            # HAProxy lets the sessions of a server that says 404 go on and gives it no new ones
            self._health(state.not_ready(), 404 if state.keeps_sessions() else 503)
        elif self.path == "/health/live":
            self._health(state.dead())
        elif self.path == "/status":
            snapshot, server = state.now, self.server
            text = json.dumps(report(snapshot, state.age(snapshot), server.pod, server.role, server.namespace))
            self._send(200, "application/json", text)
        elif self.path == "/metrics":
            self._send(200, metrics.CONTENT_TYPE, self._metrics())
        elif self.path == "/backups" and self.server.backups is not None:
            self._backups(self.server.backups)
        else:
            self._send(404, "text/plain", "known are /health/ready, /health/live, /status, /metrics and /backups")

    def do_HEAD(self) -> None:
        """Answer as to GET, without the body."""
        self.do_GET()

    def _backups(self, read: Callable[[], str]) -> None:
        try:
            self._send(200, "application/json", read())
        except ApiError as error:
            self._send(503, "text/plain", str(error))

    def _metrics(self) -> str:
        state, backups = self.server.state, self.server.backups
        try:
            document = backups() if backups is not None else None
        except ApiError:
            document = None
        snapshot = state.now
        ready = state.not_ready() is None
        return metrics.render(snapshot, state.age(snapshot), ready, document, wanted=backups is not None)

    def _health(self, problem: str | None, failed: int = 503) -> None:
        self._send(200 if problem is None else failed, "text/plain", problem or "ok")

    def _send(self, status: int, kind: str, text: str) -> None:
        body = (text.removesuffix("\n") + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come many times a second; the log is for changes of state."""
