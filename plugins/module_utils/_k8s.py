# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The only file that talks to the API server.

Requests are plain HTTP: kubernetes.core's own client asks for the version and the API groups before its first useful
request, and cannot limit how long it waits for a server that does not answer.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import time
import typing as t
from urllib.parse import urlencode

from ansible_collections.stateful.galera.plugins.module_utils import _holder
from ansible_collections.stateful.galera.plugins.module_utils._connection import connect
from ansible_collections.stateful.galera.plugins.module_utils._errors import (
    ApiError,
    GaleraError,
    UnreachableError,
    shorten,
)

with contextlib.suppress(ImportError):  # told by _argspec.run
    import urllib3

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Document, Kind, Manifest

FIELD_MANAGER = "stateful.galera"

_HEADERS = {"Accept": "application/json", "User-Agent": "stateful.galera/1.0.0"}
_T = t.TypeVar("_T")
_WORKERS = 8
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 30.0
# answers after which the same request may succeed; 409 is a write that met another one
_PASSING = frozenset({409, 429, 500, 502, 503, 504})
# an unknown field in a manifest is answered with 500, although it stays unknown
_LASTING = b"failed to create typed patch object"


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    body: bytes

    def json(self) -> Manifest:
        """The object that it holds. Raises UnreachableError when it holds none: who says so is no API server."""
        try:
            document = json.loads(self.body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            said = shorten(self.body.decode("utf-8", "replace"), 100)
            raise UnreachableError(
                f"What answers is no API server, or stands before one: no JSON object came, but HTTP status "
                f"{self.status} with {said!r}."
            )
        return document


class Client:
    """Requests to one API server, safe to use from several threads.

    params: the options of kubernetes.core.k8s_auth_options; retry_timeout: seconds for which a request is repeated that
    failed for a passing reason (the first contact is not: a server that is not there is said at once, unless an earlier
    task of the play has met it); met: whether one has; run: the process that the work is done for.

    A play that was killed leaves the process of its task behind. It asks for nothing any more: the Lease of its run is
    free for another one from then on.
    """

    def __init__(
        self,
        params: t.Mapping[str, t.Any],
        retry_timeout: float = 30.0,
        sleep: t.Callable[[float], None] = time.sleep,
        met: bool = False,
        run: _holder.Holder | None = None,
    ) -> None:
        connection = connect(params)
        self._pool, self._credentials = connection.pool, connection.headers
        self._retry_timeout = retry_timeout
        self._sleep = sleep
        self._met = met
        self._run = run or _holder.current()[0]
        self.host = connection.host
        self.requests = 0

    def fetch(
        self,
        method: str,
        path: str,
        query: t.Mapping[str, str] | None = None,
        body: t.Any = None,
        content_type: str = "application/json",
        read_seconds: float = _READ_SECONDS,
    ) -> Answer:
        """One HTTP exchange without a repetition. Raises UnreachableError when there is no answer, GaleraError when the
        run has ended."""
        if self._run.is_dead():
            raise GaleraError(f"The run that this task belongs to (process {self._run.pid}) has ended: it stops here.")
        headers = urllib3.HTTPHeaderDict(_HEADERS)
        for name, value in self._credentials():
            headers.add(name, value)
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), content_type
        self.requests += 1
        try:
            answer = self._pool.request(
                method,
                f"{self.host}{path}{'?' + urlencode(query) if query else ''}",
                body=data,
                headers=headers,
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=read_seconds),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(
                f"The API server at {self.host} does not answer: {_network_reason(error)}."
            ) from error
        self._met = True
        return Answer(answer.status, answer.data)

    def ask(
        self,
        method: str,
        path: str,
        query: t.Mapping[str, str] | None = None,
        body: t.Any = None,
        content_type: str = "application/json",
        what: str = "",
        conflicts_pass: bool = True,
    ) -> Answer:
        """One request, repeated while it fails for a passing reason. what: begins the sentence of an error.

        Raises ApiError for a status of 400 or more, UnreachableError when no answer comes.
        """
        deadline, pause = time.monotonic() + self._retry_timeout, 0.1
        while True:
            final = time.monotonic() >= deadline
            try:
                answer = self.fetch(method, path, query, body, content_type)
            except UnreachableError as error:
                if not self._met:
                    raise
                if final:
                    waited = f"{str(error).rstrip('.')}, for {self._retry_timeout:g} s, at {method} {path}"
                    raise UnreachableError(f"{waited}. Running again goes on from here.") from error
            else:
                if answer.status < 400:
                    return answer
                if final or not _passes(answer, conflicts_pass):
                    raise self._error(answer, what)
            self._sleep(pause)
            pause = min(2 * pause, 2.0)

    def read(self, path: str, query: t.Mapping[str, str] | None = None) -> Manifest:
        """The JSON object at `path`."""
        return self.ask("GET", path, query).json()

    def get(self, kind: Kind, name: str, namespace: str = "") -> Manifest | None:
        """One object, or None when there is none of that name."""
        try:
            return self.read(kind.path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list_all(self, kind: Kind, namespace: str = "", **query: str) -> list[Manifest]:
        """All objects of a kind, completed with apiVersion and kind, which lists leave out.

        query: labelSelector, fieldSelector.
        """
        items = self.read(kind.path(namespace), query).get("items") or []
        return [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in items]

    def create(self, kind: Kind, manifest: Manifest, namespace: str = "", dry_run: bool = False) -> Manifest:
        """A new object. Raises ApiError with the status 409 when there is one of that name."""
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        return self.ask("POST", kind.path(namespace), query, manifest, conflicts_pass=False).json()

    def apply(self, document: Document, dry_run: bool = False, manager: str = FIELD_MANAGER) -> tuple[Manifest, bool]:
        """Server-side apply: the object after it, and whether it was created."""
        query = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        # a version that is named is a condition: repeating the request cannot fulfil it
        conflicts_pass = "resourceVersion" not in document.manifest["metadata"]
        what = f"{document} was not accepted"
        answer = self.ask(
            "PATCH", document.path, query, document.manifest, "application/apply-patch+yaml", what, conflicts_pass
        )
        return answer.json(), answer.status == 201

    def merge(
        self, path: str, body: Manifest, what: str, dry_run: bool = False, conflicts_pass: bool = True
    ) -> Manifest:
        """JSON merge patch of what lies at path; answers the whole object as it is then.

        body: what changes, null removes. what: how the sentence of an error begins.
        """
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        return self.ask("PATCH", path, query, body, "application/merge-patch+json", what, conflicts_pass).json()

    def delete(self, kind: Kind, manifest: Manifest) -> bool:
        """Delete exactly this object (by its uid), gracefully; False when it is gone already.

        An object that others belong to stays, marked, until they are gone: whoever looks sees what is under way.
        """
        metadata = manifest["metadata"]
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": metadata["uid"]}}
        path = kind.path(metadata.get("namespace", ""), metadata["name"])
        try:
            self.ask("DELETE", path, body=options, conflicts_pass=False)
        except ApiError as error:
            # 409: another object of that name has come meanwhile, which is not ours to delete
            if error.status in (404, 409):
                return False
            raise
        return True

    def parallel(self, calls: t.Sequence[t.Callable[[], _T]]) -> list[_T | GaleraError]:
        """What each call returns or the GaleraError that it raises, in order, run side by side."""

        def run(call: t.Callable[[], _T]) -> _T | GaleraError:
            try:
                return call()
            except GaleraError as error:
                return error

        if len(calls) < 2:
            return [run(call) for call in calls]
        with concurrent.futures.ThreadPoolExecutor(max_workers=min(_WORKERS, len(calls))) as pool:
            return list(pool.map(run, calls))

    def all_of(self, calls: t.Sequence[t.Callable[[], _T]]) -> list[_T]:
        """As parallel, but raises the first GaleraError."""
        results: list[_T] = []
        for result in self.parallel(calls):
            if isinstance(result, GaleraError):
                raise result
            results.append(result)
        return results

    def _error(self, answer: Answer, what: str) -> ApiError:
        if answer.status == 401:
            what = f"The API server at {self.host} does not accept the credentials (401 Unauthorized)"
        return ApiError.of(answer.status, answer.body, what)


def _passes(answer: Answer, conflicts_pass: bool) -> bool:
    """Whether the same request may succeed a little later."""
    if answer.status == 409:
        return conflicts_pass
    return answer.status in _PASSING and _LASTING not in answer.body


def _network_reason(error: Exception) -> str:
    """The part of a urllib3 error that says something to a reader: "[Errno 111] Connection refused"."""
    text = str(error)
    for mark in ("new connection: ", "object at", "): "):
        if mark in text:
            text = text.rsplit(mark, 1)[1]
    return shorten(text).rstrip(".")
