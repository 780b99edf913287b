# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting: with a limit that tells what was seen last, and for what lasts."""

from __future__ import annotations

import itertools

import pytest
from fault import kube


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look takes a second."""
    ticks = itertools.count(0.0, 0.5)
    monkeypatch.setattr(kube.time, "monotonic", lambda: next(ticks))
    monkeypatch.setattr(kube.time, "sleep", lambda _: next(ticks))


@pytest.mark.usefixtures("clock")
def test_a_timeout_says_what_it_waited_for_and_what_it_saw_last() -> None:
    with pytest.raises(kube.WaitError, match=r"waited 5 s for the moon; last seen: clouds"):
        kube.until(lambda: "clouds", "the moon", 5)


@pytest.mark.usefixtures("clock")
def test_a_failing_kubectl_is_not_yet() -> None:
    def look() -> str | None:
        raise kube.KubeError("connection refused")

    with pytest.raises(kube.WaitError, match="last seen: connection refused"):
        kube.until(look, "an answer", 5)


@pytest.mark.usefixtures("clock")
def test_what_does_not_last_does_not_count() -> None:
    seen = iter([None, "not noticed before", *[None] * 10])
    assert kube.until(lambda: next(seen), "peace", 60, steady=3) > 2
    assert next(seen, "used up") is None


@pytest.mark.usefixtures("clock")
def test_the_time_is_that_of_the_first_good_look() -> None:
    seen = iter(["bad", "bad", *[None] * 10])
    assert kube.until(lambda: next(seen), "peace", 60, steady=3) == 2.5
