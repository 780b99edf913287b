# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups in S3 or what is compatible with it. Imports boto3: for child processes only.

Credentials are the files access-key-id and secret-access-key, or those of the service account where both are missing.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from .s3_errors import BROKEN, REDIRECTED, Place, code_of
from .s3_writer import S3Writer, checksum
from .settings import SECRETS, S3Settings
from .store import (
    BACKUPS,
    BINLOGS,
    FORK,
    OWNER,
    VERIFICATION,
    Entry,
    LockedError,
    MissingError,
    StoreError,
    checked_key,
    checked_prefix,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from mypy_boto3_s3.client import S3Client

_BUFFER = 1 << 20
_CONDITION_FAILED = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
_REDIRECTS = (301, 302, 303, 307, 308)
_NO_CONDITIONS = ("NotImplemented", "501", "InvalidArgument", "InvalidRequest", "400")


@dataclass(frozen=True)
class Patience:
    """Seconds to wait for a connection and for bytes, and how often a request is tried."""

    connect: float = 10
    read: float = 60
    attempts: int = 6


def open_s3(settings: S3Settings, secrets: Path = SECRETS, patience: Patience | None = None) -> S3Store:
    """The store of the settings; reaches for nothing. Raises StoreError for credentials or a CA that cannot be read."""
    patience = patience or Patience()
    label = f"s3://{settings.bucket}/{settings.prefix}".rstrip("/")
    root = f"{settings.prefix}/" if settings.prefix else ""
    place = Place(label, settings.bucket, root, settings.endpoint, settings.ca, patience.read)
    if settings.ca is not None and not settings.ca.is_file():
        raise StoreError(f"{label} cannot be used: the file of its CA, {settings.ca}, is not there")
    options: dict[str, Any] = {}
    if "request_checksum_calculation" in Config.OPTION_DEFAULTS:
        # We give a SHA-256 with everything; newer botocore would add its own, in a way that not every server takes
        options = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if settings.path_style else "auto"},
        connect_timeout=patience.connect,
        read_timeout=patience.read,
        retries={"mode": "standard", "max_attempts": patience.attempts},
        tcp_keepalive=True,
        **options,
    )
    try:
        with place.translated("cannot be used"):
            client = boto3.session.Session(**_credentials(label, secrets)).client(
                "s3",
                endpoint_url=settings.endpoint,
                region_name=settings.region or ("us-east-1" if settings.endpoint else None),
                verify=str(settings.ca) if settings.ca else None,
                config=config,
            )
    except ValueError:
        raise StoreError(
            f"{label} cannot be used: its endpoint is '{settings.endpoint}'; allowed: a URL with an address, or with a "
            "host name of letters, digits and - with single dots between them"
        ) from None
    return S3Store(client, place, settings, patience.attempts)


