# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.modules import wsrep_info
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes
from unit.plugins.modules.conftest import FakeModule

FIXTURES = Path(__file__).parents[1] / "module_utils" / "fixtures"


def _load(name: str) -> list[dict[str, Any]]:
    return list(json.loads((FIXTURES / f"{name}.json").read_text()))


def _fill(api: FakeKubernetes) -> None:
    """A cluster as it was seen on a real Kubernetes."""
    for manifest in (*_load("pods_healthy"), *_load("statefulsets_healthy")):
        api.add(manifest)
    api.add(
        {
            "kind": "Deployment",
            "metadata": {
                "name": "lead-galera-haproxy",
                "namespace": "lead",
                "labels": {"app.kubernetes.io/instance": "lead"},
            },
            "spec": {"replicas": 2},
            "status": {"updatedReplicas": 2},
        }
    )
    for agent in _load("agents_healthy"):
        api.agents[agent["pod"]] = agent


def _run(api: FakeKubernetes, check: bool = False, **params: Any) -> dict[str, Any]:
    common = {
        "name": "lead",
        "namespace": "lead",
        "size": None,
        "wait": False,
        "wait_for": "healthy",
        "diagnose": False,
        "wait_timeout": 0,
    }
    return wsrep_info.work(FakeModule({**api.auth, **common, **params}, check))


def test_healthy_cluster(api: FakeKubernetes) -> None:
    _fill(api)
    result = _run(api)
    assert result["changed"] is False
    assert [row["name"] for row in result["nodes"]] == ["lead-galera-0", "lead-galera-1", "lead-galera-2"]
    assert result["cluster"] == {
        "verdict": "healthy",
        "reason": "All 3 nodes are Synced in one Primary component.",
        "size": 3,
        "wanted": 3,
        "uuid": "1a7ac90c-e57a-11f1-a434-cb576fa25710",
        "ready": 3,
        "seed": False,
        "haproxy": 2,
        "haproxy_ready": 2,
        "writer": "lead-galera-0",
    }
    assert result["requests"] == len(api.requests) == 7


def test_set_without_its_label_is_seen(api: FakeKubernetes) -> None:
    _fill(api)
    live = api.get("StatefulSet", "lead-galera", "lead") or {}
    live["metadata"]["labels"] = {}
    result = _run(api)
    assert (result["cluster"]["verdict"], result["cluster"]["wanted"]) == ("healthy", 3)
    api.denied = {("get", "statefulsets")}
    assert _run(api)["cluster"]["wanted"] == 0


@pytest.mark.parametrize("wait_for", ["healthy", "serving"])
def test_wait_for_what_is_there_costs_no_more(api: FakeKubernetes, wait_for: str) -> None:
    _fill(api)
    assert _run(api, wait=True, wait_for=wait_for, size=3)["requests"] == 7


def test_wait_until_the_last_node_is_synced(api: FakeKubernetes) -> None:
    _fill(api)
    synced = api.agents["lead-galera-2"]
    api.agents["lead-galera-2"] = {
        **synced,
        "wsrep": None,
        "age_seconds": None,
        "phase": "starting",
        "reason": "receives a copy",
    }
    asked = {"times": 0}

    def joins(method: str, path: str) -> None:
        asked["times"] += "lead-galera-2" in path
        if asked["times"] == 3:
            api.agents["lead-galera-2"] = synced

    api.before = joins
    assert _run(api, wait=True, wait_timeout=30, size=3)["cluster"]["verdict"] == "healthy"
    assert asked["times"] == 3


def test_time_is_up(api: FakeKubernetes) -> None:
    _fill(api)
    del api.agents["lead-galera-2"]
    with pytest.raises(GaleraError) as error:
        _run(api, wait=True, wait_timeout=0, size=3)
    assert str(error.value) == (
        "Waited 0 s for 3 nodes of the cluster lead to be Synced and Ready, last seen: The cluster is being "
        "made; 2 of 3 nodes are "
        "Synced: lead-galera-2 is Running (its agent does not answer: connection refused)."
    )


def test_no_cluster(api: FakeKubernetes) -> None:
    for check in (False, True):
        result = _run(api, check, size=3)
        assert (result["changed"], result["nodes"], result["cluster"]["verdict"]) == (False, [], "absent")


def test_no_cluster_is_not_waited_for(api: FakeKubernetes) -> None:
    with pytest.raises(
        GaleraError, match=r"^There is no cluster lead in the namespace lead: the site playbook makes it\.$"
    ):
        _run(api, wait=True, wait_timeout=600, size=3)
    assert len(api.requests) == 4


def test_check_mode_does_not_wait(api: FakeKubernetes) -> None:
    _fill(api)
    del api.agents["lead-galera-2"]
    assert _run(api, check=True, wait=True, wait_timeout=600, size=3)["cluster"]["verdict"] == "bootstrapping"


def test_split_is_looked_at_twice(api: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents are asked one after the other: while a view changes they may seem to disagree."""
    monkeypatch.setattr(wsrep_info, "_SECOND_LOOK_SECONDS", 0)
    _fill(api)
    views = {name: dict(agent["wsrep"]) for name, agent in api.agents.items()}
    for agent in api.agents.values():
        agent["wsrep"]["cluster_size"] = 1
    assert _run(api)["cluster"]["verdict"] == "split"
    asked = {"times": 0}

    def agree(method: str, path: str) -> None:
        asked["times"] += "/proxy/" in path
        if asked["times"] > 3:
            for name, agent in api.agents.items():
                agent["wsrep"] = views[name]

    api.before = agree
    assert _run(api)["cluster"]["verdict"] == "healthy"


def test_nothing_is_ever_written(api: FakeKubernetes) -> None:
    _fill(api)
    _run(api, wait=True, size=3)
    assert {method for method, _, _ in api.requests} == {"GET"}


def test_diagnosis_of_a_node_that_is_away(api: FakeKubernetes) -> None:
    _fill(api)
    del api.objects["Pod", "lead", "lead-galera-2"]
    api.agents["lead-galera-1"]["wsrep"]["local_state_comment"] = "Joiner"
    api.add({"kind": "Lease", "metadata": {"name": "lead-galera-site", "namespace": "lead"}, "spec": {}})
    log = b"2026-11-21 12:00:01 0 [ERROR] WSREP: SST failed: 32 (Broken pipe)\n"
    api.replies["GET", "/api/v1/namespaces/lead/pods/lead-galera-1/log"] = [(200, log)]
    result = _run(api, size=3, diagnose=True)
    rows = {row["name"]: row for row in result["nodes"]}
    assert (rows["lead-galera-2"]["pod_phase"], rows["lead-galera-2"]["claim"]) == ("Absent", "data-lead-galera-2")
    assert rows["lead-galera-1"]["transfer_error"] == "[ERROR] WSREP: SST failed: 32 (Broken pipe)"
    assert rows["lead-galera-0"]["transfer_error"] is None
    # there is no record of it
    assert result["cluster"]["next_step"].startswith("Wait, or run the site playbook")
    assert (result["cluster"]["site_lease"], result["cluster"]["unfinished"]) == (None, "")


def test_diagnosis_goes_without_what_may_not_be_read(api: FakeKubernetes) -> None:
    _fill(api)
    api.add({"kind": "ConfigMap", "metadata": {"name": "lead-galera-state", "namespace": "lead"}})
    api.denied |= {("list", "events"), ("get", "leases")}
    cluster = _run(api, size=3, diagnose=True)["cluster"]
    assert (cluster["verdict"], cluster["next_step"], cluster["site_lease"]) == (
        "healthy",
        "Nothing is to be done.",
        None,
    )
