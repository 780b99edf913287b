# SPDX-License-Identifier: GPL-3.0-or-later
"""Several targets, of which one does not answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import ANY

import pytest
from backup_samples import OWNER, UUID, at, full, put_backup
from galera_agent.backup import binlog, catalog, segment, targets
from galera_agent.backup.binlog import Outcome
from galera_agent.backup.pipe import Limit
from galera_agent.backup.store import Entry, Store, StoreError
from galera_agent.backup.volume_store import VolumeStore
from test_backup_binlog import NOW, SETTINGS, Server, server, store

__all__ = ["server", "store"]


class Silent(VolumeStore):
    """A target that answers when it is told to, as a hard NFS mount whose server is away."""

    answers = threading.Event()

    def get(self, key: str) -> bytes:
        assert self.answers.wait(60)
        return super().get(key)

    def check(self) -> None:
        assert self.answers.wait(60)


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Store]]:
    found: list[Store] = []
    for kind in (Silent, VolumeStore):
        path = tmp_path / kind.__name__
        path.mkdir()
        VolumeStore(path, mount_required=False).create("owner.json", OWNER.to_json())
        found.append(kind(path))
    monkeypatch.setattr(targets, "OWNER_SECONDS", 0.1)
    monkeypatch.setattr(targets, "CATALOG_SECONDS", 0.1)
    Silent.answers = threading.Event()
    yield found
    Silent.answers.set()


def test_a_target_that_does_not_answer_is_left_out(stores: list[Store]) -> None:
    silent, there = stores
    said = f"{silent.label} has not answered within 0.1 s"
    ours, why = targets.ours(stores, OWNER, catalog.claim)
    assert (ours, {label: str(error) for label, error in why.items()}) == ([there], {silent.label: said})
    catalogs, errors = targets.read(stores)
    assert ([one.store for one in catalogs], errors) == ([there.label], {silent.label: said})


@pytest.mark.parametrize("other_fails", [False, True])
def test_nobody_waits_who_has_no_other(stores: list[Store], tmp_path: Path, other_fails: bool) -> None:
    silent, there = stores
    if other_fails:
        there.delete("owner.json")
        (tmp_path / "VolumeStore" / "backups").mkdir()
    timer = threading.Timer(0.3, Silent.answers.set)
    timer.start()
    ours, why = targets.ours([silent, there] if other_fails else [silent], OWNER, catalog.claim)
    assert (ours, list(why)) == ([silent], [there.label] if other_fails else [])


def test_who_has_other_targets_waits_for_none(stores: list[Store]) -> None:
    silent, _ = stores
    assert targets.read([silent], others=True) == ([], {silent.label: f"{silent.label} has not answered within 0.1 s"})


def test_targets_are_told_in_their_order_and_errors_that_nobody_expects_come_out(stores: list[Store]) -> None:
    Silent.answers.set()
    catalogs, errors = targets.read(stores)
    assert ([one.store for one in catalogs], errors) == ([one.label for one in stores], {})

    def ask(store: Store, owner: object) -> None:
        raise StoreError("it is full") if store is stores[0] else ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        targets.ours(stores, OWNER, ask)


def test_a_target_at_work_is_waited_for_as_long_as_it_goes_on(stores: list[Store]) -> None:
    over = threading.Event()

    def work(store: Store, beat: targets.Beat) -> str:
        if store is stores[1]:
            return "at once"
        for _ in range(10):
            beat()
            if over.wait(60 if store is stores[0] else 0.1):
                return "never"
        return "slowly"

    slow = VolumeStore(Path("/slow"))
    try:
        found, why = targets.together([*stores, slow], work, 0.3)
    finally:
        over.set()
    assert found == {stores[1].label: "at once", slow.label: "slowly"}
    assert list(why) == [stores[0].label]


def test_a_target_that_is_slow_to_tell_what_it_holds_is_read(
    stores: list[Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its answers shows that it goes on; a node that is to be filled has no time for that."""
    monkeypatch.setattr(targets, "CATALOG_SECONDS", 0.6)
    pause = threading.Event()

    class Slow(VolumeStore):
        def list(self, prefix: str) -> Iterator[Entry]:
            for entry in super().list(prefix):
                pause.wait(0.1)
                yield entry

    for day in range(1, 7):
        put_backup(stores[1], full(at(f"2026-11-0{day} 01:00")))
    slow = Slow(tmp_path / "VolumeStore")
    (tmp_path / "quick").mkdir()
    quick = VolumeStore(tmp_path / "quick", mount_required=False)
    found, why = targets.read([slow, quick])
    assert ([len(one.backups) for one in found], why) == ([6, 0], {})
    assert list(targets.read([slow, quick], 0.6)[1]) == [slow.label]


@pytest.mark.parametrize("place", ["children", "writer"])
def test_a_target_that_falls_silent_while_it_is_archived_to_holds_up_no_other(
    server: Server, store: VolumeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    over = threading.Event()

    def silent(*_: object) -> object:
        over.wait(60)
        raise StoreError("it is over")

    (tmp_path / "silent").mkdir()
    one = VolumeStore(tmp_path / "silent", mount_required=False)
    one.create("owner.json", OWNER.to_json())
    monkeypatch.setattr(one, place, silent)
    monkeypatch.setattr(targets, "OWNER_SECONDS", 0.2)
    monkeypatch.setattr(targets, "ARCHIVE_SECONDS", 0.2)
    server.commit(3)
    node = binlog.inspect(server, "n-galera-2")
    try:
        found = binlog.archive(server, node, [one, store], SETTINGS, server.folder, Limit(60), lambda: NOW)
    finally:
        over.set()
    assert found[one.label] == f"{one.label} has not answered within 0.2 s"
    assert found[store.label] == Outcome(3, 1, ANY, None)
    assert [(span.first, span.last) for span in segment.spans(store, UUID)] == [(1, 3)]


def test_an_archive_that_is_stopped_stops_its_streams(
    server: Server, store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal reaches the main thread only."""

    def stopped(stores: object, work: Callable[[Store, object], object], seconds: float) -> tuple[object, object]:
        if seconds == targets.ARCHIVE_SECONDS:
            raise SystemExit(143)
        return {store.label: work(store, None)}, {}

    monkeypatch.setattr(targets, "together", stopped)
    monkeypatch.setattr(binlog, "_STOP_SECONDS", 0)
    server.commit(3)
    limit = Limit(60)
    with pytest.raises(SystemExit):
        binlog.archive(
            server, binlog.inspect(server, "n-galera-2"), [store], SETTINGS, server.folder, limit, lambda: NOW
        )
    assert limit.problem() == "was cancelled: it was stopped"
