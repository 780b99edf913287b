# SPDX-License-Identifier: GPL-3.0-or-later
"""A store with backups of several histories of one cluster, as a restore in place and its undoing leave them."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from backup_samples import OTHER_UUID, OWNER, UUID, at, catalog, full, increment, put_backup, put_segment
from galera_agent import restore
from galera_agent.backup import catalog as catalogs
from galera_agent.backup import retention, selection, streams, summary
from galera_agent.backup.catalog import Backup, Catalog
from galera_agent.backup.manifest import Manifest
from galera_agent.backup.recovery import Target
from galera_agent.backup.settings import Retention
from galera_agent.backup.store import Store
from galera_agent.backup.volume_store import VolumeStore
from galera_agent.chain import Refused

# One history until 02:00, another one from then on: its backup is the newest.
FIRST = full(at("2026-11-21 01:00"), gtid="1-1-10")
SECOND = full(at("2026-11-21 03:00"), gtid="1-1-30", uuid=OTHER_UUID)
RESTORED = replace(OWNER, uuid=OTHER_UUID, created=at("2026-11-21 02:00"))
UNDONE = replace(OWNER, created=at("2026-11-21 04:00"))


def names(held: Catalog, wanted: str = "latest", inner: str = "latest", target: Target | None = None) -> list[str]:
    return [name for name, _ in selection.candidates([held], wanted, inner, target)]


# --- which comes first ------------------------------------------------------------------------------------------------
def test_the_present_history_comes_first() -> None:
    both = catalog([FIRST, SECOND])
    assert names(replace(both, owner=RESTORED)) == [SECOND.name, FIRST.name]
    assert names(replace(both, owner=UNDONE)) == [FIRST.name, SECOND.name]
    assert names(replace(both, owner=UNDONE), inner="none") == [FIRST.name, SECOND.name]
    # whose store it is cannot be read, or it holds nothing of the present history: by time
    assert names(replace(both, owner=None)) == [SECOND.name, FIRST.name]
    older = replace(SECOND, uuid="0" * 8 + SECOND.uuid[8:])
    assert names(replace(catalog([FIRST, older]), owner=RESTORED)) == [SECOND.name, FIRST.name]


def test_a_name_is_always_honoured() -> None:
    held = replace(catalog([FIRST, SECOND]), owner=UNDONE)
    assert names(held, SECOND.name) == [SECOND.name]
    inc = increment(FIRST, at("2026-11-21 01:30"))
    assert names(replace(catalog([FIRST, SECOND, inc]), owner=RESTORED), inc.name) == [inc.name]


def test_what_cannot_be_read_is_not_passed_over() -> None:
    """It may be of the present history, so that a restore without a fallback must not take an older one unseen."""
    broken = "20261121T050000Z-full"
    held = replace(catalog([FIRST, SECOND]), broken=(broken,), owner=UNDONE)
    assert names(held) == [broken, FIRST.name, SECOND.name]


def test_of_two_targets_the_one_that_was_told_last_says_which_history_goes_on() -> None:
    told = replace(catalog([FIRST, SECOND]), owner=RESTORED)
    behind = catalog([FIRST, SECOND], store="s3://b/p")
    assert selection.present([behind, told]) == selection.present([told, behind]) == OTHER_UUID
    assert selection.present([replace(told, owner=None)]) == ""


# --- clocks that were ahead -------------------------------------------------------------------------------------------
def held_at(reading: str, *found: tuple[Manifest, str]) -> Catalog:
    """A catalog read at a time, of backups whose manifests were written at times."""
    backups = [Backup(one, None, "volume /backups", at(written)) for one, written in found]
    backups.sort(key=lambda one: one.name)
    return Catalog("volume /backups", tuple(backups), owner=OWNER, read=at(reading))


def test_a_backup_by_a_clock_that_was_ahead_is_no_newer_than_the_store_says() -> None:
    wrong, right = full(at("2026-12-21 01:00"), seqno=9), full(at("2026-11-22 01:00"), seqno=20)
    held = held_at(
        "2027-02-01 00:00", (wrong, "2026-11-21 01:03"), (FIRST, "2026-11-21 01:02"), (right, "2026-11-22 01:02")
    )
    assert names(held) == [right.name, wrong.name, FIRST.name]
    # manifests that were copied later say nothing, as do clocks that differ a little
    copied = held_at("2027-02-01 00:00", *((one, "2027-01-30 12:00") for one in (wrong, FIRST, right)))
    assert names(copied) == [wrong.name, right.name, FIRST.name]
    assert held_at("2027-02-01 00:00", (FIRST, "2026-11-21 00:30")).backups[0].began == FIRST.started


@pytest.mark.parametrize(("seqno", "place"), [(30, 0), (15, 1), (3, 2)])
def test_a_backup_from_the_future_comes_where_its_history_had_it(seqno: int, place: int) -> None:
    """The store's clock was ahead as well."""
    wrong, right = full(at("2026-12-21 01:00"), seqno=seqno), full(at("2026-11-22 01:00"), seqno=20)
    held = held_at(
        "2026-11-22 02:00", (wrong, "2026-12-21 01:03"), (FIRST, "2026-11-21 01:02"), (right, "2026-11-22 01:02")
    )
    assert names(held).index(wrong.name) == place
    assert names(replace(held, read=None))[0] == wrong.name


