# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that goes back behind what is archived of it: nothing of two histories is put together."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from backup_samples import UUID, catalog, full, put_segment
from binlog_samples import write
from galera_agent.backup import binlog as archiver
from galera_agent.backup import fork, points, segment, summary
from galera_agent.backup.binlog import Outcome
from galera_agent.backup.binlog_events import Gtid, Transaction
from galera_agent.backup.fork import Fork
from galera_agent.backup.manifest import Manifest
from galera_agent.backup.pipe import Limit
from galera_agent.backup.recovery import Target, TargetError, steps
from galera_agent.backup.segment import Segment, SegmentError
from galera_agent.backup.volume_store import VolumeStore
from test_backup_binlog import NOW, SETTINGS, Server, other, server, store
from test_backup_recovery import minute, segments

__all__ = ["other", "server", "store"]
# Seconds since 1970 at which the lost numbers come again: well after they were archived.
AGAIN = int(time.time()) + 86_400


def archive(server: Server, store: VolumeStore, pauses: list[float] | None = None) -> Outcome | str:
    def pause(seconds: float) -> None:
        if pauses is not None:
            pauses.append(seconds)

    node = archiver.inspect(server, "n-galera-0")
    found = archiver.archive(server, node, [store], SETTINGS, server.folder, Limit(60), lambda: NOW, pause=pause)
    return found[store.label]


def goes_back(server: Server, to: int) -> None:
    """It had come to a number when it was killed, and the cluster goes on with it."""
    server.last = to
    write(server.folder / server.names[-1], to, [])


def test_a_leader_that_is_behind_the_archive_says_so(server: Server, other: Server, store: VolumeStore) -> None:
    server.commit(10)
    archive(server, store)
    goes_back(other, 7)
    other.commit(2, AGAIN)
    pauses: list[float] = []
    said = archive(other, store, pauses)
    assert isinstance(said, str)
    assert said.startswith("transaction 10 is archived, and n-galera-0 has come only to 9: it lags behind, or")
    assert pauses == [1] * 10
    assert other.flushed == 0


def test_a_leader_that_has_still_to_apply_something_is_waited_for(
    server: Server, other: Server, store: VolumeStore
) -> None:
    server.commit(10)
    archive(server, store)
    other.commit(9)
    node = archiver.inspect(other, "n-galera-0")
    found = archiver.archive(
        other, node, [store], SETTINGS, other.folder, Limit(60), lambda: NOW, pause=lambda seconds: other.commit(1)
    )
    assert found == {store.label: Outcome(10, 0, 0, None)}


@pytest.mark.parametrize("rounds", [[5], [3, 2], [2, 1, 4]])
def test_numbers_that_come_again_end_the_archive(
    server: Server, other: Server, store: VolumeStore, rounds: list[int]
) -> None:
    """Also where they end with a file, and where the node was behind when it was looked at in between."""
    server.commit(10)
    archive(server, store)
    goes_back(other, 7)
    for count in rounds:
        other.commit(count, AGAIN)
        said = archive(other, store)
        other.rotate()
    assert isinstance(said, str)
    assert "the cluster has gone back behind what is archived: transaction " in said
    assert "when 10 was archived; nothing is archived until" in said
    assert [(one.first, one.last) for one in segment.spans(store, UUID)] == [(1, 10)]
    # It is kept in mind when the logs that told of it have gone.
    other.rotate()
    other.purge()
    other.commit(3, AGAIN)
    assert archive(other, store) == said


def test_an_archive_begins_anew_when_all_of_before_has_expired(
    server: Server, other: Server, store: VolumeStore
) -> None:
    server.commit(10)
    archive(server, store)
    goes_back(other, 7)
    other.commit(5, AGAIN)
    archive(other, store)
    (span,) = segment.spans(store, UUID)
    store.delete(span.key)
    assert isinstance(archive(other, store), Outcome)
    assert fork.read(store, UUID) is None
    assert [(one.first, one.last) for one in segment.spans(store, UUID)] == [(8, 12)]


