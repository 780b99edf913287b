# SPDX-License-Identifier: GPL-3.0-or-later
"""What a data directory holds, and the position in real logs of MariaDB."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
from galera_agent.datadir import (
    Evidence,
    Grastate,
    after_recovery,
    allow_bootstrap,
    forget_seqno,
    inspect,
    last_words,
    parse_grastate,
    parse_recovered,
    sync_directory,
)

A = "9c5a0b0e-e579-11f1-bfb8-fe25d3e340ea"
B = "bbbbbbbb-0000-4000-8000-00000000000b"
ZERO = "00000000-0000-0000-0000-000000000000"

# Names as they were found in data directories of MariaDB 11.8 and 10.11.
FULL = ["ibdata1", "mysql", "aria_log_control", "undo001", "ib_logfile0", "sys", "performance_schema"]


@pytest.mark.parametrize(
    ("names", "data"),
    [
        ([], "empty"),
        (["lost+found"], "empty"),
        (["grastate.dat", "galera.cache", "gvwstate.dat", "mariadb.err"], "empty"),
        (FULL, "present"),
        ([*FULL, "grastate.dat", "galera.cache"], "present"),
        ([*FULL, "xtrabackup_galera_info"], "present"),
        ([*FULL, "sst_in_progress"], "partial"),
        ([*FULL, ".sst"], "partial"),
        (["sst_in_progress"], "partial"),
        (["grastate.dat", ".sst"], "partial"),
        (["ibdata1"], "partial"),
        (["mysql", "aria_log_control"], "partial"),
        (["notes.txt"], "partial"),
    ],
)
def test_inspect(tmp_path: Path, names: list[str], data: str) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    assert inspect(tmp_path) == data


def test_a_directory_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert inspect(tmp_path / "data") == "empty"


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(NotADirectoryError):
        inspect(tmp_path / "data")


GRASTATE = "# GALERA saved state\nversion: 2.1\nuuid:    {}\nseqno:   {}\nsafe_to_bootstrap: {}\n"


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (GRASTATE.format(A, 4, 1), Grastate(A, 4, True)),
        (GRASTATE.format(A, 0, 0), Grastate(A, 0, False)),
        (GRASTATE.format(A, -1, 0), Grastate(A, None, False)),
        (GRASTATE.format(ZERO, -1, 1), Grastate(None, None, True)),
        (GRASTATE.format(ZERO, 12, 1), Grastate(None, None, True)),
        (GRASTATE.format(A[:20], 4, 1), Grastate(None, None, True)),
        (f"# GALERA saved state\nversion: 2.1\nuuid:    {A}\nseqn", Grastate(A, None, False)),
        (f"uuid:    {A}\nseqno:   4x\n", Grastate(A, None, False)),
        ("", Grastate(None, None, False)),
        ("\0\0\0\0", Grastate(None, None, False)),
    ],
)
def test_grastate(text: str, state: Grastate) -> None:
    assert parse_grastate(text) == state


LINE_118 = f"2026-11-21  7:07:18 0 [Note] WSREP: Recovered position: {A}:44\n"
LINE_1011 = f"2026-11-21  7:25:40 0 [Note] WSREP: Recovered position: {A}:44\n"
LINE_DOMAIN = f"2026-11-21  7:07:18 0 [Note] WSREP: Recovered position: {A}:44,0-1-17\n"
NOISE = "2026-11-21  7:07:17 0 [Note] InnoDB: Using io_uring\nfree text with a colon: 5\n"


@pytest.mark.parametrize(
    ("log", "position"),
    [
        (NOISE + LINE_118, (A, 44)),
        (LINE_1011 + NOISE, (A, 44)),
        (LINE_DOMAIN, (A, 44)),
        (LINE_118.replace(A, A.upper()), (A, 44)),
        (LINE_118.replace(":44", ":43") + LINE_118, (A, 44)),
        (LINE_118.replace(f"{A}:44", f"{ZERO}:-1"), (None, None)),
        (LINE_118.replace(f"{A}:44", f"{A}:-1"), (A, None)),
        (NOISE, None),
        (LINE_118.replace(A, A[:30]), None),
        ("", None),
    ],
)
def test_recovered(log: str, position: tuple[str | None, int | None] | None) -> None:
    assert parse_recovered(log) == position


REFUSED = (
    "2026-11-21  7:04:25 0 [ERROR] WSREP: mariabackup SST method requires wsrep_cluster_address to be configured\n"
    "2026-11-21  7:04:25 0 [ERROR] Aborting\n"
)


@pytest.mark.parametrize(
    ("log", "code", "grastate", "evidence"),
    [
        (LINE_118, 0, Grastate(A, None, False), Evidence("present", A, 44)),
        (LINE_118.replace(f"{A}:44", f"{ZERO}:-1"), 0, Grastate(None, None, False), Evidence("present")),
        (LINE_118.replace(f"{A}:44", f"{ZERO}:-1"), 0, Grastate(A, None, False), Evidence("present", A)),
    ],
)
def test_after_recovery(log: str, code: int, grastate: Grastate, evidence: Evidence) -> None:
    assert after_recovery(log, code, grastate) == evidence


@pytest.mark.parametrize(("log", "code"), [(REFUSED, 1), (LINE_118 + REFUSED, 1), (NOISE, 0), ("", 137)])
def test_a_failed_recovery_is_unknown_and_says_why(log: str, code: int) -> None:
    evidence = after_recovery(log, code, Grastate(A, None, False))
    assert (evidence.data, evidence.uuid, evidence.seqno) == ("unknown", A, None)
    assert f"ended with {code}" in evidence.note
    assert ("requires wsrep_cluster_address" in evidence.note) == (REFUSED in log)


INSTALL_DB = (
    "ERROR: 1698  Access denied for user 'boot'@'connecting host'\n2026-11-21  6:59:29 0 [ERROR] Aborting\n\n"
    "Installation of system tables failed!  Examine the logs in\n/var/lib/mysql/data.new for more information.\n"
)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (REFUSED, "[ERROR] WSREP: mariabackup SST method requires wsrep_cluster_address to be configured"),
        (INSTALL_DB, "ERROR: 1698  Access denied for user 'boot'@'connecting host'"),
        ("one\n\ntwo\nthree\nfour\n", "two / three / four"),
        ("", "it printed nothing"),
    ],
)
def test_last_words(log: str, words: str) -> None:
    assert last_words(log) == words


def test_bootstrap_is_allowed_and_the_rest_kept(tmp_path: Path) -> None:
    path = tmp_path / "grastate.dat"
    path.write_text(GRASTATE.format(A, 4, 0))
    allow_bootstrap(tmp_path, A)
    assert path.read_text() == GRASTATE.format(A, -1, 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["grastate.dat"]


@pytest.mark.parametrize("text", [None, "", GRASTATE.format(ZERO, -1, 0), "torn"])
def test_a_new_cluster_needs_no_state_file(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "grastate.dat").write_text(text)
    allow_bootstrap(tmp_path, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", [None, "", GRASTATE.format(ZERO, -1, 0), "torn", GRASTATE.format(B, 4, 0)])
def test_the_cluster_that_goes_on_keeps_its_uuid(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "grastate.dat").write_text(text)
    allow_bootstrap(tmp_path, A)
    assert (tmp_path / "grastate.dat").read_text() == GRASTATE.format(A, -1, 1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (GRASTATE.format(A, 4, 0), GRASTATE.format(A, -1, 0)),
        (GRASTATE.format(A, -1, 1), GRASTATE.format(A, -1, 1)),
        ("torn", "torn"),
        (None, None),
    ],
)
def test_a_server_starts_without_a_seqno_in_its_state_file(
    tmp_path: Path, before: str | None, after: str | None
) -> None:
    path = tmp_path / "grastate.dat"
    if before is not None:
        path.write_text(before)
    forget_seqno(tmp_path)
    assert (path.read_text() if path.exists() else None) == after
    assert [entry.name for entry in tmp_path.iterdir()] == (["grastate.dat"] if before else [])


# MariaDB 11.8.6, killed while it wrote, the binary log deleted since.
PREPARED = """2026-11-21 14:33:35 0 [Note] InnoDB: Transaction 87 was in the XA prepared state.
2026-11-21 14:33:35 0 [Note] Found 1 prepared transaction(s) in InnoDB
2026-11-21 14:33:35 0 [ERROR] Found 1 prepared transactions! It means that server was not shut down properly last time \
and critical recovery information (last binlog or tc.log file) was manually deleted after a crash. You have to start \
server with --tc-heuristic-recover switch to commit or rollback pending transactions.
2026-11-21 14:33:35 0 [ERROR] Aborting
"""


def test_prepared_transactions_without_their_log_are_no_position() -> None:
    evidence = after_recovery(PREPARED, 1, Grastate(A, None, True))
    assert (evidence.data, evidence.position) == ("unknown", None)
    assert "Found 1 prepared transactions!" in evidence.note


@pytest.mark.parametrize(("number", "raises"), [(errno.EINVAL, False), (errno.EOPNOTSUPP, False), (errno.EIO, True)])
def test_a_file_system_without_a_flush_of_directories_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, raises: bool
) -> None:
    asked: list[int] = []

    def fsync(handle: int) -> None:
        asked.append(handle)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=os.strerror(number)) if raises else nullcontext():
        sync_directory(tmp_path)
    assert len(asked) == 1
