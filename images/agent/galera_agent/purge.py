# SPDX-License-Identifier: GPL-3.0-or-later
"""Wipe a volume whose data nobody wants any more: the purge Jobs, one a volume."""

from __future__ import annotations

import shutil
from pathlib import Path

from .datadir import locked_file


class InUseError(Exception):
    """A MariaDB server has the volume open."""


def purge(volume: Path) -> list[str]:
    """Delete everything in a volume but lost+found; returns the names of what was deleted, sorted.

    Raises InUseError when a server holds its data files, and OSError when something cannot be deleted.
    """
    if path := locked_file(volume / "data"):
        raise InUseError(f"{path} is locked by a running server: stop it first; nothing was deleted")
    entries = sorted(entry for entry in volume.iterdir() if entry.name != "lost+found")
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return [entry.name for entry in entries]
