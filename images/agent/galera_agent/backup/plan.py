# SPDX-License-Identifier: GPL-3.0-or-later
"""What is due: a full backup, an increment on which parent, or nothing until when. Pure.

A full backup is due by its schedule; an increment by its interval. Where an increment is due and none is right, a full
one is taken in its place. Only backups of the node's own cluster state (uuid) count: after a restore, a full one is due
at once. Times are those at which backups began, so a schedule that was missed is made up for once. A clock that was set
back a little delays the next one a little; backups of a clock that was further ahead count by that of the target.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .catalog import CLOCK_STEP, Backup, Catalog
from .settings import Settings

# After a failure: this long, doubled with each further one
_RETRY = timedelta(minutes=5)
_LONGEST_RETRY = timedelta(hours=2)


@dataclass(frozen=True)
class NodeFacts:
    """The node that would take the backup.

    healthy: it is Synced in a complete cluster; why says what is wrong where it is not. uuid: of the Galera state.
    server_version: `11.8.3-MariaDB-log`. lsn: Innodb_lsn_current. backups: names that its data directory remembers
    (base.py).
    """

    healthy: bool
    why: str
    uuid: str
    server_version: str
    lsn: int
    backups: frozenset[str]


@dataclass(frozen=True)
class LastAttempt:
    """When the last backup ended that did not succeed in all targets, and how many in a row did not.

    (None, 0) where the last one did. failed_in: labels of the targets that did not get it, empty where not known.
    """

    failed_at: datetime | None = None
    failures: int = 0
    failed_in: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Full:
    """Take a full backup."""

    reason: str


@dataclass(frozen=True)
class Incremental:
    """Take an increment on this backup."""

    parent: Backup
    reason: str


@dataclass(frozen=True)
class Nothing:
    """Take none before that time; None: until the reason is gone, which passes by itself where it is suspended."""

    until: datetime | None
    reason: str
    suspended: bool = False


Due = Full | Incremental | Nothing


@dataclass(frozen=True)
class Share:
    """What to do in which stores. waits: labels of those that lack backups, and are tried again later."""

    due: Due
    catalogs: Sequence[Catalog]
    waits: tuple[str, ...] = ()


def due(now: datetime, catalogs: Sequence[Catalog], settings: Settings, last: LastAttempt, facts: NodeFacts) -> Due:
    """What to do at an aware moment; catalogs: of all the stores that the backup will be written to, at least one."""
    what = _by_time(now, catalogs, settings, facts)
    if isinstance(what, Nothing):
        return what
    if not facts.healthy:
        return Nothing(None, f"suspended: {facts.why}", suspended=True)
    if last.failed_at is not None:
        again = last.failed_at + min(_RETRY * 2 ** min(last.failures - 1, 10), _LONGEST_RETRY)
        if last.failed_at <= now < again:
            return Nothing(again, f"the last {last.failures} failed; it is tried again later")
    return what


def share(now: datetime, catalogs: Sequence[Catalog], settings: Settings, last: LastAttempt, facts: NodeFacts) -> Share:
    """What to do in which stores. All of them are one, unless the last backup was not made in all, and some lack it.

    What is due in the others is then taken there without them; what they lack, with patience, in them alone: else each
    new try would be a full backup in the others as well, with which these fill up and let older ones expire. Where one
    of the others did not get the last backup itself, they are no better, and all are one.
    """
    if last.failed_in and not any(one.store in last.failed_in for one in catalogs):
        last = LastAttempt()
    newest = [_newest(one, now, facts.uuid, full=False) for one in catalogs]
    latest = max((moment for moment in newest if moment is not None), default=None)
    behind = [one for one, moment in zip(catalogs, newest, strict=True) if moment != latest]
    ahead = [one for one in catalogs if one not in behind]
    if last.failed_at is None or not behind or any(one.store in last.failed_in for one in ahead):
        return Share(due(now, catalogs, settings, last, facts), catalogs)
    what, other = due(now, ahead, settings, LastAttempt(), facts), due(now, behind, settings, last, facts)
    if not isinstance(what, Nothing):
        return Share(what, ahead, tuple(one.store for one in behind))
    if not isinstance(other, Nothing):
        return Share(other, behind)
    first = min((what, other), key=lambda one: one.until or now)
    return Share(first, catalogs)


def on_demand(kind: str, now: datetime, catalogs: Sequence[Catalog], settings: Settings, facts: NodeFacts) -> Due:
    """What a request asks for: `full`, `incremental`, or `auto`: an increment if one is right, else a full one."""
    if not facts.healthy:
        return Nothing(None, f"suspended: {facts.why}", suspended=True)
    if kind == "full":
        return Full("it was asked for")
    parent = find_parent(now, catalogs, settings, facts)
    if isinstance(parent, Backup):
        return Incremental(parent, "it was asked for")
    if kind == "incremental":
        return Nothing(None, f"no increment can be taken: {parent}")
    return Full(f"it was asked for, and no increment can be taken: {parent}")


def find_parent(now: datetime, catalogs: Sequence[Catalog], settings: Settings, facts: NodeFacts) -> Backup | str:
    """The newest backup that an increment of this node may hang on, in all the stores; or why there is none."""
    known = [one for one in catalogs[0].backups if one.manifest.started < now]
    mine = [one for one in known if one.name in facts.backups]
    if not mine:
        return "none of the backups there was taken from this data directory, so there is no common LSN base"
    parent = mine[-1]
    for catalog in catalogs:
        why = catalog.problem_of(parent.name)
        if why:
            return why
        if catalog.by_name[parent.name].manifest.digest != parent.manifest.digest:
            return f"backup {parent.name} is another in {catalog.store} than in {catalogs[0].store}"
    return _wrong_parent(parent, len(catalogs[0].chain(parent.name)) - 1, settings, facts) or parent


def _wrong_parent(parent: Backup, increments: int, settings: Settings, facts: NodeFacts) -> str:
    """Why an increment must not hang on a backup whose chain is whole; empty where it may."""
    manifest = parent.manifest
    if manifest.uuid != facts.uuid:
        return f"backup {parent.name} is of the cluster state {manifest.uuid}, this node has {facts.uuid}"
    if _series(manifest.server_version) != _series(facts.server_version):
        return f"backup {parent.name} is of MariaDB {manifest.server_version}, this node runs {facts.server_version}"
    if facts.lsn < manifest.lsn_to:
        return f"backup {parent.name} ends at LSN {manifest.lsn_to}, this node is at {facts.lsn}"
    if increments >= settings.max_chain:
        return f"backup {parent.name} ends a chain of {increments} increments, the most there may be"
    return ""


def _by_time(now: datetime, catalogs: Sequence[Catalog], settings: Settings, facts: NodeFacts) -> Due:
    """What the clock asks for; several stores are as far as the one that is furthest behind."""
    fulls = [_newest(catalog, now, facts.uuid, full=True) for catalog in catalogs]
    if None in fulls:
        lacking = catalogs[fulls.index(None)]
        others = any(one.manifest.uuid != facts.uuid for one in lacking.backups)
        state = f" of the present cluster state {facts.uuid}" if others else ""
        return Full(f"{lacking.store} has no good full backup{state}")
    last_full = min(moment for moment in fulls if moment is not None)
    next_full = settings.schedule.next_after(last_full)
    if next_full <= now:
        return Full(f"the schedule asked for one at {next_full:%Y-%m-%d %H:%M} UTC")
    if settings.incremental_interval_seconds is None:
        return Nothing(next_full, "the schedule asks for none before")
    newests = [_newest(catalog, now, facts.uuid, full=False) for catalog in catalogs]
    newest = min(moment for moment in newests if moment is not None)
    next_increment = newest + timedelta(seconds=settings.incremental_interval_seconds)
    if next_increment > now:
        return Nothing(min(next_full, next_increment), "neither the schedule nor the interval asks for one before")
    parent = find_parent(now, catalogs, settings, facts)
    if isinstance(parent, str):
        return Full(f"an increment is due, and none can be taken: {parent}")
    return Incremental(parent, f"the last backup began {int((now - newest).total_seconds())} s ago")


def _newest(catalog: Catalog, now: datetime, uuid: str, *, full: bool) -> datetime | None:
    """When the newest good backup of a cluster state in a store began; None without one."""
    mine = [one for one in catalog.backups if one.manifest.uuid == uuid]
    good = [one for one in mine if (not full or one.manifest.kind == "full") and not catalog.problem_of(one.name)]
    moments = [one.began if _was_ahead(one, mine, now) else one.manifest.started for one in good]
    return max((one for one in moments if one <= now + CLOCK_STEP), default=None)


def _was_ahead(one: Backup, others: Sequence[Backup], now: datetime) -> bool:
    """Whether the node's clock was ahead at a backup, and is right again; not where the target's may be behind.

    Shown by the time, or by one that holds more, and was begun later by the target's clock, and earlier by its node's.
    """
    if one.manifest.started > now + CLOCK_STEP:
        return True
    return one.began < one.manifest.started and any(
        other.manifest.seqno > one.manifest.seqno
        and other.began > one.began
        and other.manifest.started < one.manifest.started
        for other in others
    )


def _series(version: str) -> str:
    found = re.match(r"\d+\.\d+", version)
    return found.group() if found else version
