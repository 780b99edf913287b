# SPDX-License-Identifier: GPL-3.0-or-later
"""A data directory for a node that joins by IST: which backup it is made of, and what is in it or not at the end."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from backup_samples import OTHER_UUID, UUID, at, full, increment, verification
from galera_agent import datadir, offline, place
from galera_agent.backup import catalog
from galera_agent.backup import fill as module
from galera_agent.backup.manifest import Manifest, verification_key
from galera_agent.backup.pipe import Limit, StreamError
from galera_agent.backup.terms import Terms
from galera_agent.backup.volume_store import VolumeStore
from galera_agent.chain import Refused
from galera_agent.datadir import Evidence
from stream_samples import VERSION, content, install, put

CNF = "[mysqld]\ninnodb_page_size=16384\ninnodb_data_file_path=ibdata1:12M:autoextend\ninnodb_undo_directory=./\n"
REMAINS = ["what", "ibdata1", "mysql", "applied", "grastate.dat"]


class Tools(offline.Tools):
    """What the programs do, in small: increments are appended, and the position is what a test says."""

    found: tuple[Evidence, str]

    def prepare(self, full: Path, increment: Path | None, name: str) -> None:
        with (full / "applied").open("a") as file:
            file.write(((increment or full) / "what").read_text() + " ")

    def position(self, data: Path) -> tuple[Evidence, str]:
        assert datadir.inspect(data) == "present"
        return self.found


class Bench:
    """A volume with a full backup and an increment of it, and an older full one, and a place to fill."""

    def __init__(self, path: Path) -> None:
        for name in ("store", "mysql"):
            (path / name).mkdir()
        (path / "store" / "owner.json").write_text("{}")
        self.data = path / "mysql" / "data"
        self.data.mkdir()
        self.key = path / "age-identity"
        self.store = VolumeStore(path / "store")
        self.old = self.put("old", "2026-11-19 01:00", seqno=100, gtid="1-1-90")
        self.full = self.put("full", "2026-11-20 01:00", seqno=200, gtid="1-1-190")
        self.tip = put(
            self.store,
            increment(self.full, at("2026-11-20 02:00"), seqno=300, gtid="0-1-7,1-1-290"),
            content("tip", {"backup-my.cnf": CNF}),
            encrypted=False,
        )
        self.told: list[tuple[str, str]] = []
        self.found: Evidence | None = None
        self.gtid: str | None = None

    def put(self, what: str, started: str, files: dict[str, str] | None = None, **changes: Any) -> Manifest:
        data = content(what, {"backup-my.cnf": CNF, **(files or {})})
        return put(self.store, full(at(started), **changes), data, encrypted=False)

    def terms(self, **changes: Any) -> Terms:
        names = frozenset(one.name for one in (self.old, self.full, self.tip))
        return replace(Terms(UUID, 50, names), **changes)

    def fill(self, terms: Terms | None = None, version: str = VERSION) -> Manifest:
        bench = self

        class Now(Tools):
            @property
            def found(self) -> tuple[Evidence, str]:  # type: ignore[override]
                name = bench.told[-1][0]
                (one,) = [each for each in catalog.read(bench.store).backups if each.name == name]
                evidence = bench.found or Evidence("present", one.manifest.uuid, one.manifest.seqno)
                return evidence, one.manifest.gtid.rpartition(",")[2] if bench.gtid is None else bench.gtid

        return module.fill(
            [self.store],
            [catalog.read(self.store)],
            terms or self.terms(),
            self.data,
            self.key,
            Limit(60),
            lambda _: None,
            lambda name, text: self.told.append((name, text)),
            version,
            Now,
        )

    @property
    def made(self) -> Path:
        return datadir.being_made(self.data)

    def refused(self, text: str, error: type[Exception] = Refused, **terms: Any) -> None:
        datadir.sweep(self.data)
        with pytest.raises(error, match=text):
            self.fill(self.terms(**terms))
        assert os.listdir(self.data.parent) == ["data"]
        assert os.listdir(self.data) == []


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    install(tmp_path / "bin", monkeypatch)
    return Bench(tmp_path)


def test_a_chain_becomes_what_a_killed_server_leaves(bench: Bench) -> None:
    assert bench.fill() == bench.tip
    assert sorted(os.listdir(bench.made)) == sorted([*REMAINS, "binlog.state"])
    assert (bench.made / "applied").read_text() == "full tip "
    assert (bench.made / "binlog.state").read_text() == "0-1-7\n1-1-290\n"
    assert datadir.read_grastate(bench.made) == datadir.Grastate(UUID, None, False)
    assert os.listdir(bench.data) == [], "nothing is in its place before the agent has looked once more"
    assert sorted(os.listdir(bench.data.parent)) == ["data", "data.fill"]
    assert bench.told[0] == (bench.tip.name, "begins")
    assert bench.told[-1][1].startswith("100 % of ")


def test_what_a_killed_run_left_is_made_anew(bench: Bench) -> None:
    for path in (bench.made, bench.data.with_name("data.fill.increment")):
        path.mkdir()
        (path / "ibdata1").write_text("half")
    bench.fill()
    assert (bench.made / "applied").read_text() == "full tip "


def test_nothing_of_another_server_stays(bench: Bench) -> None:
    others = ["xtrabackup_info", "mariadb_backup_galera_info_SST", "donor_galera_info", "galera_agent_base.json"]
    others += ["gvwstate.dat", "galera.cache", "xtrabackup_binlog_pos_innodb", "ib_buffer_pool"]
    new = bench.put("new", "2026-11-21 01:00", dict.fromkeys(others, "x"), seqno=400, gtid="1-1-390")
    bench.fill(bench.terms(vouched=frozenset([new.name])))
    assert sorted(os.listdir(bench.made)) == sorted([*REMAINS, "binlog.state"])


def test_databases_that_are_named_like_remains_stay(bench: Bench) -> None:
    names = ["xtrabackup_tests", "mariadb_backup_log", "mariabackup_x"]
    files = {f"{name}/t.ibd": name for name in names} | {"xtrabackup_info": "x"}
    new = bench.put("new", "2026-11-21 01:00", files, seqno=400, gtid="1-1-390")
    bench.fill(bench.terms(vouched=frozenset([new.name])))
    assert sorted(os.listdir(bench.made)) == sorted([*REMAINS, "binlog.state", *names])
    assert [(bench.made / name / "t.ibd").read_text() for name in names] == names


@pytest.mark.parametrize("binlog", [True, False])
def test_without_gtids_there_is_no_state_of_a_binary_log(bench: Bench, binlog: bool) -> None:
    new = bench.put("new", "2026-11-21 01:00", gtid="", **({} if binlog else {"binlog": None}))
    bench.fill(bench.terms(vouched=frozenset([new.name]), cached=1))
    assert "binlog.state" not in os.listdir(bench.made)


def test_the_newest_that_fits_is_taken(bench: Bench) -> None:
    assert bench.fill(bench.terms(cached=301)) == bench.tip
    bench.refused("ends at seqno 300, and what the donors have cached begins at 302", cached=302)
    bench.store.put(verification_key(bench.tip.name), verification(bench.tip, "failed").to_json())
    assert bench.fill() == bench.full
    assert bench.fill(bench.terms(vouched=frozenset([bench.old.name, bench.tip.name]))) == bench.old
    bench.refused("is not known to all who serve as one that their data are a continuation of", vouched=frozenset())


def test_another_cluster_and_an_empty_store(bench: Bench) -> None:
    bench.refused(f"is of the cluster state {UUID}, the running cluster has {OTHER_UUID}", uuid=OTHER_UUID)
    for one in (bench.old, bench.full, bench.tip):
        bench.store.delete(one.key)
    bench.refused("no backup fits: there is none")


def test_a_chain_with_a_hole_is_passed_over(bench: Bench) -> None:
    bench.store.delete(bench.full.key)
    assert bench.fill() == bench.old


@pytest.mark.parametrize("series", ["11.4.8", "12.0.1"])
def test_another_series_of_mariadb(bench: Bench, series: str) -> None:
    """A newer one cannot be read; an older one lacks what was upgraded in the system tables."""
    with pytest.raises(Refused, match=r"is of MariaDB 11\.8\.6-MariaDB-log, this image has"):
        bench.fill(version=VERSION.replace("11.8.6", series))


def test_an_encrypted_backup_needs_the_key(bench: Bench) -> None:
    new = put(bench.store, full(at("2026-11-22 01:00"), seqno=400), content("new", {"backup-my.cnf": CNF}))
    names = bench.terms().vouched | {new.name}
    assert bench.fill(bench.terms(vouched=names)) == bench.tip
    bench.refused("the backup is encrypted, and there is no key", vouched=frozenset([new.name]))
    bench.key.write_text("right\n")
    assert bench.fill(bench.terms(vouched=names)) == new


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"backup-my.cnf": CNF.replace("16384", "32768")}, "a layout of its own, innodb_page_size=32768"),
        ({"backup-my.cnf": CNF.replace("=./", "=/undo")}, "its undo logs in /undo"),
        ({"backup-my.cnf": CNF + "plugin_load=file_key_management.so\n"}, "needs plugin_load to read its tables"),
        ({"shop.isl": "/elsewhere/shop.ibd"}, "table shop lies outside of the data directory"),
    ],
)
def test_a_doubtful_layout_is_refused(bench: Bench, files: dict[str, str], text: str) -> None:
    new = bench.put("new", "2026-11-22 01:00", files, seqno=400)
    bench.refused(text, vouched=frozenset([new.name]))


@pytest.mark.parametrize(
    ("found", "gtid", "text"),
    [
        (Evidence("present", UUID, 299), None, f"are at {UUID}:299, its manifest says {UUID}:300"),
        (Evidence("present", OTHER_UUID, 300), None, f"are at {OTHER_UUID}:300"),
        (Evidence("unknown", note="disk full"), None, "are at disk full"),
        (None, "1-1-289", "are at GTID 1-1-289, its manifest says '0-1-7,1-1-290'"),
        (None, "2-1-5", "are at GTID 2-1-5"),
    ],
)
def test_data_that_are_not_what_the_manifest_says(
    bench: Bench, found: Evidence | None, gtid: str | None, text: str
) -> None:
    bench.found, bench.gtid = found, gtid
    bench.refused(text, offline.StepError)


@pytest.mark.parametrize("gtid", ["", "0-0-0"])
def test_a_server_without_gtids_of_galera(bench: Bench, gtid: str) -> None:
    bench.gtid = gtid
    assert bench.fill() == bench.tip


def test_a_damaged_stream_leaves_nothing(bench: Bench) -> None:
    path = bench.data.parent.parent / "store" / bench.tip.objects[0].key
    path.write_bytes(b"x" * bench.tip.size)
    bench.refused("has the SHA-256", StreamError)


def test_too_little_space_is_found_before_a_byte_is_moved(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(directory: Path, need: int) -> None:
        assert (directory, need) == (bench.data.parent, 2 * 5000 + 192 * 2**20)
        raise Refused("too little space")

    monkeypatch.setattr(module.place, "require_space", full_disk)
    bench.refused("too little space")
    assert bench.told == []


def test_one_at_a_time(bench: Bench) -> None:
    with place.locked(bench.data.parent), pytest.raises(Refused, match="another restore is at work"):
        bench.fill()


def test_progress_comes_in_steps(bench: Bench) -> None:
    bench.fill()
    percents = [int(text.split()[0]) for _, text in bench.told if "%" in text]
    assert percents == sorted(set(percents))
    assert all(one % 10 == 0 for one in percents)
