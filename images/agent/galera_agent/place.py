# SPDX-License-Identifier: GPL-3.0-or-later
"""The place where a data directory is made of a backup: one at a time, with room for it, and on the disk at the end."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .chain import Refused
from .sources import mib

# Of the backup or of the moment's server; in a data directory they would tell of what is no more.
_NO_DATA = ("grastate.dat", "gvwstate.dat", "galera.cache", "backup-my.cnf", "xtrabackup_*", "mariadb_backup_*")
_NO_DATA_EITHER = ("donor_galera_info", "mariabackup_*", "ib_buffer_pool", "multi-master.info")


def strip(data: Path) -> None:
    """Remove from a prepared backup the files that are no data. Raises OSError."""
    for pattern in (*_NO_DATA, *_NO_DATA_EITHER):
        # A directory is a database of that name.
        for path in (one for one in data.glob(pattern) if not one.is_dir()):
            path.unlink()


def require_space(directory: Path, need: int) -> None:
    """Raise Refused unless so many bytes are free."""
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    if free < need:
        raise Refused(f"{directory} has too little space: at least {mib(need)} MiB needed, {mib(free)} MiB free")


def sync(path: Path) -> None:
    """Have the file system of a path on its disk, before a rename says that it is."""
    subprocess.run(["sync", "--file-system", str(path)], check=True)


@contextmanager
def locked(directory: Path, name: str = "") -> Iterator[None]:
    """Hold a lock for the time of a block: of the directory itself, or of a file in it.

    Raises Refused where another has it. A file system without locks has no say.
    """
    flags = os.O_RDWR | os.O_CREAT if name else os.O_RDONLY
    number = os.open(directory / name, flags, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        raise Refused(f"another restore is at work in {directory}") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EBADF, errno.EOPNOTSUPP):
            os.close(number)
            raise
    try:
        yield
    finally:
        os.close(number)
