# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores from a store of streams; whatever is damaged is found, and then nothing is where the data would be."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from backup_samples import OTHER_UUID, OWNER, UUID, at, full, increment, verification
from galera_agent import offline, restore
from galera_agent.backup import streams
from galera_agent.backup.manifest import Manifest, StoredObject, verification_key
from galera_agent.backup.pipe import StreamError
from galera_agent.backup.segment import Segment
from galera_agent.backup.store import StoreError
from galera_agent.backup.volume_store import VolumeStore
from galera_agent.chain import Refused
from galera_agent.sources import TARGET_EXTRA, TEMP_EXTRA
from stream_samples import VERSION, content, install, put


class Tools(offline.Tools):
    """What the programs do, in small: increments are appended."""

    def prepare(self, full: Path, increment: Path | None, name: str) -> None:
        with (full / "applied").open("a") as file:
            file.write(((increment or full) / "what").read_text() + " ")

    def settle(self, data: Path, layout: Sequence[str], statements: str) -> list[str]:
        (data / "statements").write_text(statements)
        return []

    def new_cluster(self, data: Path, layout: Sequence[str]) -> str:
        return "the-new-uuid"

    @contextmanager
    def serving(self, data: Path, layout: Sequence[str]) -> Iterator[Path]:
        yield self._scratch / "socket"


