# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups make a chain, and that a restore refuses, begins again. The files are captured ones."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from galera_agent import offline, place, restore, sources
from galera_agent.chain import Backup, Refused, check_versions, choose, read_backup, read_store
from galera_agent.offline import StepError
from galera_agent.sql import SecretError

CHECKPOINTS = """backup_type = {kind}
from_lsn = {first}
to_lsn = {to}
last_lsn = {last}
recover_binlog_info = 0
"""
INFO = """uuid = {uuid}
name = 
tool_name = mariadb-backup
tool_command = --no-defaults --backup -S /lab/p.sock -umysql --datadir=/lab/pd --target-dir=/lab/pb/{name}{base}
tool_version = 11.8.6-MariaDB
ibbackup_version = 11.8.6-MariaDB
server_version = 11.8.6-MariaDB-0+deb13u1 from Debian
start_time = 2026-11-21 07:{start}
end_time = 2026-11-21 07:{end}
lock_time = 0
binlog_pos = 
innodb_from_lsn = {first}
innodb_to_lsn = {to}
partial = N
incremental = {incremental}
format = file
compressed = N
"""  # noqa: W291 - the tool leaves a blank where there is no value
VERSION = "mariadb-backup based on MariaDB server 11.8.6-MariaDB debian-linux-gnu (x86_64)\n"
A, B = "4e3859e0-e57e-11f1-ad1c-5a92418baf7f", "b92a5059-e57e-11f1-93a7-c7172da62f24"


def put(
    root: Path,
    name: str,
    lsns: tuple[int, int, int],
    times: tuple[str, str],
    base: str = "",
    *,
    cluster: str = "",
    names: str = "mariadb_backup",
    change: tuple[str, str] = ("", ""),
) -> Path:
    """A backup directory as mariadb-backup leaves it; change replaces a text in its two files."""
    path = root / name
    (path / "shop").mkdir(parents=True)
    first, to, last = lsns
    values = {
        "kind": "incremental" if first else "full-backuped",
        "incremental": "Y" if first else "N",
        "uuid": f"uuid-{name}",
        "name": name,
        "base": f" --incremental-basedir=/lab/pb/{base}" if base else "",
        "start": times[0],
        "end": times[1],
        "first": first,
        "to": to,
        "last": last,
    }
    for file, text in (("checkpoints", CHECKPOINTS), ("info", INFO)):
        (path / f"{names}_{file}").write_text(text.format(**values).replace(*change))
    if cluster:
        (path / f"{names}_galera_info").write_text(f"{cluster}:4 0\n")
    (path / "shop" / f"orders.ibd{'.delta' if first else ''}").write_bytes(name.encode() * 1000)
    (path / f"ibdata1{'.delta' if first else ''}").write_bytes(b"\0" * 4096)
    return path


# LSNs and times of two real chains: a server that works, and one so idle that no checkpoint came between the backups.
BUSY: list[tuple[str, tuple[int, int, int], tuple[str, str], str]] = [
    ("full", (0, 47525, 47736), ("42:40", "42:40"), ""),
    ("inc1", (47525, 49122, 49284), ("42:41", "42:42"), "full"),
    ("inc2", (49122, 49572, 49669), ("42:43", "42:43"), "inc1"),
]
IDLE: list[tuple[str, tuple[int, int, int], tuple[str, str], str]] = [
    ("full", (0, 45125, 57374), ("36:47", "36:48"), ""),
    ("inc1", (45125, 45125, 58763), ("36:49", "36:50"), "full"),
    ("inc2", (45125, 45125, 59135), ("36:50", "36:51"), "inc1"),
]
LATER = ("newer", (0, 60000, 60100), ("50:00", "50:01"), "")


def store_of(root: Path, *backups: tuple[str, tuple[int, int, int], tuple[str, str], str]) -> Path:
    root.mkdir(exist_ok=True)
    for name, lsns, times, base in backups:
        put(root, name, lsns, times, base)
    return root


