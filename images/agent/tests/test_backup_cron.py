# SPDX-License-Identifier: GPL-3.0-or-later
"""Cron expressions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from backup_samples import at
from galera_agent.backup.cron import CronError, parse


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("0 1 * * *", "2026-11-21 00:59", "2026-11-21 01:00"),
        ("0 1 * * *", "2026-11-21 01:00", "2026-11-22 01:00"),
        ("0 1 * * *", "2026-12-31 01:00", "2027-01-01 01:00"),
        ("* * * * *", "2026-11-21 00:59", "2026-11-21 01:00"),
        ("*/15 * * * *", "2026-11-21 00:46", "2026-11-21 01:00"),
        ("5/20 * * * *", "2026-11-21 00:00", "2026-11-21 00:05"),
        ("5/20 * * * *", "2026-11-21 00:25", "2026-11-21 00:45"),
        ("10-20/5,50 3 * * *", "2026-11-21 03:15", "2026-11-21 03:20"),
        ("10-20/5,50 3 * * *", "2026-11-21 03:20", "2026-11-21 03:50"),
        # 2026-11-21 is a Saturday
        ("0 0 * * 0", "2026-11-21 12:00", "2026-11-22 00:00"),
        ("0 0 * * 7", "2026-11-21 12:00", "2026-11-22 00:00"),
        ("0 0 * * sat-sun", "2026-11-22 12:00", "2026-11-28 00:00"),
        # one day, and not all of them
        ("0 0 * * sun-sun", "2026-11-22 12:00", "2026-11-29 00:00"),
        ("0 0 * * 0-0/2", "2026-11-22 12:00", "2026-11-29 00:00"),
        ("0 0 * * 7/2", "2026-11-22 12:00", "2026-11-29 00:00"),
        ("0 0 * * MON-fri", "2026-11-21 12:00", "2026-11-23 00:00"),
        ("0 0 * * 5-7", "2026-11-21 12:00", "2026-11-22 00:00"),
        ("0 0 * * */3", "2026-11-22 12:00", "2026-11-25 00:00"),
        ("0 0 1 jan,JUL *", "2026-11-21 12:00", "2027-01-01 00:00"),
        ("0 0 31 * *", "2026-11-01 00:00", "2026-12-31 00:00"),
        ("0 0 29 2 *", "2026-03-01 00:00", "2028-02-29 00:00"),
        ("0 0 29 2 *", "2096-03-01 00:00", "2104-02-29 00:00"),
        # either day field, where neither begins with *
        ("0 0 13 * fri", "2026-11-13 00:00", "2026-11-20 00:00"),
        ("0 0 13 * fri", "2026-12-11 00:00", "2026-12-13 00:00"),
        ("0 0 31 2 mon", "2026-11-21 00:00", "2027-02-01 00:00"),
        # both, where one does
        ("0 0 */2 * mon", "2026-11-21 00:00", "2026-11-23 00:00"),
        ("0 0 */2 * mon", "2026-11-23 00:00", "2026-12-07 00:00"),
    ],
)
def test_next(text: str, after: str, expected: str) -> None:
    assert parse(text).next_after(at(after)) == at(expected)


def test_seconds_and_zones() -> None:
    early = datetime(2026, 11, 21, 0, 59, 59, 999999, tzinfo=UTC)
    assert parse("0 1 * * *").next_after(early) == at("2026-11-21 01:00")
    there = datetime(2026, 11, 21, 2, 30, tzinfo=timezone(timedelta(hours=2)))
    found = parse("0 1 * * *").next_after(there)
    assert (found, found.utcoffset()) == (at("2026-11-21 01:00"), timedelta(0))


def test_each_next_is_the_first_that_fits() -> None:
    """Against a search minute by minute."""
    cron = parse("7,40-45/2 */5 1-20 2-11/3 *")
    moment, end = at("2026-01-30 00:00"), at("2026-03-10 00:00")
    fitting = []
    while moment < end:
        if (
            moment.minute in (7, 40, 42, 44)
            and moment.hour in (0, 5, 10, 15, 20)
            and moment.day <= 20
            and moment.month in (2, 5, 8, 11)
        ):
            fitting.append(moment)
        moment += timedelta(minutes=1)
    found = [cron.next_after(at("2026-01-30 00:00"))]
    while len(found) < len(fitting):
        found.append(cron.next_after(found[-1]))
    assert found == fitting
    assert len(found) == 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has 0 fields; allowed: minute, hour, day of month, month, day of week"),
        ("@daily", "it has 1 fields"),
        ("0 1 * * * *", "it has 6 fields"),
        ("60 1 * * *", "'60' is no minute; allowed: *, 0 to 59, ranges"),
        ("0 24 * * *", "'24' is no hour"),
        ("0 0 0 * *", "'0' is no day of month"),
        ("0 0 * 13 *", "'13' is no month; allowed: *, 1 to 12, jan to dec"),
        ("0 0 * * 8", "'8' is no day of week"),
        ("0 0 * * moon", "'moon' is no day of week"),
        ("0 0 jan * *", "'jan' is no day of month"),
        ("5-1 * * * *", "'5-1' is no minute"),
        ("*/0 * * * *", "'*/0' is no minute"),
        ("-1 * * * *", "'-1' is no minute"),
        ("1, * * * *", "'' is no minute"),
        ("1.5 * * * *", "'1.5' is no minute"),
        ("* * L * *", "'L' is no day of month"),
        ("٣ * * * *", "'٣' is no minute"),
        ("0 0 31 2 *", "names a date that never comes"),
        ("0 0 30,31 feb *", "names a date that never comes"),
        ("0 0 31 4,6,9,11 *", "names a date that never comes"),
    ],
)
def test_wrong(text: str, said: str) -> None:
    with pytest.raises(CronError) as error:
        parse(text)
    assert said in str(error.value)
