# SPDX-License-Identifier: GPL-3.0-or-later
"""Events are news: one for a change, and no flood."""

from __future__ import annotations

from agent_fakes import Clock, FakeKube
from galera_agent.events import EVERY_SECONDS, Events
from galera_agent.members import Action


def told(kube: FakeKube) -> list[tuple[str, str, str]]:
    return [(event["reason"], event["type"], event["message"]) for event in kube.events]


def test_changes_are_told_once(kube: FakeKube, clock: Clock) -> None:
    events = Events(kube, "ns", "n-0", clock)
    for action, message in [
        (Action.WAIT, "waits for n-1"),
        (Action.WAIT, "waits for n-1"),
        (Action.REFUSE, "no"),
        (Action.CLAIM, "takes the Lease"),
        (Action.BOOTSTRAP, "bootstraps"),
        (Action.JOIN, "joins"),
    ]:
        events.tell(action, message, "uid")
    assert told(kube) == [
        ("GaleraWaiting", "Normal", "waits for n-1"),
        ("GaleraRefused", "Warning", "no"),
        ("GaleraBootstrap", "Normal", "bootstraps"),
        ("GaleraJoined", "Normal", "joins"),
    ]
    assert kube.events[0]["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "n-0",
        "namespace": "ns",
        "uid": "uid",
    }


def test_a_reason_that_changes_often_is_told_seldom(kube: FakeKube, clock: Clock) -> None:
    events = Events(kube, "ns", "n-0", clock)
    for second in range(60):
        events.tell(Action.WAIT, f"waits for {second}", "uid")
        clock.now += 1
    assert len(kube.events) == 60 / EVERY_SECONDS


def test_without_api_server_or_uid_nothing_breaks(kube: FakeKube, clock: Clock) -> None:
    events = Events(kube, "ns", "n-0", clock)
    events.tell(Action.WAIT, "waits", None)
    kube.down = True
    events.tell(Action.WAIT, "waits", "uid")
    assert kube.events == []


def test_a_long_reason_fits(kube: FakeKube, clock: Clock) -> None:
    Events(kube, "ns", "n-0", clock).tell(Action.WAIT, "x" * 5000, "uid")
    assert len(kube.events[0]["message"]) == 1000
