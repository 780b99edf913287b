# SPDX-License-Identifier: GPL-3.0-or-later
"""A binary log file's transactions: where each begins, its GTID and its time. Reads headers only, of any size of file.

A server that is killed may leave a file that ends within a transaction. It begins another file when it starts again,
and logs that transaction there once more, if it was committed. So what is not whole does not count.

Formats: https://mariadb.com/kb/en/2-binlog-event-header/, gtid_event, gtid_list_event, query_event; what ends a
transaction is what the server's own replication takes for its end. All numbers little-endian.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

_MAGIC = b"\xfebin"
# timestamp, type, server id, length of the event with this header, position of the next one, flags
_HEADER = struct.Struct("<IBIIIH")
# Of a GTID: sequence, domain, flags
_HEAD = struct.Struct("<QIB")
# Of a statement: thread, duration, length of the name of the database, error, length of the variables
_QUERY_HEAD = struct.Struct("<IIBHH")
_QUERY, _STOP, _ROTATE, _XID, _XA_PREPARE, _COMPRESSED_QUERY = 2, 3, 4, 16, 38, 165
_FORMAT, _GTID, _GTID_LIST, _ENCRYPTION = 15, 162, 163, 164
_COUNT_MASK = (1 << 28) - 1
# Flags of a GTID: one statement without an end of its own; XA PREPARE, which has that flag as well, but an end.
_STANDALONE, _PREPARED_XA = 1, 64
# Of the variables of a statement: who ran it, those that begin with their length, and the bytes of others
_INVOKER, _CATALOG, _NAMED, _COLLATIONS = 11, 2, (2, 5, 6), 131
_VARIABLES = {0: 4, 1: 8, 3: 4, 4: 6, 7: 2, 8: 2, 9: 8, 10: 4, 128: 3, 129: 8}
# What comes before such a statement: variables, the text of a statement, a map of a table, the contents of a file.
_BEFORE_STATEMENT = frozenset((5, 9, 13, 14, 17, 19, 160))
_ENDS = (b"COMMIT", b"ROLLBACK")
_XA_ENDS = (b"XA COMMIT", b"XA ROLLBACK")
_CHECKSUM = 4
# So much of a statement tells what it is, also behind a comment
_LONG = 1024
_WHOLE = 1 << 30


class BinlogError(ValueError):
    """A file is no binary log that can be read; the text names the file and the byte."""


class EmptyError(BinlogError):
    """A file ends before its first transaction could have been written."""


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
    """offset: of its first event in the file, in bytes. time: seconds since 1970 when its node began it.

    whole: whether its end is in the file as well: a server that was killed leaves one of which the end is missing.
    """

    offset: int
    time: int
    gtid: Gtid
    whole: bool = True


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
    return sequences(position).get(domain, 0)


def sequences(position: str) -> dict[int, int]:
    """How far a list of GTIDs goes in each domain that it has. Raises ValueError."""
    found: dict[int, int] = {}
    for one in (parse_gtid(text.strip()) for text in position.split(",") if text.strip()):
        found[one.domain] = max(one.sequence, found.get(one.domain, 0))
    return found


def read_start(path: Path) -> dict[int, int]:
    """What was logged before a file: the last sequence of each domain. Raises EmptyError, BinlogError, OSError."""
    with _opened(path) as data:
        for event in _events(path.name, data):
            if event.kind == _GTID_LIST:
                return _list(path.name, event, data)
            if event.kind == _GTID:
                raise BinlogError(f"{path.name} has no GTID list before its first transaction")
    raise EmptyError(f"{path.name} ends before its GTID list")


def read_created(path: Path) -> datetime:
    """When a file was begun, which is when the one before it had ended. Raises EmptyError, BinlogError, OSError."""
    with _opened(path) as data:
        event = next(_events(path.name, data), None)
        if event is None or event.kind is None:
            raise EmptyError(f"{path.name} ends before its first event")
        return datetime.fromtimestamp(event.time, UTC)


class Groups:
    """The transactions of a closed file, in the order in which they were committed, also those that are not whole.

    torn: where a last one begins of which the end is missing, in bytes; known when all were read, None where there is
    none. Reading raises BinlogError, OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.torn: int | None = None

    def __iter__(self) -> Iterator[Transaction]:
        self.torn = None
        with _opened(self._path) as data:
            open_one: Transaction | None = None
            flags = events = 0
            for event in _events(self._path.name, data):
                if event.kind is None:
                    self.torn = event.offset
                elif event.kind == _GTID:
                    if open_one is not None:
                        # What has a GTID and nothing else changes nothing, and misses nothing.
                        yield open_one if events else replace(open_one, whole=True)
                    sequence, domain, flags = _HEAD.unpack_from(data, event.offset + _HEADER.size)
                    gtid = Gtid(domain, event.server, sequence)
                    open_one, events = Transaction(event.offset, event.time, gtid, whole=False), 0
                elif open_one is not None and event.kind not in (_ROTATE, _STOP):
                    events += 1
                    if _ends(event, flags, data):
                        yield replace(open_one, whole=True)
                        open_one = None
            if open_one is not None:
                self.torn = open_one.offset
                yield open_one


