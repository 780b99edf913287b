# SPDX-License-Identifier: GPL-3.0-or-later
"""A session of the harness: its own cluster where no other is named, its pods beside it, and the end of all of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from fault.check import Tables
from fault.cluster import Cluster, connection
from fault.faults.network import clear_rules
from fault.hands import Hands
from fault.kube import Kubectl, KubeError, WaitError
from fault.load import InPod, Load, Outside
from fault.world import World
from objects import remove_namespaces

OWN = Path(__file__).parent / "galera.conf"


class PlayError(Exception):
    """A playbook failed; the text is the end of what it printed."""


def own_inventory(folder: Path, settings: Mapping[str, str]) -> Path:
    """Write the inventory of the harness's own cluster with more variables, NAME=VALUE, into a folder."""
    head, mark, tail = OWN.read_text().partition("\n[template_target]")
    given = "".join(f"{name}={value}\n" for name, value in settings.items())
    names = tuple(f"{name}=" for name in settings)
    kept = "\n".join(line for line in head.splitlines() if not (names and line.startswith(names)))
    path = folder / "galera.conf"
    path.write_text(f"{kept}\n{given}{mark}{tail}")
    return path


def play(inventory: Path, *arguments: str) -> None:
    """Run a playbook of the collection. Raises PlayError."""
    command = ["ansible-playbook", "-i", str(inventory), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    if done.returncode:
        raise PlayError(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-4000:]}")


@contextmanager
def own_cluster(inventory: Path, namespace: str, kubectl: Kubectl, keep: bool) -> Iterator[None]:
    """The harness's own cluster, from nothing; gone at the end unless it shall be kept."""
    remove_namespaces(partial(kubectl, seconds=310), namespace)
    play(inventory, "stateful.galera.site")
    try:
        yield
    finally:
        if not keep:
            kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")


@contextmanager
def session(
    variables: Mapping[str, Any],
    say: Callable[[str], None],
    endpoint: str | None = None,
    **more: Any,
) -> Iterator[tuple[World, Tables]]:
    """The world of one cluster, with hands and tables, no clients yet. All that it makes is gone at the end."""
    with Kubectl(connection(dict(variables))) as kubectl:
        yield from _session(kubectl, variables, say, endpoint, **more)


def _session(
    kubectl: Kubectl, variables: Mapping[str, Any], say: Callable[[str], None], endpoint: str | None, **more: Any
) -> Iterator[tuple[World, Tables]]:
    cluster = Cluster(
        str(variables["galera_cluster_name"]), str(variables.get("galera_cluster_namespace", "default")), kubectl
    )
    tools = f"fault-tools-{cluster.namespace}-{cluster.name}"[:63].rstrip("-")
    hands = Hands(cluster, tools)
    load = Load(Outside(endpoint) if endpoint else InPod(cluster, tools))
    world, tables = World(cluster, hands, load, say, **more), Tables(cluster)
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    # What an earlier run left, which may still be on its way out
    kubectl("delete", "namespace", tools, "--ignore-not-found", "--wait", seconds=180)
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": tools, "labels": labels}})
    try:
        hands.start()
        clear_rules(world)
        world.signal(cluster.pods(), "mariadbd", "CONT", "agent", "CONT")
        world.await_whole("the cluster to be whole before anything is done to it")
        tables.make(load.password)
        yield world, tables
    finally:
        _end(world, tables, tools)


def _end(world: World, tables: Tables, tools: str) -> None:
    steps: Sequence[Callable[[], object]] = (
        world.load.stop,
        lambda: world.signal(world.cluster.pods(), "mariadbd", "CONT", "agent", "CONT"),
        lambda: clear_rules(world),
        tables.drop,
        lambda: world.cluster.kubectl("delete", "namespace", tools, "--wait=false", "--ignore-not-found"),
    )
    for step in steps:
        # A cluster that did not come back must not keep the rest from being removed.
        with suppress(KubeError, WaitError, LookupError):
            step()