def chosen(root: Path, backup: str = "latest", increment: str = "latest") -> list[str]:
    return [one.name for one in choose(read_store(root), backup, increment)]


def refusal(root: Path, backup: str = "latest", increment: str = "latest") -> str:
    with pytest.raises(Refused) as caught:
        chosen(root, backup, increment)
    return str(caught.value)


@pytest.mark.parametrize("backups", [BUSY, IDLE])
@pytest.mark.parametrize(
    ("backup", "increment", "names"),
    [
        ("latest", "latest", ["full", "inc1", "inc2"]),
        ("full", "latest", ["full", "inc1", "inc2"]),
        ("latest", "inc1", ["full", "inc1"]),
        ("latest", "inc2", ["full", "inc1", "inc2"]),
        ("full", "none", ["full"]),
    ],
)
def test_chain(tmp_path: Path, backups: list[tuple[str, tuple[int, int, int], tuple[str, str], str]], backup: str,
               increment: str, names: list[str]) -> None:  # fmt: skip
    assert chosen(store_of(tmp_path, *backups), backup, increment) == names


def test_names_and_their_order_mean_nothing(tmp_path: Path) -> None:
    renamed = dict(zip(("full", "inc1", "inc2", ""), ("m", "z", "a", ""), strict=True))
    store_of(tmp_path, *((renamed[name], lsns, times, base) for name, lsns, times, base in BUSY))
    assert chosen(tmp_path) == ["m", "z", "a"]


@pytest.mark.parametrize("names", ["mariadb_backup", "xtrabackup"])
@pytest.mark.parametrize("inside", ["", "full/"])
def test_increments_inside_their_backup_and_files_of_older_servers(tmp_path: Path, inside: str, names: str) -> None:
    for name, lsns, times, base in BUSY:
        put(tmp_path, f"{inside if base else ''}{name}", lsns, times, base, names=names)
    assert chosen(tmp_path, "full", "latest") == ["full", f"{inside}inc1", f"{inside}inc2"]
    assert chosen(tmp_path, "full", "inc1") == ["full", f"{inside}inc1"]


def test_a_folder_of_a_chain_is_selected_by_its_name(tmp_path: Path) -> None:
    store_of(tmp_path, ("monday/full", *BUSY[0][1:]), ("monday/inc1", *BUSY[1][1:]), ("tuesday/full", *LATER[1:]))
    assert chosen(tmp_path) == ["tuesday/full"]
    assert chosen(tmp_path, "monday") == ["monday/full", "monday/inc1"]
    assert "'full', which fits monday/full, tuesday/full" in refusal(tmp_path, "full")


def test_the_newest_full_is_the_latest_and_keeps_its_own_increments(tmp_path: Path) -> None:
    store_of(tmp_path, *BUSY, LATER, ("newinc", (60000, 61000, 61100), ("51:00", "51:01"), "newer"))
    assert chosen(tmp_path) == ["newer", "newinc"]
    assert chosen(tmp_path, "full") == ["full", "inc1", "inc2"]
    assert "belongs to the full backup full, not to newer" in refusal(tmp_path, "newer", "inc2")


def test_equal_lsns_of_two_servers_are_told_apart_by_what_the_increment_was_made_on(tmp_path: Path) -> None:
    store_of(tmp_path, *IDLE, ("other", (0, 45125, 57300), ("36:40", "36:41"), ""))
    store_of(tmp_path, ("otherinc", (45125, 45125, 60000), ("40:00", "40:01"), "other"))
    assert chosen(tmp_path, "full") == ["full", "inc1", "inc2"]
    assert chosen(tmp_path, "other") == ["other", "otherinc"]


def test_equal_lsns_of_two_clusters_make_no_chain(tmp_path: Path) -> None:
    put(tmp_path, "full", *BUSY[0][1:3], cluster=A)
    put(tmp_path, "inc1", *BUSY[1][1:3], cluster=B)
    assert chosen(tmp_path) == ["full"]
    assert "begins at LSN 47525" in refusal(tmp_path, "full", "inc1")


