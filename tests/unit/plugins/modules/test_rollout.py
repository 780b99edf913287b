# SPDX-License-Identifier: GPL-3.0-or-later
"""The module rollout against an API server in memory whose pods are made again some looks after they were stopped."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _rollout
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.modules import rollout
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes, status
from unit.plugins.module_utils.sights import RECORD, UUID, pod
from unit.plugins.modules.conftest import FakeModule

NODES = [f"demo-galera-{ordinal}" for ordinal in range(3)]
PODS = "/api/v1/namespaces/db/pods"
DOCUMENT = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "demo-galera", "labels": {"app.kubernetes.io/instance": "demo"}},
    "spec": {"replicas": 3, "updateStrategy": {"type": "RollingUpdate"}},
}


def _agent(pod_name: str, size: int = 3) -> dict[str, Any]:
    wsrep = {"connected": True, "ready": True, "cluster_status": "Primary", "local_state_comment": "Synced"}
    wsrep |= {"cluster_size": size, "cluster_state_uuid": UUID}
    return {"pod": pod_name, "phase": "running", "wsrep": wsrep, "age_seconds": 0.1, "evidence": {"data": "present"}}


class Cluster:
    """Three nodes, and a controller that makes a stopped one again after two looks."""

    def __init__(self, api: FakeKubernetes, form: str = "old", strategy: str = "OnDelete") -> None:
        self.api, self.stopped, self._gone, self._made = api, [], {}, 0  # type: ignore[var-annotated]
        manifest = copy.deepcopy(DOCUMENT)
        manifest["metadata"] |= {"namespace": "db", "generation": 1}
        manifest["spec"]["updateStrategy"] = {"type": strategy}
        revision = "new" if strategy == "OnDelete" else form
        manifest["status"] = {"observedGeneration": 1, "updateRevision": revision, "currentRevision": revision}
        api.add(manifest)
        metadata = {"name": "demo-galera-state", "namespace": "db", "annotations": {"stateful.galera/size": "3"}}
        state = {"metadata": metadata, "data": {"cluster": RECORD}}
        api.add({"kind": "ConfigMap", **state})
        for name in NODES:
            self._make(name, form)
        api.add(pod("demo-galera-haproxy-x", "haproxy"))
        api.before = self._before

    def _make(self, name: str, form: str) -> None:
        manifest = pod(name)
        self._made += 1
        manifest["metadata"]["uid"] = f"pod-{self._made}"
        manifest["metadata"]["labels"]["controller-revision-hash"] = form
        self.api.objects.pop(("Pod", "db", name), None)
        self.api.add(manifest)
        self.api.agents[name] = _agent(name)

    def _before(self, method: str, path: str) -> None:
        if method == "POST" and path.endswith("/eviction"):
            self._stop(path.split("/")[-2])
        elif method == "DELETE" and path.startswith(f"{PODS}/"):
            self._stop(path.split("/")[-1])
        elif method == "GET" and path == PODS:
            for name in list(self._gone):
                self._gone[name] -= 1
                if self._gone[name] == 0:
                    del self._gone[name]
                    self._make(name, "new")

    def _stop(self, name: str) -> None:
        assert not self._gone, f"{name} is stopped while {self._gone} is away"
        self.stopped.append(name)
        self._gone[name] = 3
        path = f"{PODS}/{name}/eviction"
        self.api.replies["POST", path] = [(201, {"kind": "Status", "status": "Success"})]
        self.api.agents.pop(name)
        self.api.objects["Pod", "db", name]["metadata"]["deletionTimestamp"] = "2026-11-21T07:00:00Z"


def _run(api: FakeKubernetes, check: bool = False, **params: Any) -> dict[str, Any]:
    common: dict[str, Any] = {
        "name": "demo",
        "namespace": "db",
        "size": 3,
        "documents": [json.dumps(DOCUMENT)],
        "restart": False,
        "restart_id": "",
        "keep_lease": False,
        "wait_timeout": 5,
    }
    return rollout.work(FakeModule({**api.auth, **common, **params}, check))


def _strategy(api: FakeKubernetes) -> str:
    return str((api.get("StatefulSet", "demo-galera") or {})["spec"]["updateStrategy"]["type"])


def test_new_form_reaches_one_node_after_the_other(api: FakeKubernetes) -> None:
    cluster = Cluster(api)
    result = _run(api)
    assert cluster.stopped == NODES[::-1]
    assert result["did"] == [
        "Stopped demo-galera-2: All others are Synced.",
        "Stopped demo-galera-1: All others are Synced.",
        "Stopped demo-galera-0: The writer, last.",
    ]
    assert (result["changed"], result["cluster"]["verdict"], _strategy(api)) == (True, "healthy", "RollingUpdate")
    assert api.get("Lease", "demo-galera-site") is None
    again = _run(api)
    assert (again["changed"], again["did"], cluster.stopped) == (False, [], NODES[::-1])


def test_a_node_that_has_left_counts_no_more_when_the_next_one_stops(api: FakeKubernetes) -> None:
    """Two nodes become one, which stops for a new form: it would wait for the one that left, for ever."""
    cluster, counted = Cluster(api), []
    state = api.objects["ConfigMap", "db", "demo-galera-state"]
    state["metadata"]["annotations"]["stateful.galera/size"] = "4"

    def look(method: str, path: str) -> None:
        if path.endswith("/eviction"):
            counted.append(api.get("ConfigMap", "demo-galera-state")["metadata"]["annotations"])  # type: ignore[index]
        cluster._before(method, path)

    api.before = look
    assert _run(api)["did"][0] == "Recorded that the cluster has 3 nodes, no longer 4."
    assert counted == [{"stateful.galera/size": "3"}] * 3


def test_no_node_stops_before_another_has_left(api: FakeKubernetes) -> None:
    cluster = Cluster(api)
    cluster._make("demo-galera-3", "new")
    del api.agents["demo-galera-3"]
    with pytest.raises(GaleraError, match=r"demo-galera-3 has not left yet.* No node was stopped"):
        _run(api, wait_timeout=0)
    assert cluster.stopped == []


def test_run_that_was_killed_is_gone_on_with(api: FakeKubernetes) -> None:
    cluster = Cluster(api)
    cluster._make("demo-galera-2", "new")
    assert _run(api)["changed"]
    assert cluster.stopped == ["demo-galera-1", "demo-galera-0"]


def test_eviction_that_the_budget_forbids_is_tried_again(api: FakeKubernetes) -> None:
    cluster = Cluster(api)
    refusals = iter([True, True])

    def forbid(method: str, path: str) -> None:
        if path == f"{PODS}/demo-galera-2/eviction" and next(refusals, False):
            api.replies["POST", path] = [status(429, "TooManyRequests", "Cannot evict pod as it would violate")]
        else:
            cluster._before(method, path)

    api.before = forbid
    assert _run(api)["changed"]
    assert cluster.stopped == NODES[::-1]


def test_eviction_that_is_never_allowed_is_told(api: FakeKubernetes) -> None:
    cluster = Cluster(api)
    said = status(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
    api.before = lambda method, path: api.replies.update({("POST", f"{PODS}/demo-galera-2/eviction"): [said]})
    with pytest.raises(GaleraError, match=r"demo-galera-2 may not be stopped yet: Cannot evict pod .* No node was"):
        _run(api, wait_timeout=1)
    assert cluster.stopped == []
    assert api.get("Lease", "demo-galera-site") is None


def test_check_mode_only_tells(api: FakeKubernetes) -> None:
    cluster = Cluster(api)
    for restart in (False, True):
        result = _run(api, check=True, restart=restart)
        assert result["did"] == ["Would replace demo-galera-2, demo-galera-1, demo-galera-0, one by one."]
        assert result["changed"]
    assert cluster.stopped == []
    assert api.writes() == []


def test_restart(api: FakeKubernetes) -> None:
    cluster = Cluster(api, strategy="RollingUpdate")
    result = _run(api, restart=True, restart_id="monday")
    assert cluster.stopped == NODES[::-1]
    assert (result["changed"], result["restart_id"]) == (True, "monday")
    again = _run(api, restart=True, restart_id="monday")
    assert (again["changed"], len(cluster.stopped)) == (False, 3)
    assert _run(api, restart=True)["restart_id"].startswith("2")
    assert len(cluster.stopped) == 6


def test_restart_that_only_gives_the_strategy_back_tells_it(api: FakeKubernetes) -> None:
    """A run of site was killed between its last node and the end, after a restart of this name."""
    cluster = Cluster(api, form="new")
    metadata = (api.get("StatefulSet", "demo-galera") or {})["metadata"]
    metadata["annotations"] = {_rollout.RESTART_ANNOTATION: _rollout.Restart("monday", {}).text()}
    told = "the StatefulSet demo-galera its update strategy back, held by a site run that was killed."
    rehearsed = _run(api, check=True, restart=True, restart_id="monday")
    assert (rehearsed["changed"], rehearsed["did"]) == (True, [f"Would give {told}"])
    result = _run(api, restart=True, restart_id="monday")
    assert (result["changed"], result["did"], _strategy(api)) == (True, [f"Gave {told}"], "RollingUpdate")
    assert not _run(api, restart=True, restart_id="monday")["changed"]
    assert cluster.stopped == []


def test_restart_that_was_killed_is_gone_on_with_by_its_name_or_without_one(api: FakeKubernetes) -> None:
    for restart_id in ("monday", ""):
        api.objects.clear()
        api.add({"kind": "Namespace", "metadata": {"name": "db"}})
        cluster = Cluster(api, strategy="RollingUpdate")
        uids = {name: api.objects["Pod", "db", name]["metadata"]["uid"] for name in NODES}
        note = _rollout.Restart("monday", {**uids, "demo-galera-2": "earlier"})
        metadata = (api.get("StatefulSet", "demo-galera") or {})["metadata"]
        metadata["annotations"] = {_rollout.RESTART_ANNOTATION: note.text()}
        with pytest.raises(
            GaleraError, match=r"^galera_rolling_restart_id=tuesday: the rolling restart monday was not"
        ):
            _run(api, restart=True, restart_id="tuesday")
        assert _run(api, restart=True, restart_id=restart_id)["restart_id"] == "monday"
        assert cluster.stopped == ["demo-galera-1", "demo-galera-0"]


def test_restart_of_a_cluster_that_is_not_healthy_is_refused(api: FakeKubernetes) -> None:
    cluster = Cluster(api, strategy="RollingUpdate")
    del api.agents["demo-galera-1"]
    with pytest.raises(
        GaleraError, match=r"^The nodes are not restarted, because the cluster is not healthy: .*Nothing was changed"
    ):
        _run(api, restart=True)
    assert cluster.stopped == []
    assert api.writes() == []


def test_no_right_to_evict(api: FakeKubernetes) -> None:
    Cluster(api)
    said = status(
        403, "Forbidden", 'pods "demo-galera-2" is forbidden: User "ci" cannot create resource "pods/eviction"'
    )
    api.before = lambda method, path: api.replies.update({("POST", f"{PODS}/demo-galera-2/eviction"): [said]})
    with pytest.raises(GaleraError, match=r"cannot create resource .pods/eviction"):
        _run(api)


def _template(checksum: str) -> dict[str, Any]:
    """The pods of an inventory, as much of them as the tests need."""
    return {"metadata": {"annotations": {"checksum": checksum}}}


def _with(checksum: str, **spec: Any) -> list[str]:
    """The documents of an inventory."""
    return [json.dumps({**DOCUMENT, "spec": {**DOCUMENT["spec"], "template": _template(checksum), **spec}})]


def test_strategy_comes_back_without_the_rest_of_the_inventory(api: FakeKubernetes) -> None:
    Cluster(api)
    live = api.get("StatefulSet", "demo-galera") or {}
    live["spec"] |= {"template": _template("applied"), "replicas": 3, "updateStrategy": {"type": "OnDelete"}}
    fields = {"f:spec": {"f:replicas": {}, "f:template": {}, "f:updateStrategy": {"f:type": {}}}}
    ours = {"manager": "stateful.galera", "operation": "Apply", "fieldsV1": fields}
    theirs = {"manager": "other", "operation": "Update", "fieldsV1": {"f:spec": {"f:minReadySeconds": {}}}}
    live["metadata"]["managedFields"] = [ours, theirs]
    live["spec"]["minReadySeconds"] = 1
    own = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert _run(api, documents=_with("changed since", replicas=5, updateStrategy=own))["changed"]
    path = "/apis/apps/v1/namespaces/db/statefulsets/demo-galera"
    sent = [
        body
        for (method, each, _), body in zip(api.requests, api.bodies, strict=True)
        if (method, each) == ("PATCH", path)
    ]
    assert [each["spec"] for each in sent] == [
        {"replicas": 3, "template": _template("applied"), "updateStrategy": own},
    ]


@pytest.mark.parametrize(("checksum", "size"), [("applied", 3), ("changed since", 3), ("changed since", 2)])
def test_check_mode_tells_which_nodes_a_change_would_replace(api: FakeKubernetes, checksum: str, size: int) -> None:
    """Also one of my.cnf, of which the pods have a checksum; a node that leaves is not among them."""
    cluster = Cluster(api, strategy="RollingUpdate", form="new")
    (api.get("StatefulSet", "demo-galera") or {})["spec"]["template"] = _template("applied")
    result = _run(api, check=True, size=size, documents=_with(checksum, replicas=size))
    told = [f"Would replace {', '.join(NODES[:size][::-1])}, one by one."] if checksum != "applied" else []
    told += ["Would record that the cluster has 2 nodes."] if size == 2 else []
    assert (result["did"], result["changed"]) == (told, bool(told))
    assert (cluster.stopped, api.writes(), _strategy(api)) == ([], [], "RollingUpdate")


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("strategy", ["OnDelete", "RollingUpdate"])
def test_restart_where_the_inventory_wants_another_form_is_refused(
    api: FakeKubernetes, strategy: str, check: bool
) -> None:
    cluster = Cluster(api, strategy=strategy, form="new")
    (api.get("StatefulSet", "demo-galera") or {})["spec"]["template"] = _template("applied")
    with pytest.raises(GaleraError, match=r"^The inventory wants another form .*run the site playbook first\. Nothing"):
        _run(api, check=check, restart=True, documents=_with("changed since"))
    assert (cluster.stopped, api.writes(), _strategy(api)) == ([], [], strategy)
    assert _run(api, restart=True, documents=_with("applied"))["changed"]


def test_no_node_stops_by_what_was_seen_before_the_lease_was_had(api: FakeKubernetes) -> None:
    """Another run ends while this one waits for its Lease, and has just stopped a node."""
    for broken in (False, True):
        api.objects.clear()
        api.add({"kind": "Namespace", "metadata": {"name": "db"}})
        cluster = Cluster(api)
        if broken:
            # nothing runs in this one when it is looked at, so that it is replaced without asking anybody
            api.agents["demo-galera-2"] = {"phase": "waiting", "evidence": {"data": "present"}}
            cluster_pod = api.objects["Pod", "db", "demo-galera-2"]
            cluster_pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
        before = cluster._before

        def other(method: str, path: str, cluster: Cluster = cluster, before: Any = before) -> None:
            if method == "POST" and path.endswith("/leases"):
                cluster._make("demo-galera-2", "new" if not broken else "old")  # noqa: B023
                cluster._stop("demo-galera-1")
                api.before = before
            else:
                before(method, path)

        api.before = other
        assert _run(api)["changed"]
        assert cluster.stopped[0] == "demo-galera-1"


def test_no_size_is_recorded_by_what_was_seen_before_the_lease_was_had(api: FakeKubernetes) -> None:
    """Another run ends while this one waits for its Lease, and has just let the cluster grow."""
    cluster = Cluster(api, strategy="RollingUpdate", form="new")
    state = api.objects["ConfigMap", "db", "demo-galera-state"]["metadata"]["annotations"]
    state["stateful.galera/size"] = "4"

    def other(method: str, path: str) -> None:
        if method == "POST" and path.endswith("/leases"):
            cluster._make("demo-galera-3", "new")
        cluster._before(method, path)

    api.before = other
    with pytest.raises(GaleraError, match="Waited"):
        _run(api, wait_timeout=0)
    assert state == {"stateful.galera/size": "4"}
