# SPDX-License-Identifier: GPL-3.0-or-later
"""An S3 object of unknown length: parts are uploaded while the stream goes on, and it appears when all are there."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from math import ceil
from types import TracebackType
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto

from .s3_errors import Place, code_of
from .store import StoreError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

MIB = 1 << 20
MAX_PARTS = 10_000
# The first parts are small, so is the memory; each is 0.052 % larger than the one before, so that 10,000 hold 5 TiB
_FIRST_PART = 16 * MIB
_GROWTH = 1.00052
# Where it is known how much will come, so many parts of one size hold it. What comes beyond that gets larger ones.
_EVEN_PARTS, _LATE_GROWTH = 9_000, 1.005
_LARGEST_PART = 5 << 30
# Uploaded at the same time, while the next is being filled
_IN_FLIGHT = 2


def part_size(number: int, expected: int = 0) -> int:
    """Bytes of a part, numbered from 1: whole MiB, 16 MiB first, 69 MiB after 100 GiB, 560 MiB after 1 TiB.

    expected: bytes of all parts at most, 0 where that is not known; then 57 MiB hold 500 GiB, and 117 MiB 1 TiB.
    """
    if not expected:
        return int(_FIRST_PART / MIB * _GROWTH ** (number - 1)) * MIB
    even = max(_FIRST_PART // MIB, ceil(expected / _EVEN_PARTS / MIB))
    return min(int(even * _LATE_GROWTH ** max(number - _EVEN_PARTS, 0)) * MIB, _LARGEST_PART)


def checksum(data: bytes | bytearray | memoryview) -> str:
    """SHA-256 as S3 wants it, which the server compares with what it got."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


class S3Writer:
    """Memory: three parts. Errors of an upload in the background are raised by the next write() or commit()."""

    def __init__(self, client: S3Client, place: Place, key: str, extra: dict[str, Any], expected: int = 0) -> None:
        """extra: arguments of PutObject and CreateMultipartUpload. expected: as in part_size()."""
        self._expected = expected
        self._client, self._place, self._key = client, place, key
        self._target = {"Bucket": place.bucket, "Key": place.root + key}
        # tells this very object from one that was there before
        self._token = secrets.token_hex(16)
        self._extra = {**extra, "Metadata": {"upload": self._token}}
        self._buffer = bytearray()
        self._size = 0
        self._upload: str | None = None
        self._pool = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="upload")
        self._waiting: deque[Future[dict[str, Any]]] = deque()
        self._parts: list[dict[str, Any]] = []

    def __enter__(self) -> S3Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._upload is not None:
            # What cannot be aborted now, clean() aborts later
            with suppress(StoreError), self._translated():
                self._client.abort_multipart_upload(**self._target, UploadId=self._upload)

    def write(self, data: bytes) -> int:
        """Take some bytes; waits while too many parts are on their way."""
        self._buffer += data
        self._size += len(data)
        while len(self._buffer) >= (size := part_size(self._number(), self._expected)):
            self._ship(size)
        return len(data)

    def commit(self) -> None:
        """Send the rest, and let the object appear."""
        if self._upload is None:
            with self._translated():
                self._client.put_object(
                    **self._target, **self._extra, Body=bytes(self._buffer), ChecksumSHA256=checksum(self._buffer)
                )
        else:
            if self._buffer:
                self._ship(len(self._buffer))
            self._wait(0)
            self._complete()
        self._check()

    def _number(self) -> int:
        return len(self._parts) + len(self._waiting) + 1

    def _ship(self, size: int) -> None:
        """Hand the first bytes of the buffer to the background."""
        number = self._number()
        if number > MAX_PARTS:
            raise StoreError(f"{self._place.label} does not take {self._key}: it takes more than {MAX_PARTS} parts")
        self._wait(_IN_FLIGHT - 1)
        with memoryview(self._buffer) as view:
            body = bytes(view[:size])
        del self._buffer[:size]
        if self._upload is None:
            with self._translated():
                begun = self._client.create_multipart_upload(**self._target, **self._extra, ChecksumAlgorithm="SHA256")
            self._upload = begun["UploadId"]
        self._waiting.append(self._pool.submit(self._upload_part, self._upload, number, body))

    def _upload_part(self, upload: str, number: int, body: bytes) -> dict[str, Any]:
        part = {"PartNumber": number, "ChecksumSHA256": checksum(body)}
        answer = self._client.upload_part(**self._target, UploadId=upload, Body=body, **part)
        return {**part, "ETag": answer["ETag"]}

    def _wait(self, left: int) -> None:
        """Wait until at most so many parts are on their way."""
        with self._translated():
            while len(self._waiting) > left:
                self._parts.append(self._waiting.popleft().result())

    def _complete(self) -> None:
        assert self._upload is not None
        with self._translated():
            try:
                self._client.complete_multipart_upload(
                    **self._target, UploadId=self._upload, MultipartUpload={"Parts": self._parts}
                )
            except boto.ClientError as error:
                # the answer to a first try was lost: _check() tells whether it is there
                if code_of(error) != "NoSuchUpload":
                    raise
        self._upload = None

    def _check(self) -> None:
        """Raise StoreError unless the object is there, this very one, with all its bytes."""
        with self._translated():
            head = self._client.head_object(**self._target)
        # Some servers give the names of metadata in capitals.
        metadata = {name.lower(): value for name, value in head["Metadata"].items()}
        if head["ContentLength"] != self._size or metadata.get("upload") != self._token:
            raise StoreError(
                f"{self._place.label} does not show {self._key} as it was written: "
                f"{head['ContentLength']} bytes, not {self._size}, or another one's"
            )

    def _translated(self) -> Any:
        return self._place.translated(f"does not take {self._key}")