@pytest.mark.parametrize(("backup", "increment"), [("latest", "latest"), ("full", "latest"), ("latest", "inc2")])
def test_a_broken_chain_names_the_missing_lsn(tmp_path: Path, backup: str, increment: str) -> None:
    text = refusal(store_of(tmp_path, BUSY[0], BUSY[2]), backup, increment)
    assert "chain of full is broken: increment inc2 begins at LSN 49122, and no backup ends there" in text
    assert "full at 47525" in text


def test_a_broken_chain_lets_its_beginning_through(tmp_path: Path) -> None:
    store_of(tmp_path, *BUSY[:2], ("inc3", (49572, 50000, 50100), ("43:00", "43:01"), "inc2"))
    assert chosen(tmp_path, "full", "inc1") == ["full", "inc1"]
    assert chosen(tmp_path, "full", "none") == ["full"]
    assert "LSN 49572" in refusal(tmp_path)


def test_increments_of_a_full_backup_that_was_removed_are_no_break(tmp_path: Path) -> None:
    assert chosen(store_of(tmp_path, *BUSY[1:], LATER)) == ["newer"]


@pytest.mark.parametrize(
    ("backup", "increment", "text"),
    [
        ("absent", "latest", "SOURCE_BACKUP is 'absent', which is not there; allowed: latest, full, newer"),
        ("inc1", "latest", "SOURCE_BACKUP is 'inc1', which is not there; allowed: latest, full, newer"),
        ("full", "absent", "'absent', which is not there; allowed with full: latest, none, inc1, inc2"),
    ],
)
def test_unknown_names(tmp_path: Path, backup: str, increment: str, text: str) -> None:
    assert text in refusal(store_of(tmp_path, *BUSY, LATER), backup, increment)


def test_no_backup_names_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "dumps").mkdir()
    (tmp_path / "lost+found").mkdir(mode=0)
    (tmp_path / "notes.txt").write_text("")
    text = "no full backup was found in the backup volume; it holds: {}"
    assert refusal(tmp_path) == text.format("dumps, notes.txt")
    assert refusal(store_of(tmp_path / "dumps", BUSY[1]).parent) == text.format("dumps/inc1, notes.txt")


def test_an_empty_store_holds_nothing(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith("it holds: nothing")


@pytest.mark.parametrize("file", ["mariadb_backup_checkpoints", "mariadb_backup_info"])
def test_an_incomplete_backup_is_never_taken_or_passed_over(tmp_path: Path, file: str) -> None:
    (store_of(tmp_path, *BUSY, LATER) / "newer" / file).unlink()
    assert refusal(tmp_path) == (
        f"the latest is unknown, since the backup volume holds an incomplete backup (newer: it has no {file}); "
        f"name a SOURCE_BACKUP"
    )
    assert f"backup newer is incomplete: it has no {file}" in refusal(tmp_path, "newer")
    assert chosen(tmp_path, "full") == ["full", "inc1", "inc2"]


def test_an_incomplete_increment_stops_the_latest_only(tmp_path: Path) -> None:
    (store_of(tmp_path, *BUSY) / "inc2" / "mariadb_backup_info").unlink()
    assert "name a SOURCE_INCREMENT" in refusal(tmp_path, "full")
    assert "inc2 is incomplete" in refusal(tmp_path, "full", "inc2")
    assert chosen(tmp_path, "full", "inc1") == ["full", "inc1"]


@pytest.mark.parametrize("line", ["to_lsn = 47525\n", "end_time = 2026-11-21 07:42:40\n", "uuid = uuid-full\n"])
def test_files_that_are_cut_short_are_incomplete(tmp_path: Path, line: str) -> None:
    path = put(tmp_path, "full", *BUSY[0][1:3], change=(line, ""))
    assert "is cut short" in str(read_backup(path, "full"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("full-backuped", "full-prepared"), "backup full has the type 'full-prepared'; allowed: full-backuped"),
        (("compressed = N", "compressed = compressed"), "backup full is compressed (compressed)"),
        (("partial = N", "partial = Y"), "backup full is partial"),
    ],
)
def test_backups_that_make_no_data_directory(tmp_path: Path, change: tuple[str, str], text: str) -> None:
    put(tmp_path, "full", *BUSY[0][1:3], change=change)
    assert text in refusal(tmp_path)