class Bench:
    """A volume with two chains: a full one with two increments, and an older full one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("store", "temp", "target", "keys"):
            (path / name).mkdir()
        (path / "keys" / "age-identity").write_text("right\n")
        (path / "store" / "owner.json").write_text("{}")
        self.store = VolumeStore(path / "store")
        self.old = put(self.store, full(at("2026-11-19 01:00")), content("old"))
        self.full = put(self.store, full(at("2026-11-20 01:00")), content("full"))
        self.first = put(self.store, increment(self.full, at("2026-11-20 02:00")), content("first"))
        self.second = put(self.store, increment(self.first, at("2026-11-20 03:00")), content("second"))
        self.said: list[str] = []

    def file(self, manifest: Manifest) -> Path:
        return self.path / "store" / manifest.objects[0].key

    def restore(self, **plan: Any) -> str:
        wanted = restore.Plan(
            store=self.path / "store",
            temp=self.path / "temp",
            target=self.path / "target",
            secrets=self.path / "none",
            settings=self.path / "none",
            keys=self.path / "keys",
        )
        return restore.restore(replace(wanted, **plan), self.said.append, VERSION, Tools)

    @property
    def applied(self) -> str:
        return (self.path / "target" / "data" / "applied").read_text().strip()

    def untouched(self) -> bool:
        return not os.listdir(self.path / "target") and not os.listdir(self.path / "temp")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    install(tmp_path / "bin", monkeypatch)
    return Bench(tmp_path)


def test_the_newest_chain_is_restored_and_again_changes_nothing(bench: Bench) -> None:
    title = f"{bench.full.name} + {bench.first.name} + {bench.second.name}"
    assert f"restored {title} into" in bench.restore()
    assert bench.applied == "full first second"
    assert [line for line in bench.said if line.endswith("are unpacked")][-1].startswith("100 % of ")
    assert sorted(os.listdir(bench.path / "target")) == ["data"]
    assert not (bench.path / "target" / "data" / "binlog.000003").exists()
    assert f"{title} was restored already" in bench.restore()
    with pytest.raises(Refused, match=r"is not empty, it holds the restored .*, not "):
        bench.restore(backup=bench.old.name)


@pytest.mark.parametrize(
    ("theirs", "file", "ours", "taken"),
    [
        ("one", "", "two", True),
        ("one", "grastate.dat", "one", True),
        ("", "grastate.dat", "", True),
        ("one", "grastate.dat", "two", False),
        ("", "galera.cache", "two", False),
    ],
)
def test_the_same_backup_counts_for_another_restore_unless_a_server_was_started_from_it(
    bench: Bench, theirs: str, file: str, ours: str, taken: bool
) -> None:
    """A static volume of the seed keeps what was written there before the seed went."""
    bench.restore(identity=theirs)
    data = bench.path / "target" / "data"
    if file:
        (data / file).touch()
    before = sorted(os.listdir(data))
    if taken:
        assert f"{bench.second.name} was restored already, at 20" in bench.restore(identity=ours)
    else:
        with pytest.raises(Refused, match=r"from which a server was started since; .*nothing was changed"):
            bench.restore(identity=ours)
    assert sorted(os.listdir(data)) == before


def test_the_same_backup_does_not_count_for_another_restore_while_a_server_uses_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.restore(identity="one")
    monkeypatch.setattr(restore.datadir, "locked_file", lambda data: data / "ibdata1")
    assert "was restored already" in bench.restore(identity="one")
    with pytest.raises(Refused, match="from which a server was started since"):
        bench.restore(identity="two")


@pytest.mark.parametrize(
    ("which", "increment_", "applied"),
    [
        ("old", "latest", "old"),
        ("full", "none", "full"),
        ("first", "latest", "full first"),
        ("full", "latest", "full first second"),
    ],
)
def test_each_point_of_the_chains(bench: Bench, which: str, increment_: str, applied: str) -> None:
    bench.restore(backup=getattr(bench, which).name, increment=increment_)
    assert bench.applied == applied


def test_three_hundred_generated_corruptions(bench: Bench) -> None:
    """One damage each in what the newest chain is made of: found, and neither the target nor /temp keeps anything."""
    chance = random.Random(2026)
    store, backup = bench.path / "store", bench.path / "backup"
    shutil.copytree(store, backup)
    damages: list[Callable[[random.Random, Bench], str]] = [
        flip_stream, cut_stream, lengthen_stream, remove_stream, swap_streams, flip_manifest, cut_manifest,
        remove_manifest, swap_manifests, remove_backup, wrong_key, other_parent, other_lsn, other_key_name,
    ]  # fmt: skip
    for number in range(300):
        damage = damages[number % len(damages)]
        what = damage(chance, bench)
        try:
            with pytest.raises((Refused, StreamError, StoreError, offline.StepError)):
                bench.restore(backup=bench.second.name)
            assert bench.untouched(), what
        finally:
            shutil.rmtree(store)
            shutil.copytree(backup, store)
            (bench.path / "keys" / "age-identity").write_text("right\n")
    bench.restore(backup=bench.second.name)
    assert bench.applied == "full first second"


def some(chance: random.Random, bench: Bench) -> Manifest:
    return chance.choice((bench.full, bench.first, bench.second))


def flip(chance: random.Random, path: Path) -> str:
    data = bytearray(path.read_bytes())
    at_byte = chance.randrange(len(data))
    data[at_byte] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return f"bit flip at byte {at_byte} of {path}"


def cut(chance: random.Random, path: Path) -> str:
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data))])
    return f"cut {path}"


def flip_stream(chance: random.Random, bench: Bench) -> str:
    return flip(chance, bench.file(some(chance, bench)))


def cut_stream(chance: random.Random, bench: Bench) -> str:
    return cut(chance, bench.file(some(chance, bench)))


def lengthen_stream(chance: random.Random, bench: Bench) -> str:
    with bench.file(some(chance, bench)).open("ab") as file:
        file.write(chance.randbytes(chance.randrange(1, 100)))
    return "longer stream"


def remove_stream(chance: random.Random, bench: Bench) -> str:
    bench.file(some(chance, bench)).unlink()
    return "no stream"


def swap_streams(chance: random.Random, bench: Bench) -> str:
    one, other = chance.sample((bench.full, bench.first, bench.second, bench.old), 2)
    if other is bench.old and one is bench.old:
        return flip_stream(chance, bench)
    first, second = bench.file(one), bench.file(other)
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    return f"swapped {one.name} and {other.name}"


def manifest_file(bench: Bench, manifest: Manifest) -> Path:
    return bench.path / "store" / manifest.key


def flip_manifest(chance: random.Random, bench: Bench) -> str:
    path = manifest_file(bench, some(chance, bench))
    before = json.loads(path.read_bytes())
    while True:
        original = path.read_bytes()
        what = flip(chance, path)
        try:
            if json.loads(path.read_bytes()) != before:
                return what
        except ValueError:
            return what
        # White space turned into other white space is no damage.
        path.write_bytes(original)


def cut_manifest(chance: random.Random, bench: Bench) -> str:
    path = manifest_file(bench, some(chance, bench))
    data = path.read_bytes().rstrip()
    path.write_bytes(data[: chance.randrange(len(data))])
    return f"cut {path}"


def remove_manifest(chance: random.Random, bench: Bench) -> str:
    manifest_file(bench, some(chance, bench)).unlink()
    return "no manifest"


def swap_manifests(chance: random.Random, bench: Bench) -> str:
    one, other = chance.sample((bench.full, bench.first, bench.second), 2)
    first, second = manifest_file(bench, one), manifest_file(bench, other)
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    return "swapped manifests"


def remove_backup(chance: random.Random, bench: Bench) -> str:
    shutil.rmtree(bench.file(some(chance, bench)).parent)
    return "a missing link"


def wrong_key(chance: random.Random, bench: Bench) -> str:
    path = bench.path / "keys" / "age-identity"
    if chance.random() < 0.5:
        path.write_text("wrong\n")
    else:
        path.unlink()
    return "wrong key"


def rewrite(bench: Bench, manifest: Manifest, **changes: Any) -> str:
    """A manifest that is right in itself, and does not fit the chain."""
    manifest_file(bench, manifest).write_bytes(replace(manifest, **changes).to_json())
    return f"{manifest.name} with {sorted(changes)}"


def other_parent(chance: random.Random, bench: Bench) -> str:
    return rewrite(bench, bench.first, parent=bench.old.name, parent_digest=bench.full.digest)


def other_lsn(chance: random.Random, bench: Bench) -> str:
    return rewrite(bench, bench.second, lsn_from=bench.second.lsn_from - chance.randrange(1, 5))


def other_key_name(chance: random.Random, bench: Bench) -> str:
    one = bench.full.objects[0]
    return rewrite(bench, bench.full, objects=(replace(one, sha256=hashlib.sha256(chance.randbytes(8)).hexdigest()),))


def test_a_damaged_backup_falls_back_only_where_that_is_allowed(bench: Bench) -> None:
    bench.file(bench.second).write_bytes(b"x" * bench.second.size)
    with pytest.raises(StreamError, match=f"{bench.second.objects[0].key} has the SHA-256"):
        bench.restore()
    assert bench.untouched()
    bench.restore(fallback=True)
    assert bench.applied == "full first"
    assert any("falls back to" in one for one in bench.said)


def test_the_second_target_stands_in_where_a_program_meets_the_damage_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As age and zstd do in a backup that is larger than what is read at once."""
    large = put(bench.store, full(at("2026-11-21 01:00")), content("large", {"shop": "x" * 5_000_000}))
    shutil.copytree(bench.path / "store", bench.path / "copy")
    bench.file(large).write_bytes(b"DAMAGED" + bench.file(large).read_bytes()[7:])
    (bench.path / "bin" / "zstd").write_text(
        f"#!{sys.executable}\nimport shutil, sys\nbegin = sys.stdin.buffer.read(7)\n"
        "if begin == b'DAMAGED': sys.exit('bad block')\n"
        "sys.stdout.buffer.write(begin)\nshutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)\n"
    )
    both = [bench.store, VolumeStore(bench.path / "copy")]
    monkeypatch.setattr(streams, "open_targets", lambda file, volume: both)
    bench.restore()
    assert bench.applied == "large"
    assert any(f"falls back to {large.name}" in one and f"in {both[1].label}" in one for one in bench.said)


