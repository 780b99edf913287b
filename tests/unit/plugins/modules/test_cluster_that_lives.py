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
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes, status
from unit.plugins.modules.test_cluster import (
    CONFIG,
    LABELS,
    SETS,
    _kubernetes_nodes,
    _phases,
    _refused,
    _results,
    _run,
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
        metadata["annotations"] = {"stateful.galera/restore": json.dumps(undone)}
        assert not _run(api)["changed"]
    metadata["annotations"]["stateful.galera/restore"] = json.dumps({"id": "a", "undo": "begun"})
    assert _refused(api) == (
        "The playbook restore_undo was begun on cluster demo and has not come to its end: run it again first, with "
        "galera_restore_confirm=demo. Nothing was changed."
    )


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
