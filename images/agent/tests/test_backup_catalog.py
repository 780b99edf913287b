# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog is what the store says; whatever is wrong there is told, and nothing is deleted that is not ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from backup_samples import CONTENT, OTHER_UUID, OWNER, at, full, increment, put_backup, verification
from galera_agent.backup.catalog import Catalog, ChainError, Owner, OwnerError, adopt, check_owner, claim, read
from galera_agent.backup.cleanup import prune, sweep
from galera_agent.backup.manifest import verification_key
from galera_agent.backup.store import LockedError
from galera_agent.backup.volume_store import VolumeStore

FULL = full(at("2026-11-21 01:00"))
INC1 = increment(FULL, at("2026-11-21 02:00"))
INC2 = increment(INC1, at("2026-11-21 03:00"))
NOW = at("2026-11-21 12:00")


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    """A volume of cluster n with a full backup and two increments."""
    found = VolumeStore(tmp_path, mount_required=False)
    claim(found, OWNER)
    for manifest in (FULL, INC1, INC2):
        put_backup(found, manifest)
    return found


def names(catalog: Catalog) -> list[str]:
    return [one.name for one in catalog.backups]


def test_whole_store(store: VolumeStore) -> None:
    store.put(verification_key(INC1.name), verification(INC1).to_json())
    store.put(verification_key(INC2.name), replace(verification(INC2), digest="0" * 64).to_json())
    found = read(store)
    assert (names(found), found.problems, found.owner) == ([FULL.name, INC1.name, INC2.name], (), OWNER)
    assert [one.verified for one in found.backups] == [None, True, None]
    assert [one.manifest for one in found.chain(INC2.name)] == [FULL, INC1, INC2]
    assert [found.problem_of(name) for name in names(found)] == ["", "", ""]


def test_manifests_that_were_just_read_are_not_read_again(store: VolumeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    known = read(store)
    store.put(verification_key(INC1.name), verification(INC1).to_json())
    last = increment(INC2, at("2026-11-21 04:00"))
    put_backup(store, last)
    asked: list[str] = []
    get = VolumeStore.get

    def counted(self: VolumeStore, key: str) -> bytes:
        asked.append(key)
        return get(self, key)

    monkeypatch.setattr(VolumeStore, "get", counted)
    found = read(store, [replace(known, store="another", backups=()), known])
    assert sorted(key for key in asked if key.endswith("manifest.json")) == [last.key]
    assert [one.verified for one in found.backups] == [None, True, None, None]
    store.delete(FULL.objects[0].key)
    assert names(read(store, [known])) == [INC1.name, INC2.name, last.name]
    store.delete(INC1.key)
    assert read(store, [known]).incomplete == (INC1.name,)


def test_what_is_foreign_is_told_and_stays(store: VolumeStore, tmp_path: Path) -> None:
    foreign = ["dump.sql", "backups/notes.txt", "backups/inc_01/ibdata1", f"backups/{FULL.name}/extra", "other/x"]
    for key in foreign:
        store.put(key, b"x")
    found = read(store)
    assert sorted(found.problems) == [
        f"backups/{FULL.name}/extra is not in the manifest",
        "backups/inc_01/ibdata1 is not ours",
        "backups/notes.txt is not ours",
        "dump.sql is not ours",
        "other/ is not ours",
    ]
    assert len(found.backups) == 3
    sweep(store, OWNER, found, NOW, timedelta(0))
    assert all((tmp_path / key).exists() for key in foreign)


def test_incomplete_backups_are_no_backups(store: VolumeStore) -> None:
    store.delete(INC1.key)
    found = read(store)
    assert (names(found), found.incomplete) == ([FULL.name, INC2.name], (INC1.name,))
    with pytest.raises(ChainError, match=f"{INC1.name}, which {INC2.name} is an increment of, is incomplete"):
        found.chain(INC2.name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be used: it is no JSON"),
        (b"{}", "cannot be used: format is null; allowed: 1"),
        (FULL.to_json().replace(b'"seqno": 7', b'"seqno": 8'), "and that of the contents is"),
        (INC2.to_json(), f"is the manifest of {INC2.name}"),
    ],
)
def test_broken_manifests_are_problems(store: VolumeStore, content: bytes, said: str) -> None:
    store.put(INC1.key, content)
    found = read(store)
    assert (names(found), found.broken) == ([FULL.name, INC2.name], (INC1.name,))
    assert len(found.problems) == 1
    assert said in found.problems[0]
    needed = f"backup {INC1.name}, which {INC2.name} is an increment of, cannot be used in {store.label}"
    assert found.problem_of(INC2.name) == f"{needed}: {found.problems[0]}"
    assert sweep(store, OWNER, found, NOW, timedelta(0)).removed == []


