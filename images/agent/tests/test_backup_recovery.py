# SPDX-License-Identifier: GPL-3.0-or-later
"""Points in time: what the user may name, which intervals there are, and what is replayed up to a point."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from backup_samples import UUID, at, catalog, full, increment
from binlog_samples import binlog, transaction, write
from galera_agent.backup import recovery, selection
from galera_agent.backup.manifest import Manifest, StoredObject
from galera_agent.backup.recovery import Interval, Target, TargetError, holes, intervals, nearest, parse_target, steps
from galera_agent.backup.replay import Cut, cut
from galera_agent.backup.segment import Segment, Span
from galera_agent.chain import Refused

BEGIN = at("2026-11-21 12:00")


def minute(number: float) -> datetime:
    return BEGIN + timedelta(minutes=number)


def segments(*ranges: tuple[int, int]) -> tuple[list[Span], dict[str, Segment]]:
    """Transaction n is of minute n; a segment is closed 20 s after its last one."""
    documents = {}
    for first, last in ranges:
        one = Segment(
            uuid=UUID,
            domain=1,
            first=first,
            last=last,
            earliest=minute(first),
            latest=minute(last),
            closed=minute(last + 1 / 3),
            pod="n-galera-2",
            file="binlog.000001",
            server_version="11.8.6",
            data_bytes=100,
            encryption=None,
            recipients=(),
            object=StoredObject("k", 1, "0" * 64),
        )
        documents[one.key] = one
    return [Span(one.first, one.last, key) for key, one in documents.items()], documents


def backup(sequence: int) -> Manifest:
    """A full backup after a transaction; it ended half a minute after it."""
    ended = minute(sequence + 0.5)
    return replace(full(ended - timedelta(minutes=1), gtid=f"1-1-{sequence}"), finished=ended)


# --- what is named --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("named", "target"),
    [
        (("", "", ""), None),
        (("latest", "", ""), Target()),
        (("2026-11-21T12:00:00Z", "", ""), Target(time=BEGIN)),
        (("2026-11-21T13:00:00+01:00", "", ""), Target(time=BEGIN)),
        (("2026-11-21 07:00:00-05:00", "", ""), Target(time=BEGIN)),
        (("", "1-1-9", ""), Target(sequence=9, domain=1)),
        (("", "", "0-1-9"), Target(sequence=8, domain=0)),
    ],
)
def test_targets(named: tuple[str, str, str], target: Target | None) -> None:
    assert parse_target(*named) == target


@pytest.mark.parametrize(
    ("named", "text"),
    [
        (("2026-11-21T12:00:00", "", ""), "a time with its zone"),
        (("yesterday", "", ""), "SOURCE_TIME is 'yesterday'; allowed: latest, or a time with its zone"),
        (
            ("0001-01-01T00:00:00+14:00", "", ""),
            "SOURCE_TIME is '0001-01-01T00:00:00.14:00'; allowed: latest, or a time",
        ),
        (("9999-12-31T23:59:59-14:00", "", ""), "a time with its zone"),
        (("", "9", ""), "'9' is no GTID"),
        (("latest", "1-1-9", ""), "SOURCE_TIME and SOURCE_GTID are set"),
    ],
)
def test_targets_that_are_none(named: tuple[str, str, str], text: str) -> None:
    with pytest.raises(TargetError, match=text):
        parse_target(*named)


# --- intervals ------------------------------------------------------------------------------------------------------
def found_intervals(backups: list[int], *ranges: tuple[int, int]) -> list[tuple[int, int]]:
    spans, documents = segments(*ranges)
    found = intervals([backup(one) for one in backups], spans, lambda span: documents[span.key], 1)
    return [(one.first, one.last) for one in found]


@pytest.mark.parametrize(
    ("backups", "ranges", "expected"),
    [
        ([], [(1, 9)], []),
        ([3], [], [(3, 3)]),
        ([3], [(4, 9)], [(3, 9)]),
        ([3], [(1, 5), (6, 9)], [(3, 9)]),
        ([3], [(5, 9)], [(3, 3)]),
        ([3, 6], [(1, 9)], [(3, 9)]),
        ([6, 3], [(1, 4), (8, 9)], [(3, 4), (6, 6)]),
        ([3, 6], [(1, 4), (7, 9)], [(3, 4), (6, 9)]),
        ([0], [(1, 2)], [(0, 2)]),
    ],
)
def test_intervals(backups: list[int], ranges: list[tuple[int, int]], expected: list[tuple[int, int]]) -> None:
    assert found_intervals(backups, *ranges) == expected


def test_holes_between_intervals_and_the_nearest_points() -> None:
    spans, documents = segments((1, 4), (7, 9))
    found = intervals([backup(3), backup(6)], spans, lambda span: documents[span.key], 1)
    assert [one.since for one in found] == [minute(3.5), minute(6.5)]
    assert [one.until for one in found] == [minute(4 + 1 / 3), minute(9 + 1 / 3)]
    assert holes(found) == [(minute(4 + 1 / 3), minute(6.5))]
    assert "12:03:30Z to 2026-11-21T12:04:20Z, transactions 3 to 4" in nearest(found, Target(time=minute(5)), 1)
    assert "transactions 6 to 9" in nearest(found, Target(sequence=20), 1)
    # of the latest it is not the oldest
    assert "transactions 6 to 9" in nearest(found, Target(), 1)
    assert nearest([], Target(), 1) == "no point in time can be restored"


@pytest.mark.parametrize(
    ("backups", "ranges", "gone"),
    [
        ([], [(1, 9)], None),
        ([3], [(4, 9)], None),
        ([3], [(1, 5), (8, 9)], (6, 7)),
        ([3], [(1, 5), (8, 9), (12, 14)], (6, 7)),
        ([3], [(6, 9)], (4, 5)),
        ([3], [(1, 5), (7, 9)], (6, 6)),
        # A backup after the hole is where it goes on.
        ([3, 7], [(1, 5), (8, 9)], None),
        ([3, 8], [(1, 5), (8, 9)], None),
        ([3, 12], [(1, 5), (8, 9)], None),
        ([9], [(1, 5), (8, 9)], None),
    ],
)
def test_a_hole_is_there_until_a_backup_is_behind_it(
    backups: list[int], ranges: list[tuple[int, int]], gone: tuple[int, int] | None
) -> None:
    spans, documents = segments(*ranges)
    found = intervals([backup(one) for one in backups], spans, lambda span: documents[span.key], 1)
    assert recovery.broken_off(found, spans) == gone


def replayed(after: int, target: Target, *ranges: tuple[int, int]) -> list[tuple[int, int]]:
    spans, documents = segments(*ranges)
    return [(one.after, one.segment.last) for one in steps(after, target, spans, lambda span: documents[span.key])]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Target(sequence=3), []),
        (Target(sequence=4), [(3, 5)]),
        (Target(sequence=6), [(3, 5), (5, 9)]),
        (Target(), [(3, 5), (5, 9)]),
        (Target(time=minute(4)), [(3, 5), (5, 9)]),
        (Target(time=minute(5)), [(3, 5), (5, 9)]),
        (Target(time=minute(5.2)), [(3, 5), (5, 9)]),
        (Target(time=minute(5.5)), [(3, 5), (5, 9)]),
        (Target(time=minute(9.2)), [(3, 5), (5, 9)]),
    ],
)
def test_what_is_replayed(target: Target, expected: list[tuple[int, int]]) -> None:
    assert replayed(3, target, (1, 5), (6, 9)) == expected


def test_that_a_file_was_closed_later_does_not_say_that_all_before_is_in_it() -> None:
    """Only a later transaction does. As many files as were closed in one round may bear the time of that round."""
    spans, documents = segments((1, 3), (4, 6), (7, 9))
    documents = {key: replace(one, closed=minute(11)) for key, one in documents.items()}

    def wanted(until: datetime) -> list[int]:
        return [one.segment.last for one in steps(0, Target(time=until), spans, lambda span: documents[span.key])]

    assert [wanted(minute(one)) for one in (2, 4, 6.5, 8)] == [[3], [3, 6], [3, 6, 9], [3, 6, 9]]
    assert wanted(minute(11)) == [3, 6, 9]
    with pytest.raises(TargetError, match="only to 2026-11-21T12:11:00Z"):
        wanted(minute(11.5))


def test_a_later_transaction_that_the_backup_has_ends_nothing() -> None:
    """The clock of its node was ahead: of what is replayed nothing is later than the time, up to the last segment."""
    spans, documents = segments((1, 5), (6, 9))
    (key, first), (other, second) = documents.items()
    documents = {key: replace(first, latest=minute(20)), other: second}
    found = steps(3, Target(time=minute(9.1)), spans, lambda span: documents[span.key])
    assert [(one.after, one.segment.last) for one in found] == [(3, 5), (5, 9)]
    with pytest.raises(TargetError, match="only to 2026-11-21T12:05:20Z"):
        steps(3, Target(time=minute(9.1)), spans[:1], lambda span: documents[span.key])


def test_what_is_said_to_be_restorable_is() -> None:
    """Also where nothing was written after the backup, and where two nodes closed their files at different times."""
    spans, documents = segments((1, 4), (2, 4), (7, 9))
    later = {key: replace(one, closed=minute(5)) for key, one in documents.items() if one.first == 2}
    documents |= later
    for base in (3, 4, 6, 9, 12):
        (found,) = intervals([backup(base)], spans, lambda span: documents[span.key], 1)

        def wanted(until: datetime, base: int = base) -> int:
            since = backup(base).finished
            return len(steps(base, Target(time=until), spans, lambda span: documents[span.key], since))

        assert (wanted(found.since), wanted(found.until)) >= (0, 0)
        with pytest.raises(TargetError, match="goes on without a hole only to"):
            wanted(found.until + timedelta(seconds=1))


@pytest.mark.parametrize("archived", [True, False])
def test_each_time_up_to_the_newest_backup_of_an_idle_cluster_can_be_restored(archived: bool) -> None:
    """Nothing was committed between them; that the last one ended shows it, whether the file was closed or not."""
    spans, documents = segments((1, 9)) if archived else segments((1, 7))

    def load(span: Span) -> Segment:
        return documents[span.key]

    idle = [replace(backup(9), finished=minute(number), name=f"{number}") for number in (20, 30, 40)]
    (found,) = intervals(idle, spans, load, 1)
    assert (found.backup, found.since, found.until) == ("20", minute(20), minute(40))
    until = recovery.ends(idle, 1)
    for one in idle:
        assert steps(9, Target(time=one.finished), spans, load, one.finished, until) == []
        assert steps(9, Target(time=one.finished), spans, load, one.finished) == []
    assert steps(9, Target(time=minute(39)), spans, load, minute(30), until) == []
    with pytest.raises(TargetError, match="only to 2026-11-21T12:40:00Z"):
        steps(9, Target(time=minute(41)), spans, load, minute(30), until)
    with pytest.raises(TargetError, match="only to the backup itself"):
        steps(9, Target(time=minute(41)), spans, load, minute(40), until)
    if archived:
        assert [one.after for one in steps(3, Target(time=minute(35)), spans, load, minute(3.5), until)] == [3]


def test_backups_of_different_transactions_make_nothing_of_the_time_between_them() -> None:
    spans, documents = segments((1, 4))
    found = intervals([backup(4), backup(8)], spans, lambda span: documents[span.key], 1)
    assert [(one.last, one.until) for one in found] == [(4, minute(4.5)), (8, minute(8.5))]
    with pytest.raises(TargetError):
        steps(4, Target(time=minute(7)), spans, lambda span: documents[span.key], minute(4.5), {8: minute(8.5)})


def test_without_an_archive_each_backup_is_a_point_and_idle_ones_are_an_interval() -> None:
    idle = replace(backup(8), finished=minute(20))
    backups = [replace(one, seqno=seqno) for one, seqno in ((backup(4), 14), (backup(8), 18), (idle, 18))]

    def load(span: Span) -> Segment:
        raise AssertionError(span)

    found = intervals(backups, [], load, 0)
    assert [(one.since, one.until) for one in found] == [(minute(4.5), minute(4.5)), (minute(8.5), minute(20))]
    shown = [[recovery.unchanged(one, backups, minute(at)) for at in (4.5, 6, 8.5, 19, 21)] for one in backups]
    assert shown == [[True, False, False, False, False], [False, False, True, True, False], [False] * 5]
    another = replace(backup(9), seqno=19)
    assert not recovery.unchanged(backups[1], [another, idle], minute(19))
    for moment, near in ((5, "12:04:30Z to 2026-11-21T12:04:30Z"), (30, "12:08:30Z to 2026-11-21T12:20:00Z")):
        said = recovery.nearest(found, Target(time=minute(moment)), 0)
        assert said == f"the nearest that can be restored are 2026-11-21T{near}"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target(sequence=8), "no transactions 6 to 6"),
        (Target(time=minute(8)), "only to 2026-11-21T12:05:20Z"),
        (Target(sequence=30), "no transactions 6 to 6"),
    ],
)
def test_points_behind_a_hole(target: Target, text: str) -> None:
    with pytest.raises(TargetError, match=text):
        replayed(3, target, (1, 5), (7, 9))


def test_the_end_of_the_archive_is_the_end_before_a_hole() -> None:
    assert replayed(3, Target(), (1, 5), (7, 9)) == [(3, 5)]
    assert replayed(3, Target(), (7, 9)) == []


# --- where a file is cut --------------------------------------------------------------------------------------------
SIZE = len(transaction(1, 1))


def offset(number: int) -> int:
    """Where the transaction with this number in a file begins."""
    return len(binlog([(1, 1)], [])) + number * SIZE


@pytest.mark.parametrize(
    ("after", "target", "expected"),
    [
        (4, Target(), Cut(offset(0), None, 9)),
        (6, Target(), Cut(offset(2), None, 9)),
        (9, Target(), Cut(None, None, 9)),
        (4, Target(sequence=7), Cut(offset(0), offset(3), 7, reached=True)),
        (6, Target(sequence=7), Cut(offset(2), offset(3), 7, reached=True)),
        (7, Target(sequence=7), Cut(None, offset(3), 7, reached=True)),
        (4, Target(time=datetime.fromtimestamp(1002, UTC)), Cut(offset(0), offset(3), 7, reached=True)),
        (4, Target(time=datetime.fromtimestamp(999, UTC)), Cut(None, offset(0), 4, reached=True)),
    ],
)
def test_cuts(after: int, target: Target, expected: Cut, tmp_path: Path) -> None:
    assert cut(write(tmp_path / "b", 4, range(5, 10)), 1, after, 9, target) == expected


def test_what_comes_after_a_hole_in_a_file_is_left_out(tmp_path: Path) -> None:
    """Such a file is two segments; the first one's end is the end."""
    path = write(tmp_path / "b", 4, [5, 6, 8, 9])
    assert cut(path, 1, 4, 6, Target()) == Cut(offset(0), offset(2), 6)
    assert cut(path, 1, 7, 9, Target()) == Cut(offset(2), None, 9)


