# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups for tests: manifests that fit each other, catalogs of them, and settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from galera_agent.backup.catalog import Backup, Catalog, Owner
from galera_agent.backup.manifest import BinlogPosition, Manifest, StoredObject, Verification, backup_name, object_key
from galera_agent.backup.segment import Segment, stem
from galera_agent.backup.store import Store

UUID = "b92a5059-e57e-11f1-93a7-c7172da62f24"
OTHER_UUID = "4e3859e0-e57e-11f1-ad1c-5a92418baf7f"
BASE = "0123456789abcdef0123456789abcdef"
CONTENT = b"a stream" * 100
OWNER = Owner("n", "ns", UUID, datetime(2026, 1, 1, tzinfo=UTC))

SETTINGS: dict[str, Any] = {
    "format": 1,
    "cluster": "n",
    "namespace": "ns",
    "size": 3,
    "volume": "/backups",
    "s3": {
        "bucket": "backups",
        "prefix": "n",
        "endpoint": "https://s3.example.com:9000",
        "region": None,
        "ca": None,
        "path_style": True,
        "sse": None,
        "kms_key": None,
        "object_lock": {"mode": "GOVERNANCE", "days": 7},
    },
    "schedule": "0 1 * * *",
    "incremental_interval_seconds": 3600,
    "max_chain": 24,
    "deadline_seconds": 21600,
    "retention": {
        "days": 7,
        "keep_last": None,
        "rule": {"all_days": 7, "alternate_until_days": 30, "weekly_until_days": 365},
    },
    "binlog_interval_seconds": 30,
    "verify_schedule": "30 3 * * sun",
    "recipients": ["age1" + "q" * 58],
    "zstd_level": 1,
    "bandwidth_bytes": None,
}


def settings_json(**changes: Any) -> str:
    """backup.json with some of its top fields changed."""
    return json.dumps({**SETTINGS, **changes})


def at(text: str) -> datetime:
    """A time in UTC, `2026-11-21 01:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def full(started: datetime, lsn: int = 1000, **changes: Any) -> Manifest:
    """The manifest of a full backup with one object, CONTENT."""
    name = changes.pop("name", backup_name(started, "full"))
    plain = Manifest(
        name=name,
        kind="full",
        parent=None,
        parent_digest=None,
        cluster="n",
        namespace="ns",
        uuid=UUID,
        seqno=7,
        gtid="0-1-7",
        lsn_from=0,
        lsn_to=lsn,
        base=BASE,
        server_version="11.8.6-MariaDB-log",
        tool_version="11.8.6",
        node="n-galera-2",
        started=started,
        finished=started + timedelta(minutes=2),
        compression="zstd",
        encryption=None,
        recipients=(),
        objects=(StoredObject(object_key(name, "backup.xb.zst"), len(CONTENT), hashlib.sha256(CONTENT).hexdigest()),),
        data_bytes=5000,
        binlog=BinlogPosition("n-bin.000003", 345),
    )
    return replace(plain, **changes)


def increment(parent: Manifest, started: datetime, **changes: Any) -> Manifest:
    """The manifest of an increment that fits its parent, and ends 10 LSNs later."""
    own = full(started, name=backup_name(started, "incremental"))
    fitting = replace(
        own,
        kind="incremental",
        parent=parent.name,
        parent_digest=parent.digest,
        lsn_from=parent.lsn_to,
        lsn_to=parent.lsn_to + 10,
        base=parent.base,
    )
    return replace(fitting, **changes)


def verification(manifest: Manifest, state: str = "passed") -> Verification:
    """The result of a trial restore of this very backup."""
    return Verification(
        name=manifest.name,
        digest=manifest.digest,
        state=state,  # type: ignore[arg-type]
        started=manifest.finished,
        finished=manifest.finished + timedelta(minutes=5),
        server_version="11.8.6-MariaDB-log",
        message="",
        tables=3,
        rows=12,
    )


def catalog(
    manifests: Iterable[Manifest],
    store: str = "volume /backups",
    failed: Iterable[str] = (),
    passed: Iterable[str] = (),
) -> Catalog:
    """A catalog of manifests, some of them verified."""
    states = {**dict.fromkeys(failed, "failed"), **dict.fromkeys(passed, "passed")}
    backups = (
        Backup(one, verification(one, states[one.name]) if one.name in states else None, store) for one in manifests
    )
    return Catalog(store, tuple(sorted(backups, key=lambda one: one.name)), owner=OWNER)


def put_segment(store: Store, manifest: Manifest, first: int, last: int, closed: datetime) -> Segment:
    """Write the sequences of domain 1 that were logged in the history of a backup, in a log that was closed then."""
    key = stem(manifest.uuid, first, last, closed, "n-galera-2", "binlog.000001")
    document = Segment(
        uuid=manifest.uuid,
        domain=1,
        first=first,
        last=last,
        earliest=closed - timedelta(minutes=9),
        latest=closed - timedelta(minutes=1),
        closed=closed,
        pod="n-galera-2",
        file="binlog.000001",
        server_version="11.8.6",
        data_bytes=100,
        encryption=None,
        recipients=(),
        object=StoredObject(f"{key}.zst", 1, "0" * 64),
    )
    store.put(document.object.key, b"x")
    store.put(document.key, document.to_json())
    return document


def put_backup(store: Store, manifest: Manifest) -> None:
    """Write a backup as an agent does, its manifest last."""
    with store.writer(manifest.objects[0].key) as writer:
        writer.write(CONTENT)
        writer.commit()
    store.put(manifest.key, manifest.to_json())
