# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups on a mounted volume: files, written beside their place and renamed."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from ..datadir import sync_directory
from .store import BACKUPS, BINLOGS, OWNER, PART, Entry, MissingError, StoreError, checked_key, checked_prefix

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER = 1 << 20
# So much is written before it is brought to disk
_SYNC_BYTES = 64 << 20
_WHY = {
    errno.ENOSPC: "it is full",
    errno.EDQUOT: "its quota is used up",
    errno.EROFS: "it is read-only",
    errno.EACCES: "permission is denied to uid {uid}",
    errno.EPERM: "permission is denied to uid {uid}",
    errno.ESTALE: "its NFS server does not know it any more (stale file handle)",
    errno.EIO: "its device reports an input/output error",
    errno.ETIMEDOUT: "its server does not answer",
    errno.EFBIG: "its file system does not take files of that size",
}
_PART = re.compile(rf"\.[0-9a-f]{{8}}{re.escape(PART)}$")
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
# What file systems and their servers keep in a volume's root
_NOT_OURS = ("lost+found", ".snapshot", ".snapshots", "@eaDir")


class VolumeStore:
    """A directory of a volume.

    A volume that is not mounted leaves an empty directory that could be filled unseen. So the first file, owner.json,
    is only made on a mount point (unless mount_required is False), and others only where owner.json is.
    """

    def __init__(self, root: Path, mount_required: bool = True) -> None:
        self._root = root
        self._mount_required = mount_required

    @property
    def label(self) -> str:
        """How messages name the target."""
        return f"volume {self._root}"

    def check(self) -> None:
        """Raise StoreError unless the directory is there, can be read, and is a mounted volume."""
        with self.translated("cannot be read"):
            names = os.listdir(self._root)
        if self._mount_required and OWNER not in names and not os.path.ismount(self._root):
            raise StoreError(
                f"{self.label} is no mount point and has no {OWNER}: the backup volume is not mounted there"
            )

    def writer(self, key: str, expected: int = 0) -> VolumeWriter:
        """Begin an object, in a file beside its place."""
        path = self._path(key)
        if key == OWNER:
            self.check()
        elif not self._is_owned(key):
            raise StoreError(
                f"{self.label} has no {OWNER}: it is not mounted, or was emptied; nothing is written to it"
            )
        return VolumeWriter(self, key, path)

    def _is_owned(self, key: str) -> bool:
        with self.translated(f"does not take {key}"), suppress(FileNotFoundError):
            os.stat(self._root / OWNER)
            return True
        return False

    def reader(self, key: str) -> BinaryIO:
        """Open an object."""
        with self.translated(f"does not give {key}"):
            return io.BufferedReader(_Raw(self, key, self._path(key).open("rb", buffering=0)), _BUFFER)

    def get(self, key: str) -> bytes:
        """Return an object."""
        with self.reader(key) as stream:
            return stream.read()

    def written(self, key: str) -> datetime:
        """When an object was last written."""
        with self.translated(f"does not show {key}"):
            return _modified(self._path(key))

    def put(self, key: str, data: bytes) -> None:
        """Write or replace an object."""
        with self.writer(key) as writer:
            writer.write(data)
            writer.commit()

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one."""
        with self.writer(key) as writer:
            writer.write(data)
            return writer.commit_new()

    def list(self, prefix: str) -> Iterator[Entry]:
        """All whole objects below prefix, sorted."""
        with self.translated("cannot be read"):
            yield from sorted(self._walk(self._directory(prefix)), key=lambda entry: entry.key)

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys of all whole objects below prefix."""
        with self.translated("cannot be read"):
            for parent, below, names in os.walk(self._directory(prefix), onerror=_raise):
                below[:] = sorted(name for name in below if name not in _NOT_OURS)
                directory = os.path.relpath(parent, self._root)
                stem = "" if directory == "." else f"{directory}/"
                yield from (f"{stem}{name}" for name in sorted(names) if not name.endswith(PART))

    def children(self, prefix: str) -> Iterator[str]:
        """Names directly below prefix; files that are being written and what the file system keeps are left out."""
        with self.translated("cannot be read"), suppress(FileNotFoundError):
            with os.scandir(self._directory(prefix)) as found:
                names = [f"{one.name}/" if one.is_dir(follow_symlinks=False) else one.name for one in found]
            yield from sorted(one for one in names if not one.endswith(PART) and one.rstrip("/") not in _NOT_OURS)

    def delete(self, key: str) -> None:
        """Remove an object, and the directories that are empty then."""
        path = self._path(key)
        with self.translated(f"cannot delete {key}"):
            with suppress(FileNotFoundError):
                path.unlink()
            self.remove_empty(path.parent)
            sync_directory(_existing(path.parent))

    def clean(self, older_than: timedelta, now: datetime) -> Sequence[str]:
        """Remove files of writers that ended without a word: last written longer ago, and locked by nobody."""
        removed = []
        with self.translated("cannot be cleaned"):
            for path in sorted(self._parts()):
                try:
                    if not (now - _modified(path) > older_than and _unused(path)):
                        continue
                except FileNotFoundError:
                    # Its writer has ended meanwhile.
                    continue
                path.unlink(missing_ok=True)
                self.remove_empty(path.parent)
                removed.append(path.relative_to(self._root).as_posix())
        return removed

    def _parts(self) -> Iterator[Path]:
        """The files of writers, and nothing else that ends as they do, as in a snapshot of the volume."""
        yield from (path for path in self._root.glob(f"{OWNER}.*") if _PART.search(path.name))
        for folder in (BACKUPS, BINLOGS):
            for parent, _, names in os.walk(self._root / folder, onerror=_raise):
                yield from (Path(parent, name) for name in names if _PART.search(name))

    def remove_empty(self, directory: Path) -> None:
        """Remove a directory below the root if it is empty, and those above it that are empty then."""
        while directory != self._root and _remove_directory(directory):
            directory = directory.parent

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)

    def _directory(self, prefix: str) -> Path:
        return self._root / checked_prefix(prefix)

    def _walk(self, directory: Path) -> Iterator[Entry]:
        for parent, below, names in os.walk(directory, onerror=_raise):
            below[:] = [name for name in below if name not in _NOT_OURS]
            for name in names:
                path = Path(parent, name)
                if not name.endswith(PART):
                    with suppress(FileNotFoundError):
                        yield Entry(path.relative_to(self._root).as_posix(), path.stat().st_size, _modified(path))

    @contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Turn errors of the file system into sentences: `volume /backups <what>: <why>`."""
        try:
            yield
        except FileNotFoundError as error:
            raise MissingError(f"{self.label} {what}: it is not there") from error
        except OSError as error:
            why = _WHY.get(error.errno or 0, error.strerror or str(error)).format(uid=os.geteuid())
            raise StoreError(f"{self.label} {what}: {why}") from error


class VolumeWriter:
    """A file `<key>.<random>.part`, which is locked while it is written, and renamed when it is whole and on disk."""

    def __init__(self, store: VolumeStore, key: str, path: Path) -> None:
        self._store, self._key, self._path, self._unsynced = store, key, path, 0
        self._part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART}")
        with self._translated():
            self._file = self._open()
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _open(self) -> io.FileIO:
        """Another writer or a clean-up may remove the directory as empty before there is a file in it."""
        for _ in range(10):
            _make_directories(self._path.parent)
            with suppress(FileNotFoundError):
                return self._part.open("xb", buffering=0)
        return self._part.open("xb", buffering=0)

    def __enter__(self) -> VolumeWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)
        self._store.remove_empty(self._path.parent)

    def write(self, data: bytes) -> int:
        """Write all the bytes."""
        left = memoryview(data)
        with self._translated():
            while left:
                left = left[self._file.write(left) :]
            self._unsynced += len(data)
            if self._unsynced >= _SYNC_BYTES:
                # Else commit() would do it all at once, while which nothing shows that the target takes anything
                os.fsync(self._file.fileno())
                self._unsynced = 0
        return len(data)

    def commit(self) -> None:
        """Bring the file to disk, give it its name, and bring that to disk."""
        with self._translated():
            self._flush()
            new = not self._path.exists()
            self._part.replace(self._path)
            try:
                sync_directory(self._path.parent)
            except OSError:
                # It may not last
                if new:
                    with suppress(OSError):
                        self._path.unlink()
                raise

    def commit_new(self) -> bool:
        """As commit(), unless there is a file of that name already: False."""
        with self._translated():
            self._flush()
            try:
                os.link(self._part, self._path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                # No hard links: reserve the name, which only one can, then put the whole file there
                try:
                    self._path.open("xb").close()
                except FileExistsError:
                    return False
                self._part.replace(self._path)
            sync_directory(self._path.parent)
        return True

    def _flush(self) -> None:
        os.fsync(self._file.fileno())
        # NFS reports a full disk at close
        self._file.close()

    def _translated(self) -> AbstractContextManager[None]:
        return self._store.translated(f"does not take {self._key}")


class _Raw(io.RawIOBase):
    """A file whose errors are StoreError."""

    def __init__(self, store: VolumeStore, key: str, file: io.FileIO) -> None:
        super().__init__()
        self._store, self._key, self._file = store, key, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        with self._store.translated(f"does not give {self._key}"):
            return self._file.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _make_directories(path: Path) -> None:
    """Make a directory and those above it, each known to the disk."""
    if not path.is_dir():
        _make_directories(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def _remove_directory(path: Path) -> bool:
    try:
        path.rmdir()
    except OSError:
        return False
    return True


def _existing(path: Path) -> Path:
    return path if path.is_dir() else _existing(path.parent)


def _modified(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _unused(path: Path) -> bool:
    """Whether no writer holds the file; where it cannot be locked only its age counts. Raises FileNotFoundError."""
    try:
        # NFS locks for one alone only what may be written.
        with path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        raise
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
