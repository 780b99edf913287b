# SPDX-License-Identifier: GPL-3.0-or-later
"""Binary log files for tests, event by event as MariaDB writes them, without checksums."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

FORMAT, QUERY, GTID, GTID_LIST, ENCRYPTION = 15, 2, 162, 163, 164


def event(kind: int, body: bytes, time: int = 0, server: int = 1) -> bytes:
    return struct.pack("<IBIIIH", time, kind, server, 19 + len(body), 0, 0) + body


def gtid_list(before: Iterable[tuple[int, int]]) -> bytes:
    found = list(before)
    return event(GTID_LIST, struct.pack("<I", len(found)) + b"".join(struct.pack("<IIQ", d, 1, s) for d, s in found))


def transaction(sequence: int, time: int, domain: int = 1) -> bytes:
    """A GTID event and a statement, whose text nobody reads."""
    return event(GTID, struct.pack("<QIB", sequence, domain, 0) + bytes(6), time) + event(QUERY, b"x" * 40, time)


def binlog(before: Iterable[tuple[int, int]], transactions: Iterable[bytes]) -> bytes:
    return b"\xfebin" + event(FORMAT, bytes(80)) + gtid_list(before) + b"".join(transactions)


def write(path: Path, before: int, sequences: Iterable[int], time: int = 1000) -> Path:
    """A file of one domain; each transaction is a second after the one before."""
    found = [transaction(one, time + number) for number, one in enumerate(sequences)]
    path.write_bytes(binlog([(1, before)] if before else [], found))
    return path
