# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive of binary logs: reading files, going on from what is archived, gaps, and what expires."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from backup_samples import OTHER_UUID, UUID, at, catalog, full, put_segment, settings_json
from binlog_samples import ENCRYPTION, GTID, XID, binlog, event, gtid, query, transaction, write
from galera_agent.backup import binlog as archiver
from galera_agent.backup import binlog_events, expiry, programs, segment
from galera_agent.backup import settings as backup_settings
from galera_agent.backup.binlog import ArchiveError, Node, Outcome
from galera_agent.backup.binlog_events import BinlogError, Groups, Gtid, Run, parse_gtid, read_start, runs, sequence_of
from galera_agent.backup.expiry import Expired
from galera_agent.backup.pipe import Limit, Stage
from galera_agent.backup.segment import GapError, Segment, SegmentError, Span, chosen, covered
from galera_agent.backup.volume_store import VolumeStore

NOW = datetime(2026, 11, 21, 14, tzinfo=UTC)
ROTATE, TABLE_MAP, ROW = 4, 19, 23
SETTINGS = replace(backup_settings.from_json(settings_json()), recipients=())


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# --- files ----------------------------------------------------------------------------------------------------------
def test_a_file_of_a_real_server() -> None:
    """MariaDB 11.8.6, with checksums: a table is made and three rows are added on three nodes."""
    path = Path(__file__).with_name("data") / "binlog.000011"
    assert read_start(path) == {1: 17}
    found = list(binlog_events.transactions(path))
    assert [(one.offset, str(one.gtid)) for one in found][:3] == [(373, "1-1-18"), (512, "1-1-19"), (706, "1-1-20")]
    (run,) = runs(found, 1)
    assert (run.first, run.last) == (18, 22)
    assert run.earliest == datetime(2026, 11, 21, 13, 38, 32, tzinfo=UTC)


