# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Waiting for a state of a cluster: until it is reached, until it is hopeless, or until the time is up."""

from __future__ import annotations

import functools
import time
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils import _pods
from ansible_collections.stateful.galera.plugins.module_utils._errors import ApiError, GaleraError, shorten
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS
from ansible_collections.stateful.galera.plugins.module_utils._observe import Sight, component, look

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Manifest
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Names

_LOOK_SECONDS = 0.4
# after a while: each look costs the API server and the agents what they need for the work that is waited for
_LATER_LOOK_SECONDS = 0.8
_LATER_SECONDS = 10.0
_EVENT_SECONDS = 3.0
_LOG_LINES = 8


class Waiter:
    """Looks at one cluster again and again; all its waits share one deadline.

    size: the nodes that are wanted, None for those of the live StatefulSet; timeout: seconds; claims: look at them too;
    haproxy: its troubles end the wait, too.
    """

    def __init__(
        self,
        client: Client,
        names: Names,
        size: int | None,
        timeout: float,
        claims: bool = False,
        haproxy: bool = False,
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._names, self._size, self._claims = client, names, size, claims
        self._components = ("node", "seed", "haproxy") if haproxy else ("node", "seed")
        self._timeout, self._clock, self._sleep = timeout, clock, sleep
        self._deadline = clock() + timeout
        self._patience = _pods.Patience()
        self._asked = clock()
        self._events: list[Manifest] = []
        self._pending: list[Manifest] = []

    def extend(self) -> None:
        """Let the time begin anew: something was done, and what is waited for now is another thing."""
        self._deadline = self._clock() + self._timeout

    def look(self) -> Sight:
        return look(self._client, self._names, self._size, self._claims)

    def until(self, goal: t.Callable[[Sight], str], what: str) -> Sight:
        """Wait until `goal` returns "" for what is seen; before, it returns what lacks.

        what: what is waited for, for the message. Raises GaleraError when it cannot be reached or the time is up.
        """
        began = self._clock()
        while True:
            sight = self.look()
            lacks = goal(sight)
            if not lacks:
                return sight
            now = self._clock()
            troubles = self._troubles(sight, now)
            final = self._patience.final(troubles, now)
            if final:
                raise GaleraError(f"Waiting for {what} is of no use: {' '.join(self._explain(each) for each in final)}")
            if now >= self._deadline:
                notes = " ".join(self._explain(each) for each in troubles)
                raise GaleraError(f"Waited {self._timeout:g} s for {what}, last seen: {lacks}. {notes}".rstrip())
            self._sleep(_LOOK_SECONDS if now - began < _LATER_SECONDS else _LATER_LOOK_SECONDS)

    def _troubles(self, sight: Sight, now: float) -> list[_pods.Trouble]:
        """What keeps the pods from starting; Events are asked for only now and then, and only while something pends."""
        sets = [each for each in (sight.stateful_set, sight.seed) if each is not None]
        pods = [pod for pod in sight.pods if component(pod) in self._components]
        pends = any((pod.get("status") or {}).get("phase") == "Pending" for pod in pods)
        pends = pends or any(_missing_pods(each) for each in sets)
        if not pends:
            self._events, self._pending = [], []
        elif now - self._asked >= _EVENT_SECONDS or now >= self._deadline:
            self._asked = now
            self._read_events()
        return _pods.find(pods, sight.nodes, self._pending, sets, self._events)

    def _read_events(self) -> None:
        """Warnings, and all that is told of claims, whose most telling event is no warning."""
        namespace = self._names.namespace
        listing = functools.partial(self._client.list_all, KINDS["Event"], namespace)
        claims, warnings, about_claims = self._client.parallel(
            [
                functools.partial(self._client.list_all, KINDS["PersistentVolumeClaim"], namespace),
                functools.partial(listing, fieldSelector="type=Warning"),
                functools.partial(listing, fieldSelector="involvedObject.kind=PersistentVolumeClaim"),
            ]
        )
        # they only explain: who may not read them still gets the answer
        self._pending = [] if isinstance(claims, GaleraError) else [each for each in claims if self._is_ours(each)]
        self._events = [
            event for found in (warnings, about_claims) if not isinstance(found, GaleraError) for event in found
        ]

    def _is_ours(self, claim: Manifest) -> bool:
        return str(claim["metadata"]["name"]).removeprefix("data-").startswith(f"{self._names.nodes}-")

    def _explain(self, trouble: _pods.Trouble) -> str:
        if trouble.log_of is None:
            return trouble.text
        pod, container = trouble.log_of
        path = f"{KINDS['Pod'].path(self._names.namespace, pod)}/log"
        # it does not run: its log is that of its last run
        query = {"container": container, "tailLines": str(_LOG_LINES)}
        try:
            log = self._client.ask("GET", path, query).body.decode("utf-8", "replace")
        except (ApiError, GaleraError):
            return trouble.text
        return f"{trouble.text} Its last words: {shorten(log, 800)}"


def _missing_pods(stateful_set: Manifest) -> bool:
    wanted = int(stateful_set["spec"].get("replicas", 1))
    return int((stateful_set.get("status") or {}).get("replicas", 0)) < wanted