def test_a_store_whose_clock_has_gone_back_makes_no_backup_old(tmp_path: Path) -> None:
    """A file server that lost its time says of new backups that they are of 1970."""
    store = VolumeStore(tmp_path, mount_required=False)
    catalogs.claim(store, OWNER)
    manifests = [full(at("2026-11-10 01:00") + timedelta(days=day), seqno=day) for day in range(12)]
    for number, one in enumerate(manifests):
        put_backup(store, one)
        moment = one.finished.timestamp() if number < 10 else 86400.0 * number
        os.utime(tmp_path / one.key, (moment, moment))
    found = catalogs.read(store)
    assert [one.began for one in found.backups] == [one.started for one in manifests]
    gone = [name for name, _ in retention.expired(found, at("2026-11-21 02:00"), Retention(3, None, None))]
    assert gone == [one.name for one in reversed(manifests[:7])]
    assert names(found)[0] == manifests[-1].name


def test_the_manifest_of_a_store_says_when_it_was_written(tmp_path: Path) -> None:
    store = VolumeStore(tmp_path, mount_required=False)
    store.create("owner.json", OWNER.to_json())
    now = datetime.now(UTC).replace(microsecond=0)
    ahead = full(now + timedelta(days=30))
    put_backup(store, ahead)
    read = catalogs.read(store)
    assert read.read is not None
    assert abs(read.read - now) < timedelta(minutes=10)
    assert abs(read.backups[0].began - now) < timedelta(minutes=10)
    assert catalogs.read(store, [read]).backups == read.backups


