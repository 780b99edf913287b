# SPDX-License-Identifier: GPL-3.0-or-later
"""Views: who exists by the API server's word, where members are asked, and what an API server that is away means."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from agent_fakes import FakeKube
from galera_agent import facts as module
from galera_agent.datadir import Evidence
from galera_agent.decide import decide
from galera_agent.election import unheard
from galera_agent.facts import Facts, pod_note
from galera_agent.lease import BootstrapLease
from galera_agent.members import Action, Contact, Member, Record, View
from galera_agent.peers import Answer
from galera_agent.record import SIZE_ANNOTATION
from galera_agent.settings import Settings

A = "aaaaaaaa-0000-4000-8000-00000000000a"
ME = Member("n-galera-0", False, 0, Contact.ANSWERS, Evidence("empty"), stopped=True)


class Network:
    """Answers by address; addresses that were asked are kept."""

    def __init__(self) -> None:
        self.up: dict[str, str] = {}
        self.namespace: str | None = None
        self.asked: dict[str, str] = {}

    def ask_all(self, addresses: dict[str, str]) -> dict[str, Answer]:
        self.asked = dict(addresses)
        return {
            pod: Answer(self.says(self.up[address])) if address in self.up else Answer(None, "timed out")
            for pod, address in addresses.items()
        }

    def says(self, pod: str) -> dict[str, Any]:
        found = {"pod": pod, "phase": "waiting", "format": 1, "evidence": {"data": "empty"}}
        return found if self.namespace is None else {**found, "namespace": self.namespace}


def pod(name: str, ip: str | None, **status: Any) -> dict[str, Any]:
    found = {"phase": "Running", **({"podIP": ip} if ip else {}), **status}
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, "status": found}


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    found = Network()
    monkeypatch.setattr(module, "Peers", lambda port: found)
    return found


def look(settings: Settings, kube: FakeKube) -> View:
    return Facts(settings, kube, BootstrapLease(kube, settings.lease, settings.pod)).view(ME)


def contacts(view: View) -> dict[str, str]:
    return {peer.pod: peer.contact.value for peer in view.peers}


def test_all_kinds_of_members(settings: Settings, kube: FakeKube, network: Network) -> None:
    kube.make_map(settings.state_map, {"cluster": json.dumps({"uuid": A})})
    kube.sets = {settings.node_set: 3}
    kube.found_pods = [pod("n-galera-0", "10.0.0.1"), pod("n-galera-1", "10.0.0.2"), pod("n-galera-2", None)]
    network.up = {"10.0.0.2": "n-galera-1"}
    view = look(settings, kube)
    assert contacts(view) == {"n-galera-1": "answers", "n-galera-2": "silent", "n-galera-seed-0": "absent"}
    assert (view.api_error, view.record, view.lease, view.size) == (None, Record(A), None, 3)
    assert network.asked == {"n-galera-1": "10.0.0.2", "n-galera-2": "n-galera-2.n-galera-nodes.ns.svc"}


@pytest.mark.parametrize(("namespace", "expected"), [("ns", "answers"), (None, "answers"), ("staging", "silent")])
def test_the_same_pod_of_another_namespace_is_no_member(
    settings: Settings, kube: FakeKube, network: Network, namespace: str | None, expected: str
) -> None:
    """Its machine is gone, and its address is another cluster's, while the API server still has the pod."""
    kube.make_map(settings.state_map, {"cluster": json.dumps({"uuid": A})})
    kube.sets, kube.found_pods = {settings.node_set: 3}, [pod("n-galera-1", "10.0.0.2")]
    network.up, network.namespace = {"10.0.0.2": "n-galera-1"}, namespace
    view = look(settings, kube)
    assert contacts(view)["n-galera-1"] == expected
    assert (unheard(view)[0].pod == "n-galera-1") is (expected == "silent")


@pytest.mark.parametrize(
    ("nodes", "pods", "expected"),
    [
        (0, [], "absent"),
        (2, [], "absent"),
        (3, [], "silent"),
        (2, [pod("n-galera-2", "10.0.0.3")], "silent"),
    ],
)
def test_absent_needs_both_no_pod_and_no_replica(
    settings: Settings, kube: FakeKube, network: Network, nodes: int, pods: list[dict[str, Any]], expected: str
) -> None:
    kube.make_map(settings.state_map)
    kube.maps[settings.state_map]["metadata"]["annotations"] = {SIZE_ANNOTATION: "3"}
    kube.sets, kube.found_pods = {settings.node_set: nodes}, pods
    assert contacts(look(settings, kube))["n-galera-2"] == expected