def test_runs_end_at_holes_and_pass_over_other_domains(tmp_path: Path) -> None:
    path = tmp_path / "b"
    parts = [
        transaction(5, 50),
        transaction(9, 51, domain=7),
        transaction(6, 40),
        transaction(8, 60),
        transaction(9, 61),
    ]
    path.write_bytes(binlog([(1, 4), (7, 8)], parts))
    assert read_start(path) == {1: 4, 7: 8}
    found = list(binlog_events.transactions(path))
    assert runs(found, 1) == [Run(5, 6, moment(40), moment(50)), Run(8, 9, moment(60), moment(61))]
    assert runs(found, 7) == [Run(9, 9, moment(51), moment(51))]
    assert runs(found, 3) == []


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "does not begin as a binary log does"),
        (b"\xfdbin" + bytes(100), "does not begin as a binary log does"),
        (binlog([], []) + event(ENCRYPTION, bytes(20)) + event(GTID, bytes(20)), "is encrypted by the server"),
        (binlog([], []) + struct.pack("<IBIIIH", 0, 2, 1, 59, 7, 0) + bytes(5), "has an event of 59 bytes"),
        (binlog([], []) + struct.pack("<IBIIIH", 0, 1, 1, 3, 0, 0), "has an event of 3 bytes"),
        (binlog([], []) + event(GTID, b"123"), "has an event cut short"),
    ],
)
def test_files_that_cannot_be_read(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(BinlogError, match=text):
        list(binlog_events.transactions(tmp_path / "b"))


ROWS = event(TABLE_MAP, b"t" * 30) + event(ROW, b"r" * 30)


@pytest.mark.parametrize(
    "whole",
    [
        gtid(1, 1) + query(b"CREATE TABLE t (a INT)"),
        gtid(1, 1) + event(5, bytes(9)) + query(b"INSERT INTO t VALUES (1)"),
        gtid(1, 1, flags=0) + ROWS + ROWS + event(XID, bytes(8)),
        gtid(1, 1, flags=12)
        + event(160, b"a" * 20)
        + event(TABLE_MAP, b"t" * 30)
        + event(169, b"r")
        + event(XID, bytes(8)),
        gtid(1, 1, flags=0) + query(b"CREATE TABLE t (a INT)") + ROWS + query(b"COMMIT"),
        gtid(1, 1, flags=0) + query(b"SAVEPOINT a") + ROWS + query(b"ROLLBACK TO `a`") + query(b"ROLLBACK"),
        # With checksums
        gtid(1, 1, flags=2) + ROWS + query(b"COMMIT" + b"\x01\x02\x03\x04"),
        gtid(1, 1, flags=64 + 1) + query(b"XA START 'a'") + ROWS + query(b"XA END 'a'") + event(38, bytes(20)),
        gtid(1, 1, flags=128) + query(b"XA COMMIT 'a'"),
        gtid(1, 1, flags=128) + query(b"XA ROLLBACK 'a'"),
    ],
)
def test_a_transaction_counts_when_its_end_is_there(whole: bytes, tmp_path: Path) -> None:
    """Cut anywhere, the file ends before it; all that a server writes at the end of a transaction is an end."""
    begin, path = binlog([], []), tmp_path / "b"
    path.write_bytes(begin + whole + event(ROTATE, bytes(20)))
    groups = Groups(path)
    assert [(one.offset, one.gtid.sequence, one.whole) for one in groups] == [(len(begin), 1, True)]
    assert groups.torn is None
    for size in range(1, len(whole)):
        path.write_bytes(begin + whole[:size])
        assert [one for one in groups if one.whole] == []
        assert groups.torn == len(begin)


def test_a_file_that_has_its_length_and_not_its_contents(tmp_path: Path) -> None:
    """As a file system may leave it after a loss of power."""
    begin = binlog([], [transaction(1, 1), gtid(2, 2)])
    (tmp_path / "b").write_bytes(begin + bytes(100))
    groups = Groups(tmp_path / "b")
    assert [one.whole for one in groups] == [True, False]
    assert groups.torn == len(begin) - len(gtid(2, 2))


def test_what_a_server_gave_up_within_a_file_does_not_count(tmp_path: Path) -> None:
    """A transaction that has something, and no end, is not whole; one that is empty has nothing to miss."""
    path = tmp_path / "b"
    path.write_bytes(binlog([], [gtid(1, 1, flags=0) + ROWS, gtid(2, 2, flags=0), transaction(3, 3)]))
    assert [(one.gtid.sequence, one.whole) for one in Groups(path)] == [(1, False), (2, True), (3, True)]


def test_a_file_without_a_list_of_gtids(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\xfebin" + transaction(1, 1))
    with pytest.raises(BinlogError, match="no GTID list"):
        read_start(tmp_path / "b")


def test_gtids() -> None:
    assert parse_gtid("1-2-30") == Gtid(1, 2, 30)
    assert str(Gtid(1, 2, 30)) == "1-2-30"
    assert [sequence_of(text, 1) for text in ("", "1-1-7", "0-1-9, 1-1-7", "0-1-9")] == [0, 7, 7, 0]
    for wrong in ("", "1-2", "1-2-x", "1-2-3-4", "-1-2-3"):
        with pytest.raises(ValueError, match="is no GTID"):
            parse_gtid(wrong)


# --- what is covered ------------------------------------------------------------------------------------------------
def spans(*ranges: tuple[int, int]) -> list[Span]:
    return [Span(first, last, f"{first}-{last}") for first, last in ranges]


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], []),
        ([(1, 5), (6, 9)], [(1, 9)]),
        ([(6, 9), (1, 5)], [(1, 9)]),
        ([(1, 5), (7, 9)], [(1, 5), (7, 9)]),
        ([(1, 9), (3, 4), (8, 12)], [(1, 12)]),
    ],
)
def test_covered(ranges: list[tuple[int, int]], expected: list[tuple[int, int]]) -> None:
    assert covered(spans(*ranges)) == expected


def test_the_fewest_segments_are_chosen() -> None:
    found = spans((1, 5), (2, 8), (6, 7), (8, 10), (9, 20))
    assert [one.key for one in chosen(found, 0, 20)] == ["1-5", "2-8", "9-20"]
    assert chosen(found, 20, 20) == []
    assert [one.key for one in chosen(found, 9, 12)] == ["9-20"]


@pytest.mark.parametrize(
    ("after", "last", "text"), [(0, 3, "1 to 1"), (4, 9, "6 to 7"), (4, 7, "6 to 7"), (10, 14, "13 to 14")]
)
def test_gaps_are_named(after: int, last: int, text: str) -> None:
    with pytest.raises(GapError, match=f"no transactions {text}$"):
        chosen(spans((2, 5), (8, 12)), after, last)


