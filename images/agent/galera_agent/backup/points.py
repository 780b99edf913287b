# SPDX-License-Identifier: GPL-3.0-or-later
"""Which points a store can bring back, read from the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import catalog, fork, recovery, segment, selection
from .binlog_events import sequences
from .manifest import Manifest
from .segment import Segment, SegmentError, Span
from .store import Store

# So many of the newest segments are asked for the domain: what is damaged may be more than one
_LOOKED_AT = 100


def load_segment(store: Store) -> Callable[[Span], Segment]:
    """Reads the documents of a store's segments, each once. What it returns raises StoreError, SegmentError."""
    known: dict[str, Segment] = {}

    def load(span: Span) -> Segment:
        if span.key not in known:
            try:
                found = Segment.from_json(store.get(span.key))
            except SegmentError as error:
                raise SegmentError(f"{span.key} cannot be used: {error}") from None
            if found.key != span.key:
                raise SegmentError(f"{span.key} is the document of {found.key}")
            known[span.key] = found
        return known[span.key]

    return load


def domain_of(spans: Sequence[Span], load: Callable[[Span], Segment]) -> int:
    """The domain of the newest of these segments of which the document can be read. Raises as load does."""
    why: SegmentError | None = None
    for span in spans[: -_LOOKED_AT - 1 : -1]:
        try:
            return load(span).domain
        except SegmentError as error:
            why = why or error
    raise why or SegmentError("there are no segments")


def known_intervals(store: Store, read: catalog.Catalog) -> tuple[list[recovery.Interval], int]:
    """What can be restored from a store, and the domain of Galera there.

    Of its present history; where that has no good backup yet, of the history of the newest one. Raises StoreError,
    SegmentError.
    """
    found, domain, _ = known(store, read)
    return found, domain


def known(store: Store, read: catalog.Catalog) -> tuple[list[recovery.Interval], int, tuple[int, int] | None]:
    """As known_intervals, and recovery.broken_off() of them."""
    good = [one.manifest for one in read.backups if not read.problem_of(one.name)]
    if not good:
        return [], 0, None
    uuid = _history(read, good)
    spans, load = segment.stretches(store, uuid), load_segment(store)
    domain = load(spans[-1]).domain if spans else 0
    mine = [one for one in good if one.uuid == uuid]
    gone_back = fork.read(store, uuid) if spans else None
    later = [one for one in mine if gone_back is not None and one.finished > gone_back.since]
    found = recovery.intervals([one for one in mine if one not in later], spans, load, domain)
    found += recovery.intervals(later, [], load, domain)
    return found, domain, recovery.broken_off(found, spans)


def archived(store: Store, base: Manifest) -> int:
    """Up to which sequence a store's archive goes on from a backup, by its keys; 0 where it does not.

    Raises StoreError. What is archived need not be readable. Keys do not tell the domain of Galera: each of the
    backup's may be it.
    """
    try:
        gone_back = fork.read(store, base.uuid)
    except SegmentError:
        gone_back = None
    if gone_back is not None and base.finished > gone_back.since:
        return 0
    ranges, begins = segment.covered(segment.each(store, base.uuid)), sequences(base.gtid).values()
    return max((last for first, last in ranges for after in begins if first <= after + 1 <= last), default=0)


def _history(read: catalog.Catalog, good: Sequence[Manifest]) -> str:
    """The uuid of the present history, or of the newest backup where none is of that."""
    present = selection.present([read])
    return present if present is not None and any(one.uuid == present for one in good) else good[-1].uuid