def test_what_is_not_whole_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "b", 4, [5, 6])
    path.write_bytes(path.read_bytes() + transaction(7, 1007)[:38])
    assert cut(path, 1, 4, 7, Target()) == Cut(offset(0), offset(2), 6)


def test_times_that_do_not_grow_end_at_the_first_later_one(tmp_path: Path) -> None:
    times = [10, 30, 20, 40]
    (tmp_path / "b").write_bytes(binlog([(1, 4)], [transaction(5 + n, time) for n, time in enumerate(times)]))
    until = Target(time=datetime.fromtimestamp(25, UTC))
    assert cut(tmp_path / "b", 1, 4, 8, until) == Cut(offset(0), offset(1), 5, reached=True)


def test_what_a_file_holds_twice_is_replayed_once(tmp_path: Path) -> None:
    """After a crash a node logs again what it gets again."""
    path = write(tmp_path / "b", 4, [3, 4, 5, 6])
    assert cut(path, 1, 4, 6, Target(sequence=5)) == Cut(offset(2), offset(3), 5, reached=True)


# --- which chain ----------------------------------------------------------------------------------------------------
FULL, NEXT_FULL = full(at("2026-11-20 01:00"), gtid="1-1-10"), full(at("2026-11-21 01:00"), gtid="1-1-30")
FIRST = increment(FULL, at("2026-11-20 02:00"), gtid="1-1-12")
SECOND = increment(FIRST, at("2026-11-20 03:00"), gtid="1-1-14")
ALL = [FULL, FIRST, SECOND, NEXT_FULL]


