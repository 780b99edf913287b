# SPDX-License-Identifier: GPL-3.0-or-later
"""Which chains of a catalog may be restored for what the user named, the best first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from ..chain import LATEST, NONE, Refused
from .binlog_events import sequences
from .catalog import CLOCK_STEP, Backup, Catalog, ChainError
from .manifest import parse_name
from .recovery import Target

Chosen = Sequence[Backup]
_NEVER = datetime.min.replace(tzinfo=UTC)


def candidates(
    catalogs: Sequence[Catalog], backup: str, increment: str, target: Target | None = None, *, fallback: bool = False
) -> Iterator[tuple[str, Chosen | str]]:
    """Names and chains with the newest end first, each of them in the order of the catalogs.

    Those of the present history (present()) come before all of others, which are what a restore left behind, or was
    undone; where it has none they come by their time. In place of a chain a text says why it cannot be restored.

    backup: `latest`, or the name of a full backup or of an increment. increment: `latest`, `none`, or a name. target:
    the end of the chain must not be after it. fallback: older ones may stand for what is named, also where that is
    gone. Raises Refused for names or a domain that do not fit.
    """
    _check_domain(catalogs, target)
    try:
        names = _names(catalogs, backup, increment)
    except Refused as error:
        names = _older(catalogs, backup, increment) if fallback and _gone(catalogs, backup, increment) else set()
        if not names:
            raise
        yield _named(backup, increment), str(error)
    if fallback:
        names |= _older(catalogs, backup, increment)
    for name in sorted(names, key=_order(catalogs, names), reverse=True):
        for catalog in catalogs:
            if name in catalog.broken or (name in catalog.by_name and _before(catalog.by_name[name], target)):
                yield name, _chain(catalog, name)


def present(catalogs: Iterable[Catalog]) -> str:
    """The uuid of the history that goes on in these stores: that of the owner who came last; empty without owners."""
    owners = [one.owner for one in catalogs if one.owner is not None]
    return max(owners, key=lambda one: one.created).uuid if owners else ""


def history(catalogs: Iterable[Catalog], name: str) -> str:
    """The uuid of a backup's history; empty where no manifest of it can be read."""
    return next((one.by_name[name].manifest.uuid for one in catalogs if name in one.by_name), "")


def _order(catalogs: Sequence[Catalog], names: Iterable[str]) -> Callable[[str], tuple[bool, datetime, str]]:
    """The key by which names are sorted. Of what cannot be read the history is unknown: it may be the present one."""
    now = present(catalogs)
    histories = {name: history(catalogs, name) for name in names}
    some = now in histories.values()
    moments = _moments(catalogs)

    def key(name: str) -> tuple[bool, datetime, str]:
        named = parse_name(name)
        return some and histories[name] in (now, ""), moments.get(name) or (named[0] if named else _NEVER), name

    return key


def _moments(catalogs: Sequence[Catalog]) -> dict[str, datetime]:
    """When backups were begun, by the clock that is least ahead.

    What no clock can tell, since it lies in the future, comes right after the last one that its history had before it.
    """
    known: dict[str, Backup] = {}
    for one in (one for catalog in catalogs for one in catalog.backups):
        known[one.name] = min(known.get(one.name, one), one, key=lambda one: one.began)
    latest = max((one.read for one in catalogs if one.read is not None), default=None)
    right = [one for one in known.values() if latest is None or one.began <= latest + CLOCK_STEP]
    found = {one.name: one.began for one in right}
    for one in (one for one in known.values() if one.name not in found):
        mine = [other for other in right if other.manifest.uuid == one.manifest.uuid]
        before = [other.began for other in mine if other.manifest.seqno <= one.manifest.seqno]
        found[one.name] = max(before, default=_NEVER)
    return found


def _chain(catalog: Catalog, name: str) -> Chosen | str:
    try:
        found = catalog.chain(name)
    except ChainError as error:
        return str(error)
    problem = catalog.problem_of(name)
    return f"backup {name} in {catalog.store}: {problem}" if problem else found


def _before(backup: Backup, target: Target | None) -> bool:
    """Whether a backup ends at the target or before it."""
    if target is None:
        return True
    if target.time is not None:
        return backup.manifest.finished <= target.time
    if target.sequence is not None and target.domain is not None:
        found = sequences(backup.manifest.gtid).get(target.domain)
        return found is not None and found <= target.sequence
    return True


