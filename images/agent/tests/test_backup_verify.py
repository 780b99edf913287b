# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of a restored server's tables, and what becomes of its result."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest
from backup_samples import at, full, increment, put_backup, verification
from galera_agent import offline
from galera_agent.backup import catalog, commands, verify
from galera_agent.backup.manifest import verification_key
from galera_agent.backup.pipe import StreamError
from galera_agent.backup.server import ServerError
from galera_agent.backup.store import StoreError
from galera_agent.backup.stream import CorruptError
from galera_agent.backup.verify import NoVerdictError, Tables, check_tables
from galera_agent.backup.volume_store import VolumeStore
from galera_agent.chain import Refused
from galera_agent.place import locked
from stream_samples import install

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
    install(tmp_path / "bin", monkeypatch)
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


def test_what_a_killed_run_left_is_removed_and_a_living_one_is_not(store: VolumeStore, tmp_path: Path) -> None:
    work = tmp_path / "work"
    for name in ("galera-verify-dead/data", "galera-verify-alive/data", "of-others"):
        (work / name).mkdir(parents=True)
    with locked(work / "galera-verify-alive", "lock"):
        run(store, tmp_path)
    assert sorted(one.name for one in work.iterdir()) == ["galera-verify-alive", "of-others"]


class Ends:
    """A chain whose restore ends with an error."""

    error: Exception

    def __init__(self, *_: Any) -> None: ...
    def check(self, version: str) -> None: ...
    def space(self) -> tuple[int, int]:
        return 0, 0

    def build(self, fresh: Path, work: Path, tools: Any) -> dict[str, str]:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        CorruptError("backups/x has the SHA-256 00, its manifest says 11"),
        StreamError("zstd ended with 1: Data corruption detected"),
        offline.StepError("mariadb-backup --prepare did not complete: [ERROR] InnoDB: Page checksum mismatch"),
        offline.StepError("mariadbd ended with -6: InnoDB: Assertion failure"),
    ],
)
def test_what_the_backup_itself_causes_is_a_verdict(
    store: VolumeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(Ends, "error", error, raising=False)
    monkeypatch.setattr(verify, "Streams", Ends)
    assert (run(store, tmp_path).state, run(store, tmp_path).message) == ("failed", str(error))


@pytest.mark.parametrize(
    "error",
    [
        StoreError("s3://b/n does not give x: the connection to S3 broke, also after retries"),
        StreamError('mbstream ended with 1: mbstream: error writing file (Errcode: 28 "No space left on device")'),
        StreamError("zstd did not end within its deadline of 60 s"),
        StreamError("mbstream cannot be started: No such file or directory"),
        StreamError("mbstream ended with -9: "),
        offline.StepError("mariadb-backup ended with 1: InnoDB: Operating system error number 28 in a file operation"),
        offline.StepError("mariadb-backup ended with -9: "),
        OSError(28, "No space left on device"),
        ServerError("mariadbd cannot be reached"),
        Refused("there is no key /etc/galera/secret/age-identity"),
    ],
)
def test_what_something_else_causes_is_none(
    store: VolumeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A good backup stays good, and what an earlier trial said of it stays, too."""
    newest = full(at("2026-11-21 01:00"))
    before = verification(newest).to_json()
    store.put(verification_key(newest.name), before)
    monkeypatch.setattr(Ends, "error", error, raising=False)
    monkeypatch.setattr(verify, "Streams", Ends)
    with pytest.raises(NoVerdictError) as told:
        run(store, tmp_path)
    assert str(told.value) == f"{newest.name} was not verified, and keeps what was said of it: {error}"
    assert store.get(verification_key(newest.name)) == before
    assert not list((tmp_path / "work").iterdir())


def test_a_volume_without_room_is_the_cause_whatever_is_said(
    store: VolumeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ends, "error", StreamError("mbstream ended with 1: "), raising=False)
    monkeypatch.setattr(verify, "Streams", Ends)
    monkeypatch.setattr(verify.shutil, "disk_usage", lambda path: argparse.Namespace(free=(64 << 20) - 1))
    with pytest.raises(NoVerdictError):
        run(store, tmp_path)
    # but bytes that are not those of the manifest are that on any volume
    monkeypatch.setattr(Ends, "error", CorruptError("x has 5 bytes, its manifest says 6"))
    assert run(store, tmp_path, "20261120T010000Z-full").state == "failed"
    monkeypatch.setattr(Ends, "error", StreamError("mbstream ended with 1: "))
    monkeypatch.setattr(verify.shutil, "disk_usage", lambda path: argparse.Namespace(free=64 << 20))
    assert run(store, tmp_path).state == "failed"


def test_a_trial_without_a_verdict_is_a_failed_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(*_: Any) -> None:
        raise NoVerdictError("b1 was not verified")

    monkeypatch.setattr(verify, "verify", ends)
    monkeypatch.setattr(commands, "_step_back", lambda: None)
    monkeypatch.setattr(commands.signal, "signal", lambda *_: None)
    arguments = argparse.Namespace(backup_command="verify", name="latest", work=tmp_path)
    assert commands.command(arguments, {}) == 1
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["state"], said["message"]) == ("failed", "b1 was not verified")


@pytest.mark.parametrize("alive", [False, True])
def test_a_server_that_died_is_found_by_its_exit_code(alive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def shut_down(self) -> None:
            raise pymysql.OperationalError(2013, "Lost connection")

    monkeypatch.setattr(offline, "BEAT_SECONDS", 0.1 if alive else 30)
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            if alive:
                with pytest.raises(offline.StepError, match="mariadbd cannot be told to stop"):
                    offline._shut_down(process, Gone())  # type: ignore[arg-type]
            else:
                process.kill()
                offline._shut_down(process, Gone())  # type: ignore[arg-type]
                assert process.returncode == -9
        finally:
            process.kill()


def test_a_target_that_is_down_is_left_out(store: VolumeStore, tmp_path: Path) -> None:
    work, key = tmp_path / "work", tmp_path / "key"
    down = VolumeStore(tmp_path / "not-there")
    assert verify.verify([down, store], "latest", work, key, lambda _: None).name == "20261121T010000Z-full"
    with pytest.raises(StoreError, match="not-there"):
        verify.verify([down], "latest", work, key, lambda _: None)


def test_a_place_without_room_is_not_filled(store: VolumeStore, tmp_path: Path) -> None:
    """It may be the disk of a Kubernetes node, from which pods are evicted when it is full."""
    large = full(at("2026-11-22 01:00"), data_bytes=1 << 60)
    put_backup(store, large)
    with pytest.raises(
        NoVerdictError, match=f"{large.name} was not verified.*work has too little space: at least .* MiB needed"
    ):
        run(store, tmp_path)
    assert catalog.read(store).by_name[large.name].verification is None


def test_the_result_lies_beside_the_manifest(
    store: VolumeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Source:
        def __init__(self, *_: Any) -> None: ...
        def check(self, version: str) -> None: ...
        def space(self) -> tuple[int, int]:
            return 0, 0

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


def test_the_newest_is_tried_again_where_it_failed_before(store: VolumeStore, tmp_path: Path) -> None:
    """An older one that is right says nothing of the newest."""
    newest = full(at("2026-11-21 01:00"))
    store.put(verification_key(newest.name), verification(newest, "failed").to_json())
    assert run(store, tmp_path).name == newest.name
    assert run(store, tmp_path, newest.name).name == newest.name


def test_where_the_newest_is_no_whole_chain_an_older_one_is_taken_and_that_is_told(
    store: VolumeStore, tmp_path: Path
) -> None:
    put_backup(store, increment(full(at("2026-11-21 00:00")), at("2026-11-21 02:00")))
    said: list[str] = []
    result = verify.verify([store], "latest", tmp_path / "work", tmp_path / "key", said.append)
    assert result.name == "20261121T010000Z-full"
    assert said[0].startswith("cannot verify the newest backup: ")
    assert "20261121T020000Z-incremental" in said[0]


def test_a_named_backup_is_verified_in_the_target_that_has_it_whole(store: VolumeStore, tmp_path: Path) -> None:
    parent = full(at("2026-11-21 01:00"))
    child = increment(parent, at("2026-11-21 02:00"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "owner.json").write_text("{}")
    other = VolumeStore(tmp_path / "other")
    put_backup(store, child)
    put_backup(other, child)
    work, key = tmp_path / "work", tmp_path / "key"
    for stores in ([other, store], [store, other]):
        assert verify.verify(stores, child.name, work, key, lambda _: None).name == child.name
    assert catalog.read(other).by_name[child.name].verification is None
    with pytest.raises(catalog.ChainError, match=f"{parent.name}, which {child.name} is an increment of, is not there"):
        verify.verify([other], child.name, work, key, lambda _: None)
    store.put(child.key, b"{}")
    with pytest.raises(catalog.ChainError, match=f"backup {child.name} cannot be used in volume"):
        verify.verify([store], child.name, work, key, lambda _: None)


def test_a_backup_that_is_not_there(store: VolumeStore, tmp_path: Path) -> None:
    there = "20261120T010000Z-full, 20261121T010000Z-full"
    said = f"galera_backup_verify is 'nightly', which is not there; allowed: latest, {there}"
    with pytest.raises(Refused, match=f"^{said}$"):
        run(store, tmp_path, "nightly")


def test_a_trial_has_no_options_of_the_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is replayed in it, and one with which its server does not start would be held against the backup."""

    class AskedError(Exception):
        pass

    def tools(scratch: Path, say: object, cnf: Path | None = offline.MYCNF) -> offline.Tools:
        assert cnf is None
        raise AskedError

    monkeypatch.setattr(verify.offline, "Tools", tools)
    with pytest.raises(AskedError):
        verify._try(None, tmp_path, print)  # type: ignore[arg-type]
