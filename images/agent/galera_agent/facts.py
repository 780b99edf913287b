# SPDX-License-Identifier: GPL-3.0-or-later
"""Gathers what a decision may know: the API server's facts, and how each other member answers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import record as recorded
from .kube import ApiError, Kube
from .lease import BootstrapLease
from .members import Consent, Lease, Member, Record, View
from .peers import Answer, Peers, member
from .settings import Settings

# Peers are asked at each round; the API server at most twice a second.
_API_SECONDS = 0.5
# How many nodes are asked, at least, while nothing tells how many there are. Nobody bootstraps then.
_GUESS = 5


@dataclass(frozen=True)
class ApiFacts:
    """The API server's facts, or the error that stands for them and, of old, the pods, the record and the size.

    size: how many nodes the cluster has; 0 where nothing tells, and nobody holds data that were recorded.
    """

    error: str | None = None
    nodes: int = 0
    seeds: int = 0
    pods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    record: Record | None = None
    size: int = 0
    lease: Lease | None = None
    consent: Consent | None = None


class Facts:
    """Builds views for one pod."""

    def __init__(self, settings: Settings, kube: Kube, lease: BootstrapLease) -> None:
        self._settings, self._kube, self._lease = settings, kube, lease
        self._peers = Peers(settings.http_port)
        self._api = ApiFacts("not asked yet")
        self._read_at = float("-inf")

    def pod_uid(self) -> str | None:
        """The uid of this pod, None before the API server has told it."""
        found = self._api.pods.get(self._settings.pod)
        return None if found is None else str(found["metadata"]["uid"])

    def address(self, pod: str) -> str:
        """Where a pod is reached: its IP as the API server knows it, else its DNS name.

        The IP comes first, because a name server may keep saying "no such name" for a while after the pod came up.
        """
        found = self._api.pods.get(pod) if self._api.error is None else None
        ip = (found or {}).get("status", {}).get("podIP")
        return str(ip) if ip else self._settings.address(pod)

    def view(self, me: Member, fresh: bool = False) -> View:
        """Look at all members; fresh asks the API server even if it was asked just now."""
        if fresh or time.monotonic() - self._read_at >= _API_SECONDS:
            self._api = self._ask_api()
            self._read_at = time.monotonic()
        size = self._api.size or (0 if self._api.error is None else max(_GUESS, me.ordinal + 1))
        wanted = [(self._settings.node_pod(ordinal), False, ordinal) for ordinal in range(size)]
        wanted.append((self._settings.seed_pod, True, 0))
        others = [one for one in wanted if one[0] != me.pod]
        # A pod that the API server does not know has no address, and asking DNS for it would only cost time.
        known = self._api.pods if self._api.error is None else None
        asked = {pod: self.address(pod) for pod, _, _ in others if known is None or pod in known}
        answers = self._peers.ask_all(asked)
        unasked = Answer(None, "the API server knows no such pod yet")
        members = tuple(self._judge(*one, answers.get(one[0], unasked)) for one in others)
        return View(me, members, size, self._api.error, self._api.record, self._api.lease, self._api.consent)

    def learn(self, record: Record | None) -> None:
        """Take what was read of the record while the server was in service: later than the last look at the members."""
        if record is not None:
            self._api = replace(self._api, record=record)

    def _judge(self, pod: str, seed: bool, ordinal: int, answer: Answer) -> Member:
        api, found = self._api, self._api.pods.get(pod)
        # Where a machine is gone, the address of its pod may be that of another cluster, which can have the same name.
        other = (answer.status or {}).get("namespace") or self._settings.namespace
        if other != self._settings.namespace:
            answer = Answer(None, f"{pod} of the namespace {other} answers at its address")
        replicas = api.seeds if seed else api.nodes
        gone = api.error is None and found is None and ordinal >= replicas
        what = self._settings.seed_set if seed else self._settings.node_set
        absent = f"StatefulSet {what} has {replicas} replicas" if gone else ""
        return member(pod, seed, ordinal, answer, absent, pod_note(found) if found is not None else "")

    def _ask_api(self) -> ApiFacts:
        settings = self._settings
        try:
            # The sets before the pods: a pod that appears between the two is then seen, never missed.
            nodes, seeds = self._kube.replicas(settings.node_set), self._kube.replicas(settings.seed_set)
            selector = f"app.kubernetes.io/name=galera,app.kubernetes.io/instance={settings.cluster}"
            pods = {str(pod["metadata"]["name"]): pod for pod in self._kube.pods(selector)}
            found = self._kube.config_map(settings.state_map)
            if found is None:
                return ApiFacts(f"the ConfigMap {settings.state_map} does not exist", pods=pods)
            data = found.get("data") or {}
            record, consent = recorded.parse(data), recorded.consent_of(data)
            size = max(recorded.size_of(found) or self._least(pods, record), nodes)
            if record is not None and not size:
                unknown = f"the ConfigMap {settings.state_map} does not say how many nodes the cluster has"
                return ApiFacts(f"{unknown}, and there is no StatefulSet {settings.node_set}", pods=pods, record=record)
            return ApiFacts(None, nodes, seeds, pods, record, size, self._lease.read(), consent)
        except (ApiError, ValueError, KeyError, TypeError) as error:
            return ApiFacts(str(error), pods=self._api.pods, record=self._api.record, size=self._api.size)

    def _least(self, pods: Iterable[str], record: Record | None) -> int:
        """How many nodes there are at least, by their pods and by who was recorded."""
        names = [*pods, *(pod for pod, _ in record.seqnos)] if record else [*pods]
        found = [re.fullmatch(rf"{re.escape(self._settings.node_set)}-([0-9]+)", name) for name in names]
        return max((int(match[1]) + 1 for match in found if match), default=0)


def pod_note(pod: Mapping[str, Any]) -> str:
    """Why a pod cannot answer yet, as the API server sees it; empty where it sees nothing wrong."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"not scheduled: {condition.get('message') or condition.get('reason')}"
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            return f"container {container.get('name')}: {waiting['reason']}"
    if pod.get("metadata", {}).get("deletionTimestamp"):
        return "the pod is being deleted"
    return "" if status.get("phase") == "Running" else f"the pod is {status.get('phase') or 'unknown'}"