@pytest.mark.parametrize(
    ("server", "text"),
    [
        ("11.8.6-MariaDB-0+deb13u1 from Debian", None),
        ("11.8.9-MariaDB-log", None),
        ("10.11.4-MariaDB", None),
        (
            "12.0.1-MariaDB",
            "is of MariaDB 12.0.1-MariaDB, this image has MariaDB 11.8; allowed: an image of MariaDB 12.0",
        ),
        ("11.10.1-MariaDB", "allowed: an image of MariaDB 11.10 or newer"),
        ("8.0.36", "is of server '8.0.36'; allowed: MariaDB 11.8 or older"),
    ],
)
def test_versions(tmp_path: Path, server: str, text: str | None) -> None:
    path = put(tmp_path, "full", *BUSY[0][1:3], change=("11.8.6-MariaDB-0+deb13u1 from Debian", server))
    backup = read_backup(path, "full")
    assert isinstance(backup, Backup)
    if text is None:
        check_versions([backup], VERSION)
        assert backup.server == server
    else:
        with pytest.raises(Refused, match="backup full") as caught:
            check_versions([backup], VERSION)
        assert text in str(caught.value)


# --- the steps --------------------------------------------------------------------------------------------------------
class Tools(offline.Tools):
    """Programs that do their steps' simplest form; they fail at the step that is named."""

    fail = ""
    steps: Sequence[str] = ()

    def prepare(self, full: Path, increment: Path | None, name: str) -> None:
        self._step(f"prepare {name}")
        source = full if increment is None else increment
        with (full / "applied").open("a") as file:
            file.write((source / "shop" / f"orders.ibd{'' if increment is None else '.delta'}").read_text()[:4] + " ")

    def move(self, full: Path, target: Path) -> None:
        self._step("move")
        for path in [*full.iterdir()]:
            shutil.move(path, target / path.name)
        (target / "mysql").mkdir()

    def settle(self, data: Path, layout: Sequence[str], statements: str) -> list[str]:
        self._step("sql")
        (data / "statements").write_text(statements)
        return ["shop.tidy", "shop.sums"]

    def new_cluster(self, data: Path, layout: Sequence[str]) -> str:
        self._step("start")
        (data / "grastate.dat").write_text("")
        return B

    def _step(self, name: str) -> None:
        Tools.steps = [*Tools.steps, name]
        if name == Tools.fail:
            raise StepError(f"{name} broke")


@pytest.fixture
def plan(tmp_path: Path) -> restore.Plan:
    Tools.fail, Tools.steps = "", ()
    for name in ("temp", "target", "secret"):
        (tmp_path / name).mkdir()
    for key in ("root-password", "user-password", "xtrabackup-password"):
        (tmp_path / "secret" / key).write_text(f"pw of {key}\n")
    return restore.Plan(
        store=store_of(tmp_path / "store", *BUSY),
        temp=tmp_path / "temp",
        target=tmp_path / "target",
        secrets=tmp_path / "secret",
        database="my_shop",
        user="app",
    )


def go(plan: restore.Plan, log: Callable[[str], None] = lambda _: None, version: str = VERSION) -> str:
    return restore.restore(plan, log, version, Tools)


def seen(*places: Path) -> list[str]:
    return sorted(str(path) for place in places for path in place.rglob("*"))


