# SPDX-License-Identifier: GPL-3.0-or-later
"""Letting clients go: against a scripted server here, against a real one in the e2e tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pymysql
import pytest
from galera_agent import drain

Clients = list[tuple[int, int]]


class Session:
    """A connection whose processlist is scripted, one list of (thread, idle) a look; the last one stays."""

    def __init__(self, looks: list[Clients], error: Exception | None = None) -> None:
        self.looks, self.error = looks, error
        self.killed: list[int] = []

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def cursor(self) -> Session:
        return self

    def execute(self, statement: str) -> None:
        if statement.startswith("KILL CONNECTION "):
            if self.error:
                raise self.error
            self.killed.append(int(statement.rpartition(" ")[2]))

    def fetchall(self) -> Clients:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


def run(monkeypatch: pytest.MonkeyPatch, session: Session, **options: Any) -> str:
    monkeypatch.setattr(drain, "connect", lambda _: session)
    monkeypatch.setattr(drain, "_ROUND_SECONDS", 0)
    return drain.let_clients_go(Path("socket"), options.get("gone", lambda: False), options.get("patience", 60))


def test_idle_clients_go_at_once_and_busy_ones_when_they_are_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session([[(7, 1), (8, 0)], [(8, 0)], [(8, 1)], []])
    assert run(monkeypatch, session) == "closed 2 connections between their transactions"
    assert session.killed == [7, 8]


@pytest.mark.parametrize("options", [{"patience": 0}, {"gone": lambda: True}])
def test_patience_ends(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    session = Session([[(7, 1), (8, 0)]])
    told = run(monkeypatch, session, **options)
    assert told == "closed 1 connections between their transactions, 1 were busy to the end"
    assert session.killed == [7]


def test_a_client_that_left_by_itself_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session([[(7, 1)], []], pymysql.err.OperationalError(1094, "Unknown thread id: 7"))
    assert run(monkeypatch, session) == "closed 0 connections between their transactions"


def test_a_missing_right_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session([[(7, 1)]], pymysql.err.OperationalError(1095, "You are not owner of thread 7"))
    assert run(monkeypatch, session).endswith("then: You are not owner of thread 7")


def test_a_server_that_is_gone_has_no_clients(tmp_path: Path) -> None:
    assert drain.let_clients_go(tmp_path / "none", lambda: False).startswith("no connection was closed: ")