@pytest.mark.parametrize(
    ("later", "written", "found"), [(59, 0, False), (61, 0, True), (200, 150, False), (211, 150, True)]
)
def test_clocks_that_differ_a_little_are_no_other_history(
    store: VolumeStore, later: int, written: int, found: bool
) -> None:
    """Seconds after the last segment was closed, by the clock of a node, and by that of the store."""
    _, documents = segments((1, 10))
    (end,) = documents.values()
    store.put(end.key, end.to_json())

    def after(seconds: int) -> datetime:
        return end.closed + timedelta(seconds=seconds)

    logged = [
        Transaction(1, int(after(9).timestamp()), Gtid(1, 1, 9)),
        Transaction(2, int(after(999).timestamp()), Gtid(7, 1, 10)),
        Transaction(3, int(after(later).timestamp()), Gtid(1, 1, 10)),
        Transaction(4, int(after(999).timestamp()), Gtid(1, 1, 11)),
    ]
    expected = Fork(10, 10, end.closed, "n-galera-0") if found else None
    archived = fork.Archived(store, end.uuid)
    assert fork.find(logged, end, after(written), "n-galera-0", archived) == expected


@pytest.mark.parametrize("ahead", [3600, 40 * 86_400])
def test_a_clock_that_was_ahead_for_a_while_is_no_other_history(
    server: Server, other: Server, store: VolumeStore, ahead: int
) -> None:
    """Also where another node has in one file what was archived before that and after it."""
    now = int(time.time())
    for moment in (now + ahead, now - 1000):
        for one in (server, other):
            one.commit(5, moment)
        assert isinstance(archive(server, store), Outcome)
    for one in (server, other):
        one.commit(1, now - 1000)
    assert archive(other, store) == Outcome(11, 1, ANY, None)
    assert fork.read(store, UUID) is None


def test_a_target_that_was_away_for_a_while_is_no_other_history_in_the_other(
    server: Server, store: VolumeStore, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "owner.json").write_text("{}")
    second = VolumeStore(tmp_path / "second", mount_required=False)
    now, both = int(time.time()), [store, second]
    for moment, stores in ((now - 1000, both), (now + 3600, [store]), (now - 900, [store]), (now - 800, both)):
        server.commit(5, moment)
        node = archiver.inspect(server, "n-galera-2")
        found = archiver.archive(server, node, stores, SETTINGS, server.folder, Limit(60), lambda: NOW)
        assert [one for one in found.values() if not isinstance(one, Outcome)] == []
    assert [(one.first, one.last) for one in segment.spans(store, UUID)] == [(1, 5), (6, 10), (11, 15), (16, 20)]


def test_numbers_that_come_again_are_found_beside_those_of_a_clock_that_was_ahead(
    server: Server, other: Server, store: VolumeStore
) -> None:
    now = int(time.time())
    for one in (server, other):
        one.commit(5, now + 3600)
    archive(server, store)
    server.commit(5, now - 1000)
    archive(server, store)
    goes_back(other, 3)
    other.commit(9, now + 3600 + AGAIN)
    assert "transaction 4 was committed again" in str(archive(other, store))


def test_what_is_archived_is_found_among_many_segments(store: VolumeStore) -> None:
    """Overlapping ones, of which one cannot be read, and numbers that are in none."""
    spans, documents = segments((1, 10), (8, 30), (31, 31), (40, 49))
    for one in documents.values():
        store.put(one.key, one.to_json())
    archived = fork.Archived(store, UUID)

    def holds(number: int, later: float = 0, domain: int = 1) -> bool | None:
        here = [one for one in documents.values() if one.first <= number <= one.last]
        latest = max((one.closed for one in here), default=NOW)
        return archived.holds(
            Transaction(0, int((latest + timedelta(seconds=later)).timestamp()), Gtid(domain, 1, number))
        )

    assert [holds(number) for number in (1, 7, 8, 10, 11, 30, 31, 32, 39, 40, 49, 50)] == [
        True,
        True,
        True,
        True,
        True,
        True,
        True,
        None,
        None,
        True,
        True,
        None,
    ]
    assert [holds(number, 61) for number in (1, 9, 31, 45, 50)] == [False, False, False, False, None]
    assert holds(45, domain=2) is False
    assert holds(49) is True
    assert archived.holds(Transaction(0, 0, Gtid(1, 1, 50))) is None
    store.put(spans[-1].key, b"{}")
    archived = fork.Archived(store, UUID)
    assert holds(45) is None


def test_a_file_of_before_that_cannot_be_read_is_not_needed(server: Server, store: VolumeStore) -> None:
    server.commit(10)
    archive(server, store)
    path = server.folder / server.names[0]
    path.write_bytes(b"nothing" + path.read_bytes())
    server.commit(1)
    assert isinstance(archive(server, store), Outcome)


def test_a_last_segment_that_cannot_be_read_tells_nothing(server: Server, store: VolumeStore) -> None:
    server.commit(10)
    archive(server, store)
    (span,) = segment.spans(store, UUID)
    store.put(span.key, b"{}")
    server.commit(1, AGAIN)
    assert isinstance(archive(server, store), Outcome)


