# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory says about backups: backup.json of the ConfigMap `<cluster>-galera-backup`, checked as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ..settings import SettingsError
from . import cron
from .cron import Cron
from .document import Document, boolean, optional, parse, text, texts, whole

FORMAT = 1
FILE = Path("/etc/galera/backup/backup.json")
# Secret with access-key-id, secret-access-key (S3) and age-identity (restore, verification); each file may be missing
SECRETS = Path("/etc/galera/backup-secret")

_DAY = 86400
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_ENDPOINT = r"https?://[^/\s?#@]+/?"
_CRON = "a cron expression of five fields in UTC, such as 0 1 * * *"
_ANY_CRON = cron.parse("0 0 * * *")


@dataclass(frozen=True)
class ObjectLock:
    """S3 object lock: each object is kept for so many days, against everybody (COMPLIANCE) or most (GOVERNANCE)."""

    mode: Literal["GOVERNANCE", "COMPLIANCE"]
    days: int


@dataclass(frozen=True)
class S3Settings:
    """A place in S3. prefix without slashes around it, may be empty. endpoint and region None: those of AWS and of the
    environment. ca: file with the certificates to trust. sse: server-side encryption, kms_key only with aws:kms."""

    bucket: str
    prefix: str
    endpoint: str | None
    region: str | None
    ca: Path | None
    path_style: bool
    sse: Literal["AES256", "aws:kms"] | None
    kms_key: str | None
    object_lock: ObjectLock | None


@dataclass(frozen=True)
class Thinning:
    """Keep all of so many days, then one of every two days until that age, then one of every seven until that age."""

    all_days: int
    alternate_until_days: int
    weekly_until_days: int


@dataclass(frozen=True)
class Retention:
    """A backup is kept that any of these keeps; all None: nothing expires. keep_last counts full backups."""

    days: int | None
    keep_last: int | None
    thinning: Thinning | None


KEEP_ALL = Retention(None, None, None)


@dataclass(frozen=True)
class Settings:
    """All of backup.json. At least one of volume and s3 is there. binlog_interval_seconds, incremental_interval_seconds
    and verify_schedule None: not done. recipients empty: not encrypted. bandwidth_bytes: a second, None unlimited.
    rejoin_from_backup: whether a node fills an empty volume from a backup."""

    cluster: str
    namespace: str
    size: int
    volume: Path | None
    s3: S3Settings | None
    schedule: Cron
    incremental_interval_seconds: int | None
    max_chain: int
    deadline_seconds: int
    retention: Retention
    binlog_interval_seconds: int | None
    verify_schedule: Cron | None
    recipients: tuple[str, ...]
    zstd_level: int
    bandwidth_bytes: int | None
    rejoin_from_backup: bool


def load(path: Path = FILE) -> Settings:
    """Read and check a file. Raises SettingsError with one line for each problem, also where it cannot be read."""
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is no JSON: it is not in UTF-8") from None


def size_in(path: Path = FILE) -> int:
    """How many nodes the settings count, 0 where there are none that can be read."""
    try:
        return load(path).size
    except SettingsError:
        return 0


