# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams through programs: a source to the targets, or a target to a directory, hashed on the way.

A stream counts only when every member of its pipe ended well. Nothing is staged: what a pipe holds is all that is
held.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from .pipe import CHUNK, Limit, Pace, Pipe, Stage, StreamError

# Words of programs that found no room
NO_ROOM = re.compile(r"No space left|(Errcode:|[Ee]rrno:?|error number) 28\b|[Dd]isk quota")


class CorruptError(StreamError):
    """What a target gave back is not what was stored there; the text names object and difference."""


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes) -> object:
        """Take all of them. Raises StoreError."""


@dataclass(frozen=True)
class Sent:
    """What went through: bytes of the source, bytes and SHA-256 of the result, and the stages' messages, in order."""

    data_bytes: int
    size: int
    sha256: str
    messages: tuple[str, ...]


def send(
    stages: Sequence[Stage],
    sink: Sink,
    scratch: Path,
    limit: Limit,
    *,
    source: BinaryIO | None = None,
    rate: int | None = None,
) -> Sent:
    """Run a source (the first stage, or a file before it) through the stages into a sink.

    Raises StreamError, or StoreError where the sink took no more.
    """
    pipe = Pipe(stages, scratch, limit)
    with pipe.running(subprocess.DEVNULL if source is None else source, subprocess.PIPE, Pace(rate)):
        digest, size = hashlib.sha256(), 0
        for chunk in pipe.output():
            digest.update(chunk)
            size += len(chunk)
            sink.write(chunk)
    return Sent(pipe.passed, size, digest.hexdigest(), pipe.finish())


def receive(
    chunks: Iterator[bytes], stages: Sequence[Stage], scratch: Path, limit: Limit, output: IO[bytes] | None = None
) -> None:
    """Feed chunks through the stages; the last one writes to output, or where its own arguments say.

    Raises StreamError, and whatever the chunks raise: that comes first, since it is the cause. A program that fails may
    only have been the first to meet wrong bytes, so the rest is read to know.
    """
    pipe, began = Pipe(stages, scratch, limit), False
    try:
        with pipe.running(subprocess.PIPE, subprocess.DEVNULL if output is None else output, None):
            began = True
            pipe.feed(chunks)
        pipe.finish()
    except StreamError as error:
        if began and not NO_ROOM.search(str(error)):
            while limit.problem() is None and next(chunks, None) is not None:
                pass
        raise


def checked(reader: BinaryIO, key: str, size: int, sha256: str) -> Iterator[bytes]:
    """The bytes of an object, of which the last ones come only when size and SHA-256 of all are right.

    Holding back the last chunk keeps the programs behind from taking a wrong stream for a whole one. Raises
    CorruptError.
    """
    digest, done, held = hashlib.sha256(), 0, b""
    while chunk := reader.read(CHUNK):
        digest.update(chunk)
        done += len(chunk)
        if done > size:
            raise CorruptError(f"{key} is longer than the {size} bytes of its manifest")
        if held:
            yield held
        held = chunk
    if done != size:
        raise CorruptError(f"{key} has {done} bytes, its manifest says {size}")
    if digest.hexdigest() != sha256:
        raise CorruptError(f"{key} has the SHA-256 {digest.hexdigest()}, its manifest says {sha256}")
    if held:
        yield held
