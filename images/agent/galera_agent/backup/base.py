# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups were taken from this very data directory, so that an increment on them is right.

LSNs are a node's own: the same number means other pages on another node. An increment is right only if the data
directory is the one that its parent was taken from, or has grown out of it page by page. So the data directory itself
remembers the backups taken from it, in galera_agent_base.json:

- a state transfer by mariadb-backup removes the file (wsrep_sst_mariabackup wipes every name that it does not know, and
  mariadb-backup copies no such file), and with it the memory;
- a new data directory begins without one;
- a data directory set back to an older snapshot of its volume remembers only what was taken before that snapshot;
- should anything else replace the data and leave the file, the inode of ibdata1 tells, as does the pod's name.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from .document import Document, parse, text, texts, whole

FILE = "galera_agent_base.json"
FORMAT = 1
# Older ones are of no use as a parent: chains are shorter
_REMEMBERED = 2000


@dataclass(frozen=True)
class Base:
    """id: 32 random hexadecimal digits, from when the memory began. inode: of ibdata1. backups: names, oldest first."""

    id: str
    node: str
    inode: int
    backups: tuple[str, ...]


def load(datadir: Path, node: str) -> Base | None:
    """Read what a data directory remembers; None where it remembers nothing, or the memory is of other data.

    Raises OSError where the data directory cannot be read, or holds no data (ibdata1).
    """
    inode = (datadir / "ibdata1").stat().st_ino
    try:
        content = (datadir / FILE).read_bytes()
    except FileNotFoundError:
        return None
    base = _parse(content)
    return base if base is not None and base.node == node and base.inode == inode else None


def open_base(datadir: Path, node: str) -> Base:
    """Read what a data directory remembers, and let a new memory begin where there is none. Raises OSError."""
    base = load(datadir, node)
    if base is None:
        base = Base(secrets.token_hex(16), node, (datadir / "ibdata1").stat().st_ino, ())
        _write(datadir, base)
    return base


def remember(datadir: Path, base: Base, name: str) -> Base:
    """Add a backup that was begun with this base and is complete.

    Raises OSError; ValueError where the data directory changed meanwhile: then the backup is nobody's parent.
    """
    now = load(datadir, base.node)
    if now is None or now.id != base.id:
        raise ValueError(f"the data directory was replaced while {name} was taken; it is no parent of increments")
    grown = replace(now, backups=(*now.backups, name)[-_REMEMBERED:])
    _write(datadir, grown)
    return grown


def _parse(content: bytes) -> Base | None:
    """A torn or strange file is no memory: the next backup is a full one."""
    problems: list[str] = []
    try:
        document = Document(parse(content), problems)
    except ValueError:
        return None
    document.take("format", whole(FORMAT, FORMAT), "", FORMAT)
    base = Base(
        id=document.take("id", text("[0-9a-f]{32}"), "", ""),
        node=document.take("node", text(), "", ""),
        inode=document.take("inode", whole(0), "", 0),
        backups=document.take("backups", texts(".+"), "", ()),
    )
    document.end()
    return None if problems else base


def _write(datadir: Path, base: Base) -> None:
    path, fresh = datadir / FILE, datadir / f"{FILE}.new"
    try:
        with fresh.open("w", encoding="ascii") as file:
            json.dump({"format": FORMAT, **vars(base)}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise
