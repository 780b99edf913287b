# SPDX-License-Identifier: GPL-3.0-or-later
"""What is due. Observations in, decision and reason out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from backup_samples import OTHER_UUID, UUID, at, catalog, full, increment, settings_json
from galera_agent.backup.catalog import Backup, Catalog
from galera_agent.backup.manifest import Manifest
from galera_agent.backup.plan import (
    Due,
    Full,
    Incremental,
    LastAttempt,
    NodeFacts,
    Nothing,
    Share,
    due,
    on_demand,
    share,
)
from galera_agent.backup.settings import Settings, from_json

FULL = full(at("2026-11-21 01:00"))
INC1 = increment(FULL, at("2026-11-21 02:00"))
INC2 = increment(INC1, at("2026-11-21 03:00"))
CHAIN = [FULL, INC1, INC2]
SETTINGS = from_json(settings_json())
PATIENCE = "the last 1 failed; it is tried again later"


def facts(*manifests: Manifest, **changes: object) -> NodeFacts:
    """A healthy node whose data directory remembers these backups."""
    names = frozenset(one.name for one in manifests)
    plain = NodeFacts(True, "", UUID, "11.8.8-MariaDB-log", 5000, names)
    return replace(plain, **changes)  # type: ignore[arg-type]


def decide(
    now: str,
    held: list[Manifest] | Catalog,
    node: NodeFacts,
    last: LastAttempt | None = None,
    settings: Settings = SETTINGS,
) -> Due:
    catalogs = [held if isinstance(held, Catalog) else catalog(held)]
    return due(at(now), catalogs, settings, last or LastAttempt(), node)


def parent_of(decision: Due) -> str:
    assert isinstance(decision, Incremental), decision
    return decision.parent.name


def test_first_backup_is_full_at_once() -> None:
    assert decide("2026-11-21 12:00", [], facts()) == Full("volume /backups has no good full backup")


@pytest.mark.parametrize(
    ("now", "until"),
    [("2026-11-21 03:01", "2026-11-21 04:00"), ("2026-11-21 03:59", "2026-11-21 04:00")],
)
def test_nothing_before_its_time(now: str, until: str) -> None:
    decision = decide(now, CHAIN, facts(*CHAIN))
    assert isinstance(decision, Nothing)
    assert decision.until == at(until)


def test_increment_by_interval() -> None:
    decision = decide("2026-11-21 04:00", CHAIN, facts(*CHAIN))
    assert parent_of(decision) == INC2.name
    assert decision.reason == "the last backup began 3600 s ago"


def test_the_schedule_comes_before_an_increment() -> None:
    late = increment(INC2, at("2026-11-22 00:30"))
    waiting = decide("2026-11-22 00:59", [*CHAIN, late], facts(late))
    assert waiting == Nothing(at("2026-11-22 01:00"), "neither the schedule nor the interval asks for one before")
    assert decide("2026-11-22 01:00", [*CHAIN, late], facts(late)) == Full(
        "the schedule asked for one at 2026-11-22 01:00 UTC"
    )


def test_missed_schedules_are_made_up_for_once() -> None:
    assert isinstance(decide("2026-11-29 13:00", CHAIN, facts(*CHAIN)), Full)
    again = full(at("2026-11-29 13:00"))
    decision = decide("2026-11-29 13:01", [*CHAIN, again], facts(again))
    assert isinstance(decision, Nothing)
    assert decision.until == at("2026-11-29 14:00")


def test_no_increments_wanted() -> None:
    plain = from_json(settings_json(incremental_interval_seconds=None))
    decision = decide("2026-11-21 23:00", [FULL], facts(FULL), settings=plain)
    assert decision == Nothing(at("2026-11-22 01:00"), "the schedule asks for none before")


@pytest.mark.parametrize(
    ("held", "node", "why"),
    [
        (
            CHAIN,
            facts(),
            "none of the backups there was taken from this data directory, so there is no common LSN base",
        ),
        (CHAIN, facts(full(at("2026-11-20 01:00"))), "none of the backups there was taken from this data directory"),
        (
            CHAIN,
            facts(*CHAIN, server_version="12.0.1-MariaDB"),
            "is of MariaDB 11.8.6-MariaDB-log, this node runs 12.0.1",
        ),
        (CHAIN, facts(*CHAIN, lsn=1019), "ends at LSN 1020, this node is at 1019"),
        ([FULL, INC2], facts(*CHAIN), f"backup {INC1.name}, which {INC2.name} is an increment of, is not there"),
        (
            [FULL, INC1, replace(INC2, lsn_from=1011)],
            facts(*CHAIN),
            f"backup {INC2.name} does not fit its parent {INC1.name}: it continues LSN 1011, the parent has 1010",
        ),
        (catalog(CHAIN, failed=[INC1.name]), facts(*CHAIN), f"the verification of {INC1.name} failed"),
    ],
    ids=["other node", "emptied", "version", "lsn", "missing", "broken", "verification"],
)
def test_a_full_one_where_no_increment_is_right(held: list[Manifest] | Catalog, node: NodeFacts, why: str) -> None:
    decision = decide("2026-11-21 05:00", held, node)
    assert isinstance(decision, Full), decision
    assert decision.reason.startswith("an increment is due, and none can be taken: ")
    assert why in decision.reason


def test_a_restored_cluster_has_no_backup_until_one_is_taken() -> None:
    """Whatever the schedule says: what it writes from now on hangs on a full backup of its own."""
    new = facts(uuid=OTHER_UUID)
    decision = decide("2026-11-21 02:00", [FULL], new)
    assert decision == Full(f"volume /backups has no good full backup of the present cluster state {OTHER_UUID}")
    sick = replace(new, healthy=False, why="it is a donor")
    assert decide("2026-11-21 02:00", [FULL], sick) == Nothing(None, "suspended: it is a donor", suspended=True)
    failed = decide("2026-11-21 02:01", [FULL], new, LastAttempt(at("2026-11-21 02:00"), 1))
    assert failed == Nothing(at("2026-11-21 02:05"), "the last 1 failed; it is tried again later")
    own = full(at("2026-11-21 02:10"), uuid=OTHER_UUID)
    after = decide("2026-11-21 02:20", [FULL, own], new)
    assert isinstance(after, Nothing)
    assert after.until == at("2026-11-21 03:10")
    assert isinstance(decide("2026-11-21 02:20", catalog([FULL, own], failed=[own.name]), new), Full)
    asked = on_demand(
        "incremental", at("2026-11-21 02:20"), [catalog([FULL])], SETTINGS, replace(new, backups={FULL.name})
    )
    assert isinstance(asked, Nothing)
    assert f"is of the cluster state {UUID}, this node has {OTHER_UUID}" in asked.reason


def test_an_undone_restore_goes_on_where_its_history_stood() -> None:
    """What was taken of the abandoned history delays nothing."""
    abandoned = full(at("2026-11-21 04:30"), uuid=OTHER_UUID)
    decision = decide("2026-11-21 05:00", [*CHAIN, abandoned], facts(*CHAIN))
    assert parent_of(decision) == INC2.name
    assert isinstance(decide("2026-11-21 05:00", [abandoned], facts(*CHAIN)), Full)


def test_chain_of_the_longest_length() -> None:
    short = from_json(settings_json(max_chain=2))
    assert parent_of(decide("2026-11-21 04:00", CHAIN[:2], facts(*CHAIN), settings=short)) == INC1.name
    decision = decide("2026-11-21 04:00", CHAIN, facts(*CHAIN), settings=short)
    assert isinstance(decision, Full)
    assert "ends a chain of 2 increments, the most there may be" in decision.reason


def test_a_node_goes_on_from_its_own_backup() -> None:
    """Another node led meanwhile; its backups are no base, the own ones before are."""
    other = full(at("2026-11-21 03:00"), base="f" * 32)
    held = [FULL, INC1, other, increment(other, at("2026-11-21 04:00"))]
    assert parent_of(decide("2026-11-21 05:00", held, facts(FULL, INC1))) == INC1.name


def test_a_failed_increment_is_no_parent() -> None:
    """What has no manifest is not in the catalog, whatever the data directory remembers."""
    held = replace(catalog([FULL, INC1]), incomplete=(INC2.name,))
    assert parent_of(decide("2026-11-21 04:00", held, facts(*CHAIN))) == INC1.name


def test_suspended_only_when_something_is_due() -> None:
    sick = facts(*CHAIN, healthy=False, why="n-galera-1 is not Synced")
    assert decide("2026-11-21 04:00", CHAIN, sick) == Nothing(
        None, "suspended: n-galera-1 is not Synced", suspended=True
    )
    early = decide("2026-11-21 03:10", CHAIN, sick)
    assert isinstance(early, Nothing)
    assert early.until == at("2026-11-21 04:00")


@pytest.mark.parametrize(("failures", "minutes"), [(1, 5), (2, 10), (4, 40), (5, 80), (6, 120), (500, 120)])
def test_patience_after_failures(failures: int, minutes: int) -> None:
    failed = at("2026-11-21 04:00")
    last = LastAttempt(failed, failures)
    before = decide("2026-11-21 04:01", CHAIN, facts(*CHAIN), last)
    assert before == Nothing(
        failed + timedelta(minutes=minutes), f"the last {failures} failed; it is tried again later"
    )
    after = due(failed + timedelta(minutes=minutes), [catalog(CHAIN)], SETTINGS, last, facts(*CHAIN))
    assert isinstance(after, Incremental)
    # the clock was set back behind the failure
    assert isinstance(
        decide("2026-11-21 04:00", CHAIN, facts(*CHAIN), LastAttempt(at("2026-11-22 04:00"), 3)), Incremental
    )


def test_clock_set_back() -> None:
    """A little delays a little; a backup from far in the future does not count, and is no parent."""
    assert isinstance(decide("2026-11-21 02:30", CHAIN, facts(*CHAIN)), Nothing)
    ahead = increment(INC2, at("2030-01-01 00:00"))
    decision = decide("2026-11-21 04:00", [*CHAIN, ahead], facts(*CHAIN, ahead))
    assert parent_of(decision) == INC2.name
    assert decide("2026-11-21 04:00", [full(at("2030-01-01 00:00"))], facts()) == Full(
        "volume /backups has no good full backup"
    )


def test_several_stores_follow_the_one_that_is_behind() -> None:
    volume, s3 = catalog(CHAIN), catalog([FULL, INC1], "s3://b/n")
    now = at("2026-11-21 03:30")
    behind = due(now, [volume, s3], SETTINGS, LastAttempt(), facts(*CHAIN))
    assert behind == Full(f"an increment is due, and none can be taken: backup {INC2.name} is not there in s3://b/n")
    empty = due(now, [volume, catalog([], "s3://b/n")], SETTINGS, LastAttempt(), facts(*CHAIN))
    assert empty == Full("s3://b/n has no good full backup")
    both = due(at("2026-11-21 04:00"), [volume, catalog(CHAIN, "s3://b/n")], SETTINGS, LastAttempt(), facts(*CHAIN))
    assert parent_of(both) == INC2.name
    swapped = catalog([FULL, INC1, replace(INC2, seqno=8)], "s3://b/n")
    other = due(at("2026-11-21 04:00"), [volume, swapped], SETTINGS, LastAttempt(), facts(*CHAIN))
    assert isinstance(other, Full)
    assert "is another in s3://b/n than in volume /backups" in other.reason


def test_a_store_that_fails_costs_the_others_no_full_backups() -> None:
    """After a failure the one that is behind is tried alone, with patience; the others go on without it."""
    volume, s3 = catalog(CHAIN), catalog([FULL, INC1], "s3://b/n")
    failed = LastAttempt(at("2026-11-21 03:02"), 1, (s3.store,))

    def decided(now: str, behind: Catalog = s3, last: LastAttempt = failed) -> Share:
        return share(at(now), [volume, behind], SETTINGS, last, facts(*CHAIN))

    # nothing is due in the volume, and the other one waits
    assert decided("2026-11-21 03:05") == Share(Nothing(at("2026-11-21 03:07"), PATIENCE), [volume, s3], ())
    # then it gets what it lacks, by itself
    alone = decided("2026-11-21 03:30")
    assert (parent_of(alone.due), alone.catalogs, alone.waits) == (INC1.name, [s3], ())
    # what is due in the volume is an increment still, and does not wait
    for behind in (s3, catalog([], "s3://b/n")):
        ahead = decided("2026-11-21 04:00", behind)
        assert (parent_of(ahead.due), ahead.catalogs, ahead.waits) == (INC2.name, [volume], ("s3://b/n",))
    assert decided("2026-11-21 03:30", catalog([], "s3://b/n")).catalogs[0].store == "s3://b/n"
    # without a failure, and where no one is behind, all are one
    for behind, last in ((s3, LastAttempt()), (catalog(CHAIN, "s3://b/n"), failed)):
        assert [one.store for one in decided("2026-11-21 04:00", behind, last).catalogs] == [volume.store, s3.store]


def test_a_store_that_fails_itself_is_no_reason_to_leave_out_the_others() -> None:
    """The volume fills up after the bucket was away: what is due is tried in both, with patience."""
    volume, s3 = catalog(CHAIN), catalog([FULL, INC1], "s3://b/n")
    for failed_in in ({volume.store}, {volume.store, s3.store}):
        last = LastAttempt(at("2026-11-21 04:00"), 1, frozenset(failed_in))
        waits = share(at("2026-11-21 04:01"), [volume, s3], SETTINGS, last, facts(*CHAIN))
        assert waits.due == Nothing(at("2026-11-21 04:05"), PATIENCE)
        found = share(at("2026-11-21 04:05"), [volume, s3], SETTINGS, last, facts(*CHAIN))
        assert (type(found.due), found.catalogs, found.waits) == (Full, [volume, s3], ())


def test_patience_with_a_store_that_is_away_now_holds_up_no_other() -> None:
    last = LastAttempt(at("2026-11-21 03:59"), 6, frozenset({"s3://b/n"}))
    found = share(at("2026-11-21 04:00"), [catalog(CHAIN)], SETTINGS, last, facts(*CHAIN))
    assert parent_of(found.due) == INC2.name


@pytest.mark.parametrize(
    ("kind", "node", "expected"),
    [
        ("full", facts(*CHAIN), Full("it was asked for")),
        ("incremental", facts(), Nothing),
        ("auto", facts(), Full),
        ("auto", facts(*CHAIN), Incremental),
        ("incremental", facts(*CHAIN), Incremental),
        ("full", facts(healthy=False, why="it is a donor"), Nothing(None, "suspended: it is a donor", suspended=True)),
    ],
)
def test_on_demand(kind: str, node: NodeFacts, expected: object) -> None:
    now: datetime = at("2026-11-21 03:01")
    decision = on_demand(kind, now, [catalog(CHAIN)], SETTINGS, node)
    assert isinstance(decision, expected) if isinstance(expected, type) else decision == expected


# --- clocks -----------------------------------------------------------------------------------------------------------
DAYS = [at("2026-10-01 01:00") + timedelta(days=number) for number in range(60)]


def lived(ahead: timedelta, behind: timedelta, busy: bool, until: int) -> Catalog:
    """A backup each day; from day 3 to 12 the node's clock was ahead, or from then on that of the target is behind."""
    found = []
    for number, day in enumerate(DAYS[:until]):
        wrong = 3 <= number < 13
        manifest = full(day + ahead if wrong else day, seqno=number if busy else 7)
        written = manifest.finished - (ahead if wrong else timedelta(0))
        found.append(Backup(manifest, None, "volume /backups", written - (behind if number >= 3 else timedelta(0))))
    return replace(catalog([]), backups=tuple(sorted(found, key=lambda one: one.name)))


