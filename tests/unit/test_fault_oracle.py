# SPDX-License-Identifier: GPL-3.0-or-later
"""Who had to bootstrap."""

from __future__ import annotations

import pytest
from fault.oracle import ZERO, Volume, bootstraps, judge, recovered

A, B = "3f79899b-e5b2-11f1-bc95-b2c610b9e870", "5ff0b4a2-6f6f-11f0-9c4e-3f6f1c5a3b11"


@pytest.mark.parametrize(
    ("volumes", "right"),
    [
        pytest.param([Volume(A, 7), Volume(A, 8), Volume(A, 9)], "n-2", id="the highest seqno"),
        pytest.param([Volume(A, 9), Volume(A, 9), Volume(A, 8)], "n-0", id="the lowest ordinal among equals"),
        pytest.param([Volume(A, 7), Volume(None, None, "a torso"), Volume(A, 8)], "n-2", id="a torso"),
        pytest.param([Volume(ZERO, 99), Volume(A, 1), Volume(A, 0)], "n-1", id="uuid zero never wins"),
        pytest.param([Volume(A, -1), Volume(A, 1), Volume(A, 0)], "n-1", id="seqno -1 never wins"),
        pytest.param([Volume(A, 7), Volume(B, 8), Volume(A, 9)], None, id="two clusters"),
        pytest.param([Volume(None, None, "empty")] * 3, None, id="nothing"),
    ],
)
def test_the_right_one(volumes: list[Volume], right: str | None) -> None:
    seen = {f"n-{ordinal}": volume for ordinal, volume in enumerate(volumes)}
    expected = (right,) if right else ()
    assert judge(seen, []).right == expected
    assert judge(seen, list(expected)).agrees
    assert not judge(seen, [*expected, "n-x"]).agrees
    assert judge(seen, []).agrees == (right is None)


def test_what_recovery_prints() -> None:
    log = f"2026-11-21 14:00:00 0 [Note] WSREP: Recovered position: {A}:41\n"
    assert recovered(log, partial=False) == Volume(A, 41)
    assert not recovered(log, partial=True).whole
    assert recovered("[ERROR] Aborting\n", partial=False).trouble == "no position: [ERROR] Aborting"


def test_the_agent_says_that_it_bootstraps() -> None:
    log = f"14:00:10Z starting: bootstraps: the most advanced member at {A}:9\n14:00:11Z starting: joins cluster {A}\n"
    log += f"14:00:12Z waiting: waits for n-0 (is starting: bootstraps: the most advanced member at {A}:9) to show\n"
    assert bootstraps(log) == [f"the most advanced member at {A}:9"]
