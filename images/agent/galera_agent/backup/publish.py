# SPDX-License-Identifier: GPL-3.0-or-later
"""What users ask of the backups and are told: the ConfigMap `<cluster>-galera-backup-state`, and Events on the pod.

Keys: `request` is a user's, `result` answers it, `catalog` is what GET /backups tells, `refused` is there while agents
refuse the settings of backups. `look` is of whoever has changed something in the targets: when it changes the leader
looks at them at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ..events import Events
from ..kube import ApiError, Kube

# A ConfigMap takes a MiB; beside the document there must be room for the rest.
_LARGEST = 900 * 1024
_CACHED_SECONDS = 2.0


class Publisher:
    """Reads requests and writes answers; an API server that does not answer is tried again at the next change."""

    def __init__(
        self,
        api: Kube,
        name: str,
        pod: str,
        events: Events,
        pod_uid: Callable[[], str | None],
        log: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api, self._name, self._pod, self._events = api, name, pod, events
        self._pod_uid, self._log, self._clock = pod_uid, log, clock
        self._read_at, self._text = float("-inf"), ""
        self._unsent: Mapping[str, Any] | None = None
        self.look = ""

    def read_request(self) -> Mapping[str, Any] | None:
        """The request that has no answer yet; None where there is none. One without an id cannot be answered."""
        try:
            data = (self._api.config_map(self._name) or {}).get("data") or {}
        except ApiError as error:
            self._log(f"backup: requests cannot be read: {error}")
            return None
        self.look = str(data.get("look") or "")
        request, result = _object(data.get("request")), _object(data.get("result"))
        if not request.get("id") or (result.get("id") == request["id"] and result.get("state") != "running"):
            return None
        if self._unsent is not None and self._unsent["id"] == request["id"]:
            # It was done, and is not done again for the sake of its answer
            self._send(self._unsent)
            return None
        return request

    def answer(self, request: Mapping[str, Any], state: str, backup: str, message: str) -> None:
        """Answer a request; state: running (the message says why it waits, if it does), succeeded, failed."""
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        result = {"id": request.get("id"), "state": state, "backup": backup, "message": message, "time": moment}
        self._send(result)

    def publish(self, document: Mapping[str, Any]) -> None:
        """Write what GET /backups tells; where it is too long, without the oldest backups.

        Who leads has settings, so they are not refused any more.
        """
        text = json.dumps({"leader": self._pod, **document})
        while len(text) > _LARGEST and (shorter := _shorter(document)) is not None:
            document = shorter
            text = json.dumps({"leader": self._pod, **document})
        self._patch({"catalog": text, "refused": None})

    def refuse(self, message: str) -> None:
        """Tell that the settings are refused, and why; what is known of the backups stays."""
        self._patch({"refused": json.dumps({"message": message})})

    def event(self, reason: str, kind: str, message: str) -> None:
        """An Event on this pod."""
        uid = self._pod_uid()
        if uid is not None:
            self._events.say(reason, kind, message, uid)

    def read(self) -> str:
        """What GET /backups tells, as JSON. Raises ApiError."""
        if self._clock() - self._read_at >= _CACHED_SECONDS:
            data = (self._api.config_map(self._name) or {}).get("data") or {}
            self._text, self._read_at = str(data.get("catalog") or "{}"), self._clock()
        return self._text

    def catalog(self) -> Mapping[str, Any]:
        """What the targets held when it was published last, by whomever; {} where that cannot be read."""
        try:
            found = _object(self.read()).get("catalog")
        except ApiError:
            return {}
        return found if isinstance(found, dict) else {}

    def _send(self, result: Mapping[str, Any]) -> None:
        """Write an answer; one that cannot be written now and is the last one is written when requests are read."""
        sent = self._patch({"result": json.dumps(result)})
        self._unsent = None if sent or result["state"] == "running" else result

    def _patch(self, data: Mapping[str, str | None]) -> bool:
        try:
            self._api.patch_config_map(self._name, data)
        except ApiError as error:
            self._log(f"backup: {self._name} cannot be written: {error}")
            return False
        return True


def _object(text: object) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _shorter(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The document without the older half of each target's backups; None where there is nothing to leave out."""
    targets = (document.get("catalog") or {}).get("targets") or []
    if not any(len(one.get("backups", [])) > 1 for one in targets):
        return None
    halved = [{**one, "backups": one["backups"][(len(one["backups"]) + 1) // 2 :]} for one in targets]
    return {**document, "catalog": {**document["catalog"], "targets": halved}}
