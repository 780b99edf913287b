# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes out of several segments when they are replayed: programs that stand in copy what they are to read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from backup_samples import UUID
from binlog_samples import binlog, transaction
from galera_agent.backup import programs
from galera_agent.backup.manifest import StoredObject
from galera_agent.backup.pipe import Limit, Stage
from galera_agent.backup.recovery import Step, Target
from galera_agent.backup.replay import replay
from galera_agent.backup.segment import Segment
from galera_agent.backup.stream import CorruptError
from galera_agent.backup.volume_store import VolumeStore

# It writes the bytes that are wanted, and nothing of what stands before them.
READER = """#!/bin/bash
for one; do
  case $one in
    --start-position=*) begin=${one#*=} ;;
    --stop-position=*) end=${one#*=} ;;
    --*) ;;
    *) file=$one ;;
  esac
done
head -c "${end:-$(stat -c %s "$file")}" "$file" | tail -c "+$((begin + 1))"
"""


class Bench:
    """A store with segments, and a client that keeps what it is told. Transaction n is of second n."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("store", "scratch", "bin"):
            (path / name).mkdir()
        (path / "store" / "owner.json").write_text("{}")
        self.store = VolumeStore(path / "store")
        for name, script in (("mariadb-binlog", READER), ("mariadb", f"#!/bin/bash\ncat > {path}/told\n")):
            (path / "bin" / name).write_text(script)
            (path / "bin" / name).chmod(0o755)

    def segment(self, number: int, first: int, last: int, parts: Sequence[bytes], begin: int) -> Segment:
        data = binlog([(1, begin)], parts)
        key = f"binlogs/{number}"
        with self.store.writer(key) as writer:
            writer.write(data)
            writer.commit()
        moment = datetime.fromtimestamp(last, UTC)
        stored = StoredObject(key, len(data), hashlib.sha256(data).hexdigest())
        return Segment(
            UUID, 1, first, last, moment, moment, moment, "n-2", f"b.{number}", "11.8", len(data), None, (), stored
        )

    def replay(self, steps: Iterable[Step], target: Target) -> int:
        return replay(
            list(steps), target, self.store, self.path, self.path, self.path / "scratch", Limit(60), lambda text: None
        )

    @property
    def told(self) -> bytes:
        return (self.path / "told").read_bytes()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(programs, "unpack", lambda encrypted, identity: [Stage(("cat",))])
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return Bench(tmp_path)


def logged(*sequences: int) -> list[bytes]:
    return [transaction(one, one) for one in sequences]


def text(*sequences: int) -> bytes:
    return b"".join(logged(*sequences))


def test_segments_that_overlap_are_replayed_once(bench: Bench) -> None:
    one = bench.segment(1, 1, 4, logged(1, 2, 3, 4), 0)
    two = bench.segment(2, 3, 6, logged(3, 4, 5, 6), 2)
    assert bench.replay([Step(one, 1), Step(two, 4)], Target()) == 6
    assert bench.told == text(2, 3, 4, 5, 6)


def test_a_time_after_which_a_segment_has_all_its_transactions(bench: Bench) -> None:
    """Nothing of it is replayed, and nothing is wrong."""
    one, two = bench.segment(1, 1, 3, logged(1, 2, 3), 0), bench.segment(2, 4, 6, logged(4, 5, 6), 3)
    steps = [Step(one, 0), Step(two, 3)]
    assert bench.replay(steps, Target(time=datetime.fromtimestamp(3, UTC))) == 3
    assert bench.told == text(1, 2, 3)
    assert bench.replay(steps, Target(time=datetime.fromtimestamp(0, UTC))) == 0
    assert bench.told == b""


def test_the_replay_ends_at_the_first_later_transaction(bench: Bench) -> None:
    """Also where another node's segment has that transaction with a time that is not later."""
    one = bench.segment(1, 1, 3, [transaction(1, 1), transaction(2, 9), transaction(3, 3)], 0)
    two = bench.segment(2, 2, 5, logged(2, 3, 4, 5), 1)
    assert bench.replay([Step(one, 0), Step(two, 3)], Target(time=datetime.fromtimestamp(5, UTC))) == 1
    assert bench.told == text(1)


def test_a_transaction_that_a_segment_names_and_has_half_is_taken_from_the_next(bench: Bench) -> None:
    one = bench.segment(1, 1, 4, [*logged(1, 2, 3), transaction(4, 4)[:38]], 0)
    two = bench.segment(2, 4, 6, logged(4, 5, 6), 3)
    assert bench.replay([Step(one, 0), Step(two, 4)], Target()) == 6
    assert bench.told == text(1, 2, 3, 4, 5, 6)
    with pytest.raises(CorruptError, match="transactions 4 to 4 are not in the segments that name them"):
        bench.replay([Step(one, 0)], Target())
    with pytest.raises(CorruptError, match="transactions 4 to 5 are not in"):
        bench.replay([Step(one, 0), Step(replace(two, first=5), 4)], Target(sequence=5))