class S3Store:
    """A prefix of a bucket. page: how many objects are listed by one request."""

    page = 1000

    def __init__(self, client: S3Client, place: Place, settings: S3Settings, attempts: int) -> None:
        self._client, self._place, self._attempts = client, place, attempts
        self._bucket, self._lock = settings.bucket, settings.object_lock
        self._root = place.root
        self._extra: dict[str, Any] = {}
        if settings.sse:
            self._extra["ServerSideEncryption"] = settings.sse
        if settings.kms_key:
            self._extra["SSEKMSKeyId"] = settings.kms_key
        # A header rather than an argument: older botocore does not know the argument
        self._only_new = threading.local()
        client.meta.events.register("before-call.s3.PutObject", self._add_condition)
        client.meta.events.register_first("needs-retry.s3", _refuse_redirect)

    @property
    def label(self) -> str:
        """How messages name the target."""
        return self._place.label

    def check(self) -> None:
        """Raise StoreError unless the bucket is there and can be read, with object lock where that is asked for."""
        with self._place.translated("cannot be used"):
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._root, MaxKeys=1)
            if self._lock is None:
                return
            try:
                self._client.get_object_lock_configuration(Bucket=self._bucket)
            except boto.ClientError as error:
                if code_of(error) == "ObjectLockConfigurationNotFoundError":
                    raise StoreError(
                        f"{self.label} cannot be used: object_lock is set, and bucket {self._bucket} has no object lock"
                    ) from None
                raise

    def writer(self, key: str, expected: int = 0) -> S3Writer:
        """Begin an object."""
        return S3Writer(self._client, self._place, checked_key(key), self._arguments(key), expected)

    def reader(self, key: str) -> BinaryIO:
        """Open an object."""
        return io.BufferedReader(_Raw(self._client, self._place, checked_key(key), self._attempts), _BUFFER)

    def get(self, key: str) -> bytes:
        """Return an object."""
        with self.reader(key) as stream:
            return stream.read()

    def written(self, key: str) -> datetime:
        """When an object was last written."""
        with self._place.translated(f"does not show {key}"):
            return self._client.head_object(Bucket=self._bucket, Key=self._key(key))["LastModified"]

    def put(self, key: str, data: bytes) -> None:
        """Write or replace an object."""
        with self._place.translated(f"does not take {key}"):
            self._put(key, data)

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one.

        Servers that know If-None-Match make it atomic. With others two that create at the same moment may both be told
        True, so whoever creates reads again before relying on it (as catalog.claim and check_owner do).
        """
        if self._exists(key):
            return False
        with self._place.translated(f"does not take {key}"):
            try:
                self._only_new.active = True
                self._put(key, data)
            except boto.ClientError as error:
                if code_of(error) in _CONDITION_FAILED:
                    return False
                if code_of(error) not in _NO_CONDITIONS:
                    raise
                self._only_new.active = False
                self._put(key, data)
            finally:
                self._only_new.active = False
        return self.get(key) == data

    def list(self, prefix: str) -> Iterator[Entry]:
        """All objects below prefix; keys come sorted."""
        for page in self._pages(prefix):
            for found in page.get("Contents", ()):
                if not found["Key"].endswith("/"):
                    yield Entry(found["Key"].removeprefix(self._root), found["Size"], found["LastModified"])

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys of all objects below prefix, sorted."""
        return (entry.key for entry in self.list(prefix))

    def children(self, prefix: str) -> Iterator[str]:
        """Names directly below prefix."""
        start = self._root + checked_prefix(prefix)
        names: set[str] = set()
        for page in self._pages(prefix, Delimiter="/"):
            names.update(found["Prefix"] for found in page.get("CommonPrefixes", ()))
            names.update(found["Key"] for found in page.get("Contents", ()))
        yield from sorted(name.removeprefix(start) for name in names if name != start)

    def delete(self, key: str) -> None:
        """Remove an object; with object lock all its versions, unless one of them is still locked.

        In a versioned bucket without object lock the old version stays as long as the bucket's own rules say.
        """
        with self._place.translated(f"cannot delete {key}"):
            if self._lock is None:
                self._client.delete_object(Bucket=self._bucket, Key=self._key(key))
            else:
                self._delete_versions(key)

    def clean(self, older_than: timedelta, now: datetime) -> Sequence[str]:
        """Abort uploads that were begun longer ago, of what a store holds: another prefix may lie within this one."""
        removed = []
        with self._place.translated("cannot be cleaned"):
            paginator = self._client.get_paginator("list_multipart_uploads")
            pages = [
                page
                for folder in (BACKUPS, BINLOGS)
                for page in paginator.paginate(Bucket=self._bucket, Prefix=self._root + folder)
            ]
            for upload in [one for page in pages for one in page.get("Uploads", ())]:
                if now - upload["Initiated"] > older_than:
                    self._abort(upload["Key"], upload["UploadId"])
                    removed.append(upload["Key"].removeprefix(self._root))
        return removed

    def _abort(self, key: str, upload: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)
        except boto.ClientError as error:
            # Some servers list what is gone already.
            if code_of(error) != "NoSuchUpload":
                raise

    def _key(self, key: str) -> str:
        return self._root + checked_key(key)

    def _put(self, key: str, data: bytes) -> None:
        self._client.put_object(
            Bucket=self._bucket, Key=self._key(key), Body=data, ChecksumSHA256=checksum(data), **self._arguments(key)
        )

    def _arguments(self, key: str) -> dict[str, Any]:
        """Encryption, and a lock for all that is never written again, and goes only with backups."""
        if self._lock is None or key == OWNER or key.endswith((f"/{VERIFICATION}", f"/{FORK}")):
            return self._extra
        until = datetime.now(UTC) + timedelta(days=self._lock.days)
        return {**self._extra, "ObjectLockMode": self._lock.mode, "ObjectLockRetainUntilDate": until}

    def _add_condition(self, params: dict[str, Any], **_: Any) -> None:
        if getattr(self._only_new, "active", False):
            params["headers"]["If-None-Match"] = "*"

    def _exists(self, key: str) -> bool:
        try:
            with self._place.translated(f"does not show {key}"):
                self._client.head_object(Bucket=self._bucket, Key=self._key(key))
        except MissingError:
            return False
        return True

    def _pages(self, prefix: str, **arguments: Any) -> Iterator[Any]:
        with self._place.translated("cannot be listed"):
            yield from self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket,
                Prefix=self._root + checked_prefix(prefix),
                PaginationConfig={"PageSize": self.page},
                **arguments,
            )

    def _delete_versions(self, key: str) -> None:
        target = {"Bucket": self._bucket, "Key": self._key(key)}
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=target["Key"])
        found = [
            (one, kind)
            for page in pages
            for kind in ("Versions", "DeleteMarkers")
            for one in page.get(kind, ())
            if one["Key"] == target["Key"]
        ]
        for version in [one["VersionId"] for one, kind in found if kind == "Versions"]:
            until = self._client.head_object(**target, VersionId=version).get("ObjectLockRetainUntilDate")
            if until is not None and until > datetime.now(UTC):
                raise LockedError(f"{self.label} keeps {key} until {until:%Y-%m-%d %H:%M} UTC (object lock)")
        for one, _ in found:
            try:
                self._client.delete_object(**target, VersionId=one["VersionId"])
            except boto.ClientError as error:
                # Without the right to read retentions the lock shows only here
                if code_of(error) != "AccessDenied":
                    raise
                raise LockedError(
                    f"{self.label} keeps {key}: deleting it is denied (object lock, or rights)"
                ) from error


