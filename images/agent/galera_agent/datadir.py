# SPDX-License-Identifier: GPL-3.0-or-later
"""What a data directory holds: nothing, the torso of a state transfer, or data with a position."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Data = Literal["unknown", "empty", "partial", "present"]

# A finished data directory always has the system tablespace and the system schema.
_CORE = ("ibdata1", "mysql")
# Left by a state transfer that did not end; `.sst` is where the joiner collects the backup.
_TORSO = ("sst_in_progress", ".sst")
# Written by Galera, MariaDB or a file system beside the data; alone they are no data.
_SIDE = re.compile(
    r"lost\+found|grastate\.dat|gvwstate\.dat|galera\.cache|sst_in_progress|wsrep_sst\.pid|.*\.log|.*\.err|core(\.\d+)?"
)
# What a running server keeps locked for itself.
_LOCKED = ("ibdata1", "aria_log_control")
_ZERO = "00000000-0000-0000-0000-000000000000"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_RECOVERED = re.compile(rf"WSREP: Recovered position:?\s*({_UUID}):(-?\d+)(?:,(\d+-\d+-\d+))?", re.IGNORECASE)
_NOISE = re.compile(r"^\d{4}-\d\d-\d\d\s+\d+:\d\d:\d\d\s+\d+\s+")


@dataclass(frozen=True)
class Evidence:
    """What a member knows of its own data.

    uuid is None where the data belongs to no cluster (uuid zero); seqno is None where no position is known (-1).
    note says why data is unknown or partial.
    """

    data: Data
    uuid: str | None = None
    seqno: int | None = None
    note: str = ""

    @property
    def position(self) -> str | None:
        """`uuid:seqno` for --wsrep_start_position, None where there is none."""
        return None if self.uuid is None or self.seqno is None else f"{self.uuid}:{self.seqno}"


NOTHING_KNOWN = Evidence("unknown")


@dataclass(frozen=True)
class Grastate:
    """Galera's own note: uuid None means zero, seqno None means -1 (it was not stopped in order)."""

    uuid: str | None
    seqno: int | None
    safe_to_bootstrap: bool


def inspect(datadir: Path) -> Data:
    """Tell what a data directory holds; a directory that is not there is empty.

    Raises OSError where it cannot be read.
    """
    try:
        names = set(os.listdir(datadir))
    except FileNotFoundError:
        return "empty"
    if any(name in names for name in _TORSO):
        return "partial"
    if all(name in names for name in _CORE):
        return "present"
    return "partial" if any(not _SIDE.fullmatch(name) for name in names) else "empty"


def drop_marks(datadir: Path) -> list[str]:
    """Remove the marks of a state transfer that did not end, from under a server that has everything; returns them.

    Raises OSError where one cannot be removed.
    """
    found = [datadir / name for name in _TORSO if (datadir / name).exists()]
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return [path.name for path in found]


def being_made(datadir: Path) -> Path:
    """Where a data directory is made of a backup, from which its node joins: beside its place."""
    return datadir.with_name(f"{datadir.name}.fill")


def sweep(datadir: Path) -> None:
    """Remove what was made there and beside it, as far as that is possible."""
    for path in datadir.parent.glob(f"{being_made(datadir).name}*"):
        shutil.rmtree(path, ignore_errors=True)


