# SPDX-License-Identifier: GPL-3.0-or-later
"""One backup from beginning to end: the server's data through a pipe into every target, then the manifests.

The manifest makes the backup: before it is written there is none. What a run that was killed left behind, the next one
removes.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from ..offline import tool_version
from . import base as memory
from . import catalog, programs, targets
from .catalog import Owner
from .cleanup import sweep
from .manifest import BinlogPosition, Kind, Manifest, StoredObject, backup_name, object_key
from .pipe import Limit, Stage
from .server import Facts
from .settings import Settings
from .store import SilentError, Store, StoreError
from .stream import Sent, send
from .tee import Tee

# Longer than another leader can be at work after it lost its Lease.
_LEFT_BEHIND = timedelta(minutes=1)
# A target may be waited for as long as this part of the deadline, so that the other one can still come to its end
_PATIENT = 4
# Galera's cache of write-sets, which is no part of a backup
_NOT_BACKED_UP = ("galera.cache", "gcache.page")
_GALERA = re.compile(r"Writing Galera info succeeded with ([0-9a-f-]{36}):(\d+)")
_BINLOG = re.compile(r"filename '([^']+)', position '(\d+)'(?:, GTID of the last change '([^']*)')?")


class BackupError(Exception):
    """No backup was made; the text says why."""


@dataclass(frozen=True)
class Node:
    """Where the backup is taken: pod, socket and data directory of its server."""

    pod: str
    socket: Path
    datadir: Path


@dataclass(frozen=True)
class Points:
    """What mariadb-backup says of a finished backup."""

    uuid: str
    seqno: int
    gtid: str
    lsn_from: int
    lsn_to: int
    server_version: str
    binlog: BinlogPosition | None


@dataclass(frozen=True)
class Result:
    """A backup that is in at least one target. failures: by label of a target, why it is not there.

    silent: those of them that do not answer.
    """

    manifest: Manifest
    failures: dict[str, str]
    parent_of_none: str = ""
    silent: frozenset[str] = frozenset()


def run(
    settings: Settings,
    stores: Sequence[Store],
    node: Node,
    facts: Facts,
    parent: Manifest | None,
    limit: Limit,
    say: Callable[[str], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    source: Callable[[Path, Path, Path, int | None], Stage] = programs.mariadb_backup,
    catalogs: Sequence[catalog.Catalog] = (),
) -> Result:
    """Take one backup: an increment on a parent, or a full one. catalogs: of the stores, where they were just read.

    Raises BackupError, StreamError, StoreError or OSError; then no target has it.
    """
    started = now().replace(microsecond=0)
    kind: Kind = "full" if parent is None else "incremental"
    name = backup_name(started, kind)
    owner = Owner(settings.cluster, settings.namespace, _known(facts), started)

    def prepare(store: Store, beat: targets.Beat) -> bool:
        place = targets.heard(store, beat)
        catalog.claim(place, owner)
        clean(place, owner, now(), say, timedelta(seconds=settings.deadline_seconds), catalogs)
        return any(place.list(object_key(name, "")))

    failures: dict[str, StoreError] = {}
    patience = min(targets.BACKUP_SECONDS, settings.deadline_seconds / _PATIENT)
    taken, why = targets.together(stores, prepare, patience)
    failures |= why
    for label in (label for label, there in taken.items() if there):
        raise BackupError(f"{name} is there already in {label}: a clock was set back, or is behind another's")
    ready = [store for store in stores if store.label not in failures]
    if not ready:
        raise StoreError("; ".join(map(str, failures.values())))
    base = memory.open_base(node.datadir, node.pod)
    if parent is not None and parent.name not in base.backups:
        raise BackupError(f"no increment on {parent.name}: this data directory is not the one it was taken from")
    say(f"takes {name}" + (f" on {parent.name}" if parent else ""))
    scratch = Path(tempfile.mkdtemp(prefix="galera-backup-"))
    try:
        lsn_dir = scratch / "points"
        lsn_dir.mkdir()
        stage = source(node.socket, node.datadir, lsn_dir, None if parent is None else parent.lsn_to)
        key = object_key(name, "backup.xb" + (programs.ENCRYPTED if settings.recipients else programs.SUFFIX))
        sent, points, there, failed = _stream(
            settings, ready, stage, key, lsn_dir, limit, patience, scratch, _data_bytes(node.datadir)
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    manifest = Manifest(
        name=name,
        kind=kind,
        parent=None if parent is None else parent.name,
        parent_digest=None if parent is None else parent.digest,
        cluster=settings.cluster,
        namespace=settings.namespace,
        uuid=points.uuid,
        seqno=points.seqno,
        gtid=points.gtid,
        lsn_from=points.lsn_from,
        lsn_to=points.lsn_to,
        base=base.id,
        server_version=points.server_version,
        tool_version=_version(tool_version()),
        node=node.pod,
        started=started,
        finished=now().replace(microsecond=0),
        compression="zstd",
        encryption="age" if settings.recipients else None,
        recipients=settings.recipients,
        objects=(StoredObject(key, sent.size, sent.sha256),),
        data_bytes=sent.data_bytes,
        binlog=points.binlog,
    )
    _check(manifest, parent, facts)
    failures |= failed
    _, why = targets.together(there, lambda store, _: _publish(store, manifest), patience)
    failures |= why
    if len(failures) == len(stores):
        raise StoreError("; ".join(map(str, failures.values())))
    silent = frozenset(label for label, error in failures.items() if isinstance(error, SilentError))
    said = {label: str(error) for label, error in failures.items()}
    return _remember(node, base, Result(manifest, said, silent=silent))


def clean(
    store: Store,
    owner: Owner,
    now: datetime,
    say: Callable[[str], None],
    deadline: timedelta,
    catalogs: Sequence[catalog.Catalog] = (),
) -> None:
    """Remove the halves of backups that nobody is writing any more. Raises StoreError.

    deadline: of what writes to the store. The archive may do so at this moment.
    """
    gone = sweep(store, owner, catalog.read(store, catalogs), now, _LEFT_BEHIND, deadline=deadline)
    if gone.removed:
        say(f"removed what backups that did not end left in {store.label}: {', '.join(gone.removed)}")


def read_points(directory: Path, messages: str) -> Points:
    """Read what mariadb-backup left in --extra-lsndir and said. Raises BackupError where something is missing."""
    points = _fields(directory, ("mariadb_backup_checkpoints", "xtrabackup_checkpoints"))
    info = _fields(directory, ("mariadb_backup_info", "xtrabackup_info"))
    galera = _GALERA.search(messages)
    if galera is None:
        raise BackupError("mariadb-backup told no position of Galera; is wsrep_on ON?")
    lsns = [points.get("from_lsn", ""), points.get("to_lsn", "")]
    if not all(lsn.isdigit() for lsn in lsns) or not info.get("server_version"):
        raise BackupError("mariadb-backup told no LSNs or no version of the server")
    binlog = _BINLOG.search(info.get("binlog_pos", ""))
    return Points(
        uuid=galera.group(1),
        seqno=int(galera.group(2)),
        gtid=(binlog.group(3) or "").replace(" ", "") if binlog else "",
        lsn_from=int(lsns[0]),
        lsn_to=int(lsns[1]),
        server_version=info["server_version"],
        binlog=BinlogPosition(binlog.group(1), int(binlog.group(2))) if binlog else None,
    )


def _stream(
    settings: Settings,
    stores: Sequence[Store],
    stage: Stage,
    key: str,
    lsn_dir: Path,
    limit: Limit,
    patience: float,
    scratch: Path,
    expected: int,
) -> tuple[Sent, Points, list[Store], dict[str, StoreError]]:
    """The data into all targets; returns also the targets that have them, and why others do not."""
    stages = [stage, *programs.pack(settings.zstd_level, settings.recipients)]
    with Tee({store.label: partial(store.writer, key, expected) for store in stores}, limit, patience) as tee:
        sent = send(stages, tee, scratch, limit, rate=settings.bandwidth_bytes)
        points = read_points(lsn_dir, sent.messages[0])
        there = tee.commit()
    return sent, points, [store for store in stores if store.label in there], tee.failures


def _publish(store: Store, manifest: Manifest) -> None:
    """Put the manifest, with which the backup is there. Raises StoreError; then it is not."""
    for one in manifest.objects:
        # While this node stood still another one may have led, and removed it as left behind
        store.written(one.key)
    try:
        store.put(manifest.key, manifest.to_json())
    except StoreError:
        # Only the answer may have been lost
        with suppress(StoreError):
            if store.get(manifest.key) == manifest.to_json():
                return
        raise


def _data_bytes(datadir: Path) -> int:
    """About what a full backup may have at most: the files of the server that are part of one."""
    found = 0
    for parent, _, names in os.walk(datadir):
        for name in names:
            if not name.startswith(_NOT_BACKED_UP):
                with suppress(OSError):
                    found += os.lstat(os.path.join(parent, name)).st_size
    return found


def _check(manifest: Manifest, parent: Manifest | None, facts: Facts) -> None:
    problems = list(manifest.contradictions())
    if manifest.uuid != facts.uuid:
        problems.append(f"the cluster was {facts.uuid} when it began, and {manifest.uuid} when it ended")
    if parent is not None and manifest.lsn_from != parent.lsn_to:
        problems.append(f"it begins at LSN {manifest.lsn_from}, and {parent.name} ends at {parent.lsn_to}")
    if problems:
        raise BackupError(f"{manifest.name} is not usable: {'; '.join(problems)}")


def _remember(node: Node, base: memory.Base, result: Result) -> Result:
    try:
        memory.remember(node.datadir, base, result.manifest.name)
    except (ValueError, OSError) as error:
        return replace(result, parent_of_none=str(error))
    return result


def _known(facts: Facts) -> str:
    if facts.problem is not None or facts.uuid is None:
        raise BackupError(f"no backup of this node now: {facts.problem or 'it is in no cluster'}")
    return facts.uuid


def _fields(directory: Path, names: Sequence[str]) -> dict[str, str]:
    for name in names:
        try:
            text = (directory / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            continue
        return dict(re.findall(r"^(\w+) = (.*?)[ \t]*$", text, re.MULTILINE))
    raise BackupError(f"mariadb-backup left no {names[0]}")


def _version(text: str) -> str:
    found = re.search(r"MariaDB server (\S+)", text)
    if found is None:
        raise BackupError(f"mariadb-backup does not tell its version: it printed '{text.strip()[:200]}'")
    return found.group(1)
