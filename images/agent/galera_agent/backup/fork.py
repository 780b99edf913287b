# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that has gone back behind what is archived of it, as after a recovery with loss: its numbers come again.

Its uuid stays, and other transactions get the same GTIDs. `binlogs/<uuid>/fork/fork.json` keeps that in mind: what is
archived stays as it is, nothing is added to it, and nothing of it is replayed on a backup from afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from .binlog_events import Transaction
from .document import Document, parse, text, time, to_time, whole
from .segment import Segment, SegmentError
from .store import BINLOGS, MissingError, Store

FORMAT = 1
# Clocks may differ by so much.
SKEW = timedelta(minutes=1)


@dataclass(frozen=True)
class Fork:
    """first: the first sequence that is known to be there twice. last: the last one that was archived before.

    since: of when that is, by the clocks of the nodes. pod: who found it.
    """

    first: int
    last: int
    since: datetime
    pod: str

    def __str__(self) -> str:
        return (
            f"the cluster has gone back behind what is archived: transaction {self.first} was committed again after "
            f"{to_time(self.since)}, when {self.last} was archived; nothing is archived until the backups from before "
            "and their segments have expired, or under another prefix of the bucket"
        )

    def to_json(self) -> bytes:
        """The document."""
        return json.dumps({"format": FORMAT, **vars(self), "since": to_time(self.since)}, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Fork:
        """Read the document. Raises SegmentError."""
        problems: list[str] = []
        try:
            document = Document(parse(data), problems)
        except ValueError as error:
            raise SegmentError(str(error)) from None
        document.take("format", whole(FORMAT, FORMAT), str(FORMAT), FORMAT)
        found = cls(
            first=document.take("first", whole(1), "a whole number from 1", 1),
            last=document.take("last", whole(1), "a whole number from 1", 1),
            since=document.take("since", time, "a time such as 2026-11-21T13:23:00Z", datetime.min),
            pod=document.take("pod", text(), "the name of a pod", ""),
        )
        document.end()
        if problems:
            raise SegmentError("; ".join(problems))
        return found


def key_of(uuid: str) -> str:
    """The key of the document."""
    return f"{BINLOGS}{uuid}/fork/fork.json"


def read(store: Store, uuid: str) -> Fork | None:
    """What is known of a cluster, None where it has not gone back. Raises StoreError, SegmentError."""
    try:
        return Fork.from_json(store.get(key_of(uuid)))
    except MissingError:
        return None


def find(logged: Iterable[Transaction], end: Segment, written: datetime, pod: str) -> Fork | None:
    """Look for a transaction that is said to be archived, and was begun only after that.

    logged: what a node has in its logs. end: the last archived segment. written: when, by the clock of the store.
    """
    since = max(end.closed, end.latest)
    limit = (max(since, written) + SKEW).timestamp()
    for one in logged:
        if one.gtid.domain == end.domain and one.gtid.sequence <= end.last and one.time > limit:
            return Fork(one.gtid.sequence, end.last, since, pod)
    return None
