# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups may go, and why each other stays. Pure.

A backup stays that any rule keeps, and with it its whole chain: the full backup it hangs on, and all that hang on that.
Days are those of UTC. Age is counted to the newest good backup, not to the clock: while backups fail nothing expires,
and a clock that is ahead deletes nothing. Good is what can be restored: its chain is whole, and no verification of it
has failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .catalog import Backup, Catalog
from .settings import Retention, Thinning

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
    past = [one for one in good if one.manifest.started <= now]
    if rule == Retention(None, None, None):
        return [Decision(one.name, False, "no rule lets anything expire") for one in catalog.backups]
    if not past:
        return [Decision(one.name, False, "there is no good backup, so nothing expires") for one in catalog.backups]
    reference = max(one.manifest.started for one in past)
    recent = _first(_recent(good, past, reference, rule))
    kept = _first([*recent.items(), *_thinned(past, reference, rule.thinning), *_unusable(catalog, bad, recent)])
    return _decisions(catalog, kept, reference)


def expired(catalog: Catalog, now: datetime, rule: Retention) -> list[tuple[str, str]]:
    """Name and reason of those that may go, the newest first: increments before what they hang on."""
    return [(one.name, one.reason) for one in reversed(decide(catalog, now, rule)) if one.expires]


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


def _window(past: Sequence[Backup], reference: datetime, days: int) -> Iterator[_Kept]:
    """The last days, from every moment of which there is a way back: with the backup that they begin from."""
    inside = [one for one in past if _age(one, reference) <= timedelta(days=days)]
    for one in inside:
        yield one.name, f"is of the last {days} days"
    before = [one for one in past if _age(one, reference) > timedelta(days=days)]
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
        span = one.manifest.started.toordinal() // length
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


def _age(one: Backup, reference: datetime) -> timedelta:
    return reference - one.manifest.started


def _first(kept: Iterable[_Kept]) -> dict[str, str]:
    """The first reason of each name."""
    found: dict[str, str] = {}
    for name, reason in kept:
        found.setdefault(name, reason)
    return found
