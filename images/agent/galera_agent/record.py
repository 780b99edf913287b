# SPDX-License-Identifier: GPL-3.0-or-later
"""What outlives the pods, in one ConfigMap.

cluster    {"uuid", "time"}             the cluster's uuid, written once
<pod>      {"uuid", "seqno", "time"}    how far each pod was known to be
given_up   {pod: {"seqno", "time"}}     without whom the cluster was continued, and from where
consent    an offer and its time        a human's consent, written by the module recover, taken away when it is used

Its annotation stateful.galera/size is how many nodes the cluster has, written with the manifests and by the modules
cluster and rollout: more before nodes come, less only when one has left in order. Until then nobody is elected without
them.
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from .kube import ApiError
from .members import Consent, Record, parse_consent
from .wsrep import Status

# InnoDB writes its log every second, whatever the last write-set was: a seqno that old is on the disk.
SETTLED_SECONDS = 3.0
EVERY_SECONDS = 60.0
SIZE_ANNOTATION = "stateful.galera/size"
_WORDS = ("cluster", "given_up", "consent")


class MapApi(Protocol):
    """The part of the API client that is needed here."""

    def config_map(self, name: str) -> dict[str, Any] | None:
        """Read a ConfigMap."""

    def patch_config_map(self, name: str, data: Mapping[str, str | None], version: str | None = None) -> None:
        """Merge keys into a ConfigMap; None takes a key away."""


def parse(data: Mapping[str, str]) -> Record | None:
    """Read the ConfigMap's data; None where no cluster was recorded.

    Raises ValueError where an entry is not readable: a broken record must not look like none.
    """
    if "cluster" not in data:
        return None
    uuid = _entry(data, "cluster")["uuid"]
    pods = {pod: _entry(data, pod) for pod in data if pod not in _WORDS}
    seqnos = tuple((pod, entry["seqno"]) for pod, entry in sorted(pods.items()) if entry["uuid"] == uuid)
    return Record(uuid, seqnos, _given_up(data))


def consent_of(data: Mapping[str, str]) -> Consent | None:
    """The consent in the ConfigMap's data, None where there is none. Raises ValueError where it is not readable."""
    return parse_consent(data["consent"]) if "consent" in data else None


def size_of(found: Mapping[str, Any]) -> int | None:
    """How many nodes the cluster has by its ConfigMap, None where that does not say.

    Raises ValueError where it is not readable.
    """
    text = (found["metadata"].get("annotations") or {}).get(SIZE_ANNOTATION)
    if text is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]?", str(text)):
        raise ValueError(f"the recorded state has an unreadable annotation '{SIZE_ANNOTATION}': {text!r}")
    return int(text)