@pytest.mark.parametrize("damage", ["missing", "unreadable", "flipped"])
@pytest.mark.parametrize(
    ("named", "applied"),
    [
        (("second", "latest"), "full first"),
        (("first", "latest"), "full"),
        (("full", "second"), "full first"),
        (("full", "none"), "old"),
    ],
)
def test_a_named_backup_falls_back_only_where_that_is_allowed(
    bench: Bench, named: tuple[str, str], applied: str, damage: str
) -> None:
    backup = getattr(bench, named[0])
    inner = getattr(bench, named[1]).name if named[1] == "second" else named[1]
    one = bench.second if named[1] == "second" else backup
    if damage == "missing":
        shutil.rmtree(bench.file(one).parent)
    elif damage == "unreadable":
        (bench.path / "store" / one.key).write_text("{}")
    else:
        bench.file(one).write_bytes(b"x" * one.size)
    with pytest.raises((Refused, StreamError), match=one.name):
        bench.restore(backup=backup.name, increment=inner)
    assert bench.untouched()
    bench.restore(backup=backup.name, increment=inner, fallback=True)
    assert bench.applied == applied
    assert any("falls back" in line and one.name in line for line in bench.said)


def test_what_is_no_name_of_a_backup_falls_back_to_nothing(bench: Bench) -> None:
    for name in ("nightly", "20261101T010000Z-full"):
        with pytest.raises(Refused, match=f"SOURCE_BACKUP is '{name}', which is not there"):
            bench.restore(backup=name, fallback=True)
    assert bench.untouched()


def test_a_missing_link_falls_back_only_where_that_is_allowed(bench: Bench) -> None:
    shutil.rmtree(bench.file(bench.full).parent)
    with pytest.raises(Refused, match=f"backup {bench.full.name}, which {bench.first.name} is an increment of"):
        bench.restore()
    bench.restore(fallback=True)
    assert bench.applied == "old"
    assert any(one.startswith("falls back: backup") for one in bench.said)


@pytest.mark.parametrize("damage", ["missing", "unreadable"])
@pytest.mark.parametrize("which", ["first", "second"])
def test_the_newest_increment_of_a_named_backup_is_not_passed_over(bench: Bench, which: str, damage: str) -> None:
    put(bench.store, full(at("2026-11-21 01:00")), content("later"))
    one = getattr(bench, which)
    if damage == "unreadable":
        (bench.path / "store" / one.key).write_text("{}")
    elif which == "first":
        shutil.rmtree(bench.file(one).parent)
    else:
        bench.file(one).unlink()
    with pytest.raises(Refused, match=f"backup {one.name}.* (is not there|cannot be used) in volume"):
        bench.restore(backup=bench.full.name)
    assert bench.untouched()
    bench.restore(backup=bench.full.name, fallback=True)
    assert bench.applied == ("full" if which == "first" else "full first")


def test_a_damaged_increment_of_another_chain_hinders_nothing(bench: Bench) -> None:
    later = put(bench.store, full(at("2026-11-21 01:00")), content("later"))
    shutil.rmtree(bench.file(bench.first).parent)
    bench.restore(backup=later.name)
    assert bench.applied == "later"
    shutil.rmtree(bench.path / "target" / "data")
    bench.restore(backup=bench.old.name)
    assert bench.applied == "old"


def test_a_backup_of_which_the_verification_failed(bench: Bench) -> None:
    bench.store.put(verification_key(bench.second.name), verification(bench.second, "failed").to_json())
    with pytest.raises(Refused, match=f"the verification of {bench.second.name} failed"):
        bench.restore()
    bench.restore(fallback=True)
    assert bench.applied == "full first"


def test_the_second_target_stands_in_for_the_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(bench.path / "store", bench.path / "copy")
    bench.file(bench.full).write_bytes(b"x" * bench.full.size)
    both = [bench.store, VolumeStore(bench.path / "copy")]
    monkeypatch.setattr(streams, "open_targets", lambda file, volume: both)
    bench.restore()
    assert bench.applied == "full first second"
    assert any(f"in {both[1].label}" in one for one in bench.said)


