# SPDX-License-Identifier: GPL-3.0-or-later
"""Replays archived transactions on a restored server that nobody else can reach.

All segments go through one client in one session: what the end of a file left open, as a temporary table, the next one
finds.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from .. import datadir, offline
from ..chain import Refused
from . import invoker, programs
from .binlog_events import BinlogError, Groups, Statement, statements
from .client import Client, SqlError
from .pipe import Limit, StreamError
from .recovery import Step, Target
from .segment import Segment
from .store import Store
from .stream import CorruptError, checked, receive

_DROPS = re.compile(invoker.COMMENTS + rb"DROP\s+(TEMPORARY\s+)?(TABLES?|SEQUENCE)\b", re.IGNORECASE)
# Unknown table, unknown sequence. What was partly dropped is logged as if all had been, and a server that replicates
# it adds IF EXISTS.
_MISSING = (1051, 4091)
# Not of the statement: of the client's connection, no memory, no room, a server that stops, a lock
_SURROUNDINGS = frozenset((3, 1021, 1026, 1030, 1037, 1038, 1040, 1041, 1053, 1114, 1205, 1213, 1317, 1927))
_CONNECTION = range(2000, 3000)


class ReplayError(Refused):
    """A transaction does not do on the backup what it did when it was logged; the text says which points are left."""


def replay(
    steps: Sequence[Step],
    target: Target,
    store: Store,
    identity: Path,
    socket: Path,
    scratch: Path,
    limit: Limit,
    say: Callable[[str], None],
    instead: Callable[[Segment, str], Sequence[Step]],
) -> int:
    """Replay one step or more up to the target; returns the last sequence.

    instead: gets a segment that is damaged, and why; returns the steps from the same state to the same point without
    it, or raises CorruptError. Raises StreamError, CorruptError, StoreError, OSError.
    """
    last = steps[0].after
    part = Cut(None, None, last)
    client = Client(socket, scratch / "client.log", limit)
    left = list(steps)
    try:
        while left and not part.reached:
            # What a segment names and does not hold may be in the next one.
            step = replace(left.pop(0), after=last)
            if step.segment.last <= last:
                continue
            if step.segment.first > last + 1:
                break
            say(f"replays transactions {step.after + 1} to {step.segment.last} of {step.segment.key}")
            try:
                path = fetch(step, store, identity, scratch, limit)
                part, pieces = _read(path, step, target)
            except CorruptError as error:
                # Nothing of it is replayed yet
                steps = instead(step.segment, str(error))
                left = list(steps)
                continue
            for piece in pieces:
                _Replay(path, step, piece, client, scratch / "binlog.log").run()
            path.unlink()
            last = max(last, part.last)
        if not part.reached and last < (wanted := _wanted(steps, target)):
            raise CorruptError(f"transactions {last + 1} to {wanted} are not in the segments that name them")
        client.finish()
    finally:
        client.kill()
    return last


def fetch(step: Step, store: Store, identity: Path, scratch: Path, limit: Limit) -> Path:
    """A segment's file, as its server wrote it. Raises as replay does."""
    segment, path = step.segment, scratch / "segment"
    stages = programs.unpack(segment.encryption is not None, identity)
    with store.reader(segment.object.key) as reader, path.open("wb") as file:
        receive(
            checked(reader, segment.object.key, segment.object.size, segment.object.sha256),
            stages,
            scratch,
            limit,
            output=file,
        )
    if path.stat().st_size != segment.data_bytes:
        raise CorruptError(f"{segment.object.key} unpacks to {path.stat().st_size} bytes, not {segment.data_bytes}")
    return path


@dataclass(frozen=True)
class Cut:
    """The part of a file that is wanted, from byte begin to before byte end, and the last sequence with it.

    begin: None where nothing is wanted. end: None for all to the end of the file. reached: whether the target was.
    """

    begin: int | None
    end: int | None
    last: int
    reached: bool = False


def cut(path: Path, domain: int, after: int, until: int, target: Target) -> Cut:
    """What of a file is wanted: transactions after `after`, none after `until` or after the target."""
    begin: int | None = None
    last = after
    for one in Groups(path):
        ours = one.gtid.domain == domain
        if begin is None:
            if not ours or one.gtid.sequence <= after:
                continue
            begin = one.offset
        # A transaction of another domain stands where it was committed.
        reached = (ours or target.sequence is None) and target.ends(one)
        if reached or not one.whole or (ours and one.gtid.sequence > until):
            return Cut(None if one.offset == begin else begin, one.offset, last, reached)
        if ours:
            last = one.gtid.sequence
    return Cut(begin, None, last)


@dataclass(frozen=True)
class _Piece:
    """A part of a file that is replayed at once; its statements by their offsets.

    role: the last one makes a role. text: the only one is replayed with this one instead.
    """

    begin: int
    end: int | None
    statements: dict[int, Statement]
    role: bool = False
    text: bytes | None = None


def _read(path: Path, step: Step, target: Target) -> tuple[Cut, list[_Piece]]:
    """What of a file is wanted. Raises CorruptError, ReplayError, OSError."""
    try:
        part = cut(path, step.segment.domain, step.after, step.segment.last, target)
        return part, [] if part.begin is None else list(_pieces(path, step, part.begin, part.end))
    except BinlogError as error:
        raise CorruptError(f"{step.segment.object.key}: {error}") from None


