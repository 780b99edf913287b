# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the child processes, with two targets of which one does not do its part."""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from backup_samples import OTHER_UUID, OWNER, UUID, full, put_backup, put_segment, settings_json
from galera_agent import rejoin
from galera_agent.backup import binlog, catalog, commands, expiry, plan
from galera_agent.backup import settings as backup_settings
from galera_agent.backup.manifest import Manifest
from galera_agent.backup.runner import Result
from galera_agent.backup.segment import SegmentError
from galera_agent.backup.server import Facts
from galera_agent.backup.settings import Retention
from galera_agent.backup.store import Store, StoreError
from galera_agent.backup.volume_store import VolumeStore
from galera_agent.chain import Refused

SETTINGS = backup_settings.from_json(settings_json())
NODE = binlog.Node("n-galera-2", UUID, 1, 50, "11.8.6-MariaDB", Path("/binlog"))
DONE = binlog.Outcome(50, 2, 100, None)


class Unreachable(VolumeStore):
    """A target whose server does not answer when it is asked whose it is."""

    def get(self, key: str) -> bytes:
        raise StoreError(f"{self.label} does not answer")


class Bench:
    """Two targets of a cluster; what is asked of the server and of MariaDB's programs is answered here."""

    def __init__(self, path: Path) -> None:
        for name in ("one", "two"):
            (path / name).mkdir()
        self.path = path
        self.stores: list[Store] = [VolumeStore(path / name, mount_required=False) for name in ("one", "two")]
        for store in self.stores:
            store.create("owner.json", OWNER.to_json())
        self.facts = Facts(UUID, None, 3, "11.8.6-MariaDB-log")
        self.degraded = ""
        self.archived: list[str] = []
        self.begun: list[str] = []
        self.failures: dict[str, str] = {}
        self.planned: list[list[str]] = []

    def hold(self, *numbers: int, hours: float = 1, **changes: Any) -> Manifest:
        """A full backup in these targets, some hours old."""
        found = full(datetime.now(UTC).replace(microsecond=0) - timedelta(hours=hours), **changes)
        for number in numbers:
            put_backup(self.stores[number], found)
        return found

    def archive(self, query: object, node: object, stores: Sequence[Store], *_: object, **__: object) -> dict[str, Any]:
        self.archived = [one.label for one in stores]
        return dict.fromkeys(self.archived, DONE)

    def run(self, settings: object, stores: Sequence[Store], *_: object, **__: object) -> Result:
        started = datetime.now(UTC).replace(microsecond=0)
        manifest = replace(full(started), finished=started)
        for store in stores:
            catalog.claim(store, OWNER)
            if store.label not in self.failures:
                put_backup(store, manifest)
        return Result(manifest, dict(self.failures))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    found = Bench(tmp_path)

    @contextmanager
    def connection(*_: object) -> Iterator[Callable[[str], Any]]:
        yield lambda statement: [("Innodb_lsn_current", "5000")]

    due = plan.due

    def planned(now: datetime, catalogs: Sequence[catalog.Catalog], *rest: Any) -> plan.Due:
        found.planned.append([one.store for one in catalogs])
        return due(now, catalogs, *rest)

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ibdata1").write_text("")
    monkeypatch.setattr(commands.settings, "load", lambda: replace(SETTINGS, incremental_interval_seconds=None))
    agent = argparse.Namespace(pod="n-galera-2", socket=tmp_path / "socket", datadir=tmp_path / "data", http_port=9200)
    monkeypatch.setattr(commands.agent_settings, "from_env", lambda env: agent)
    monkeypatch.setattr(commands, "open_stores", lambda settings: found.stores)
    monkeypatch.setattr(commands, "_step_back", lambda: None)
    monkeypatch.setattr(commands.signal, "signal", lambda *_: None)
    monkeypatch.setattr(commands.server, "connection", connection)
    monkeypatch.setattr(commands.server, "facts", lambda query: found.facts)
    monkeypatch.setattr(commands.server, "degraded", lambda agent, wanted, size, peers: found.degraded)
    monkeypatch.setattr(commands.binlog, "inspect", lambda query, pod: NODE)
    monkeypatch.setattr(commands.binlog, "archive", found.archive)
    monkeypatch.setattr(commands.binlog, "begin", lambda query: found.begun.append("begun"))
    monkeypatch.setattr(commands.runner, "run", found.run)
    monkeypatch.setattr(commands.plan, "due", planned)
    commands.targets.GIVEN_UP.clear()
    return found


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and what the command said last."""
    parser = argparse.ArgumentParser()
    commands.add_arguments(parser)
    code = commands.command(parser.parse_args(words), {})
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


# --- archive ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("down", [0, 1])
def test_the_archive_goes_on_into_the_target_that_is_there(
    bench: Bench, down: int, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.stores[down] = gone = Unreachable(bench.path / ("one", "two")[down])
    code, said = call(capsys, "archive")
    assert bench.archived == [bench.stores[1 - down].label]
    assert (code, said["state"], said["segments"], said["last"]) == (0, "succeeded", 2, 50)
    assert said["problems"] == [f"{gone.label}: {gone.label} does not answer"]


class Silent(VolumeStore):
    """A target that answers nothing, as a hard NFS mount whose server is away."""

    asked = 0

    def get(self, key: str) -> bytes:
        self.check()
        raise AssertionError

    def check(self) -> None:
        Silent.asked += 1
        threading.Event().wait()


def test_no_backup_is_taken_while_the_cluster_is_degraded(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.degraded = "the cluster is degraded: n-galera-1 is starting: joins"
    code, said = call(capsys, "tick")
    assert (code, said["state"], said["message"]) == (0, "nothing", f"suspended: {bench.degraded}")
    assert said["suspended"] is True
    assert bench.begun == []
    bench.hold(0, 1, hours=1)
    assert call(capsys, "tick")[1]["suspended"] is False


@pytest.mark.parametrize("command", ["archive", "tick"])
def test_a_target_that_answers_nothing_holds_up_no_other(
    bench: Bench, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("OWNER_SECONDS", "CATALOG_SECONDS"):
        monkeypatch.setattr(commands.targets, name, 0.2)
    monkeypatch.setattr(Silent, "asked", 0)
    bench.stores[0] = silent = Silent(bench.path / "one")
    code, said = call(capsys, command)
    assert (code, said["state"], Silent.asked) == (0, "succeeded", 1)
    assert f"{silent.label} has not answered within 0.2 s" in said["message"]
    assert command == "archive" or [len(one["backups"]) for one in said["catalog"]["targets"]] == [0, 1]


def test_a_node_is_filled_from_the_target_that_answers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In time: the node joins by SST where no backup is found for too long."""
    assert commands.targets.FILL_SECONDS < rejoin.LOOK_SECONDS
    monkeypatch.setattr(commands.targets, "FILL_SECONDS", 0.2)
    monkeypatch.setattr(commands.targets, "CATALOG_SECONDS", 2.0)
    commands.agent_settings.from_env({}).secrets = bench.path
    bench.stores[0] = silent = Silent(bench.path / "one")

    def refuses(stores: object, catalogs: Sequence[catalog.Catalog], *_: object) -> Manifest:
        raise Refused(f"none of {', '.join(one.store for one in catalogs)}")

    monkeypatch.setattr(commands.fill, "fill", refuses)
    monkeypatch.setattr(commands, "tool_version", lambda: "11.8.6")
    code, said = call(capsys, "fill", "--uuid", UUID, "--cached", "1")
    told = f"none of {bench.stores[1].label}; {silent.label} has not answered within 0.2 s"
    assert (code, said["state"], said["message"]) == (0, "nothing", told)


def test_an_archive_that_no_target_takes_has_failed(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.stores = [Unreachable(bench.path / "one"), Unreachable(bench.path / "two")]
    code, said = call(capsys, "archive")
    assert (code, said["state"], len(said["problems"]), bench.archived) == (1, "failed", 2, [])


def test_the_archive_of_a_foreign_target_is_refused_and_the_other_goes_on(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.stores[0].put("owner.json", replace(OWNER, cluster="other").to_json())
    code, said = call(capsys, "archive")
    assert bench.archived == [bench.stores[1].label]
    assert (code, said["state"]) == (1, "failed")
    assert "holds the backups of cluster other" in said["message"]


# --- tick -------------------------------------------------------------------------------------------------------------
def test_a_backup_that_one_target_did_not_take_is_made_and_told(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.failures = {bench.stores[1].label: "it is full"}
    code, said = call(capsys, "tick")
    assert (code, said["state"], said["not_in"]) == (0, "succeeded", [bench.stores[1].label])
    assert bench.begun == ["begun"]
    assert said["message"].endswith("; but it is full")
    assert [len(one["backups"]) for one in said["catalog"]["targets"]] == [1, 0]


def test_what_one_target_does_not_take_is_not_made_again_in_the_other(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.hold(0, hours=48)
    bench.hold(1, hours=48)
    bench.failures = {bench.stores[1].label: "it is full"}
    call(capsys, "tick")
    now = datetime.now(UTC).timestamp()
    there = ("--failed-in", bench.stores[1].label)
    code, said = call(capsys, "tick", "--failures", "1", "--failed-at", str(now), *there)
    assert (code, said["state"], said["message"]) == (0, "nothing", "the last 1 failed; it is tried again later")
    bench.failures = {}
    code, said = call(capsys, "tick", "--failures", "1", "--failed-at", str(now - 301), *there)
    assert (code, said["state"], said["not_in"], said["soon"]) == (0, "succeeded", [], False)
    assert [len(one["backups"]) for one in said["catalog"]["targets"]] == [2, 2]


def test_a_target_that_waits_hinders_no_backup_of_the_other(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.hold(0, hours=48)
    bench.hold(1, hours=72)
    waits = bench.stores[1].label
    failed_at = str(datetime.now(UTC).timestamp())
    code, said = call(capsys, "tick", "--failures", "1", "--failed-at", failed_at, "--failed-in", waits)
    assert (code, said["state"], said["not_in"], said["soon"]) == (0, "succeeded", [waits], True)
    assert said["problems"] == [f"{waits} lacks backups, and is tried again later"]
    assert [len(one["backups"]) for one in said["catalog"]["targets"]] == [2, 1]


def test_the_patience_with_a_target_goes_on_while_it_cannot_be_read(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that comes and goes is not lacking a backup anew each time, which would be a full one in both."""
    bench.hold(0, hours=48)
    bench.hold(1, hours=72)
    bench.stores[1] = gone = Unreachable(bench.path / "two")
    last = ["--failures", "3", "--failed-at", str(datetime.now(UTC).timestamp() - 60)]
    code, said = call(capsys, "tick", *last, "--failed-in", gone.label)
    assert (code, said["state"], said["not_in"], said["soon"]) == (0, "succeeded", [gone.label], True)
    assert bench.planned == [[bench.stores[0].label]]
    code, said = call(capsys, "tick", "--kind", "full", "--failed-in", gone.label)
    assert (code, said["state"], said["not_in"]) == (0, "succeeded", [gone.label])


def test_the_targets_of_a_backup_that_is_made_nowhere_are_tried_together_then(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.hold(0, hours=48)
    bench.hold(1, hours=72)
    last = ["--failures", "1", "--failed-at", str(datetime.now(UTC).timestamp() - 301)]
    code, said = call(capsys, "tick", *last, "--failed-in", bench.stores[0].label)
    assert (code, said["state"], said["not_in"], said["soon"]) == (0, "succeeded", [], False)
    assert [len(one["backups"]) for one in said["catalog"]["targets"]] == [2, 2]


def test_a_foreign_target_is_refused_and_the_backup_made_in_the_other(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.stores[0].put("owner.json", replace(OWNER, uuid=OTHER_UUID).to_json())
    code, said = call(capsys, "tick")
    assert (code, said["state"], said["backup"][-4:]) == (1, "failed", "full")
    assert f"holds the backups of cluster n of namespace ns (uuid {OTHER_UUID})" in said["message"]
    assert (bench.planned, said["not_in"]) == ([[bench.stores[1].label]], [bench.stores[0].label])
    assert [one["error"] is None for one in said["catalog"]["targets"]] == [False, True]
    # it is not made again for the sake of the one that must not have it
    code, said = call(capsys, "tick")
    assert (code, said["state"]) == (0, "nothing")
    assert "holds the backups of" in said["problems"][0]


def test_where_all_targets_are_foreign_what_is_due_fails_with_patience(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    for store in bench.stores:
        store.put("owner.json", replace(OWNER, cluster="other").to_json())
    code, said = call(capsys, "tick")
    assert (code, said["state"]) == (1, "failed")
    assert "holds the backups of" in said["message"]
    assert bench.planned == [[one.label for one in bench.stores]]
    code, said = call(capsys, "tick", "--failures", "1", "--failed-at", str(datetime.now(UTC).timestamp()))
    assert (code, said["message"]) == (0, "the last 1 failed; it is tried again later")


def test_what_will_expire_is_told_before(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """As the targets are now: the backup that lets it go may shift what is kept."""
    held = [bench.hold(0, 1, hours=hours).name for hours in (20 * 24, 9 * 24, 8 * 24, 1)]
    rule = replace(SETTINGS, retention=Retention(7, None, None), incremental_interval_seconds=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands.settings, "load", lambda: rule)
        told = call(capsys, "tick", "--failures", "1", "--failed-at", str(datetime.now(UTC).timestamp()))[1]
        names = [[one["name"] for one in target["expiring"]] for target in told["catalog"]["targets"]]
        assert (told["state"], names) == ("nothing", [held[1::-1]] * 2)
        done = call(capsys, "tick", "--kind", "full")[1]
    targets = done["catalog"]["targets"]
    assert [[one["expiring"], [each["name"] for each in one["backups"][:-1]]] for one in targets] == [
        [[], held[2:]]
    ] * 2


def test_a_segment_that_cannot_be_read_is_told_with_the_backup(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    old = bench.hold(0, hours=48, gtid="1-1-40")
    broken = put_segment(bench.stores[0], old, 1, 10, datetime.now(UTC))
    bench.stores[0].put(broken.key, b"{}")
    code, said = call(capsys, "tick")
    assert (code, said["state"]) == (0, "succeeded")
    assert f"{broken.key} cannot be used, so its segment stays" in said["message"]
    assert bench.stores[0].get(broken.object.key) == b"x"


def test_a_segment_that_ends_a_command_is_a_failure_in_words(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(*_: object, **__: object) -> None:
        raise SegmentError("first is missing")

    monkeypatch.setattr(commands.binlog, "archive", ends)
    assert call(capsys, "archive")[0] == 1
    monkeypatch.setattr(expiry, "expire", ends)
    code, said = call(capsys, "tick")
    assert (code, said["state"], "expiry failed: first is missing" in said["message"]) == (0, "succeeded", True)


# --- adopt ------------------------------------------------------------------------------------------------------------
def test_each_target_that_can_be_is_told_of_a_restore(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    there = bench.stores[1]
    bench.stores[0] = Unreachable(bench.path / "one")
    code, said = call(capsys, "adopt", "--uuid", OTHER_UUID)
    assert (code, said["state"]) == (1, "failed")
    assert "does not answer" in said["message"]
    found = catalog.read(there).owner
    assert found is not None
    assert found.uuid == OTHER_UUID
    bench.stores[0] = VolumeStore(bench.path / "one")
    assert call(capsys, "adopt", "--uuid", OTHER_UUID)[0] == 0


def test_a_target_of_what_the_cluster_was_before_a_restore_is_tried_again_soon(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """The nodes may be there before the playbook has told the target of the restore."""
    for store in bench.stores:
        store.put("owner.json", replace(OWNER, uuid=OTHER_UUID).to_json())
    bench.degraded = "the cluster is degraded: n-galera-1 is starting: joins"
    code, said = call(capsys, "tick")
    assert (code, said["state"], said["message"]) == (0, "nothing", f"suspended: {bench.degraded}")
    bench.degraded = ""
    bench.planned.clear()
    code, said = call(capsys, "tick")
    assert (code, said["state"], said["soon"]) == (1, "failed", True)
    assert all(f"{store.label} holds the backups of cluster" in said["message"] for store in bench.stores)
    assert bench.planned == []
    # backup_info shows what there is meanwhile
    assert [one["error"] for one in said["catalog"]["targets"]] == [None, None]
    bench.stores[0].put("owner.json", replace(OWNER, cluster="another").to_json())
    code, said = call(capsys, "tick")
    assert (code, said["state"], "soon" in said) == (1, "failed", False)


@pytest.mark.parametrize(("clusters", "soon"), [("n n", True), ("n another", False), ("n", False)])
def test_an_archive_that_a_restore_has_not_told_the_targets_of_is_tried_again_soon(
    bench: Bench, capsys: pytest.CaptureFixture[str], clusters: str, soon: bool
) -> None:
    for store, name in zip(bench.stores, clusters.split(), strict=False):
        store.put("owner.json", replace(OWNER, uuid=OTHER_UUID, cluster=name).to_json())
    said = call(capsys, "archive")[1]
    assert (said["state"], said["soon"], len(said["problems"])) == ("failed", soon, len(clusters.split()))


class ThenSilent(VolumeStore):
    """A hard NFS mount whose server goes away."""

    away: ClassVar[threading.Event]
    over: ClassVar[threading.Event]

    def check(self) -> None:
        if self.away.is_set():
            self.over.wait(60)
        super().check()


def test_a_backup_is_told_when_a_target_falls_silent_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one that waits, which had no part in it."""
    ThenSilent.away, ThenSilent.over = threading.Event(), threading.Event()
    monkeypatch.setattr(commands.targets, "CATALOG_SECONDS", 0.2)
    bench.hold(0, hours=60)
    bench.hold(1, hours=30)
    bench.stores[0] = silent = ThenSilent(bench.path / "one", mount_required=False)

    def run(*arguments: Any, **more: Any) -> Result:
        found = bench.run(*arguments, **more)
        ThenSilent.away.set()
        return found

    monkeypatch.setattr(commands.runner, "run", run)
    failed_at = str(datetime.now(UTC).timestamp())
    try:
        code, said = call(capsys, "tick", "--failures", "1", "--failed-at", failed_at, "--failed-in", silent.label)
    finally:
        ThenSilent.over.set()
    assert (code, said["state"], said["not_in"]) == (0, "succeeded", [silent.label])
    assert said["catalog"]["targets"][0]["error"] == f"{silent.label} has not answered within 0.2 s"


def test_a_target_that_a_process_waits_for_is_not_asked(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither by a backup nor by the archive, however alive it looks; with no other target both fail in words."""
    plain, there = bench.stores
    label, why = plain.label, f"{plain.label} does not answer: a process still waits for it"
    bench.hold(0, 1, hours=60)

    class Untouched:
        def __init__(self) -> None:
            self.label = label

    bench.stores[0] = Untouched()  # type: ignore[call-overload]
    code, said = call(capsys, "tick", "--silent", label, "--failed-in", label)
    assert (code, said["state"], said["not_in"], said["problems"]) == (0, "succeeded", [label], [why])
    assert [one["error"] for one in said["catalog"]["targets"]] == [why, None]
    code, said = call(capsys, "archive", "--silent", label)
    assert (code, said["state"], bench.archived) == (0, "succeeded", [there.label])
    assert said["problems"] == [f"{label}: {why}"]
    del bench.stores[1]
    for command in ("tick", "archive"):
        code, said = call(capsys, command, "--silent", label)
        assert (code, said["state"], why in said["message"]) == (1, "failed", True)


@pytest.mark.parametrize("during", ["read", "ours"])
def test_a_node_that_leaves_the_cluster_while_a_target_is_waited_for_takes_no_backup(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], during: str
) -> None:
    """What the server says of itself must be of the moment at which it is relied on."""
    plain, problem = getattr(commands.targets, during), "not Synced (Donor/Desynced)"
    given: list[Facts] = []

    def waits(*arguments: Any, **more: Any) -> Any:
        bench.facts = replace(bench.facts, problem=problem)
        return plain(*arguments, **more)

    def run(settings: object, stores: Sequence[Store], node: object, facts: Facts, *rest: Any, **more: Any) -> Result:
        given.append(facts)
        return bench.run(settings, stores, *rest, **more)

    monkeypatch.setattr(commands.targets, during, waits)
    monkeypatch.setattr(commands.runner, "run", run)
    said = call(capsys, "tick")[1]
    if during == "read":
        assert (said["state"], said["message"], given) == ("nothing", f"suspended: {problem}", [])
    else:
        assert [one.problem for one in given] == [problem]


@pytest.mark.parametrize("at", ["the backup", "expiry", "the archive"])
def test_a_backup_is_told_where_a_target_that_has_a_part_in_it_falls_silent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], at: str
) -> None:
    """It is not asked again what it holds, and nothing waits for it."""
    ThenSilent.away, ThenSilent.over = threading.Event(), threading.Event()
    monkeypatch.setattr(commands.targets, "CATALOG_SECONDS", 0.2)
    bench.stores[0] = silent = ThenSilent(bench.path / "one", mount_required=False)
    why = f"{silent.label} took nothing for 300 s"
    if at == "the backup":
        bench.failures[silent.label] = why

    def run(*arguments: Any, **more: Any) -> Result:
        found = bench.run(*arguments, **more)
        if at != "the archive":
            ThenSilent.away.set()
        return replace(found, silent=frozenset(bench.failures))

    plain_known = commands.summary.points.known

    def known(store: Store, read: catalog.Catalog) -> Any:
        if at == "the archive" and store.label == silent.label:
            ThenSilent.over.wait(60)
        return plain_known(store, read)

    monkeypatch.setattr(commands.summary.points, "known", known)
    monkeypatch.setattr(commands.runner, "run", run)
    asked: list[Sequence[Store]] = []
    plain = commands.removal.let_expire
    monkeypatch.setattr(commands.removal, "let_expire", lambda *rest: asked.append(rest[0]) or plain(*rest))
    try:
        code, said = call(capsys, "tick")
    finally:
        ThenSilent.over.set()
    assert (code, said["state"], said["not_in"]) == (0, "succeeded", list(bench.failures))
    told = why if at == "the backup" else f"{silent.label} has not answered within 0.2 s"
    assert said["message"].endswith(f"; but {told}") == (at != "the archive")
    assert said["catalog"]["targets"][0]["error"] == told
    assert [one["name"] for one in said["catalog"]["targets"][1]["backups"]] == [said["backup"]]
    assert said.get("silent") == (None if at == "the backup" else [silent.label])
    assert asked == [bench.stores[1:] if at == "the backup" else bench.stores]


def test_a_target_that_is_at_work_with_what_has_expired_is_not_silent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pause = threading.Event()

    class Slow(VolumeStore):
        def delete(self, key: str) -> None:
            pause.wait(0.15)
            super().delete(key)

    monkeypatch.setattr(commands.targets, "CATALOG_SECONDS", 0.4)
    rule = replace(SETTINGS, retention=Retention(7, None, None), incremental_interval_seconds=None)
    monkeypatch.setattr(commands.settings, "load", lambda: rule)
    old = [bench.hold(0, hours=days * 24).name for days in (20, 19, 18)]
    bench.hold(0, 1, hours=8 * 24)
    bench.stores[0] = Slow(bench.path / "one", mount_required=False)
    code, said = call(capsys, "tick", "--kind", "full")
    assert (code, said["state"], said["problems"]) == (0, "succeeded", [])
    left = [one["name"] for one in said["catalog"]["targets"][0]["backups"]]
    assert not set(old) & set(left)
