# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server in memory, other agents, a clock that is set by hand, a child process, one that holds a lock."""

from __future__ import annotations

import contextlib
import copy
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from galera_agent.kube import ApiError
from galera_agent.peers import Answer


class FakeChild:
    """A child process (backup.child.Child) that ends when a test says so."""

    def __init__(self, words: Sequence[str], began: float) -> None:
        self.words, self.began = tuple(words), began
        self.last: dict[str, Any] | None = None
        self.end: dict[str, Any] | None = None
        self.stopped = 0

    def result(self) -> dict[str, Any] | None:
        return self.end

    def stop(self) -> None:
        self.stopped += 1


class FakeKube:
    """Objects by kind and name, with resource versions that refuse a lost update; `down` makes every call fail."""

    def __init__(self) -> None:
        self.maps: dict[str, dict[str, Any]] = {}
        self.sets: dict[str, int] = {}
        self.leases: dict[str, dict[str, Any]] = {}
        self.found_pods: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.patches: list[dict[str, str | None]] = []
        self.down = False
        self._version = 0

    def config_map(self, name: str) -> dict[str, Any] | None:
        self._check()
        return copy.deepcopy(self.maps.get(name))

    def patch_config_map(self, name: str, data: Mapping[str, str | None], version: str | None = None) -> None:
        self._check()
        found = self.maps[name]
        if version not in (None, found["metadata"]["resourceVersion"]):
            raise ApiError(409, "the object has been modified")
        kept = {**found.get("data", {}), **data}
        found["data"] = {key: value for key, value in kept.items() if value is not None}
        found["metadata"]["resourceVersion"] = self._next()
        self.patches.append(dict(data))

    def replicas(self, stateful_set: str) -> int:
        self._check()
        return self.sets.get(stateful_set, 0)

    def pods(self, selector: str) -> list[dict[str, Any]]:
        self._check()
        return copy.deepcopy(self.found_pods)

    def lease(self, name: str) -> dict[str, Any] | None:
        self._check()
        return copy.deepcopy(self.leases.get(name))

    def create_lease(self, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        self._check()
        if name in self.leases:
            raise ApiError(409, "already exists")
        self.leases[name] = {"metadata": {"name": name, "resourceVersion": self._next()}, "spec": dict(spec)}
        return copy.deepcopy(self.leases[name])

    def replace_lease(self, lease: Mapping[str, Any]) -> dict[str, Any]:
        self._check()
        name = lease["metadata"]["name"]
        if lease["metadata"]["resourceVersion"] != self.leases[name]["metadata"]["resourceVersion"]:
            raise ApiError(409, "the object has been modified")
        self.leases[name] = copy.deepcopy(dict(lease))
        self.leases[name]["metadata"]["resourceVersion"] = self._next()
        return copy.deepcopy(self.leases[name])

    def create_event(self, event: Mapping[str, Any]) -> None:
        self._check()
        self.events.append(dict(event))

    def make_map(self, name: str, data: Mapping[str, str] | None = None) -> None:
        self.maps[name] = {"metadata": {"name": name, "resourceVersion": self._next()}}
        if data is not None:
            self.maps[name]["data"] = dict(data)

    def _check(self) -> None:
        if self.down:
            raise ApiError(0, "connection refused")

    def _next(self) -> str:
        self._version += 1
        return str(self._version)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


_LOCK = "import fcntl,sys; f=open(sys.argv[1],'r+b'); fcntl.lockf(f,fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Have another process hold a lock on a file, as a running server does."""
    server = subprocess.Popen([sys.executable, "-c", _LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"\n"
        yield
    finally:
        server.communicate(b"")


class Others:
    """The other agents; who is not among the answers is silent. then: what happens between them and the next step."""

    def __init__(self, answers: Mapping[str, Answer], then: Callable[[], None] = lambda: None) -> None:
        self.answers, self.then, self.asked = answers, then, list[str]()

    def ask_all(self, addresses: Mapping[str, str]) -> dict[str, Answer]:
        self.asked += addresses
        self.then()
        return {pod: self.answers.get(pod, Answer(None, "it is silent")) for pod in addresses}
