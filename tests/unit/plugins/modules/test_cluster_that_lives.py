# SPDX-License-Identifier: GPL-3.0-or-later
"""The module cluster where nodes live and other runs are at work."""

from __future__ import annotations

import datetime
import itertools
import json
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _site_lease
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError, RefusedError
from ansible_collections.stateful.galera.plugins.modules import cluster
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes, status
from unit.plugins.module_utils.sights import RECORD
from unit.plugins.modules.test_cluster import (
    CONFIG,
    LABELS,
    SECRETS,
    SETS,
    _kubernetes_nodes,
    _phases,
    _refused,
    _results,
    _run,
    _serving,
)

__all__ = ["_kubernetes_nodes"]  # a fixture of every test here


def _change(api: FakeKubernetes) -> dict[str, list[dict[str, Any]]]:
    """Phases in which the nodes get another form."""
    phases = _phases()
    phases["nodes"][0]["spec"]["template"] = {"metadata": {"annotations": {"a": "b"}}}
    phases["nodes"][0]["spec"]["updateStrategy"] = {"type": "RollingUpdate"}
    return phases


def test_nodes_that_live_get_another_form_without_being_restarted(api: FakeKubernetes) -> None:
    new = _run(api, _change(api))
    assert new["changed"]
    assert api.get("StatefulSet", "demo-galera")["spec"]["updateStrategy"] == {"type": "RollingUpdate"}  # type: ignore[index]
    phases = _change(api)
    phases["nodes"][0]["spec"]["template"]["metadata"]["annotations"]["a"] = "c"
    told = _run(api, phases, check=True)
    done = _run(api, phases)
    live = api.get("StatefulSet", "demo-galera")
    assert live is not None
    assert live["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert live["spec"]["template"]["metadata"]["annotations"] == {"a": "c"}
    # the strategy of the roll is no part of what is told
    assert told["objects"] == done["objects"]
    assert "OnDelete" not in json.dumps(done["diff"])
    # a run that was killed before the nodes had their turn: the next one brings them to it
    assert _run(api, phases)["changed"]


@pytest.mark.parametrize("label", [None, "an-app"])
def test_nodes_whose_set_lost_its_label_are_not_restarted_by_a_change(api: FakeKubernetes, label: str | None) -> None:
    _run(api, _change(api))
    live = api.get("StatefulSet", "demo-galera") or {}
    live["metadata"]["labels"] = {"app.kubernetes.io/instance": label} if label else {}
    api.add({"kind": "PersistentVolumeClaim", "metadata": {"name": "data-demo-galera-0", "namespace": "db"}})
    phases = _change(api)
    phases["nodes"][0]["spec"]["template"]["metadata"]["annotations"]["a"] = "c"
    assert _run(api, phases)["changed"]
    live = api.get("StatefulSet", "demo-galera") or {}
    assert live["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert live["metadata"]["labels"] == LABELS


def test_run_whose_lease_is_lost_between_two_phases_writes_no_more(
    api: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that slept in the middle: another run has begun since."""
    lost = itertools.count()
    monkeypatch.setattr(_site_lease.SiteLease, "check", lambda lease: _stop_at(next(lost)))
    with pytest.raises(GaleraError, match="was lost"):
        _run(api)
    assert not [path for _, path in api.writes() if path == f"{SETS}/demo-galera"]
    assert api.get("StatefulSet", "demo-galera-seed") is not None


def _stop_at(asked: int) -> None:
    # before the changes, before the Secret, then before the phases: volumes, seed, nodes
    if asked == 4:
        raise GaleraError("The Lease was lost.")


@pytest.mark.parametrize("lives", [True, False])
def test_nodes_whose_statefulset_was_deleted_without_them_are_not_restarted_by_kubernetes(
    api: FakeKubernetes, lives: bool
) -> None:
    """As for larger volumes; the cache of write-sets follows their size, so the pods have another form."""
    if lives:
        metadata = {"name": "demo-galera-state", "namespace": "db"}
        api.add({"kind": "ConfigMap", "metadata": metadata, "data": {"cluster": RECORD}})
    phases = _change(api)
    done = _run(api, phases, passwords={"root-password": "r"})
    live = api.get("StatefulSet", "demo-galera") or {}
    assert live["spec"]["updateStrategy"] == {"type": "OnDelete" if lives else "RollingUpdate"}
    assert _results(done)["StatefulSet demo-galera"] == "created"
    assert "OnDelete" not in json.dumps(done["diff"])


def _moved_partition(api: FakeKubernetes) -> dict[str, Any]:
    """The live StatefulSet after `kubectl patch` of spec.updateStrategy.rollingUpdate."""
    _run(api, _change(api))
    live = api.get("StatefulSet", "demo-galera") or {}
    live["spec"]["updateStrategy"]["rollingUpdate"] = {"partition": 3}
    fields = {"f:spec": {"f:updateStrategy": {"f:rollingUpdate": {"f:partition": {}}}}}
    live["metadata"]["managedFields"].append({"manager": "kubectl-patch", "operation": "Update", "fieldsV1": fields})
    return live


def test_partition_of_another_hand_does_not_stand_in_the_way_of_a_change(api: FakeKubernetes) -> None:
    _moved_partition(api)
    phases = _change(api)
    phases["nodes"][0]["spec"]["template"]["metadata"]["annotations"]["a"] = "c"
    assert _run(api, phases)["changed"]
    live = api.get("StatefulSet", "demo-galera") or {}
    assert live["spec"]["updateStrategy"] == {"type": "OnDelete"}


@pytest.mark.parametrize("moved", [True, False])
def test_what_is_really_sent_is_rehearsed(api: FakeKubernetes, moved: bool) -> None:
    if moved:
        _moved_partition(api)
    else:
        _run(api, _change(api))
    phases = _change(api)
    phases["nodes"][0]["spec"]["template"]["metadata"]["annotations"]["a"] = "c"
    path = f"{SETS}/demo-galera"
    said = status(422, "Invalid", "spec.updateStrategy.rollingUpdate: only allowed for updateStrategy 'RollingUpdate'")

    def refuse(method: str, asked: str) -> None:
        # the first patch is the rehearsal of the manifest as it is
        if (method, asked) == ("PATCH", path) and next(patches) == 1:
            api.replies["PATCH", path] = [said]

    for check in (True, False):
        patches = itertools.count()
        api.before = refuse
        api.requests.clear()
        with pytest.raises(RefusedError, match="only allowed for updateStrategy"):
            _run(api, phases, check=check)
        assert api.writes() == []


def test_run_takes_the_lease_before_its_first_write_and_gives_it_back(api: FakeKubernetes) -> None:
    _run(api)
    phases = _phases()
    phases["volumes"][0]["data"]["my.cnf"] = "a=2"
    api.requests.clear()
    _run(api, phases)
    writes = [(method, path) for method, path, query in api.requests if method != "GET" and "dryRun" not in query]
    leases = "/apis/coordination.k8s.io/v1/namespaces/db/leases"
    writes = [(method, path) for method, path in writes if "/self" not in path]
    assert writes == [("POST", leases), ("PATCH", CONFIG), ("DELETE", f"{leases}/demo-galera-site")]


@pytest.mark.parametrize("changes", [True, False])
def test_run_that_writes_and_changes_nothing_leaves_no_lease_behind(
    api: FakeKubernetes, monkeypatch: pytest.MonkeyPatch, changes: bool
) -> None:
    """The tasks that would give it back are skipped where all serve."""
    _serving(api)
    holder = _site_lease._holder.current()[0]
    monkeypatch.setattr(_site_lease._holder, "current", lambda: (holder, True))
    metadata = api.objects["ConfigMap", "db", "demo-galera-config"]["metadata"]
    (ours,) = [each for each in metadata["managedFields"] if each["manager"] == "stateful.galera"]
    ours["fieldsV1"]["f:metadata"]["f:labels"]["f:null"] = {}
    phases = _phases()
    phases["volumes"][0]["data"]["my.cnf"] = "a=2" if changes else "a=1"
    api.requests.clear()
    result = _run(api, phases, keep_lease=True)
    assert ("PATCH", CONFIG) in api.writes()
    assert (result["changed"], result["seed"], "status" in result) == (changes, "not_needed", not changes)
    assert (api.get("Lease", "demo-galera-site") is not None) == changes


def test_run_without_a_change_and_check_mode_do_not_ask_for_the_lease(api: FakeKubernetes) -> None:
    _run(api, check=True)
    _run(api)
    api.requests.clear()
    _run(api)
    _run(api, _change(api), check=True)
    assert not [path for _, path, _ in api.requests if "/leases" in path]


def test_other_run_forbids_the_change(api: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(api)
    spec = {"holderIdentity": "someone", "leaseDurationSeconds": 15, "renewTime": "2026-11-21T07:00:00.000000Z"}
    spec["renewTime"] = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    lease = api.add({"kind": "Lease", "metadata": {"name": "demo-galera-site", "namespace": "db"}, "spec": spec})
    monkeypatch.setattr(_site_lease, "_LOOK_SECONDS", 0.01)
    looks = itertools.count()
    api.before = lambda method, path: spec.update(renewTime=f"{next(looks)}") if "leases/" in path else None
    lease["spec"] = spec
    phases = _phases()
    phases["volumes"][0]["data"]["my.cnf"] = "a=2"
    api.requests.clear()
    with pytest.raises(GaleraError, match=r"^Another run is changing the cluster db/demo: someone has held the Lease"):
        _run(api, phases)
    assert api.writes() == []


def test_nodes_are_not_started_while_a_restore_is_half_undone(api: FakeKubernetes) -> None:
    _run(api)
    metadata = api.objects["ConfigMap", "db", "demo-galera-state"]["metadata"]
    for undone in ({"undone": "a"}, {"id": "a"}, "no object"):
        metadata["annotations"]["stateful.galera/restore"] = json.dumps(undone)
        assert not _run(api)["changed"]
    metadata["annotations"]["stateful.galera/restore"] = json.dumps({"id": "a", "undo": "begun"})
    assert _refused(api) == (
        "The playbook restore_undo was begun on cluster demo and has not come to its end: run it again first, with "
        "galera_restore_confirm=demo. Nothing was changed."
    )


def test_nodes_are_not_started_while_a_restore_has_set_aside_a_part_of_the_data(api: FakeKubernetes) -> None:
    _run(api)
    metadata = api.objects["ConfigMap", "db", "demo-galera-state"]["metadata"]
    begun = {"id": "a", "begun": {"key": "b", "said": "restored the full backup"}}
    metadata["annotations"]["stateful.galera/restore"] = json.dumps(begun)
    assert _refused(api) == (
        "The playbook restore was begun on cluster demo (restored the full backup) and has not come to its end: run it "
        "again first, with the same variables and galera_restore_confirm=demo. Should it never end, docs/restore.md "
        "says how to give it up. Nothing was changed."
    )
    # the restore itself makes its volumes while it goes on
    phases = _phases()
    assert _run(api, {name: phases[name] for name in ("namespace", "volumes")})["objects"]


def _placed(node_selector: dict[str, str] | None = None, **spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Phases and options of a cluster whose pods are placed so."""
    phases = _phases()
    pod = {"nodeSelector": node_selector or {}, "tolerations": [], **spec}
    phases["nodes"][0]["spec"]["template"] = {"spec": pod}
    return phases, {"node_selector": pod["nodeSelector"], "tolerations": pod["tolerations"]}


def test_nodes_that_live_are_not_sent_where_no_machine_takes_them(api: FakeKubernetes) -> None:
    phases, options = _placed()
    _run(api, phases, **options)
    phases, options = _placed({"disk": "ssd"})
    said = _refused(api, phases, **options)
    assert "galera_cluster_size=3 needs 3 Kubernetes nodes" in said
    assert "worker-0 lacks the label disk=ssd of galera_cluster_node_selector" in said
    for node in ("worker-0", "worker-1", "worker-2"):
        api.objects["Node", "", node]["spec"]["taints"] = [{"key": "db", "effect": "NoExecute"}]
    phases, options = _placed(tolerations=[{"key": "other", "operator": "Exists"}])
    assert "has the taint db:NoExecute that galera_cluster_tolerations does not tolerate" in _refused(
        api, phases, **options
    )
    # a machine that is away for a while does not forbid another change
    phases, options = _placed(priorityClassName="")
    phases["volumes"][0]["data"]["my.cnf"] = "a=2"
    assert _run(api, phases, **options)["changed"]


def test_priority_class_must_exist(api: FakeKubernetes) -> None:
    phases, _options = _placed(priorityClassName="high")
    no_class = "galera_cluster_priority_class=high does not exist: Kubernetes would make no pod."
    assert no_class in _refused(api, phases)
    _run(api)
    assert no_class in _refused(api, phases)
    made = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1}
    assert _run(api, {**phases, "volumes": [*phases["volumes"], made]}, check=True)["changed"]
    api.add({"kind": "PriorityClass", "metadata": {"name": "high"}})
    assert _run(api, phases)["changed"]
    del api.objects["PriorityClass", "", "high"]
    phases["nodes"][0]["spec"]["template"]["metadata"] = {"annotations": {"a": "b"}}
    assert _run(api, phases)["changed"], "it has it already"


def test_data_that_another_my_cnf_made_forbid_the_change(api: FakeKubernetes) -> None:
    _run(api)
    api.objects["ConfigMap", "db", "demo-galera-state"]["data"] = {"cluster": RECORD}
    for kind, name in (("StatefulSet", "demo-galera-seed"), ("PersistentVolumeClaim", "demo-galera-seed-volume-claim")):
        del api.objects[kind, "db", name]
    api.objects["StatefulSet", "db", "demo-galera"]["status"] = {"readyReplicas": 3}
    phases = _phases()
    phases["volumes"][0]["data"]["galera.cnf"] = "[mariadb]\ninnodb_page_size = 8k\n"
    assert _refused(api, phases).startswith("galera_cluster_mycnf: innodb_page_size=8k differs from the 16384")


@pytest.mark.parametrize("said", ["It is wrong. Nothing was changed.", "2 problems, nothing was changed: (1) a (2) b"])
def test_namespace_that_was_made_is_told(api: FakeKubernetes, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    def refuse(*_arguments: Any) -> list[str]:
        raise GaleraError(said)

    made = "only the namespace db was made"
    monkeypatch.setattr(cluster, "rehearse_start", refuse)
    with pytest.raises(GaleraError) as error:
        _run(api)
    assert str(error.value) == said.replace("Nothing was changed", made.capitalize()).replace(
        "nothing was changed", made
    )
    assert api.get("Namespace", "db", "") is not None
    phases = _phases()
    phases["volumes"][0]["data"]["my.cnf"] = "a=2"
    with pytest.raises(GaleraError) as error:
        _run(api, phases)
    assert str(error.value) == said


@pytest.mark.parametrize("kind", ["NetworkPolicy", "CronJob"])
def test_protection_that_is_turned_off_goes(api: FakeKubernetes, kind: str) -> None:
    _run(api)
    api.add({"kind": kind, "metadata": {"name": "demo-galera-x", "namespace": "db", "labels": LABELS}, "spec": {}})
    api.add({"kind": kind, "metadata": {"name": "demo-galera-y", "namespace": "db", "labels": {}}, "spec": {}})
    absent = [f"{kind}/demo-galera-x", f"{kind}/demo-galera-y"]
    told = _run(api, check=True, absent=absent)
    result = _run(api, absent=absent)
    assert told["objects"] == result["objects"]
    assert _results(result)[f"{kind} demo-galera-x"] == "removed"
    # of the same name, but nobody's of this cluster
    assert (api.get(kind, "demo-galera-x"), api.get(kind, "demo-galera-y") is None) == (None, False)
    assert not _run(api, absent=absent)["changed"]


def test_nothing_with_data_is_removed(api: FakeKubernetes) -> None:
    with pytest.raises(GaleraError, match=r"^absent has PersistentVolumeClaim/x, allowed are the kinds CronJob, Net"):
        _run(api, absent=["PersistentVolumeClaim/x"])


def test_label_of_the_namespace_that_is_no_longer_wanted_is_sent_to_go(api: FakeKubernetes) -> None:
    _run(api)
    namespace = api.objects["Namespace", "", "db"]
    (ours,) = [each for each in namespace["metadata"]["managedFields"] if each["manager"] == "stateful.galera"]
    labels = ours["fieldsV1"].setdefault("f:metadata", {}).setdefault("f:labels", {})
    labels["f:pod-security.kubernetes.io/enforce"] = {}
    api.requests.clear()
    _run(api)
    assert ("PATCH", "/api/v1/namespaces/db") in api.writes()
    api.requests.clear()
    _run(api)
    assert api.writes() == []


@pytest.mark.parametrize("check", [True, False])
def test_pod_of_a_killed_try_goes_with_a_run_that_changes_nothing(api: FakeKubernetes, check: bool) -> None:
    _serving(api)
    metadata = {"name": "demo-galera-config-check", "namespace": "db", "labels": LABELS}
    api.add({"kind": "Pod", "metadata": metadata, "status": {"phase": "Running"}})
    result = _run(api, check=check)
    assert (result["changed"], "status" in result) == (False, True)
    assert (api.get("Pod", "demo-galera-config-check") is None) != check
    assert api.get("Lease", "demo-galera-site") is None


def test_a_secret_whose_answer_was_lost_is_nobody_elses(api: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is repeated, and meets the Secret that it has made itself."""
    true_answer, made = api._answer, []

    def lost(method: str, path: str, query: dict[str, str], body: Any) -> Any:
        answer = true_answer(method, path, query, body)
        if (method, path) == ("POST", SECRETS) and not made:
            made.append(answer)
            return status(504, "Timeout", "lost")
        return answer

    monkeypatch.setattr(api, "_answer", lost)
    assert _results(_run(api, wait_timeout=5))["Secret demo-galera"] == "created"
    assert len(made) == 1


@pytest.mark.parametrize("ended", [True, False])
def test_a_purge_that_has_not_ended_is_no_time_to_start_nodes(api: FakeKubernetes, ended: bool) -> None:
    """The play was killed, and the Job still waits for its machine: it would wipe the volume of a node that serves."""
    labels = {"app.kubernetes.io/instance": "demo", "app.kubernetes.io/component": "purge"}
    for name, conditions in (("purge-one", []), ("purge-two", [{"type": "Complete", "status": "True"}])):
        status = {"conditions": [{"type": "Failed", "status": "True"}] if ended else conditions}
        api.add({"kind": "Job", "metadata": {"name": name, "namespace": "db", "labels": labels}, "status": status})
    if ended:
        assert _run(api)["changed"]
        return
    for check in (True, False):
        said = _refused(api, check=check)
        assert "purge-one still waits or runs. Run it again, or, to keep what the volumes hold, `kubectl -n db " in said
        assert "purge-two" not in said
        assert said.endswith("Nothing was changed.")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("aside-data-demo-galera-0", "The playbook restore has not come to its end, and would set the data of nodes "),
        ("undo-data-demo-galera-0", "The playbook restore_undo has not come to its end, and would put other data in "),
        ("release-data-demo-galera-0", ""),
        ("undo-check-data-demo-galera-0", ""),
    ],
)
def test_a_restore_that_still_moves_data_is_no_time_to_start_nodes(api: FakeKubernetes, name: str, said: str) -> None:
    """Its Job, which waits for its machine, would move the data of a node that has come back meanwhile."""
    labels = {"app.kubernetes.io/instance": "demo", "app.kubernetes.io/component": "aside"}
    api.add({"kind": "Job", "metadata": {"name": name, "namespace": "db", "labels": labels}, "status": {}})
    if not said:
        assert _run(api)["changed"]
        return
    told = _refused(api, check=False)
    assert said in told
    assert f"that are in use: {name} still waits or runs. Run " in told
    assert f"`kubectl -n db delete job {name}`. Nothing was changed." in told


def test_a_purge_that_may_not_be_seen_does_not_stop_a_run(api: FakeKubernetes) -> None:
    api.denied.add(("list", "jobs"))
    assert _run(api)["changed"]


def test_access_to_a_cluster_that_is_not_there_is_refused(api: FakeKubernetes) -> None:
    """The name is a wrong one: a load balancer would be made for nothing."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "demo-galera-external-lb", "labels": LABELS}}
    for check in (True, False):
        assert _refused(api, {"external": [service]}, check=check) == (
            "There is no cluster demo in the namespace db: the site playbook makes it. Nothing was changed."
        )
    _run(api)
    assert _run(api, {"external": [service]})["changed"]
    assert not _run(api, {"external": []})["changed"]