def test_directories_fall_back_only_where_that_is_allowed(plan: restore.Plan) -> None:
    """One that mariadb-backup is still at work on, a missing link, and one that takes no increments."""
    put(plan.store, *LATER[:3])
    (plan.store / "newer" / "mariadb_backup_info").unlink()
    put(plan.store, "inc4", (49700, 50000, 50100), ("43:00", "43:01"), "inc3")
    put(plan.store, "prepared", (0, 50000, 50100), ("43:02", "43:03"), change=("full-backuped", "full-prepared"))
    with pytest.raises(Refused, match=r"an incomplete backup \(newer: it has no mariadb_backup_info"):
        go(plan)
    said: list[str] = []
    assert "restored full + inc1 + inc2 into" in go(replace(plan, fallback=True), said.append)
    assert said[0].startswith("falls back: the latest is unknown, since the backup volume holds an incomplete backup")
    for named in ("newer", "prepared", "absent"):
        with pytest.raises(Refused, match=named):
            go(replace(plan, fallback=True, backup=named))


def test_directories_need_the_room_of_the_full_one_and_of_the_largest_increment(plan: restore.Plan) -> None:
    (plan.store / "inc1" / "shop" / "orders.ibd.delta").write_bytes(b"x" * 1_000_000)
    (source,) = restore.sources(plan, lambda _: None)
    full, largest = (offline.size(plan.store / name) for name in ("full", "inc1"))
    assert source.space() == (full + largest + sources.TEMP_EXTRA, full + sources.TARGET_EXTRA)


def test_a_restore_and_the_same_again(plan: restore.Plan) -> None:
    before = seen(plan.store)
    said: list[str] = []
    done = go(plan, said.append)
    assert done == f"restored full + inc1 + inc2 into {plan.data}, as the new cluster {B}: the seed can start"
    assert list(Tools.steps) == ["prepare full", "prepare inc1", "prepare inc2", "move", "sql", "start"]
    assert "enabled 2 events that the backup's node left to another one: shop.tidy, shop.sums" in said
    assert (plan.data / "applied").read_text() == "full inc1 inc2 "
    assert seen(plan.store) == before
    assert [path.name for path in plan.target.iterdir()] == ["data"]
    assert seen(plan.temp) == []
    assert not list(plan.data.glob("grastate.dat")) + list(plan.data.glob("mariadb_backup_*"))
    assert "full + inc1 + inc2 was restored already, at 20" in go(plan)
    assert len(Tools.steps) == 6


def test_another_restore_into_it_is_refused(plan: restore.Plan) -> None:
    go(plan)
    other = restore.Plan(**{**vars(plan), "increment": "inc1"})
    with pytest.raises(Refused, match=r"it holds the restored full \+ inc1 \+ inc2, not full \+ inc1; run the"):
        go(other)
    # Of the same name, but not the same backup.
    marker = json.loads((plan.data / restore.MARKER).read_text())
    marker["backups"][0][1] = "another uuid"
    (plan.data / restore.MARKER).write_text(json.dumps(marker))
    with pytest.raises(Refused, match="it holds the restored"):
        go(plan)


def test_a_restore_that_is_run_again_keeps_what_it_has_restored_though_the_newest_is_another_now(
    plan: restore.Plan,
) -> None:
    go(restore.Plan(**{**vars(plan), "increment": "inc1", "identity": "one"}))
    said = go(restore.Plan(**{**vars(plan), "identity": "one"}))
    assert said.startswith("full + inc1 was restored already, at 20")
    assert f"as the new cluster {B}, by this restore; full + inc1 + inc2, which is the choice of now" in said
    assert (plan.data / "applied").read_text() == "full inc1 "


