# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _observe
from ansible_collections.stateful.galera.plugins.module_utils._errors import ApiError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes, status
from unit.plugins.module_utils.sights import NODE_CLAIMS, RECORD, SEED_CLAIM, UUID, claim, pod

NAMES = _observe.Names("demo", "db")
AGENT: dict[str, Any] = json.loads((Path(__file__).parent / "fixtures" / "agents_healthy.json").read_text())[0]
LABELS = {"app.kubernetes.io/instance": "demo"}


def _set(name: str, replicas: int) -> dict[str, Any]:
    return {
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": "db", "labels": LABELS},
        "spec": {"replicas": replicas},
    }


def _fill(api: FakeKubernetes, size: int = 3) -> Client:
    api.add(_set("demo-galera", size))
    for ordinal in range(size):
        api.add(pod(f"demo-galera-{ordinal}"))
        api.agents[f"demo-galera-{ordinal}"] = AGENT
    api.add(pod("demo-galera-haproxy-1", "haproxy"))
    api.add(
        {"kind": "ConfigMap", "metadata": {"name": "demo-galera-state", "namespace": "db"}, "data": {"cluster": RECORD}}
    )
    return Client(api.auth, retry_timeout=0)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("data-demo-galera-0", True),
        ("data-demo-galera-12", True),
        ("data-demo-galera-seed-0", False),
        ("data-demo-galera-", False),
        ("data-other-demo-galera-0", False),
        ("demo-galera-seed-volume-claim", False),
    ],
)
def test_node_claims(name: str, ours: bool) -> None:
    assert NAMES.is_node_claim(name) is ours


@pytest.mark.parametrize("size", [3, 5])
def test_cost_of_a_look(api: FakeKubernetes, size: int) -> None:
    client = _fill(api, size)
    sight = _observe.look(client, NAMES, size)
    assert client.requests == len(api.requests) == 4 + size
    assert [node.synced for node in sight.nodes] == [True] * size


def test_look(api: FakeKubernetes) -> None:
    client = _fill(api)
    api.add(pod("other-galera-0") | {"metadata": {"name": "other-galera-0", "namespace": "db", "labels": {}}})
    sight = _observe.look(client, NAMES, None)
    assert (sight.size, sight.record_uuid, sight.seed, sight.haproxy_pods, sight.claims) == (3, UUID, None, 1, ())
    assert [node.name for node in sight.nodes] == sight.wanted_names


def test_look_at_the_seed_and_at_claims(api: FakeKubernetes) -> None:
    client = _fill(api)
    api.add(_set("demo-galera-seed", 1))
    api.add(pod("demo-galera-seed-0", "seed", leaving=True))
    for each in (*NODE_CLAIMS, SEED_CLAIM, claim("demo-galera-backup-volume-claim"), claim("data-other-galera-0")):
        api.add(each)
    sight = _observe.look(client, NAMES, 3, claims=True)
    assert sight.seed is not None
    assert (sight.seed_pod_leaving, sight.seed_leaving, sight.seed_claim_leaving) == (True, False, False)
    assert sorted(sight.node_claims) == [f"data-demo-galera-{ordinal}" for ordinal in range(3)]
    assert sight.seed_claim is not None
    assert [node.role for node in sight.nodes] == ["node", "node", "node", "seed"]


def test_nodes_are_in_the_order_of_their_numbers(api: FakeKubernetes) -> None:
    client = _fill(api, 11)
    assert [node.name for node in _observe.look(client, NAMES, 11).nodes][-2:] == ["demo-galera-9", "demo-galera-10"]


def test_nothing_is_there(api: FakeKubernetes) -> None:
    client = Client(api.auth)
    sight = _observe.look(client, NAMES, None)
    assert (sight.size, sight.stateful_set, sight.nodes, sight.record, sight.record_uuid) == (0, None, (), None, None)
    assert client.requests == 4


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (
            status(503, "ServiceUnavailable", "error trying to reach service: connection refused"),
            "its agent does not answer: error trying to reach service: connection refused",
        ),
        ((200, b"<html>"), "its agent's answer is no JSON object"),
        ((200, b"[1]"), "its agent's answer is no JSON object"),
    ],
)
def test_agent_that_is_silent(api: FakeKubernetes, reply: tuple[int, Any], reason: str) -> None:
    client = _fill(api)
    api.replies["GET", "/api/v1/namespaces/db/pods/http:demo-galera-1:9200/proxy/status"] = [reply]
    sight = _observe.look(client, NAMES, 3)
    assert [(node.phase, node.synced) for node in sight.nodes] == [
        ("running", True),
        ("unknown", False),
        ("running", True),
    ]
    assert sight.nodes[1].reason == reason


def test_pod_without_an_address_is_not_asked(api: FakeKubernetes) -> None:
    client = _fill(api)
    waiting = pod("demo-galera-1")
    del waiting["status"]["podIP"]
    api.add(waiting)
    assert [node.phase for node in _observe.look(client, NAMES, 3).nodes] == ["running", "unknown", "running"]
    assert client.requests == 6


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pod_that_has_ended_is_not_asked(api: FakeKubernetes, phase: str) -> None:
    client = _fill(api)
    ended = pod("demo-galera-1")
    ended["status"]["phase"] = phase
    api.add(ended)
    seen = _observe.look(client, NAMES, 3).nodes[1]
    assert (seen.phase, seen.reason, client.requests) == ("unknown", "its pod has ended", 6)


def test_agents_that_may_not_be_asked(api: FakeKubernetes) -> None:
    client = _fill(api)
    path = "/api/v1/namespaces/db/pods/http:demo-galera-1:9200/proxy/status"
    api.replies["GET", path] = [status(403, "Forbidden", 'cannot get resource "pods/proxy"')]
    with pytest.raises(ApiError, match=r'^The agents cannot be asked: cannot get resource "pods/proxy"$'):
        _observe.look(client, NAMES, 3)


def test_list_that_is_forbidden(api: FakeKubernetes) -> None:
    api.denied.add(("list", "pods"))
    with pytest.raises(ApiError, match="pods is forbidden"):
        _observe.look(Client(api.auth), NAMES, 3)


def test_deployment_of_haproxy_is_seen_and_may_be_closed_to_us(api: FakeKubernetes) -> None:
    client = _fill(api)
    assert _observe.look(client, NAMES, 3).proxies == ()
    metadata = {"name": "demo-galera-haproxy", "namespace": "db", "labels": LABELS}
    api.add({"kind": "Deployment", "metadata": metadata, "spec": {"replicas": 2}})
    assert _observe.look(client, NAMES, 3).haproxy_wanted == 2
    api.denied.add(("list", "deployments"))
    sight = _observe.look(client, NAMES, 3)
    assert (sight.proxies, len(sight.nodes)) == (None, 3)
