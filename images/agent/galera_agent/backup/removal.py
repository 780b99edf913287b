# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes after a backup: in each target what has expired, backups and segments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from . import catalog, cleanup, expiry, retention, targets
from .catalog import Catalog, Owner
from .segment import SegmentError
from .settings import KEEP_ALL, Retention
from .store import Store, StoreError

# So many segments that cannot be used are named; others are most likely the same
_TOLD = 5


def let_expire(
    stores: Sequence[Store], owner: Owner, rule: Retention, say: Callable[[str], None]
) -> tuple[dict[str, str], list[Catalog]]:
    """Delete what has expired; returns what went wrong, by target: a backup that was made stays made; and what is left.

    All manifests are read anew, since a backup may take long, and what is deleted hangs on what is good.
    """
    errors: dict[str, str] = {}
    left: dict[str, Catalog] = {}

    def one(store: Store, beat: targets.Beat) -> None:
        try:
            _let_expire_in(targets.heard(store, beat), rule, owner, say, errors, left)
        except (StoreError, SegmentError) as error:
            errors[store.label] = f"expiry failed: {error}"

    # The backup is there: it is not to wait for any of them without end
    _, silent = targets.together(stores, one, targets.CATALOG_SECONDS, others=True)
    # Copies: the work in those goes on, if they ever answer
    return errors | {label: str(error) for label, error in silent.items()}, list(left.values())


def _let_expire_in(
    store: Store,
    rule: Retention,
    owner: Owner,
    say: Callable[[str], None],
    errors: dict[str, str],
    left: dict[str, Catalog],
) -> None:
    """Delete what has expired in one target."""
    read = catalog.read(store)
    now = datetime.now(UTC)
    names = [name for name, _ in retention.expired(read, now, rule)]
    if rule != KEEP_ALL and (why := retention.doubt(read, now)):
        say(f"nothing expires in {store.label}: {why}")
    outcome = cleanup.prune(store, owner, read, names)
    left[store.label] = catalog.read(store, [read]) if outcome.removed else read
    gone = expiry.expire(store, left[store.label])
    if gone.problems:
        errors[store.label] = "; ".join(gone.problems[:_TOLD])
    if outcome.removed or gone.segments:
        say(f"expired in {store.label}: {', '.join(outcome.removed) or 'no backup'}, {gone.segments} segments")
    for uuid in gone.histories:
        say(f"expired in {store.label}: all segments of history {uuid}: there is no backup to replay them on")
    for what, kept in (("backups", outcome.kept), ("segments", gone.kept)):
        if kept:
            say(f"{len(kept)} {what} that have expired are kept: {kept[0]}")
