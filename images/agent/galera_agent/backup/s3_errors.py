# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of S3 in sentences. Imports botocore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3.exceptions
from botocore import exceptions as boto

from .store import MissingError, StoreError

_DENIED = "access is denied to the credentials in use ({message})"
_CREDENTIALS = "the credentials are not valid there ({code})"
_REGION = "it is in another region; allowed: the bucket's own region ({message})"
_FULL = "it is full ({message})"
_BUSY = "it is overloaded or broken ({code}: {message}), also after retries"
_NO_BUCKET = "bucket {bucket} does not exist there"
# Our own code, of an answer that sends elsewhere without being one of S3
REDIRECTED = "Redirected"
# Codes of AWS, and of the servers that are compatible
_CODES = {
    "NoSuchBucket": _NO_BUCKET,
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "AllAccessDisabled": _DENIED,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "XAdminUserNotFound": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "RequestTimeTooSkewed": "its clock and this node's differ too much ({message})",
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "301": _REGION,
    "QuotaExceeded": _FULL,
    "InsufficientStorage": _FULL,
    "XMinioStorageFull": _FULL,
    "507": _FULL,
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "InternalError": _BUSY,
    "500": _BUSY,
    "503": _BUSY,
    REDIRECTED: "{where} redirects to {message}; allowed: the address of the S3 server itself, with its http or https",
    "NoSuchUpload": "the upload was aborted by somebody else",
    "BadDigest": "the data were damaged on the way ({message})",
    "XAmzContentChecksumMismatch": "the data were damaged on the way ({message})",
}
MISSING = ("NoSuchKey", "404", "NotFound")
_BROKE = (
    boto.HTTPClientError,
    boto.ResponseStreamingError,
    boto.IncompleteReadError,
    urllib3.exceptions.HTTPError,
)
# What reading an answer raises; not all errors of urllib3 come as botocore's, as that of a damaged record of TLS
BROKEN = (boto.BotoCoreError, urllib3.exceptions.HTTPError, OSError)


@dataclass(frozen=True)
class Place:
    """Where the objects lie, as sentences name it.

    root: what stands before each key, empty or ending in `/`. endpoint and ca: None for those of AWS and of the system.
    read_timeout: in seconds.
    """

    label: str
    bucket: str
    root: str
    endpoint: str | None
    ca: Path | None
    read_timeout: float

    @contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Turn errors of botocore into StoreError: `s3://bucket/prefix <what>: <why>`."""
        try:
            yield
        except boto.ClientError as error:
            kind = MissingError if code_of(error) in MISSING else StoreError
            raise kind(f"{self.label} {what}: {self._refused(error)}") from error
        except BROKEN as error:
            raise StoreError(f"{self.label} {what}: {self._failed(error)}") from error

    def _refused(self, error: boto.ClientError) -> str:
        """What the server answered."""
        code = code_of(error)
        message = error.response.get("Error", {}).get("Message") or code
        if code in MISSING:
            return "it is not there"
        where, other = self.endpoint or "S3", "{code}: {message}"
        # S3 explains itself in XML; without that the code is the status
        if self.endpoint and code.isdigit():
            other = "{where} answers {code} ({message}), and not as S3 does"
            other += "; it may serve https" if code == "400" and where.startswith("http:") else ""
        return _CODES.get(code, other).format(code=code, message=message, bucket=self.bucket, where=where)

    def _failed(self, error: Exception) -> str:
        """Why there was no answer."""
        where = self.endpoint or "S3"
        if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError):
            return "there are no credentials: neither access-key-id and secret-access-key nor a service account's"
        if isinstance(error, boto.SSLError):
            return self._no_tls(where, str(error))
        if isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError | boto.ProxyConnectionError):
            return f"{where} is not reachable"
        if isinstance(error, boto.ReadTimeoutError):
            return f"{where} did not answer within {self.read_timeout:g} s, also after retries"
        if isinstance(error, _BROKE):
            return f"the connection to {where} broke, also after retries"
        return " ".join(str(error).split())

    def _no_tls(self, where: str, text: str) -> str:
        """Why there was no connection with TLS."""
        if "[X509" in text:
            return f"the certificates in {self.ca} cannot be read"
        if "CERTIFICATE_VERIFY_FAILED" in text or "doesn't match" in text:
            trusted = f"the certificates in {self.ca}" if self.ca else "the system's certificates"
            return f"the certificate of {where} is not trusted by {trusted}, or is not for that name"
        if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
            return f"{where} does not answer in TLS; it may serve http"
        return f"{where} and this agent do not agree on TLS ({text.partition('[')[2].partition(']')[0] or text})"


def code_of(error: boto.ClientError) -> str:
    """The code of an error answer."""
    return str(error.response.get("Error", {}).get("Code", "")) or str(
        error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
    )
