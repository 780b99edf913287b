# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of a backup's pipes and their arguments. None of these holds a secret: keys are files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .pipe import Stage

SUFFIX, ENCRYPTED = ".zst", ".zst.age"
COMPLETED = "completed OK!"


def mariadb_backup(socket: Path, data: Path, lsn_dir: Path, incremental_lsn: int | None) -> Stage:
    """The source of a backup; lsn_dir gets its positions. The account is proved by the socket."""
    argv = [
        "mariadb-backup",
        "--no-defaults",
        "--backup",
        "--stream=mbstream",
        "--galera-info",
        "--user=mysql",
        f"--socket={socket}",
        f"--datadir={data}",
        f"--target-dir={lsn_dir}",
        f"--extra-lsndir={lsn_dir}",
    ]
    if incremental_lsn is not None:
        argv.append(f"--incremental-lsn={incremental_lsn}")
    return Stage(tuple(argv), COMPLETED)


def pack(level: int, recipients: Sequence[str]) -> list[Stage]:
    """Compress on one core, then encrypt for the recipients, if there are any."""
    stages = [Stage(("zstd", "--quiet", f"-{level}", "--single-thread", "--check", "--stdout"))]
    if recipients:
        named = [word for one in recipients for word in ("--recipient", one)]
        stages.append(Stage(("age", "--encrypt", *named)))
    return stages


def unpack(encrypted: bool, identity: Path) -> list[Stage]:
    """The way back. identity: the file with the age key."""
    stages = [Stage(("age", "--decrypt", "--identity", str(identity)))] if encrypted else []
    return [*stages, Stage(("zstd", "--quiet", "--decompress", "--stdout"))]


def extract(directory: Path) -> Stage:
    """Write the files of a stream into an existing directory."""
    return Stage(("mbstream", "--extract", f"--directory={directory}"))
