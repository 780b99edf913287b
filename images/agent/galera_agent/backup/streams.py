# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores from a store of streams: downloads, decrypts, decompresses and unpacks in one pipe, beside the data's place.

The first backup of a chain is unpacked where the data directory is made, so that nothing is copied twice; increments
are unpacked beside it, one at a time.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from .. import chain as directories
from .. import offline
from ..chain import Refused
from ..sources import TARGET_EXTRA, TEMP_EXTRA, beside
from . import catalog, points, programs, recovery, selection, settings
from .document import to_time
from .manifest import StoredObject
from .pipe import Limit
from .recovery import Step, Target, TargetError
from .replay import replay
from .segment import Segment, SegmentError
from .selection import Chosen
from .store import Store, StoreError, open_stores
from .stream import CorruptError, checked, receive
from .volume_store import VolumeStore

if TYPE_CHECKING:
    from ..restore import Plan

IDENTITY = "age-identity"
# So many of the segments that cannot be used are named
_NAMED = 3
# Progress is told in steps of so many percent
_STEP = 10


class Streams:
    """One chain of a store, and what is replayed after it.

    tell: gets how far the chain is unpacked, else log does. read: what the store holds, for a replay.
    """

    def __init__(
        self,
        store: Store,
        chosen: Chosen,
        steps: Sequence[Step],
        target: Target | None,
        identity: Path,
        log: Callable[[str], None],
        limit: Limit | None = None,
        tell: Callable[[str], None] | None = None,
        read: catalog.Catalog | None = None,
    ) -> None:
        self._store, self._backups, self._steps, self._target = store, chosen, steps, target
        self._identity, self._log, self._limit = identity, log, limit or Limit()
        self._progress = _Progress(sum(one.manifest.size for one in chosen), tell or log)
        self._read, self._version = read, ""
        self._damaged: dict[str, str] = {}
        self.warning = ""

    @property
    def identity(self) -> list[list[str]]:
        """Names and digests of the manifests, and the point."""
        found = [[one.name, one.manifest.digest] for one in self._backups]
        return found if self._target is None else [*found, [_point(self._target, self._steps), ""]]

    @property
    def until(self) -> str:
        """When the last backup ended."""
        return f"{to_time(self._backups[-1].manifest.finished)}, in {self._store.label}"

    @property
    def label(self) -> str:
        """Of the store."""
        return self._store.label

    @property
    def reach(self) -> int:
        """The last sequence that is replayed, 0 where nothing is."""
        return self._steps[-1].segment.last if self._steps else 0

    def elsewhere(self, stores: Sequence[Store]) -> str:
        """Which of these has an archive that goes on further from the last backup, or may have, in a sentence.

        By the keys: whether it, or what is archived there, can be restored or not. Empty where none has.
        """
        for store in stores:
            try:
                further = points.archived(store, self._backups[-1].manifest)
            except StoreError as error:
                return f"{error}: how far its archive goes is not known"
            if further > self.reach:
                name = self._backups[-1].name
                return (
                    f"the archive in {store.label} goes on to transaction {further}, that of {name} in {self.label} not"
                )
        return ""

    def check(self, version: str) -> None:
        """Versions, also of what is replayed, and the key. Raises Refused."""
        self._version = version
        self._check(version, self._steps)

    def _check(self, version: str, steps: Sequence[Step]) -> None:
        mine = directories.series(version.partition("MariaDB server")[2])
        wanted = [(f"backup {one.name}", one.manifest.server_version) for one in self._backups]
        wanted += [(step.segment.key, step.segment.server_version) for step in steps]
        for what, written in wanted:
            theirs = directories.series(written)
            if mine is None or theirs is None or theirs > mine:
                raise Refused(
                    f"{what} is of MariaDB {written}, this image has {version.strip()[:100]}; "
                    "allowed: an image of that version or newer"
                )
        encrypted = {recipient for one in self._backups for recipient in one.manifest.recipients}
        encrypted |= {recipient for step in steps for recipient in step.segment.recipients}
        if encrypted:
            check_key(self._identity, [one.manifest.recipients for one in self._backups if one.manifest.encryption])
            check_key(self._identity, [step.segment.recipients for step in steps if step.segment.encryption])

    def space(self) -> tuple[int, int]:
        """At least so much in the target, where one increment at a time is unpacked as well; little in the other one.

        How much of an increment, or of what is replayed, are pages that were there before is not known.
        """
        full, *increments = (one.manifest.data_bytes for one in self._backups)
        return TEMP_EXTRA, full + max(increments, default=0) + TARGET_EXTRA

    def build(self, fresh: Path, work: Path, tools: offline.Tools) -> dict[str, str]:
        """Unpack and prepare. Raises CorruptError, StreamError, StoreError, StepError or OSError."""
        full, *increments = self._backups
        self._unpack(full, fresh)
        layout = offline.read_layout(fresh)
        tools.prepare(fresh, None, full.name)
        # On the same file system: files are moved from one to the other.
        delta = beside(fresh)
        for one in increments:
            self._unpack(one, delta)
            tools.prepare(fresh, delta, one.name)
            shutil.rmtree(delta)
        for one in self._backups:
            # The copy of the binary log that is part of a backup belongs to the old server.
            if one.manifest.binlog is not None:
                (fresh / one.manifest.binlog.file).unlink(missing_ok=True)
        return layout

    def replay(self, fresh: Path, options: Sequence[str], tools: offline.Tools) -> bool:
        """Replay the archive up to the point; returns whether there is anything to replay. Raises as build does."""
        if not self._steps or self._target is None:
            return False
        # The end of the archive is that of the choice, whatever is archived meanwhile
        target = Target(sequence=self.reach) if self._target == Target() else self._target
        store, key, instead = self._store, self._identity, partial(self._instead, target)
        with tools.serving(fresh, options) as socket, tempfile.TemporaryDirectory(dir=socket.parent) as scratch:
            last = replay(self._steps, target, store, key, socket, Path(scratch), self._limit, self._log, instead)
        self._log(f"replayed the transactions up to {last}")
        return True

    def _instead(self, target: Target, damaged: Segment, why: str) -> Sequence[Step]:
        """The steps to a point without a segment, and without those before. Raises CorruptError, StoreError."""
        self._damaged[damaged.key] = why
        try:
            steps = points.steps(self._store, self._backups, target, self._read, self._log, self._damaged)
            self._check(self._version, steps)
        except (TargetError, SegmentError, Refused) as error:
            raise CorruptError(str(error) if why in str(error) else f"{why}; {error}") from None
        return steps

    def _unpack(self, backup: catalog.Backup, into: Path) -> None:
        manifest = backup.manifest
        into.mkdir(mode=0o700)
        self._log(f"unpacks {manifest.name}: {manifest.size / 2**20:.1f} MiB of {self._store.label}")
        stages = [
            *programs.unpack(manifest.encryption is not None, self._identity),
            programs.extract(into),
        ]
        with tempfile.TemporaryDirectory() as scratch:
            receive(self._objects(manifest.objects), stages, Path(scratch), self._limit)

    def _objects(self, objects: Sequence[StoredObject]) -> Iterator[bytes]:
        for one in objects:
            with self._store.reader(one.key) as reader:
                for chunk in checked(reader, one.key, one.size, one.sha256):
                    self._progress.passed(len(chunk))
                    yield chunk