def from_json(content: str) -> Settings:
    """Read and check the document. Raises SettingsError with one line for each problem."""
    try:
        value = parse(content)
    except ValueError as error:
        raise SettingsError(f"{FILE.name} is not usable: {error}") from None
    problems: list[str] = []
    document = Document(value, problems)
    document.take("format", whole(FORMAT, FORMAT), f"{FORMAT}, what this agent understands", FORMAT)
    settings = Settings(
        cluster=document.take("cluster", text(_LABEL), "a DNS label", ""),
        namespace=document.take("namespace", text(_LABEL), "a DNS label", ""),
        size=document.take("size", whole(1, 99), "a whole number from 1 to 99", 0),
        volume=document.take("volume", optional(_path), "an absolute path or null", None),
        s3=_s3(document.optional_part("s3")),
        schedule=document.take("schedule", _cron, _CRON, _ANY_CRON),
        incremental_interval_seconds=document.take(
            "incremental_interval_seconds", optional(whole(60, 30 * _DAY)), "seconds from 60 to 2592000, or null", None
        ),
        max_chain=document.take("max_chain", whole(1, 1000), "a whole number from 1 to 1000", 1),
        deadline_seconds=document.take("deadline_seconds", whole(60, 7 * _DAY), "seconds from 60 to 604800", 60),
        retention=_retention(document.part("retention")),
        binlog_interval_seconds=document.take(
            "binlog_interval_seconds", optional(whole(1, 3600)), "seconds from 1 to 3600, or null", None
        ),
        verify_schedule=document.take("verify_schedule", optional(_cron), f"null or {_CRON}", None),
        recipients=document.take("recipients", texts("age1[a-z0-9]{58}"), "a list of age recipients, age1...", ()),
        zstd_level=document.take("zstd_level", whole(1, 19), "a whole number from 1 to 19", 1),
        bandwidth_bytes=document.take(
            "bandwidth_bytes", optional(whole(65536)), "bytes a second, from 65536, or null", None
        ),
        rejoin_from_backup=document.take_optional("rejoin_from_backup", boolean, "true, false", False),
    )
    document.end()
    if settings.volume is None and settings.s3 is None and not problems:
        problems.append("volume and s3 are null; allowed: at least one of them as the target of backups")
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def _s3(part: Document | None) -> S3Settings | None:
    if part is None:
        return None
    modes = "null, AES256, aws:kms"
    found = S3Settings(
        bucket=part.take("bucket", text(_BUCKET), "3 to 63 of a-z 0-9 . -, as S3 names its buckets", ""),
        prefix=part.take("prefix", _prefix, "names of A-Z a-z 0-9 . _ - with / between them, or empty", "").strip("/"),
        endpoint=part.take(
            "endpoint", optional(text(_ENDPOINT)), "https://host[:port], http://host[:port] or null", None
        ),
        region=part.take("region", optional(text("[a-z0-9-]+")), "the name of a region or null", None),
        ca=part.take("ca", optional(_path), "an absolute path or null", None),
        path_style=part.take("path_style", boolean, "true, false", True),
        sse=cast(Literal["AES256", "aws:kms"] | None, part.take("sse", optional(text("AES256|aws:kms")), modes, None)),
        kms_key=part.take("kms_key", optional(text(r"\S+")), "the id of a key (with sse aws:kms only) or null", None),
        object_lock=_object_lock(part.optional_part("object_lock")),
    )
    if found.kms_key is not None and found.sse != "aws:kms":
        part.problem("kms_key", found.kms_key, "null, where sse is not aws:kms")
    part.end()
    return found


def _object_lock(part: Document | None) -> ObjectLock | None:
    if part is None:
        return None
    mode = part.take("mode", text("GOVERNANCE|COMPLIANCE"), "GOVERNANCE, COMPLIANCE", "GOVERNANCE")
    days = part.take("days", whole(1, 36500), "a whole number from 1 to 36500", 1)
    part.end()
    return ObjectLock(cast(Literal["GOVERNANCE", "COMPLIANCE"], mode), days)


def _retention(part: Document) -> Retention:
    days = part.take("days", optional(whole(1, 36500)), "a whole number from 1 to 36500, or null", None)
    keep_last = part.take("keep_last", optional(whole(1, 10000)), "a whole number from 1 to 10000, or null", None)
    rule = part.optional_part("rule")
    part.end()
    return Retention(days, keep_last, None if rule is None else _thinning(rule))


def _thinning(part: Document) -> Thinning:
    allowed = "a whole number of days from 1 to 36500"
    days = whole(1, 36500)
    found = Thinning(
        all_days=part.take("all_days", days, allowed, 1),
        alternate_until_days=part.take("alternate_until_days", days, allowed, 36500),
        weekly_until_days=part.take("weekly_until_days", days, allowed, 36500),
    )
    if found.alternate_until_days < found.all_days:
        part.problem("alternate_until_days", found.alternate_until_days, f"at least all_days, {found.all_days}")
    if found.weekly_until_days < found.alternate_until_days:
        allowed = f"at least alternate_until_days, {found.alternate_until_days}"
        part.problem("weekly_until_days", found.weekly_until_days, allowed)
    part.end()
    return found


def _cron(value: Any) -> Cron:
    return cron.parse(text()(value))


def _path(value: Any) -> Path:
    return Path(text(r"/[^\0]*")(value))


def _prefix(value: Any) -> str:
    return text(r"/?|/?[A-Za-z0-9][A-Za-z0-9._=-]*(/[A-Za-z0-9][A-Za-z0-9._=-]*)*/?")(value)
