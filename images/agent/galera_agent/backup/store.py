# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup target is: objects with a key, that are there whole or not at all.

Keys are relative POSIX paths such as `backups/20261121T132300Z-full/manifest.json`. The layout is described in
docs/backup_format.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from .settings import Settings

OWNER = "owner.json"
BACKUPS = "backups/"
BINLOGS = "binlogs/"
MANIFEST = "manifest.json"
VERIFICATION = "verification.json"
FORK = "fork.json"
PART = ".part"

_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=+-]*")


class StoreError(Exception):
    """The target did not do what it was asked; the text is one sentence that names target, object and remedy."""


class MissingError(StoreError):
    """The object is not there."""


class SilentError(StoreError):
    """The target does not answer: neither that it does what it was asked, nor that it does not."""


class LockedError(StoreError):
    """The object is under object lock, and so was kept."""


@dataclass(frozen=True)
class Entry:
    """One object: its key, its size in bytes, when it was last written (UTC)."""

    key: str
    size: int
    modified: datetime


class Writer(AbstractContextManager["Writer"], Protocol):
    """An object being written. Leaving the context without commit() leaves nothing that looks whole."""

    def write(self, data: bytes) -> int:
        """Take some bytes, all of them; returns their number. Raises StoreError."""

    def commit(self) -> None:
        """Make the object appear under its key, whole and durable. Raises StoreError; then it is not there."""


class Store(Protocol):
    """A backup target. Every method raises StoreError; those that name a key raise ValueError for a bad one.

    One store may be used by several threads, a Writer or a reader by one at a time.
    """

    @property
    def label(self) -> str:
        """How messages name the target: `volume /backups`, `s3://bucket/prefix`."""

    def check(self) -> None:
        """Raise StoreError unless the target is there and can be read. Changes nothing."""

    def writer(self, key: str, expected: int = 0) -> Writer:
        """Begin an object of unknown length; one that is there is replaced by commit().

        expected: how many bytes it will have at most, as far as can be told; 0 where that is not known.
        """

    def reader(self, key: str) -> BinaryIO:
        """Open an object to read it from its beginning; the caller checks size and SHA-256, and closes it.

        Raises MissingError. An interruption raises StoreError from read(), never a short read that looks like the end.
        """

    def get(self, key: str) -> bytes:
        """Return a small object. Raises MissingError."""

    def written(self, key: str) -> datetime:
        """When an object was last written, by the clock of the target. Raises MissingError."""

    def put(self, key: str, data: bytes) -> None:
        """Write a small object; one that is there is replaced."""

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one: False where there is, and nothing was changed."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """All objects whose key begins with prefix (empty, or ending in `/`), sorted by key; none that is not whole."""

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys of list(prefix), without a look at each object, directory by directory, sorted in each."""

    def children(self, prefix: str) -> Iterator[str]:
        """Names directly below prefix, sorted: objects as they are, what holds further objects with a `/` behind."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error. Raises LockedError where the target keeps it."""

    def clean(self, older_than: timedelta, now: datetime) -> Sequence[str]:
        """Remove what unfinished writers left behind longer ago than that and nobody uses; returns their keys."""


def open_stores(settings: Settings) -> list[Store]:
    """The targets of the settings, the volume first. Reaches for none of them. Raises StoreError.

    Opening S3 imports boto3 (some 30 MiB): child processes only.
    """
    stores: list[Store] = []
    if settings.volume is not None:
        from .volume_store import VolumeStore

        stores.append(VolumeStore(settings.volume))
    if settings.s3 is not None:
        from .s3_store import open_s3

        stores.append(open_s3(settings.s3))
    return stores


def checked_key(key: str) -> str:
    """Return the key. Raises ValueError unless it is a relative path of plain names that nothing else reserves."""
    parts = key.split("/")
    if not all(_COMPONENT.fullmatch(part) for part in parts) or key.endswith(PART):
        raise ValueError(f"'{key}' is no key; allowed: names of A-Z a-z 0-9 . _ : = + - with / between them")
    return key


def is_key(name: str) -> bool:
    """Whether a name that was found in a target may be a key; what other programs leave there often is none."""
    try:
        checked_key(name)
    except ValueError:
        return False
    return True


def checked_prefix(prefix: str) -> str:
    """Return the prefix. Raises ValueError unless it is empty or a key with a `/` behind."""
    if prefix:
        if not prefix.endswith("/"):
            raise ValueError(f"'{prefix}' is no prefix; allowed: empty, or a path that ends in /")
        checked_key(prefix[:-1])
    return prefix