def test_a_set_that_wants_more_nodes_counts(settings: Settings, kube: FakeKube, network: Network) -> None:
    kube.make_map(settings.state_map)
    kube.sets = {settings.node_set: 5}
    view = look(settings, kube)
    assert view.size == 5
    assert contacts(view)["n-galera-4"] == "silent"


@pytest.mark.parametrize(
    ("recorded", "nodes", "size"),
    [("3", 2, 3), ("3", 0, 3), ("2", 2, 2), ("2", 4, 4), (None, 2, 2), (None, 6, 6)],
)
def test_the_record_says_how_many_nodes_there_are(
    settings: Settings, kube: FakeKube, network: Network, recorded: str | None, nodes: int, size: int
) -> None:
    """A node that never left in order is absent, and waited for. Where it does not say, as many as are wanted."""
    kube.make_map(settings.state_map, {"cluster": json.dumps({"uuid": A})})
    kube.maps[settings.state_map]["metadata"]["annotations"] = {} if recorded is None else {SIZE_ANNOTATION: recorded}
    kube.sets = {settings.node_set: nodes}
    facts = Facts(settings, kube, BootstrapLease(kube, settings.lease, settings.pod))
    view = facts.view(ME)
    assert (view.size, view.api_error) == (size, None)
    absent = [peer for peer in view.peers if peer.contact is Contact.ABSENT and not peer.seed]
    assert [peer.pod for peer in absent] == [f"n-galera-{ordinal}" for ordinal in range(max(nodes, 1), size)]
    assert all(peer in unheard(view) for peer in absent)
    kube.down = True
    assert facts.view(ME, fresh=True).size == size


def test_without_a_record_the_size_is_that_of_the_manifests(
    settings: Settings, kube: FakeKube, network: Network
) -> None:
    kube.make_map(settings.state_map)
    kube.maps[settings.state_map]["metadata"]["annotations"] = {SIZE_ANNOTATION: "4"}
    kube.sets = {settings.node_set: 3}
    assert look(settings, kube).size == 4


@pytest.mark.parametrize("gone", ["scaled down", "no StatefulSet"])
def test_where_no_size_is_recorded_all_count_that_are_known(
    settings: Settings, kube: FakeKube, network: Network, gone: str
) -> None:
    """Those that were recorded, and those whose pods are there, whatever the StatefulSet wants."""
    entry = json.dumps({"uuid": A, "seqno": 9})
    kube.make_map(
        settings.state_map, {"cluster": json.dumps({"uuid": A}), "n-galera-1": entry, "n-galera-seed-0": entry}
    )
    kube.sets = {settings.node_set: 1} if gone == "scaled down" else {}
    assert look(settings, kube).size == 2
    kube.found_pods = [pod("n-galera-3", "10.0.0.4"), pod("n-galera-seed-0", "10.0.0.9")]
    view = look(settings, kube)
    assert (view.size, view.api_error) == (4, None)
    assert {peer.pod for peer in unheard(view)} >= {"n-galera-1", "n-galera-2", "n-galera-3"}


def test_where_nothing_tells_the_size_of_a_recorded_cluster_its_seed_waits(
    settings: Settings, kube: FakeKube, network: Network
) -> None:
    """Its nodes may come with newer data; a new cluster has none yet, and its seed goes on."""
    seed = replace(settings, pod=settings.seed_pod, role="seed")
    me = Member(seed.pod, True, 0, Contact.ANSWERS, Evidence("present", A, 7), stopped=True)
    facts = Facts(seed, kube, BootstrapLease(kube, seed.lease, seed.pod))
    kube.make_map(seed.state_map)
    assert decide(facts.view(me, fresh=True)).action is Action.CLAIM
    kube.make_map(seed.state_map, {"cluster": json.dumps({"uuid": A})})
    waits = decide(facts.view(me, fresh=True))
    assert (waits.action, waits.offer) == (Action.WAIT, None)
    assert "the ConfigMap n-galera-state does not say how many nodes the cluster has" in waits.reason
    kube.sets = {seed.node_set: 3}
    assert "waits for n-galera-0" in decide(facts.view(me, fresh=True)).reason
    kube.maps[seed.state_map]["metadata"]["annotations"] = {SIZE_ANNOTATION: "4"}
    kube.sets = {}
    assert "n-galera-3" in decide(facts.view(me, fresh=True)).reason


