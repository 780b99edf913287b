# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs one behind the other, with a deadline: all of them end well, or what they made counts for nothing."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from .. import datadir
from .store import StoreError

# Linux gives an unprivileged process pipes of up to 1 MiB; a small one costs a switch of process for each 64 KiB.
CHUNK = 1 << 20
_TAIL = 65536
_WATCH_SECONDS = 0.2
# So much a pace may catch up
_BEHIND_SECONDS = 1.0


class StreamError(Exception):
    """A stream did not reach its end; the text names the member of the pipe, its exit code and last words."""


@dataclass(frozen=True)
class Stage:
    """One program of a pipe. needs: what its messages must end with, besides its exit code 0."""

    argv: tuple[str, ...]
    needs: str = ""

    @property
    def name(self) -> str:
        """The program's name."""
        return Path(self.argv[0]).name


class Limit:
    """What ends a stream early: its deadline, or cancel(). seconds None: no deadline."""

    def __init__(self, seconds: float | None = None) -> None:
        self._until = None if seconds is None else time.monotonic() + seconds
        self._seconds = seconds
        self._cancelled = threading.Event()
        self._why = ""

    def cancel(self, why: str) -> None:
        """End what runs; why is a phrase for the error."""
        self._why = why
        self._cancelled.set()

    def problem(self) -> str | None:
        """Why to end now, None while there is no reason to."""
        if self._cancelled.is_set():
            return f"was cancelled: {self._why}"
        if self._until is not None and time.monotonic() >= self._until:
            return f"did not end within its deadline of {self._seconds:g} s"
        return None


