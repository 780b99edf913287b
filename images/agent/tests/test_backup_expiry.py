# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the archive goes with a history that has no backup any more, and what a target does not let go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from backup_samples import OTHER_UUID, OWNER, UUID, at, catalog, full, put_backup, put_segment
from galera_agent.backup import expiry, fork, removal, segment
from galera_agent.backup.expiry import Expired
from galera_agent.backup.fork import Fork
from galera_agent.backup.settings import Retention
from galera_agent.backup.store import LockedError
from galera_agent.backup.volume_store import VolumeStore

THEN, LOSS = at("2026-11-20 01:00"), at("2026-11-20 09:00")


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    """With segments of two histories, each with a marker; that of OTHER_UUID is the older one."""
    (tmp_path / "owner.json").write_text("{}")
    found = VolumeStore(tmp_path)
    for uuid in (UUID, OTHER_UUID):
        for first in (1, 11):
            put_segment(found, full(THEN, uuid=uuid), first, first + 9, THEN)
        found.put(fork.key_of(uuid), Fork(8, 10, LOSS, "n-galera-0").to_json())
    return found


def uuids(store: VolumeStore) -> set[str]:
    return {one.key.split("/")[1] for one in store.list("binlogs/")}


def test_a_history_without_a_backup_goes_with_its_marker(store: VolumeStore) -> None:
    (span, _) = segment.spans(store, OTHER_UUID)
    store.put(span.key, b"damaged")
    assert expiry.expire(store, catalog([full(THEN, gtid="1-1-5")])) == Expired(2, histories=[OTHER_UUID])
    assert uuids(store) == {UUID}
    assert len(list(store.list("binlogs/"))) == 5


def test_the_present_history_stays_without_a_backup(store: VolumeStore) -> None:
    before = len(list(store.list("binlogs/")))
    assert expiry.expire(store, catalog([full(THEN, gtid="1-1-5", uuid=OTHER_UUID)])) == Expired()
    assert len(list(store.list("binlogs/"))) == before


@pytest.mark.parametrize("doubt", ["owner", "broken"])
def test_nothing_of_another_history_goes_while_something_is_in_doubt(store: VolumeStore, doubt: str) -> None:
    """Whose the store is, or of which history a backup is that cannot be read."""
    changes = {"owner": None} if doubt == "owner" else {"broken": ("20261119T010000Z-full",)}
    assert expiry.expire(store, replace(catalog([]), **changes)) == Expired()
    assert uuids(store) == {UUID, OTHER_UUID}


def test_what_is_no_history_is_left_alone(store: VolumeStore) -> None:
    store.put(f"binlogs/of-others/20261120/{1:020d}-{9:020d}-pod-file.json", b"x")
    assert expiry.expire(store, catalog([])).histories == [OTHER_UUID]
    assert uuids(store) == {UUID, "of-others"}


