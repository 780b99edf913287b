# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups as streams for tests, and programs that read them in the simplest way."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from galera_agent.backup.manifest import Manifest, StoredObject, object_key
from galera_agent.backup.volume_store import VolumeStore

VERSION = "mariadb-backup based on MariaDB server 11.8.6-MariaDB debian-linux-gnu (x86_64)\n"
RECIPIENT = "age1" + "q" * 58
# Simplest forms: no compression, a stream is a tar, and who has the right key file can read
PROGRAMS = {
    "zstd": "exec cat",
    "mbstream": 'exec tar -x -C "${2#--directory=}"',
    "age": 'read -r key <"$3"; [ "$key" = right ] || { echo "no identity matched" >&2; exit 1; }; exec cat',
    "age-keygen": f'read -r key <"$2"; [ "$key" = right ] && echo {RECIPIENT} || echo age1other',
}


def content(what: str, files: Mapping[str, str] | None = None) -> bytes:
    """A stream: a tar of a data directory's files; files: more of them, with their contents."""
    buffer = io.BytesIO()
    usual = {"what": what, "ibdata1": what * 500, "binlog.000003": "old"}
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in {**usual, **(files or {})}.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
        info = tarfile.TarInfo("mysql")
        info.type, info.mode = tarfile.DIRTYPE, 0o700
        tar.addfile(info)
    return buffer.getvalue()


def put(store: VolumeStore, manifest: Manifest, data: bytes, *, encrypted: bool = True) -> Manifest:
    """Write a backup of a stream."""
    key = object_key(manifest.name, "backup.xb.zst" + (".age" if encrypted else ""))
    whole = replace(
        manifest,
        encryption="age" if encrypted else None,
        recipients=(RECIPIENT,) if encrypted else (),
        binlog=replace(manifest.binlog, file="binlog.000003") if manifest.binlog else None,
        objects=(StoredObject(key, len(data), hashlib.sha256(data).hexdigest()),),
    )
    with store.writer(key) as writer:
        writer.write(data)
        writer.commit()
    store.put(whole.key, whole.to_json())
    return whole


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the programs into a folder, and that before all others."""
    folder.mkdir()
    for name, script in PROGRAMS.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
