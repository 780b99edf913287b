# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault that did not come about is told, and not taken for one that did."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from fault import world as world_module
from fault.cluster import Pod
from fault.faults import machines, network, services, volumes
from fault.faults.registry import FAULTS
from fault.kube import KubeError
from fault.world import NotInjectedError, World

NODES = ["n-galera-0", "n-galera-1", "n-galera-2"]
PODS = {
    name: Pod(name, f"uid-{name}", f"10.0.0.{number}", f"m{number}", True, 0, False, {})
    for number, name in enumerate(NODES)
}
Answer = Callable[..., str]


class Hands:
    """Answers each command with what a test has laid out for it; notes what was asked."""

    machines = ("m0", "m1", "m2")

    def __init__(self) -> None:
        self.answers: dict[str, str | Answer] = {"signal": '{"mariadbd": 1}', "chain": "", "delay": "", "shape": ""}
        self.asked: list[tuple[str, ...]] = []

    def on(self, machine: str, *arguments: str, **_: Any) -> str:
        """A command on a machine."""
        self.asked.append((machine, *arguments))
        answer = self.answers.get(arguments[0], "")
        return answer(machine, *arguments) if callable(answer) else answer

    def recovered(self, machine: str, path: str) -> dict[str, Any]:
        """A look into a volume."""
        return {"log": "", "partial": True}

    def at(self, pod: str, command: str, *arguments: str, **_: Any) -> str:
        """A command for a pod."""
        return self.on(PODS[pod].node, command, PODS[pod].uid, *arguments)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    for module in (world_module, network, services, machines, volumes):
        monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    return Hands()


@pytest.fixture
def world(hands: Hands) -> World:
    """Three nodes, the first of which is the writer; nothing in Kubernetes answers but the list of the pods."""

    def away(path: str, seconds: float = 30) -> str:
        raise KubeError(f"{path}: timed out")

    cluster: Any = SimpleNamespace(
        nodes=NODES,
        size=3,
        pods=lambda component="node": PODS if component == "node" else {},
        volume=lambda pod: f"/volumes/{pod}",
        status=lambda pod: {"wsrep": {"local_state": 4}},
        kubectl=SimpleNamespace(raw=away, get=lambda *_: {"items": [{"spec": {"nodeName": "m0"}}]}),
        sql=lambda *_: [],
    )
    load: Any = SimpleNamespace(writer=lambda: NODES[0], machine=lambda: "m1")
    homes = {name: pod.node for name, pod in PODS.items()}
    return World(cluster, hands, load, lambda text: None, homes=homes)


def test_a_signal_that_finds_no_server(world: World, hands: Hands) -> None:
    hands.answers["signal"] = '{"mariadbd": 0}'
    with pytest.raises(NotInjectedError, match="no mariadbd ran in n-galera-0"):
        FAULTS["kill"].inject(world, {"nodes": ["writer"]})


def test_several_servers_are_killed_at_one_moment_or_it_is_told_which_was_not(world: World, hands: Hands) -> None:
    hands.answers["wait_until"] = lambda machine, *_: json.dumps({"mariadbd": int(machine != "m2")})
    with pytest.raises(NotInjectedError, match="no mariadbd ran in n-galera-2"):
        FAULTS["kill"].inject(world, {"nodes": "all"})
    assert len({moment for _, command, moment, *_ in hands.asked if command == "wait_until"}) == 1
    hands.answers["wait_until"] = '{"mariadbd": 1}'
    assert FAULTS["kill"].inject(world, {"nodes": "all"}).targets == NODES


def test_an_agent_that_was_not_frozen(world: World, hands: Hands) -> None:
    hands.answers["signal"] = '{"agent": 0, "mariadbd": 1}'
    with pytest.raises(NotInjectedError, match="no agent ran in n-galera-1"):
        FAULTS["kill_in_order"].inject(world, {"order": [1, 0, 2], "signal": "KILL", "writes": 0})


@pytest.mark.parametrize("name", ["partition", "isolate", "proxy_from_node", "loss"])
def test_rules_that_no_packet_met(world: World, hands: Hands, name: str) -> None:
    params = FAULTS[name].variants(3)[0]
    hands.answers["taken"] = "0"
    with pytest.raises(NotInjectedError, match="no packet met the rules of n-galera-0"):
        FAULTS[name].inject(world, params)
    hands.answers["taken"] = "12"
    assert NODES[0] in FAULTS[name].inject(world, params).targets


def test_packets_that_nobody_held_back(world: World, hands: Hands) -> None:
    hands.answers["held"] = lambda machine, *_: "0" if machine == "m1" else "700"
    params = {"milliseconds": 200, "nodes": "all", "seconds": 30}
    with pytest.raises(NotInjectedError, match="no packet of n-galera-1 was held back"):
        FAULTS["latency"].inject(world, params)
    hands.answers["held"] = "700"
    assert FAULTS["latency"].inject(world, params).targets == NODES


