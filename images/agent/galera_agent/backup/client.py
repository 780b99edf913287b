# SPDX-License-Identifier: GPL-3.0-or-later
"""The one session in which archived statements are replayed, by the program `mariadb`.

It goes on after an error, since some are expected; what it has done counts only when all its errors were judged.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .. import datadir
from .pipe import Limit, StreamError

# As the largest that a server can have: a row that was written must be readable.
_PACKET = "--max-allowed-packet=1G"
_OPTIONS = ("--no-defaults", "--user=mysql", "--binary-mode", _PACKET, "--force", "--skip-reconnect", "--comments")
_ERROR = re.compile(rb"^ERROR(?: (\d+) \(\w+\))?(?: at line (\d+))?: (.*)\n", re.MULTILINE)
_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class SqlError:
    """number: 0 for what the program itself refuses. line: where the statement began in all that it was told."""

    number: int
    line: int
    text: str

    def __str__(self) -> str:
        return f"ERROR {self.number}: {self.text}"


class Client:
    """sink: takes the statements. line: that of the last mark."""

    def __init__(self, socket: Path, log: Path, limit: Limit) -> None:
        self._log, self._limit, self._read, self.line = log, limit, 0, 0
        # An error that no statement of an archive can raise
        self._token = f"galera-{secrets.token_hex(16)}"
        with log.open("wb") as err:
            self._process = subprocess.Popen(
                ["mariadb", *_OPTIONS, f"--socket={socket}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=err,
            )
        assert self._process.stdin is not None
        self.sink: IO[bytes] = self._process.stdin

    def mark(self, statements: str = "") -> list[SqlError]:
        """Run statements, if any, after all that it was told; returns the errors since the last mark.

        Raises StreamError.
        """
        self._write(f"\n{statements}\nSIGNAL SQLSTATE '45000' SET MESSAGE_TEXT='{self._token}';\n".encode())
        found: list[SqlError] = []
        pause = _POLL_SECONDS / 10
        while True:
            found += self.errors()
            if found and found[-1].text == self._token:
                self.line = found.pop().line
                return found
            self.check()
            # There may be thousands of segments, of which most have little to do
            time.sleep(pause)
            pause = min(2 * pause, 5 * _POLL_SECONDS)

    def errors(self) -> list[SqlError]:
        """Those that came since they were last asked for."""
        with self._log.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        found = list(_ERROR.finditer(text))
        if found:
            self._read += found[-1].end()
        return [SqlError(int(one[1] or 0), int(one[2] or 0), one[3].decode("utf-8", "replace")) for one in found]

    def check(self) -> None:
        """Raise StreamError where the session has ended, or its time has."""
        if self._process.poll() is not None:
            raise StreamError(f"mariadb ended with {self._process.returncode}: {self.words}")
        if (problem := self._limit.problem()) is not None:
            raise StreamError(f"the replay {problem}")

    def finish(self) -> None:
        """End the session. Raises StreamError."""
        self.sink.close()
        if self._process.wait():
            raise StreamError(f"mariadb ended with {self._process.returncode}: {self.words}")

    def kill(self) -> None:
        """End it in any case."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def words(self) -> str:
        """Its last ones."""
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - 16384))
            lines = file.read().decode("utf-8", "replace").splitlines()
        return datadir.last_words("\n".join(line for line in lines if self._token not in line))

    def _write(self, data: bytes) -> None:
        """Write at most as much as a pipe takes at once, when there is room for it."""
        number = self.sink.fileno()
        os.set_blocking(number, False)
        try:
            while True:
                try:
                    os.write(number, data)
                    return
                except BlockingIOError:
                    self.check()
                    time.sleep(_POLL_SECONDS)
        except BrokenPipeError:
            self._process.wait()
            self.check()
        finally:
            # Programs that write statements have the same pipe
            os.set_blocking(number, True)
