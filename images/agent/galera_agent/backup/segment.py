# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive of binary logs: its objects, what they cover together, and where it has a hole. docs/backup_format.md.

A segment is one closed binary log file, compressed and encrypted, with a document beside it that is written last. Keys
carry the range of sequences, so that a listing is enough to see holes:
`binlogs/<uuid>/<day>/<first>-<last>-<pod>-<file>.json`. Segments of several nodes may
overlap: GTIDs are the same on all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

from .document import Document, optional, parse, text, texts, time, to_time, whole
from .manifest import StoredObject
from .store import BINLOGS, Store

FORMAT = 1
# What follows the name of the cluster
_KEY = re.compile(r"\d{8}/(\d{20})-(\d{20})-[A-Za-z0-9][A-Za-z0-9._-]*\.json")

_DAY = re.compile(r"\d{8}/")
# How the key of an object goes on where that of its document ends in .json
_OBJECTS = (".zst", ".zst.age")


class SegmentError(ValueError):
    """The document beside a segment is none that this version understands; the text names the field."""


class UnusableError(SegmentError):
    """A segment of which nothing can be replayed. key: that of its document."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(why)
        self.key = key


class GapError(Exception):
    """Transactions that are needed are in no archived segment; the text names them."""


@dataclass(frozen=True)
class Segment:
    """Transactions first to last (sequences of the domain of Galera), without a hole.

    uuid: of the cluster. earliest, latest: the transactions' times. closed: when the file was closed, or a little
    before: what was committed by then is in no later file. pod, file: where it comes from. data_bytes: of the file, up
    to its last whole transaction.
    """

    uuid: str
    domain: int
    first: int
    last: int
    earliest: datetime
    latest: datetime
    closed: datetime
    pod: str
    file: str
    server_version: str
    data_bytes: int
    encryption: Literal["age"] | None
    recipients: tuple[str, ...]
    object: StoredObject

    @property
    def key(self) -> str:
        """The key of the document."""
        return f"{stem(self.uuid, self.first, self.last, self.closed, self.pod, self.file)}.json"

    def to_json(self) -> bytes:
        """The document."""
        times = {name: to_time(getattr(self, name)) for name in ("earliest", "latest", "closed")}
        values = {**vars(self), **times, "recipients": list(self.recipients), "object": vars(self.object)}
        return json.dumps({"format": FORMAT, **values}, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Segment:
        """Read the document. Raises SegmentError."""
        try:
            value: Any = parse(data)
        except ValueError as error:
            raise SegmentError(str(error)) from None
        problems: list[str] = []
        document = Document(value, problems)
        document.take("format", whole(FORMAT, FORMAT), str(FORMAT), FORMAT)
        never = datetime.min
        part = document.part("object")
        found = cls(
            uuid=document.take("uuid", text("[0-9a-f-]{36}"), "a uuid", ""),
            domain=document.take("domain", whole(0), "a whole number from 0", 0),
            first=document.take("first", whole(1), "a whole number from 1", 1),
            last=document.take("last", whole(1), "a whole number from 1", 1),
            earliest=document.take("earliest", time, "a time such as 2026-11-21T13:23:00Z", never),
            latest=document.take("latest", time, "a time such as 2026-11-21T13:23:00Z", never),
            closed=document.take("closed", time, "a time such as 2026-11-21T13:23:00Z", never),
            pod=document.take("pod", text(), "the name of a pod", ""),
            file=document.take("file", text(), "a file name", ""),
            server_version=document.take("server_version", text(), "a version", ""),
            data_bytes=document.take("data_bytes", whole(1), "a whole number from 1", 1),
            encryption=cast(
                Literal["age"] | None, document.take("encryption", optional(text("age")), "null, age", None)
            ),
            recipients=document.take("recipients", texts("age1[a-z0-9]+"), "a list of age recipients", ()),
            object=_object(part or Document(None, problems, "object.")),
        )
        document.end()
        if not problems and found.last < found.first:
            problems.append(f"first is {found.first} and last is {found.last}")
        if problems:
            raise SegmentError("; ".join(problems))
        return found


@dataclass(frozen=True, slots=True)
class Span:
    """Sequences first to last, as a key names them."""

    first: int
    last: int
    key: str


def stem(uuid: str, first: int, last: int, closed: datetime, pod: str, file: str) -> str:
    """What the keys of a segment and of its document begin with."""
    return f"{BINLOGS}{uuid}/{closed:%Y%m%d}/{first:020d}-{last:020d}-{pod}-{file}"


def spans(store: Store, uuid: str) -> list[Span]:
    """All archived segments of a cluster. Raises StoreError."""
    return list(each(store, uuid))


def each(store: Store, uuid: str) -> Iterator[Span]:
    """As spans(), one at a time."""
    return _spans(store.keys(f"{BINLOGS}{uuid}/"))


def stored(store: Store, uuid: str) -> Iterator[Span]:
    """As each(), without those whose object is not there: it is listed right behind its document."""
    before: Span | None = None
    for key in store.keys(f"{BINLOGS}{uuid}/"):
        if before is not None and key.removeprefix(before.key.removesuffix(".json")) in _OBJECTS:
            yield before
        before = next(_spans([key]), None)


def check_whole(store: Store, found: Iterable[Segment]) -> None:
    """Raise UnusableError for the first of these of which the object is not there as it was. Raises StoreError."""
    segments = list(found)
    days = sorted({one.object.key.rpartition("/")[0] for one in segments})
    there = {entry.key: entry.size for day in days for entry in store.list(f"{day}/")}
    for one in segments:
        key, size = one.object.key, one.object.size
        if key not in there:
            raise UnusableError(one.key, f"{key} is missing")
        if there[key] != size:
            raise UnusableError(one.key, f"{key} has {there[key]} bytes, not {size}")


def stretches(store: Store, uuid: str, without: Container[str] = ()) -> list[Span]:
    """What all stored segments of a cluster cover together, as if those without a hole were one. Raises StoreError.

    without: the keys of documents that do not count.

    A stretch has the key of a segment that ends it; where several do, it is there with each. The last one is of the
    newest day. There may be millions of segments, of which few are held in memory at a time.
    """
    merged: list[Span] = []
    newest: Span | None = None
    for newest in (one for one in stored(store, uuid) if one.key not in without):
        one, before = newest, merged[-1] if merged else None
        if before is not None and before.first <= one.first <= before.last + 1 and one.last != before.last:
            merged[-1] = before if one.last < before.last else Span(before.first, one.last, one.key)
        else:
            merged.append(one)
    begins = {last: first for first, last in covered(merged)}
    found = [Span(begins[one.last], one.last, one.key) for one in merged if one.last in begins]
    return found if newest is None or found[-1].key == newest.key else [*found, newest]


@dataclass(frozen=True)
class Tail:
    """The last archived sequence, the key of its document, and when that was written by the clock of the store."""

    last: int
    key: str
    written: datetime


def tail(store: Store, uuid: str) -> Tail | None:
    """The end of the archive, None where there is none. Raises StoreError.

    Looks at the newest two days with segments: what is archived last may have been closed before midnight. Days that
    are still to come are of a clock that was ahead, and do not count as such.
    """
    ends: list[Span] = []
    today, left = f"{datetime.now(UTC):%Y%m%d}/", 2
    for day in reversed([name for name in store.children(f"{BINLOGS}{uuid}/") if _DAY.fullmatch(name)]):
        found = list(_spans(store.keys(f"{BINLOGS}{uuid}/{day}")))
        if found:
            last = max(one.last for one in found)
            ends += [one for one in found if one.last == last]
            left -= day <= today
        if not left:
            break
    last = max((one.last for one in ends), default=0)
    tails = (Tail(last, one.key, store.written(one.key)) for one in ends if one.last == last)
    return max(tails, key=lambda one: one.written, default=None)


def covered(found: Iterable[Span]) -> list[tuple[int, int]]:
    """The sequences that the segments hold together, as ranges without a hole, in order."""
    result: list[tuple[int, int]] = []
    for one in sorted(found, key=lambda one: one.first):
        if result and one.first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], one.last))
        else:
            result.append((one.first, one.last))
    return result


def chosen(found: Sequence[Span], after: int, until: int) -> list[Span]:
    """The fewest segments that hold all sequences after `after` up to `until`, in order. Raises GapError."""
    result: list[Span] = []
    position = after
    while position < until:
        next_one = max((one for one in found if one.first <= position + 1), key=lambda one: one.last, default=None)
        if next_one is None or next_one.last <= position:
            later = [one.first for one in found if one.first > position + 1]
            upto = min(later, default=until + 1) - 1
            raise GapError(f"the archive has no transactions {position + 1} to {min(upto, until)}")
        result.append(next_one)
        position = next_one.last
    return result


def _spans(keys: Iterable[str]) -> Iterator[Span]:
    named = ((key, _KEY.fullmatch(key.split("/", 2)[-1])) for key in keys)
    return (Span(int(match.group(1)), int(match.group(2)), key) for key, match in named if match)


def _object(part: Document) -> StoredObject:
    found = StoredObject(
        key=part.take("key", text(), "a key", ""),
        size=part.take("size", whole(1), "a whole number from 1", 1),
        sha256=part.take("sha256", text("[0-9a-f]{64}"), "a SHA-256", ""),
    )
    part.end()
    return found