class _Progress:
    """Tells how much of so many bytes is unpacked."""

    def __init__(self, total: int, tell: Callable[[str], None]) -> None:
        self._total, self._tell = total, tell
        self._done = self._told = 0

    def passed(self, count: int) -> None:
        """So many bytes more."""
        self._done += count
        percent = 100 * self._done // max(self._total, 1)
        if percent >= self._told + _STEP:
            self._told = percent - percent % _STEP
            self._tell(f"{self._told} % of {self._total / 2**20:.1f} MiB are unpacked")


def sources(plan: Plan, log: Callable[[str], None]) -> Iterator[Streams]:
    """The chain that the plan names, in each target that has it; then, where allowed, older ones.

    Raises Refused or TargetError where there is none, StoreError where no target can be read, or one cannot that may
    have what is wanted.
    """
    stores, problems = [], []
    for store in open_targets(plan.settings, plan.store):
        try:
            stores.append((store, catalog.read(store)))
        except StoreError as error:
            problems.append(str(error))
            log(f"leaves out a target: {error}")
    if not stores:
        raise StoreError("; ".join(problems))
    without = f"{'; '.join(problems)}: what is there is not known" if problems else ""
    if without and _wants_newest(plan) and not plan.fallback:
        raise StoreError(
            f"{without}, which may be newer; name a backup, a time or a GTID, or set SOURCE_FALLBACK=true to do without"
        )
    try:
        for found in _sources(plan, stores, log):
            if without and (_wants_newest(plan) or (plan.fallback and plan.target_point is None)):
                found.warning = "; ".join(filter(None, [found.warning, f"{without}, which may be newer"]))
            yield found
    except Refused as error:
        if without:
            raise StoreError(f"{error}; {without}") from None
        raise


def _wants_newest(plan: Plan) -> bool:
    """Whether a target that cannot be read may have what is newer than all that is known."""
    if plan.target_point is not None:
        return plan.target_point == Target()
    full = plan.backup == directories.LATEST or plan.backup.endswith("-full")
    newest = plan.backup if plan.increment == directories.NONE else plan.increment
    return full and newest == directories.LATEST


