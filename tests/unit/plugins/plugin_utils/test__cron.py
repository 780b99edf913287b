# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule of the inventory and that of the agent say the same of each expression."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.stateful.galera.plugins.plugin_utils._cron import is_cron, is_kubernetes_cron
from galera_agent.backup import cron

GOOD = [
    "0 1 * * *",
    "*/15 * * * *",
    "0 0 1 1 *",
    "0 0 29 2 *",
    "0 0 29 feb *",
    "5,35 1-5/2 1,15 jan-mar mon-fri",
    "0 0 * * sat-sun",
    "0 0 * * 5-7",
    "0 0 * * 7",
    "0 0 31 2 mon",
    "0 0 31 1,2 *",
    "0 0 31 2/3 *",
    "0 0 31 */2 *",
    "5/10 * * * *",
    "  0   1 * * *  ",
]
BAD = [
    "",
    "daily",
    "@daily",
    "0 1 * *",
    "0 1 * * * *",
    "60 1 * * *",
    "0 24 * * *",
    "0 0 0 * *",
    "0 0 32 * *",
    "0 0 * 13 *",
    "0 0 * 0 *",
    "0 0 * * 8",
    "0 0 * * mo",
    "*/0 * * * *",
    "5-1 * * * *",
    "0 0 31 2 *",
    "0 0 30 feb *",
    "0 0 31 4,6,9,11 *",
    "1,,2 * * * *",
    "-1 * * * *",
    "1.5 * * * *",
    "٣ * * * *",
]


def agent_reads(text: str) -> bool:
    try:
        cron.parse(text)
    except cron.CronError:
        return False
    return True


@pytest.mark.parametrize("text", GOOD)
def test_good(text: str) -> None:
    assert is_cron(text)
    assert agent_reads(text)


@pytest.mark.parametrize("text", BAD)
def test_bad(text: str) -> None:
    assert not is_cron(text)
    assert not agent_reads(text)


def test_all_days_of_all_months() -> None:
    days = ["1", "29", "30", "31", "30-31", "31,1", "*"]
    months = ["*", "2", "feb", "2-3", "4,6", "2,4", "*/2", "11/2", "2/12", "sep-nov"]
    weekdays = ["*", "*/1", "*/2", "mon", "*/7", "sun-sun", "7-0", "sat-sun", "6/2", "7/2", "7"]
    texts = [" ".join(["0 0", *words]) for words in itertools.product(days, months, weekdays)]
    assert [text for text in texts if is_cron(text) != agent_reads(text)] == []


# Kubernetes reads the schedule of a CronJob with github.com/robfig/cron, v3, ParseStandard
@pytest.mark.parametrize("weekdays", ["7", "0-7", "5-7", "sat-sun", "5-0", "fri-7", "mon,7", "1-7/2", "*,7"])
def test_only_the_agent_knows_sunday_as_seven(weekdays: str) -> None:
    assert agent_reads(f"0 5 * * {weekdays}")
    assert not is_kubernetes_cron(f"0 5 * * {weekdays}")


@pytest.mark.parametrize("weekdays", ["*", "*/2", "0", "sun", "SUN", "0-6", "sun-sat", "6", "mon-fri", "1-5/2", "0,6"])
def test_both_know_the_other_days(weekdays: str) -> None:
    assert agent_reads(f"0 5 * * {weekdays}")
    assert is_kubernetes_cron(f"0 5 * * {weekdays}")


def test_a_step_too_long_for_kubernetes() -> None:
    assert is_cron(f"*/{'9' * 19} * * * *")
    assert not is_kubernetes_cron(f"*/{'9' * 19} * * * *")


@pytest.mark.parametrize("text", [*BAD, "? * * * *", "@every 1h", "TZ=UTC 0 5 * * *"])
def test_what_only_kubernetes_takes_is_refused_as_well(text: str) -> None:
    assert not is_kubernetes_cron(text)
    assert not agent_reads(text)
