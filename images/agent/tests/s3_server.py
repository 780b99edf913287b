# SPDX-License-Identifier: GPL-3.0-or-later
"""A real S3 server on this machine, with TLS by an authority of our own, and a link to it that can be disturbed."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from galera_agent.backup.s3_store import Patience, S3Store, open_s3
from galera_agent.backup.settings import S3Settings

IMPATIENT = Patience(connect=2, read=1, attempts=2)
KEY, SECRET = "test-access-key", "test-secret-key"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stateful-galera"


@dataclass
class Server:
    """versitygw with a directory as its storage: each bucket a directory below root."""

    directory: Path
    process: subprocess.Popen[bytes]
    port: int
    ca: Path
    secrets: Path
    endpoint: str

    @property
    def root(self) -> Path:
        return self.directory / "root"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def start(directory: Path) -> Server:
    """Start a server on a free port of the loopback device, and return when it takes connections."""
    binary = _binary()
    for name in ("root", "versions", "secrets", "accounts"):
        (directory / name).mkdir()
    (directory / "secrets/access-key-id").write_text(f"{KEY}\n")
    (directory / "secrets/secret-access-key").write_text(SECRET)
    make_authority(directory, "ca")
    make_certificate(directory)
    port = free_port()
    options = f"--port 127.0.0.1:{port} --cert {directory}/server.crt --key {directory}/server.key --quiet"
    storage = f"--iam-dir {directory}/accounts posix --versioning-dir {directory}/versions {directory}/root"
    process = subprocess.Popen(
        [binary, *options.split(), *storage.split()],
        env={**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET},
        stdout=(directory / "log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    server = Server(directory, process, port, directory / "ca.crt", directory / "secrets", f"https://127.0.0.1:{port}")
    deadline = time.monotonic() + 30
    context = ssl.create_default_context(cafile=server.ca)
    while True:
        assert process.poll() is None, (directory / "log").read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as plain:
            context.wrap_socket(plain, server_hostname="127.0.0.1").close()
            return server
        assert time.monotonic() < deadline, "versitygw does not listen"
        time.sleep(0.02)


def add_user(server: Server, name: str, secrets: Path) -> None:
    """Make an account that may nothing, and write its credentials."""
    call = [_binary(), "admin", "--allow-insecure", "--access", KEY, "--secret", SECRET]
    call += ["--endpoint-url", server.endpoint, "create-user", "--access", name, "--secret", SECRET, "--role", "user"]
    subprocess.run(call, check=True, capture_output=True)
    (secrets / "access-key-id").write_text(name)
    (secrets / "secret-access-key").write_text(SECRET)


def _binary() -> str:
    found = shutil.which("versitygw", path=f"{_CACHE / 'bin'}:{os.environ['PATH']}")
    assert found, "versitygw is not there: run `make s3`"
    return found


def settings(server: Server, bucket: str, **changes: Any) -> S3Settings:
    """Settings for a bucket of the server, some of them changed."""
    plain = S3Settings(bucket, "a/n", server.endpoint, None, server.ca, True, None, None, None)
    return replace(plain, **changes)


def bucket(server: Server, name: str, **changes: Any) -> S3Store:
    """Make a bucket (with object lock where the settings have it), and return the store in it."""
    wanted = settings(server, name, **changes)
    store = open_s3(wanted, server.secrets, Patience(5, 10, 2))
    store._client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=wanted.object_lock is not None)
    return store


def make_authority(directory: Path, name: str) -> Path:
    """Make name.crt and name.key of an authority that signs itself."""
    _openssl(directory, "req", "-x509", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}")
    return directory / f"{name}.crt"


def make_certificate(directory: Path) -> None:
    """Make server.crt and server.key for 127.0.0.1, signed by ca."""
    _openssl(
        directory, "req", "-x509", *_KEY, "-keyout", "server.key", "-out", "server.crt", "-subj", "/CN=s3",
        "-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1",
        "-addext", "basicConstraints=critical,CA:FALSE",
    )  # fmt: skip


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def free_port() -> int:
    """A port of the loopback device on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Link:
    """Connections to a port, through which bytes go until the link is cut.

    up_to: bytes that may still go to the server, down_to: that may still come from it; None: all. What happens then:
    closed (the connection breaks) or held (it stays, silent). flip: then one bit is another, and all goes on.
    """

    target: int
    up_to: int | None = None
    down_to: int | None = None
    hold: bool = False
    flip: bool = False
    connections: int = 0
    _socket: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _open: list[socket.socket] = field(default_factory=list)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"https://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        for one in (self._socket, *self._open):
            _shut(one)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._socket.accept()
                self.connections += 1
                far = socket.create_connection(("127.0.0.1", self.target))
                self._open += [near, far]
                for pair in ((near, far, "up_to"), (far, near, "down_to")):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, budget: str) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                allowed = self._spend(budget, len(data))
                if allowed < len(data) and self.flip:
                    setattr(self, budget, None)
                    allowed, data = len(data), data[:-1] + bytes([data[-1] ^ 1])
                sink.sendall(data[:allowed])
                if allowed < len(data):
                    if self.hold:
                        return
                    break
        _shut(source)
        _shut(sink)

    def _spend(self, budget: str, size: int) -> int:
        with self._guard:
            left = getattr(self, budget)
            if left is None:
                return size
            allowed: int = min(left, size)
            setattr(self, budget, left - allowed)
            return allowed


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
