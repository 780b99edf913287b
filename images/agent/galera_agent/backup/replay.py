# SPDX-License-Identifier: GPL-3.0-or-later
"""Replays archived transactions on a restored server that nobody else can reach.

All segments go through one client in one session: what the end of a file left open, as a temporary table, the next one
finds.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from .. import datadir
from . import programs
from .binlog_events import BinlogError, Groups
from .pipe import Limit, StreamError
from .recovery import Step, Target
from .store import Store
from .stream import CorruptError, checked, receive

# As the largest that a server can have: a row that was written must be readable.
_PACKET = "--max-allowed-packet=1G"


def replay(
    steps: Sequence[Step],
    target: Target,
    store: Store,
    identity: Path,
    socket: Path,
    scratch: Path,
    limit: Limit,
    say: Callable[[str], None],
) -> int:
    """Replay one step or more up to the target; returns the last sequence.

    Raises StreamError, CorruptError, StoreError, OSError.
    """
    log = scratch / "client.log"
    last = steps[0].after
    part = Cut(None, None, last)
    with log.open("wb") as out:
        client = subprocess.Popen(
            ["mariadb", "--no-defaults", f"--socket={socket}", "--user=mysql", "--binary-mode", _PACKET],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
        )
    assert client.stdin is not None
    try:
        for planned in steps:
            # What a segment names and does not hold may be in the next one.
            step = replace(planned, after=min(planned.after, last))
            if step.segment.first > last + 1:
                break
            say(f"replays transactions {step.after + 1} to {step.segment.last} of {step.segment.key}")
            path = fetch(step, store, identity, scratch, limit)
            part = _pour(path, step, target, client.stdin, scratch, limit, log)
            path.unlink()
            last = max(last, part.last)
            if part.reached:
                break
        if not part.reached and last < (wanted := _wanted(steps, target)):
            raise CorruptError(f"transactions {last + 1} to {wanted} are not in the segments that name them")
        client.stdin.close()
        if client.wait():
            raise StreamError(f"mariadb ended with {client.returncode}: {_words(log)}")
    finally:
        if client.poll() is None:
            client.kill()
            client.wait()
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


def _pour(
    path: Path, step: Step, target: Target, sink: IO[bytes], scratch: Path, limit: Limit, client_log: Path
) -> Cut:
    """The wanted part of a file as statements into the client; returns which part that is."""
    try:
        part = cut(path, step.segment.domain, step.after, step.segment.last, target)
    except BinlogError as error:
        raise CorruptError(f"{step.segment.object.key}: {error}") from None
    if part.begin is None:
        return part
    arguments = ["mariadb-binlog", "--no-defaults", "--verify-binlog-checksum", f"--start-position={part.begin}"]
    arguments += [] if part.end is None else [f"--stop-position={part.end}"]
    log = scratch / "binlog.log"
    with log.open("wb") as err:
        reader = subprocess.Popen([*arguments, str(path)], stdin=subprocess.DEVNULL, stdout=sink, stderr=err)
    try:
        while True:
            try:
                reader.wait(0.2)
                break
            except subprocess.TimeoutExpired:
                if (problem := limit.problem()) is not None:
                    raise StreamError(f"the replay {problem}") from None
    finally:
        if reader.poll() is None:
            reader.kill()
            reader.wait()
    if reader.returncode:
        raise StreamError(
            f"mariadb-binlog ended with {reader.returncode}: {_words(log)}; mariadb: {_words(client_log)}"
        )
    return part


def _wanted(steps: Sequence[Step], target: Target) -> int:
    """The last sequence to replay, as far as it is known beforehand."""
    return steps[-1].segment.last if target.sequence is None else target.sequence


def _words(log: Path) -> str:
    return datadir.last_words(log.read_bytes()[-16384:].decode("utf-8", "replace"))
