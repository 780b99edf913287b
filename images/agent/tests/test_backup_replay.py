# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes out of several segments when they are replayed: programs that stand in copy what they are to read."""

from __future__ import annotations

import hashlib
import re
import struct
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from backup_samples import UUID
from binlog_samples import binlog, event, gtid, query, transaction
from galera_agent import offline, restore
from galera_agent.backup import binlog_events, programs
from galera_agent.backup.invoker import makes_role
from galera_agent.backup.manifest import StoredObject
from galera_agent.backup.pipe import Limit, Stage, StreamError
from galera_agent.backup.recovery import Step, Target
from galera_agent.backup.replay import _DROPS, ReplayError, replay
from galera_agent.backup.segment import Segment
from galera_agent.backup.stream import CorruptError
from galera_agent.backup.volume_store import VolumeStore
from replay_samples import CLIENT, READER, TEXT_READER


class Bench:
    """A store with segments, and a client that keeps what it is told. Transaction n is of second n."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("store", "scratch", "bin"):
            (path / name).mkdir()
        (path / "store" / "owner.json").write_text("{}")
        self.store = VolumeStore(path / "store")
        self.install("mariadb-binlog", READER)
        self.install("mariadb", CLIENT.format(python=sys.executable, path=path))

    def install(self, name: str, script: str) -> None:
        (self.path / "bin" / name).write_text(script)
        (self.path / "bin" / name).chmod(0o755)

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

    def replay(self, steps: Iterable[Step], target: Target, instead: Sequence[Step] | None = None) -> int:
        """instead: the steps without a segment that is damaged, None where there are none."""

        def without(damaged: Segment, why: str) -> Sequence[Step]:
            if instead is None:
                raise CorruptError(why)
            return instead

        scratch = self.path / "scratch"
        return replay(
            list(steps), target, self.store, self.path, self.path, scratch, Limit(60), lambda text: None, without
        )

    @property
    def told(self) -> bytes:
        """Without the marks."""
        return re.sub(rb"\n\nSIGNAL [^\n]*\n", b"", (self.path / "told").read_bytes())

    def statements(self, *statements: bytes | tuple[bytes, int]) -> bytes:
        """Replay statements, each a transaction; of some with the error that is logged. Returns what was told."""
        self.install("mariadb-binlog", TEXT_READER)
        pairs = [one if isinstance(one, tuple) else (one, 0) for one in statements]
        parts = [gtid(number, 1) + query(text, error=error) for number, (text, error) in enumerate(pairs, 1)]
        last = len(parts)
        assert self.replay([Step(self.segment(1, 1, last, parts, 0), 0)], Target()) == last
        return self.told


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


@pytest.mark.parametrize("damage", ["other bytes", "no binary log"])
def test_a_damaged_segment_is_passed_over_in_the_replay(bench: Bench, damage: str) -> None:
    """What is replayed by then is not replayed again."""
    parts = logged(3, 4, 5) if damage == "other bytes" else [*logged(3), b"x" * 50]
    one, bad = bench.segment(1, 1, 3, logged(1, 2, 3), 0), bench.segment(2, 3, 5, parts, 2)
    if damage == "other bytes":
        (bench.path / "store" / bad.object.key).write_bytes(b"x" * bad.object.size)
    small, large = bench.segment(3, 2, 4, logged(2, 3, 4), 1), bench.segment(4, 4, 6, logged(4, 5, 6), 3)
    steps, others = [Step(one, 1), Step(bad, 3)], [Step(one, 1), Step(small, 3), Step(large, 4)]
    assert bench.replay(steps, Target(sequence=5), others) == 5
    assert bench.told == text(2, 3, 4, 5)
    with pytest.raises(CorruptError, match=f"{bad.object.key}.* (SHA-256|has an event)"):
        bench.replay(steps, Target(sequence=5))
    with pytest.raises(CorruptError, match="transactions 5 to 5 are not in"):
        bench.replay(steps, Target(sequence=5), others[:2])


# --- statements that end with an error --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "statement",
    [
        (b"CREATE USER there, fresh /* FAILS 1396 */", 1396),
        # What was dropped in part is logged as if all had been.
        b"DROP TABLE `a`,`missing` /* FAILS 1051 */",
        b"/* of an application */ drop temporary table a, missing /* FAILS 1051 */",
        b"DROP SEQUENCE s /* FAILS 4091 */",
    ],
)
def test_the_replay_goes_on_after_an_error_that_is_logged(bench: Bench, statement: bytes | tuple[bytes, int]) -> None:
    assert b"INSERT 3" in bench.statements(b"INSERT 1", statement, b"INSERT 3")


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (b"INSERT 2 FAILS 1062", "ERROR 1062: it failed"),
        ((b"CREATE USER there, fresh FAILS 1045", 1396), "ERROR 1045: it failed"),
        ((b"CREATE USER there, fresh", 1396), "it was logged with error 1396, and ends without one"),
        (b"DROP VIEW missing FAILS 1051", "ERROR 1051: it failed"),
        (b"DROP TABLE a FAILS 1217", "ERROR 1217: it failed"),
    ],
)
def test_any_other_error_ends_it_at_its_transaction(
    bench: Bench, statement: bytes | tuple[bytes, int], text: str
) -> None:
    """Also where the error of that number is logged with another one."""
    with pytest.raises(ReplayError) as caught:
        bench.statements(b"INSERT 1", statement, (b"CREATE USER there FAILS 1396", 1396), b"INSERT 4")
    assert f"transaction 1-1-2 does not do on the backup what it did: {text}; " in str(caught.value)
    assert "points up to transaction 1 of domain 1 can be restored" in str(caught.value)


def test_what_is_refused_once_is_not_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(offline, "tool_version", lambda: "")
    monkeypatch.setattr(restore, "restore", lambda *_: bench.statements(b"INSERT FAILS 1146"))
    assert restore.command({}, lambda _: None) == 2
    assert "refused: transaction 1-1-1 does not do" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("statement", "text"),
    [(b"FAILS 2013", "mariadb: ERROR 2013"), (b"FAILS 1205", "ERROR 1205"), (b"DIES", "mariadb ended with 3")],
)
def test_an_error_of_the_surroundings_may_be_another_one_the_next_time(
    bench: Bench, statement: bytes, text: str
) -> None:
    with pytest.raises(StreamError, match=text):
        bench.statements(b"INSERT 1", statement, b"INSERT 3")


def test_an_error_is_found_where_it_stands_in_several_segments(bench: Bench) -> None:
    bench.install("mariadb-binlog", TEXT_READER)
    parts = [gtid(one, 1) + query(b"CREATE USER FAILS 1396", error=1396 if one < 4 else 0) for one in range(1, 5)]
    one, two = bench.segment(1, 1, 2, parts[:2], 0), bench.segment(2, 3, 4, parts[2:], 2)
    assert bench.replay([Step(one, 0), Step(two, 2)], Target(sequence=3)) == 3
    with pytest.raises(ReplayError, match=r"transaction 1-1-4 does not .* points up to transaction 3 of domain 1"):
        bench.replay([Step(one, 0), Step(two, 2)], Target())


def test_a_role_can_be_granted_as_soon_as_it_is_made(bench: Bench) -> None:
    given = offline.AFTER_ROLE.strip().encode()
    told = bench.statements(b"CREATE ROLE a", b"GRANT a TO b", b"-- c\ncreate or replace role c", b"CREATE TABLE d")
    first, between, last = told.split(given)
    assert first.rstrip().splitlines()[-1] == b"CREATE ROLE a;"
    assert b"GRANT a TO b;" in between
    assert b"CREATE TABLE d" in last


def test_comments_are_part_of_what_is_replayed(bench: Bench) -> None:
    """Without the option the client takes them out of the bodies of procedures, triggers and events."""
    bench.statements(b"CREATE PROCEDURE p() BEGIN\n-- why\nEND")
    assert "--comments" in (bench.path / "options").read_text().split()


def test_who_ran_a_statement_is_named_where_it_means_that(bench: Bench) -> None:
    bench.install("mariadb-binlog", TEXT_READER)
    texts = [
        (b"INSERT 1", None),
        (b"ALTER EVENT e DISABLE", (b"app", b"%")),
        (b"CREATE ROLE r", (b"app", b"%")),
        (b"GRANT r TO CURRENT_USER FAILS 1396", (b"app", b"%")),
        (b"INSERT 5", None),
    ]
    parts = [
        gtid(number, 1) + query(text, error=1396 if b"FAILS" in text else 0, invoker=who)
        for number, (text, who) in enumerate(texts, 1)
    ]
    assert bench.replay([Step(bench.segment(1, 1, 5, parts, 0), 0)], Target()) == 5
    given = offline.AFTER_ROLE.strip().encode()
    said = [one for one in bench.told.replace(given, b"AFTER ROLE\n").splitlines() if re.match(b"[A-Z ]+ |AFTER", one)]
    assert [one for one in said if not one.startswith((b"SET", b"SIGNAL"))] == [
        b"INSERT 1;",
        b"ALTER DEFINER=`app`@`%` EVENT e DISABLE;",
        b"CREATE ROLE r",
        b" WITH ADMIN `app`@`%`;",
        b"AFTER ROLE",
        b"GRANT r TO `app`@`%` FAILS 1396;",
        b"INSERT 5;",
    ]


def test_a_statement_that_means_who_ran_it_is_refused_where_nobody_knows(bench: Bench) -> None:
    with pytest.raises(ReplayError) as caught:
        bench.statements(b"INSERT 1", b"REVOKE ALL ON *.* FROM current_user()", b"INSERT 3")
    assert "transaction 1-1-2 does not do on the backup what it did: it names current_user(), and" in str(caught.value)
    assert "points up to transaction 1 of domain 1" in str(caught.value)


# --- what a statement is ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "before",
    [
        b"",
        b" \n\t",
        b"/* a */ /**/ -- b\n# c\n",
        b"/*MyApp*/",
        b"--\n",
        b"-- h\n" * 300,
        b"#\n#\n-- a\n" * 100,
        b"/* * ** a */\n" * 100,
    ],
    ids=lambda text: text[:10].decode(),
)
def test_statements_are_known_behind_comments(before: bytes) -> None:
    """Hundreds of them: a pattern that tries each in every way would not end."""
    assert makes_role(before + b"CREATE OR REPLACE ROLE a")
    assert _DROPS.match(before + b"drop temporary table a")
    assert not makes_role(before + b"CREATE TABLE a (b INT)")
    assert not _DROPS.match(before + b"DROP VIEW a")


@pytest.mark.parametrize(
    "text",
    [
        b"/* a */ INSERT INTO t VALUES ('*/ CREATE ROLE x')",
        b"-- h\nALTER TABLE t COMMENT 'a\nCREATE ROLE x'",
        b"/*! CREATE ROLE x */",
        b"/*M!100000 CREATE ROLE x */",
        b"/* CREATE ROLE x",
        b"--CREATE ROLE x",
    ],
)
def test_what_is_no_comment_is_no_statement(text: bytes) -> None:
    assert not makes_role(text)


def test_compressed_statements_are_read(tmp_path: Path) -> None:
    """As log_bin_compress has them; of a damaged one the error is known."""
    text = b"DROP TABLE " + b", ".join(b"shop.t%d" % number for number in range(200))
    head = struct.pack("<IIBHH", 1, 0, 1, 1051, 2) + b"\x00\x00d\x00"
    packed = b"\x82" + len(text).to_bytes(2, "big") + zlib.compress(text)
    path = tmp_path / "binlog.000001"
    path.write_bytes(binlog([], [event(165, head + packed + b"sum1"), event(165, head + b"\x82\x00\x00damaged")]))
    found = list(binlog_events.statements(path, 4, None))
    assert [(one.error, one.text) for one in found] == [(1051, text[:1024]), (1051, b"")]
