# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fault has in its hands, and what every kind of fault is."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from fault.cluster import DATA, Cluster
from fault.hands import Hands
from fault.kube import WaitError, until
from fault.load import Load
from fault.oracle import Volume, recovered
from fault.plan import Params

# More than Galera, the agents and the API server take to notice a death
STEADY_SECONDS = 3.0
# For an order to reach all machines
LEAD_SECONDS = 3.0


class NotInjectedError(Exception):
    """A fault that did not come about; the text says what was seen instead. It proves nothing, and does not count."""


@dataclass
class World:
    """The cluster, the hands on its machines, the clients, and what the user allows.

    allowed: names of what the user consented to beyond the cluster itself (clock). heal_seconds: patience.
    homes: machine of each pod when the step began. recover: a human's consent to go on with what is there, None where
    nobody may give it.
    """

    cluster: Cluster
    hands: Hands
    load: Load
    say: Callable[[str], None]
    heal_seconds: float = 300
    own: bool = False
    allowed: frozenset[str] = frozenset()
    homes: dict[str, str] = field(default_factory=dict)
    recover: Callable[[], None] | None = None

    def order(self) -> list[str]:
        """All nodes, the writer first, then by ordinal."""
        writer = self.load.writer()
        return [writer, *(pod for pod in self.cluster.nodes if pod != writer)]

    def resolve(self, targets: Sequence[str | int] | str) -> list[str]:
        """Pods of targets: "all", or a list of ordinals, "writer", "other" (the next node), "third"."""
        if targets == "all":
            return self.cluster.nodes
        places = {"writer": 0, "other": 1, "third": 2}
        order = self.order() if any(isinstance(one, str) for one in targets) else []
        return [self.cluster.nodes[one] if isinstance(one, int) else order[places[one]] for one in targets]

    def machine(self, pod: str) -> str:
        """The Kubernetes node of a pod."""
        return self.cluster.pods()[pod].node

    def control_plane(self) -> list[str]:
        """Machines that run the API server, as far as a hand is on them."""
        found = self.cluster.kubectl.get("-n", "kube-system", "pods", "-l", "component=kube-apiserver")["items"]
        return sorted({pod["spec"]["nodeName"] for pod in found} & set(self.hands.machines))

    def kill(self, pods: Sequence[str], number: str = "KILL") -> None:
        """Signal mariadbd in several pods at the same moment, by their machines' clocks; returns after that moment.

        Raises NotInjectedError where one of them has none.
        """
        if len(pods) == 1:
            self.strike(pods, "mariadbd", number)
            return
        found, moment = self.cluster.pods(), str(time.time() + LEAD_SECONDS)
        orders = [(found[pod].node, "wait_until", moment, "signal", found[pod].uid, "mariadbd", number) for pod in pods]
        answers = together([partial(self.hands.on, *order) for order in orders])
        _all_hit(dict(zip(pods, answers, strict=True)))

    def strike(self, pods: Iterable[str], *pairs: str) -> None:
        """Signal processes that have to be there. Raises NotInjectedError where a pod has none of them."""
        _all_hit(self.signal(pods, *pairs))

    def signal(self, pods: Iterable[str], *pairs: str) -> dict[str, str]:
        """Signal processes in several pods at once, `mariadbd KILL`; returns how many there were as JSON, by pod."""
        names = list(pods)
        answers = together([partial(self.hands.at, pod, "signal", *pairs) for pod in names])
        return dict(zip(names, answers, strict=True))

    def servers(self, pods: Iterable[str]) -> dict[str, set[int]]:
        """Numbers of the processes of mariadbd on their machines, by pod."""
        return {pod: set(json.loads(self.hands.at(pod, "pids", "mariadbd"))) for pod in pods}

    def see_killed(self, before: Mapping[str, set[int]]) -> None:
        """See that the servers of before have ended. Raises NotInjectedError."""

        def spared() -> str | None:
            found = [pod for pod, pids in self.servers(before).items() if pids & before[pod]]
            return f"mariadbd of {', '.join(found)} runs as before" if found else None

        see(spared, "the end of the servers that had to be killed")

    def look(self) -> dict[str, Volume] | None:
        """Look into the volumes of all nodes while no server runs; None where one cannot be seen."""
        pods = self.cluster.pods()
        found: dict[str, Volume] = {}
        for name in self.cluster.nodes:
            path = self.cluster.volume(name)
            if path is None:
                return None
            machine = pods[name].node if name in pods and pods[name].node else self.homes[name]
            seen = self.hands.recovered(machine, f"{path}{DATA.removeprefix('/var/lib/mysql')}")
            found[name] = recovered(seen["log"], seen["partial"])
        return found

    def await_whole(self, what: str = "the cluster to be whole", steady: float = STEADY_SECONDS) -> float:
        """Wait until every node is Synced in one component of all and Ready; returns seconds. Raises WaitError.

        It must last for `steady` seconds: a moment after a fault nobody has noticed it yet.
        """
        return until(self.cluster.trouble, what, self.heal_seconds, steady)


@dataclass
class Injected:
    """What an injection leaves for its healing and for the report.

    volumes: what all volumes held before the election that followed. measured: figures of this fault alone.
    problems: sentences about what the fault itself found wrong.
    """

    targets: list[str]
    volumes: dict[str, Volume] | None = None
    measured: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Fault(ABC):
    """A kind of fault. Its docstring's first line is its description."""

    name: ClassVar[str]

    @abstractmethod
    def variants(self, size: int) -> list[Params]:
        """All parameters with which it can be injected into a cluster of so many nodes. Pure."""

    def impossible(self, world: World) -> str | None:
        """Why it cannot be injected here, None where it can."""
        return None

    @abstractmethod
    def inject(self, world: World, params: Params) -> Injected:
        """Do it, and return once it has lasted as long as it shall."""

    def heal(self, world: World, params: Params) -> None:  # noqa: B027  (most faults end by themselves)
        """Undo what does not end by itself; also called when the injection failed half way."""


def see(look: Callable[[], str | None], what: str) -> None:
    """Wait a minute until `look` returns None: the trace that a fault has left. Raises NotInjectedError."""
    try:
        until(look, what, 60)
    except WaitError as problem:
        raise NotInjectedError(str(problem)) from None


def _all_hit(answers: Mapping[str, str]) -> None:
    """Raise NotInjectedError where a signal found none of its processes."""
    counts = {pod: json.loads(answer) for pod, answer in answers.items()}
    missed = [f"no {name} ran in {pod}" for pod, hit in counts.items() for name, count in hit.items() if not count]
    if missed:
        raise NotInjectedError("; ".join(missed))


def together(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Do several things at the same time; raises the first error after all have ended."""
    with ThreadPoolExecutor(max(len(calls), 1)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
