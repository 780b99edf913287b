# SPDX-License-Identifier: GPL-3.0-or-later
"""One object into several targets at once, each in a thread of its own: one that fails or falls silent is left out.

A thread that waits within the kernel, as for a hard NFS mount whose server is away, cannot be ended. It is left behind,
removes its half if it ever goes on, and ends with the process (child.Child kills it).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from queue import SimpleQueue
from types import TracebackType

from .pipe import CHUNK, Limit, StreamError
from .store import SilentError, StoreError, Writer
from .targets import GIVEN_UP

# A deadline is seen within that; what is near its end by then may still come to it
_LOOK_SECONDS, _LATE_SECONDS = 1.0, 15.0
# So long halves may take to be removed: less than the scheduler gives to who is at its deadline, or is stopped
_CLOSE_SECONDS, _STOP_SECONDS = 30.0, 3.0
_Step = Callable[[Writer], object]


class Tee:
    """Writes to all targets in step, so that the slowest one sets the pace. Leaving it without commit() leaves nothing.

    begin: by label, what begins the object. patience: seconds for which others wait for one that does not end a step.
    failures: by label, why a target was left out. The last one is waited for until the limit, whatever it does.
    """

    def __init__(
        self,
        begin: Mapping[str, Callable[[], Writer]],
        limit: Limit,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._begin, self._limit, self._patience, self._clock = begin, limit, patience, clock
        self._lanes: dict[str, _Lane] = {}
        self._ending: list[Future[None]] = []
        self._batch: list[bytes] = []
        self._held = 0
        self.failures: dict[str, StoreError] = {}

    def __enter__(self) -> Tee:
        self._lanes = {label: _Lane(label, begin) for label, begin in self._begin.items()}
        try:
            self._round({label: lane.begun for label, lane in self._lanes.items()})
        except BaseException:
            self._end(_STOP_SECONDS)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._end(_CLOSE_SECONDS if kind is None or issubclass(kind, Exception) else _STOP_SECONDS)

    def write(self, data: bytes) -> None:
        """Take some bytes. Raises StoreError when no target is left, StreamError when none goes on at the limit."""
        self._batch.append(data)
        self._held += len(data)
        # A change of thread for each small piece would cost more than the piece
        if self._held >= CHUNK:
            self._flush()

    def commit(self) -> list[str]:
        """Let the object appear; returns the labels of the targets that have it. Raises as write() does."""
        self._flush()
        self._all(lambda writer: writer.commit())
        return list(self._lanes)

    def _flush(self) -> None:
        batch, self._batch, self._held = self._batch, [], 0
        self._all(lambda writer: _write_all(writer, batch))

    def _all(self, step: _Step) -> None:
        self._round({label: lane.do(step) for label, lane in self._lanes.items()})

    def _round(self, steps: Mapping[str, Future[None]]) -> None:
        """Wait for the end of one step in all targets, and leave out those in which it failed or does not end."""
        began, went_on = self._clock(), None
        waiting = dict(steps)
        while waiting:
            wait(waiting.values(), min(_LOOK_SECONDS, self._patience), FIRST_COMPLETED)
            for label in [label for label, step in waiting.items() if step.done()]:
                error = waiting.pop(label).exception()
                if error is None:
                    went_on = self._clock() if went_on is None else went_on
                elif isinstance(error, StoreError):
                    self.failures[label] = error
                    self._ending.append(self._lanes.pop(label).end())
                else:
                    raise error
            now = self._clock()
            problem = self._limit.problem() if now - began >= _LATE_SECONDS else None
            if waiting and problem and went_on is None:
                raise StreamError(f"the backup {problem}: {_took_nothing(waiting, now - began)}")
            if went_on is not None and (problem or now - went_on >= self._patience):
                GIVEN_UP.update(waiting)
                for label in waiting:
                    why = f"{_took_nothing([label], now - began)}, so the others get this backup without it"
                    self.failures[label] = SilentError(why)
                    self._lanes.pop(label).end()
                break
        if not self._lanes:
            raise StoreError("; ".join(map(str, self.failures.values())))

    def _end(self, seconds: float) -> None:
        """Have each half removed, and wait for that, but for no target that has fallen silent."""
        wait([*self._ending, *(lane.end() for lane in self._lanes.values())], seconds)


class _Lane:
    """The way into one target: its steps, one after the other, in a thread that does not keep the process from ending.

    begun: whether there is a writer.
    """

    def __init__(self, label: str, begin: Callable[[], Writer]) -> None:
        self.begun: Future[None] = Future()
        self._begin = begin
        self._ended: Future[None] = Future()
        self._steps: SimpleQueue[tuple[_Step, Future[None]] | None] = SimpleQueue()
        threading.Thread(target=self._run, name=f"target {label}", daemon=True).start()

    def do(self, step: _Step) -> Future[None]:
        """Have a step done, after those before."""
        done: Future[None] = Future()
        self._steps.put((step, done))
        return done

    def end(self) -> Future[None]:
        """Have the writer closed, after the steps before."""
        self._steps.put(None)
        return self._ended

    def _run(self) -> None:
        try:
            with self._begin() as writer:
                self.begun.set_result(None)
                while (entry := self._steps.get()) is not None:
                    step, done = entry
                    try:
                        step(writer)
                    except BaseException as error:
                        done.set_exception(error)
                    else:
                        done.set_result(None)
        except BaseException as error:
            if not self.begun.done():
                self.begun.set_exception(error)
        finally:
            self._ended.set_result(None)


def _write_all(writer: Writer, batch: Sequence[bytes]) -> None:
    for data in batch:
        writer.write(data)


def _took_nothing(labels: Mapping[str, object] | Sequence[str], seconds: float) -> str:
    return f"{' and '.join(labels)} took nothing for {seconds:.0f} s"
