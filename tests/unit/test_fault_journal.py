# SPDX-License-Identifier: GPL-3.0-or-later
"""What journals prove against tables."""

from __future__ import annotations

import json
from typing import Any

import pymysql
import pytest
from fault.journal import Entry, Worker, acknowledgements, check_reads, compare_ticks, compare_writes, outcomes, parse
from fault.workload.client import classify

APPEND = Worker("append-0", "append", 3306, 0)
TICK = Worker("tick-11", "tick", 3307, 11)


def entry(number: int, result: str = "ok", **more: Any) -> Entry:
    base = Entry(number, number * 1.0, number + 0.5, result, 0, "n-galera-0", 1, None, 0, 1)
    return base._replace(**more)


@pytest.mark.parametrize(
    ("journal", "present", "lost", "duplicates", "unexpected"),
    [
        pytest.param([entry(1), entry(2)], {1: 1, 2: 1}, [], [], [], id="all there"),
        pytest.param([entry(1), entry(2)], {1: 1}, ["append-0/2"], [], [], id="an acknowledged one is missing"),
        pytest.param([entry(1)], {}, ["append-0/1"], [], [], id="nothing is there"),
        pytest.param([entry(1, "unknown")], {}, [], [], [], id="unknown, and not there"),
        pytest.param([entry(1, "unknown")], {1: 1}, [], [], [], id="unknown, and there"),
        pytest.param([entry(1, "unknown")], {1: 2}, [], ["append-0/1"], [], id="unknown, and there twice"),
        pytest.param([entry(1)], {1: 2}, [], ["append-0/1"], [], id="acknowledged once, there twice"),
        pytest.param([entry(1, tries=2)], {1: 2}, [], [], [], id="tried twice, there twice"),
        pytest.param([entry(1, tries=2)], {1: 3}, [], ["append-0/1"], [], id="tried twice, there three times"),
        pytest.param([entry(1, "fail")], {}, [], [], [], id="refused"),
        pytest.param([entry(1, "fail")], {1: 1}, [], [], ["append-0/1"], id="refused, but there"),
        pytest.param([entry(1, "fail", tries=2)], {1: 1}, [], [], [], id="refused after an unknown try"),
        pytest.param([entry(1)], {1: 1, 9: 1}, [], [], ["append-0/9"], id="never sent"),
    ],
)
def test_writes(
    journal: list[Entry], present: dict[int, int], lost: list[str], duplicates: list[str], unexpected: list[str]
) -> None:
    found = compare_writes(APPEND, journal, present)
    assert (found.lost, found.duplicates, found.unexpected) == (lost, duplicates, unexpected)
    assert bool(found.problems()) == bool(lost or duplicates or unexpected)


@pytest.mark.parametrize(
    ("journal", "value", "sound"),
    [
        ([entry(4), entry(5)], 5, True),
        ([entry(4), entry(5)], 4, False),
        ([entry(4), entry(5, "unknown")], 4, True),
        ([entry(4), entry(5, "unknown")], 5, True),
        ([entry(4), entry(5, "fail")], 5, False),
        ([], 3, True),
    ],
)
def test_ticks(journal: list[Entry], value: int, sound: bool) -> None:
    assert (compare_ticks(TICK, journal, value).problems() == []) is sound


def test_a_session_never_reads_backwards_but_the_next_one_may() -> None:
    reader = Worker("read-12", "read", 3308, 12)
    values = [entry(1, value=5), entry(2, value=7), entry(3, value=6), entry(4, value=1, session=2)]
    assert check_reads(reader, values).backwards == ["read-12/3 (7, then 6 on n-galera-0)"]


def test_answers_to_readers_are_no_acknowledged_writes() -> None:
    found = check_reads(Worker("read-12", "read", 3308, 12), [entry(1, value=5), entry(2, "fail")])
    assert (found.acknowledged, found.unknown, found.failed) == (0, 0, 0)


def test_only_readers_that_wait_must_see_what_was_acknowledged() -> None:
    stale = [entry(1, value=5, floor=6)]
    assert check_reads(Worker("read-12", "read", 3308, 12), stale).problems() == []
    assert len(check_reads(Worker("read_sync-14", "read_sync", 3308, 14), stale).stale) == 1


def test_the_end_of_a_torn_journal_does_not_count() -> None:
    line = json.dumps(list(entry(1)))
    assert parse(f"{line}\n{line[:10]}") == [entry(1)]
    with pytest.raises(ValueError, match="not an entry"):
        parse("[1,2]\n")


def test_acknowledgements_are_those_of_writers_of_a_port() -> None:
    journals = {
        APPEND: [entry(2), entry(1), entry(3, "fail"), entry(4, "fail", error=1213, tries=2)],
        TICK: [entry(7)],
        Worker("r", "read", 3307, 3): [entry(9)],
    }
    assert acknowledgements(journals) == [1.5, 2.5, 7.5]
    assert acknowledgements(journals, 3307) == [7.5]
    assert outcomes(journals, 2.0) == {"writes": 4, "ok": 2, "conflicts": 1, "failed": 1, "retried": 1}


@pytest.mark.parametrize(
    ("error", "connected", "result"),
    [
        (pymysql.err.OperationalError(2013, "Lost connection"), True, "unknown"),
        (pymysql.err.OperationalError(2003, "Can't connect"), False, "fail"),
        (pymysql.err.OperationalError(1213, "Deadlock"), True, "fail"),
        (pymysql.err.OperationalError(1047, "WSREP has not yet prepared node"), True, "fail"),
        (pymysql.err.OperationalError(1180, "Got error during COMMIT"), True, "unknown"),
        (pymysql.err.InternalError("Packet sequence number wrong"), True, "unknown"),
        (TimeoutError("timed out"), True, "unknown"),
    ],
)
def test_only_what_the_server_has_rolled_back_is_a_failure(error: Exception, connected: bool, result: str) -> None:
    assert classify(error, connected)[0] == result
