# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups may go, and why each other stays. Pure.

A backup stays that any rule keeps, and with it its whole chain: the full backup it hangs on, and all that hang on that.
Days are those of UTC. Age is counted to the newest good backup, not to the clock: while backups fail nothing expires.
A clock that is ahead deletes nothing: doubt(). Good is what can be restored: its chain is whole, and no verification
of it has failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from .catalog import Backup, Catalog
from .document import to_time
from .settings import KEEP_ALL, Retention, Thinning

# What is usual: the longest pause between backups among so many, and in so long a time
_USUAL_COUNT, _USUAL_TIME = 8, timedelta(days=8)
# A pause of more than so many times that may be a clock that is ahead; backups that go on for so long show it is not.
_UNUSUAL, _CONFIRMED = 2, timedelta(days=1)
# A name, and the reason why it is kept
_Kept = tuple[str, str]


@dataclass(frozen=True)
class Decision:
    """What becomes of a backup, and why: one sentence without its subject."""

    name: str
    expires: bool
    reason: str


def decide(catalog: Catalog, now: datetime, rule: Retention) -> list[Decision]:
    """One decision for each complete backup of a store, in the order of their names. now: aware."""
    bad = {one.name: why for one in catalog.backups if (why := catalog.problem_of(one.name))}
    good = [one for one in catalog.backups if one.name not in bad]
    past = _past(good, now)
    if rule == KEEP_ALL:
        return [Decision(one.name, False, "no rule lets anything expire") for one in catalog.backups]
    if not past:
        return [Decision(one.name, False, "there is no good backup, so nothing expires") for one in catalog.backups]
    if why := doubt(catalog, now):
        return [Decision(one.name, False, f"nothing expires: {why}") for one in catalog.backups]
    reference = past[-1].began
    recent = _first([*_recent(good, past, reference, rule), *_present(catalog, good)])
    kept = _first([*recent.items(), *_thinned(past, reference, rule.thinning), *_unusable(catalog, bad, recent)])
    return _decisions(catalog, kept, reference)


def doubt(catalog: Catalog, now: datetime) -> str:
    """Why the time of the newest good backup is not believed yet, so that nothing expires; empty where it is.

    After an unusually long pause the clock may be ahead. The backups of the day after it show that it is not.
    """
    past = _past(catalog.backups, now)
    moments = [one.began for one in past]
    reference = max((one.began for one in past if not catalog.problem_of(one.name)), default=None)
    for number in range(2, len(moments)):
        before, begins = moments[number - 1], moments[number]
        if reference is None or begins > reference or moments[-1] - begins >= _CONFIRMED:
            continue
        recent = [
            later - earlier
            for place, (earlier, later) in enumerate(pairwise(moments[:number]))
            if place >= number - 1 - _USUAL_COUNT or before - later <= _USUAL_TIME
        ]
        if begins - before > _UNUSUAL * max(recent):
            return (
                f"the backup of {to_time(begins)} was begun {_words(begins - before)} after the one before it, and "
                f"those before were at most {_words(max(recent))} apart, so the clock may be ahead; it is believed "
                "when the backups go on for a day"
            )
    return ""


def expired(catalog: Catalog, now: datetime, rule: Retention) -> list[tuple[str, str]]:
    """Name and reason of those that may go, the newest first: increments before what they hang on."""
    return [(one.name, one.reason) for one in reversed(decide(catalog, now, rule)) if one.expires]


def _past(backups: Iterable[Backup], now: datetime) -> list[Backup]:
    """Those that were begun before now, in the order of that."""
    return sorted((one for one in backups if one.began <= now), key=lambda one: (one.began, one.name))


def _recent(good: Sequence[Backup], past: Sequence[Backup], reference: datetime, rule: Retention) -> Iterator[_Kept]:
    """What is kept for being new."""
    yield past[-1].name, "is the last good one"
    verified = [one for one in past if one.verified]
    if verified:
        yield verified[-1].name, "is the last verified one"
    for name in {one.name for one in good} - {one.name for one in past}:
        yield name, "was begun later than now: a clock is or was wrong"
    if rule.days is not None:
        yield from _window(past, reference, rule.days)
    if rule.keep_last is not None:
        for one in [one for one in past if one.manifest.kind == "full"][-rule.keep_last :]:
            yield one.name, f"is one of the last {rule.keep_last} full ones"
    if rule.thinning is not None:
        for one in past:
            if _age(one, reference) <= timedelta(days=rule.thinning.all_days):
                yield one.name, f"is of the last {rule.thinning.all_days} days"


