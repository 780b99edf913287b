# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that has gone back behind what is archived of it, as after a recovery with loss: its numbers come again.

Its uuid stays, and other transactions get the same GTIDs. `binlogs/<uuid>/fork/fork.json` keeps that in mind: what is
archived stays as it is, nothing is added to it, and nothing of it is replayed on a backup from afterwards.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from operator import attrgetter

from . import segment
from .binlog_events import Transaction
from .document import Document, parse, text, time, to_time, whole
from .segment import Segment, SegmentError, Span
from .store import BINLOGS, FORK, MissingError, Store

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
    return f"{BINLOGS}{uuid}/fork/{FORK}"


def read(store: Store, uuid: str) -> Fork | None:
    """What is known of a cluster, None where it has not gone back. Raises StoreError, SegmentError."""
    try:
        return Fork.from_json(store.get(key_of(uuid)))
    except MissingError:
        return None


class Archived:
    """Which transactions the segments of a history hold: those with their numbers, of their times. Reads them once."""

    def __init__(self, store: Store, uuid: str) -> None:
        self._store, self._uuid = store, uuid
        self._known: dict[str, Segment | None] = {}
        # One that held what was asked for before: what is asked for next is mostly in it as well
        self._same: Segment | None = None

    def holds(self, one: Transaction) -> bool | None:
        """Whether it is archived; False where its number is that of another one. None where that cannot be told.

        Raises StoreError.
        """
        number = one.gtid.sequence
        if self._same is not None and self._same.first <= number <= self._same.last and _is_of(one, self._same):
            return True
        there = [found for span in self._near(number) if (found := self._load(span)) is not None]
        self._same = next((found for found in there if _is_of(one, found)), None)
        return self._same is not None if there else None

    def _near(self, number: int) -> list[Span]:
        first = bisect_left(self._spans, number - self._longest, key=attrgetter("first"))
        last = bisect_right(self._spans, number, key=attrgetter("first"))
        return [span for span in self._spans[first:last] if number <= span.last]

    @cached_property
    def _spans(self) -> list[Span]:
        return sorted(segment.each(self._store, self._uuid), key=attrgetter("first"))

    @cached_property
    def _longest(self) -> int:
        return max((span.last - span.first for span in self._spans), default=0)

    def _load(self, span: Span) -> Segment | None:
        if span.key not in self._known:
            try:
                self._known[span.key] = Segment.from_json(self._store.get(span.key))
            except (MissingError, SegmentError):
                self._known[span.key] = None
        return self._known[span.key]


def find(logged: Iterable[Transaction], end: Segment, written: datetime, pod: str, archived: Archived) -> Fork | None:
    """Look for a transaction under whose number another one is archived, from before it was begun.

    logged: what a node has in its logs. end: the last archived segment. written: when, by the clock of the store.
    Only what was begun after that is looked for in the others; a clock that was ahead for a while has such ones, too.
    Raises StoreError.
    """
    since = max(end.closed, end.latest)
    limit = (max(since, written) + SKEW).timestamp()
    for one in logged:
        late = one.gtid.domain == end.domain and one.gtid.sequence <= end.last and one.time > limit
        if late and archived.holds(one) is False:
            return Fork(one.gtid.sequence, end.last, since, pod)
    return None


def _is_of(one: Transaction, found: Segment) -> bool:
    """Whether a transaction is from the time of a segment, or before it."""
    return found.domain == one.gtid.domain and one.time <= (max(found.closed, found.latest) + SKEW).timestamp()
