# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of archived segments: those that no backup needs any more are deleted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from . import binlog_events, fork
from .catalog import Catalog
from .segment import Segment, SegmentError
from .store import BINLOGS, LockedError, Store

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/")
# A segment's document or object: what both begin with, and how it goes on
_PART = re.compile(
    rf"(?P<stem>{BINLOGS}[^/]+/\d{{8}}/\d{{20}}-(?P<last>\d{{20}})-[A-Za-z0-9][A-Za-z0-9._-]*?)(\.json|\.zst|\.zst\.age)"
)


@dataclass
class Expired:
    """What expire did. segments: how many went. problems: one sentence for each document that cannot be read.

    kept: one sentence for each segment that the target does not let go. histories: uuids of which all went.
    """

    segments: int = 0
    problems: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    histories: list[str] = field(default_factory=list)


def expire(store: Store, read: Catalog) -> Expired:
    """Delete the segments that no backup needs: all they hold is in the oldest one, or their history has no backup.

    A segment whose document cannot be read stays, and the last one of a history: the archive goes on from there. Of the
    present history nothing goes without a backup, and of others nothing while there are backups that cannot be read,
    which may be theirs; nor what may be replayed on such a one that is older. Where the cluster has gone back, segments
    are of use only to the backups from before. Raises StoreError.
    """
    done = Expired()
    known = {one.manifest.uuid for one in read.backups}
    for uuid in sorted(known):
        mine = [one.manifest for one in read.backups if one.manifest.uuid == uuid]
        if older := [name for name in read.broken if name < mine[0].name]:
            done.problems.append(f"{older[0]} cannot be used, so the segments stay that may be replayed on it")
            continue
        try:
            gone_back = fork.read(store, uuid)
        except SegmentError as error:
            done.problems.append(f"{fork.key_of(uuid)} cannot be used, so all segments of {uuid} stay: {error}")
            continue
        before = [one for one in mine if gone_back is None or one.finished <= gone_back.since]
        if before:
            _expire_held(store, uuid, [one.gtid for one in before], done)
        elif not read.broken:
            _expire_history(store, uuid, done)
    if read.owner is None or read.broken:
        return done
    for name in store.children(BINLOGS):
        uuid = name.rstrip("/")
        if _UUID.fullmatch(name) and uuid not in known | {read.owner.uuid}:
            _expire_history(store, uuid, done)
    return done


def _expire_held(store: Store, uuid: str, gtids: Sequence[str], done: Expired) -> None:
    """Delete what the oldest of a history's backups holds. gtids: of its backups."""
    # By domain: the last sequence that the oldest backup holds
    held: dict[int, int] = {}
    gone: list[tuple[int, list[str]]] = []
    halves: list[tuple[int, list[str]]] = []
    newest = 0
    matches = (match for key in store.keys(f"{BINLOGS}{uuid}/") if (match := _PART.fullmatch(key)))
    for _, parts in groupby(matches, key=itemgetter("stem")):
        found = list(parts)
        last, keys = int(found[0]["last"]), [one.group() for one in found]
        if not keys[0].endswith(".json"):
            halves.append((last, keys))
            continue
        newest = max(newest, last)
        if held and last > max(held.values()):
            continue
        try:
            document = Segment.from_json(store.get(keys[0]))
            if document.key != keys[0]:
                raise SegmentError(f"it is the document of {document.key}")
        except SegmentError as error:
            done.problems.append(f"{keys[0]} cannot be used, so its segment stays: {error}")
            continue
        if document.domain not in held:
            held[document.domain] = min(binlog_events.sequence_of(one, document.domain) for one in gtids)
        if last <= held[document.domain]:
            gone.append((last, [keys[0], document.object.key]))
    # What an archive or an expiry that was killed has left: of which domain it is nothing tells
    gone += [one for one in halves if held and one[0] <= min(held.values())]
    for last, keys in gone:
        if last < newest:
            _delete(store, keys, done)


def _expire_history(store: Store, uuid: str, done: Expired) -> None:
    """Delete all segments of a history that there is no backup to replay on, and what is known of its end.

    Also of those of which the archive or an expiry that was killed has left only a part.
    """
    there = sorted(store.keys(f"{BINLOGS}{uuid}/"))
    named = [(match["stem"], match.group()) for match in map(_PART.fullmatch, there) if match]
    kept = len(done.kept)
    for _, parts in groupby(sorted(named), key=itemgetter(0)):
        _delete(store, [key for _, key in parts], done)
    if len(done.kept) == kept and (named or fork.key_of(uuid) in there):
        try:
            store.delete(fork.key_of(uuid))
            done.histories.append(uuid)
        except LockedError as error:
            done.kept.append(str(error))


def _delete(store: Store, keys: Iterable[str], done: Expired) -> None:
    """Delete a segment, its document first, unless the target keeps it."""
    try:
        for key in keys:
            store.delete(key)
    except LockedError as error:
        done.kept.append(str(error))
    else:
        done.segments += 1
