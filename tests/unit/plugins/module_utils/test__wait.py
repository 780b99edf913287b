# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _wait
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._observe import Names, Sight
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = Names("t", "t-modules")


def _load(name: str) -> list[dict[str, Any]]:
    return list(json.loads((FIXTURES / f"{name}.json").read_text()))


class Clock:
    """A clock that goes on only while someone sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def _waiter(api: FakeKubernetes, timeout: float = 12) -> tuple[_wait.Waiter, Clock]:
    clock = Clock()
    client = Client(api.auth, retry_timeout=0)
    return _wait.Waiter(client, NAMES, 3, timeout, clock=clock, sleep=clock.sleep), clock


def _never(sight: Sight) -> str:
    return f"{len(sight.pods)} pods"


def _add_pod(api: FakeKubernetes, name: str) -> None:
    pod = next(each for each in _load("pods_troubled") if each["metadata"]["name"] == name)
    pod["status"].pop("podIP", None)
    api.add(pod)


def test_goal_that_is_reached_at_once(api: FakeKubernetes) -> None:
    waiter, clock = _waiter(api)
    assert waiter.until(lambda sight: "", "nothing").names == NAMES
    assert clock.now == 1000.0


def test_goal_that_is_reached_later(api: FakeKubernetes) -> None:
    waiter, clock = _waiter(api)
    looks = itertools.count(1)
    waiter.until(lambda sight: "" if next(looks) == 4 else "not yet", "something")
    assert clock.now == pytest.approx(1001.2)


def test_what_takes_long_is_looked_at_less_often(api: FakeKubernetes) -> None:
    waiter, clock = _waiter(api, timeout=60)
    looks: list[float] = []

    def goal(sight: Sight) -> str:
        looks.append(clock.now - 1000.0)
        return "not yet" if clock.now < 1020.0 else ""

    waiter.until(goal, "something")
    pauses = [(before, round(after - before, 1)) for before, after in itertools.pairwise(looks)]
    assert {pause for before, pause in pauses if before < 9.9} == {0.4}
    assert {pause for before, pause in pauses if before > 10.1} == {0.8}


def test_time_is_up(api: FakeKubernetes) -> None:
    waiter, clock = _waiter(api)
    with pytest.raises(GaleraError) as error:
        waiter.until(_never, "three pods")
    assert str(error.value) == "Waited 12 s for three pods, last seen: 0 pods."
    assert 1012 <= clock.now <= 1013


def test_waits_share_one_deadline(api: FakeKubernetes) -> None:
    waiter, clock = _waiter(api)
    clock.now += 11.9
    with pytest.raises(GaleraError):
        waiter.until(_never, "three pods")
    assert clock.now <= 1013


@pytest.mark.parametrize(
    ("pod", "said", "after"),
    [
        ("t-galera-1", "Waiting for it is of no use: The image UPPER/Case::x of the container mariadb", 0),
        (
            "t-galera-0",
            "Waiting for it is of no use: The image registry.invalid/mariadb:11.8 of the container mariadb",
            3,
        ),
        ("t-galera-2", "Waiting for it is of no use: t-galera-2 finds no Kubernetes node: 0/5 nodes", 10),
        ("t-galera-3", "ended 4 times (exit code 3, Error). Its last words: first line last line", 0),
    ],
)
def test_hopeless(api: FakeKubernetes, pod: str, said: str, after: float) -> None:
    _add_pod(api, pod)
    waiter, clock = _waiter(api)
    with pytest.raises(GaleraError) as error:
        waiter.until(_never, "it")
    assert said in str(error.value)
    assert after <= clock.now - 1000 <= after + 1


def test_trouble_that_passes(api: FakeKubernetes) -> None:
    _add_pod(api, "t-galera-2")
    waiter, clock = _waiter(api)

    def goal(sight: Sight) -> str:
        if clock.now >= 1008:
            api.objects.pop(("Pod", "t-modules", "t-galera-2"), None)
        return "" if clock.now >= 1011 else "not yet"

    waiter.until(goal, "it")
    assert clock.now >= 1011


def test_volume_that_does_not_come_is_told_at_the_end(api: FakeKubernetes) -> None:
    _add_pod(api, "t-galera-5")
    for claim in _load("claims_troubled")[:1]:
        api.add(claim)
    for number, event in enumerate(_load("events_troubled")):
        api.add({"kind": "Event", "metadata": {"name": f"e{number}", "namespace": "t-modules"}, **event})
    waiter, clock = _waiter(api)
    with pytest.raises(GaleraError) as error:
        waiter.until(_never, "it")
    assert str(error.value).startswith("Waited 12 s for it, last seen: 1 pods. t-galera-5 finds no Kubernetes node: ")
    assert "The claim data-t-galera-5 gets no volume: Waiting for a volume to be created" in str(error.value)
    assert clock.now >= 1012


def test_events_are_asked_for_only_while_something_pends(api: FakeKubernetes) -> None:
    waiter, _ = _waiter(api)
    with pytest.raises(GaleraError):
        waiter.until(_never, "it")
    assert not any(path.endswith("/events") for _, path, _ in api.requests)


def test_who_may_not_read_events_still_gets_an_answer(api: FakeKubernetes) -> None:
    _add_pod(api, "t-galera-5")
    api.denied |= {("list", "events"), ("list", "persistentvolumeclaims")}
    waiter, _ = _waiter(api)
    with pytest.raises(
        GaleraError, match=r"^Waited 12 s for it, last seen: 1 pods. t-galera-5 finds no Kubernetes node: "
    ):
        waiter.until(_never, "it")


@pytest.mark.parametrize("haproxy", [True, False])
def test_trouble_of_haproxy_counts_where_it_is_waited_for(api: FakeKubernetes, haproxy: bool) -> None:
    _add_pod(api, "t-galera-1")
    api.objects["Pod", "t-modules", "t-galera-1"]["metadata"]["labels"]["app.kubernetes.io/component"] = "haproxy"
    clock = Clock()
    client = Client(api.auth, retry_timeout=0)
    waiter = _wait.Waiter(client, NAMES, 3, 12, haproxy=haproxy, clock=clock, sleep=clock.sleep)
    with pytest.raises(GaleraError) as error:
        waiter.until(_never, "it")
    assert str(error.value).startswith("Waiting for it is of no use: The image" if haproxy else "Waited 12 s for it")