@pytest.mark.parametrize(
    ("theirs", "file", "fits"), [("one", "", True), ("one", "grastate.dat", False), ("", "", False)]
)
def test_what_another_restore_left_is_replaced_unless_a_server_was_started_from_it(
    plan: restore.Plan, theirs: str, file: str, fits: bool
) -> None:
    go(restore.Plan(**{**vars(plan), "increment": "inc1", "identity": theirs}))
    if file:
        (plan.data / file).touch()
    other, log = restore.Plan(**{**vars(plan), "identity": "two"}), []
    if fits:
        (plan.fresh / "torso").mkdir(parents=True)
        with pytest.raises(Refused, match="this image has"):
            go(other, version=VERSION.replace("11.8", "10.6"))
        assert (plan.data / "applied").exists()
        assert "restored full + inc1 + inc2 into" in go(other, log.append)
        assert "replaces the restored full + inc1, which another restore left and no server was started from" in log
        assert (plan.data / "applied").read_text() == "full inc1 inc2 "
        return
    with pytest.raises(Refused, match=r"with the variables that it was begun with, or delete the claim .* nothing was"):
        go(other)
    assert (plan.data / "applied").read_text() == "full inc1 "


@pytest.mark.parametrize("marker", [None, "", "{}", '{"backups": 1}', "[]"])
def test_a_directory_with_anything_in_it_is_not_touched(plan: restore.Plan, marker: str | None) -> None:
    plan.data.mkdir()
    (plan.data / "ibdata1").write_text("data")
    if marker is not None:
        (plan.data / restore.MARKER).write_text(marker)
    before = seen(plan.target)
    with pytest.raises(Refused, match=r"is not empty, it holds .*ibdata1"):
        go(plan)
    assert seen(plan.target, plan.temp) == before


@pytest.mark.parametrize("step", ["prepare full", "prepare inc2", "move", "sql", "start"])
def test_a_failed_step_leaves_nothing_and_the_next_run_succeeds(plan: restore.Plan, step: str) -> None:
    Tools.fail = step
    with pytest.raises(StepError, match=f"{step} broke"):
        go(plan)
    assert seen(plan.target, plan.temp) == []
    Tools.fail = ""
    assert "restored full + inc1 + inc2" in go(plan)


def test_what_a_killed_run_left_is_removed_and_the_work_of_a_living_one_is_not(plan: restore.Plan) -> None:
    for left in (plan.fresh / "torso", plan.temp / "galera-restore-dead" / "full", plan.temp / "of-others"):
        left.mkdir(parents=True)
    living = plan.temp / "galera-restore-alive"
    living.mkdir()
    with place.locked(living, "lock"):
        go(plan)
    assert sorted(path.name for path in plan.temp.iterdir()) == ["galera-restore-alive", "of-others"]
    assert not (plan.data / "torso").exists()


def test_two_restores_into_one_volume(plan: restore.Plan) -> None:
    with place.locked(plan.target), pytest.raises(Refused, match="another restore is at work"):
        go(plan)
    assert seen(plan.target, plan.temp) == []


def test_data_that_came_meanwhile_is_not_replaced(plan: restore.Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(tools: Tools, data: Path, layout: Sequence[str]) -> str:
        plan.data.mkdir()
        (plan.data / "ibdata1").write_text("of a seed")
        return B

    monkeypatch.setattr(Tools, "new_cluster", start)
    with pytest.raises(OSError, match="not empty") as caught:
        go(plan)
    assert caught.value.errno == errno.ENOTEMPTY
    assert seen(plan.target) == [str(plan.data), str(plan.data / "ibdata1")]


@pytest.mark.parametrize("short", ["temp", "target"])
def test_too_little_space(plan: restore.Plan, monkeypatch: pytest.MonkeyPatch, short: str) -> None:
    place, real = getattr(plan, short), os.statvfs

    def statvfs(path: Path) -> os.statvfs_result:
        found = list(real(path))
        found[1], found[4] = 4096, (5 * 2**20 // 4096 if path == place else 2**30)
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", statvfs)
    with pytest.raises(Refused, match=rf"{short} has too little space: at least \d+ MiB needed, 5 MiB free"):
        go(plan)
    assert seen(plan.target, plan.temp) == []


@pytest.mark.parametrize(
    ("broken", "version", "text"),
    [
        ("", "mariadb-backup: not found", "does not tell its version"),
        ("", VERSION.replace("11.8", "10.11"), "is of MariaDB"),
    ],
)
def test_a_tool_that_does_not_fit(plan: restore.Plan, broken: str, version: str, text: str) -> None:
    with pytest.raises(Refused, match=text):
        go(plan, version=version)
    assert seen(plan.target, plan.temp) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("it is not there"), 2),
        (StepError('mbstream ended with 1: error writing file (Errcode: 28 "No space left on device")'), 2),
        (OSError(errno.ENOSPC, "No space left on device"), 2),
        (OSError(errno.EIO, "Input/output error"), 1),
        (StepError("mariadbd ended with -9: killed"), 1),
    ],
)
def test_what_would_end_in_the_same_way_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    """By the exit code: the Job ends at 2."""

    def ends(*_: object) -> str:
        raise error

    monkeypatch.setattr(restore, "restore", ends)
    monkeypatch.setattr(restore.signal, "signal", lambda *_: None)
    monkeypatch.setattr(offline, "tool_version", lambda: VERSION)
    assert restore.command({}, lambda _: None) == code