def _given_up(data: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    try:
        raw = json.loads(data.get("given_up", "{}"))
        return tuple(sorted((str(pod), int(entry["seqno"])) for pod, entry in raw.items()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"the recorded state has an unreadable entry 'given_up': {data['given_up']!r}") from None


def _entry(data: Mapping[str, str], key: str) -> dict[str, Any]:
    try:
        entry = json.loads(data[key])
        return {"uuid": str(entry["uuid"]), "seqno": int(entry.get("seqno", -1))}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"the recorded state has an unreadable entry '{key}': {data[key]!r}") from None


class Recorder:
    """Writes one pod's state: at once when it changes, and at most every minute as the seqno moves."""

    def __init__(self, api: MapApi, name: str, pod: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._name, self._pod, self._clock = api, name, pod, clock
        self.known: Record | None = None
        self.begin()

    def begin(self) -> None:
        """A server starts: others may have changed the record before it serves, and its volume may be another one."""
        self._seen: deque[tuple[float, int]] = deque()
        self._written: tuple[str, str, int] | None = None
        self._written_at = self._read_at = float("-inf")
        self._cluster: str | None = None
        self.known = None

    @property
    def given_up(self) -> bool:
        """Whether the cluster was continued without this pod, by what was read last."""
        return self.known is not None and self._pod in dict(self.known.given_up)

    def read_again(self) -> None:
        """The server does not serve: the record is read again as soon as it does."""
        self._read_at = float("-inf")

    def update(self, status: Status) -> str | None:
        """Record what a server in the primary component says; nothing of one that was given up and has not asked since.

        Returns a sentence where the record names another cluster. Raises ApiError, and ValueError for a broken record.
        """
        uuid = status.uuid
        if uuid is None:
            return None
        # Again from time to time: others may have been given up since, and a ConfigMap that is lost is written anew.
        recent = self._clock() - self._read_at < EVERY_SECONDS and not self.given_up
        if not (recent and self._cluster == uuid) and (problem := self._record_cluster(uuid)):
            return problem
        if self.given_up:
            return None
        settled = self._settled(status.last_committed)
        if settled is not None and self._due(uuid, status.local_state_comment, settled):
            entry = json.dumps({"uuid": uuid, "seqno": settled, "time": now()})
            self._api.patch_config_map(self._name, {self._pod: entry})
            self._written, self._written_at = (uuid, status.local_state_comment, settled), self._clock()
        return None

    def _record_cluster(self, uuid: str) -> str | None:
        """Write the cluster's uuid once; the resource version keeps two writers from overwriting each other."""
        found = self._api.config_map(self._name)
        if found is None:
            raise ApiError(404, f"the ConfigMap {self._name} does not exist")
        data = found.get("data") or {}
        record = parse(data)
        if record is None:
            changes = {"cluster": json.dumps({"uuid": uuid, "time": now()})}
            # Of a record that was lost, what nobody could find out again
            left = self.known.given_up if self.known and self.known.uuid == uuid else ()
            if left:
                changes["given_up"] = json.dumps({pod: {"seqno": seqno, "time": now()} for pod, seqno in left})
            self._api.patch_config_map(self._name, {**changes}, str(found["metadata"]["resourceVersion"]))
            record = Record(uuid, given_up=left)
        elif record.uuid != uuid:
            return f"the running cluster is {uuid}, but {self._name} records {record.uuid}"
        elif "consent" in data:
            # The cluster stands: a consent that nobody needed must not be there at its next fall.
            self._api.patch_config_map(self._name, {"consent": None}, str(found["metadata"]["resourceVersion"]))
        if self._pod not in dict(record.seqnos):
            # Lost with the record: where nobody writes, the seqno does not move and would be no reason to write it
            self._written = None
        self._cluster, self.known, self._read_at = uuid, record, self._clock()
        return None

    def use(self, consent: Consent) -> bool:
        """Turn a consent into the record, in one step; False where it was taken away meanwhile.

        Members that are given up stay so until they come back; what was recorded beyond the winner is forgotten. Raises
        ApiError, and ValueError for a broken record.
        """
        found = self._api.config_map(self._name) or {"metadata": {}}
        data, offer = found.get("data") or {}, consent.offer
        if consent_of(data) != consent:
            return False
        gone = {pod: {"seqno": offer.seqno, "time": now()} for pod in offer.given_up}
        beyond = [pod for pod, seqno in (parse(data) or Record("")).seqnos if seqno > offer.seqno]
        changes: dict[str, str | None] = dict.fromkeys([*offer.given_up, *beyond, "consent"])
        changes["given_up"] = json.dumps({**json.loads(data.get("given_up", "{}")), **gone})
        changes = {key: value for key, value in changes.items() if value is not None or key in data}
        self._api.patch_config_map(self._name, changes, str(found["metadata"]["resourceVersion"]))
        return True

    def give_up(self, seqno: int) -> None:
        """Record that the cluster went on without this pod from seqno. Raises ApiError."""
        self._change_given_up(lambda raw: {**raw, self._pod: {"seqno": seqno, "time": now()}})

    def come_back(self) -> None:
        """Count this pod again: it is about to ask for what it missed. Raises ApiError."""
        self._change_given_up(lambda raw: {pod: entry for pod, entry in raw.items() if pod != self._pod})

    def forget_volume(self) -> None:
        """Forget how far this pod was: it holds nothing of it, and asks a running cluster for all. Raises ApiError."""
        found = self._api.config_map(self._name)
        if found is not None and self._pod in (found.get("data") or {}):
            self._api.patch_config_map(self._name, {self._pod: None}, str(found["metadata"]["resourceVersion"]))

    def _change_given_up(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        found = self._api.config_map(self._name)
        if found is None:
            raise ApiError(404, f"the ConfigMap {self._name} does not exist")
        raw = json.loads((found.get("data") or {}).get("given_up", "{}"))
        text = json.dumps(changed) if (changed := change(raw)) else None
        if changed != raw:
            self._api.patch_config_map(self._name, {"given_up": text}, str(found["metadata"]["resourceVersion"]))

    def _settled(self, seqno: int) -> int | None:
        """The newest seqno that is old enough to have reached the disk."""
        moment = self._clock()
        if not self._seen or self._seen[-1][1] != seqno:
            self._seen.append((moment, seqno))
        while len(self._seen) > 1 and self._seen[1][0] <= moment - SETTLED_SECONDS:
            self._seen.popleft()
        first = self._seen[0]
        return first[1] if first[0] <= moment - SETTLED_SECONDS and first[1] >= 0 else None

    def _due(self, uuid: str, state: str, seqno: int) -> bool:
        if self._written is None or self._written[:2] != (uuid, state):
            return True
        return self._written[2] != seqno and self._clock() - self._written_at >= EVERY_SECONDS


def now() -> str:
    """The time as the API server writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