def names(backups: list[Manifest], wanted: str, inner: str = "latest", target: Target | None = None) -> list[list[str]]:
    found = selection.candidates([catalog(backups)], wanted, inner, target)
    return [[one.name for one in chosen] for _, chosen in found if not isinstance(chosen, str)]


CHAIN = [FULL.name, FIRST.name, SECOND.name]


@pytest.mark.parametrize(
    ("wanted", "inner", "best"),
    [
        ("latest", "latest", [NEXT_FULL.name]),
        ("latest", "none", [NEXT_FULL.name]),
        (FULL.name, "latest", CHAIN),
        (FULL.name, "none", CHAIN[:1]),
        (FULL.name, FIRST.name, CHAIN[:2]),
        (FIRST.name, "latest", CHAIN[:2]),
        (SECOND.name, "latest", CHAIN),
        ("latest", SECOND.name, CHAIN),
    ],
)
def test_chains(wanted: str, inner: str, best: list[str]) -> None:
    assert names(ALL, wanted, inner)[0] == best


@pytest.mark.parametrize(
    ("target", "best"),
    [
        (Target(sequence=13, domain=1), FIRST.name),
        (Target(sequence=14, domain=1), SECOND.name),
        (Target(time=SECOND.finished), SECOND.name),
        (Target(time=SECOND.finished - timedelta(seconds=1)), FIRST.name),
        (Target(), NEXT_FULL.name),
    ],
)
def test_the_last_backup_before_a_point(target: Target, best: str) -> None:
    assert names(ALL, "latest", target=target)[0][-1] == best