def sync_directory(directory: Path) -> None:
    """Bring a directory's entries to disk; some network file systems know no such thing, and need none."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(handle)


def locked_file(datadir: Path) -> Path | None:
    """Return a data file that a running server holds a lock on; None where no server of this machine has them open.

    Raises OSError where a file cannot be opened.
    """
    for name in _LOCKED:
        try:
            with (datadir / name).open("r+b") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, IsADirectoryError):
            continue
        except BlockingIOError:
            return datadir / name
    return None


def parse_grastate(text: str) -> Grastate:
    """Read grastate.dat; a torn or strange file gives no position rather than a wrong one."""
    fields = dict(re.findall(r"^(\w+):[ \t]*(\S+)[ \t]*$", text, re.MULTILINE))
    uuid = _uuid(fields.get("uuid", ""))
    seqno = _seqno(fields.get("seqno", "")) if uuid else None
    return Grastate(uuid, seqno, fields.get("safe_to_bootstrap") == "1")


def read_grastate(datadir: Path) -> Grastate:
    """Read grastate.dat of a data directory; without one there is no position."""
    try:
        text = (datadir / "grastate.dat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        text = ""
    return parse_grastate(text)


def parse_recovered(log: str) -> tuple[str | None, int | None] | None:
    """Find the position in the log of `mariadbd --wsrep-recover`; None where it printed none."""
    found = _RECOVERED.findall(log)
    if not found:
        return None
    uuid = _uuid(found[-1][0].lower())
    return uuid, _seqno(found[-1][1]) if uuid else None


def recovered_gtid(log: str) -> str:
    """Find the GTID, `domain-server-sequence`, that goes with the position; empty where the server has none."""
    found = _RECOVERED.findall(log)
    return str(found[-1][2]) if found else ""


def after_recovery(log: str, exit_code: int, grastate: Grastate) -> Evidence:
    """Evidence from `mariadbd --wsrep-recover`: its log and exit code, with grastate's uuid where InnoDB has none."""
    found = parse_recovered(log)
    if exit_code != 0 or found is None:
        note = f"mariadbd --wsrep-recover ended with {exit_code} and no position: {last_words(log)}"
        return Evidence("unknown", grastate.uuid, None, note)
    uuid, seqno = found
    if uuid is None:
        return Evidence("present", grastate.uuid, None)
    return Evidence("present", uuid, seqno)


def last_words(log: str, lines: int = 3) -> str:
    """The last lines that say what went wrong, errors first, as one line without time stamps."""
    text = [_NOISE.sub("", line.strip()) for line in log.splitlines() if line.strip()]
    errors = [line for line in text if re.search(r"\[ERROR\]|^ERROR", line) and not line.endswith("Aborting")]
    return " / ".join((errors or text)[-lines:])[:600] or "it printed nothing"


def allow_bootstrap(datadir: Path, uuid: str | None) -> None:
    """Set safe_to_bootstrap in grastate.dat, once the election is won.

    uuid: of the cluster that goes on, None for a new one. Galera takes a position by argument only where the file names
    the same uuid, and makes a new one otherwise: a file that is torn, gone or marked as corrupt is written anew.
    """
    path = datadir / "grastate.dat"
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        text = ""
    if uuid is None and not parse_grastate(text).uuid:
        # Without the file Galera asks for nothing.
        path.unlink(missing_ok=True)
        return
    if uuid is not None and parse_grastate(text).uuid != uuid:
        text = f"# GALERA saved state\nversion: 2.1\nuuid:    {uuid}\nseqno:   -1\n"
    kept = re.sub(r"^safe_to_bootstrap:.*\n?", "", _unknown_seqno(text), flags=re.MULTILINE).rstrip("\n")
    _rewrite(path, f"{kept}\nsafe_to_bootstrap: 1\n")


def forget_seqno(datadir: Path) -> None:
    """Take the seqno out of grastate.dat before a server starts, which is given the position that InnoDB has.

    Galera believes the file more than that, and does not flush it: after a power cut it may tell what it told before
    the last start, or during a lock of all tables, while InnoDB has gone on since. Raises OSError.
    """
    path = datadir / "grastate.dat"
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return
    if text != _unknown_seqno(text):
        _rewrite(path, _unknown_seqno(text))


def _unknown_seqno(text: str) -> str:
    return re.sub(r"^(seqno:[ \t]*)\d+", r"\g<1>-1", text, flags=re.MULTILINE)


def _rewrite(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="ascii", errors="replace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_directory(path.parent)


def _uuid(text: str) -> str | None:
    return text if re.fullmatch(_UUID, text) and text != _ZERO else None


def _seqno(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d+", text) else None