def _pieces(path: Path, step: Step, begin: int, end: int | None) -> Iterator[_Piece]:
    found: dict[int, Statement] = {}
    for one in statements(path, begin, end):
        try:
            text, role = invoker.named(one), invoker.makes_role(one.text)
        except invoker.UnknownError as error:
            raise _refused(path, step, one.offset, str(error)) from None
        if text is not None and begin < one.offset:
            yield _Piece(begin, one.offset, found)
            begin, found = one.offset, {}
        found[one.offset] = one
        if text is not None or role:
            yield _Piece(begin, one.end, found, role, text)
            begin, found = one.end, {}
    yield _Piece(begin, end, found)


class _Replay:
    """Of one piece. A statement of it ends with the error that it is logged with, as in a server that replicates it."""

    def __init__(self, path: Path, step: Step, piece: _Piece, client: Client, log: Path) -> None:
        self._path, self._step, self._piece, self._client, self._log = path, step, piece, client, log
        self._arguments = ["mariadb-binlog", "--no-defaults", "--verify-binlog-checksum"]
        self._arguments.append(f"--start-position={piece.begin}")
        self._arguments += [] if piece.end is None else [f"--stop-position={piece.end}"]
        self._arguments.append(str(path))
        self._logged = {one.error for one in piece.statements.values()} - {0} | set(_MISSING)

    def run(self) -> None:
        """Raises ReplayError, StreamError, OSError."""
        # Behind the last mark: nothing was told since
        begin = self._client.line
        found: list[SqlError] = []
        if self._piece.text is None:
            found = self._pour(begin)
        else:
            self._say(self._piece.text)
        found += self._client.mark()
        done = self._judge(found, begin)
        for one in self._piece.statements.values():
            if one.error and one.offset not in done:
                raise self._refused(one.offset, f"it was logged with error {one.error}, and ends without one")
        if self._piece.role and (problems := self._client.mark(offline.AFTER_ROLE)):
            raise StreamError(f"mariadb: {problems[0]}")

    def _say(self, text: bytes) -> None:
        """The one statement of the piece in other words, with all that is set for it."""
        (logged,) = self._piece.statements.values()
        done = subprocess.run(self._arguments, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        before, found, after = done.stdout.rpartition(logged.text)
        if done.returncode or not found:
            raise StreamError(f"mariadb-binlog ended with {done.returncode}: {_last(done.stderr)}")
        self._client.sink.write(before + text + after)
        self._client.sink.flush()

    def _pour(self, begin: int) -> list[SqlError]:
        """All of the piece as mariadb-binlog writes it. Returns errors that came meanwhile."""
        found: list[SqlError] = []
        with self._log.open("wb") as err:
            reader = subprocess.Popen(self._arguments, stdin=subprocess.DEVNULL, stdout=self._client.sink, stderr=err)
        try:
            while True:
                try:
                    reader.wait(0.2)
                    break
                except subprocess.TimeoutExpired:
                    self._client.check()
                    found += self._client.errors()
                    if any(one.number not in self._logged for one in found):
                        self._judge(found, begin)
        finally:
            if reader.poll() is None:
                reader.kill()
                reader.wait()
        if reader.returncode:
            words = f"mariadb-binlog ended with {reader.returncode}: {_last(self._log.read_bytes())}"
            raise StreamError(f"{words}; mariadb: {self._client.words}")
        return found

    def _judge(self, found: Sequence[SqlError], begin: int) -> set[int]:
        """The offsets of the statements that ended with the error that they were logged with.

        begin: the line before the first one of the piece. Raises ReplayError or StreamError for any other error.
        """
        done: set[int] = set()
        for one, offset in zip(found, self._places([one.line - begin for one in found]), strict=True):
            if one.number in _SURROUNDINGS or one.number in _CONNECTION:
                raise StreamError(f"mariadb: {one}")
            logged = self._piece.statements.get(offset)
            if logged is None or offset in done or not _expected(logged, one.number):
                raise self._refused(offset, str(one))
            done.add(offset)
        return done

    def _places(self, lines: Sequence[int]) -> list[int]:
        """The offsets of the events that some lines of the text come from, in growing order."""
        if not lines:
            return []
        found: list[int] = []
        offset, count = self._piece.begin, 0
        with subprocess.Popen(self._arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
            assert reader.stdout is not None
            for text in reader.stdout:
                count += 1
                if (place := re.match(rb"# at (\d+)\n", text)) and int(place[1]) >= offset:
                    offset = int(place[1])
                while len(found) < len(lines) and lines[len(found)] <= count:
                    found.append(offset)
                if len(found) == len(lines):
                    reader.kill()
                    break
        return found + [offset] * (len(lines) - len(found))

    def _refused(self, offset: int, why: str) -> ReplayError:
        return _refused(self._path, self._step, offset, why)


def _refused(path: Path, step: Step, offset: int, why: str) -> ReplayError:
    domain, last = step.segment.domain, step.after
    *before, failed = [one.gtid for one in takewhile(lambda one: one.offset <= offset, Groups(path))]
    last = max([last, *(one.sequence for one in before if one.domain == domain)])
    return ReplayError(
        f"transaction {failed} does not do on the backup what it did: {why}; points up to transaction {last} of "
        f"domain {domain} can be restored from it, later ones from a backup that has transaction {failed}"
    )


def _expected(logged: Statement, error: int) -> bool:
    if logged.error:
        return error == logged.error
    return error in _MISSING and _DROPS.match(logged.text) is not None


def _wanted(steps: Sequence[Step], target: Target) -> int:
    """The last sequence to replay, as far as it is known beforehand."""
    return max((one.segment.last for one in steps), default=0) if target.sequence is None else target.sequence


def _last(words: bytes) -> str:
    return datadir.last_words(words[-16384:].decode("utf-8", "replace"))
