# SPDX-License-Identifier: GPL-3.0-or-later
"""The module seed against an API server in memory: what it does, in which order, and where it stops."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._kinds import Kind
from ansible_collections.stateful.galera.plugins.modules import seed
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes
from unit.plugins.module_utils.sights import RECORD, SEED, UUID, claim, pod
from unit.plugins.modules.conftest import FakeModule

LABELS = {"app.kubernetes.io/instance": "demo"}
CLAIM_TEXT = json.dumps(
    {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "demo-galera-seed-volume-claim"}}
)
SEED_TEXT = json.dumps(
    {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "demo-galera-seed", "labels": LABELS},
        "spec": {},
    }
)
SEED_SET = "/apis/apps/v1/namespaces/db/statefulsets/demo-galera-seed"
SEED_CLAIM = "/api/v1/namespaces/db/persistentvolumeclaims/demo-galera-seed-volume-claim"


def _agent(state: str = "Synced", size: int = 4, data: str = "present") -> dict[str, Any]:
    wsrep = {
        "connected": True,
        "ready": True,
        "cluster_status": "Primary",
        "cluster_size": size,
        "cluster_state_uuid": UUID,
        "local_state_comment": state,
    }
    running = state != "none"
    return {
        "phase": "running" if running else "waiting",
        "reason": "",
        "evidence": {"data": data},
        "wsrep": wsrep if running else None,
        "age_seconds": 0.1 if running else None,
    }


def _nodes(api: FakeKubernetes, **agent: Any) -> None:
    """Three nodes with their volumes, each agent saying the same."""
    api.add(
        {
            "kind": "StatefulSet",
            "metadata": {"name": "demo-galera", "namespace": "db", "labels": LABELS},
            "spec": {"replicas": 3},
        }
    )
    for ordinal in range(3):
        api.add(pod(f"demo-galera-{ordinal}"))
        api.add(claim(f"data-demo-galera-{ordinal}"))
        api.agents[f"demo-galera-{ordinal}"] = _agent(**agent)


def _record(api: FakeKubernetes) -> None:
    api.add(
        {"kind": "ConfigMap", "metadata": {"name": "demo-galera-state", "namespace": "db"}, "data": {"cluster": RECORD}}
    )


def _seed(api: FakeKubernetes) -> None:
    api.add({**SEED, "kind": "StatefulSet", "metadata": {**SEED["metadata"], "labels": LABELS}})  # type: ignore[dict-item]
    api.add(pod("demo-galera-seed-0", "seed"))
    api.add({**claim("demo-galera-seed-volume-claim"), "spec": {"volumeName": "pv-seed"}})
    api.agents["demo-galera-seed-0"] = _agent()


def _world(api: FakeKubernetes) -> None:
    """Kubernetes and Galera go on: the pod goes after its set, the view changes after the pod."""
    state = {"looks": 0}

    def goes_on(method: str, path: str) -> None:
        if api.get("StatefulSet", "demo-galera-seed") is None and method == "GET" and path.endswith("/pods"):
            state["looks"] += 1
            if state["looks"] == 2:
                api.objects.pop(("Pod", "db", "demo-galera-seed-0"), None)
            if state["looks"] == 3:
                for ordinal in range(3):
                    api.agents[f"demo-galera-{ordinal}"] = _agent(size=3)
        seed_pod = api.get("Pod", "demo-galera-seed-0")
        if seed_pod and api.get("StatefulSet", "demo-galera-seed") is None:
            seed_pod["metadata"]["deletionTimestamp"] = "now"

    api.before = goes_on


def _run(api: FakeKubernetes, state: str, check: bool = False, timeout: float = 2, **params: Any) -> dict[str, Any]:
    common = {"name": "demo", "namespace": "db", "size": 3, "state": state, "wait_timeout": timeout, "documents": []}
    common["keep_lease"] = False
    return seed.work(FakeModule({**api.auth, **common, **params}, check))


DOCUMENTS = [CLAIM_TEXT, SEED_TEXT]


def test_decommission(api: FakeKubernetes) -> None:
    _nodes(api)
    _record(api)
    _seed(api)
    _world(api)
    result = _run(api, "absent")
    assert api.writes() == [("DELETE", SEED_SET), ("DELETE", SEED_CLAIM)]
    assert result["changed"]
    assert result["did"] == [
        "Removed the StatefulSet demo-galera-seed: All 3 nodes are Synced in one Primary component.",
        "Removed the claim demo-galera-seed-volume-claim: All 3 nodes are Synced without the seed.",
    ]
    assert [row["cluster_size"] for row in result["nodes"]] == [3, 3, 3]
    again = _run(api, "absent")
    assert (again["changed"], again["did"], again["reason"]) == (False, [], "There is no seed.")


def test_decommission_tells_of_a_volume_that_stays(api: FakeKubernetes) -> None:
    _nodes(api, size=3)
    _record(api)
    api.add({**claim("demo-galera-seed-volume-claim"), "spec": {"volumeName": "pv-seed"}})
    api.add(
        {
            "kind": "PersistentVolume",
            "metadata": {"name": "pv-seed"},
            "spec": {"persistentVolumeReclaimPolicy": "Retain"},
        }
    )
    (did,) = _run(api, "absent")["did"]
    assert did.endswith(" Its volume pv-seed stays, with the data on it, because its reclaim policy is Retain.")


@pytest.mark.parametrize("leaving", [False, True])
def test_an_ended_job_does_not_keep_the_claim_and_a_running_one_does(api: FakeKubernetes, leaving: bool) -> None:
    _nodes(api, size=3)
    _record(api)
    seed_claim = api.add(claim("demo-galera-seed-volume-claim"))
    if leaving:
        seed_claim["metadata"]["deletionTimestamp"] = "2026-11-21T07:00:00Z"
    job = api.add({"kind": "Job", "metadata": {"name": "restore", "namespace": "db"}, "status": {}})
    volumes = [{"persistentVolumeClaim": {"claimName": "demo-galera-seed-volume-claim"}}]
    labels = {"batch.kubernetes.io/job-name": "restore"}
    of_job = {"name": "restore-x", "namespace": "db", "labels": labels}
    api.add({"kind": "Pod", "metadata": of_job, "spec": {"volumes": volumes}})
    with pytest.raises(GaleraError, match=r"is used by the Job restore, which runs: .* The claim was not removed\."):
        _run(api, "absent")
    assert api.writes() == []
    job["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}

    def goes_on(method: str, path: str) -> None:
        if leaving and api.get("Job", "restore") is None:
            api.objects.pop(("PersistentVolumeClaim", "db", "demo-galera-seed-volume-claim"), None)

    api.before = goes_on
    _run(api, "absent")
    assert api.get("Job", "restore") is None
    assert api.get("PersistentVolumeClaim", "demo-galera-seed-volume-claim") is None


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("steps", [1, 2])
def test_decommission_goes_on_where_it_was_killed(
    api: FakeKubernetes, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    _nodes(api)
    _record(api)
    _seed(api)
    _world(api)
    delete, count = Client.delete, {"deletes": 0}

    def killed(self: Client, kind: Kind, manifest: dict[str, Any]) -> bool:
        delete(self, kind, manifest)
        count["deletes"] += 1
        if count["deletes"] == steps:
            raise Killed
        return True

    with monkeypatch.context() as patch:
        patch.setattr(Client, "delete", killed)
        with pytest.raises(Killed):
            _run(api, "absent")
    result = _run(api, "absent")
    assert api.writes() == [("DELETE", SEED_SET), ("DELETE", SEED_CLAIM)]
    assert len(result["did"]) == 2 - steps


@pytest.mark.parametrize("agent", [{"state": "Joiner"}, {"state": "Donor/Desynced"}, {"state": "none"}, {"size": 5}])
def test_decommission_refuses(api: FakeKubernetes, agent: dict[str, Any]) -> None:
    _nodes(api)
    _record(api)
    _seed(api)
    api.agents["demo-galera-1"] = _agent(**agent)
    with pytest.raises(GaleraError) as error:
        _run(api, "absent", timeout=0)
    assert str(error.value).startswith("Waited 0 s for the cluster demo to do without its seed, last seen: ")
    assert str(error.value).endswith("Nothing was removed.")
    assert api.writes() == []


def test_seed_is_not_removed_when_the_nodes_cannot_be_read(api: FakeKubernetes) -> None:
    _nodes(api)
    _record(api)
    _seed(api)
    api.denied.add(("list", "pods"))
    with pytest.raises(GaleraError, match="pods is forbidden"):
        _run(api, "absent")
    assert api.writes() == []


@pytest.mark.parametrize("looks", [3, None], ids=["for a moment", "for good"])
def test_what_is_seen_at_the_end_is_not_the_moment_in_which_a_first_backup_desyncs_its_node(
    api: FakeKubernetes, looks: int | None
) -> None:
    """looks: at the pods, after which the node is Synced again."""
    _nodes(api)
    _record(api)
    _seed(api)
    _world(api)
    goes_on, seen = api.before, {"looks": 0}

    def backs_up(method: str, path: str) -> None:
        goes_on(method, path)
        if api.get("PersistentVolumeClaim", "demo-galera-seed-volume-claim") is None:
            seen["looks"] += method == "GET" and path.endswith("/pods")
            over = looks is not None and seen["looks"] > looks
            api.agents["demo-galera-2"] = _agent("Synced" if over else "Donor/Desynced", size=3)

    api.before = backs_up
    if looks is not None:
        assert {row["state"] for row in _run(api, "absent")["nodes"]} == {"Synced"}
        return
    with pytest.raises(GaleraError, match=r"Waited 1 s for all nodes .* without its seed, .*Donor.* Removed the claim"):
        _run(api, "absent", timeout=1)


def test_claim_stays_when_a_node_is_lost_after_the_seed_went(api: FakeKubernetes) -> None:
    _nodes(api)
    _record(api)
    _seed(api)
    _world(api)
    goes_on = api.before

    def lose_a_node(method: str, path: str) -> None:
        goes_on(method, path)
        if api.get("StatefulSet", "demo-galera-seed") is None:
            api.agents["demo-galera-2"] = _agent(state="none")

    api.before = lose_a_node
    with pytest.raises(GaleraError) as error:
        _run(api, "absent", timeout=0)
    assert "Removed the StatefulSet demo-galera-seed" in str(error.value)
    assert "Nothing was removed" not in str(error.value)
    assert api.writes() == [("DELETE", SEED_SET)]


def test_decommission_in_check_mode(api: FakeKubernetes) -> None:
    _nodes(api)
    _record(api)
    _seed(api)
    result = _run(api, "absent", check=True)
    assert (result["changed"], api.writes()) == (True, [])
    assert result["did"] == [
        "Would remove the StatefulSet, the pod and the claim of the seed: All 3 nodes are Synced in one Primary "
        "component."
    ]
    api.agents["demo-galera-1"] = _agent(state="Joiner")
    assert _run(api, "absent", check=True)["did"][0].startswith("Would wait, because 2 of 3 nodes are Synced")


def test_seed_without_nodes_stays(api: FakeKubernetes) -> None:
    _seed(api)
    with pytest.raises(
        GaleraError,
        match=r"^There are no nodes \(demo-galera\) that could take over from the seed\. Nothing was removed\.$",
    ):
        _run(api, "absent")
    assert api.writes() == []


def test_seed_is_made_when_all_nodes_are_empty(api: FakeKubernetes) -> None:
    _nodes(api, state="none", data="empty")
    result = _run(api, "present", documents=DOCUMENTS)
    assert sorted(api.writes()) == [("PATCH", SEED_CLAIM), ("PATCH", SEED_SET)]
    assert result["changed"]
    assert result["did"] == [
        "Made PersistentVolumeClaim demo-galera-seed-volume-claim, StatefulSet demo-galera-seed: All 3 nodes "
        "answer and are empty."
    ]
    again = _run(api, "present", documents=DOCUMENTS)
    assert (again["changed"], again["did"]) == (False, [])


def test_seed_waits_for_the_last_node(api: FakeKubernetes) -> None:
    _nodes(api, state="none", data="empty")
    api.agents["demo-galera-2"] = None
    asked = {"times": 0}

    def answers_later(method: str, path: str) -> None:
        if "demo-galera-2" in path:
            asked["times"] += 1
            if asked["times"] == 3:
                api.agents["demo-galera-2"] = _agent(state="none", data="empty")

    api.before = answers_later
    assert _run(api, "present", documents=DOCUMENTS)["changed"]
    # and once more under the Lease
    assert asked["times"] == 4


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (None, "demo-galera-2 is Running (its agent does not answer: connection refused)"),
        (_agent(state="none", data="unknown"), "demo-galera-2 is waiting"),
    ],
)
def test_seed_is_not_made_while_a_node_is_silent(api: FakeKubernetes, last: Any, said: str) -> None:
    _nodes(api, state="none", data="empty")
    api.agents["demo-galera-2"] = last
    with pytest.raises(GaleraError) as error:
        _run(api, "present", documents=DOCUMENTS, timeout=0)
    assert said in str(error.value)
    assert api.writes() == []


@pytest.mark.parametrize("last", [_agent(state="none", data="present"), _agent(size=1)])
def test_seed_is_not_made_for_a_cluster_with_data(api: FakeKubernetes, last: dict[str, Any]) -> None:
    _nodes(api, state="none", data="empty")
    api.agents["demo-galera-2"] = last
    result = _run(api, "present", documents=DOCUMENTS)
    assert (result["changed"], result["did"], api.writes()) == (False, [], [])
    assert "demo-galera-2" in result["reason"]


def test_seed_is_not_made_over_half_a_directory(api: FakeKubernetes) -> None:
    _nodes(api, state="none", data="empty")
    api.agents["demo-galera-2"] = _agent(state="none", data="partial")
    with pytest.raises(GaleraError, match=r"^demo-galera-2 has an incomplete data directory .* Nothing was changed\.$"):
        _run(api, "present", documents=DOCUMENTS)
    assert api.writes() == []


def test_seed_is_not_made_in_check_mode(api: FakeKubernetes) -> None:
    _nodes(api, state="none", data="empty")
    result = _run(api, "present", check=True, documents=DOCUMENTS)
    assert (result["changed"], api.writes()) == (True, [])
    assert result["did"][0].startswith("Would make PersistentVolumeClaim demo-galera-seed-volume-claim, ")
    api.agents["demo-galera-2"] = None
    assert _run(api, "present", check=True, documents=DOCUMENTS)["did"][0].startswith(
        "Would make the seed if all volumes"
    )


def test_seed_that_is_not_accepted(api: FakeKubernetes) -> None:
    """Nothing of the seed is made when a part of it cannot be."""
    _nodes(api, state="none", data="empty")
    api.denied.add(("patch", "statefulsets"))
    with pytest.raises(GaleraError, match=r"^StatefulSet demo-galera-seed was not accepted: .*Nothing was changed\.$"):
        _run(api, "present", documents=DOCUMENTS)
    assert api.writes() == []


def test_seed_needs_documents(api: FakeKubernetes) -> None:
    _nodes(api, state="none", data="empty")
    with pytest.raises(GaleraError, match="documents holds none of its objects"):
        _run(api, "present")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"name": "Demo"}, "name='Demo' is no DNS label"),
        ({"namespace": "-x"}, "namespace='-x' is no DNS label"),
        ({"size": 0}, "size=0 is not allowed"),
        ({"documents": ["a: ["]}, "A document of the phase seed is not valid YAML"),
    ],
)
def test_bad_options(api: FakeKubernetes, params: dict[str, Any], said: str) -> None:
    with pytest.raises(GaleraError) as error:
        _run(api, "present", **params)
    assert said in str(error.value)
    assert api.requests == []


def test_lease_is_held_for_the_removal_and_given_back(api: FakeKubernetes) -> None:
    _nodes(api)
    _seed(api)
    _world(api)
    assert _run(api, "absent")["changed"]
    steps = [f"{method} {path.rsplit('/', 1)[1]}" for method, path, _ in api.requests if method != "GET"]
    assert steps[0] == "POST leases"
    assert steps[-1] == "DELETE demo-galera-site"
    assert "DELETE demo-galera-seed" in steps
