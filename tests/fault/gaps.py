# SPDX-License-Identifier: GPL-3.0-or-later
"""How long writes stood still: from times of acknowledgements to gaps and their statistics. No I/O, all in seconds."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Gap:
    """A time without an acknowledgement; after is how long after the fault the last one before it came (may be < 0)."""

    seconds: float
    after: float


@dataclass(frozen=True)
class Stall:
    """What one fault cost: the longest gap, and the longest of those that began after its end."""

    first: Gap | None
    second: Gap | None


def gaps(times: Sequence[float], begin: float, end: float) -> list[Gap]:
    """Gaps between ordered times of acknowledgements that touch the window, in order.

    A window in which the last acknowledgement is long past ends with a gap up to its end: nothing came after.
    """
    first = max(bisect_right(times, begin) - 1, 0)
    last = bisect_left(times, end)
    inside = list(times[first : last + 1])
    if not inside or inside[-1] < end:
        inside.append(end)
    return [Gap(later - earlier, earlier - begin) for earlier, later in pairwise(inside)]


def stall(times: Sequence[float], begin: float, end: float) -> Stall:
    """The longest gap after a fault at `begin`, and the longest one that began later than it ended."""
    found = gaps(times, begin, end)
    if not found:
        return Stall(None, None)
    place = max(range(len(found)), key=lambda index: found[index].seconds)
    later = found[place + 1 :]
    return Stall(found[place], max(later, key=lambda gap: gap.seconds) if later else None)


@dataclass(frozen=True)
class Statistics:
    """Of a sample: number, median, 99th percentile (nearest rank: an observed value) and worst."""

    count: int
    median: float
    p99: float
    worst: float

    def as_dict(self) -> dict[str, float]:
        """Rounded to milliseconds."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def statistics_of(values: Sequence[float]) -> Statistics | None:
    """Statistics of a sample, None of an empty one."""
    if not values:
        return None
    ordered = sorted(values)
    return Statistics(len(ordered), statistics.median(ordered), percentile(ordered, 0.99), ordered[-1])


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of an ordered sample."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]