@pytest.mark.parametrize(
    ("who", "seen", "joining", "reason"),
    [
        ("joiner", {"under_way": False, "done": '{"mariadbd": 1}'}, "yes", "the transfer had ended at 950 of 1000"),
        ("joiner", {"under_way": True, "done": '{"mariadbd": 0}'}, "yes", "no mariadbd ran in n-galera-1"),
        ("donor", {"under_way": True, "done": "0"}, "yes", "none of n-galera-0, n-galera-2 was a donor any more"),
        ("network", {"under_way": True, "done": "0"}, "no", "had ended before its network was cut"),
        ("everyone", {"under_way": True, "done": "0"}, "no", "had ended before its network was cut"),
    ],
)
def test_a_state_transfer_that_was_not_interrupted(
    world: World, hands: Hands, who: str, seen: dict[str, Any], joining: str, reason: str
) -> None:
    hands.answers |= {
        "size": "1000",
        "pids": "[]",
        "joining": joining,
        "until_size": json.dumps({"bytes": 950, **seen}),
    }
    with pytest.raises(NotInjectedError, match=reason):
        FAULTS["interrupt_transfer"].inject(world, {"percent": 95, "who": who})


def test_a_temporary_directory_that_was_not_missed(world: World) -> None:
    with pytest.raises(NotInjectedError, match="n-galera-0 did without a temporary directory"):
        FAULTS["temp_full"].inject(world, {"nodes": ["writer"], "seconds": 20})


def test_an_api_server_that_went_on(world: World, hands: Hands) -> None:
    hands.answers |= {"host": "17", "pids": iter_of("[5]", "[6]")}
    assert FAULTS["api_away"].inject(world, {"kill": ["writer"], "seconds": 60}).targets == [NODES[0]]
    world.cluster.kubectl.raw = lambda path, seconds: "{}"
    with pytest.raises(NotInjectedError, match="answered while it had to be frozen"):
        FAULTS["api_away"].inject(world, {"kill": [], "seconds": 60})


def test_a_service_that_was_not_stopped_and_a_server_that_was_not_killed(
    world: World, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(look: Callable[[], str | None], what: str, seconds: float) -> float:
        if (missing := look()) is not None:
            raise world_module.WaitError(f"{what}: {missing}")
        return 0.0

    monkeypatch.setattr(world_module, "until", impatient)
    params = {"seconds": 30, "kill": True}
    hands.answers |= {"host": "1000", "pids": "[5]"}
    with pytest.raises(NotInjectedError, match="another start of kubelet: it has run since 1000"):
        FAULTS["kubelet_stop"].inject(world, params)
    hands.answers["host"] = iter_of("1000", "2000")
    with pytest.raises(NotInjectedError, match="mariadbd of n-galera-0 runs as before"):
        FAULTS["kubelet_stop"].inject(world, params)
    hands.answers |= {"host": iter_of("1000", "2000"), "pids": iter_of("[5]", "[6]")}
    assert FAULTS["kubelet_stop"].inject(world, params).targets == ["n-galera-0 on m0"]


def test_machines_that_must_not_be_stopped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(machines.subprocess, "run", lambda command, **_: commands.append(command))
    with pytest.raises(NotInjectedError, match="the clients or the API server run on the machine of n-galera-0"):
        FAULTS["machine_stop"].inject(world, {"nodes": ["writer"], "seconds": 10})
    assert FAULTS["machine_stop"].inject(world, {"nodes": "all", "seconds": 10}).targets == ["n-galera-2 on m2"]
    assert commands == [["docker", "kill", "m2"], ["docker", "start", "m2"]]


@pytest.mark.parametrize("name", ["drain", "delete_all_and_look"])
def test_a_machine_that_somebody_has_cordoned_stays_so(world: World, name: str) -> None:
    nodes = [{"metadata": {"name": f"m{n}"}, "spec": {"unschedulable": True} if n in (1, 9) else {}} for n in range(10)]
    world.cluster.kubectl.get = lambda *_: {"items": nodes}
    assert FAULTS[name].impossible(world) == "m1 is cordoned already, and would be uncordoned at the end"
    world.own = True
    assert FAULTS[name].impossible(world) is None


def test_volumes_that_cannot_be_seen_give_the_oracle_nothing(world: World) -> None:
    assert set(world.look() or ()) == set(NODES)
    world.cluster.volume = lambda pod: None if pod == NODES[2] else "/v"
    assert world.look() is None


def iter_of(*texts: str) -> Answer:
    """One answer after the other."""
    left = iter(texts)
    return lambda *_: next(left)