def _refuse_redirect(response: tuple[Any, dict[str, Any]] | None, operation: Any, **_: Any) -> None:
    """Raise ClientError for a redirect that is not of S3, as to https: botocore asks for a region there without end."""
    if response is None or response[0].status_code not in _REDIRECTS:
        return
    (answer, parsed), code = response, response[1].get("Error", {}).get("Code", "")
    if "x-amz-bucket-region" not in answer.headers and code in ("", str(answer.status_code)):
        parsed["Error"] = {"Code": REDIRECTED, "Message": answer.headers.get("Location") or "somewhere else"}
        error: Any = parsed
        raise boto.ClientError(error, operation.name)


class _Raw(io.RawIOBase):
    """An object's bytes; a connection that breaks is opened again where it broke."""

    def __init__(self, client: S3Client, place: Place, key: str, attempts: int) -> None:
        super().__init__()
        self._client, self._place, self._key, self._attempts = client, place, key, attempts
        self._position = 0
        self._etag = ""
        self._body: Any = None
        with self._translated():
            self._body = self._open()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        with self._translated(), memoryview(buffer) as view:
            data = self._read(len(view))
            view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed and self._body is not None:
            self._body.close()
        super().close()

    def _read(self, size: int) -> bytes:
        for _ in range(self._attempts - 1):
            try:
                return self._body.read(size)
            except BROKEN:
                self._body.close()
                self._body = self._open()
        return self._body.read(size)

    def _open(self) -> Any:
        """Open from the position on; the object must still be the one that was begun.

        Some servers name no ETag of what was not written through them: then only the checksums of the manifest tell.
        """
        more = {"Range": f"bytes={self._position}-"} if self._position else {}
        more |= {"IfMatch": self._etag} if self._etag else {}
        answer = self._client.get_object(Bucket=self._place.bucket, Key=self._place.root + self._key, **more)
        self._etag = self._etag or answer.get("ETag", "")
        return answer["Body"]

    def _translated(self) -> Any:
        return self._place.translated(f"does not give {self._key}")


def _credentials(label: str, secrets: Path) -> dict[str, Any]:
    """Of the Secret's files; none where both are missing."""
    found: dict[str, Any] = {}
    for argument, name in (("aws_access_key_id", "access-key-id"), ("aws_secret_access_key", "secret-access-key")):
        try:
            found[argument] = (secrets / name).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{label} cannot be used: {secrets / name} cannot be read ({error})") from None
    if len(found) == 1 or not all(found.values()):
        raise StoreError(f"{label} cannot be used: of access-key-id and secret-access-key one is missing or empty")
    return found
