# SPDX-License-Identifier: GPL-3.0-or-later
"""A door before the API server: a TCP proxy that can be shut, which is what an API server that is away looks like."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml


class Door:
    """Forwards connections to one address while it is open; shut, it refuses new ones and cuts those that there are."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        """Open the door on a port of its own."""
        self._upstream = upstream
        self._pairs: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port = 0
        self._listener: socket.socket | None = None
        self.open()

    def open(self) -> None:
        """Let connections through."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port, self._listener = listener.getsockname()[1], listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def shut(self) -> None:
        """Refuse and cut connections."""
        listener, self._listener = self._listener, None
        with self._lock:
            sockets, self._pairs = [*self._pairs, *([listener] if listener else [])], set()
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _address = listener.accept()
                server = socket.create_connection(self._upstream)
            except OSError:
                return
            with self._lock:
                self._pairs |= {client, server}
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def api_door(kubeconfig: Path, folder: Path) -> Iterator[tuple[Door, Path]]:
    """Put a door before the API server of a kubeconfig; yields it, and a kubeconfig that leads through it."""
    config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    (cluster,) = config["clusters"]
    server = urlsplit(cluster["cluster"]["server"])
    door = Door((str(server.hostname), server.port or 443))
    cluster["cluster"]["server"] = f"https://{server.hostname}:{door.port}"
    through = folder / "door-kubeconfig"
    through.write_text(yaml.safe_dump(config))
    try:
        yield door, through
    finally:
        door.shut()
