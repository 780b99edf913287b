# SPDX-License-Identifier: GPL-3.0-or-later
"""Cron expressions of five fields, in UTC: when does it run next? Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# A 29 February on a given weekday comes back within 40 years, also across a century that has no leap year.
_HORIZON = timedelta(days=41 * 366)


class CronError(ValueError):
    """Not a cron expression; the text says which field is wrong and what is allowed."""


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    # 7 is Sunday as well
    _Field("day of week", 0, 7, _DAYS),
)


@dataclass(frozen=True)
class Cron:
    """A parsed expression. As in cron, either day field is enough, but both are asked where one begins with `*`."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    def next_after(self, moment: datetime) -> datetime:
        """The first time strictly after an aware moment, in UTC.

        Raises CronError where there is none (31 February).
        """
        start = moment.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        day = start.replace(hour=0, minute=0)
        while day - start < _HORIZON:
            if day.month not in self.months:
                day = _next_month(day)
                continue
            found = self._first_in(day, start) if self._fits(day) else None
            if found is not None:
                return found
            day += timedelta(days=1)
        raise CronError(f"'{self.text}' names a date that never comes")

    def _fits(self, day: datetime) -> bool:
        by_month, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_month or by_week if self.either_day else by_month and by_week

    def _first_in(self, day: datetime, start: datetime) -> datetime | None:
        """The first time of a day that is not before start."""
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                found = day.replace(hour=hour, minute=minute)
                if found >= start:
                    return found
        return None


def parse(text: str) -> Cron:
    """Read `minute hour day-of-month month day-of-week`; each `*`, numbers, ranges, steps and lists, with names.

    Raises CronError.
    """
    words = text.split()
    if len(words) != len(_FIELDS):
        raise CronError(f"it has {len(words)} fields; allowed: {', '.join(field.name for field in _FIELDS)}")
    minutes, hours, days, months, weekdays = (
        _parse_field(word, field) for word, field in zip(words, _FIELDS, strict=True)
    )
    cron = Cron(
        text=" ".join(words),
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=frozenset(day % 7 for day in weekdays),
        either_day=not words[2].startswith("*") and not words[4].startswith("*"),
    )
    cron.next_after(datetime(2000, 1, 1, tzinfo=UTC))
    return cron


def _parse_field(word: str, field: _Field) -> frozenset[int]:
    values: set[int] = set()
    for part in word.split(","):
        values.update(_parse_part(part, field))
    return frozenset(values)


def _parse_part(part: str, field: _Field) -> range:
    found = re.fullmatch(r"(\*|(\w+)(?:-(\w+))?)(?:/([0-9]+))?", part, re.ASCII)
    if not found:
        raise _wrong(part, field)
    everything, first, last, step = found.group(1) == "*", found.group(2), found.group(3), found.group(4)
    low = field.low if everything else _number(first, field, part)
    if last is not None:
        high = _number(last, field, part)
        if field.names is _DAYS and low > high == 0:
            # sat-sun
            high = 7
    else:
        # `5/10` means from 5 on
        high = field.high if everything or step else low
    if field.names is _DAYS and (everything or (step and last is None)):
        high = max(6, low)
    if high < low or step == "0" * len(step or ""):
        raise _wrong(part, field)
    return range(low, high + 1, int(step or 1))


def _number(word: str, field: _Field, part: str) -> int:
    if word.lower() in field.names:
        return field.names.index(word.lower()) + field.low
    if not re.fullmatch(r"[0-9]{1,2}", word) or not field.low <= int(word) <= field.high:
        raise _wrong(part, field)
    return int(word)


def _wrong(part: str, field: _Field) -> CronError:
    names = f", {field.names[0]} to {field.names[-1]}" if field.names else ""
    return CronError(
        f"'{part}' is no {field.name}; allowed: *, {field.low} to {field.high}{names}, ranges a-b, steps */n, lists a,b"
    )


def _next_month(day: datetime) -> datetime:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
