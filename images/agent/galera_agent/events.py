# SPDX-License-Identifier: GPL-3.0-or-later
"""Events on the agent's pod, so that `kubectl describe pod` says what the cluster waits for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from .kube import ApiError
from .members import Action
from .record import now

EVERY_SECONDS = 15.0
REASONS = {
    Action.WAIT: ("GaleraWaiting", "Normal"),
    Action.REFUSE: ("GaleraRefused", "Warning"),
    Action.BOOTSTRAP: ("GaleraBootstrap", "Normal"),
    Action.JOIN: ("GaleraJoined", "Normal"),
}


class EventApi(Protocol):
    """The part of the API client that is needed here."""

    def create_event(self, event: Mapping[str, Any]) -> None:
        """Create an Event."""


class Events:
    """Creates an Event where the reason has changed, and for the same kind of reason at most every 15 s."""

    def __init__(self, api: EventApi, namespace: str, pod: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._namespace, self._pod, self._clock = api, namespace, pod, clock
        self._last: tuple[str, str] = ("", "")
        self._at: dict[str, float] = {}

    def tell(self, action: Action, message: str, pod_uid: str | None) -> None:
        """Say it as an Event, if it is news. An API server that takes no Event changes nothing else."""
        if action not in REASONS or pod_uid is None:
            return
        reason, kind = REASONS[action]
        recent = self._clock() - self._at.get(reason, float("-inf")) < EVERY_SECONDS
        if self._last == (reason, message) or (recent and self._last[0] == reason):
            return
        self._last, self._at[reason] = (reason, message), self._clock()
        self.say(reason, kind, message, pod_uid)

    def say(self, reason: str, kind: str, message: str, pod_uid: str) -> None:
        """Create an Event at once; kind: Normal, Warning. An API server that takes no Event changes nothing else."""
        try:
            self._api.create_event(self._event(reason, kind, message, pod_uid))
        except ApiError:
            return

    def _event(self, reason: str, kind: str, message: str, pod_uid: str) -> dict[str, Any]:
        moment = now()
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{self._pod}.", "namespace": self._namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": self._pod,
                "namespace": self._namespace,
                "uid": pod_uid,
            },
            "reason": reason,
            "type": kind,
            "message": message[:1000],
            "source": {"component": "galera-agent"},
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