def _present(catalog: Catalog, good: Sequence[Backup]) -> Iterator[_Kept]:
    """The last one of the present history, whatever clocks say: after a restore there may be no other of it."""
    mine = [one for one in good if catalog.owner is not None and one.manifest.uuid == catalog.owner.uuid]
    if mine:
        yield max(mine, key=lambda one: (one.manifest.seqno, one.name)).name, "is the last good one of the cluster"


def _window(past: Sequence[Backup], reference: datetime, days: int) -> Iterator[_Kept]:
    """The last days, from every moment of which there is a way back: with the backup that they begin from."""
    before = [one for one in past if reference - _ended(one) > timedelta(days=days)]
    for one in past:
        if reference - _ended(one) <= timedelta(days=days):
            yield one.name, f"is of the last {days} days"
    if before:
        yield before[-1].name, f"is what the last {days} days begin from"


def _thinned(past: Sequence[Backup], reference: datetime, rule: Thinning | None) -> Iterator[_Kept]:
    """One of every two days, one of every seven; counted from a fixed day, so that the choice never moves."""
    if rule is None:
        return
    stages = ((2, rule.alternate_until_days), (7, rule.weekly_until_days))
    for length, until in stages:
        for one in _first_of_each(past, length):
            if _age(one, reference) <= timedelta(days=until):
                yield one.name, f"is the first of its {length} days, kept for {until} days"


def _first_of_each(past: Iterable[Backup], length: int) -> Iterable[Backup]:
    """The first full backup of every so many days, or the first increment where there is no full one."""
    found: dict[int, Backup] = {}
    for one in past:
        span = one.began.toordinal() // length
        if span not in found or (one.manifest.kind == "full" and found[span].manifest.kind != "full"):
            found[span] = one
    return found.values()


def _unusable(catalog: Catalog, bad: dict[str, str], recent: dict[str, str]) -> Iterator[_Kept]:
    """What cannot be restored stays, for people to look at, while good ones of its time are kept for being new."""
    oldest = min(recent)
    for name, why in bad.items():
        if name >= oldest:
            yield name, f"cannot be restored ({why}), and is as new as others that are kept"


def _decisions(catalog: Catalog, kept: dict[str, str], reference: datetime) -> list[Decision]:
    """Keep the chains of what is kept."""
    roots = _roots(catalog)
    keepers: dict[str, str] = {}
    for name in kept:
        keepers.setdefault(roots[name], name)
    decisions = []
    for one in catalog.backups:
        keeper = keepers.get(roots[one.name])
        if one.name in kept:
            decisions.append(Decision(one.name, False, kept[one.name]))
        elif keeper is not None:
            decisions.append(Decision(one.name, False, f"is of the chain of {keeper}, which {kept[keeper]}"))
        else:
            decisions.append(Decision(one.name, True, f"is {_age(one, reference).days} days old, and no rule keeps it"))
    return decisions


def _roots(catalog: Catalog) -> dict[str, str]:
    """For each backup the one that its chain begins with, as far as it is there."""
    roots: dict[str, str] = {}
    for one in catalog.backups:
        # parents have older names, so they come first
        roots[one.name] = roots.get(one.manifest.parent or "", one.name)
    return roots


def _ended(one: Backup) -> datetime:
    """When it was ended, which is the first moment that it can be restored to; by the same clock as its beginning."""
    return one.began + (one.manifest.finished - one.manifest.started)


def _age(one: Backup, reference: datetime) -> timedelta:
    return reference - one.began


def _words(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} hours"


def _first(kept: Iterable[_Kept]) -> dict[str, str]:
    """The first reason of each name."""
    found: dict[str, str] = {}
    for name, reason in kept:
        found.setdefault(name, reason)
    return found
