# SPDX-License-Identifier: GPL-3.0-or-later
"""To which points a cluster can be brought back, and what has to be replayed on a backup for one of them. Pure.

A point is a transaction. A time stands for the state before the first transaction, in the order of commits, that its
node began later than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import MappingProxyType

from .binlog_events import Transaction, parse_gtid, sequence_of, sequences
from .document import to_time
from .manifest import Manifest
from .segment import GapError, Segment, Span, chosen, covered

LATEST = "latest"
# Clocks may differ by so much, and a file may have been closed so long after the last transaction that tells of it.
_OVERLAP = timedelta(minutes=10)
_NEVER = datetime.min.replace(tzinfo=UTC)


class TargetError(ValueError):
    """The point cannot be reached, or the text names none; says which can."""


@dataclass(frozen=True)
class Target:
    """Where to stop: after a sequence of a domain, or before the first transaction later than a time.

    Both None: at the end of the archive. named: what the user said, for what is said of it.
    """

    sequence: int | None = None
    time: datetime | None = None
    domain: int | None = None
    named: str = field(default="", compare=False)

    def ends(self, one: Transaction) -> bool:
        """Whether a transaction comes after the point."""
        if self.sequence is not None:
            return one.gtid.sequence > self.sequence
        return self.time is not None and datetime.fromtimestamp(one.time, UTC) > self.time


@dataclass(frozen=True)
class Interval:
    """Every point in between can be restored. backup: with which it begins. first, last: sequences."""

    backup: str
    first: int
    last: int
    since: datetime
    until: datetime


@dataclass(frozen=True)
class Step:
    """A segment, of which the transactions after a sequence are replayed."""

    segment: Segment
    after: int


def parse_target(time: str, gtid: str, before: str) -> Target | None:
    """Read what the user named; at most one of the three. None where nothing is named.

    time: ISO 8601 with a zone, or `latest`. gtid: the last transaction to have. before: the first one not to have.
    Raises TargetError.
    """
    named = {name: text for name, text in (("TIME", time), ("GTID", gtid), ("BEFORE_GTID", before)) if text}
    if len(named) > 1:
        raise TargetError(f"{' and '.join(f'SOURCE_{name}' for name in named)} are set; allowed: one of them")
    if time == LATEST:
        return Target(named="SOURCE_TIME is latest")
    if time:
        return Target(time=_time(time), named=f"SOURCE_TIME is {time}")
    if gtid or before:
        (variable,) = named
        try:
            found = parse_gtid(gtid or before)
        except ValueError as error:
            raise TargetError(f"SOURCE_{variable}: {error}") from None
        sequence = found.sequence - (0 if gtid else 1)
        return Target(sequence=sequence, domain=found.domain, named=f"SOURCE_{variable} is {found}")
    return None


def intervals(
    backups: Iterable[Manifest], spans: Sequence[Span], load: Callable[[Span], Segment], domain: int
) -> list[Interval]:
    """What can be restored of one cluster: each backup, and on from it as far as the archive has no hole.

    Backups that meet the same stretch of the archive are one interval. Where there is an archive, a backup without a
    GTID of the domain is none of it: see start(). load reads the document of a segment.
    """
    if not spans:
        return _points(backups, domain)
    ranges = covered(spans)
    result: list[Interval] = []
    known = [one for one in backups if domain in sequences(one.gtid)]
    for one in sorted(known, key=lambda one: sequence_of(one.gtid, domain)):
        start = sequence_of(one.gtid, domain)
        last = next((end for first, end in ranges if first <= start + 1 <= end), start)
        if result and start <= result[-1].last:
            if start == result[-1].last:
                # Nothing was committed up to its end.
                result[-1] = replace(result[-1], until=max(result[-1].until, one.finished))
            continue
        result.append(Interval(one.name, start, last, one.finished, _until(one.finished, last, spans, load)))
    return result


def reach(after: int, spans: Iterable[Span]) -> int:
    """Up to which sequence an archive goes on without a hole from one; that itself where it does not."""
    return next((last for first, last in covered(spans) if first <= after + 1 <= last), after)


def unchanged(base: Manifest, backups: Iterable[Manifest], time: datetime) -> bool:
    """Whether backups of its history show that from a backup to a time nothing was committed."""
    points = _points([base, *(one for one in backups if one.uuid == base.uuid)], 0)
    return any(one.since <= base.finished <= time <= one.until for one in points)


def _points(backups: Iterable[Manifest], domain: int) -> list[Interval]:
    """What can be restored without an archive: each backup, and every time between those of one position."""
    result: list[Interval] = []
    position = None
    for one in sorted(backups, key=lambda one: one.finished):
        if one.seqno == position:
            result[-1] = replace(result[-1], until=one.finished)
        else:
            last = sequence_of(one.gtid, domain)
            result.append(Interval(one.name, last, last, one.finished, one.finished))
        position = one.seqno
    return result


def holes(found: Sequence[Interval]) -> list[tuple[datetime, datetime]]:
    """The times between intervals, to which nothing can be restored."""
    return [(one.until, other.since) for one, other in pairwise(found) if one.until < other.since]


def broken_off(found: Sequence[Interval], spans: Sequence[Span]) -> tuple[int, int] | None:
    """The sequences that are not archived after all intervals, None where the archive does not go on behind them.

    found: of these spans. What follows can be restored only from a backup that is taken then.
    """
    last = max((one.last for one in found), default=None)
    later = [first for first, _ in covered(spans) if last is not None and first > last + 1]
    return None if last is None or not later else (last + 1, min(later) - 1)


def ends(backups: Iterable[Manifest], domain: int) -> dict[int, datetime]:
    """When the last of these backups ended that has a sequence of a domain as its last, by that."""
    found: dict[int, datetime] = {}
    for one in backups:
        if (last := sequences(one.gtid).get(domain)) is not None:
            found[last] = max(found.get(last, one.finished), one.finished)
    return found


def start(base: Manifest, target: Target, domain: int) -> int:
    """The sequence after which the replay on a backup begins. domain: of the archive.

    Raises TargetError where the backup does not say which transactions it has, or the point is of another domain.
    """
    if target.domain not in (None, domain):
        raise TargetError(f"{target.named}; allowed: a GTID of domain {domain}, that of the archived transactions")
    found = sequences(base.gtid).get(domain)
    if found is None:
        raise TargetError(
            f"its GTID is '{base.gtid}', and the archive is of domain {domain}: it was taken without the binary log, "
            "and which archived transactions it has is not known"
        )
    return found


def steps(
    after: int,
    target: Target,
    spans: Sequence[Span],
    load: Callable[[Span], Segment],
    since: datetime = _NEVER,
    ends: Mapping[int, datetime] = MappingProxyType({}),
) -> list[Step]:
    """What to replay on a state that has everything up to a sequence. Raises TargetError where it is not archived.

    since: when the state was taken. ends: when backups of its history ended, by the last sequence that they have.
    For a time the last step may hold nothing of what is wanted: only a transaction later than the time shows that none
    before it is missing, and where there is none, the end of the archive does, or a backup that has no more than that.
    """
    try:
        if target.sequence is not None:
            found = list(_steps(after, chosen(spans, after, target.sequence), load))
            _check_line(since, found)
            return found
        end = reach(after, spans)
        wanted = chosen(spans, after, end)
    except GapError as error:
        raise TargetError(str(error)) from None
    found = []
    for step in _steps(after, wanted, load):
        found.append(step)
        # Of a segment that begins earlier than it is needed, the latest transaction may be one that is not replayed.
        if target.time is not None and step.segment.latest > target.time and step.after < step.segment.first:
            _check_line(since, found)
            return found
    _check_line(since, found)
    if target.time is None:
        return found
    until = max(_until(since, end, spans, load), ends.get(end, _NEVER))
    if target.time <= until:
        return found
    reached = to_time(until) if found or until > since else "the backup itself"
    raise TargetError(f"the archive goes on without a hole only to {reached}")


def nearest(found: Sequence[Interval], target: Target, domain: int) -> str:
    """The points that can be restored and lie nearest to one that cannot, as a phrase."""
    if not found:
        return "no point in time can be restored"

    def distance(one: Interval) -> float:
        if target.time is not None:
            moment = min(max(target.time, one.since), one.until)
            return abs((moment - target.time).total_seconds())
        if target.sequence is None:
            return -one.until.timestamp()
        return abs(min(max(target.sequence, one.first), one.last) - target.sequence)

    best = min(found, key=distance)
    # Without an archive a backup is no interval of transactions
    archived = f", transactions {best.first} to {best.last} of domain {domain}" if best.last else ""
    return f"the nearest that can be restored are {to_time(best.since)} to {to_time(best.until)}{archived}"


def _steps(after: int, wanted: Sequence[Span], load: Callable[[Span], Segment]) -> Iterator[Step]:
    for span in wanted:
        yield Step(load(span), after)
        after = span.last


def _check_line(since: datetime, found: Sequence[Step]) -> None:
    """Raise TargetError where a segment has numbers that were there before, and is all from later than those.

    since: when the state was taken. Such transactions are others: the cluster has gone back, and has counted on.
    """
    for step in found:
        if since != _NEVER and step.segment.first <= step.after and step.segment.earliest > since + _OVERLAP:
            raise TargetError(
                f"{step.segment.key} begins with transaction {step.segment.first}, which was begun after "
                f"{to_time(since)} and is another one than that before: the cluster has gone back in between"
            )
        since = max(since, step.segment.closed, step.segment.latest)


def _until(since: datetime, last: int, spans: Sequence[Span], load: Callable[[Span], Segment]) -> datetime:
    """The last time that can be restored on a state of a time, where nothing after a sequence is archived."""
    return max([since, *(load(span).closed for span in spans if span.last == last)])


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        # It is none, or none of the years that UTC has here.
        pass
    raise TargetError(
        f"SOURCE_TIME is '{text}'; allowed: {LATEST}, or a time with its zone, such as 2026-11-21T13:23:00+01:00"
    )