def transactions(path: Path) -> Iterator[Transaction]:
    """The whole transactions of a closed file, in the order of their commits. Raises BinlogError, OSError."""
    return (one for one in Groups(path) if one.whole)


@dataclass(frozen=True)
class Statement:
    """One that is logged as text. end: of its event, in bytes. error: with which it ended, 0 for none.

    invoker: who ran it, user and host, or a role and no host, in UTF-8; None where it does not matter for what it does.
    """

    offset: int
    end: int
    error: int
    text: bytes
    invoker: tuple[bytes, bytes] | None = None


def statements(path: Path, begin: int, end: int | None) -> Iterator[Statement]:
    """The statements between two events of a file; of one without an invoker perhaps only the beginning.

    Raises BinlogError, OSError.
    """
    with _opened(path) as data:
        checksum = _checksum(path.name, data)
        for event in _events(path.name, data, begin):
            if end is not None and event.offset >= end:
                return
            if event.kind in (_QUERY, _COMPRESSED_QUERY) and event.length >= _HEADER.size + _QUERY_HEAD.size:
                error = _QUERY_HEAD.unpack_from(data, event.offset + _HEADER.size)[3]
                invoker = _invoker(event, data)
                whole = replace(event, length=event.length - checksum)
                text = _statement(whole, data, _LONG if invoker is None else _WHOLE)
                yield Statement(event.offset, event.offset + event.length, error, text, invoker)


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
    """kind: None where the file ends within the event, or before it is written."""

    offset: int
    kind: int | None
    time: int
    server: int
    length: int