@pytest.mark.parametrize("text", ["", "0", "three", "-1", "100"])
def test_a_size_that_cannot_be_read_is_no_missing_size(
    settings: Settings, kube: FakeKube, network: Network, text: str
) -> None:
    kube.make_map(settings.state_map, {"cluster": json.dumps({"uuid": A})})
    kube.maps[settings.state_map]["metadata"]["annotations"] = {SIZE_ANNOTATION: text}
    assert "unreadable annotation 'stateful.galera/size'" in str(look(settings, kube).api_error)


def test_without_the_api_server_nobody_is_absent_and_names_are_asked(
    settings: Settings, kube: FakeKube, network: Network
) -> None:
    kube.down = True
    network.up = {"n-galera-1.n-galera-nodes.ns.svc": "n-galera-1"}
    view = look(settings, kube)
    silent = dict.fromkeys(["n-galera-2", "n-galera-3", "n-galera-4", "n-galera-seed-0"], "silent")
    assert contacts(view) == {"n-galera-1": "answers", **silent}
    assert "connection refused" in str(view.api_error)


@pytest.mark.parametrize("data", [None, {"cluster": "{"}])
def test_a_record_that_cannot_be_read_is_no_empty_record(
    settings: Settings, kube: FakeKube, network: Network, data: dict[str, str] | None
) -> None:
    if data is not None:
        kube.make_map(settings.state_map, data)
    view = look(settings, kube)
    assert view.record is None
    assert view.api_error is not None


def test_who_answers_at_an_old_address_is_not_the_member(settings: Settings, kube: FakeKube, network: Network) -> None:
    kube.make_map(settings.state_map)
    kube.sets, kube.found_pods = {settings.node_set: 3}, [pod("n-galera-1", "10.0.0.2")]
    network.up = {"10.0.0.2": "n-galera-2"}
    assert contacts(look(settings, kube))["n-galera-1"] == "silent"


UNSCHEDULED = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]
PULLING = [{"name": "agent", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]
CREATING = [{"name": "agent", "state": {"waiting": {"reason": "PodInitializing"}}}]


@pytest.mark.parametrize(
    ("found", "note"),
    [
        (pod("p", None, phase="Pending", conditions=UNSCHEDULED), "not scheduled: 0/3 nodes are available"),
        (pod("p", "10.0.0.1", phase="Pending", initContainerStatuses=PULLING), "container agent: ImagePullBackOff"),
        (pod("p", "10.0.0.1", containerStatuses=PULLING), "container agent: ImagePullBackOff"),
        (pod("p", "10.0.0.1", phase="Pending", initContainerStatuses=CREATING), "the pod is Pending"),
        (pod("p", "10.0.0.1"), ""),
        (
            {"metadata": {"name": "p", "deletionTimestamp": "now"}, "status": {"phase": "Running"}},
            "the pod is being deleted",
        ),
        ({}, "the pod is unknown"),
    ],
)
def test_pod_note(found: dict[str, Any], note: str) -> None:
    assert pod_note(found) == note


def test_what_the_api_server_said_last_is_kept(
    settings: Settings, kube: FakeKube, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube.make_map(settings.state_map, {"cluster": json.dumps({"uuid": A})})
    kube.sets = {settings.node_set: 3}
    facts = Facts(settings, kube, BootstrapLease(kube, settings.lease, settings.pod))
    assert facts.view(ME).record == Record(A)
    kube.down = True
    view = facts.view(ME, fresh=True)
    assert (view.api_error is None, view.record, view.consent) == (False, Record(A), None)


def test_without_the_api_server_the_record_is_that_of_the_last_minute_and_not_of_the_last_look(
    settings: Settings, kube: FakeKube, network: Network
) -> None:
    """A member looks at the others before it starts, and then at nobody for as long as its server is in service."""
    given_up = json.dumps({name: {"seqno": 7, "time": "t"} for name in ("n-galera-0", "n-galera-2")})
    kube.make_map(settings.state_map, {"cluster": json.dumps({"uuid": A}), "given_up": given_up})
    kube.sets = {settings.node_set: 3}
    facts = Facts(settings, kube, BootstrapLease(kube, settings.lease, settings.pod))
    facts.view(ME)
    kube.down = True
    view = replace(facts.view(ME, fresh=True), me=replace(ME, evidence=Evidence("present", A, 250)))
    serves = Member("n-galera-2", False, 2, Contact.ANSWERS, Evidence("present", A, 300), primary=A, record=Record(A))
    assert decide(replace(view, peers=(serves,))).action is Action.WAIT
    # both have come back since, and this one has served
    facts.learn(Record(A))
    facts.learn(None)
    later = facts.view(view.me, fresh=True)
    assert (later.api_error is None, later.record) == (False, Record(A))
    assert decide(replace(later, peers=(serves,))).action is Action.JOIN
