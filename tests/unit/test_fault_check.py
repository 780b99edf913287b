# SPDX-License-Identifier: GPL-3.0-or-later
"""The check after each fault, on tables of three nodes that a small database holds."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from fault import check
from fault.check import BALANCE, Tables
from fault.journal import Entry, Worker
from fault.workload.client import ACCOUNTS

NODES = ["n-galera-0", "n-galera-1", "n-galera-2"]
APPEND = Worker("append-0", "append", 3306, 0)
TRANSFER = Worker("transfer-8", "transfer", 3306, 8)
TICK = Worker("tick-11", "tick", 3307, 11)
READ = Worker("read_sync-14", "read_sync", 3306, 14)


class Xor:
    """BIT_XOR."""

    def __init__(self) -> None:
        self.value = 0

    def step(self, value: int) -> None:
        """One row."""
        self.value ^= value

    def finalize(self) -> int:
        """The result."""
        return self.value


class Nodes:
    """A cluster of three: what is written goes to all nodes, unless a test says otherwise."""

    def __init__(self) -> None:
        self.nodes = NODES
        self.data = {pod: sqlite3.connect(":memory:", check_same_thread=False) for pod in NODES}
        for data in self.data.values():
            data.create_aggregate("BIT_XOR", 1, Xor)
            data.create_function("CRC32", 1, lambda text: zlib.crc32(str(text).encode()))
            data.create_function("CONCAT", 3, lambda *parts: "".join(map(str, parts)))
            data.executescript(
                "CREATE TABLE appends (worker INT, number INT); CREATE TABLE transfers (worker INT, number INT);"
                "CREATE TABLE accounts (id INT, balance INT); CREATE TABLE ticks (id INT, value INT);"
                "INSERT INTO ticks VALUES (1, 0)"
            )
            data.executemany("INSERT INTO accounts VALUES (?, ?)", [(n, BALANCE) for n in range(ACCOUNTS)])

    def write(self, statement: str, *pods: str) -> None:
        """On these nodes, on all where none is named."""
        for pod in pods or NODES:
            self.data[pod].execute(statement)

    def sql(self, pod: str, text: str, seconds: float = 300) -> list[list[str]]:
        """The rows of all statements."""
        rows: list[list[str]] = []
        for statement in text.split(";"):
            words = statement.split()
            if words[:1] == ["CHECKSUM"]:
                names = statement.replace("CHECKSUM TABLE", "").replace(",", " ").split()
                rows += [[name, self._checksum(pod, name)] for name in names]
            elif words[:1] == ["TRUNCATE"]:
                self.write(f"DELETE FROM {words[2].rpartition('.')[2]}")
            elif words[:1] == ["SELECT"]:
                rows += [[str(value) for value in row] for row in self.data[pod].execute(statement)]
        return rows

    def _checksum(self, pod: str, table: str) -> str:
        return str(zlib.crc32(repr(sorted(self.data[pod].execute(f"SELECT * FROM {table}"))).encode()))


def ok(*numbers: int, result: str = "ok", **more: Any) -> list[Entry]:
    return [Entry(n, n, n + 0.5, result, 0, "n-galera-0", 1, None, 0, 1)._replace(**more) for n in numbers]


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
def tables(nodes: Nodes) -> Tables:
    """After a first check of three appends and a transfer, with one append of unknown outcome that is not there."""
    made = Tables(nodes)
    for number in (1, 2, 3):
        nodes.write(f"INSERT INTO appends VALUES (0, {number})")
    nodes.write("INSERT INTO transfers VALUES (8, 1)")
    nodes.write("UPDATE ticks SET value = 5")
    journals = {
        APPEND: [*ok(1, 2, 3), *ok(4, result="unknown")],
        TRANSFER: ok(1),
        TICK: ok(4, 5),
        READ: ok(1, value=5, floor=5),
    }
    findings, problems = made.check(journals)
    assert (problems, findings.acknowledged, findings.unknown) == ([], 6, 1)
    return made


def again(nodes: Nodes) -> dict[Worker, list[Entry]]:
    """What a sound cluster has written until the next check."""
    nodes.write("INSERT INTO appends VALUES (0, 5)")
    nodes.write("INSERT INTO transfers VALUES (8, 2)")
    nodes.write("UPDATE ticks SET value = 6")
    return {APPEND: ok(5), TRANSFER: ok(2), TICK: ok(6), READ: ok(2, value=6, floor=6)}


def test_a_sound_cluster_has_no_problems(nodes: Nodes, tables: Tables) -> None:
    assert tables.check(again(nodes))[1] == []


def test_an_operation_of_unknown_outcome_may_come_late_once(nodes: Nodes, tables: Tables) -> None:
    nodes.write("INSERT INTO appends VALUES (0, 4)")
    assert tables.check(again(nodes))[1] == []
    nodes.write("INSERT INTO appends VALUES (0, 4)")
    assert tables.check({})[1] == ["rows of appends that were there have changed: 5 rows before, 6 now"]


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        pytest.param(
            lambda nodes: nodes.write("DELETE FROM appends WHERE number = 5"),
            "1 acknowledged and not there: append-0/5",
            id="a write is lost",
        ),
        pytest.param(
            lambda nodes: nodes.write("DELETE FROM appends WHERE number = 2"),
            "rows of appends that were there have changed: 3 rows before, 2 now",
            id="a write of before is lost",
        ),
        pytest.param(
            lambda nodes: nodes.write("UPDATE transfers SET number = 3 WHERE number = 1"),
            "rows of transfers that were there have changed: 1 rows before, 0 now",
            id="a write of before is another one",
        ),
        pytest.param(
            lambda nodes: nodes.write("INSERT INTO transfers VALUES (8, 2)"),
            "1 there more often than acknowledged: transfer-8/2",
            id="a write is there twice",
        ),
        pytest.param(
            lambda nodes: nodes.write("INSERT INTO appends VALUES (0, 9)"),
            "1 there although it was refused or never sent: append-0/9",
            id="a write that nobody sent",
        ),
        pytest.param(
            lambda nodes: nodes.write("UPDATE ticks SET value = 5"),
            "1 acknowledged and not there: tick-11/6 (the value is 5)",
            id="a counter has gone back",
        ),
        pytest.param(
            lambda nodes: nodes.write("UPDATE accounts SET balance = balance + 1 WHERE id = 3"),
            f"the sum of all accounts is {ACCOUNTS * BALANCE + 1}, it was {ACCOUNTS * BALANCE}",
            id="money was made",
        ),
        pytest.param(
            lambda nodes: nodes.write("DELETE FROM appends WHERE number = 5", NODES[2]),
            "the nodes hold different data: ",
            id="one node lacks a write",
        ),
        pytest.param(
            lambda nodes: nodes.write(
                "UPDATE accounts SET balance = balance + 1 - 2 * (id = 3) WHERE id < 5", NODES[1]
            ),
            "the nodes hold different data: ",
            id="one node has other balances",
        ),
    ],
)
def test_what_is_wrong_is_seen(nodes: Nodes, tables: Tables, harm: Callable[[Nodes], None], problem: str) -> None:
    journals = again(nodes)
    harm(nodes)
    assert [one for one in tables.check(journals)[1] if one.startswith(problem)]


def test_a_stale_read_is_seen(nodes: Nodes, tables: Tables) -> None:
    journals = again(nodes) | {READ: ok(2, value=5, floor=6)}
    assert tables.check(journals)[1] == [
        "1 stale read in spite of wsrep_sync_wait: read_sync-14/2 (5, 6 was acknowledged, n-galera-0)"
    ]


def test_emptied_tables_are_checked_from_then_on(nodes: Nodes, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MOST_ROWS", 3)
    tables.trim()
    assert nodes.sql(NODES[0], "SELECT COUNT(*) FROM appends") == [["0"]]
    assert tables.check(again(nodes))[1] == []
    nodes.write("DELETE FROM appends")
    assert tables.check({})[1] == ["rows of appends that were there have changed: 1 rows before, 0 now"]
