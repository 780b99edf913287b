# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the data that a restore replaces: beside their place on the volume, until they are released.

`data` becomes `data.before-<id>` by one rename, so that a killed run has done it or not. The id is that of the restore.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .datadir import locked_file
from .purge import InUseError
from .sources import mib

PREFIX = "data.before-"


class NoRoomError(Exception):
    """The volume cannot hold the old and the new data."""


def set_aside(volume: Path, identity: str, *, check: bool) -> str:
    """Move the data directory aside; returns the sentence that says what was done.

    check: only look whether it could be done, also while a server uses the data. As much room must be free as the old
    data take: the new ones are taken to be as large. Raises InUseError or NoRoomError before anything is changed, and
    OSError.
    """
    data, kept = volume / "data", volume / f"{PREFIX}{identity}"
    if kept.exists():
        return f"the data were set aside already, as {kept.name}"
    if not data.exists():
        return "there are no data to set aside"
    needed, place = size_of(data), os.statvfs(volume)
    free = place.f_bavail * place.f_frsize
    if free < needed:
        raise NoRoomError(
            f"the volume has {mib(free)} MiB free, and the old data of {mib(needed)} MiB are to stay beside the new "
            "ones: make it larger; nothing was changed"
        )
    if check:
        return f"{mib(needed)} MiB can be set aside, {mib(free)} MiB are free"
    if path := locked_file(data):
        raise InUseError(f"{path} is locked by a running server: stop it first; nothing was changed")
    data.rename(kept)
    return f"set {mib(needed)} MiB aside as {kept.name}"


def release(volume: Path) -> str:
    """Delete everything that was set aside; returns the sentence that says what. Raises OSError."""
    found = sorted(path for path in volume.glob(f"{PREFIX}*") if path.is_dir() and not path.is_symlink())
    for path in found:
        shutil.rmtree(path)
    return f"deleted {', '.join(path.name for path in found)}" if found else "nothing was set aside"


def size_of(directory: Path) -> int:
    """Bytes that the files below a directory take on the disk; files that go meanwhile count for nothing."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += (Path(folder) / name).lstat().st_blocks * 512
            except FileNotFoundError:
                continue
    return total
