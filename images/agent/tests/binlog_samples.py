# SPDX-License-Identifier: GPL-3.0-or-later
"""Binary log files for tests, event by event as MariaDB writes them, without checksums."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

FORMAT, QUERY, XID, GTID, GTID_LIST, ENCRYPTION = 15, 2, 16, 162, 163, 164
STANDALONE = 1


def event(kind: int, body: bytes, time: int = 0, server: int = 1) -> bytes:
    return struct.pack("<IBIIIH", time, kind, server, 19 + len(body), 0, 0) + body


def query(text: bytes, time: int = 0, error: int = 0, invoker: tuple[bytes, bytes] | None = None) -> bytes:
    """A statement in the database `d`, with variables. error: with which it ended. invoker: user and host."""
    variables = bytes(5) + b"\x01" + bytes(8) + b"\x06\x03std\x04" + bytes(6) + b"\x83\x01" + bytes(4)
    if invoker is not None:
        variables += b"\x0b" + b"".join(bytes([len(one)]) + one for one in invoker)
    variables += b"\x80" + bytes(3)
    return event(QUERY, struct.pack("<IIBHH", 1, 0, 1, error, len(variables)) + variables + b"d\x00" + text, time)


def gtid(sequence: int, time: int, domain: int = 1, flags: int = STANDALONE) -> bytes:
    return event(GTID, struct.pack("<QIB", sequence, domain, flags) + bytes(6), time)


def gtid_list(before: Iterable[tuple[int, int]]) -> bytes:
    found = list(before)
    return event(GTID_LIST, struct.pack("<I", len(found)) + b"".join(struct.pack("<IIQ", d, 1, s) for d, s in found))


def transaction(sequence: int, time: int, domain: int = 1) -> bytes:
    """A GTID event and a statement that needs no end, whose text nobody reads."""
    return gtid(sequence, time, domain) + event(QUERY, bytes(13) + b"x" * 27, time)


def binlog(before: Iterable[tuple[int, int]], transactions: Iterable[bytes], created: int = 900) -> bytes:
    return b"\xfebin" + event(FORMAT, bytes(80), created) + gtid_list(before) + b"".join(transactions)


def write(path: Path, before: int, sequences: Iterable[int], time: int = 1000) -> Path:
    """A file of one domain; each transaction is a second after the one before."""
    found = [transaction(one, time + number) for number, one in enumerate(sequences)]
    path.write_bytes(binlog([(1, before)] if before else [], found))
    return path