def _sources(
    plan: Plan, stores: Sequence[tuple[Store, catalog.Catalog]], log: Callable[[str], None]
) -> Iterator[Streams]:
    read = [catalog for _, catalog in stores]
    reasons: list[str] = []
    best: dict[str, str] = {}
    found_one = False
    wanted = selection.candidates(read, plan.backup, plan.increment, plan.target_point, fallback=plan.fallback)
    for name, copies in groupby(wanted, key=itemgetter(0)):
        history = selection.history(read, name)
        if best and name not in best.values() and not plan.fallback:
            # Another target's copy of the same backup is as good; an older backup is other data. A time may lie in
            # another history than the present one, which a restore began.
            timed = plan.target_point is not None and plan.target_point.time is not None
            if found_one or not timed or history in best:
                continue
        # A point is the same from wherever it is reached: what cannot be read is not missed for it.
        if history or plan.target_point in (None, Target()):
            best.setdefault(history, name)
        tried = (_source(plan, stores, name, candidate, log) for _, candidate in copies)
        for found in _copies(plan, tried, [store for store, _ in stores]):
            if isinstance(found, str):
                reasons.append(found)
                continue
            for reason in reasons[:10]:
                log(f"falls back: {reason}")
            reasons = []
            if warning := _other_history(read, name):
                found.warning = warning
                log(f"WARNING: {warning}")
            found_one = True
            yield found
    if reasons or not best:
        raise Refused(_nothing(reasons, stores, plan.target_point))


def _copies(plan: Plan, found: Iterator[Streams | str], stores: Sequence[Store]) -> Iterator[Streams | str]:
    """The copies of one backup in the order in which they count.

    For the end of the archive the one that goes on furthest: a target may have been away for a while, and what ends
    earlier is other data. That holds where the one that goes on further is damaged, too.
    """
    if plan.target_point != Target():
        yield from found
        return
    good: list[Streams] = []
    for one in found:
        if isinstance(one, str):
            yield one
        else:
            good.append(one)
    if not good:
        return
    good.sort(key=lambda one: one.reach, reverse=True)
    best, labels = good[0], {one.label for one in good}
    if why := best.elsewhere([store for store in stores if store.label not in labels]):
        yield why if plan.fallback else f"{why}; set SOURCE_FALLBACK=true to do without"
    if plan.fallback or not why:
        yield from (one for one in good if plan.fallback or one.reach == best.reach)


def _other_history(read: Sequence[catalog.Catalog], name: str) -> str:
    """That a backup is not of the present history, in a sentence; empty where the stores do not say which that is."""
    present, history = selection.present(read), selection.history(read, name)
    if present in ("", history):
        return ""
    good = [one.name for each in read for one in each.backups if one.manifest.uuid == present]
    there = f"; of the present one there is {max(good)}" if good else "; of the present one there is no backup yet"
    return (
        f"{name} is of another history (uuid {history}) than the present one (uuid {present}), which a restore or its "
        f"undoing began: what was written in the present one is not in it{there}"
    )


def _source(
    plan: Plan,
    stores: Sequence[tuple[Store, catalog.Catalog]],
    name: str,
    candidate: Chosen | str,
    log: Callable[[str], None],
) -> Streams | str:
    """The source of a chain, or why it cannot be restored."""
    if isinstance(candidate, str):
        return candidate
    store, read = next(one for one in stores if one[0].label == candidate[-1].store)
    try:
        steps = points.steps(store, candidate, plan.target_point, read, log)
    except (TargetError, SegmentError, StoreError) as error:
        return f"{name} in {store.label}: {error}"
    return Streams(store, candidate, steps, plan.target_point, plan.keys / IDENTITY, log, read=read)


def open_targets(file: Path, volume: Path) -> list[Store]:
    """The targets of the settings, or a mounted volume where there are none. Raises SettingsError, StoreError."""
    if not file.exists():
        return [VolumeStore(volume)]
    return open_stores(settings.load(file))


def check_key(identity: Path, needed: Sequence[Sequence[str]]) -> None:
    """Raise Refused unless the key opens everything that is encrypted for these recipients."""
    if not identity.exists():
        raise Refused(f"the backup is encrypted, and there is no key {identity}")
    done = subprocess.run(["age-keygen", "-y", str(identity)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"{identity} holds no age key: {done.stderr.strip()[:200]}")
    mine = set(done.stdout.split())
    for recipients in needed:
        if not mine & set(recipients):
            raise Refused(
                f"the key {identity} is that of {', '.join(sorted(mine)) or 'nobody'}, and the backup is encrypted for "
                f"{', '.join(recipients)}"
            )


def _nothing(reasons: Sequence[str], stores: Sequence[tuple[Store, catalog.Catalog]], target: Target | None) -> str:
    """Why nothing can be restored, and where a point was wanted, which points can be."""
    places = ", ".join(store.label for store, _ in stores)
    none = f"there is no complete backup in {places}" if target is None else ""
    text = "; ".join(reasons[:5]) or none or "no backup ended at the wanted point or before it"
    if target is None:
        return text
    words = []
    for store, read in stores:
        try:
            known = points.known(store, read)
            nearest = recovery.nearest(known.intervals, target, known.domain)
            words.append("; ".join([f"{store.label}: {nearest}", *known.unusable[:_NAMED]]))
        except (StoreError, SegmentError) as error:
            words.append(f"{store.label}: the archive of binary logs cannot be read: {error}")
    return "; ".join(filter(None, [target.named, text, *words]))


def _point(target: Target, steps: Sequence[Step]) -> str:
    if target.time is not None:
        return f"time {to_time(target.time)}"
    if target.sequence is not None:
        return f"transaction {target.sequence}"
    return f"transaction {steps[-1].segment.last}" if steps else "the end of the backup"
