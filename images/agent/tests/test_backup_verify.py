# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of a restored server's tables, and what becomes of its result."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from backup_samples import at, full, put_backup, verification
from galera_agent import offline
from galera_agent.backup import catalog, verify
from galera_agent.backup.manifest import verification_key
from galera_agent.backup.server import ServerError
from galera_agent.backup.verify import Tables, check_tables
from galera_agent.backup.volume_store import VolumeStore
from galera_agent.chain import Refused

OK = [("shop.a", "check", "status", "OK")]


class Server:
    """Answers for two tables; a check may be answered otherwise."""

    def __init__(self, check: Sequence[Sequence[Any]] = OK, checksum: int | None = 7) -> None:
        self.check, self.checksum = check, checksum
        self.asked: list[str] = []

    def __call__(self, statement: str) -> Sequence[Sequence[Any]]:
        self.asked.append(statement)
        if statement.startswith("SELECT table_schema"):
            return [("shop", "a"), ("shop", "b`c")]
        if statement.startswith("CHECK TABLE"):
            return self.check if "`a`" in statement else OK
        if statement.startswith("CHECKSUM TABLE"):
            return [("shop.a", self.checksum)]
        return [(5,)]


def test_tables_that_are_right() -> None:
    server = Server()
    assert check_tables(server) == Tables(2, 10, ())
    assert "CHECK TABLE `shop`.`b``c` EXTENDED" in server.asked


@pytest.mark.parametrize(
    ("server", "text"),
    [
        (Server([("shop.a", "check", "error", "Corrupt"), *OK]), "`shop`.`a`: Corrupt"),
        (Server([("shop.a", "check", "warning", "3 clients")]), "`shop`.`a`: 3 clients"),
        (Server([("shop.a", "check", "status", "Operation failed")]), "`shop`.`a`: Operation failed"),
        (Server(checksum=None), "`shop`.`a`: it has no checksum"),
    ],
)
def test_tables_that_are_not_right(server: Server, text: str) -> None:
    assert text in check_tables(server).problems


def test_an_engine_without_a_check_is_no_problem() -> None:
    note = [("shop.a", "check", "note", "The storage engine for the table doesn't support check")]
    assert check_tables(Server(note)).problems == ()


def test_a_server_that_dies_at_a_table() -> None:
    class Dies(Server):
        def __call__(self, statement: str) -> Sequence[Sequence[Any]]:
            if statement.startswith("CHECK TABLE `shop`.`a`"):
                raise ServerError("Lost connection")
            return super().__call__(statement)

    assert check_tables(Dies()).problems == ("`shop`.`a`: Lost connection",)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VolumeStore:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "owner.json").write_text("{}")
    (tmp_path / "work").mkdir()
    found = VolumeStore(tmp_path / "store")
    put_backup(found, full(at("2026-11-20 01:00")))
    put_backup(found, full(at("2026-11-21 01:00")))
    monkeypatch.setattr(offline, "tool_version", lambda: "based on MariaDB server 11.8.6-MariaDB")
    return found


def run(store: VolumeStore, tmp_path: Path, name: str = "latest") -> Any:
    work, key = tmp_path / "work", tmp_path / "key"
    return verify.verify([store], name, work, key, lambda _: None, lambda: at("2026-11-22 01:00"))


def test_a_stream_that_cannot_be_unpacked_is_a_failed_verification(store: VolumeStore, tmp_path: Path) -> None:
    result = run(store, tmp_path)
    assert (result.state, result.name) == ("failed", "20261121T010000Z-full")
    found = catalog.read(store)
    assert [one.verified for one in found.backups] == [None, False]
    assert not list((tmp_path / "work").iterdir())


def test_the_result_lies_beside_the_manifest(
    store: VolumeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Source:
        def __init__(self, *_: Any) -> None: ...
        def check(self, version: str) -> None: ...
        def build(self, fresh: Path, work: Path, tools: Any) -> dict[str, str]:
            return {}

    @contextmanager
    def itself(value: Any) -> Any:
        yield value

    monkeypatch.setattr(verify, "Streams", Source)
    monkeypatch.setattr(offline.Tools, "serving", lambda *_: itself(Path("socket")))
    monkeypatch.setattr(verify.server, "connection", lambda *_, **__: itself(Server()))
    name = "20261120T010000Z-full"
    result = run(store, tmp_path, name)
    assert (result.state, result.tables, result.rows) == ("passed", 2, 10)
    assert store.get(verification_key(name)) == result.to_json()
    assert catalog.read(store).by_name[name].verified is True


def test_one_that_failed_before_is_tried_again_when_it_is_named(store: VolumeStore, tmp_path: Path) -> None:
    newest = full(at("2026-11-21 01:00"))
    store.put(verification_key(newest.name), verification(newest, "failed").to_json())
    assert run(store, tmp_path).name == "20261120T010000Z-full"
    assert run(store, tmp_path, newest.name).name == newest.name


def test_a_backup_that_is_not_there(store: VolumeStore, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="backup nightly is not there; allowed: latest, or the name of a backup"):
        run(store, tmp_path, "nightly")