def test_links_in_a_backup_are_not_followed(plan: restore.Plan) -> None:
    (plan.store / "inc1" / "shop" / "elsewhere.ibd").symlink_to("/etc/passwd")
    with pytest.raises(StepError, match=r"elsewhere\.ibd is a link"):
        go(plan)
    assert seen(plan.target, plan.temp) == []


def test_backups_inside_a_backup_are_no_databases(plan: restore.Plan) -> None:
    put(plan.store, "full/inc3", (49572, 50000, 50100), ("43:00", "43:01"), "inc2")
    assert "restored full + inc1 + inc2 + full/inc3" in go(plan)
    assert not (plan.data / "inc3").exists()


def test_accounts(plan: restore.Plan) -> None:
    text = restore.account_sql(plan)
    assert "CREATE OR REPLACE USER mysql@localhost IDENTIFIED VIA unix_socket;\n" in text
    for account in ("root@'localhost'", "root@'%'", "xtrabackup@'localhost'", "'app'@'%'"):
        made = f"CREATE USER IF NOT EXISTS {account};\nALTER USER {account} IDENTIFIED BY PASSWORD "
        assert re.search(re.escape(made) + r"'\*[0-9A-F]{40}' ACCOUNT UNLOCK;\n", text)
    # as servers before 10.4 have made them
    for account in ("root@'127.0.0.1'", "root@'::1'"):
        assert f"ALTER USER IF EXISTS {account} IDENTIFIED BY PASSWORD '*" in text
    assert "GRANT ALL PRIVILEGES ON `my\\_shop`.* TO 'app'@'%';\n" in text
    assert "pw of" not in text
    assert "DELETE" not in text
    assert "DROP" not in text


def test_without_a_secret_only_our_own_account_changes(plan: restore.Plan) -> None:
    text = restore.account_sql(restore.Plan(**{**vars(plan), "secrets": plan.secrets / "absent"}))
    assert [line for line in text.splitlines() if "USER" in line] == [
        "CREATE OR REPLACE USER mysql@localhost IDENTIFIED VIA unix_socket;"
    ]


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [("root-password", None, "key root-password is not there"), ("user-password", "\n", "key user-password is empty")],
)
def test_a_password_that_is_missing_is_said_before_anything_is_copied(
    plan: restore.Plan, key: str, value: str | None, text: str
) -> None:
    (plan.secrets / key).unlink()
    if value is not None:
        (plan.secrets / key).write_text(value)
    with pytest.raises(SecretError, match=text):
        go(plan)
    assert seen(plan.target, plan.temp) == []


def test_a_user_of_ours_is_no_user_of_the_inventory(plan: restore.Plan) -> None:
    with pytest.raises(SecretError, match="GALERA_MYSQL_USER is 'mysql'"):
        restore.account_sql(restore.Plan(**{**vars(plan), "user": "mysql"}))


# As it is written by 11.8.6; the page size in the second is that of a server with small pages.