def test_segments_that_are_locked_are_kept_and_told_once(store: VolumeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of both histories: what is not locked goes, and it is no failure."""
    plain = VolumeStore.delete

    def delete(self: VolumeStore, key: str) -> None:
        if f"{1:020d}-" in key:
            raise LockedError(f"{self.label} keeps {key} until 2026-12-01 (object lock)")
        plain(self, key)

    monkeypatch.setattr(VolumeStore, "delete", delete)
    put_backup(store, full(THEN, gtid="1-1-20"))
    store.put("owner.json", OWNER.to_json())
    said: list[str] = []
    errors, _ = removal.let_expire([store], OWNER, Retention(None, None, None), said.append)
    assert errors == {}
    assert [one.first for one in (*segment.spans(store, UUID), *segment.spans(store, OTHER_UUID))] == [
        1,
        11,
        1,
    ]
    assert fork.read(store, OTHER_UUID) is not None
    assert [one.split(":")[0] for one in said] == [
        f"expired in {store.label}",
        "2 segments that have expired are kept",
    ]


def test_a_history_is_said_to_have_gone_once(store: VolumeStore, tmp_path: Path) -> None:
    """What an archive that was killed left of it goes as well; what is nobody's stays, and is no news each time."""
    path = next(path for path in tmp_path.rglob("*.zst") if OTHER_UUID in str(path))
    path.with_name(path.name.replace("binlog.000001", "binlog.000002")).write_bytes(b"half")
    (path.parent / ".DS_Store").write_bytes(b"")
    held = catalog([full(THEN, gtid="1-1-5")])
    assert expiry.expire(store, held).histories == [OTHER_UUID]
    assert [one for one in store.keys(f"binlogs/{OTHER_UUID}/") if one.endswith(".zst")] == []
    assert expiry.expire(store, held).histories == []


# --- the archive of a history that has backups ------------------------------------------------------------------------
@pytest.fixture
def plain(store: VolumeStore) -> VolumeStore:
    """Without markers; the present history has a third segment."""
    for uuid in (UUID, OTHER_UUID):
        store.delete(fork.key_of(uuid))
    put_segment(store, full(THEN), 21, 30, LOSS)
    return store


def firsts(store: VolumeStore) -> list[int]:
    return [one.first for one in segment.spans(store, UUID)]


@pytest.mark.parametrize(("gtid", "left"), [("1-1-9", [1, 11, 21]), ("1-1-10", [11, 21]), ("1-1-99", [21])])
def test_what_the_oldest_backup_holds_goes_but_for_the_end(plain: VolumeStore, gtid: str, left: list[int]) -> None:
    """The archive goes on from its end: without one it would begin again with all that the server still has."""
    held = catalog([full(THEN, gtid=gtid), full(LOSS, gtid="1-1-99")])
    assert expiry.expire(plain, held).segments == 3 - len(left) + 2
    assert firsts(plain) == left


def test_halves_of_segments_go_when_they_are_held(plain: VolumeStore) -> None:
    """Of an archive that was killed between object and document, and of an expiry between the two."""
    spans = segment.spans(plain, UUID)
    plain.delete(spans[1].key)
    left = [span.key.replace(".json", ".zst") for span in spans]
    for gtid, expected in (("1-1-9", left), ("1-1-10", left[1:]), ("1-1-19", left[1:]), ("1-1-20", left[2:])):
        expiry.expire(plain, catalog([full(THEN, gtid=gtid)]))
        assert list(segment_keys(plain, ".zst")) == expected, gtid


def test_the_end_of_the_archive_stays_while_the_next_segment_is_in_the_making(plain: VolumeStore) -> None:
    plain.delete(segment.spans(plain, UUID)[-1].key)
    expiry.expire(plain, catalog([full(THEN, gtid="1-1-25")]))
    assert firsts(plain) == [11]


def segment_keys(store: VolumeStore, suffix: str) -> Iterator[str]:
    return (one for one in store.keys(f"binlogs/{UUID}/") if one.endswith(suffix))


def test_nothing_goes_that_may_be_replayed_on_a_backup_that_cannot_be_read(plain: VolumeStore) -> None:
    """It may come back, from the versions of a bucket or with an agent that knows its format."""
    held = catalog([full(THEN, gtid="1-1-20")])
    broken = "20261119T010000Z-full"
    done = expiry.expire(plain, replace(held, broken=(broken,)))
    assert firsts(plain) == [1, 11, 21]
    assert done.problems == [f"{broken} cannot be used, so the segments stay that may be replayed on it"]
    later = "20261121T010000Z-full"
    assert expiry.expire(plain, replace(held, broken=(later,))).problems == []
    assert firsts(plain) == [21]


def test_backups_from_after_a_loss_need_no_segments_from_before(store: VolumeStore) -> None:
    """The archive begins anew when the last backup from before has gone."""
    before, after = full(THEN, gtid="1-1-10"), full(at("2026-11-20 10:00"), gtid="1-1-8")
    assert expiry.expire(store, catalog([before, after])).segments == 1 + 2
    assert firsts(store) == [11]
    broken = replace(catalog([after]), broken=("20261121T010000Z-full",))
    assert expiry.expire(store, broken) == Expired()
    assert expiry.expire(store, catalog([after])).histories == [UUID]
    assert uuids(store) == set()


def test_a_marker_that_cannot_be_read_keeps_the_segments(store: VolumeStore) -> None:
    store.put(fork.key_of(UUID), b"{}")
    done = expiry.expire(store, catalog([full(THEN, gtid="1-1-20")]))
    assert firsts(store) == [1, 11]
    assert [one.split(" cannot")[0] for one in done.problems] == [fork.key_of(UUID)]


def test_a_locked_marker_is_kept_and_told(store: VolumeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = VolumeStore.delete

    def delete(self: VolumeStore, key: str) -> None:
        if key == fork.key_of(OTHER_UUID):
            raise LockedError(f"{self.label} keeps {key}")
        plain(self, key)

    monkeypatch.setattr(VolumeStore, "delete", delete)
    done = expiry.expire(store, catalog([full(THEN, gtid="1-1-5")]))
    assert (done.segments, done.histories, len(done.kept)) == (2, [], 1)