def test_a_point_before_all_backups() -> None:
    assert names(ALL, "latest", target=Target(sequence=9, domain=1)) == []


def test_what_a_node_wrote_for_itself_is_not_compared() -> None:
    """Its domain counts on its own, and may be far ahead of the one that is wanted."""
    local = replace(FULL, gtid="0-1-601,1-1-374")
    assert names([local], "latest", target=parse_target("", "1-1-375", "")) == [[local.name]]
    assert names([local], "latest", target=parse_target("", "1-1-374", "")) == [[local.name]]
    assert names([local], "latest", target=parse_target("", "1-1-373", "")) == []
    assert recovery.start(local, Target(sequence=375, domain=1), 1) == 374


def test_a_point_of_another_domain() -> None:
    """What a node wrote for itself alone has numbers of its own."""
    target = parse_target("", "7-1-40", "")
    with pytest.raises(Refused, match="SOURCE_GTID is 7-1-40; allowed: a GTID of domain 1, as the backups have"):
        names(ALL, "latest", target=target)
    local = [replace(one, gtid=f"{one.gtid},7-1-35") for one in (FULL, NEXT_FULL)]
    assert names(local, "latest", target=target)[0][-1] == NEXT_FULL.name
    assert names(local, "latest", target=Target(sequence=30, domain=1))[0][-1] == NEXT_FULL.name
    with pytest.raises(TargetError, match="SOURCE_GTID is 7-1-40; allowed: a GTID of domain 1, that of the archived"):
        recovery.start(local[1], target or Target(), 1)
    assert recovery.start(local[1], Target(sequence=40, domain=1), 1) == 30