class Pace:
    """Keeps a stream at so many bytes a second; None: as fast as it goes. What it falls behind it does not catch up."""

    def __init__(self, rate: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock, self._began = rate, clock, clock()

    def ahead(self, done: int) -> float:
        """Seconds to wait before more than these bytes may pass."""
        if not self._rate:
            return 0.0
        left = self._began + done / self._rate - self._clock()
        # After a pause the server would else be read as fast as it goes, for as long as the pause was
        self._began -= min(0.0, left + _BEHIND_SECONDS)
        return max(0.0, left)


class Pipe:
    """Programs one behind the other. With a pace, this process moves the bytes between the first two of them."""

    def __init__(self, stages: Sequence[Stage], scratch: Path, limit: Limit) -> None:
        self._stages, self._scratch, self._limit = stages, scratch, limit
        self._processes: list[subprocess.Popen[bytes]] = []
        self._over = threading.Event()
        self._killed: str | None = None
        self._torn: str | None = None
        self._pump: threading.Thread | None = None
        self.passed = 0

    @contextmanager
    def running(self, stdin: int | BinaryIO, stdout: int | IO[bytes], pace: Pace | None) -> Iterator[None]:
        """The programs run inside this block; when it is left, however, none does."""
        watch = threading.Thread(target=self._watch, name="stream", daemon=True)
        try:
            self._start(stdin, stdout, pace)
            watch.start()
            yield
            self._wait()
        except StoreError:
            raise
        except (BrokenPipeError, ConnectionResetError):
            # A program ended early; its exit code says more.
            self._wait()
        finally:
            self._over.set()
            self._kill()
            if watch.is_alive():
                watch.join()

    def output(self) -> Iterator[bytes]:
        """What the last program writes."""
        out = self._processes[-1].stdout
        assert out is not None
        while chunk := os.read(out.fileno(), CHUNK):
            yield chunk

    def feed(self, chunks: Iterable[bytes]) -> None:
        """Write to the first program and close its input."""
        into = self._processes[0].stdin
        assert into is not None
        try:
            for chunk in chunks:
                into.write(chunk)
                self.passed += len(chunk)
            into.close()
        except BrokenPipeError:
            # Closing tries to write what is left, and fails again.
            _close(into)
            raise

    def finish(self) -> tuple[str, ...]:
        """The messages of all programs, where all of them ended well. Raises StreamError."""
        if self._killed is not None:
            raise StreamError(f"{self._stages[0].name} {self._killed}")
        messages = tuple(self._message(index) for index in range(len(self._stages)))
        ends = list(zip(self._stages, self._processes, messages, strict=True))
        failed = [(stage, process.returncode, text) for stage, process, text in ends if process.returncode]
        # Who writes to a program that has ended dies of SIGPIPE: a consequence, not the cause.
        causes = [one for one in failed if one[1] != -signal.SIGPIPE] or failed
        problems = [f"{stage.name} ended with {code}: {datadir.last_words(text)}" for stage, code, text in causes]
        problems += [
            f"{stage.name} did not end with '{stage.needs}': {datadir.last_words(text)}"
            for stage, process, text in ends
            if not process.returncode and stage.needs and stage.needs not in text[-1000:]
        ]
        problems += [] if self._torn is None else [self._torn]
        if problems:
            raise StreamError("; ".join(problems))
        return messages

    def _start(self, stdin: int | BinaryIO, stdout: int | IO[bytes], pace: Pace | None) -> None:
        last = len(self._stages) - 1
        before: int | IO[bytes] = stdin
        for index, stage in enumerate(self._stages):
            pumped = pace is not None and index == 1
            source = before
            if pumped:
                before = subprocess.PIPE
            with (self._scratch / f"stage-{index}.log").open("wb") as log:
                try:
                    process = subprocess.Popen(
                        stage.argv,
                        stdin=before,
                        stdout=stdout if index == last else subprocess.PIPE,
                        stderr=log,
                        cwd=self._scratch,
                    )
                except OSError as error:
                    raise StreamError(f"{stage.name} cannot be started: {error.strerror}") from None
            self._processes.append(process)
            _widen(process.stdin)
            _widen(process.stdout)
            if pumped:
                self._begin_pump(source, process, pace)
            elif index and not isinstance(source, int):
                source.close()
            before = process.stdout if process.stdout is not None else subprocess.DEVNULL

    def _begin_pump(self, source: int | IO[bytes], process: subprocess.Popen[bytes], pace: Pace | None) -> None:
        assert not isinstance(source, int)
        assert process.stdin is not None
        assert pace is not None
        self._pump = threading.Thread(target=self._move, args=(source, process.stdin, pace), name="pump", daemon=True)
        self._pump.start()

    def _move(self, source: IO[bytes], sink: IO[bytes], pace: Pace) -> None:
        """Move bytes inside the kernel, count them, and keep the pace."""
        try:
            while count := os.splice(source.fileno(), sink.fileno(), CHUNK):
                self.passed += count
                if (pause := pace.ahead(self.passed)) > 0 and self._over.wait(pause):
                    break
        except (BrokenPipeError, ConnectionResetError):
            # The next program ended; closing the source ends the one before.
            pass
        except OSError as error:
            # What was moved may be less than all, and both programs may call it whole.
            self._torn = f"the stream was cut after {self.passed} bytes: {error.strerror}"
        finally:
            source.close()
            sink.close()

    def _watch(self) -> None:
        while not self._over.wait(_WATCH_SECONDS):
            if (problem := self._limit.problem()) is not None:
                self._killed = problem
                self._kill()
                return

    def _wait(self) -> None:
        if self._pump is not None:
            self._pump.join()
        for process in self._processes:
            process.wait()

    def _kill(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
        if self._over.is_set():
            self._reap()

    def _reap(self) -> None:
        for process in self._processes:
            process.wait()
        if self._pump is not None:
            self._pump.join()
        for process in self._processes:
            for file in (process.stdin, process.stdout):
                if file is not None and not file.closed:
                    _close(file)

    def _message(self, index: int) -> str:
        path = self._scratch / f"stage-{index}.log"
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode("utf-8", "replace")


def _widen(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold a chunk. The kernel refuses where this user has many such pipes; it works without, too."""
    if pipe is not None:
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK)


def _close(file: IO[bytes]) -> None:
    """Close the end of a pipe of which the other end is gone."""
    # What could not be written is lost with the program that did not read it.
    with suppress(BrokenPipeError, ConnectionResetError):
        file.close()
