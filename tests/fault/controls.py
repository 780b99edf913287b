# SPDX-License-Identifier: GPL-3.0-or-later
"""Controls: what must lose data. A run in which the harness does not see it proves nothing.

Each works on the harness's own cluster or on data of its own, and leaves the cluster whole.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import ClassVar

from fault.check import Tables
from fault.cluster import DATA
from fault.kube import KubeError, until
from fault.load import Mix
from fault.report import Control
from fault.world import World

TRIES = 5


class Blunt(ABC):
    """One control. Its docstring's first line says what it does."""

    name: ClassVar[str]
    # What the check has to say; anything else that it finds is no proof that it sees this loss
    sign: ClassVar[str] = "acknowledged and not there"
    # Whether it may run on a cluster that is not the harness's own: it must not harm anything but the harness's tables
    harmless: ClassVar[bool] = False

    def run(self, world: World, tables: Tables) -> Control:
        """Lose data on purpose and tell what the usual check found; several tries, as loss is a matter of time."""
        about = (self.__doc__ or "").splitlines()[0].rstrip(".")
        tries = 0
        found: list[str] = []
        while not found and tries < TRIES:
            tries += 1
            found = [problem for problem in self.lose(world, tables) if self.sign in problem]
        return Control(self.name, about, found, f"{tries} tries")

    @abstractmethod
    def lose(self, world: World, tables: Tables) -> list[str]:
        """Once; returns the problems that the check found."""


class Unlocked(Blunt):
    """Read-modify-write without FOR UPDATE through two nodes: lost updates change the sum."""

    name = "unlocked"
    sign = "the sum of all accounts"
    harmless = True

    def lose(self, world: World, tables: Tables) -> list[str]:
        """Two clients move money between two accounts until many transfers are acknowledged."""
        fresh(world, tables, Mix(unlocked=True))
        world.load.await_writes(200, 120)
        return compare(world, tables)


class NotFlushed(Blunt):
    """innodb_flush_log_at_trx_commit=0, then SIGKILL to all nodes at once."""

    name = "not_flushed"

    def lose(self, world: World, tables: Tables) -> list[str]:
        """Switch the flush off on all nodes, write, kill; the restarted servers have it on again."""
        fresh(world, tables, Mix(rate=200))
        for pod in world.cluster.nodes:
            world.cluster.sql(pod, "SET GLOBAL innodb_flush_log_at_trx_commit=0")
        world.load.await_writes(300, 120)
        world.kill(world.cluster.nodes)
        world.await_whole()
        world.load.await_all(120)
        return compare(world, tables)


class Stale(Blunt):
    """A stale node bootstrapped by hand, and the others told to take its data."""

    name = "stale"

    def lose(self, world: World, tables: Tables) -> list[str]:
        """Stop one node, write on, stop the others, empty their volumes, and forget what the cluster had reached.

        This is what somebody does who takes the wrong node for the right one: the record that would object is edited,
        and the volumes that hold more are wiped.
        """
        fresh(world, tables, Mix())
        *ahead, stale = world.cluster.nodes
        world.strike([stale], "agent", "STOP", "mariadbd", "TERM")
        try:
            world.load.await_writes(200, 120)
            world.strike(ahead, "agent", "STOP", "mariadbd", "TERM")
            for pod in world.cluster.nodes:
                until(lambda pod=pod: _running(world, pod), f"the end of mariadbd in {pod}", 120)
            for pod in ahead:
                path = world.cluster.volume(pod)
                if path is None:
                    raise KubeError(f"the volume of {pod} is no directory of its machine")
                world.hands.on(world.machine(pod), "wipe", f"{path}{DATA.removeprefix('/var/lib/mysql')}")
            _forget(world)
        finally:
            world.signal(world.cluster.nodes, "agent", "CONT")
        world.await_whole()
        world.load.await_all(120)
        return compare(world, tables)


def _running(world: World, pod: str) -> str | None:
    found = world.hands.at(pod, "pids", "mariadbd")
    return None if found == "[]" else f"processes {found}"


def _forget(world: World) -> None:
    """Take the seqnos that the nodes had reached out of the cluster's record; its uuid stays."""
    name = f"{world.cluster.set}-state"
    data = world.cluster.get("configmap", name).get("data") or {}
    patch = {"data": {key: None for key in data if key != "cluster"}}
    command = ["patch", "configmap", name, "--type=merge", "-p", json.dumps(patch)]
    world.cluster.kubectl("-n", world.cluster.namespace, *command)


def fresh(world: World, tables: Tables, mix: Mix) -> None:
    """New tables and new clients, which write."""
    world.load.stop()
    world.await_whole("the cluster to be whole before a control")
    tables.make(world.load.password)
    world.load.start(mix)
    world.load.resume()
    world.load.await_all(60)


def compare(world: World, tables: Tables) -> list[str]:
    """The usual check."""
    world.load.pause()
    _, problems = tables.check(world.load.read())
    return problems


CONTROLS: dict[str, Blunt] = {control.name: control() for control in (Unlocked, NotFlushed, Stale)}
