# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a backup: what it is, what it hangs on, and the checksums of its objects. docs/backup_format.md."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal, cast

from .document import Document, canonical, objects, optional, parse, text, texts, time, to_time, whole
from .store import BACKUPS, MANIFEST, VERIFICATION

FORMAT = 1
Kind = Literal["full", "incremental"]

_NAME = re.compile(r"(\d{8}T\d{6}Z)-(full|incremental)")
_STAMP = "%Y%m%dT%H%M%SZ"
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SHA256 = r"[0-9a-f]{64}"
_BASE = r"[0-9a-f]{32}"
# The zero time stands for one that cannot be read; the document is refused then.
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class ManifestError(ValueError):
    """The document is not a manifest that this version understands; the text names the field."""


@dataclass(frozen=True)
class StoredObject:
    """One object of a backup: key, size in bytes, SHA-256 of what is stored (after compression and encryption)."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True)
class BinlogPosition:
    """Where in the node's own binary log the backup stands: file name and byte position."""

    file: str
    position: int


@dataclass(frozen=True)
class Manifest:
    """One complete backup.

    parent, parent_digest: name and manifest digest of the backup that an increment hangs on, None for a full one.
    uuid, seqno: the Galera position. gtid: gtid_binlog_pos, empty where the server has none. lsn_from, lsn_to: it holds
    every page changed in between; 0 for a full one. base: identity of the LSN history, see base.py. node: the pod that
    made it. started, finished: UTC. objects: in the order of the stream. data_bytes: before compression.
    """

    name: str
    kind: Kind
    parent: str | None
    parent_digest: str | None
    cluster: str
    namespace: str
    uuid: str
    seqno: int
    gtid: str
    lsn_from: int
    lsn_to: int
    base: str
    server_version: str
    tool_version: str
    node: str
    started: datetime
    finished: datetime
    compression: Literal["zstd"]
    encryption: Literal["age"] | None
    recipients: tuple[str, ...]
    objects: tuple[StoredObject, ...]
    data_bytes: int
    binlog: BinlogPosition | None

    @property
    def key(self) -> str:
        """Where the manifest itself lies."""
        return manifest_key(self.name)

    @property
    def size(self) -> int:
        """Bytes of all objects together."""
        return sum(one.size for one in self.objects)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the manifest's canonical form, in hex: its identity, by which increments name their parent."""
        return hashlib.sha256(canonical(self._document())).hexdigest()

    def to_json(self) -> bytes:
        """The file's contents, with the digest as last field."""
        document = {**self._document(), "digest": self.digest}
        return json.dumps(document, indent=1).encode() + b"\n"

    def _document(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["started"], values["finished"] = to_time(self.started), to_time(self.finished)
        values["recipients"] = list(self.recipients)
        values["objects"] = [vars(one) for one in self.objects]
        values["binlog"] = vars(self.binlog) if self.binlog else None
        return {"format": FORMAT, **values}

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Read the file. Raises ManifestError with everything that is wrong, also where the digest does not fit."""
        document, problems = _open(data)
        manifest = cls(
            name=document.take("name", text(_NAME.pattern), "a name such as 20261121T132300Z-full", ""),
            kind=cast(Kind, document.take("kind", text("full|incremental"), "full, incremental", "full")),
            parent=document.take("parent", optional(text(_NAME.pattern)), "null or the name of a backup", None),
            parent_digest=document.take("parent_digest", optional(text(_SHA256)), "null or a SHA-256", None),
            cluster=document.take("cluster", text(), "a name", ""),
            namespace=document.take("namespace", text(), "a name", ""),
            uuid=document.take("uuid", text(_UUID), "a uuid", ""),
            seqno=document.take("seqno", whole(0), "a whole number from 0", 0),
            gtid=document.take("gtid", text(r"[0-9,-]*"), "a list of GTIDs, may be empty", ""),
            lsn_from=document.take("lsn_from", whole(0), "a whole number from 0", 0),
            lsn_to=document.take("lsn_to", whole(1), "a whole number from 1", 1),
            base=document.take("base", text(_BASE), "32 hexadecimal digits", ""),
            server_version=document.take("server_version", text(), "a version", ""),
            tool_version=document.take("tool_version", text(), "a version", ""),
            node=document.take("node", text(), "the name of a pod", ""),
            started=document.take("started", time, "a time such as 2026-11-21T13:23:00Z", _NO_TIME),
            finished=document.take("finished", time, "a time such as 2026-11-21T13:23:00Z", _NO_TIME),
            compression=cast(Literal["zstd"], document.take("compression", text("zstd"), "zstd", "zstd")),
            encryption=cast(
                Literal["age"] | None, document.take("encryption", optional(text("age")), "null, age", None)
            ),
            recipients=document.take("recipients", texts("age1[a-z0-9]+"), "a list of age recipients", ()),
            objects=_objects(problems, document.take("objects", objects, "a list of objects", [])),
            data_bytes=document.take("data_bytes", whole(0), "a whole number from 0", 0),
            binlog=_binlog(document.optional_part("binlog")),
        )
        digest = document.take("digest", text(_SHA256), "a SHA-256", "")
        document.end()
        problems += [] if problems else manifest.contradictions()
        if not problems and digest != manifest.digest:
            problems.append(f"digest is {digest}, and that of the contents is {manifest.digest}")
        if problems:
            raise ManifestError("; ".join(problems))
        return manifest

    def contradictions(self) -> list[str]:
        """Fields that are right alone and wrong together; the writer of a manifest asks as well."""
        directory, full, found = f"{BACKUPS}{self.name}/", self.kind == "full", []
        named = _NAME.fullmatch(self.name)
        if not named or named.group(2) != self.kind:
            found.append(f"name is {self.name} and kind is {self.kind}")
        if full != (self.parent is None) or full != (self.parent_digest is None):
            found.append(f"kind is {self.kind}, parent {self.parent} and parent_digest {self.parent_digest}")
        if self.parent is not None and self.parent >= self.name:
            found.append(f"parent is {self.parent}, which is not older")
        if full != (self.lsn_from == 0) or self.lsn_to < self.lsn_from:
            found.append(f"kind is {self.kind}, lsn_from {self.lsn_from} and lsn_to {self.lsn_to}")
        if (self.encryption == "age") != bool(self.recipients):
            found.append(f"encryption is {self.encryption} and there are {len(self.recipients)} recipients")
        if self.finished < self.started:
            found.append(f"finished is {to_time(self.finished)}, before started {to_time(self.started)}")
        if not self.objects or len({one.key for one in self.objects}) != len(self.objects):
            found.append("objects is empty or names one twice")
        reserved = (self.key, verification_key(self.name))
        wrong = [one.key for one in self.objects if not one.key.startswith(directory) or one.key in reserved]
        return found + [f"objects has {key}, which is not below {directory}" for key in wrong]


@dataclass(frozen=True)
class Verification:
    """What became of a backup's last trial restore. digest: of the manifest that was restored."""

    name: str
    digest: str
    state: Literal["passed", "failed"]
    started: datetime
    finished: datetime
    server_version: str
    message: str
    tables: int
    rows: int

    def to_json(self) -> bytes:
        """The contents of verification.json."""
        times = {"started": to_time(self.started), "finished": to_time(self.finished)}
        return json.dumps({"format": FORMAT, **vars(self), **times}, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Verification:
        """Read verification.json. Raises ManifestError."""
        document, problems = _open(data)
        found = cls(
            name=document.take("name", text(_NAME.pattern), "a name such as 20261121T132300Z-full", ""),
            digest=document.take("digest", text(_SHA256), "a SHA-256", ""),
            state=cast(
                Literal["passed", "failed"],
                document.take("state", text("passed|failed"), "passed, failed", "failed"),
            ),
            started=document.take("started", time, "a time such as 2026-11-21T13:23:00Z", _NO_TIME),
            finished=document.take("finished", time, "a time such as 2026-11-21T13:23:00Z", _NO_TIME),
            server_version=document.take("server_version", text("(?s).*"), "a text", ""),
            message=document.take("message", text("(?s).*"), "a text", ""),
            tables=document.take("tables", whole(0), "a whole number from 0", 0),
            rows=document.take("rows", whole(0), "a whole number from 0", 0),
        )
        document.end()
        if problems:
            raise ManifestError("; ".join(problems))
        return found


def backup_name(started: datetime, kind: Kind) -> str:
    """The name of a backup begun at an aware moment."""
    return f"{started.astimezone(UTC).strftime(_STAMP)}-{kind}"


def parse_name(name: str) -> tuple[datetime, Kind] | None:
    """When the backup of that name was begun, and its kind; None where it is no backup's name."""
    found = _NAME.fullmatch(name)
    if not found:
        return None
    try:
        return datetime.strptime(found.group(1), _STAMP).replace(tzinfo=UTC), cast(Kind, found.group(2))
    except ValueError:
        return None


def object_key(name: str, file: str) -> str:
    """The key of one of a backup's objects."""
    return f"{BACKUPS}{name}/{file}"


def manifest_key(name: str) -> str:
    """The key of a backup's manifest, which is written last."""
    return object_key(name, MANIFEST)


def verification_key(name: str) -> str:
    """The key of the result of a backup's last verification."""
    return object_key(name, VERIFICATION)


def _open(data: bytes) -> tuple[Document, list[str]]:
    """The document and its list of problems. Raises ManifestError where it is no object of this format."""
    try:
        value = parse(data)
    except ValueError as error:
        raise ManifestError(str(error)) from None
    found = value.get("format") if isinstance(value, dict) else None
    if type(found) is not int or found != FORMAT:
        raise ManifestError(f"format is {json.dumps(found)}; allowed: {FORMAT}")
    problems: list[str] = []
    document = Document(value, problems)
    document.take("format", whole(FORMAT, FORMAT), str(FORMAT), FORMAT)
    return document, problems


def _objects(problems: list[str], values: Iterable[object]) -> tuple[StoredObject, ...]:
    found = []
    for number, value in enumerate(values):
        part = Document(value, problems, f"objects[{number}].")
        found.append(
            StoredObject(
                key=part.take("key", text(), "a key", ""),
                size=part.take("size", whole(1), "a whole number from 1", 1),
                sha256=part.take("sha256", text(_SHA256), "a SHA-256", ""),
            )
        )
        part.end()
    return tuple(found)


def _binlog(part: Document | None) -> BinlogPosition | None:
    if part is None:
        return None
    found = BinlogPosition(
        file=part.take("file", text(), "the name of a file", ""),
        position=part.take("position", whole(0), "a whole number from 0", 0),
    )
    part.end()
    return found
