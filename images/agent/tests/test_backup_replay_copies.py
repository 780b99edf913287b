# SPDX-License-Identifier: GPL-3.0-or-later
"""Point-in-time restores where segments of the archive are damaged in a way that only their bytes show."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from backup_samples import UUID, at, full
from binlog_samples import binlog, transaction
from galera_agent import offline, restore
from galera_agent.backup.manifest import StoredObject
from galera_agent.backup.recovery import parse_target
from galera_agent.backup.segment import Segment
from galera_agent.backup.stream import CorruptError
from galera_agent.backup.volume_store import VolumeStore
from replay_samples import CLIENT, READER
from stream_samples import VERSION, content, install, put

DAY = "2026-11-21"


class Tools(offline.Tools):
    """Nothing but what is said to the accounts."""

    def prepare(self, full: Path, increment: Path | None, name: str) -> None:
        pass

    def settle(self, data: Path, layout: Sequence[str], statements: str) -> list[str]:
        (data / "statements").write_text(statements)
        return []

    def new_cluster(self, data: Path, layout: Sequence[str]) -> str:
        return "the-new-uuid"

    @contextmanager
    def serving(self, data: Path, layout: Sequence[str]) -> Iterator[Path]:
        yield self._scratch / "socket"


class Meanwhile(list[str]):
    """Lets something be archived when the replay has begun."""

    def __init__(self, done: Callable[[], object]) -> None:
        self._done = done

    def append(self, text: str) -> None:
        super().append(text)
        if text.startswith("replays"):
            self._done()


class Bench:
    """A backup at transaction 2, and an archive. Transaction n is of minute n."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("store", "temp", "target"):
            (path / name).mkdir()
        for name, script in (("mariadb", CLIENT.format(python=sys.executable, path=path)), ("mariadb-binlog", READER)):
            (path / "bin" / name).write_text(script)
            (path / "bin" / name).chmod(0o755)
        (path / "store" / "owner.json").write_text("{}")
        self.store = VolumeStore(path / "store")
        moment = at(f"{DAY} 01:02")
        put(self.store, full(moment, gtid="1-1-2", finished=moment), content("full"), encrypted=False)
        self.said: list[str] = []

    def segment(self, first: int, last: int, pod: str = "n-0", version: str = "11.8.6") -> Segment:
        data = binlog([(1, first - 1)] if first > 1 else [], self.logged(first, last))
        earliest, latest = (at(f"{DAY} 01:{minute:02}") for minute in (first, last))
        stem = f"binlogs/{UUID}/20261121/{first:020d}-{last:020d}-{pod}-binlog.000001"
        stored = StoredObject(f"{stem}.zst", len(data), hashlib.sha256(data).hexdigest())
        one = Segment(
            UUID, 1, first, last, earliest, latest, latest, pod, "binlog.000001", version, len(data), None, (), stored
        )
        with self.store.writer(stored.key) as writer:
            writer.write(data)
            writer.commit()
        self.store.put(one.key, one.to_json())
        return one

    @staticmethod
    def logged(first: int, last: int) -> list[bytes]:
        start = int(at(f"{DAY} 01:00").timestamp())
        return [transaction(one, start + 60 * one) for one in range(first, last + 1)]

    def damage(self, one: Segment) -> None:
        path = self.path / "store" / one.object.key
        path.write_bytes(path.read_bytes()[:-1] + b"!")

    def restore(self, time: str = "", gtid: str = "") -> bytes:
        """Returns what is replayed."""
        plan = restore.Plan(
            target_point=parse_target(time, gtid, ""),
            store=self.path / "store",
            temp=self.path / "temp",
            target=self.path / "target",
            secrets=self.path / "none",
            settings=self.path / "none",
            keys=self.path / "none",
        )
        restore.restore(plan, self.said.append, VERSION, Tools)
        return re.sub(rb"\n\nSIGNAL [^\n]*\n", b"", (self.path / "told").read_bytes())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    install(tmp_path / "bin", monkeypatch)
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("time", "gtid", "last"), [("latest", "", 9), (f"{DAY}T01:08:30Z", "", 8), ("", "1-1-7", 7), ("", "1-1-9", 9)]
)
def test_a_segment_with_other_bytes_is_passed_over_where_others_reach_to_the_point(
    bench: Bench, time: str, gtid: str, last: int
) -> None:
    """Two of them, and the end of the archive stays that of the choice."""
    bench.segment(1, 3)
    for one in (bench.segment(4, 9), bench.segment(3, 8, "n-1")):
        bench.damage(one)
    for first, end in ((3, 4), (5, 6), (7, 9)):
        bench.segment(first, end, "n-2")
    assert bench.restore(time, gtid) == b"".join(bench.logged(3, last))
    told = [one for one in bench.said if one.startswith("passed over, since")]
    assert any("n-0-binlog.000001.zst has the SHA-256" in one for one in told)
    assert any(one == f"replayed the transactions up to {last}" for one in bench.said)


def test_the_end_of_the_archive_stays_that_of_the_choice(bench: Bench) -> None:
    """A restore that is run again takes what is there for its own by that."""
    bad, _ = bench.segment(3, 9), bench.segment(3, 5, "n-1")
    bench.segment(6, 9, "n-1")
    bench.damage(bad)
    bench.said = Meanwhile(lambda: bench.segment(6, 12, "n-2"))
    assert bench.restore("latest") == b"".join(bench.logged(3, 9))


def test_where_no_other_has_its_transactions_nothing_is_left(bench: Bench) -> None:
    bench.damage(bench.segment(3, 9))
    bench.segment(3, 5, "n-1")
    with pytest.raises(
        CorruptError, match=r"n-0-binlog.000001.zst has the SHA-256 .*; the archive has no transactions 6 to 9"
    ):
        bench.restore("latest")
    assert not list((bench.path / "target").iterdir())


def test_another_segment_of_a_newer_server_is_refused_as_well(bench: Bench) -> None:
    bench.damage(bench.segment(3, 9))
    bench.segment(3, 8, "n-1", version="12.1.2")
    with pytest.raises(CorruptError, match=r"n-0-binlog.000001.zst has the SHA-256 .*; .*n-1.* is of MariaDB 12.1.2"):
        bench.restore(gtid="1-1-8")


def test_the_rights_of_who_replays_are_taken_back_with_the_accounts(bench: Bench) -> None:
    bench.segment(3, 9)
    bench.restore("latest")
    statements = (bench.path / "target" / "data" / "statements").read_text()
    assert statements == offline.RIGHTS_BACK + restore.account_sql(restore.Plan(secrets=bench.path / "none"))


def test_a_restore_without_a_replay_changes_no_roles(bench: Bench) -> None:
    (bench.path / "told").touch()
    bench.restore()
    assert offline.RIGHTS_BACK not in (bench.path / "target" / "data" / "statements").read_text()
