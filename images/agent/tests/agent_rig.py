# SPDX-License-Identifier: GPL-3.0-or-later
"""A Control with the start script's side of it, an API server and peers in memory."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import replace
from pathlib import Path

from agent_fakes import FakeKube
from galera_agent import door
from galera_agent.control import Control
from galera_agent.datadir import Evidence
from galera_agent.events import Events
from galera_agent.lease import BootstrapLease
from galera_agent.members import Contact, Member, Record, View
from galera_agent.record import Recorder, consent_of
from galera_agent.record import parse as parse_record
from galera_agent.settings import Settings
from galera_agent.state import State
from galera_agent.wsrep import Status, parse

A = "aaaaaaaa-0000-4000-8000-00000000000a"
B = "bbbbbbbb-0000-4000-8000-00000000000b"
GRASTATE = f"# GALERA saved state\nversion: 2.1\nuuid:    {A}\nseqno:   7\nsafe_to_bootstrap: 0\n"


class World:
    """The facts of a test: peers as given, the rest from the API server in memory."""

    def __init__(self, kube: FakeKube, lease: BootstrapLease, state_map: str) -> None:
        self.kube, self.lease, self.state_map = kube, lease, state_map
        self.peers: tuple[Member, ...] = ()
        self.fresh: list[bool] = []
        self.learnt: Record | None = None

    def view(self, me: Member, fresh: bool = False) -> View:
        self.fresh.append(fresh)
        error = "connection refused" if self.kube.down else None
        data = {} if error else self.kube.maps[self.state_map].get("data", {})
        lease = None if error else self.lease.read()
        return View(me, self.peers, 3, error, parse_record(data), lease, consent_of(data))

    def learn(self, record: Record | None) -> None:
        self.learnt = record

    def address(self, pod: str) -> str:
        return f"ip-of-{pod}"

    def pod_uid(self) -> str:
        return "uid"


class Rig:
    """A Control with a door, and the start script's side of it."""

    def __init__(self, settings: Settings, kube: FakeKube) -> None:
        self.settings, self.kube, self.lines = settings, kube, list[str]()
        kube.make_map(settings.state_map)
        self.state = State(self.lines.append)
        lease = BootstrapLease(kube, settings.lease, settings.pod)
        self.world = World(kube, lease, settings.state_map)
        self.control = Control(
            settings,
            self.state,
            self.world,  # type: ignore[arg-type]
            lease,
            Recorder(kube, settings.state_map, settings.pod),
            Events(kube, settings.namespace, settings.pod),
            self.lines.append,
        )
        self.path = settings.rundir / "agent.sock"
        self._arrived = threading.Semaphore(0)
        door.listen(self.path, self._handle)

    def _handle(self, word: str, text: str, caller: door.Caller) -> None:
        self.control.handle(word, text, caller)
        self._arrived.release()

    def send(self, request: str) -> socket.socket:
        """Send a request; returns when the agent has taken it."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(self.path))
        connection.settimeout(10)
        connection.sendall(request.encode())
        connection.shutdown(socket.SHUT_WR)
        assert self._arrived.acquire(timeout=10)
        return connection

    def begin(self, uuid: str = A, seqno: int = 7) -> socket.socket:
        """Start on a volume with data, whose recovery finds this position."""
        assert words(self.send("start\n")) == ["recover"]
        return self.send(f"recovered\n0\n2026-11-21  7:07:18 0 [Note] WSREP: Recovered position: {uuid}:{seqno}\n")

    def rounds(self, count: int = 5) -> None:
        for _ in range(count):
            self.control.round()

    @property
    def reason(self) -> str:
        return f"{self.state.now.phase}: {self.state.now.reason}"


def words(connection: socket.socket) -> list[str]:
    """The agent's answer; it must be whole."""
    raw = b""
    while part := connection.recv(4096):
        raw += part
    found = raw.decode().split("\0")
    assert found[-2:] == ["end", ""]
    return found[:-2]


def no_answer(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    with contextlib.suppress(TimeoutError):
        return connection.recv(1) is None
    return True


def fill(path: Path, grastate: str | None = None) -> None:
    for name in ("ibdata1", "mysql"):
        (path / name).mkdir()
    if grastate is not None:
        (path / "grastate.dat").write_text(grastate)


def peer(ordinal: int, evidence: Evidence, **more: object) -> Member:
    pod = f"n-galera-{ordinal}"
    return replace(Member(pod, False, ordinal, Contact.ANSWERS, evidence, stopped=True), **more)  # type: ignore[arg-type]


NO_SEED = Member("n-galera-seed-0", True, 0, Contact.ABSENT)
PRIMARY = peer(1, Evidence("present", A, 100), primary=A, size=1, stopped=False)


def status(**rows: str) -> Status:
    said = {"cluster_status": "Primary", "connected": "ON", "ready": "ON", "local_state": "4", "cluster_size": "1"}
    return parse({f"wsrep_{name}": value for name, value in {**said, "cluster_state_uuid": A, **rows}.items()})
