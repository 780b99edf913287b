# SPDX-License-Identifier: GPL-3.0-or-later
"""One backup into real volumes, from a program that behaves as mariadb-backup does, well or badly."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from backup_samples import OTHER_UUID, UUID, settings_json
from galera_agent.backup import base, catalog, runner, targets, volume_store
from galera_agent.backup import settings as backup_settings
from galera_agent.backup.cleanup import sweep
from galera_agent.backup.manifest import Manifest
from galera_agent.backup.pipe import Limit, Stage, StreamError
from galera_agent.backup.runner import BackupError, Result
from galera_agent.backup.server import Facts
from galera_agent.backup.store import StoreError
from galera_agent.backup.volume_store import VolumeStore, VolumeWriter

NOW = datetime(2026, 11, 21, 14, tzinfo=UTC)
FACTS = Facts(UUID, None, 3, "11.8.6-MariaDB-log")
SETTINGS = replace(backup_settings.from_json(settings_json()), recipients=())
DATA = b"the pages" * 50_000
# argv: directory for the points, first LSN, last LSN, uuid, what to do at the end
TOOL = """
import sys
points, first, last, uuid, end = sys.argv[1:]
sys.stdout.buffer.write(b"the pages" * 50_000)
sys.stdout.flush()
if end == "dies":
    sys.exit("[00] FATAL ERROR: no space in tmpdir")
kind = "incremental" if first != "0" else "full-backuped"
with open(points + "/mariadb_backup_checkpoints", "w") as file:
    file.write(f"backup_type = {kind}\\nfrom_lsn = {first}\\nto_lsn = {last}\\nlast_lsn = {last}\\n")
with open(points + "/mariadb_backup_info", "w") as file:
    file.write("server_version = 11.8.6-MariaDB-log\\n")
    file.write("binlog_pos = filename 'binlog.000011', position '373', GTID of the last change '1-1-17'\\n")
if end != "no galera":
    print(f"[00] Writing Galera info succeeded with {uuid}:38 1", file=sys.stderr)
if end != "cut":
    print("[00] 2026-11-21 13:38:11 completed OK!", file=sys.stderr)