# --- archiving ------------------------------------------------------------------------------------------------------
class Server:
    """A server's answers; FLUSH closes the open log and begins another one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.flushed, self.names = folder, 0, ["binlog.000001"]
        self.last = self.queue = 0
        self.waits = False
        self.options = {"log_bin": 1, "log_slave_updates": 1, "wsrep_gtid_mode": 1}
        write(folder / self.names[0], 0, [])

    def commit(self, count: int, begin: int = 1000) -> None:
        """Transactions a second after each other."""
        path = self.folder / self.names[-1]
        new = range(self.last + 1, self.last + count + 1)
        path.write_bytes(path.read_bytes() + b"".join(transaction(one, begin + one) for one in new))
        self.last += count

    def rotate(self) -> None:
        self.names.append(f"binlog.{int(self.names[-1][-6:]) + 1:06}")
        # Transaction n is of second 1000 + n, and a file is begun half a minute after the last one.
        path = self.folder / self.names[-1]
        path.write_bytes(binlog([(1, self.last)] if self.last else [], [], created=1030 + self.last))

    def purge(self) -> None:
        self.folder.joinpath(self.names.pop(0)).unlink()

    def __call__(self, statement: str) -> Sequence[Sequence[Any]]:
        if statement == "FLUSH LOCAL BINARY LOGS":
            assert not self.waits
            self.flushed += 1
            self.rotate()
            return []
        if statement == "SHOW BINARY LOGS":
            return [(name, 1) for name in self.names]
        if statement.startswith("SET SESSION wsrep_sync_wait"):
            self.waits = statement.endswith("1")
            return []
        if statement == "SELECT 1 FROM DUAL":
            assert self.waits
            if self.queue:
                raise archiver.QueryError("Lock wait timeout exceeded")
            return [(1,)]
        if statement.startswith("SHOW GLOBAL STATUS"):
            return [("wsrep_cluster_state_uuid", UUID)]
        return [(1, f"1-1-{self.last}", "11.8.6-MariaDB-log", str(self.folder / "binlog"), *self.options.values())]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    (tmp_path / "n0").mkdir()
    return Server(tmp_path / "n0")


@pytest.fixture
def other(tmp_path: Path) -> Server:
    (tmp_path / "n1").mkdir()
    return Server(tmp_path / "n1")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VolumeStore:
    monkeypatch.setattr(programs, "pack", lambda level, recipients: [Stage(("cat",))])
    monkeypatch.setattr(archiver, "pack", lambda level, recipients: [Stage(("cat",))])
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "owner.json").write_text("{}")
    return VolumeStore(tmp_path / "store")


def archive(server: Server, *stores: Any, pod: str = "n-galera-2") -> dict[str, Outcome | str]:
    node = archiver.inspect(server, pod)
    return archiver.archive(server, node, stores, SETTINGS, server.folder, Limit(60), lambda: NOW)


def tail(store: VolumeStore) -> int | None:
    found = segment.tail(store, UUID)
    return None if found is None else found.last


def ranges(store: VolumeStore, uuid: str = UUID) -> list[tuple[int, int]]:
    return sorted((one.first, one.last) for one in segment.spans(store, uuid))


def test_days_of_a_clock_that_was_ahead_do_not_hide_the_end_of_the_archive(store: VolumeStore) -> None:
    manifest = full(NOW)
    for first, closed in ((1, NOW + timedelta(days=36500)), (11, NOW + timedelta(days=36501)), (21, NOW)):
        put_segment(store, manifest, first, first + 9, closed)
    assert tail(store) == 30


def test_each_round_carries_what_is_new(server: Server, store: VolumeStore) -> None:
    server.commit(3)
    assert archive(server, store) == {
        store.label: Outcome(3, 1, (server.folder / "binlog.000001").stat().st_size, None)
    }
    assert archive(server, store) == {store.label: Outcome(3, 0, 0, None)}
    assert server.flushed == 1
    server.commit(2)
    server.rotate()
    server.commit(1)
    assert archive(server, store)[store.label].segments == 2  # type: ignore[union-attr]
    assert ranges(store) == [(1, 3), (4, 5), (6, 6)]
    first = min(segment.spans(store, UUID), key=lambda one: one.first)
    found = Segment.from_json(store.get(first.key))
    assert (found.key, found.domain, found.pod, found.file) == (first.key, 1, "n-galera-2", "binlog.000001")
    assert (found.earliest, found.latest, found.closed) == (moment(1001), moment(1003), NOW)
    assert store.get(found.object.key) == (server.folder / "binlog.000001").read_bytes()


def test_each_file_has_a_time_of_its_own(server: Server, store: VolumeStore) -> None:
    """Files of before this round ended when the next one was begun, not when they were archived."""
    for _ in range(2):
        server.commit(3)
        server.rotate()
    server.commit(3)
    archive(server, store)
    found = [Segment.from_json(store.get(one.key)) for one in segment.spans(store, UUID)]
    assert sorted((one.last, one.closed) for one in found) == [(3, moment(1033)), (6, moment(1036)), (9, NOW)]
    assert tail(store) == 9


def test_the_time_of_a_file_is_from_before_it_was_closed(server: Server, store: VolumeStore) -> None:
    server.commit(3)
    node = archiver.inspect(server, "n-galera-2")
    archiver.archive(
        server, node, [store], SETTINGS, server.folder, Limit(60), lambda: NOW + timedelta(minutes=server.flushed)
    )
    (span,) = segment.spans(store, UUID)
    assert Segment.from_json(store.get(span.key)).closed == NOW


def test_a_node_that_lags_knows_only_of_its_own_transactions(server: Server, store: VolumeStore) -> None:
    """What others committed before the file was closed comes in the next one."""
    server.commit(3)
    server.queue = 1
    archive(server, store)
    (span,) = segment.spans(store, UUID)
    assert Segment.from_json(store.get(span.key)).closed == moment(1003)


@pytest.mark.parametrize("size", [1, 30, 38, 60, 96])
def test_a_server_that_was_killed_while_it_wrote(server: Server, store: VolumeStore, size: int) -> None:
    """The transaction that was cut off is logged again in the next file, and is taken from there."""
    server.commit(3)
    path = server.folder / server.names[-1]
    whole = path.read_bytes()
    path.write_bytes(whole + transaction(4, 1004)[:size])
    server.rotate()
    # The list of GTIDs in the next file has the one that was cut off, or not.
    write(server.folder / server.names[-1], 4 if size >= 38 else 3, [])
    server.commit(5)
    said: list[str] = []
    node = archiver.inspect(server, "n-galera-2")
    (done,) = archiver.archive(
        server, node, [store], SETTINGS, server.folder, Limit(60), lambda: NOW, said.append
    ).values()
    assert isinstance(done, Outcome)
    assert (done.segments, done.gap) == (2, None)
    assert said == [f"binlog.000001 ends within a transaction, at byte {len(whole)}: what comes before is archived"]
    assert ranges(store) == [(1, 3), (4, 8)]
    first = Segment.from_json(store.get(segment.spans(store, UUID)[0].key))
    assert store.get(first.object.key) == whole
    assert first.data_bytes == len(whole)


def test_files_that_were_just_begun_when_the_server_was_killed(server: Server, store: VolumeStore) -> None:
    server.commit(3)
    for size in (0, 3, 4, 30, 110):
        server.rotate()
        path = server.folder / server.names[-1]
        path.write_bytes(path.read_bytes()[:size])
    server.rotate()
    server.commit(2)
    (done,) = archive(server, store).values()
    assert isinstance(done, Outcome)
    assert (done.segments, done.gap) == (2, None)
    assert ranges(store) == [(1, 3), (4, 5)]


def test_the_end_of_the_archive_may_be_of_the_day_before(store: VolumeStore) -> None:
    """The file of a node that lags is of the time of its last transaction."""
    for day, first, last in ((20, 1, 9), (22, 10, 12), (21, 13, 15)):
        key = segment.stem(UUID, first, last, datetime(2026, 11, day, tzinfo=UTC), "n-galera-2", "binlog.000001")
        store.put(f"{key}.json", b"{}")
    assert tail(store) == 15


def test_numbers_that_no_log_has_are_no_hole(server: Server, store: VolumeStore) -> None:
    """A statement that fails on all nodes takes a number, and is logged nowhere."""
    server.commit(3)
    archive(server, store)
    server.commit(1)
    server.last += 1
    server.commit(2)
    (done,) = archive(server, store).values()
    assert isinstance(done, Outcome)
    assert (done.last, done.gap) == (7, None)
    # In the end of a file, and in the beginning of the next one.
    server.last += 1
    path = server.folder / server.names[-1]
    path.write_bytes(binlog([(1, 7)], []))
    server.last += 1
    server.commit(1)
    (done,) = archive(server, store).values()
    assert isinstance(done, Outcome)
    assert (done.last, done.gap) == (10, None)
    assert ranges(store) == [(1, 3), (4, 7), (8, 10)]
    assert covered(segment.spans(store, UUID)) == [(1, 10)]


@pytest.mark.parametrize(
    ("row", "flushes"),
    [
        ((1, 1, 1, ""), 1),
        ((1, 1, 1, "0-1-7"), 1),
        ((1, 1, 1, "0-1-7,1-1-4"), 0),
        ((0, 1, 1, ""), 0),
        ((1, 0, 1, ""), 0),
    ],
)
def test_a_server_that_has_logged_nothing_begins(row: tuple[object, ...], flushes: int) -> None:
    said: list[str] = []

    def query(statement: str) -> Sequence[Sequence[Any]]:
        said.append(statement)
        return [row] if statement.startswith("SELECT") else []

    told = archiver.begin(query)
    assert (said.count("FLUSH HOSTS"), told is not None) == (flushes, bool(flushes))


def test_a_hole_between_two_files_is_told(server: Server, store: VolumeStore) -> None:
    """What was cut off and never came again is gone here."""
    server.commit(3)
    archive(server, store)
    server.commit(2)
    path = server.folder / server.names[-1]
    path.write_bytes(path.read_bytes()[:-1])
    server.rotate()
    server.commit(2)
    (done,) = archive(server, store).values()
    assert isinstance(done, Outcome)
    assert done.gap == (5, 5)
    assert ranges(store) == [(1, 3), (4, 4), (6, 7)]


def test_another_node_goes_on_where_its_own_logs_begin_earlier(
    server: Server, other: Server, store: VolumeStore
) -> None:
    server.commit(3)
    archive(server, store)
    other.commit(7)
    assert archive(other, store, pod="n-galera-1")[store.label].gap is None  # type: ignore[union-attr]
    assert ranges(store) == [(1, 3), (1, 7)]
    assert covered(segment.spans(store, UUID)) == [(1, 7)]


def test_another_node_whose_logs_begin_later_leaves_a_gap_that_is_told(
    server: Server, other: Server, store: VolumeStore
) -> None:
    server.commit(3)
    archive(server, store)
    other.commit(5)
    other.rotate()
    other.commit(4)
    other.purge()
    assert archive(other, store, pod="n-galera-1")[store.label].gap == (4, 5)  # type: ignore[union-attr]
    assert covered(segment.spans(store, UUID)) == [(1, 3), (6, 9)]
    other.commit(1)
    assert archive(other, store)[store.label].gap is None  # type: ignore[union-attr]


def test_a_node_that_knows_nothing_of_what_came_before_leaves_a_gap_that_is_told(
    server: Server, other: Server, store: VolumeStore
) -> None:
    """Its data came without a binary log: the lists of GTIDs in its own logs are empty, not at zero."""
    server.commit(3)
    archive(server, store)
    other.rotate()
    other.last = 5
    other.commit(4)
    assert archive(other, store, pod="n-galera-1")[store.label].gap == (4, 5)  # type: ignore[union-attr]
    assert covered(segment.spans(store, UUID)) == [(1, 3), (6, 9)]


def test_a_target_that_lags_behind_catches_up(tmp_path: Path, server: Server, store: VolumeStore) -> None:
    server.commit(3)
    archive(server, store)
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "owner.json").write_text("{}")
    second = VolumeStore(tmp_path / "second")
    server.commit(1)
    done = archive(server, store, second)
    assert [one.segments for one in done.values() if isinstance(one, Outcome)] == [1, 2]
    assert ranges(second) == ranges(store) == [(1, 3), (4, 4)]


def test_a_target_that_fails_does_not_hold_up_the_other(tmp_path: Path, server: Server, store: VolumeStore) -> None:
    server.commit(3)
    broken = VolumeStore(tmp_path / "nothing-there")
    done = archive(server, broken, store)
    assert isinstance(done[broken.label], str)
    assert ranges(store) == [(1, 3)]


@pytest.mark.parametrize("option", ["log_bin", "log_slave_updates", "wsrep_gtid_mode"])
def test_a_server_that_does_not_log_as_is_needed(server: Server, store: VolumeStore, option: str) -> None:
    server.options[option] = 0
    with pytest.raises(ArchiveError, match=f"^{option} is OFF"):
        archive(server, store)


def test_a_segment_without_document_is_none(server: Server, store: VolumeStore) -> None:
    server.commit(3)
    archive(server, store)
    (span,) = segment.spans(store, UUID)
    store.delete(span.key)
    assert (segment.spans(store, UUID), segment.tail(store, UUID)) == ([], None)
    archive(server, store)
    server.commit(1)
    archive(server, store)
    assert covered(segment.spans(store, UUID)) == [(1, 4)]


def test_what_others_leave_among_the_segments_hinders_nothing(
    server: Server, store: VolumeStore, tmp_path: Path
) -> None:
    server.commit(3)
    archive(server, store)
    (span,) = segment.spans(store, UUID)
    day = (tmp_path / "store" / span.key).parent
    shutil.copytree(day, day.with_name("a copy"))
    day.with_name("notes.txt").touch()
    (day / ".nfs000000001").touch()
    server.commit(1)
    archive(server, store)
    assert covered(segment.spans(store, UUID)) == [(1, 4)]
    assert all(one.key.startswith(f"binlogs/{UUID}/2") for one in segment.spans(store, UUID))


def test_clusters_have_archives_of_their_own(server: Server, store: VolumeStore) -> None:
    server.commit(3)
    archive(server, store)
    assert segment.tail(store, OTHER_UUID) is None
    assert tail(store) == 3


def test_documents_are_strict(server: Server, store: VolumeStore) -> None:
    server.commit(3)
    archive(server, store)
    (span,) = segment.spans(store, UUID)
    text = store.get(span.key)
    for old, new in (
        (b'"format": 1', b'"format": 2'),
        (b'"last": 3', b'"last": 0'),
        (b'"pod"', b'"bod"'),
        (b"{", b"["),
    ):
        with pytest.raises(SegmentError):
            Segment.from_json(text.replace(old, new))


def test_node(server: Server) -> None:
    server.commit(2)
    found = archiver.inspect(server, "n-galera-0")
    assert found == Node("n-galera-0", UUID, 1, 2, "11.8.6-MariaDB-log", server.folder / "binlog")


# --- what expires -----------------------------------------------------------------------------------------------------
def test_segments_go_when_the_oldest_backup_holds_all_of_them(store: VolumeStore) -> None:
    oldest = full(at("2026-11-21 01:00"), gtid="0-1-90,1-1-25")
    newer = full(at("2026-11-22 01:00"), gtid="0-1-95,1-1-30")
    documents = [put_segment(store, oldest, first, first + 9, NOW) for first in (1, 11, 21, 31)]
    other = put_segment(store, replace(oldest, uuid=OTHER_UUID), 1, 10, NOW)
    assert expiry.expire(store, replace(catalog([]), owner=None)) == Expired()
    another = full(at("2026-11-23 01:00"), gtid="1-1-5", uuid=OTHER_UUID)
    assert expiry.expire(store, catalog([oldest, newer, another])) == Expired(2)
    left = {one.key for one in store.list("binlogs/")}
    assert left == {key for one in (*documents[2:], other) for key in (one.key, one.object.key)}


@pytest.mark.parametrize("damage", [b"{}", b"", b"another"])
def test_a_segment_that_cannot_be_read_stays_is_told_and_holds_up_no_other(store: VolumeStore, damage: bytes) -> None:
    oldest = full(at("2026-11-21 01:00"), gtid="1-1-40")
    documents = [put_segment(store, oldest, first, first + 9, NOW) for first in (1, 11, 21, 31)]
    for one in (documents[1], documents[3]):
        store.put(one.key, documents[0].to_json() if damage == b"another" else damage)
    done = expiry.expire(store, catalog([oldest]))
    assert (done.segments, [one.split(",")[0] for one in done.problems]) == (
        2,
        [f"{documents[1].key} cannot be used", f"{documents[3].key} cannot be used"],
    )
    left = {one.key for one in store.list("binlogs/")}
    assert left == {key for one in (documents[1], documents[3]) for key in (one.key, one.object.key)}


def test_a_file_from_before_the_first_transaction_is_no_hole_in_a_new_archive() -> None:
    """After a restore the first transaction that a node logs has a later number than 1."""
    moment = datetime(2026, 11, 22, 21, 52, tzinfo=UTC)

    def log(before: int, *ends: int) -> archiver.Log:
        runs = (Run(*ends, moment, moment),) if ends else ()
        return archiver.Log(Path("binlog.000001"), before, runs, moment)

    assert archiver.missing(None, [log(0), log(3, 4, 5)]) is None
    assert archiver.missing(None, [log(0), log(3, 4, 5), log(7, 8, 8)]) == (6, 7)
    assert archiver.missing(2, [log(0), log(3, 4, 5)]) == (3, 3)
