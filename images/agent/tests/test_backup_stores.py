# SPDX-License-Identifier: GPL-3.0-or-later
"""What every store promises: asked of a directory, and of S3 on a real server through TLS."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import s3_server
from backup_samples import OWNER
from galera_agent.backup.s3_store import S3Store
from galera_agent.backup.store import MissingError, Store, StoreError
from galera_agent.backup.volume_store import VolumeStore

NOISE = random.Random(1).randbytes(40 << 20)
# one part; exactly one part; several, the last of one byte
SIZES = (0, 1, (16 << 20) - 1, 16 << 20, (32 << 20) + 1)


@pytest.fixture(params=["volume", "s3", "s3 without prefix"])
def store(request: pytest.FixtureRequest, server: s3_server.Server, tmp_path: Path) -> Store:
    """An empty store that has its owner."""
    found: Store
    if request.param == "volume":
        found = VolumeStore(tmp_path, mount_required=False)
    else:
        bucket = hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
        found = s3_server.bucket(server, bucket, prefix="" if "without" in request.param else "a/n")
    assert found.create("owner.json", OWNER.to_json())
    return found


def write(store: Store, key: str, data: bytes, step: int = 1 << 20) -> None:
    with store.writer(key) as writer:
        for start in range(0, len(data), step):
            assert writer.write(data[start : start + step]) == len(data[start : start + step])
        writer.commit()


@pytest.mark.parametrize("size", SIZES)
def test_what_was_written_is_read(store: Store, size: int) -> None:
    key = "backups/x/stream.zst"
    write(store, key, NOISE[:size], step=(5 << 20) + 7)
    with store.reader(key) as stream:
        assert hashlib.file_digest(stream, "sha256").digest() == hashlib.sha256(NOISE[:size]).digest()
    (entry,) = store.list("backups/")
    assert (entry.key, entry.size) == (key, size)
    assert abs(datetime.now(UTC) - entry.modified) < timedelta(minutes=10)
    assert (list(store.keys("backups/")), store.written(key)) == ([key], entry.modified)
    with pytest.raises(MissingError, match="does not show backups/x/other: it is not there"):
        store.written("backups/x/other")


def test_nothing_appears_before_commit(store: Store) -> None:
    with store.writer("backups/x/stream") as writer:
        writer.write(NOISE[: 33 << 20])
        assert list(store.list("backups/")) == []
        with pytest.raises(MissingError):
            store.get("backups/x/stream")
    assert list(store.list("")) == list(store.list(""))
    assert [one.key for one in store.list("")] == ["owner.json"]
    assert list(store.children("")) == ["owner.json"]
    assert store.clean(timedelta(0), datetime.now(UTC) + timedelta(days=1)) == []


def test_a_writer_that_fails_leaves_what_was_there(store: Store) -> None:
    write(store, "backups/x/stream", b"old")

    def fail() -> None:
        with store.writer("backups/x/stream") as writer:
            writer.write(NOISE[: 17 << 20])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert store.get("backups/x/stream") == b"old"
    write(store, "backups/x/stream", b"new")
    assert store.get("backups/x/stream") == b"new"


def test_create_only_where_there_is_none(store: Store) -> None:
    assert store.create("backups/x/one", b"first")
    assert not store.create("backups/x/one", b"second")
    assert store.get("backups/x/one") == b"first"


def test_put_replaces_and_delete_is_idempotent(store: Store) -> None:
    store.put("backups/x/one", b"first")
    store.put("backups/x/one", b"second")
    assert store.get("backups/x/one") == b"second"
    for _ in range(2):
        store.delete("backups/x/one")
        with pytest.raises(MissingError, match=r"backups/x/one: it is not there$"):
            store.get("backups/x/one")
    assert list(store.children("")) == ["owner.json"]


def test_lists(store: Store) -> None:
    keys = ["backups/a/1", "backups/a/2", "backups/b", "binlogs/c/d/e"]
    for key in reversed(keys):
        store.put(key, key.encode())
    assert [one.key for one in store.list("")] == [*keys, "owner.json"]
    assert [one.key for one in store.list("backups/")] == keys[:3]
    assert [one.key for one in store.list("backups/a/")] == keys[:2]
    assert list(store.list("nothing/")) == list(store.children("nothing/")) == []
    assert list(store.children("")) == ["backups/", "binlogs/", "owner.json"]
    assert list(store.children("backups/")) == ["a/", "b"]


def test_more_than_one_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(S3Store, "page", 4)
    for number in range(9):
        store.put(f"binlogs/{number:04}", b"x")
    assert len(list(store.list("binlogs/"))) == len(list(store.children("binlogs/"))) == 9


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", "a b", "a.part", "ä", "a\n"])
def test_bad_keys(store: Store, key: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.get(key),
        lambda: store.put(key, b""),
        lambda: store.delete(key),
        lambda: store.writer(key),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="is no key; allowed"):
            call()
    with pytest.raises(ValueError, match="is no prefix; allowed"):
        list(store.list("a"))


def test_readers_say_that_something_is_missing(store: Store) -> None:
    with pytest.raises(MissingError, match=r"^(volume|s3://).* backups/x/none: it is not there$"):
        store.reader("backups/x/none")
    assert issubclass(MissingError, StoreError)