@contextmanager
def _opened(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file:
        begin = file.read(len(_MAGIC))
        if begin != _MAGIC:
            kind = EmptyError if _MAGIC.startswith(begin) else BinlogError
            raise kind(f"{path.name} does not begin as a binary log does")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def _events(name: str, data: mmap.mmap, offset: int = len(_MAGIC)) -> Iterator[_Event]:
    """All events from one on, without their bodies; the last one is of no kind where it was not written to its end."""
    size = len(data)
    while offset < size:
        event = _event(name, data, offset, size)
        yield event
        if event.kind is None:
            return
        offset += event.length


def _event(name: str, data: mmap.mmap, offset: int, size: int) -> _Event:
    torn = _Event(offset, None, 0, 0, size - offset)
    if offset + _HEADER.size > size:
        return torn
    time, kind, server, length, following, _ = _HEADER.unpack_from(data, offset)
    if not length and not any(data[offset:size]):
        # After a loss of power a file may have its length, and not yet what was written.
        return torn
    if length >= _HEADER.size and offset + length > size and following in (0, (offset + length) & 0xFFFFFFFF):
        return torn
    if length < _HEADER.size or offset + length > size:
        raise BinlogError(f"{name} has an event of {length} bytes at byte {offset}, and ends at {size}")
    if kind == _ENCRYPTION:
        raise BinlogError(f"{name} is encrypted by the server (encrypt_binlog); allowed: OFF")
    if length - _HEADER.size < {_GTID: _HEAD.size, _GTID_LIST: 4}.get(kind, 0):
        raise BinlogError(f"{name} has an event cut short at byte {offset}")
    return _Event(offset, kind, time, server, length)


def _ends(event: _Event, flags: int, data: mmap.mmap) -> bool:
    """Whether an event is the last one of its transaction."""
    if event.kind in (_XID, _XA_PREPARE):
        return True
    if flags & _STANDALONE and not flags & _PREPARED_XA:
        return event.kind not in _BEFORE_STATEMENT
    if event.kind != _QUERY:
        return False
    text = _statement(event, data)
    # A checksum may follow; the server writes these words alone.
    return text.startswith(_XA_ENDS) or any(
        text.startswith(word) and len(text) in (len(word), len(word) + _CHECKSUM) for word in _ENDS
    )


def _statement(event: _Event, data: mmap.mmap, most: int = 64) -> bytes:
    """The text of a statement, perhaps with a checksum behind it; of a long one the beginning."""
    begin, end = event.offset + _HEADER.size, event.offset + event.length
    if begin + _QUERY_HEAD.size > end:
        return b""
    _, _, database, _, variables = _QUERY_HEAD.unpack_from(data, begin)
    first = begin + _QUERY_HEAD.size + variables + database + 1
    if event.kind != _COMPRESSED_QUERY:
        return data[first : min(end, first + most)]
    # The number of bytes that tell its length, those, and the statement; see log_bin_compress
    try:
        return zlib.decompressobj().decompress(data[first + 1 + (data[first] & 7) : end], most)
    except (IndexError, zlib.error):
        return b""


def _checksum(name: str, data: mmap.mmap) -> int:
    """How many bytes of each event of a file are its checksum: the first event ends with their kind, and its own."""
    first = next(_events(name, data), None)
    if first is None or first.kind != _FORMAT:
        return 0
    return _CHECKSUM if data[first.offset + first.length - _CHECKSUM - 1] else 0


def _invoker(event: _Event, data: mmap.mmap) -> tuple[bytes, bytes] | None:
    """Who ran a statement, where the server has logged it."""
    begin = event.offset + _HEADER.size
    end = begin + _QUERY_HEAD.size + _QUERY_HEAD.unpack_from(data, begin)[4]
    variables = data[begin + _QUERY_HEAD.size : min(end, event.offset + event.length)]
    place = 0
    while place + 1 < len(variables):
        kind, length = variables[place], variables[place + 1]
        if kind == _INVOKER:
            host = place + 2 + length
            if host >= len(variables):
                break
            return variables[place + 2 : host], variables[host + 1 : host + 1 + variables[host]]
        if kind in _NAMED:
            place += 2 + length + (kind == _CATALOG)
        elif kind == _COLLATIONS:
            place += 2 + 4 * length
        elif kind in _VARIABLES:
            place += 1 + _VARIABLES[kind]
        else:
            break
    return None


def _list(name: str, event: _Event, data: mmap.mmap) -> dict[int, int]:
    body = data[event.offset + _HEADER.size : event.offset + event.length]
    count = struct.unpack_from("<I", body)[0] & _COUNT_MASK
    if 4 + 16 * count > len(body):
        raise BinlogError(f"{name} has a GTID list cut short at byte {event.offset}")
    found: dict[int, int] = {}
    for index in range(count):
        domain, _, sequence = struct.unpack_from("<IIQ", body, 4 + 16 * index)
        found[domain] = max(sequence, found.get(domain, 0))
    return found
