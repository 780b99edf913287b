# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete from a store: backups that have expired, and what unfinished ones left behind. Nothing else deletes there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .catalog import Catalog, Owner, check_owner
from .manifest import manifest_key, parse_name
from .store import BACKUPS, LockedError, MissingError, Store, is_key


@dataclass
class Outcome:
    """removed: backups, or leftovers. kept: one sentence for each thing that the target did not let go."""

    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def prune(store: Store, owner: Owner, catalog: Catalog, names: Iterable[str]) -> Outcome:
    """Remove backups of a catalog, in this order, that of retention.expired. Raises StoreError, OwnerError.

    The manifest goes first: whatever interrupts it, what is left is an incomplete backup, which sweep() removes. Where
    the target keeps a manifest (object lock), the backup stays whole, and all that it hangs on.
    """
    check_owner(store, owner)
    outcome = Outcome()
    needed: set[str | None] = set()
    for name in names:
        parent = catalog.by_name[name].manifest.parent
        try:
            if name in needed:
                raise LockedError(f"{store.label} keeps {name}: a locked increment hangs on it")
            store.delete(manifest_key(name))
        except LockedError as error:
            outcome.kept.append(str(error))
            needed.add(parent)
            continue
        _remove_rest(store, name, outcome)
        outcome.removed.append(name)
    return outcome


def sweep(
    store: Store,
    owner: Owner,
    catalog: Catalog,
    now: datetime,
    older_than: timedelta,
    in_use: Iterable[str] = (),
    deadline: timedelta | None = None,
) -> Outcome:
    """Remove incomplete backups that were begun longer ago than that, and unfinished objects longer than the deadline.

    catalog: of this store, read after in_use (names of backups in the making) was. deadline: how long somebody else may
    be writing an object, as the archive does; None where nobody does. Broken backups and foreign objects stay. Raises
    StoreError, OwnerError.
    """
    check_owner(store, owner)
    outcome = Outcome(removed=list(store.clean(older_than + (deadline or timedelta(0)), now)))
    for name in catalog.incomplete:
        named = parse_name(name)
        left = named is not None and now - named[0] > older_than and name not in set(in_use)
        if left and not _has_manifest(store, name):
            kept = len(outcome.kept)
            _remove_rest(store, name, outcome)
            outcome.removed += [name] if len(outcome.kept) == kept else []
    return outcome


def _has_manifest(store: Store, name: str) -> bool:
    """Ask for it by its key: listings of some stores lag behind what was just written."""
    try:
        store.get(manifest_key(name))
    except MissingError:
        return False
    return True


def _remove_rest(store: Store, name: str, outcome: Outcome) -> None:
    """Remove all objects of a backup that has no manifest. What is no key is nobody's of ours, and a problem."""
    for entry in [one for one in store.list(f"{BACKUPS}{name}/") if is_key(one.key)]:
        try:
            store.delete(entry.key)
        except LockedError as error:
            outcome.kept.append(str(error))
