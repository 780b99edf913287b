# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a data directory comes from when it is restored: what a restore asks of a source, and the simplest one.

A store of streams is in backup/streams.py; here are the directories that mariadb-backup leaves without a stream.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from . import chain, offline
from .chain import Backup

_CHUNK = 4 * 2**20
# Beside the data: temporary tablespaces, and in the target the redo log of a server's usual size and undo.
TEMP_EXTRA, TARGET_EXTRA = 64 * 2**20, 192 * 2**20


class Source(Protocol):
    """A chosen chain of backups, and a point after it. What cannot be restored raises Refused when it is chosen.

    warning: what has to be known of the choice, a sentence without a stop, empty where there is nothing.
    """

    warning: str

    @property
    def identity(self) -> list[list[str]]:
        """Names and identities of what is restored: the same ones make the same data."""

    @property
    def until(self) -> str:
        """The time of the data, for the log."""

    def check(self, version: str) -> None:
        """Look at everything that can be known before bytes move. version: of mariadb-backup. Raises Refused."""

    def space(self) -> tuple[int, int]:
        """Bytes that are needed at least on the temporary volume and on the target."""

    def build(self, fresh: Path, work: Path, tools: offline.Tools) -> dict[str, str]:
        """Make the data directory in a place that is not there yet; returns its layout (offline.read_layout).

        work: a directory on the temporary volume. Raises StepError or OSError.
        """

    def replay(self, fresh: Path, options: Sequence[str], tools: offline.Tools) -> bool:
        """Bring the data directory from its last backup to the wanted point.

        Returns whether a server has done that: its accounts need offline.RIGHTS_BACK then.
        """


class Directories:
    """Backups as directories, unpacked and unprepared; they are copied, and the copies are prepared."""

    warning = ""

    def __init__(self, backups: Sequence[Backup], log: Callable[[str], None]) -> None:
        self._backups, self._log = backups, log
        self._told = time.monotonic()

    @property
    def identity(self) -> list[list[str]]:
        """Names and the uuids that mariadb-backup gave."""
        return [[one.name, one.uuid] for one in self._backups]

    @property
    def until(self) -> str:
        """When the last one ended, by its server's clock."""
        return self._backups[-1].end

    def check(self, version: str) -> None:
        """Refuse what a newer server wrote."""
        chain.check_versions(self._backups, version)

    def space(self) -> tuple[int, int]:
        """The full one in both places, and beside it one increment at a time."""
        full, *increments = (offline.size(one.path, chain.nested(one.path)) for one in self._backups)
        return full + max(increments, default=0) + TEMP_EXTRA, full + TARGET_EXTRA

    def build(self, fresh: Path, work: Path, tools: offline.Tools) -> dict[str, str]:
        """Copy, prepare, apply each increment, move."""
        full, delta = work / "full", work / "increment"
        self.copy(self._backups[0], full)
        layout = offline.read_layout(full)
        tools.prepare(full, None, self._backups[0].name)
        for one in self._backups[1:]:
            self.copy(one, delta)
            tools.prepare(full, delta, one.name)
            shutil.rmtree(delta)
        fresh.mkdir(mode=0o700)
        tools.move(full, fresh)
        return layout

    def replay(self, fresh: Path, options: Sequence[str], tools: offline.Tools) -> bool:
        """There is nothing to replay."""
        return False

    def copy(self, backup: Backup, target: Path) -> None:
        """Copy a backup without those inside it; StepError for what is no file and no directory. Raises OSError."""
        inside = chain.nested(backup.path)
        total, done = offline.size(backup.path, inside), 0
        self._log(f"copies {backup.name}: {mib(total)} MiB")
        for place, directories, names in os.walk(backup.path, onerror=_raise):
            here = Path(place)
            directories[:] = [name for name in directories if here / name not in inside]
            into = target / here.relative_to(backup.path)
            into.mkdir(mode=0o700)
            for path in (here / name for name in (*directories, *names)):
                if path.is_symlink() or not (path.is_dir() or path.is_file()):
                    raise offline.StepError(f"{path} is a link or a special file; allowed: files and directories")
            for name in names:
                for count in _copy_file(here / name, into / name):
                    done += count
                    self._tell(f"copies {backup.name}: {mib(done)} of {mib(total)} MiB")

    def _tell(self, text: str) -> None:
        if time.monotonic() - self._told >= offline.BEAT_SECONDS:
            self._told = time.monotonic()
            self._log(text)


def beside(fresh: Path) -> Path:
    """Where an increment is unpacked while it is applied to the data directory that is being made."""
    return fresh.with_name(f"{fresh.name}.increment")


def mib(count: int) -> int:
    """Bytes as MiB, rounded up."""
    return -(-count // 2**20)


def _copy_file(source: Path, target: Path) -> Iterator[int]:
    """Copy one file in chunks; yields the bytes of each. The copy is for this user only, and writable."""
    with source.open("rb", buffering=0) as reader:
        number = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "wb", buffering=0) as writer:
            while count := os.sendfile(writer.fileno(), reader.fileno(), None, _CHUNK):
                yield count


def _raise(error: OSError) -> None:
    raise error