def _check_domain(catalogs: Sequence[Catalog], target: Target | None) -> None:
    """Raise Refused where the point is of a domain of which no backup has a transaction."""
    known = {domain for catalog in catalogs for one in catalog.backups for domain in sequences(one.manifest.gtid)}
    if target is not None and target.domain is not None and known and target.domain not in known:
        allowed = ", ".join(map(str, sorted(known)))
        raise Refused(f"{target.named}; allowed: a GTID of domain {allowed}, as the backups have")


def _names(catalogs: Sequence[Catalog], backup: str, increment: str) -> set[str]:
    """The names of the backups with which a wanted chain may end."""
    known = {name for catalog in catalogs for name in (*catalog.by_name, *catalog.broken)}
    if backup != LATEST and backup not in known:
        raise Refused(f"SOURCE_BACKUP is '{backup}', which {_absent(catalogs, backup)}; allowed: {some(known)}")
    if increment not in (LATEST, NONE) and increment not in known:
        raise Refused(
            f"SOURCE_INCREMENT is '{increment}', which {_absent(catalogs, increment)}; allowed: {NONE}, {some(known)}"
        )
    fulls = {name for name in known if name.endswith("-full")}
    if backup != LATEST and backup not in fulls:
        if increment not in (LATEST, NONE, backup):
            raise Refused(f"SOURCE_BACKUP is the increment {backup} and SOURCE_INCREMENT is {increment}; name one")
        return {backup}
    if increment == NONE:
        return fulls if backup == LATEST else {backup}
    wanted = known if increment == LATEST else {increment}
    if backup == LATEST:
        return wanted
    mine = _increments_of(catalogs, backup, known) & wanted
    if not mine:
        allowed = f"{NONE}, {some(_increments_of(catalogs, backup, known) - {backup})}"
        raise Refused(f"SOURCE_INCREMENT is '{increment}', which does not hang on {backup}; allowed: {allowed}")
    return mine


def _named(backup: str, increment: str) -> str:
    """The name with which the chain is to end, empty where it is the newest."""
    return next((one for one in (increment, backup) if one not in (LATEST, NONE)), "")


def _gone(catalogs: Sequence[Catalog], backup: str, increment: str) -> bool:
    """Whether one of the names is that of a backup which is not there."""
    known = {name for catalog in catalogs for name in (*catalog.by_name, *catalog.broken)}
    lost = [one for one in (backup, increment) if one not in (LATEST, NONE, *known)]
    return bool(lost) and all(parse_name(one) is not None for one in lost)


def _older(catalogs: Sequence[Catalog], backup: str, increment: str) -> set[str]:
    """Names of the backups that are older than the one that is named, of its history where that is known."""
    limit = _named(backup, increment)
    uuid = history(catalogs, limit)
    known = {name for catalog in catalogs for name in (*catalog.by_name, *catalog.broken)}
    found = {name for name in known if name < limit and (not uuid or history(catalogs, name) in ("", uuid))}
    return {name for name in found if name.endswith("-full")} if increment == NONE else found


def _increments_of(catalogs: Sequence[Catalog], full: str, known: set[str]) -> set[str]:
    """Names of the backups that hang on a full one, with it, and of those that may: their chain cannot be followed.

    The latter were begun after it, and before the next full one.
    """
    following = min((name for name in known if name.endswith("-full") and name > full), default="")
    uuid = history(catalogs, full)
    found = set()
    for name in known:
        ends = {_end_of(catalog, name) for catalog in catalogs}
        between = name > full and (not following or name < following)
        lost = not any(end.endswith("-full") for end in ends) and history(catalogs, name) in ("", uuid)
        if full in ends or (between and lost):
            found.add(name)
    return found


def _end_of(catalog: Catalog, name: str) -> str:
    """The full backup at the beginning of a chain, or the link from which on it cannot be followed."""
    seen = name
    while (found := catalog.by_name.get(seen)) is not None and found.manifest.parent is not None:
        seen = found.manifest.parent
    return seen


def _absent(catalogs: Sequence[Catalog], name: str) -> str:
    return "is incomplete" if any(name in catalog.incomplete for catalog in catalogs) else "is not there"


def some(names: set[str]) -> str:
    """What may be named, the newest of them, as a phrase."""
    newest = sorted(names)[-10:]
    return ", ".join([LATEST, *newest]) + (f" and {len(names) - len(newest)} older ones" if len(names) > 10 else "")
