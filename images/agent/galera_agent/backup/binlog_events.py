# SPDX-License-Identifier: GPL-3.0-or-later
"""A binary log file's transactions: where each begins, its GTID and its time. Reads headers only, of any size of file.

Formats: https://mariadb.com/kb/en/2-binlog-event-header/, gtid_event, gtid_list_event. All numbers little-endian.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_MAGIC = b"\xfebin"
# timestamp, type, server id, length of the event with this header, position of the next one, flags
_HEADER = struct.Struct("<IBIIIH")
_GTID, _GTID_LIST, _ENCRYPTION = 162, 163, 164
_COUNT_MASK = (1 << 28) - 1


class BinlogError(ValueError):
    """A file is no binary log that can be read; the text names the file and the byte."""


@dataclass(frozen=True, order=True)
class Gtid:
    """A global transaction id. In the domain of Galera sequence grows by one with each, on all nodes alike."""

    domain: int
    server: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.domain}-{self.server}-{self.sequence}"


@dataclass(frozen=True)
class Transaction:
    """offset: of its first event in the file, in bytes. time: seconds since 1970 when its node began it."""

    offset: int
    time: int
    gtid: Gtid


@dataclass(frozen=True)
class Run:
    """Transactions of one domain that follow each other without a hole.

    first, last: sequences. earliest, latest: their times; these need not grow, since nodes work in parallel.
    """

    first: int
    last: int
    earliest: datetime
    latest: datetime


def parse_gtid(text: str) -> Gtid:
    """Read `domain-server-sequence`. Raises ValueError."""
    if not re.fullmatch(r"\d{1,10}-\d{1,10}-\d{1,20}", text):
        raise ValueError(f"'{text}' is no GTID; allowed: domain-server-sequence, such as 1-1-42")
    return Gtid(*map(int, text.split("-")))


def sequence_of(position: str, domain: int) -> int:
    """How far a list of GTIDs (`1-1-42,0-1-7`, may be empty) goes in a domain; 0 where it has none of it."""
    gtids = [parse_gtid(one.strip()) for one in position.split(",") if one.strip()]
    return max((one.sequence for one in gtids if one.domain == domain), default=0)


def read_start(path: Path) -> dict[int, int]:
    """What was logged before a file: the last sequence of each domain. Raises BinlogError, OSError."""
    for event in _events(path):
        if event.kind == _GTID_LIST:
            return _list(event)
        if event.kind == _GTID:
            break
    raise BinlogError(f"{path.name} has no GTID list before its first transaction")


def transactions(path: Path) -> Iterator[Transaction]:
    """All transactions of a file, in the order in which they were committed. Raises BinlogError, OSError."""
    for event in _events(path):
        if event.kind == _GTID:
            sequence, domain = struct.unpack_from("<QI", event.body)
            yield Transaction(event.offset, event.time, Gtid(domain, event.server, sequence))


def runs(found: Iterable[Transaction], domain: int) -> list[Run]:
    """The sequences of a domain, in runs without a hole; a sequence that comes twice is part of none twice."""
    result: list[Run] = []
    for one in (one for one in found if one.gtid.domain == domain):
        moment, sequence = datetime.fromtimestamp(one.time, UTC), one.gtid.sequence
        last = result[-1] if result else None
        if last is not None and sequence == last.last + 1:
            result[-1] = Run(last.first, sequence, min(last.earliest, moment), max(last.latest, moment))
        elif last is None or sequence > last.last:
            result.append(Run(sequence, sequence, moment, moment))
    return result


@dataclass(frozen=True)
class _Event:
    offset: int
    kind: int
    time: int
    server: int
    body: bytes


def _events(path: Path) -> Iterator[_Event]:
    """The events whose contents matter here, with the beginning of their bodies; all others are stepped over."""
    with path.open("rb") as file:
        size = path.stat().st_size
        if size < len(_MAGIC) or file.read(len(_MAGIC)) != _MAGIC:
            raise BinlogError(f"{path.name} does not begin as a binary log does")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            offset = len(_MAGIC)
            while offset < size:
                event = _event(path.name, data, offset, size)
                if event.kind == _ENCRYPTION:
                    raise BinlogError(f"{path.name} is encrypted by the server (encrypt_binlog); allowed: OFF")
                if event.kind in (_GTID, _GTID_LIST):
                    yield event
                offset += _HEADER.unpack_from(data, offset)[3]


def _event(name: str, data: mmap.mmap, offset: int, size: int) -> _Event:
    if offset + _HEADER.size > size:
        raise BinlogError(f"{name} is cut short at byte {offset}")
    time, kind, server, length, _, _ = _HEADER.unpack_from(data, offset)
    if length < _HEADER.size or offset + length > size:
        raise BinlogError(f"{name} has an event of {length} bytes at byte {offset}, and ends at {size}")
    wanted = length if kind == _GTID_LIST else min(length, _HEADER.size + 13)
    body = data[offset + _HEADER.size : offset + wanted] if kind in (_GTID, _GTID_LIST) else b""
    if kind in (_GTID, _GTID_LIST) and len(body) < (13 if kind == _GTID else 4):
        raise BinlogError(f"{name} has an event cut short at byte {offset}")
    return _Event(offset, kind, time, server, body)


def _list(event: _Event) -> dict[int, int]:
    count = struct.unpack_from("<I", event.body)[0] & _COUNT_MASK
    if 4 + 16 * count > len(event.body):
        raise BinlogError(f"the GTID list at byte {event.offset} is cut short")
    found: dict[int, int] = {}
    for index in range(count):
        domain, _, sequence = struct.unpack_from("<IIQ", event.body, 4 + 16 * index)
        found[domain] = max(sequence, found.get(domain, 0))
    return found
