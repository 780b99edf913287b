# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of millions of segments: what they cover together is what all of them say, and takes little memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from backup_samples import OWNER, UUID, at, full
from galera_agent.backup import recovery, segment
from galera_agent.backup.manifest import StoredObject
from galera_agent.backup.segment import Segment, Span, stem
from galera_agent.backup.store import Entry
from galera_agent.backup.volume_store import VolumeStore

NOON = at("2026-11-21 12:00")


class Keys(VolumeStore):
    """A volume that has these objects."""

    def __init__(self, keys: Iterator[str]) -> None:
        super().__init__(Path("/backups"))
        self.found = keys

    def keys(self, prefix: str) -> Iterator[str]:
        return self.found

    def list(self, prefix: str) -> Iterator[Entry]:
        raise AssertionError("a look at each object")


def key(first: int, last: int, closed: int, pod: str = "n-galera-2") -> str:
    return f"{stem(UUID, first, last, NOON + timedelta(minutes=closed), pod, f'binlog.{closed:06d}')}.json"


def stored(documents: Iterable[str]) -> Iterator[str]:
    """The keys of documents, each with that of its object, as they are listed."""
    return (one for name in documents for one in (name, f"{name.removesuffix('.json')}.zst"))


def documented(span: Span) -> Segment:
    """The document of a segment, which was closed at the minute that its file's name tells."""
    file = span.key.removesuffix(".json")[-13:]
    closed = NOON + timedelta(minutes=int(file[-6:]))
    stored = StoredObject("k", 1, "0" * 64)
    times = (closed, closed, closed)
    return Segment(UUID, 1, span.first, span.last, *times, "n-galera-2", file, "11.8.6", 1, None, (), stored)


@pytest.mark.parametrize("seed", range(60))
def test_what_segments_cover_together_is_what_each_of_them_says(seed: int) -> None:
    """With holes, overlaps, equal ends, and days of a clock that was ahead."""
    chance = random.Random(seed)
    keys, last = set(), 0
    for number in range(chance.randrange(40)):
        first = max(1, last + chance.choice([1, 1, 1, 1, 3, -2]))
        end = max(first, last, first + chance.randrange(4)) if chance.random() < 0.8 else first
        keys.add(key(first, end, number + chance.choice([0, 0, 0, 2000]), chance.choice(["n-galera-1", "n-galera-2"])))
        last = max(last, end)
    listed = sorted(keys)
    spans, found = (read(Keys(stored(listed)), UUID) for read in (segment.spans, segment.stretches))
    backups = [
        replace(full(NOON + timedelta(minutes=one)), gtid=f"1-1-{one}", finished=NOON + timedelta(minutes=one))
        for one in sorted(chance.sample(range(1, 80), 5))
    ]
    expected = recovery.intervals(backups, spans, documented, 1)
    assert recovery.intervals(backups, found, documented, 1) == expected
    assert recovery.broken_off(expected, found) == recovery.broken_off(expected, spans)
    assert segment.covered(found) == segment.covered(spans)
    assert [one.key for one in found[-1:]] == [one.key for one in spans[-1:]]


def test_of_segments_that_end_alike_none_is_forgotten() -> None:
    """The one that was closed last tells up to when nothing came after them."""
    keys = [key(1, 7, 1), key(8, 10, 9), key(9, 10, 3), key(12, 14, 20)]
    found = segment.stretches(Keys(stored(keys)), UUID)
    assert [(one.first, one.last, one.key) for one in found] == [(1, 10, keys[1]), (1, 10, keys[2]), (12, 14, keys[3])]


def test_a_segment_without_its_object_covers_nothing() -> None:
    names = [*stored([key(1, 7, 1)]), key(8, 10, 2), f"{key(11, 12, 3)[:-5]}.zst", key(13, 14, 4)]
    names.append(f"{names[-1].removesuffix('.json')}.zst.age")
    found = segment.stretches(Keys(iter(names)), UUID)
    assert [(one.first, one.last) for one in found] == [(1, 7), (13, 14)]


def test_a_year_of_segments_takes_no_memory() -> None:
    count = 20000
    keys = stored(key(number * 9 + 1, number * 9 + 9, number) for number in range(count))
    tracemalloc.start()
    try:
        assert [(one.first, one.last) for one in segment.stretches(Keys(keys), UUID)] == [(1, count * 9)]
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_keys_are_those_of_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = VolumeStore(tmp_path, mount_required=False)
    store.create("owner.json", OWNER.to_json())
    for name in ("binlogs/u/20261121/b", "binlogs/u/20261121/a", "binlogs/u/20261122/a", "backups/x/one"):
        store.put(name, b"x")
    (tmp_path / "binlogs/u/20261121/c.01234567.part").touch()
    (tmp_path / "binlogs/.snapshot").mkdir()
    (tmp_path / "binlogs/.snapshot/a").touch()
    listed = {prefix: [one.key for one in store.list(prefix)] for prefix in ("", "binlogs/", "binlogs/u/", "other/")}
    monkeypatch.setattr(Path, "stat", None)
    assert {prefix: sorted(store.keys(prefix)) for prefix in listed} == listed
    assert list(store.keys("binlogs/")) == listed["binlogs/"]
