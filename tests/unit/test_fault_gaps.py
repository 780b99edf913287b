# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaps between acknowledgements, and their statistics."""

from __future__ import annotations

import pytest
from fault.gaps import Gap, gaps, percentile, stall, statistics_of


def test_a_gap_that_began_before_the_fault_counts_whole() -> None:
    assert gaps([1.0, 2.0, 5.0, 6.0], 3.0, 6.0) == [Gap(3.0, -1.0), Gap(1.0, 2.0)]


def test_silence_up_to_the_end_is_a_gap() -> None:
    assert gaps([1.0, 2.0], 2.0, 12.0) == [Gap(10.0, 0.0)]


@pytest.mark.parametrize("times", [[], [20.0]])
def test_without_an_acknowledgement_in_the_window_there_is_one_gap_at_most(times: list[float]) -> None:
    assert len(gaps(times, 1.0, 9.0)) <= 1


def test_the_second_stall_is_the_longest_after_the_first() -> None:
    found = stall([0.0, 0.5, 2.5, 2.6, 3.2, 3.3, 10.0], 0.0, 3.3)
    assert found.first == Gap(2.0, 0.5)
    assert found.second is not None
    assert found.second.seconds == pytest.approx(0.6)
    assert found.second.after == pytest.approx(2.6)


def test_a_stall_before_the_longest_is_no_second_one() -> None:
    found = stall([0.0, 1.0, 4.0], 0.0, 4.0)
    assert (found.first, found.second) == (Gap(3.0, 1.0), None)


def test_no_acknowledgement_at_all() -> None:
    found = stall([], 0.0, 4.0)
    assert (found.first, found.second) == (None, None)


def test_statistics() -> None:
    found = statistics_of([float(value) for value in range(1, 101)])
    assert found is not None
    assert found.as_dict() == {"count": 100, "median": 50.5, "p99": 99.0, "worst": 100.0}
    assert statistics_of([]) is None


@pytest.mark.parametrize(
    ("sample", "share", "value"), [([1.0], 0.99, 1.0), ([1.0, 2.0], 0.5, 1.0), ([1.0, 2.0], 0.51, 2.0)]
)
def test_percentiles_are_observed_values(sample: list[float], share: float, value: float) -> None:
    assert percentile(sample, share) == value