@pytest.mark.parametrize("gtid", ["", "7-1-35"])
@pytest.mark.parametrize("target", [Target(), Target(time=minute(8)), Target(sequence=40, domain=1)])
def test_a_backup_of_which_it_is_not_known_what_it_has_begins_nothing(gtid: str, target: Target) -> None:
    """It was made before the archive was; that begins with transaction 1 all the same."""
    base = replace(FULL, gtid=gtid)
    with pytest.raises(TargetError, match=f"its GTID is '{gtid}', and the archive is of domain 1"):
        recovery.start(base, target, 1)
    spans, documents = segments((1, 9))
    assert recovery.intervals([base], spans, lambda span: documents[span.key], 1) == []
    (found,) = recovery.intervals([base, backup(3)], spans, lambda span: documents[span.key], 1)
    assert found.first == 3
    (point,) = recovery.intervals([base], [], lambda span: documents[span.key], 0)
    assert (point.since, point.until) == (base.finished, base.finished)


def test_a_chain_without_a_link_is_told_and_older_ones_follow() -> None:
    found = list(selection.candidates([catalog([FULL, SECOND])], "latest", "latest"))
    assert found[0][0] == SECOND.name
    assert f"backup {FIRST.name}, which {SECOND.name} is an increment of, is not there" in str(found[0][1])
    assert found[1][0] == FULL.name


