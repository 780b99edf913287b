# SPDX-License-Identifier: GPL-3.0-or-later
"""Which points a store can bring back, and what is replayed for one, read from the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from . import catalog, fork, recovery, segment, selection
from .binlog_events import sequences
from .manifest import Manifest
from .segment import Segment, SegmentError, Span, UnusableError
from .store import Store

# So many damaged segments are passed over
_MOST_DAMAGED = 100


def load_segment(store: Store) -> Callable[[Span], Segment]:
    """Reads the documents of a store's segments, each once. What it returns raises StoreError, UnusableError."""
    known: dict[str, Segment] = {}

    def load(span: Span) -> Segment:
        if span.key not in known:
            try:
                found = Segment.from_json(store.get(span.key))
            except SegmentError as error:
                raise UnusableError(span.key, f"{span.key} cannot be used: {error}") from None
            if found.key != span.key:
                raise UnusableError(span.key, f"{span.key} is the document of {found.key}")
            known[span.key] = found
        return known[span.key]

    return load


def domain_of(spans: Sequence[Span], load: Callable[[Span], Segment]) -> int:
    """The domain of the newest of these segments of which the document can be read. Raises as load does."""
    why: SegmentError | None = None
    for span in spans[: -_MOST_DAMAGED - 1 : -1]:
        try:
            return load(span).domain
        except SegmentError as error:
            why = why or error
    raise why or SegmentError("there are no segments")


@dataclass(frozen=True)
class Known:
    """What can be restored from a store. domain: that of Galera there. broken_off: see recovery.broken_off().

    unusable: why segments do not count that end a stretch of the archive; of the others only a restore reads more than
    their keys.
    """

    intervals: Sequence[recovery.Interval] = ()
    domain: int = 0
    broken_off: tuple[int, int] | None = None
    unusable: Sequence[str] = ()


def known(store: Store, read: catalog.Catalog) -> Known:
    """What can be restored from a store.

    Of its present history; where that has no good backup yet, of the history of the newest one. Raises StoreError,
    SegmentError.
    """
    good = [one.manifest for one in read.backups if not read.problem_of(one.name)]
    if not good:
        return Known()
    uuid, load = _history(read, good), load_segment(store)
    mine = [one for one in good if one.uuid == uuid]
    unusable: dict[str, str] = {}
    while True:
        spans = segment.stretches(store, uuid, unusable)
        try:
            return replace(_known(store, uuid, mine, spans, load), unusable=tuple(unusable.values()))
        except UnusableError as error:
            if len(unusable) == _MOST_DAMAGED:
                raise
            unusable[error.key] = str(error)


def _known(
    store: Store, uuid: str, mine: Sequence[Manifest], spans: Sequence[Span], load: Callable[[Span], Segment]
) -> Known:
    domain = load(spans[-1]).domain if spans else 0
    gone_back = fork.read(store, uuid) if spans else None
    later = [one for one in mine if gone_back is not None and one.finished > gone_back.since]
    found = recovery.intervals([one for one in mine if one not in later], spans, load, domain)
    found += recovery.intervals(later, [], load, domain)
    return Known(found, domain, recovery.broken_off(found, spans))


def steps(
    store: Store,
    chosen: selection.Chosen,
    target: recovery.Target | None,
    read: catalog.Catalog | None = None,
    log: Callable[[str], None] = lambda _: None,
    damaged: Mapping[str, str] = MappingProxyType({}),
) -> list[recovery.Step]:
    """What is replayed on a chain. read: what its store holds, of which later backups tell up to when nothing came.

    damaged: why segments cannot be used, by the keys of their documents, as far as that is known. Such a one is passed
    over where others have all that is wanted of it. Raises StoreError, SegmentError, recovery.TargetError.
    """
    if target is None:
        return []
    last = chosen[-1].manifest
    spans, load = segment.spans(store, last.uuid), load_segment(store)
    gone_back = fork.read(store, last.uuid)
    others = [] if read is None else [one.manifest for one in read.backups if not read.problem_of(one.name)]
    if gone_back is not None and last.finished > gone_back.since:
        later = [one for one in others if one.finished > gone_back.since]
        if target.time is not None and recovery.unchanged(last, later, target.time):
            return []
        raise recovery.TargetError(str(gone_back))
    if not spans:
        if target.time is not None and recovery.unchanged(last, others, target.time):
            return []
        raise recovery.TargetError("there is no archive of binary logs of its cluster")
    domain = domain_of(spans, load)
    mine = [one for one in others if one.uuid == last.uuid and (gone_back is None or one.finished <= gone_back.since)]
    after, ends = recovery.start(last, target, domain), recovery.ends(mine, domain)
    wanted = recovery.reach(after, spans) if target == recovery.Target() else after
    unusable = dict(damaged)
    spans = [one for one in spans if one.key not in unusable]
    while True:
        try:
            found = recovery.steps(after, target, spans, load, last.finished, ends)
            if foreign := [one.segment for one in found if one.segment.domain != domain]:
                raise recovery.TargetError(
                    f"{foreign[0].key} is of domain {foreign[0].domain}, and the archive of domain {domain}"
                )
            segment.check_whole(store, [one.segment for one in found])
            break
        except UnusableError as error:
            unusable[error.key] = str(error)
            spans = [one for one in spans if one.key != error.key]
            if recovery.reach(after, spans) < wanted or len(unusable) > _MOST_DAMAGED:
                raise recovery.TargetError(f"{error}: the archive is not whole") from None
        except recovery.TargetError as error:
            raise recovery.TargetError("; ".join([*unusable.values(), str(error)])) from None
    for why in unusable.values():
        log(f"passed over, since other segments reach to the point without it: {why}")
    return found


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