def test_nothing_is_replayed_on_a_backup_from_after_it(server: Server, store: VolumeStore) -> None:
    """Its numbers may be those of the lost transactions; what was archived before is still there for older ones."""
    server.commit(10)
    archive(server, store)
    store.put(fork.key_of(UUID), Fork(8, 10, NOW, "n-galera-0").to_json())
    before = replace(full(NOW - timedelta(minutes=9)), gtid="1-1-8")
    after = replace(full(NOW + timedelta(minutes=9)), gtid="1-1-8")
    found = catalog([before, after])
    assert [one.after for one in points.steps(store, found.backups[:1], Target())] == [8]
    with pytest.raises(TargetError, match="transaction 8 was committed again after 2026-11-21T14:00:00Z"):
        points.steps(store, found.backups[1:], Target())
    assert points.steps(store, found.backups[1:], Target(time=after.finished)) == []
    intervals = points.known(store, found).intervals
    assert [(one.first, one.last, one.until) for one in intervals] == [(8, 10, NOW), (8, 8, after.finished)]


@pytest.mark.parametrize("gone_back", [True, False])
def test_times_between_idle_backups_need_no_archive(server: Server, store: VolumeStore, gone_back: bool) -> None:
    if gone_back:
        server.commit(10)
        archive(server, store)
        store.put(fork.key_of(UUID), Fork(8, 10, NOW, "n-galera-0").to_json())
    ends = [NOW + timedelta(minutes=number) for number in (10, 20)]
    found = catalog([full(end) for end in ends])
    first, second = (one.manifest.finished for one in found.backups)
    assert points.steps(store, found.backups[:1], Target(time=second), found) == []
    for late in (second + timedelta(seconds=1), first - timedelta(seconds=1)):
        with pytest.raises(TargetError):
            points.steps(store, found.backups[:1], Target(time=late), found)


def test_numbers_of_another_domain_are_other_transactions(store: VolumeStore) -> None:
    """wsrep_gtid_domain_id was changed, and the new domain has counted from 1."""
    backup = replace(full(NOW), gtid="1-1-20,2-1-12")
    put_segment(store, backup, 1, 20, NOW - timedelta(hours=1))
    own = put_segment(store, backup, 21, 30, NOW + timedelta(minutes=30))
    store.put(own.key, replace(own, domain=2).to_json())
    with pytest.raises(TargetError, match="is of domain 1, and the archive of domain 2"):
        points.steps(store, catalog([backup]).backups, Target())


def test_segments_that_were_put_together_are_refused() -> None:
    """As an agent did that knew nothing of it: one begins within what was there before, and is all from later."""
    spans, documents = segments((1, 10), (8, 14))
    (one, other) = documents.values()
    again = replace(other, earliest=minute(30), latest=minute(40), closed=minute(40))

    def wanted(base: int, second: Segment = again) -> Any:
        found = {spans[0].key: one, spans[1].key: second}
        return steps(base, Target(), spans, lambda span: found[span.key], minute(base + 0.5))

    for base in (5, 10):
        with pytest.raises(TargetError, match="begins with transaction 8, which was begun after"):
            wanted(base)
        assert wanted(base, other)[-1].segment.last == 14
    assert wanted(14) == []


def test_documents_are_strict() -> None:
    found = Fork(8, 10, NOW, "n-galera-0")
    assert Fork.from_json(found.to_json()) == found
    for old, new in (
        (b'"format": 1', b'"format": 2'),
        (b'"last": 10', b'"last": 0'),
        (b'"pod"', b'"bod"'),
        (b"{", b"["),
    ):
        with pytest.raises(SegmentError):
            Fork.from_json(found.to_json().replace(old, new))


def test_a_hole_is_told_until_a_backup_is_behind_it(server: Server, store: VolumeStore) -> None:
    """By any leader: it is seen in the store."""
    server.commit(3)
    archive(server, store)
    server.commit(2)
    server.rotate()
    server.commit(2)
    server.purge()
    server.purge()
    assert isinstance(archive(server, store), Outcome)
    base, behind = (replace(full(NOW + timedelta(hours=n)), gtid=f"1-1-{number}") for n, number in ((0, 3), (1, 6)))

    def problems(*backups: Manifest) -> list[str]:
        return summary.describe([(store, catalog(list(backups)))], NOW)["targets"][0]["problems"]

    assert problems(base) == [
        "transactions 4 to 5 are not archived: what comes after them can be restored only from the next backup on"
    ]
    assert problems(base, behind) == []
    assert problems() == []