def test_a_backup_whose_verification_failed_is_told() -> None:
    found = list(selection.candidates([catalog(ALL, failed=[FIRST.name])], SECOND.name, "latest"))
    assert [str(why) for _, why in found] == [
        f"backup {SECOND.name} in volume /backups: the verification of {FIRST.name} failed"
    ]


@pytest.mark.parametrize(
    ("wanted", "inner", "text"),
    [
        ("nightly", "latest", f"SOURCE_BACKUP is 'nightly', which is not there; allowed: latest, {FULL.name}"),
        (
            "latest",
            "nightly",
            f"SOURCE_INCREMENT is 'nightly', which is not there; allowed: none, latest, {FULL.name}",
        ),
        (
            NEXT_FULL.name,
            FIRST.name,
            f"SOURCE_INCREMENT is '{FIRST.name}', which does not hang on {NEXT_FULL.name}; allowed: none, latest$",
        ),
        (FIRST.name, SECOND.name, "name one"),
    ],
)
def test_names_that_do_not_fit(wanted: str, inner: str, text: str) -> None:
    with pytest.raises(Refused, match=text):
        names(ALL, wanted, inner)


def test_two_targets_give_the_same_backup_twice() -> None:
    both = [catalog(ALL), catalog(ALL, store="s3://b/p")]
    found = [(name, chosen[-1].store) for name, chosen in selection.candidates(both, "latest", "latest")]  # type: ignore[union-attr]
    assert found[:2] == [(NEXT_FULL.name, "volume /backups"), (NEXT_FULL.name, "s3://b/p")]


def test_an_interval_begins_with_a_backup() -> None:
    spans, documents = segments((1, 9))
    (found,) = recovery.intervals([backup(3)], spans, lambda span: documents[span.key], 1)
    assert found == Interval(backup(3).name, 3, 9, minute(3.5), minute(9 + 1 / 3))