# --- what a restore takes ---------------------------------------------------------------------------------------------
@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of the history that was restored at 02:00, with the backups of both."""
    found = VolumeStore(tmp_path, mount_required=False)
    found.create("owner.json", RESTORED.to_json())
    put_backup(found, FIRST)
    put_backup(found, SECOND)
    return found


def taken(tmp_path: Path, said: list[str], **plan: object) -> list[streams.Streams]:
    wanted = replace(restore.Plan(store=tmp_path, settings=tmp_path / "none"), **plan)  # type: ignore[arg-type]
    return list(streams.sources(wanted, said.append))


def titles(found: list[streams.Streams]) -> list[str]:
    return [one.identity[0][0] for one in found]


def test_latest_is_of_the_present_history(store: Store, tmp_path: Path) -> None:
    said: list[str] = []
    assert titles(taken(tmp_path, said)) == [SECOND.name]
    store.put("owner.json", UNDONE.to_json())
    (found,) = taken(tmp_path, said)
    assert (titles([found]), found.warning, said) == ([FIRST.name], "", [])
    assert titles(taken(tmp_path, said, fallback=True)) == [FIRST.name, SECOND.name]
    assert [f"{SECOND.name} is of another history" in one for one in said] == [True]


def test_without_a_backup_of_the_present_history_the_other_one_is_taken_and_told(store: Store, tmp_path: Path) -> None:
    store.delete(SECOND.key)
    said: list[str] = []
    (found,) = taken(tmp_path, said)
    assert found.identity[0][0] == FIRST.name
    assert found.warning == (
        f"{FIRST.name} is of another history (uuid {UUID}) than the present one (uuid {OTHER_UUID}), which a restore "
        "or its undoing began: what was written in the present one is not in it; "
        "of the present one there is no backup yet"
    )
    assert said == [f"WARNING: {found.warning}"]


def test_a_named_backup_of_another_history_is_taken_and_told(store: Store, tmp_path: Path) -> None:
    said: list[str] = []
    assert titles(taken(tmp_path, said, backup=FIRST.name)) == [FIRST.name]
    assert len(said) == 1
    assert said[0].endswith(f"; of the present one there is {SECOND.name}")


@pytest.mark.parametrize(
    ("moment", "owner", "expected"),
    [
        ("2026-11-21 01:30", RESTORED, FIRST),
        ("2026-11-21 03:30", RESTORED, SECOND),
        ("2026-11-21 01:30", UNDONE, FIRST),
        # the present history has nothing of that time: its archive ended at 02:00
        ("2026-11-21 03:30", UNDONE, SECOND),
    ],
)
def test_a_time_belongs_to_the_history_in_which_it_lies(
    store: Store, tmp_path: Path, moment: str, owner: catalogs.Owner, expected: Manifest
) -> None:
    put_segment(store, FIRST, 11, 20, at("2026-11-21 02:00"))
    put_segment(store, SECOND, 31, 40, at("2026-11-21 04:00"))
    store.put("owner.json", owner.to_json())
    said: list[str] = []
    assert titles(taken(tmp_path, said, target_point=Target(time=at(moment)))) == [expected.name]
    assert any("WARNING" in one for one in said) == (expected.uuid != owner.uuid)


def test_only_a_time_leads_into_another_history(store: Store, tmp_path: Path) -> None:
    put_segment(store, SECOND, 31, 40, at("2026-11-21 04:00"))
    store.put("owner.json", UNDONE.to_json())
    with pytest.raises(Refused, match=f"{FIRST.name} in .*: there is no archive of binary logs of its cluster"):
        taken(tmp_path, [], target_point=Target(sequence=35))
    store.put("owner.json", RESTORED.to_json())
    with pytest.raises(Refused, match="the archive goes on without a hole only to"):
        taken(tmp_path, [], target_point=Target(time=at("2026-11-21 04:30")))


def test_a_place_without_a_backup_is_named(store: Store, tmp_path: Path) -> None:
    for one in (FIRST, SECOND):
        store.delete(one.key)
        store.delete(one.objects[0].key)
    with pytest.raises(Refused, match=f"there is no complete backup in {re.escape(store.label)}$"):
        taken(tmp_path, [])


def test_an_archive_that_cannot_be_read_is_told(store: Store, tmp_path: Path) -> None:
    store.put(put_segment(store, SECOND, 31, 40, at("2026-11-21 04:00")).key, b"{}")
    with pytest.raises(
        Refused, match=r"no backup ended at the wanted point.*nearest that can be restored .*json cannot be used: "
    ):
        taken(tmp_path, [], target_point=Target(time=at("2026-11-20 00:00")))


# --- what is told -----------------------------------------------------------------------------------------------------
def told(store: Store) -> tuple[list[str], list[str]]:
    """Problems, and the backups with which intervals begin."""
    (target,) = summary.describe([(store, catalogs.read(store))], at("2026-11-21 05:00"))["targets"]
    return target["problems"], [one["backup"] for one in target["intervals"]]


def test_intervals_are_those_of_the_present_history(store: Store) -> None:
    assert told(store) == ([], [SECOND.name])
    store.put("owner.json", UNDONE.to_json())
    assert told(store) == ([], [FIRST.name])


def test_a_history_without_a_backup_is_a_problem(store: Store) -> None:
    store.delete(SECOND.key)
    store.delete(SECOND.objects[0].key)
    problem = (
        f"there is no backup of the present state of the cluster (uuid {OTHER_UUID}) yet; "
        f"the newest good one, {FIRST.name}, is of another history (uuid {UUID})"
    )
    assert told(store) == ([problem], [FIRST.name])