"""


class Bench:
    """A data directory, a clock and two volumes."""

    def __init__(self, path: Path) -> None:
        self.stores = []
        for name in ("volume", "second"):
            (path / name).mkdir()
            (path / name / "lost+found").mkdir()
            self.stores.append(VolumeStore(path / name))
        (path / "data").mkdir()
        (path / "data" / "ibdata1").write_bytes(b"x")
        self.node = runner.Node("n-galera-2", path / "socket", path / "data")
        self.now, self.last, self.end, self.uuid = NOW, 1000, "", UUID
        self.said: list[str] = []

    def run(self, parent: Manifest | None = None, facts: Facts = FACTS, stores: Any = None, **changes: Any) -> Result:
        self.now += timedelta(hours=1)
        self.last += 100

        def source(socket: Path, data: Path, points: Path, lsn: int | None) -> Stage:
            words = (str(points), str(lsn or 0), str(self.last), self.uuid, self.end)
            return Stage((sys.executable, "-c", TOOL, *words), "completed OK!")

        found = replace(SETTINGS, **changes)
        wanted = self.stores[:1] if stores is None else stores
        return runner.run(
            found, wanted, self.node, facts, parent, Limit(60), self.said.append, lambda: self.now, source
        )

    def names(self, number: int = 0) -> list[str]:
        return [one.name for one in catalog.read(self.stores[number]).backups]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in (("zstd", "exec cat"), ("mariadb-backup", "echo 'based on MariaDB server 11.8.6-MariaDB x'")):
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(VolumeStore, "check", lambda self: None)
    return Bench(tmp_path)


def test_a_chain(bench: Bench) -> None:
    full = bench.run().manifest
    first = bench.run(full).manifest
    second = bench.run(first).manifest
    found = catalog.read(bench.stores[0])
    assert [one.name for one in found.chain(second.name)] == [full.name, first.name, second.name]
    assert found.problems == ()
    assert (full.kind, full.uuid, full.seqno, full.gtid, full.lsn_from, full.lsn_to) == (
        "full",
        UUID,
        38,
        "1-1-17",
        0,
        1100,
    )
    assert (second.lsn_from, second.lsn_to, second.parent_digest) == (1200, 1300, first.digest)
    assert (full.data_bytes, full.size, full.encryption) == (len(DATA), len(DATA), None)
    assert full.tool_version == "11.8.6-MariaDB"
    assert full.binlog is not None
    assert (full.binlog.file, full.binlog.position) == ("binlog.000011", 373)
    assert bench.stores[0].get(full.objects[0].key) == DATA
    known = base.load(bench.node.datadir, bench.node.pod)
    assert known is not None
    assert known.backups == (full.name, first.name, second.name)


def test_both_targets_get_it_and_one_may_fail(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    result = bench.run(stores=bench.stores)
    assert bench.names(0) == bench.names(1) == [result.manifest.name]

    class Full(VolumeStore):
        def writer(self, key: str, expected: int = 0) -> Any:
            raise StoreError(f"{self.label} is full")

    full = Full(Path(bench.stores[1].label.removeprefix("volume ")))
    result = bench.run(stores=[bench.stores[0], full])
    assert result.failures == {full.label: f"{full.label} is full"}
    assert len(bench.names(0)) == 2
    with pytest.raises(StoreError, match="is full"):
        bench.run(stores=[full])


def test_a_target_hears_what_it_will_get_at_most(bench: Bench) -> None:
    """The data directory, without what no backup has."""
    asked = {}

    class Asked(VolumeStore):
        def writer(self, key: str, expected: int = 0) -> Any:
            asked[key.rpartition("/")[2]] = expected
            return super().writer(key, expected)

    (bench.node.datadir / "db").mkdir()
    for name, size in (("db/t.ibd", 1 << 20), ("galera.cache", 1 << 22), ("binlog.000001", 1 << 18)):
        (bench.node.datadir / name).write_bytes(bytes(size))
    bench.run(stores=[Asked(Path(bench.stores[0].label.removeprefix("volume ")))])
    assert 1 << 20 <= asked["backup.xb.zst"] < 1 << 21
    assert asked["manifest.json"] == 0


def test_what_the_archive_is_writing_meanwhile_is_left_alone(bench: Bench) -> None:
    """An upload may take as long as the deadline; where nothing can be locked only its age tells."""
    asked: list[timedelta] = []

    class Asked(VolumeStore):
        def clean(self, older_than: timedelta, now: datetime) -> list[str]:
            asked.append(older_than)
            return []

    bench.run(stores=[Asked(Path(bench.stores[0].label.removeprefix("volume ")))], deadline_seconds=7200)
    assert asked == [timedelta(hours=2, minutes=1)]


def test_a_target_that_cannot_be_claimed_or_cleaned_does_not_hold_up_the_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(VolumeStore):
        def get(self, key: str) -> bytes:
            raise StoreError(f"{self.label} is not reachable")

    gone = Gone(Path(bench.stores[1].label.removeprefix("volume ")))
    for order in ([gone, bench.stores[0]], [bench.stores[0], gone]):
        result = bench.run(stores=order)
        assert result.failures == {gone.label: f"{gone.label} is not reachable"}
    assert len(bench.names(0)) == 2
    with pytest.raises(StoreError, match="is not reachable"):
        bench.run(stores=[gone])

    class Unclean(VolumeStore):
        def clean(self, older_than: timedelta, now: datetime) -> list[str]:
            raise StoreError(f"{self.label} cannot be cleaned")

    unclean = Unclean(Path(bench.stores[1].label.removeprefix("volume ")))
    assert bench.run(stores=[unclean, bench.stores[0]]).failures == {
        unclean.label: f"{unclean.label} cannot be cleaned"
    }
    assert len(bench.names(0)) == 3


@pytest.mark.parametrize(
    ("end", "error", "text"),
    [
        ("dies", StreamError, "FATAL ERROR: no space in tmpdir"),
        ("cut", StreamError, "did not end with 'completed OK!'"),
        ("no galera", BackupError, "told no position of Galera"),
    ],
)
def test_a_tool_that_fails_leaves_no_backup(bench: Bench, end: str, error: type[Exception], text: str) -> None:
    full = bench.run().manifest
    bench.end = end
    with pytest.raises(error, match=text):
        bench.run(full)
    assert bench.names() == [full.name]
    assert catalog.read(bench.stores[0]).incomplete == ()
    bench.end = ""
    assert bench.run(full).manifest.parent == full.name


def test_a_cluster_that_changed_meanwhile_makes_no_backup(bench: Bench) -> None:
    bench.uuid = OTHER_UUID
    with pytest.raises(BackupError, match=f"was {UUID} when it began, and {OTHER_UUID}"):
        bench.run()
    assert bench.names() == []


def test_a_node_that_is_not_synced(bench: Bench) -> None:
    with pytest.raises(BackupError, match="no backup of this node now: not Synced"):
        bench.run(facts=replace(FACTS, problem="not Synced"))


def test_no_increment_on_other_data(bench: Bench) -> None:
    full = bench.run().manifest
    (bench.node.datadir / base.FILE).unlink()
    with pytest.raises(BackupError, match="this data directory is not the one it was taken from"):
        bench.run(full)


def test_data_replaced_meanwhile_make_a_backup_that_is_nobodys_parent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = VolumeStore.put

    def replaced(self: VolumeStore, key: str, data: bytes) -> None:
        put(self, key, data)
        (bench.node.datadir / base.FILE).unlink(missing_ok=True)

    monkeypatch.setattr(VolumeStore, "put", replaced)
    result = bench.run()
    assert "the data directory was replaced" in result.parent_of_none
    assert bench.names() == [result.manifest.name]


def test_what_a_killed_run_left_is_removed_by_the_next(bench: Bench) -> None:
    full = bench.run().manifest
    left = f"backups/{(bench.now - timedelta(minutes=5)):%Y%m%dT%H%M%SZ}-incremental"
    with bench.stores[0].writer(f"{left}/backup.xb.zst") as writer:
        writer.write(b"a half")
        writer.commit()
    bench.run(full)
    found = catalog.read(bench.stores[0])
    assert (found.incomplete, found.problems) == ((), ())
    assert any(left.removeprefix("backups/") in one for one in bench.said)


def test_another_clusters_store_is_refused(bench: Bench) -> None:
    bench.run()
    with pytest.raises(StoreError, match="give each cluster a volume or prefix of its own"):
        bench.run(cluster="other")
    assert len(bench.names()) == 1


def test_points_of_older_tools(tmp_path: Path) -> None:
    (tmp_path / "xtrabackup_checkpoints").write_text("from_lsn = 0\nto_lsn = 5\n")
    (tmp_path / "xtrabackup_info").write_text("server_version = 10.11.6-MariaDB\nbinlog_pos = \n")
    points = runner.read_points(tmp_path, f"x\n[00] Writing Galera info succeeded with {UUID}:9 0\n")
    assert (points.uuid, points.seqno, points.gtid, points.binlog) == (UUID, 9, "", None)


@pytest.mark.parametrize("missing", ["xtrabackup_checkpoints", "xtrabackup_info"])
def test_points_that_are_missing(tmp_path: Path, missing: str) -> None:
    (tmp_path / "xtrabackup_checkpoints").write_text("from_lsn = 0\nto_lsn = 5\n")
    (tmp_path / "xtrabackup_info").write_text("server_version = 10.11.6-MariaDB\n")
    (tmp_path / missing).unlink()
    with pytest.raises(BackupError, match=missing.replace("xtrabackup", "mariadb_backup")):
        runner.read_points(tmp_path, f"Writing Galera info succeeded with {UUID}:9 0")


def test_a_clock_that_jumps_back_replaces_no_backup(bench: Bench) -> None:
    """A name is there for each second, and a second may come twice."""
    name = bench.run().manifest.name
    content = bench.stores[0].get(f"backups/{name}/backup.xb.zst")
    bench.now -= timedelta(hours=1)
    bench.end = "no galera"
    with pytest.raises(BackupError, match=f"{name} is there already"):
        bench.run()
    assert bench.stores[0].get(f"backups/{name}/backup.xb.zst") == content
    assert catalog.read(bench.stores[0]).problems == ()


@pytest.mark.parametrize("left", [0, 1])
def test_a_backup_whose_data_another_leader_has_removed_is_not_there(bench: Bench, left: int) -> None:
    """This node stood still between its data and its manifest, and the next leader found the data left behind."""

    class Slow(VolumeStore):
        def written(self, key: str) -> datetime:
            for store in bench.stores[left : left + 1]:
                read = catalog.read(store)
                assert read.incomplete
                assert read.owner is not None
                sweep(store, read.owner, read, bench.now + timedelta(minutes=5), timedelta(minutes=1))
            return super().written(key)

    slow = Slow(Path(bench.stores[left].label.removeprefix("volume ")))
    if left:
        result = bench.run(stores=[bench.stores[0], slow])
        assert list(result.failures) == [slow.label]
    else:
        with pytest.raises(StoreError, match=r"backup\.xb\.zst: it is not there"):
            bench.run(stores=[slow])
    assert [catalog.read(store).broken for store in bench.stores] == [(), ()]
    assert [len(bench.names(number)) for number in range(2)] == [left, 0]


def test_a_backup_is_there_where_only_the_answer_was_lost(bench: Bench) -> None:
    class Lost(VolumeStore):
        def put(self, key: str, data: bytes) -> None:
            super().put(key, data)
            raise StoreError("it did not answer")

    lost = Lost(Path(bench.stores[0].label.removeprefix("volume ")))
    assert bench.run(stores=[lost]).failures == {}
    assert len(bench.names()) == 1


def test_a_manifest_that_may_not_last_is_not_left_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = volume_store.sync_directory

    def sync(path: Path) -> None:
        if (path / "manifest.json").exists():
            raise OSError(errno.EIO, "Input/output error")
        plain(path)

    monkeypatch.setattr(volume_store, "sync_directory", sync)
    with pytest.raises(StoreError, match="its device reports an input/output error"):
        bench.run()
    assert bench.names() == []


class ThenSilent(VolumeStore):
    """A hard NFS mount whose server goes away at a step, and comes back when it is told to."""

    at: str
    back: threading.Event

    def _wait(self, step: str) -> None:
        if step == self.at:
            assert self.back.wait(60)

    def clean(self, older_than: timedelta, now: datetime) -> Sequence[str]:
        self._wait("clean")
        return super().clean(older_than, now)

    def writer(self, key: str, expected: int = 0) -> VolumeWriter:
        self._wait("publish" if key.endswith("manifest.json") else "begin")
        found = super().writer(key, expected)
        if not key.endswith("manifest.json"):
            for step in ("write", "commit"):
                setattr(found, step, self._later(step, getattr(found, step)))
        return found

    def _later(self, step: str, does: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self._wait(step)
            return does(*arguments)

        return call


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("at", ["clean", "begin", "write", "commit", "publish"])
def test_a_target_that_falls_silent_is_given_up_and_what_it_has_of_the_backup_goes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, at: str, order: tuple[int, int]
) -> None:
    monkeypatch.setattr(targets, "BACKUP_SECONDS", 0.3)
    bench.run(stores=bench.stores)
    silent = ThenSilent(Path(bench.stores[1].label.removeprefix("volume ")))
    silent.at, silent.back = at, threading.Event()
    stores: list[Any] = [bench.stores[0], silent]
    others = threading.enumerate()
    try:
        result = bench.run(stores=[stores[number] for number in order])
        assert bench.names(0)[1:] == [result.manifest.name]
        assert bench.stores[0].get(result.manifest.objects[0].key) == DATA
        assert (list(result.failures), result.silent) == ([silent.label], {silent.label})
        said = "has not answered within 0.3 s" if at in ("clean", "publish") else "took nothing for"
        assert f"{silent.label} {said}" in result.failures[silent.label]
        assert result.manifest.name not in bench.names(1)
    finally:
        silent.back.set()
        ours = [one for one in threading.enumerate() if one not in others]
        for thread in ours:
            thread.join(10)
    assert not any(one.is_alive() for one in ours)
    # The data are whole there before the manifest is, which is all that comes late
    assert (result.manifest.name in bench.names(1)) == (at == "publish")
    assert len(catalog.read(silent).incomplete) == (at == "commit")
    later = bench.run(stores=bench.stores)
    found = catalog.read(silent)
    assert (later.failures, found.incomplete, found.problems) == ({}, (), ())
    assert later.manifest.name in bench.names(1)
    assert not list(Path(silent.label.removeprefix("volume ")).rglob("*.part"))


@pytest.mark.parametrize("at", ["clean", "write", "publish"])
def test_a_short_deadline_shortens_the_patience(bench: Bench, at: str) -> None:
    """Else it would come before a silent target is given up, and end the backup in the other one."""
    bench.run(stores=bench.stores)
    silent = ThenSilent(Path(bench.stores[1].label.removeprefix("volume ")))
    silent.at, silent.back = at, threading.Event()
    try:
        result = bench.run(stores=[bench.stores[0], silent], deadline_seconds=2)
    finally:
        silent.back.set()
    assert (bench.names(0)[1:], list(result.failures)) == ([result.manifest.name], [silent.label])