def test_objects_that_are_missing_or_cut_short(store: VolumeStore) -> None:
    store.delete(INC1.objects[0].key)
    store.put(INC2.objects[0].key, CONTENT[:-1])
    found = read(store)
    assert names(found) == [FULL.name]
    assert found.problems == (
        f"{INC1.objects[0].key} is missing: backup {INC1.name} is not whole",
        f"{INC2.objects[0].key} has 799 bytes, not 800: backup {INC2.name} is not whole",
    )
    assert found.problem_of(INC2.name) == f"backup {INC2.name} cannot be used in {store.label}: {found.problems[1]}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"uuid": OTHER_UUID}, f"it continues uuid {OTHER_UUID}, the parent has {FULL.uuid}"),
        ({"base": "f" * 32}, f"it continues LSN base {'f' * 32}, the parent has {FULL.base}"),
        ({"lsn_from": 999}, "it continues LSN 999, the parent has 1000"),
        ({"parent_digest": "0" * 64}, f"it continues digest {'0' * 64}, the parent has {FULL.digest}"),
    ],
)
def test_each_link_is_checked(store: VolumeStore, changes: dict[str, object], said: str) -> None:
    store.put(INC1.key, replace(INC1, **changes).to_json())  # type: ignore[arg-type]
    found = read(store)
    with pytest.raises(ChainError, match=f"^backup {INC1.name} does not fit its parent {FULL.name}: {said}$"):
        found.chain(INC1.name)
    # the increment after it hangs on another manifest than there is
    with pytest.raises(ChainError):
        found.chain(INC2.name)


def test_a_swapped_parent_is_found(store: VolumeStore) -> None:
    """Another backup under the same name, which fits in every number."""
    store.put(FULL.key, replace(FULL, seqno=6).to_json())
    assert f"{INC1.name} does not fit its parent {FULL.name}: it continues digest" in read(store).problem_of(INC2.name)


def test_unknown_backup(store: VolumeStore) -> None:
    with pytest.raises(ChainError, match=r"^backup x is not there in volume "):
        read(store).chain("x")


# --- whose it is ------------------------------------------------------------------------------------------------------
OWN_PLACE = "give each cluster a volume or prefix of its own"


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"cluster": "m"}, OWN_PLACE),
        ({"namespace": "other"}, OWN_PLACE),
        (
            {"uuid": OTHER_UUID},
            "a restore tells it at its end; one made anew needs a volume or prefix of its own",
        ),
    ],
)
def test_two_clusters_in_one_place(store: VolumeStore, changes: dict[str, str], advice: str) -> None:
    mine = replace(OWNER, **changes)  # type: ignore[arg-type]
    for check in (claim, check_owner):
        with pytest.raises(OwnerError) as error:
            check(store, mine)
        assert str(error.value) == (
            f"{store.label} holds the backups of cluster n of namespace ns (uuid {OWNER.uuid}), not of {mine}; {advice}"
        )
    for delete in (
        lambda: prune(store, mine, read(store), [INC2.name]),
        lambda: sweep(store, mine, read(store), NOW, timedelta(0)),
    ):
        with pytest.raises(OwnerError):
            delete()
    assert len(read(store).backups) == 3


def test_claiming_twice_changes_nothing(store: VolumeStore) -> None:
    claim(store, replace(OWNER, created=NOW))
    assert read(store).owner == OWNER


def test_lost_owner(store: VolumeStore, tmp_path: Path) -> None:
    (tmp_path / "owner.json").unlink()
    with pytest.raises(OwnerError, match=r"holds backups/ and no owner.json: whose they are is unknown"):
        claim(store, OWNER)
    with pytest.raises(OwnerError, match=r"has no owner.json: it was emptied, or is another place than before"):
        check_owner(store, OWNER)
    assert len(read(store).backups) == 3


def test_unusable_owner(store: VolumeStore) -> None:
    store.put("owner.json", OWNER.to_json()[:-5])
    with pytest.raises(OwnerError, match=r"has an owner.json that cannot be used: it is no JSON"):
        claim(store, OWNER)
    found = read(store)
    assert (found.owner, len(found.backups), len(found.problems)) == (None, 3, 1)
    with pytest.raises(ValueError, match="uuid is missing"):
        Owner.from_json(b'{"format": 1, "cluster": "n", "namespace": "ns", "created": "2026-01-01T00:00:00Z"}')


