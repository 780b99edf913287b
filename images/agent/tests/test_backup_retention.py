# SPDX-License-Identifier: GPL-3.0-or-later
"""What may go. Tables for the rules, and two years lived through with a faked clock for what must always hold."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from backup_samples import OTHER_UUID, at, catalog, full, increment
from galera_agent.backup.catalog import Backup, Catalog
from galera_agent.backup.manifest import Manifest
from galera_agent.backup.retention import decide, doubt, expired
from galera_agent.backup.settings import Retention, Thinning

DAY = timedelta(days=1)
YEAR = Retention(None, None, Thinning(7, 30, 365))
NOW = at("2026-11-21 02:00")


def daily(first: str, count: int) -> list[Manifest]:
    return [full(at(first) + number * DAY) for number in range(count)]


def kept(held: Catalog, rule: Retention, now: datetime = NOW) -> list[str]:
    """Days and kinds of what stays, `1121f` for a full backup of 21 November."""
    return [one.name[4:8] + one.name[17] for one in decide(held, now, rule) if not one.expires]


def reasons(held: Catalog, rule: Retention, now: datetime = NOW) -> dict[str, str]:
    return {one.name[4:8] + one.name[17]: one.reason for one in decide(held, now, rule)}


def test_days_keep_the_backup_that_they_begin_from() -> None:
    held = catalog(daily("2026-11-10 01:00", 12))
    # 18, 19, 20 and 21, and with 17 every moment of the last three days can be restored
    assert kept(held, Retention(3, None, None)) == ["1117f", "1118f", "1119f", "1120f", "1121f"]
    said = reasons(held, Retention(3, None, None))
    assert said["1117f"] == "is what the last 3 days begin from"
    assert said["1116f"] == "is 5 days old, and no rule keeps it"


def test_days_begin_from_a_backup_that_had_ended_then() -> None:
    """Nothing can be restored to a time at which its backup was still being taken."""
    manifests = daily("2026-11-10 01:00", 12)
    manifests[7] = replace(manifests[7], finished=at("2026-11-17 06:00"))
    last = increment(manifests[-1], at("2026-11-21 03:00"))
    # the 17th at 04:00 is within four days, and its own backup ended at 06:00
    assert kept(catalog([*manifests, last]), Retention(4, None, None), at("2026-11-21 03:05")) == [
        "1116f", "1117f", "1118f", "1119f", "1120f", "1121f", "1121i",
    ]  # fmt: skip


def test_keep_last_counts_full_backups() -> None:
    manifests = daily("2026-11-18 01:00", 4)
    manifests += [increment(manifests[-1], at("2026-11-21 01:30")), increment(manifests[1], at("2026-11-19 05:00"))]
    assert kept(catalog(manifests), Retention(None, 2, None)) == ["1120f", "1121f", "1121i"]


def test_no_rule_and_no_good_backup() -> None:
    manifests = daily("2020-01-01 01:00", 3)
    assert kept(catalog(manifests), Retention(None, None, None)) == ["0101f", "0102f", "0103f"]
    failed = catalog(manifests, failed=[one.name for one in manifests])
    assert kept(failed, Retention(1, 1, None)) == ["0101f", "0102f", "0103f"]
    assert decide(catalog([]), NOW, YEAR) == []


def test_a_year_of_daily_backups_thins_out() -> None:
    """All of the last week, every second for a month, every seventh for a year; across two new years."""
    held = catalog(daily("2024-11-01 01:00", 751))
    days = [one.name[:8] for one in decide(held, NOW, YEAR) if not one.expires]
    ages = [(at("2026-11-21 01:00") - at(f"{day[:4]}-{day[4:6]}-{day[6:]} 01:00")).days for day in days]
    week = [age for age in ages if age <= 7]
    month = [age for age in ages if 7 < age <= 30]
    year = [age for age in ages if age > 30]
    assert week == list(range(7, -1, -1))
    # 22 days, one of two; at most one more for each week that they end
    assert 11 <= len(month) <= 14
    assert {first - second for first, second in pairwise(month)} <= {1, 2}
    assert {first - second for first, second in pairwise(year)} == {7}
    assert 358 < max(year) <= 365
    # always the first of its seven days, which are those from Sunday on
    assert {(at("2026-11-21 01:00") - age * DAY).weekday() for age in year} == {6}


def test_missed_days() -> None:
    """What is there is kept, not what stands at a certain date."""
    days = ("2026-03-03", "2026-06-17", "2026-06-18", "2026-10-29", "2026-11-02", "2026-11-03", "2026-11-21")
    held = catalog([full(at(f"{day} 01:00")) for day in days])
    assert kept(held, YEAR) == ["0303f", "0617f", "1029f", "1102f", "1121f"]


def test_time_stands_still_while_backups_fail() -> None:
    held = catalog(daily("2026-11-10 01:00", 3))
    for now in ("2026-11-13 01:00", "2027-11-13 01:00", "2099-01-01 00:00"):
        assert kept(held, Retention(2, None, None), at(now)) == ["1110f", "1111f", "1112f"]


def test_backups_from_the_future_stay_and_age_nothing() -> None:
    """The clock was ahead for a day, and is right again."""
    held = catalog([*daily("2026-11-15 01:00", 7), full(at("2038-01-19 03:00"))])
    assert kept(held, Retention(1, None, None)) == ["1119f", "1120f", "1121f", "0119f"]
    assert reasons(held, Retention(1, None, None))["0119f"].startswith("was begun later than now")


def at_days(*days: float) -> Catalog:
    """Full backups so many days after the first one."""
    return catalog([full(at("2026-11-01 01:00") + day * DAY) for day in days])


@pytest.mark.parametrize("rule", [Retention(7, None, None), Retention(None, 2, None), YEAR])
def test_a_clock_that_is_ahead_deletes_nothing(rule: Retention) -> None:
    held = at_days(*range(20), 19 + 365)
    now = at("2026-11-20 01:05") + 365 * DAY
    assert expired(held, now, rule) == []
    assert reasons(held, rule, now)["1101f"] == (
        "nothing expires: the backup of 2027-11-20T01:00:00Z was begun 365 days after the one before it, and those "
        "before were at most 24.0 hours apart, so the clock may be ahead; "
        "it is believed when the backups go on for a day"
    )
    # the clock is right again: the one from the future counts for nothing
    assert doubt(held, at("2026-11-20 02:00")) == ""
    assert ("1101f" in kept(held, rule, at("2026-11-20 02:00"))) == (rule == YEAR)


def test_after_a_real_pause_the_backups_of_a_day_show_that_the_clock_is_right() -> None:
    rule, now = Retention(7, None, None), at("2027-01-01 00:00")
    assert expired(at_days(*range(20), 50), now, rule) == []
    assert expired(at_days(*range(20), 50, 50.04), now, rule) == []
    confirmed = at_days(*range(20), 50, 51)
    # the newest before the pause is what the last days begin from
    assert kept(confirmed, rule, now) == ["1120f", "1221f", "1222f"]


@pytest.mark.parametrize(
    ("days", "doubted"),
    [
        ([0, 1, 2, 3, 4, 6], False),
        ([0, 1, 2, 3, 4, 6.1], True),
        # every weekend
        ([0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 14], False),
        # the pause was long ago, and many backups were taken since
        ([0, 20, *range(21, 30), 40], True),
        ([0, 30, 60, 90, 120], False),
        ([0, 30], False),
        ([], False),
    ],
)
def test_what_pause_is_unusual(days: list[float], doubted: bool) -> None:
    assert bool(doubt(at_days(*days), at("2028-01-01 00:00"))) == doubted


def test_backups_that_fail_after_a_good_one_are_no_doubt_about_it() -> None:
    held = at_days(*range(10), 40)
    failed = catalog([one.manifest for one in held.backups], failed=[held.backups[-1].name])
    rule = Retention(2, None, None)
    assert doubt(failed, at("2027-01-01 00:00")) == ""
    assert kept(failed, rule, at("2027-01-01 00:00")) == ["1107f", "1108f", "1109f", "1110f", "1211f"]
    assert doubt(catalog([], failed=[]), NOW) == ""


def test_the_clock_of_the_store_counts_where_that_of_the_node_was_ahead() -> None:
    """Its backups are as old as the store says, however many there are."""
    right = at_days(*range(10))
    moments = [at(f"2026-11-{day} 01:00") for day in (11, 12, 13, 14)]
    wrong = [Backup(full(one + 300 * DAY), None, right.store, one + timedelta(minutes=2)) for one in moments]
    held = replace(right, backups=(*right.backups, *wrong))
    now = at("2027-12-01 00:00")
    assert kept(held, Retention(5, None, None), now) == ["1108f", "1109f", "1110f", "0907f", "0908f", "0909f", "0910f"]
    assert kept(held, Retention(1, None, None), now) == ["0908f", "0909f", "0910f"]


def test_chains_stay_whole() -> None:
    first = full(at("2026-11-01 01:00"))
    chain = [first]
    for day in range(2, 22):
        chain.append(increment(chain[-1], at(f"2026-11-{day:02} 01:00")))
    old = full(at("2026-10-01 01:00"))
    held = catalog([old, increment(old, at("2026-10-02 01:00")), *chain])
    assert kept(held, Retention(2, None, None)) == [one.name[4:8] + one.name[17] for one in chain]
    assert expired(held, NOW, Retention(2, None, None)) == [
        ("20261002T010000Z-incremental", "is 50 days old, and no rule keeps it"),
        ("20261001T010000Z-full", "is 51 days old, and no rule keeps it"),
    ]
    assert reasons(held, Retention(2, None, None))["1101f"].startswith("is of the chain of 2026112")


def test_the_last_good_and_the_last_verified_stay() -> None:
    manifests = daily("2026-11-10 01:00", 6)
    names = [one.name for one in manifests]
    held = catalog(manifests, failed=names[3:5], passed=names[:2])
    # 15 is good, but not verified; 14 and 13 have failed and stay to be looked at; 11 is the last known to restore
    assert kept(held, Retention(None, 1, None)) == ["1111f", "1113f", "1114f", "1115f"]
    worse = catalog(manifests, failed=names[3:], passed=names[:2])
    assert kept(worse, Retention(None, 1, None)) == ["1111f", "1112f", "1113f", "1114f", "1115f"]


@pytest.mark.parametrize(
    "broken",
    [
        lambda one: replace(one, uuid=OTHER_UUID),
        lambda one: replace(one, lsn_from=one.lsn_from + 1, lsn_to=one.lsn_to + 1),
        lambda one: replace(one, parent_digest="0" * 64),
        lambda one: replace(one, base="f" * 32),
    ],
    ids=["uuid", "lsn", "digest", "base"],
)
def test_a_broken_chain_is_never_the_last_good(broken: Callable[[Manifest], Manifest]) -> None:
    good, first = full(at("2026-11-01 01:00")), full(at("2026-11-02 01:00"))
    torn = broken(increment(first, at("2026-11-21 01:00")))
    later = increment(torn, at("2026-11-21 02:00"))
    held = catalog([good, first, torn, later])
    assert kept(held, Retention(None, 1, None)) == ["1102f", "1121i", "1121i"]
    orphan = catalog([good, torn, later])
    assert kept(orphan, Retention(None, 1, None)) == ["1101f", "1121i", "1121i"]
    said = {one.name: one.reason for one in decide(orphan, NOW, Retention(None, 1, None))}
    assert said[later.name].startswith("cannot be restored (")


def test_what_cannot_be_restored_goes_with_its_time() -> None:
    lost = full(at("2026-11-01 01:00"))
    orphans = [increment(lost, at("2026-11-01 02:00")), increment(lost, at("2026-11-20 02:00"))]
    held = catalog([*orphans, *daily("2026-11-15 01:00", 7)])
    assert kept(held, Retention(None, 3, None)) == ["1119f", "1120f", "1120i", "1121f"]


# --- two years --------------------------------------------------------------------------------------------------------
RULES = {
    "days": Retention(7, None, None),
    "last": Retention(None, 3, None),
    "year": YEAR,
    "all": Retention(3, 2, Thinning(5, 20, 200)),
}


def hourly_rhythm(noise: random.Random) -> Iterator[tuple[datetime, bool]]:
    """A full backup a day and some increments, for two years over two new years; days are missed, some for weeks."""
    day = at("2026-10-01 00:00")
    while day < at("2028-10-01 00:00"):
        if noise.random() < 0.02:
            day += noise.randrange(2, 25) * DAY
            continue
        if noise.random() < 0.9:
            yield day + timedelta(hours=1, seconds=noise.randrange(600)), True
        for hour in sorted(noise.sample(range(2, 24), noise.randrange(3))):
            yield day + timedelta(hours=hour, seconds=noise.randrange(600)), False
        day += DAY


def weekly_rhythm(noise: random.Random) -> Iterator[tuple[datetime, bool]]:
    """A full backup every week or so, increments nearly every day."""
    moment = at("2026-10-01 01:00")
    for number in range(730):
        if noise.random() < 0.95:
            yield moment + timedelta(seconds=noise.randrange(600)), number % 7 == 0
        moment += DAY


@pytest.mark.parametrize("rhythm", [hourly_rhythm, weekly_rhythm])
@pytest.mark.parametrize("name", RULES)
def test_two_years(name: str, rhythm: Callable[[random.Random], Iterator[tuple[datetime, bool]]]) -> None:
    rule, noise = RULES[name], random.Random(f"{name} {rhythm.__name__}")
    held: list[Manifest] = []
    history: list[datetime] = []
    for moment, is_full in rhythm(noise):
        if is_full or not held:
            held.append(full(moment))
        else:
            # mostly on the newest, now and then a branch of one before
            held.append(increment(held[-1] if noise.random() < 0.9 else noise.choice(held[-9:]), moment))
        held.sort(key=lambda one: one.name)
        history.append(moment)
        # the clock is now and then behind, up to a month, or a day ahead
        step = noise.choice([0, 0, 0, 0, 0, -1, -30, 1]) * DAY
        now = moment + step
        before = catalog(held)
        gone = {one for one, _ in expired(before, now, rule)}
        held = [one for one in held if one.name not in gone]
        after = catalog(held)
        check_chains(before, after, gone, now)
        check_promises(after, history, moment if step >= timedelta(0) else None, rule)
        assert expired(after, now, rule) == []
    assert len(history) > 300


def check_chains(before: Catalog, after: Catalog, gone: set[str], now: datetime) -> None:
    """No chain was cut, none was cut short, and the newest that there was at this time is there."""
    assert not any(after.problem_of(one.name) for one in after.backups)
    roots: dict[str, str] = {}
    for one in before.backups:
        roots[one.name] = roots.get(one.manifest.parent or "", one.name)
    assert not {roots[name] for name in gone} & {roots[name] for name in after.by_name}
    past = [one.name for one in before.backups if one.manifest.started <= now]
    assert not past or past[-1] in after.by_name


def check_promises(after: Catalog, history: list[datetime], now: datetime | None, rule: Retention) -> None:
    """What each rule promises, at times when the clock is right."""
    if now is None:
        return
    there = [one.manifest.started for one in after.backups]
    if rule.days is not None:
        window = now - rule.days * DAY
        assert [one for one in history if one >= window] == [one for one in there if one >= window]
        assert there[0] <= window or there[0] == history[0]
    if rule.thinning is not None:
        week = now - rule.thinning.all_days * DAY
        assert [one for one in history if one >= week] == [one for one in there if one >= week]
        for length, until in ((2, rule.thinning.alternate_until_days), (7, rule.thinning.weekly_until_days)):
            limit = now - (until - length) * DAY
            spans = {one.toordinal() // length for one in history if one >= limit}
            assert spans <= {one.toordinal() // length for one in there}


@pytest.mark.parametrize("rule", [Retention(7, None, None), Retention(None, 2, None), YEAR])
def test_the_first_backup_after_a_restore_stays_whatever_the_clock_of_the_target_says(rule: Retention) -> None:
    """It is the only one of the present history, and would be taken again at once."""
    before = [Backup(one, None, "s", one.finished) for one in daily("2026-11-01 01:00", 20)]
    first = full(at("2026-11-21 01:00"), uuid=OTHER_UUID)
    behind = Backup(first, None, "s", first.finished - 20 * DAY)
    held = catalog([])
    assert held.owner is not None
    held = replace(held, backups=(*before, behind), owner=replace(held.owner, uuid=OTHER_UUID))
    assert reasons(held, rule)["1121f"] == "is the last good one of the cluster"
    later = Backup(full(at("2026-11-21 01:30"), uuid=OTHER_UUID, seqno=9), None, "s", first.finished - 20 * DAY)
    held = replace(held, backups=(*before, behind, later))
    assert [one.expires for one in decide(held, NOW, rule)[-2:]] == [True, False]
