# SPDX-License-Identifier: GPL-3.0-or-later
"""Cron expressions as the agent reads them (images/agent/galera_agent/backup/cron.py), to refuse others beforehand.

The collection cannot import the agent; a test holds the two against each other. Pure; private to the collection.
"""

from __future__ import annotations

import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, _MONTHS),
    # 7 is Sunday as well
    (0, 7, _DAYS),
)
_PART = re.compile(r"(\*|(\w+)(?:-(\w+))?)(?:/0*[1-9][0-9]*)?", re.ASCII)
_LONGEST_MONTHS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


def is_cron(text: str) -> bool:
    """Tell whether the text is `minute hour day-of-month month day-of-week` and names a date that comes."""
    words = text.split()
    if len(words) != len(_FIELDS):
        return False
    if not all(_fits(part, *field) for word, field in zip(words, _FIELDS, strict=True) for part in word.split(",")):
        return False
    # Where neither begins with *, one of the two day fields is enough
    return not words[4].startswith("*") or _comes(words[2], words[3])


def is_kubernetes_cron(text: str) -> bool:
    """Tell whether Kubernetes takes the text as the schedule of a CronJob, too: it knows Sunday as 0 and sun only.

    What only Kubernetes takes (`?`, `@daily`, empty members of lists) is none here.
    """
    if not is_cron(text):
        return False
    for part in text.split()[4].split(","):
        ends = [_number(word, 0, 7, _DAYS) or 0 for word in part.split("/")[0].split("-")]
        # 7, sat-sun
        if 7 in ends or ends != sorted(ends):
            return False
    # Go reads a step as a number of 64 bits
    return all(len(step) < 19 for step in re.findall(r"/([0-9]+)", text))


def _fits(part: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    """Tell whether one member of a list is in the range of its field."""
    found = _PART.fullmatch(part)
    if found is None:
        return False
    if found[1] == "*":
        return True
    first, last = _number(found[2], low, high, names), _number(found[3], low, high, names)
    if first is None or (found[3] and last is None):
        return False
    # sat-sun
    return last is None or first <= (last or (7 if names is _DAYS else 0))


def _number(word: str | None, low: int, high: int, names: tuple[str, ...]) -> int | None:
    """Return the number that a word stands for, None where it stands for none."""
    if word is None:
        return None
    if word.lower() in names:
        return names.index(word.lower()) + low
    return int(word) if re.fullmatch(r"[0-9]{1,2}", word) and low <= int(word) <= high else None


def _comes(days: str, months: str) -> bool:
    """Tell whether one of the months has one of the days: 31 February never comes."""
    first = min(_number(re.split("[-/]", part)[0], 1, 31, ()) or 1 for part in days.split(","))
    return first <= 29 or any(first <= _LONGEST_MONTHS.get(month, 31) for month in _months(months))


def _months(word: str) -> list[int]:
    """Return the months that a field names."""
    found: list[int] = []
    for part in word.split(","):
        ends, step = [*part.split("/"), ""][:2]
        first, last = [*ends.split("-"), ""][:2]
        low = _number(first, 1, 12, _MONTHS) or 1
        # `5/2` means from May on
        high = _number(last or None, 1, 12, _MONTHS) or (12 if step or first == "*" else low)
        found += range(low, high + 1, int(step or 1))
    return found