@pytest.mark.parametrize("number", [13, 20, 33, 36, 42, 43, 50])
def test_backups_of_a_clock_that_was_ahead_are_none_of_later(number: int) -> None:
    """Also when the time has come that it showed."""
    held = lived(timedelta(days=30), timedelta(0), True, number)
    plain = replace(SETTINGS, incremental_interval_seconds=None)
    now = DAYS[number] + timedelta(minutes=1)
    assert isinstance(due(now, [held], plain, LastAttempt(), facts()), Full)
    assert isinstance(due(now - timedelta(hours=1), [held], plain, LastAttempt(), facts()), Nothing)


@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize("number", [4, 12])
def test_while_a_clock_is_ahead_its_own_backups_count(number: int, busy: bool) -> None:
    """By the clock of the target none was taken for a month, and each look would take another one."""
    ahead = timedelta(days=30)
    held = lived(ahead, timedelta(0), busy, number)
    plain = replace(SETTINGS, incremental_interval_seconds=None)
    now = DAYS[number] + ahead - timedelta(hours=1)
    assert isinstance(due(now, [held], plain, LastAttempt(), facts()), Nothing)


@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize("number", [4, 30])
def test_a_target_whose_clock_is_behind_has_the_backups_that_it_has(number: int, busy: bool) -> None:
    held = lived(timedelta(0), timedelta(days=20), busy, number)
    plain = replace(SETTINGS, incremental_interval_seconds=None)
    assert isinstance(due(DAYS[number] - timedelta(hours=1), [held], plain, LastAttempt(), facts()), Nothing)
    assert isinstance(due(DAYS[number] + timedelta(minutes=1), [held], plain, LastAttempt(), facts()), Full)
