# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the data that a restore replaces: beside their place on the volume, until they are released.

`data` becomes `data.before-<id>` by one rename, so that a killed run has done it or not. The id is that of the restore.
The way back makes it `data` again, and keeps the restored data as `data.undone-<id>`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .datadir import inspect, locked_file, sync_directory
from .purge import InUseError
from .sources import mib

BEFORE = "data.before-"
UNDONE = "data.undone-"
RELEASED = "released."


class NoRoomError(Exception):
    """The volume cannot hold the old and the new data."""


class TwiceError(Exception):
    """This restore has set data aside already, and others have come in their place."""


def set_aside(volume: Path, identity: str, *, check: bool) -> str:
    """Move the data directory aside; returns the sentence that says what was done.

    check: only look whether it could be done, also while a server uses the data. As much room must be free then as the
    old data take: the new ones are taken to be as large. A rename needs none, and is refused for none: the nodes are
    stopped by then, and other volumes may be done. Raises InUseError, NoRoomError or TwiceError before anything is
    changed, and OSError.
    """
    data, kept = volume / "data", volume / f"{BEFORE}{identity}"
    if kept.exists() and data.exists() and inspect(data) == "empty":
        # A node was started meanwhile, found nothing and waited
        if not check:
            shutil.rmtree(data)
    elif kept.exists() and data.exists():
        # Which of them the cluster is to go back to is not known, and the present ones must not pass for restored ones
        raise TwiceError(
            f"the volume holds {kept.name}, which this restore has set aside, and data that came after it: to set "
            "those aside as well, restore with another galera_restore_id; nothing was changed on this volume"
        )
    if kept.exists():
        return f"the data were set aside already, as {kept.name}"
    if not data.exists():
        return "there are no data to set aside"
    needed = size_of(data)
    if check:
        place = os.statvfs(volume)
        free = place.f_bavail * place.f_frsize
        if free < needed:
            raise NoRoomError(
                f"the volume has {mib(free)} MiB free, and the old data of {mib(needed)} MiB are to stay beside the "
                "new ones: make it larger; nothing was changed"
            )
        return f"{mib(needed)} MiB can be set aside, {mib(free)} MiB are free"
    _move(data, kept)
    return f"set {mib(needed)} MiB aside as {kept.name}"


def undo(volume: Path, identity: str, *, check: bool) -> str:
    """Bring back what a restore set aside, and keep the restored data; returns the sentence that says what was done.

    A volume on which the restore set nothing aside, as that of a node that is newer, is left without data: the restored
    ones are another cluster's by then. check: only look what there is, also while a server uses the data. Raises
    InUseError before anything is changed, and OSError.
    """
    data, kept = volume / "data", volume / f"{BEFORE}{identity}"
    if check:
        return f"{kept.name} can be brought back" if kept.exists() else f"there is no {kept.name} here"
    if not kept.exists() and any(volume.glob(f"{UNDONE}{identity}*")):
        return "the volume is as before the restore already"
    said = []
    if data.exists():
        undone = _unused(volume / f"{UNDONE}{identity}")
        _move(data, undone)
        said = [f"kept the restored data as {undone.name}"]
    if kept.exists():
        if not said:
            # Where no restored data have come, this tells the next run that what it finds as data are the old ones
            (volume / f"{UNDONE}{identity}").mkdir(exist_ok=True)
            sync_directory(volume)
        _move(kept, data)
        said = [f"brought {kept.name} back", *said]
    return ", ".join(said) or f"there is no {kept.name} here, and no data"


def release(volume: Path) -> str:
    """Delete everything that was set aside; returns the sentence that says what. Raises OSError.

    What is half deleted has another name, so that undo() takes it for nothing that could be brought back.
    """
    paths = [path for prefix in (BEFORE, UNDONE) for path in sorted(volume.glob(f"{prefix}*"))]
    for path in (path for path in paths if path.is_dir() and not path.is_symlink()):
        path.rename(volume / f"{RELEASED}{path.name}")
    sync_directory(volume)
    found = sorted(volume.glob(f"{RELEASED}*"))
    for path in found:
        shutil.rmtree(path)
    names = ", ".join(path.name.removeprefix(RELEASED) for path in found)
    return f"deleted {names}" if found else "nothing was set aside"


def _move(directory: Path, there: Path) -> None:
    """Rename a directory that no server uses, for good. Raises InUseError."""
    if path := locked_file(directory):
        raise InUseError(f"{path} is locked by a running server: stop it first; nothing was changed")
    directory.rename(there)
    sync_directory(there.parent)


def _unused(path: Path) -> Path:
    """The path, or the first of `<path>-2`, `<path>-3` and so on that does not exist."""
    number, found = 1, path
    while found.exists():
        number, found = number + 1, path.with_name(f"{path.name}-{number + 1}")
    return found


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
