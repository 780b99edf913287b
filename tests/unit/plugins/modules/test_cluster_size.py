# SPDX-License-Identifier: GPL-3.0-or-later
"""The recorded number of members: written before nodes come, smaller only after one has left, and never left out."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.modules import rollout
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes
from unit.plugins.module_utils.sights import RECORD, UUID, claim, pod
from unit.plugins.modules.conftest import FakeModule
from unit.plugins.modules.test_cluster import _kubernetes_nodes, _phases, _refused, _run, _set

__all__ = ["_kubernetes_nodes"]  # a fixture of every test here

STATE = "/api/v1/namespaces/db/configmaps/demo-galera-state"
SETS = "/apis/apps/v1/namespaces/db/statefulsets/demo-galera"
SIZE = "stateful.galera/size"


def _size(api: FakeKubernetes) -> str | None:
    state = api.get("ConfigMap", "demo-galera-state") or {"metadata": {}}
    return (state["metadata"].get("annotations") or {}).get(SIZE)


def _nodes(size: int, **phases: Any) -> dict[str, Any]:
    """Options of a run for this many nodes."""
    return {"size": size, "phases": _phases(nodes=_set("demo-galera", size))}


def _agent(name: str, size: int) -> dict[str, Any]:
    wsrep = {"connected": True, "ready": True, "cluster_status": "Primary", "local_state_comment": "Synced"}
    wsrep |= {"cluster_size": size, "cluster_state_uuid": UUID}
    return {"pod": name, "phase": "running", "wsrep": wsrep, "age_seconds": 0.1, "evidence": {"data": "present"}}


def _serve(api: FakeKubernetes, size: int, beyond: int = 0) -> None:
    """All nodes of a StatefulSet of this size serve; beyond: pods that have not gone yet."""
    live = api.objects["StatefulSet", "db", "demo-galera"]
    live["status"] = {"readyReplicas": size, "observedGeneration": 1, "updateRevision": "a", "currentRevision": "a"}
    for key in [key for key in api.objects if key[0] == "Pod"]:
        del api.objects[key]
    for ordinal in range(size + beyond):
        manifest = pod(f"demo-galera-{ordinal}")
        manifest["metadata"]["labels"]["controller-revision-hash"] = "a"
        api.add(manifest)
        api.agents.pop(f"demo-galera-{ordinal}", None)
    for ordinal in range(size):
        api.agents[f"demo-galera-{ordinal}"] = _agent(f"demo-galera-{ordinal}", size)
    api.add(pod("demo-galera-haproxy-x", "haproxy"))


@pytest.fixture
def lives(api: FakeKubernetes) -> FakeKubernetes:
    """A cluster of three that was bootstrapped and serves; its seed has gone."""
    _run(api)
    for kind, name in (("StatefulSet", "demo-galera-seed"), ("PersistentVolumeClaim", "demo-galera-seed-volume-claim")):
        del api.objects[kind, "db", name]
    api.objects["ConfigMap", "db", "demo-galera-state"]["data"] = {"cluster": RECORD}
    for ordinal in range(3):
        api.add(claim(f"data-demo-galera-{ordinal}"))
    _serve(api, 3)
    api.requests.clear()
    return api


def _roll(api: FakeKubernetes, size: int, check: bool = False, timeout: float = 1) -> dict[str, Any]:
    document = {**_set("demo-galera", size)}
    common = {"documents": [json.dumps(document)], "restart": False, "restart_id": "", "keep_lease": False}
    params = {"name": "demo", "namespace": "db", "size": size, "wait_timeout": timeout, **common}
    return rollout.work(FakeModule({**api.auth, **params}, check))


def _down(api: FakeKubernetes) -> None:
    """As the playbook teardown leaves it."""
    for key in [key for key in api.objects if key[0] == "Pod" or key[:3] == ("StatefulSet", "db", "demo-galera")]:
        del api.objects[key]


def test_new_cluster_records_its_size(api: FakeKubernetes) -> None:
    told = _run(api, check=True)
    assert SIZE in json.dumps(told["diff"])
    _run(api)
    assert _size(api) == "3"
    api.requests.clear()
    assert (_run(api)["changed"], api.writes()) == (False, [])


def test_growth_is_recorded_before_the_nodes_come(lives: FakeKubernetes) -> None:
    lives.add({**copy.deepcopy(lives.objects["Node", "", "worker-0"]), "metadata": {"name": "worker-3", "labels": {}}})
    told = _run(lives, check=True, **_nodes(4))
    assert (lives.writes(), _size(lives)) == ([], "3")
    assert any("stateful.galera/size: '4'" in diff["after"] for diff in told["diff"])
    done = _run(lives, **_nodes(4))
    assert (lives.writes(), _size(lives)) == ([("PATCH", STATE), ("PATCH", SETS)], "4")
    assert told["objects"] == done["objects"]


def test_shrinking_is_recorded_when_the_node_has_left(lives: FakeKubernetes) -> None:
    _run(lives, **_nodes(2))
    assert (lives.writes(), _size(lives)) == ([("PATCH", SETS)], "3")
    lives.objects["StatefulSet", "db", "demo-galera"]["spec"]["updateStrategy"] = {"type": "RollingUpdate"}
    _serve(lives, 2, beyond=1)
    with pytest.raises(Exception, match="demo-galera-2 has not left yet"):
        _roll(lives, 2, timeout=0.1)
    assert _size(lives) == "3"
    _serve(lives, 2)
    assert _roll(lives, 2, check=True)["did"] == ["Would record that the cluster has 2 nodes."]
    assert _size(lives) == "3"
    assert _roll(lives, 2)["did"] == ["Recorded that the cluster has 2 nodes, no longer 3."]
    assert _size(lives) == "2"
    state = lives.objects["ConfigMap", "db", "demo-galera-state"]
    assert (state["data"], state["metadata"]["labels"]) == ({"cluster": RECORD}, {"app.kubernetes.io/instance": "demo"})
    assert not _roll(lives, 2)["changed"]
    lives.requests.clear()
    _run(lives, **_nodes(2))
    assert STATE not in [path for _, path in lives.writes()]


def test_nothing_is_recorded_while_one_of_the_rest_is_not_synced(lives: FakeKubernetes) -> None:
    _run(lives, **_nodes(2))
    _serve(lives, 2)
    lives.agents["demo-galera-1"]["wsrep"]["local_state_comment"] = "Joiner"
    with pytest.raises(Exception, match="demo-galera-1 is Joiner"):
        _roll(lives, 2, timeout=0.1)
    assert _size(lives) == "3"


def test_restart_records_nothing(lives: FakeKubernetes) -> None:
    lives.objects["ConfigMap", "db", "demo-galera-state"]["metadata"]["annotations"][SIZE] = "5"
    params = {"name": "demo", "namespace": "db", "size": 3, "wait_timeout": 1, "documents": [], "restart": False}
    done = rollout.work(FakeModule({**lives.auth, **params, "restart_id": "", "keep_lease": False}))
    assert (done["changed"], _size(lives)) == (False, "5")


def test_run_that_was_killed_before_it_recorded_is_gone_on_with(lives: FakeKubernetes) -> None:
    """What is applied is as it must be; without a status the role goes on with the rollout, which records."""
    assert "status" in _run(lives)
    lives.objects["ConfigMap", "db", "demo-galera-state"]["metadata"]["annotations"][SIZE] = "4"
    result = _run(lives)
    assert (result["changed"], "status" in result, _size(lives)) == (False, False, "4")
    assert _roll(lives, 3)["changed"]
    assert _size(lives) == "3"


REFUSED = (
    "galera_cluster_size is {}, but the cluster has 3 nodes and none runs that could leave in order: start it with "
    "galera_cluster_size=3 first, then make it smaller by one node in a run. Nothing was changed."
)


@pytest.mark.parametrize("size", [1, 2])
def test_cluster_that_is_down_is_not_started_with_fewer_nodes(lives: FakeKubernetes, size: int) -> None:
    _down(lives)
    assert _refused(lives, **_nodes(size)) == REFUSED.format(size)


@pytest.mark.parametrize("replicas", [0, 1])
def test_cluster_that_was_scaled_down_by_hand_is_not_started_with_fewer_nodes(
    lives: FakeKubernetes, replicas: int
) -> None:
    live = lives.objects["StatefulSet", "db", "demo-galera"]
    live["spec"]["replicas"], live["status"] = replicas, {}
    assert _refused(lives, **_nodes(1)) == REFUSED.format(1)


def test_cluster_that_is_down_starts_with_all_its_nodes(lives: FakeKubernetes) -> None:
    _down(lives)
    assert _run(lives)["changed"]
    assert lives.get("StatefulSet", "demo-galera") is not None


def test_existing_cluster_without_a_recorded_size_gets_one(lives: FakeKubernetes) -> None:
    del lives.objects["ConfigMap", "db", "demo-galera-state"]["metadata"]["annotations"]
    told = _run(lives, check=True)
    assert (told["changed"], _size(lives)) == (True, None)
    _run(lives)
    assert (_size(lives), lives.writes()) == ("3", [("PATCH", STATE)])
    assert not _run(lives)["changed"]


def test_cluster_that_is_down_without_a_recorded_size_gets_one_when_it_serves(lives: FakeKubernetes) -> None:
    del lives.objects["ConfigMap", "db", "demo-galera-state"]["metadata"]["annotations"]
    _down(lives)
    _run(lives)
    assert _size(lives) is None
    _serve(lives, 3)
    assert _roll(lives, 3)["did"] == ["Recorded that the cluster has 3 nodes."]
    assert _size(lives) == "3"


def test_without_a_record_the_inventory_says_the_size(lives: FakeKubernetes) -> None:
    """As a restore in place leaves it: the data of another cluster come, with as many nodes as are wanted."""
    del lives.objects["ConfigMap", "db", "demo-galera-state"]["data"]
    _down(lives)
    assert _run(lives, **_nodes(1), passwords={})["seed"] == "undecided"
    assert _size(lives) == "1"


def test_run_that_brings_no_nodes_keeps_the_size(lives: FakeKubernetes) -> None:
    """A restore makes volumes before it sets the old cluster aside."""
    _down(lives)
    phases = {name: each for name, each in _phases().items() if name not in ("nodes", "seed")}
    for size in (1, 5):
        # an annotation that is left out would be taken away by the server: nothing is sent at all
        assert not _run(lives, phases, size=size)["changed"]
        assert (lives.writes(), _size(lives)) == ([], "3")