# --- deletion ---------------------------------------------------------------------------------------------------------
def test_prune(store: VolumeStore) -> None:
    outcome = prune(store, OWNER, read(store), [INC2.name, INC1.name])
    assert (outcome.removed, outcome.kept) == ([INC2.name, INC1.name], [])
    assert [one.key for one in store.list("backups/")] == [FULL.objects[0].key, FULL.key]


def test_locked_backups_keep_what_they_hang_on(store: VolumeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = VolumeStore.delete

    def delete(self: VolumeStore, key: str) -> None:
        if INC1.name in key:
            raise LockedError(f"{key} is locked")
        plain(self, key)

    monkeypatch.setattr(VolumeStore, "delete", delete)
    outcome = prune(store, OWNER, read(store), [INC2.name, INC1.name, FULL.name])
    assert outcome.removed == [INC2.name]
    assert outcome.kept == [
        f"{INC1.key} is locked",
        f"{store.label} keeps {FULL.name}: a locked increment hangs on it",
    ]
    assert read(store).problem_of(INC1.name) == ""


def test_what_is_locked_is_not_said_to_be_removed(store: VolumeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each backup would tell so again until the lock ends."""

    def delete(self: VolumeStore, key: str) -> None:
        raise LockedError(f"{key} is locked")

    store.delete(INC2.key)
    monkeypatch.setattr(VolumeStore, "delete", delete)
    outcome = sweep(store, OWNER, read(store), NOW, timedelta(0))
    assert (outcome.removed, outcome.kept) == ([], [f"{INC2.objects[0].key} is locked"])


def test_interrupted_prune_is_finished_by_sweep(store: VolumeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("galera_agent.backup.cleanup._remove_rest", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prune(store, OWNER, read(store), [INC2.name])
    monkeypatch.undo()
    found = read(store)
    assert (names(found), found.incomplete) == ([FULL.name, INC1.name], (INC2.name,))
    for older_than, in_use in ((timedelta(hours=9), ()), (timedelta(hours=1), (INC2.name,))):
        assert sweep(store, OWNER, found, NOW, older_than, in_use).removed == []
    assert sweep(store, OWNER, found, NOW, timedelta(hours=8)).removed == [INC2.name]
    assert read(store).incomplete == ()


@pytest.mark.parametrize("left", [".nfs000000001", ".DS_Store", "a copy of it"])
def test_names_that_are_no_keys_end_no_clean_up(store: VolumeStore, tmp_path: Path, left: str) -> None:
    """NFS keeps a file that is read while it is deleted under such a name; others come with people."""
    paths = [tmp_path / f"backups/{name}/{left}" for name in (INC1.name, INC2.name)]
    for path in paths:
        path.touch()
    assert prune(store, OWNER, read(store), [INC2.name]).removed == [INC2.name]
    store.delete(INC1.key)
    assert sweep(store, OWNER, read(store), NOW, timedelta(0)).removed == [INC1.name]
    found = read(store)
    assert (names(found), found.incomplete) == ([FULL.name], ())
    assert found.problems == tuple(f"backups/{name}/{left} is not ours" for name in (INC1.name, INC2.name))
    assert all(path.exists() for path in paths)


def test_a_listing_that_lags_behind_costs_no_backup(store: VolumeStore) -> None:
    """A listing may not show a manifest yet that was just written."""
    found = read(store)
    late = replace(found, backups=found.backups[:-1], incomplete=(INC2.name,))
    assert sweep(store, OWNER, late, NOW, timedelta(hours=8)).removed == []
    assert read(store).problem_of(INC2.name) == ""


def test_a_restored_cluster_goes_on_with_its_store(store: VolumeStore) -> None:
    restored = replace(OWNER, uuid=OTHER_UUID)
    with pytest.raises(OwnerError):
        check_owner(store, restored)
    assert adopt(store, restored) == f"it was that of uuid {OWNER.uuid}, and is that of {OTHER_UUID} now"
    check_owner(store, restored)
    assert adopt(store, restored) == "it is this cluster's already"
    with pytest.raises(OwnerError, match="belongs to cluster"):
        adopt(store, replace(restored, namespace="elsewhere"))
    assert names(read(store)) == [FULL.name, INC1.name, INC2.name]
