# SPDX-License-Identifier: GPL-3.0-or-later
"""A child process of the agent that does one command of `galera_agent backup`: heavy libraries live and end with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

_GRACE_SECONDS = 5.0
# Commands that write to targets
_WRITE = ("tick", "archive")


class Child:
    """One running command. Its programs are of its process group, and end with it."""

    def __init__(
        self,
        words: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
        program: Sequence[str] = (sys.executable, "-m", "galera_agent", "backup"),
    ) -> None:
        self.words = tuple(words)
        self._clock = clock
        self.began = clock()
        self._told_at: float | None = None
        self._ended_at: float | None = None
        self._lines: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [*program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="child", daemon=True)
        self._reader.start()

    @property
    def last(self) -> dict[str, Any] | None:
        """The last document that it printed."""
        return self._lines[-1] if self._lines else None

    def result(self) -> dict[str, Any] | None:
        """Its end document, None while it runs; one that ended without gets one that says so.

        tried: the targets that it was at work in, where it told them when it began.
        """
        ended = self.last is not None and self.last.get("type") == "end"
        code = self._process.poll()
        if code is None:
            if not ended:
                return None
            # A thread may be left that waits for a target which answers nothing, within the kernel even for ever
            self._signal(signal.SIGKILL)
            self._ended_at = self._clock() if self._ended_at is None else self._ended_at
            if self._clock() - self._ended_at < _GRACE_SECONDS:
                return None
        else:
            self._reader.join()
        # What it started and could not end, because it was killed.
        self._signal(signal.SIGKILL)
        begun = [one["targets"] for one in self._lines if one.get("type") == "begin" and "targets" in one]
        tried = {"tried": begun[-1]} if begun else {}
        if self.last is not None and self.last.get("type") == "end":
            return tried | self.last
        why = "was stopped" if self._told_at is not None else f"ended with {code}"
        return {**tried, "type": "end", "command": self.words[0], "state": "failed", "message": f"the process {why}"}

    @property
    def alive(self) -> bool:
        """Whether its process is there still, perhaps after its end document, because it cannot be killed."""
        return self._process.poll() is None

    @property
    def waits_for(self) -> frozenset[str]:
        """Labels of the targets that it has given up."""
        return frozenset((self.last or {}).get("silent", ()))

    def stop(self) -> None:
        """Ask it to end; called again after five seconds it does not ask any more."""
        if self._process.poll() is not None:
            return
        if self._told_at is None:
            self._told_at = self._clock()
            with suppress(ProcessLookupError):
                self._process.terminate()
        elif self._clock() - self._told_at >= _GRACE_SECONDS:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as out:
            for line in out:
                # Anything else is noise of a library.
                with suppress(ValueError):
                    found = json.loads(line)
                    if isinstance(found, dict):
                        self._lines.append(found)


class Children:
    """Starts children. What one waits for that cannot be ended, as within the kernel, no other one is to ask."""

    def __init__(self, start: Callable[[Sequence[str]], Child] = Child) -> None:
        self._start = start
        self._there: list[Child] = []

    def __call__(self, words: Sequence[str]) -> Child:
        """Start one."""
        self._there = [one for one in self._there if one.alive]
        silent = sorted({label for one in self._there for label in one.waits_for}) if words[0] in _WRITE else []
        self._there.append(self._start([*words, *(word for label in silent for word in ("--silent", label))]))
        return self._there[-1]
