# SPDX-License-Identifier: GPL-3.0-or-later
"""Count the requests that reach an API server: a plain HTTP proxy in front of `kubectl proxy`."""

from __future__ import annotations

import http.client
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: int
    seen: Counter[str]

    def _forward(self) -> None:
        self.seen[f"{self.command} {self.path.partition('?')[0]}"] += 1
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection", "accept-encoding")}
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=120)
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        payload = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type") or "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)
        connection.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _forward  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing: the counter is the log."""


@contextmanager
def counting_proxy(folder: Path) -> Iterator[tuple[Path, Counter[str]]]:
    """Run the proxy; yields a kubeconfig that leads through it, and the counter (`METHOD /path` → requests)."""
    upstream = subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
    assert upstream.stdout is not None
    match = re.search(r":(\d+)$", upstream.stdout.readline().strip())
    if match is None:
        raise RuntimeError("kubectl proxy did not say its port")
    handler = type("Handler", (_Handler,), {"upstream": int(match.group(1)), "seen": Counter()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = folder / "counting-kubeconfig"
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        f"clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{server.server_port}'}}}}]\n"
        "users: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"
    )
    try:
        yield config, handler.seen  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        upstream.terminate()
        upstream.wait()
