# SPDX-License-Identifier: GPL-3.0-or-later
"""Which copy of a backup a restore takes where there are two targets, and what it says of one that is not whole."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from backup_samples import OWNER, at, full, increment, put_backup, put_segment
from galera_agent import restore
from galera_agent.backup import catalog, streams, summary
from galera_agent.backup.recovery import Target, parse_target
from galera_agent.backup.store import StoreError
from galera_agent.backup.volume_store import VolumeStore
from galera_agent.chain import Refused
from stream_samples import VERSION

FULL = full(at("2026-11-21 01:00"), gtid="1-1-10")


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[VolumeStore, VolumeStore]:
    """Two targets with the same backup, and with the transactions up to 20."""
    found = VolumeStore(tmp_path / "one", mount_required=False), VolumeStore(tmp_path / "two", mount_required=False)
    for store in found:
        Path(store.label.removeprefix("volume ")).mkdir()
        store.create("owner.json", OWNER.to_json())
        put_backup(store, FULL)
        put_segment(store, FULL, 11, 20, at("2026-11-21 01:30"))
    monkeypatch.setattr(streams, "open_targets", lambda file, volume: list(found))
    return found


def taken(**plan: object) -> list[str]:
    """Where each source is read, and up to where it is replayed, in their order."""
    wanted = replace(restore.Plan(), **plan)  # type: ignore[arg-type]
    found = streams.sources(wanted, lambda _: None)
    return [f"{one.until.rpartition('/')[2]} {one.identity[-1][0]}" for one in found]


@pytest.mark.parametrize("further", [0, 1])
def test_latest_is_of_the_target_whose_archive_goes_further(
    both: tuple[VolumeStore, VolumeStore], further: int
) -> None:
    """One that was away for a while has the same backups, and ends earlier."""
    put_segment(both[further], FULL, 21, 30, at("2026-11-21 02:00"))
    names = ["one", "two"]
    other = names.pop(1 - further)
    assert taken(target_point=Target()) == [f"{names[0]} transaction 30"]
    assert taken(target_point=Target(), fallback=True) == [f"{names[0]} transaction 30", f"{other} transaction 20"]


def test_latest_with_the_same_archive_in_both(both: tuple[VolumeStore, VolumeStore]) -> None:
    assert taken(target_point=Target()) == ["one transaction 20", "two transaction 20"]


def test_a_point_is_of_the_first_target_that_has_it(both: tuple[VolumeStore, VolumeStore]) -> None:
    put_segment(both[1], FULL, 21, 30, at("2026-11-21 02:00"))
    assert taken(target_point=Target(sequence=15)) == ["one transaction 15", "two transaction 15"]
    assert taken(target_point=Target(sequence=25)) == ["two transaction 25"]


@pytest.mark.parametrize(("content", "told"), [(None, "is missing"), (b"xyz", "has 3 bytes, not 1")])
def test_a_segment_that_is_not_whole_is_found_before_anything_is_unpacked(
    both: tuple[VolumeStore, VolumeStore], content: bytes | None, told: str
) -> None:
    first, second = (put_segment(store, FULL, 21, 30, at("2026-11-21 02:00")) for store in both)
    for store, one, left in ((both[0], first, ["two transaction 30"]), (both[1], second, [])):
        store.delete(one.object.key)
        if content is not None:
            store.put(one.object.key, content)
        if left:
            assert taken(target_point=Target()) == left
    with pytest.raises(Refused, match=f"{second.object.key} {told}"):
        taken(target_point=Target())
    assert taken(target_point=Target(sequence=20)) == ["one transaction 20", "two transaction 20"]


def test_latest_does_not_end_earlier_since_a_segment_is_missing(both: tuple[VolumeStore, VolumeStore]) -> None:
    """The other target, which was away then, has less."""
    store = both[0]
    store.delete(put_segment(store, FULL, 21, 30, at("2026-11-21 02:00")).object.key)
    with pytest.raises(Refused, match="is missing: the archive is not whole"):
        taken(target_point=Target())
    assert taken(target_point=Target(), fallback=True) == ["two transaction 20"]


@pytest.mark.parametrize("damage", ["gone", "cut", "document", "another"])
@pytest.mark.parametrize(
    ("target", "needed"),
    [(Target(), 3), (Target(sequence=27), 2), (Target(time=at("2026-11-21 01:50")), 1)],
    ids=["latest", "sequence", "time"],
)
def test_what_a_damaged_segment_held_comes_from_others(
    both: tuple[VolumeStore, VolumeStore], monkeypatch: pytest.MonkeyPatch, damage: str, target: Target, needed: int
) -> None:
    """Two nodes have archived the same: the last one begins in the one before it, as after a change of leader."""
    store = both[0]
    damaged = put_segment(store, FULL, 21, 30, at("2026-11-21 02:00"))
    ranges = [(21, 25), (25, 29), (28, 30)]
    others = [put_segment(store, FULL, first, last, at("2026-11-21 02:10")) for first, last in ranges]
    if damage == "gone":
        store.delete(damaged.object.key)
    elif damage == "cut":
        store.put(damaged.object.key, b"")
    else:
        store.put(damaged.key, b"{}" if damage == "document" else others[0].to_json())
    log: list[str] = []
    monkeypatch.setattr(streams, "open_targets", lambda file, volume: [store])
    (found,) = streams.sources(replace(restore.Plan(), target_point=target), log.append)
    assert [(one.segment.first, one.segment.last) for one in found._steps] == [(11, 20), *ranges[:needed]]
    told = [
        line for line in log if line.startswith("passed over, since other segments reach to the point without it: ")
    ]
    assert [damaged.key.removesuffix(".json") in line for line in told] == [True]


def test_without_the_last_segment_a_point_before_it_is_reached(both: tuple[VolumeStore, VolumeStore]) -> None:
    for store in both:
        store.put(put_segment(store, FULL, 21, 30, at("2026-11-21 02:00")).key, b"{}")
    assert taken(target_point=Target(sequence=20)) == ["one transaction 20", "two transaction 20"]
    assert taken(target_point=Target(time=at("2026-11-21 01:30"))) == [
        "one time 2026-11-21T01:30:00Z",
        "two time 2026-11-21T01:30:00Z",
    ]
    for target, told in (
        (Target(), "cannot be used: .*: the archive is not whole"),
        (Target(sequence=21), "cannot be used: .*; the archive has no transactions 21 to 21"),
        (
            Target(time=at("2026-11-21 01:31")),
            "cannot be used: .*; the archive goes on without a hole only to 2026-11-21T01:30:00Z",
        ),
    ):
        with pytest.raises(Refused, match=told):
            taken(target_point=target)


def test_a_damaged_end_of_the_archive_is_told_and_does_not_count(both: tuple[VolumeStore, VolumeStore]) -> None:
    store = both[0]
    damaged = [put_segment(store, FULL, first, first + 9, at(f"2026-11-21 02:{first}")) for first in (21, 31)]
    for one in damaged:
        store.put(one.key, b"{}")
    (target,) = summary.describe([(store, catalog.read(store))], at("2026-11-21 05:00"))["targets"]
    assert [(one["first"], one["last"], one["until"]) for one in target["intervals"]] == [
        (10, 20, "2026-11-21T01:30:00Z")
    ]
    assert [one.split(" ")[0] for one in target["problems"]] == [one.key for one in reversed(damaged)]


def test_what_cannot_be_replayed_is_told(both: tuple[VolumeStore, VolumeStore]) -> None:
    """No interval goes over a segment of which only the document is there."""
    store = both[0]
    put_segment(store, FULL, 21, 30, at("2026-11-21 02:00"))
    put_segment(store, FULL, 31, 40, at("2026-11-21 02:30"))

    def told() -> tuple[list[str], list[tuple[int, int]]]:
        (target,) = summary.describe([(store, catalog.read(store))], at("2026-11-21 05:00"))["targets"]
        return target["problems"], [(one["first"], one["last"]) for one in target["intervals"]]

    assert told() == ([], [(10, 40)])
    store.delete(next(one.key for one in store.list("binlogs/") if "21-" in one.key and one.key.endswith(".zst")))
    problems, intervals = told()
    assert intervals == [(10, 20)]
    assert problems == [
        "transactions 21 to 30 are not archived: what comes after them can be restored only from the next backup on"
    ]
    with pytest.raises(Refused, match=r"the nearest that can be restored are .* to 2026-11-21T01:30:00Z"):
        streams_of(store, target_point=Target(sequence=35))


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (("2026-11-21T05:00:00+03:00", "", ""), "SOURCE_TIME is 2026-11-21T05:00:00+03:00; "),
        (("2026-11-20T00:00:00Z", "", ""), "SOURCE_TIME is 2026-11-20T00:00:00Z; no backup ended at the wanted point"),
        (("", "1-1-99", ""), "SOURCE_GTID is 1-1-99; "),
        (("", "", "1-1-5"), "SOURCE_BEFORE_GTID is 1-1-5; no backup ended at the wanted point"),
    ],
)
def test_a_point_that_cannot_be_restored_is_named_as_it_was_given(
    both: tuple[VolumeStore, VolumeStore], named: tuple[str, str, str], said: str
) -> None:
    with pytest.raises(Refused, match=f"^{re.escape(said)}.*: the nearest that can be restored are "):
        taken(target_point=parse_target(*named))


def streams_of(store: VolumeStore, **plan: object) -> list[streams.Streams]:
    wanted = replace(restore.Plan(), **plan)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "open_targets", lambda file, volume: [store])
        return list(streams.sources(wanted, lambda _: None))


@pytest.mark.parametrize("server", ["12.3.1-MariaDB", "nonsense"])
def test_what_a_newer_server_has_archived_is_refused_before_anything_is_unpacked(
    both: tuple[VolumeStore, VolumeStore], server: str
) -> None:
    """The backup is from before an upgrade, and the archive goes on after it."""
    store = both[0]
    newer = replace(put_segment(store, FULL, 21, 30, at("2026-11-21 02:00")), server_version=server)
    store.put(newer.key, newer.to_json())
    (found,) = streams_of(store, target_point=Target())
    with pytest.raises(Refused, match=f"{newer.key} is of MariaDB {server}, this image has .*an image of that version"):
        found.check(VERSION)
    (earlier,) = streams_of(store, target_point=Target(sequence=20))
    earlier.check(VERSION)


@pytest.mark.parametrize(
    "plan",
    [{}, {"increment": "none"}, {"backup": FULL.name}, {"target_point": Target()}],
)
def test_the_newest_is_not_known_without_a_target_that_cannot_be_read(
    both: tuple[VolumeStore, VolumeStore], tmp_path: Path, plan: dict[str, object]
) -> None:
    """What it has may be newer: an older state is not taken unseen."""
    shutil.rmtree(tmp_path / "one")
    with pytest.raises(
        StoreError, match=r"volume .*one .*: what is there is not known, which may be newer; .*FALLBACK"
    ):
        taken(**plan)
    said: list[str] = []
    (found,) = streams.sources(replace(restore.Plan(fallback=True), **plan), said.append)  # type: ignore[arg-type]
    assert found.until.endswith("two")
    assert found.warning.endswith("one cannot be read: it is not there: what is there is not known, which may be newer")


@pytest.mark.parametrize(
    "plan",
    [{"backup": FULL.name, "increment": "none"}, {"target_point": Target(sequence=15)}, {"increment": FULL.name}],
)
def test_what_is_named_needs_one_target_that_can_be_read(
    both: tuple[VolumeStore, VolumeStore], tmp_path: Path, plan: dict[str, object]
) -> None:
    shutil.rmtree(tmp_path / "one")
    (found,) = streams.sources(replace(restore.Plan(), **plan), lambda _: None)  # type: ignore[arg-type]
    assert (found.until[-3:], found.warning) == ("two", "")


def test_what_is_not_there_may_be_in_the_target_that_cannot_be_read(
    both: tuple[VolumeStore, VolumeStore], tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "one")
    wanted = increment(FULL, at("2026-11-21 02:00")).name
    with pytest.raises(StoreError, match=f"SOURCE_BACKUP is '{wanted}', which is not there.*one cannot be read"):
        taken(backup=wanted)


@pytest.mark.parametrize("target", [Target(sequence=15, domain=1), Target(time=at("2026-11-21 01:20"))])
def test_a_later_backup_that_cannot_be_read_hinders_no_point(
    both: tuple[VolumeStore, VolumeStore], target: Target
) -> None:
    """The point is the same from wherever it is reached."""
    later = full(at("2026-11-21 05:00"), gtid="1-1-40")
    for store in both:
        put_backup(store, later)
        store.put(later.key, b"{}")
    assert [one[:4] for one in taken(target_point=target)] == ["one ", "two "]
    for unknown in (None, Target()):
        with pytest.raises(Refused, match=f"{later.name}.* cannot be used"):
            taken(target_point=unknown)


@pytest.mark.parametrize("damage", ["document", "manifest", "unreadable"])
def test_latest_does_not_end_earlier_since_the_other_target_is_damaged(
    both: tuple[VolumeStore, VolumeStore], damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive goes on furthest there, whatever of it, or of its copy of the backup, cannot be read."""
    store = both[0]
    newest = put_segment(store, FULL, 21, 30, at("2026-11-21 02:00"))
    if damage == "document":
        store.put(newest.key, b"{}")
    elif damage == "manifest":
        store.put(FULL.key, b"{}")
    else:
        keys = store.keys

        def denied(prefix: str) -> Iterator[str]:
            if prefix.startswith("binlogs/"):
                raise StoreError(f"{store.label} cannot be read: its device reports an input/output error")
            return keys(prefix)

        monkeypatch.setattr(store, "keys", denied)
    with pytest.raises((Refused, StoreError), match="one"):
        taken(target_point=Target())
    assert taken(target_point=Target(), fallback=True) == ["two transaction 20"]
    assert taken(target_point=Target(sequence=20))[-1] == "two transaction 20"


@pytest.mark.parametrize(
    ("target", "restored"),
    [
        (Target(sequence=15), "transaction 15"),
        (Target(time=at("2026-11-21 01:25")), "time 2026-11-21T01:25:00Z"),
        (Target(sequence=25), None),
        (Target(time=at("2026-11-21 01:40")), None),
        (Target(), None),
    ],
)
@pytest.mark.parametrize("more", [False, True])
def test_a_document_that_cannot_be_read_hinders_no_point_before_it(
    both: tuple[VolumeStore, VolumeStore], target: Target, restored: str | None, more: bool
) -> None:
    store = both[0]
    damaged = put_segment(store, FULL, 21, 30, at("2026-11-21 02:00"))
    store.put(damaged.key, damaged.to_json().replace(b'"domain": 1', b'"domain": q'))
    if more:
        put_segment(store, FULL, 31, 40, at("2026-11-21 02:30"))
    if restored is None:
        with pytest.raises(Refused, match="n-galera-2"):
            streams_of(store, target_point=target)
    else:
        (found,) = streams_of(store, target_point=target)
        assert found.identity[-1][0] == restored
