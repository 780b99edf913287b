# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule of the inventory and that of the agent say the same of each expression."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.stateful.galera.plugins.plugin_utils._cron import is_cron
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
    weekdays = ["*", "*/1", "*/2", "mon", "*/7"]
    texts = [" ".join(["0 0", *words]) for words in itertools.product(days, months, weekdays)]
    assert [text for text in texts if is_cron(text) != agent_reads(text)] == []