def test_what_is_damaged_is_told_where_no_other_copy_can_be_restored(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bench.path / "store", bench.path / "copy")
    bench.file(bench.full).write_bytes(b"x" * bench.full.size)
    copy = VolumeStore(bench.path / "copy")
    copy.put(verification_key(bench.second.name), verification(bench.second, "failed").to_json())
    monkeypatch.setattr(streams, "open_targets", lambda file, volume: [bench.store, copy])
    with pytest.raises(
        Refused, match=f"{bench.full.objects[0].key} has the SHA-256 .*; .*: the verification of .* failed"
    ):
        bench.restore()
    assert bench.untouched()


def test_the_last_line_says_that_the_data_are_of_another_history(bench: Bench) -> None:
    assert "WARNING" not in bench.restore(backup=bench.old.name)
    shutil.rmtree(bench.path / "target" / "data")
    bench.store.put("owner.json", replace(OWNER, uuid=OTHER_UUID).to_json())
    assert f"; WARNING: {bench.second.name} is of another history" in bench.restore()


def test_increments_need_the_room_of_the_largest_one(bench: Bench) -> None:
    """A chain of a day may hold the same pages many times over, and the volume is that of a node."""
    small = put(bench.store, increment(bench.second, at("2026-11-20 04:00"), data_bytes=10), content("small"))
    plan = restore.Plan(store=bench.path / "store", settings=bench.path / "none", backup=small.name)
    (source,) = streams.sources(plan, bench.said.append)
    assert source.space() == (TEMP_EXTRA, 5000 + 5000 + TARGET_EXTRA)


@pytest.mark.parametrize("server", ["12.0.1-MariaDB", "nonsense"])
def test_a_newer_server(bench: Bench, server: str) -> None:
    put(bench.store, full(at("2026-11-22 01:00"), server_version=server), content("new"))
    with pytest.raises(Refused, match=f"is of MariaDB {server}, this image has"):
        bench.restore()
    assert bench.untouched()


@pytest.mark.parametrize(
    ("key", "text"), [("wrong\n", "is that of age1other, and the backup is encrypted for"), (None, "there is no key")]
)
def test_keys(bench: Bench, key: str | None, text: str) -> None:
    path = bench.path / "keys" / "age-identity"
    if key is None:
        path.unlink()
    else:
        path.write_text(key)
    with pytest.raises(Refused, match=text):
        bench.restore()
    assert bench.untouched()


def test_a_time_without_an_archive(bench: Bench) -> None:
    target = restore.parse_target("2026-11-20T12:00:00Z", "", "")
    with pytest.raises(Refused, match="there is no archive of binary logs"):
        bench.restore(target_point=target)
    assert bench.untouched()


@pytest.mark.parametrize("named", [("latest", "", ""), ("2026-11-20T12:00:00Z", "", "")])
def test_a_backup_from_before_the_archive(bench: Bench, named: tuple[str, str, str]) -> None:
    """All of the store are: their GTIDs are of another domain."""
    archived = at("2026-11-20 12:01")
    one = Segment(
        UUID, 1, 1, 50, archived, archived, archived, "n-galera-2", "binlog.000001", "11.8.6", 9, None, (),
        StoredObject("binlogs/k", 9, "0" * 64),
    )  # fmt: skip
    bench.store.put(one.key, one.to_json())
    with pytest.raises(Refused, match="its GTID is '0-1-7', and the archive is of domain 1"):
        bench.restore(target_point=restore.parse_target(*named))
    with pytest.raises(Refused, match="SOURCE_GTID is 1-1-9; allowed: a GTID of domain 0, as the backups have"):
        bench.restore(target_point=restore.parse_target("", "1-1-9", ""))
    assert bench.untouched()
    bench.restore()
    assert bench.applied == "full first second"


def test_the_environment() -> None:
    plan = restore.plan_of({"SOURCE_TIME": "latest", "SOURCE_FALLBACK": "true", "SOURCE_BACKUP": ""})
    assert (plan.backup, plan.increment, plan.fallback) == ("latest", "latest", True)
    with pytest.raises(Refused, match="SOURCE_FALLBACK is 'yes'; allowed: true, false"):
        restore.plan_of({"SOURCE_FALLBACK": "yes"})
