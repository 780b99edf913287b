# SPDX-License-Identifier: GPL-3.0-or-later
"""agent.sock: how the database container's start script asks what to do.

A request is a word, a line end and more text, up to the end of what the script sends. The answer is words ended by NUL
each, the last of them `end`: an answer cut short by a dying agent is not obeyed.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_LARGEST = 1 << 18
_PAUSE_SECONDS = 0.1


class Caller:
    """The start script at the other end of one request."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def gone(self) -> bool:
        """Whether the script has died or was answered; that it half-closes its side after the request is no hang-up."""
        if self._connection.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._connection, 0)
        return any(flags & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, flags in poll.poll(0))

    def answer(self, words: Sequence[str]) -> bool:
        """Answer and hang up; False where the script is gone."""
        if any("\0" in word for word in words):
            raise ValueError("a word of an answer holds a NUL")
        try:
            self._connection.sendall(b"".join(word.encode() + b"\0" for word in (*words, "end")))
        except OSError:
            return False
        finally:
            self.close()
        return True

    def close(self) -> None:
        """Hang up without an answer."""
        with contextlib.suppress(OSError):
            self._connection.close()


def listen(path: Path, handle: Callable[[str, str, Caller], None]) -> threading.Thread:
    """Listen at a path, which is replaced, and hand each request (word, text, caller) to a thread of its own."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    server.bind(str(fresh))
    fresh.chmod(0o660)
    server.listen(16)
    # The name appears only when somebody listens: the start script waits for it.
    fresh.replace(path)

    def serve() -> None:
        while True:
            # Where no thread or file is to be had, as while clients have taken all, the script has to ask again.
            try:
                connection, _ = server.accept()
            except OSError:
                time.sleep(_PAUSE_SECONDS)
                continue
            try:
                threading.Thread(target=_receive, args=(connection, handle), daemon=True).start()
            except RuntimeError:
                connection.close()

    thread = threading.Thread(target=serve, name="door", daemon=True)
    thread.start()
    return thread


def _receive(connection: socket.socket, handle: Callable[[str, str, Caller], None]) -> None:
    connection.settimeout(10)
    raw = b""
    try:
        while len(raw) <= _LARGEST and (part := connection.recv(65536)):
            raw += part
    except OSError:
        connection.close()
        return
    word, _, text = raw.decode("utf-8", "replace").partition("\n")
    handle(word.strip(), text, Caller(connection))
