# SPDX-License-Identifier: GPL-3.0-or-later
"""What GET /backups tells of the targets: their backups, what is wrong, and the points that can be restored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from . import points, recovery, retention, targets
from .catalog import Backup, Catalog
from .document import to_time
from .segment import SegmentError
from .settings import KEEP_ALL, Retention
from .store import Store, StoreError

# A ConfigMap holds 1 MiB; a backup takes some 400 bytes.
_MOST_BACKUPS, _MOST_PROBLEMS = 500, 50


def describe(
    stores: Sequence[tuple[Store, Catalog | str]], now: datetime, rule: Retention = KEEP_ALL
) -> dict[str, Any]:
    """The document; a text in place of a catalog is why a target cannot be read. rule: tells what will expire.

    A target that does not answer, also not what it holds of the archive, holds up no other.
    """
    known = {store.label: found for store, found in stores if isinstance(found, Catalog)}

    def work(store: Store, beat: targets.Beat) -> dict[str, Any]:
        return _target(targets.heard(store, beat), known[store.label], now, rule)

    told, silent = targets.together(
        [store for store, _ in stores if store.label in known], work, targets.CATALOG_SECONDS
    )
    wrong = {store.label: _unread(store, str(silent.get(store.label, found))) for store, found in stores}
    return {"format": 1, "time": to_time(now), "targets": [(wrong | told)[store.label] for store, _ in stores]}


def _unread(store: Store, why: str) -> dict[str, Any]:
    empty: dict[str, Any] = {name: [] for name in ("backups", "problems", "intervals", "holes", "expiring")}
    return {"target": store.label, "error": why, **empty}


def _target(store: Store, found: Catalog, now: datetime, rule: Retention) -> dict[str, Any]:
    problems = [*_unprotected(found), *found.problems]
    try:
        known = points.known(store, found)
        problems += known.unusable
        if known.broken_off is not None:
            first, last = known.broken_off
            problems.append(
                f"transactions {first} to {last} are not archived: what comes after them can be restored only "
                "from the next backup on"
            )
    except (StoreError, SegmentError) as error:
        known = points.Known()
        problems.append(f"the archive of binary logs cannot be read: {error}")
    holes = recovery.holes(known.intervals)
    return {
        "target": found.store,
        "error": None,
        "owner": None if found.owner is None else str(found.owner),
        "backups": [_backup(found, one) for one in found.backups[-_MOST_BACKUPS:]],
        "expiring": [
            {"name": name, "reason": why} for name, why in retention.expired(found, now, rule)[-_MOST_BACKUPS:]
        ],
        "incomplete": list(found.incomplete)[-_MOST_PROBLEMS:],
        "problems": problems[:_MOST_PROBLEMS],
        "domain": known.domain,
        "intervals": [_interval(one) for one in known.intervals[-_MOST_BACKUPS:]],
        "holes": [[to_time(since), to_time(until)] for since, until in holes[-_MOST_PROBLEMS:]],
    }


def _unprotected(found: Catalog) -> list[str]:
    """That all good backups are of what the cluster was before a restore."""
    good = [one.manifest for one in found.backups if not found.problem_of(one.name)]
    if found.owner is None or not good or any(one.uuid == found.owner.uuid for one in good):
        return []
    return [
        f"there is no backup of the present state of the cluster (uuid {found.owner.uuid}) yet; "
        f"the newest good one, {good[-1].name}, is of another history (uuid {good[-1].uuid})"
    ]


def _backup(catalog: Catalog, one: Backup) -> dict[str, Any]:
    manifest = one.manifest
    return {
        "name": manifest.name,
        "kind": manifest.kind,
        "parent": manifest.parent,
        "started": to_time(manifest.started),
        "finished": to_time(manifest.finished),
        "size": manifest.size,
        "data_bytes": manifest.data_bytes,
        "node": manifest.node,
        "uuid": manifest.uuid,
        "seqno": manifest.seqno,
        "gtid": manifest.gtid,
        "encrypted": manifest.encryption is not None,
        "verified": one.verified,
        "problem": catalog.problem_of(manifest.name) or None,
    }


def _interval(one: recovery.Interval) -> dict[str, Any]:
    times = {"since": to_time(one.since), "until": to_time(one.until)}
    return {"backup": one.backup, "first": one.first, "last": one.last, **times}
