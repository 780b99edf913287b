# SPDX-License-Identifier: GPL-3.0-or-later
"""Several targets, of which one does not answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from backup_samples import OWNER
from galera_agent.backup import catalog, targets
from galera_agent.backup.store import Store, StoreError
from galera_agent.backup.volume_store import VolumeStore


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
