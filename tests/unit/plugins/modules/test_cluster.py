# SPDX-License-Identifier: GPL-3.0-or-later
"""The module cluster against an API server in memory: what it sends in which order, and what it refuses before that."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils._errors import ApiError, GaleraError, RefusedError
from ansible_collections.stateful.galera.plugins.modules import cluster
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes, status
from unit.plugins.module_utils.sights import RECORD, claim, pod
from unit.plugins.modules.conftest import FakeModule

LABELS = {"app.kubernetes.io/instance": "demo"}
SEED_LABELS = {**LABELS, "app.kubernetes.io/component": "seed"}
CONFIG = "/api/v1/namespaces/db/configmaps/demo-galera-config"
SECRETS = "/api/v1/namespaces/db/secrets"
SETS = "/apis/apps/v1/namespaces/db/statefulsets"
CLAIMS = "/api/v1/namespaces/db/persistentvolumeclaims"
VOLUME = "/api/v1/persistentvolumes/demo-galera-seed-volume"


def _manifest(
    kind: str, name: str, api_version: str = "v1", labels: dict[str, str] | None = None, **body: Any
) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": labels or LABELS}, **body}


def _set(name: str, replicas: int = 3, size: str = "1Gi", labels: dict[str, str] | None = None) -> dict[str, Any]:
    template = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}}
    return _manifest(
        "StatefulSet", name, "apps/v1", labels, spec={"replicas": replicas, "volumeClaimTemplates": [template]}
    )


def _phases(**change: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The phases of a small cluster, as manifests; `change` replaces the one document of a phase."""
    phases = {
        "namespace": [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "db", "labels": {"team": "dba"}}}],
        "volumes": [
            _manifest("ConfigMap", "demo-galera-config", data={"my.cnf": "a=1"}),
            _manifest("ConfigMap", "demo-galera-state"),
        ],
        "seed": [
            {
                **_manifest(
                    "PersistentVolume",
                    "demo-galera-seed-volume",
                    spec={"claimRef": {"name": "demo-galera-seed-volume-claim", "namespace": "db"}},
                )
            },
            _manifest(
                "PersistentVolumeClaim",
                "demo-galera-seed-volume-claim",
                labels=SEED_LABELS,
                spec={"resources": {"requests": {"storage": "1Gi"}}},
            ),
            _set("demo-galera-seed", 1, labels=SEED_LABELS),
        ],
        "nodes": [_set("demo-galera")],
    }
    return {**phases, **{phase: [manifest] for phase, manifest in change.items()}}


def _params(
    api: FakeKubernetes, phases: dict[str, list[dict[str, Any]]] | None = None, **params: Any
) -> dict[str, Any]:
    documents = [
        {"name": name, "documents": [json.dumps(each) for each in manifests]}
        for name, manifests in (phases or _phases()).items()
    ]
    defaults: dict[str, Any] = {
        "name": "demo",
        "namespace": "db",
        "size": 3,
        "phases": documents,
        "node_selector": {},
        "tolerations": [],
        "storage_classes": [],
        "require_default_storage_class": False,
        "node_port": None,
        "node_port_service": None,
        "volume_size": None,
        "passwords": {},
        "password_keys": ["root-password"],
        "absent": [],
        "check_new": False,
        "keep_lease": False,
        "wait_timeout": 0,
    }
    return {**api.auth, **defaults, **params}


def _run(api: FakeKubernetes, phases: Any = None, check: bool = False, **params: Any) -> dict[str, Any]:
    return cluster.work(FakeModule(_params(api, phases, **params), check))


def _results(result: dict[str, Any]) -> dict[str, str]:
    return {f"{each['kind']} {each['name']}": each["result"] for each in result["objects"]}


@pytest.fixture(autouse=True)
def _kubernetes_nodes(api: FakeKubernetes) -> None:
    """Three Kubernetes nodes, and no namespace yet."""
    del api.objects["Namespace", "", "db"]
    for number in range(3):
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        api.add({"kind": "Node", "metadata": {"name": f"worker-{number}", "labels": {}}, "spec": {}, "status": ready})


def test_new_cluster(api: FakeKubernetes) -> None:
    result = _run(api)
    writes = [path for _, path in api.writes()]
    assert writes[:2] == ["/api/v1/namespaces/db", SECRETS]
    phases = [
        {CONFIG, CONFIG.replace("-config", "-state")},
        {VOLUME, f"{CLAIMS}/demo-galera-seed-volume-claim", f"{SETS}/demo-galera-seed"},
        {f"{SETS}/demo-galera"},
    ]
    assert [set(writes[2:4]), set(writes[4:7]), set(writes[7:])] == phases
    assert (result["changed"], result["seed"], result["generated"]) == (True, "needed", ["root-password"])
    assert set(_results(result).values()) == {"created"}
    assert [each["kind"] for each in result["objects"]][:3] == ["Namespace", "Secret", "ConfigMap"]
    assert result["kubernetes_version"] == "v1.33.1"
    assert result["requests"] == len(api.requests)


def test_everything_is_rehearsed_before_anything_but_the_namespace_is_made(api: FakeKubernetes) -> None:
    _run(api)
    steps = [
        ("dryRun" in query, path)
        for method, path, query in api.requests
        if method in ("PATCH", "POST") and "/self" not in path and "/leases" not in path
    ]
    real = [path for dry, path in steps if not dry]
    last_rehearsal = max(place for place, (dry, _) in enumerate(steps) if dry)
    assert [path for dry, path in steps[:last_rehearsal] if not dry] == ["/api/v1/namespaces/db"]
    assert sorted(path for dry, path in steps if dry) == sorted(path for path in real if path != SECRETS)


def test_second_run_asks_little_and_sends_nothing(api: FakeKubernetes) -> None:
    _run(api)
    api.requests.clear()
    result = _run(api)
    assert (result["changed"], result["seed"], result["generated"]) == (False, "present", [])
    assert set(_results(result).values()) == {"unchanged"}
    assert result["diff"] == []
    # the version, four objects by name, three kinds
    assert {method for method, _, _ in api.requests} == {"GET"}
    assert len(api.requests) == 8


def test_one_change_sends_one_object(api: FakeKubernetes) -> None:
    _run(api)
    api.requests.clear()
    phases = _phases()
    phases["volumes"][0]["data"]["my.cnf"] = "a=2"
    result = _run(api, phases)
    assert api.writes() == [("PATCH", CONFIG)]
    assert [name for name, what in _results(result).items() if what == "changed"] == ["ConfigMap demo-galera-config"]
    (diff,) = result["diff"]
    assert diff["before_header"] == "ConfigMap demo-galera-config (db)"
    assert "my.cnf: a=1" in diff["before"]
    assert "my.cnf: a=2" in diff["after"]


def test_drift_is_mended(api: FakeKubernetes) -> None:
    _run(api)
    live = api.get("ConfigMap", "demo-galera-config")
    assert live is not None
    live["data"]["my.cnf"] = "by hand"
    assert _run(api)["changed"]
    assert api.get("ConfigMap", "demo-galera-config")["data"] == {"my.cnf": "a=1"}  # type: ignore[index]


def test_objects_that_kubectl_made_are_taken_over_without_a_change(api: FakeKubernetes) -> None:
    _run(api)
    for manifest in api.objects.values():
        for entry in manifest["metadata"].get("managedFields", []):
            entry["manager"] = "kubectl"
    result = _run(api)
    assert not result["changed"]
    assert not _run(api)["changed"]


def test_check_mode_without_a_namespace(api: FakeKubernetes) -> None:
    result = _run(api, check=True)
    assert api.writes() == []
    assert (result["changed"], set(_results(result).values())) == (True, {"created"})
    assert len(result["diff"]) == len(result["objects"]) == 8
    assert not api.objects.keys() - {("Node", "", f"worker-{number}") for number in range(3)}


def test_check_mode_tells_the_same_as_the_run(api: FakeKubernetes) -> None:
    _run(api)
    phases = _phases()
    phases["volumes"][0]["data"]["my.cnf"] = "a=2"
    phases["volumes"].append(_manifest("ConfigMap", "demo-galera-haproxy"))
    told = _run(api, phases, check=True, passwords={"user-password": "u"})
    before = copy.deepcopy(api.objects)
    assert api.objects == before
    done = _run(api, phases, passwords={"user-password": "u"})
    assert told["objects"] == done["objects"]
    assert {name: what for name, what in _results(done).items() if what != "unchanged"} == {
        "Secret demo-galera": "changed",
        "ConfigMap demo-galera-config": "changed",
        "ConfigMap demo-galera-haproxy": "created",
    }


def test_seed_is_left_out_of_a_cluster_that_was_bootstrapped(api: FakeKubernetes) -> None:
    _run(api)
    for kind, name in (("StatefulSet", "demo-galera-seed"), ("PersistentVolumeClaim", "demo-galera-seed-volume-claim")):
        del api.objects[kind, "db", name]
    volume = api.get("PersistentVolume", "demo-galera-seed-volume", "")
    assert volume is not None
    volume["status"] = {"phase": "Released"}
    state = api.get("ConfigMap", "demo-galera-state")
    assert state is not None
    state["data"] = {"cluster": RECORD}
    api.requests.clear()
    result = _run(api)
    assert (result["changed"], result["seed"], api.writes()) == (False, "not_needed", [])
    assert not [name for name in _results(result) if "seed" in name]


def test_decommission_that_was_killed_is_told_so_that_it_is_finished(api: FakeKubernetes) -> None:
    _run(api)
    del api.objects["StatefulSet", "db", "demo-galera-seed"]
    api.objects["ConfigMap", "db", "demo-galera-state"]["data"] = {"cluster": RECORD}
    api.requests.clear()
    result = _run(api)
    assert (result["changed"], result["seed"], api.writes()) == (False, "leaving", [])
    assert not [name for name in _results(result) if "seed" in name]


@pytest.mark.parametrize("phase", ["seed", "volumes"])
def test_seeds_objects_are_left_out_of_every_phase(api: FakeKubernetes, phase: str) -> None:
    phases = _phases()
    phases[phase] = [*phases.pop("seed"), *([] if phase == "seed" else phases["volumes"])]
    api.add(claim("data-demo-galera-0"))
    result = _run(api, phases, passwords={"root-password": "r"})
    assert result["seed"] == "undecided"
    assert "data-demo-galera-0" in result["seed_reason"]
    assert not [path for _, path in api.writes() if "seed" in path]
    assert api.get("StatefulSet", "demo-galera") is not None


def _refused(api: FakeKubernetes, phases: Any = None, **params: Any) -> str:
    """The message of a run that is refused before it writes anything, not counting what was there."""
    api.requests.clear()
    with pytest.raises(RefusedError) as error:
        _run(api, phases, **params)
    assert api.writes() == []
    return str(error.value)


def test_all_problems_are_told_at_once(api: FakeKubernetes) -> None:
    api.replies["GET", "/version"] = [(200, {"major": "1", "minor": "28", "gitVersion": "v1.28.0"})]
    said = _refused(api, size=5, storage_classes=["fast"], require_default_storage_class=True)
    assert said.startswith(
        "4 problems, nothing was changed: (1) The API server is Kubernetes v1.28.0, 1.29 or newer is needed. (2) "
    )
    for part in (
        "only 3 of 3 can take one",
        "storage class 'fast' does not exist",
        "No storage class is the default one",
    ):
        assert part in said


def test_namespace_that_is_being_deleted(api: FakeKubernetes) -> None:
    api.add({"kind": "Namespace", "metadata": {"name": "db"}, "status": {"phase": "Terminating"}})
    assert _refused(api) == "The namespace db is being deleted: run again when it is gone. Nothing was changed."


def test_changes_that_kubernetes_forbids(api: FakeKubernetes) -> None:
    _run(api)
    said = _refused(api, _phases(nodes=_set("demo-galera", 2, "2Gi")), size=2)
    assert "galera_cluster_volume_size=2Gi differs from the 1Gi" in said
    assert "galera_cluster_size=2 would remove 1" in said


def test_what_the_server_would_not_accept_is_refused_before_a_change(api: FakeKubernetes) -> None:
    _run(api)
    phases = _phases(nodes=_set("demo-galera", 5))
    phases["volumes"][0]["data"]["my.cnf"] = "a=2"
    api.replies["PATCH", f"{SETS}/demo-galera"] = [status(422, "Invalid", "spec.foo: Forbidden")]
    assert (
        _refused(api, phases, size=3)
        == "StatefulSet demo-galera was not accepted: spec.foo: Forbidden. Nothing was changed."
    )


def test_kept_claims_of_another_size(api: FakeKubernetes) -> None:
    api.add({**claim("data-demo-galera-0"), "spec": {"resources": {"requests": {"storage": "2Gi"}}}})
    said = _refused(api, volume_size="1Gi", passwords={"root-password": "r"})
    assert said.startswith(
        "galera_cluster_volume_size=1Gi differs from the 2Gi of the claim data-demo-galera-0 that was kept"
    )


def _port_reply(api: FakeKubernetes, message: str) -> None:
    api.replies["POST", "/api/v1/namespaces/default/services"] = [status(422, "Invalid", message)]


def test_node_port_that_is_taken(api: FakeKubernetes) -> None:
    api.add(
        {"kind": "Service", "metadata": {"name": "shop", "namespace": "web"}, "spec": {"ports": [{"nodePort": 30306}]}}
    )
    _port_reply(
        api, 'Service "x" is invalid: spec.ports[0].nodePort: Invalid value: 30306: provided port is already allocated'
    )
    assert _refused(api, node_port=30306) == (
        "galera_cluster_nodeport=30306 is taken by the Service shop in the namespace web: choose another port. "
        "Nothing was changed."
    )


def test_node_port_that_is_taken_by_what_may_not_be_seen(api: FakeKubernetes) -> None:
    _port_reply(api, "provided port is already allocated")
    api.denied.add(("list", "services"))
    assert _refused(api, node_port=30306).startswith("galera_cluster_nodeport=30306 is taken by another Service: ")


def test_node_port_that_is_ours(api: FakeKubernetes) -> None:
    service = _manifest("Service", "demo-galera-external-access", spec={"ports": [{"port": 3306, "nodePort": 30306}]})
    phases = {**_phases(), "external": [service]}
    _run(api, phases, node_port=30306)
    api.requests.clear()
    assert not _run(api, phases, node_port=30306)["changed"]
    assert not [path for method, path, _ in api.requests if method == "POST"]


def test_services_that_shall_not_be(api: FakeKubernetes) -> None:
    _run(api)
    service = {
        "kind": "Service",
        "metadata": {"name": "demo-galera-external-lb", "namespace": "db", "labels": LABELS},
        "spec": {},
    }
    api.add(service)
    told = _run(api, check=True, absent=["demo-galera-external-lb", "never-was"])
    assert api.get("Service", "demo-galera-external-lb") is not None
    api.requests.clear()
    result = _run(api, absent=["demo-galera-external-lb", "never-was"])
    assert api.writes() == [("DELETE", "/api/v1/namespaces/db/services/demo-galera-external-lb")]
    assert _results(result)["Service demo-galera-external-lb"] == "removed"
    assert told["objects"] == result["objects"]
    assert not _run(api, absent=["demo-galera-external-lb"])["changed"]


def test_missing_rights_are_told_together(api: FakeKubernetes) -> None:
    api.denied |= {("create", "statefulsets"), ("get", "pods/proxy"), ("get", "secrets"), ("create", "namespaces")}
    assert _refused(api) == (
        "2 problems, nothing was changed: (1) The user tester has no right in the namespace db to get "
        "pods/proxy; get secrets; "
        "create statefulsets.apps. (2) The user tester has no right in the whole cluster to create namespaces."
    )


def test_missing_right_to_read_forbids_a_run_that_would_change_nothing(api: FakeKubernetes) -> None:
    _run(api)
    api.denied.add(("get", "secrets"))
    assert "no right in the namespace db to get secrets" in _refused(api, password_keys=[])


def test_right_in_one_namespace_only(api: FakeKubernetes) -> None:
    """A namespace that may not be read is taken to exist; nodes and storage classes that may not be read are "
    "not checked."""
    api.add({"kind": "Namespace", "metadata": {"name": "db"}})
    api.denied |= {("get", "namespaces"), ("list", "nodes"), ("list", "storageclasses")}
    module = FakeModule(_params(api, storage_classes=["thin"]))
    result = cluster.work(module)
    assert "Namespace db" not in _results(result)
    assert api.get("StatefulSet", "demo-galera") is not None
    assert [warning.split(":")[0] for warning in module.warnings] == [
        "The Kubernetes nodes could not be checked",
        "The storage classes could not be checked",
        "The namespace db may not be read",
    ]


def test_namespace_that_may_not_be_changed_is_left_as_it_is(api: FakeKubernetes) -> None:
    api.add({"kind": "Namespace", "metadata": {"name": "db"}})
    api.denied.add(("patch", "namespaces"))
    module = FakeModule(_params(api))
    assert "Namespace db" not in _results(cluster.work(module))
    assert module.warnings == ["There is no right to patch the namespace db: it is left as it is."]


def test_namespace_that_is_as_it_must_be_is_not_touched(api: FakeKubernetes) -> None:
    labels = {"team": "dba", "other": "label"}
    api.add({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "db", "labels": labels}})
    assert _results(_run(api))["Namespace db"] == "unchanged"
    assert ("PATCH", "/api/v1/namespaces/db") not in api.writes()


def test_passwords_are_made_once_and_never_shown(api: FakeKubernetes) -> None:
    result = _run(api, passwords={"user-password": "swordfish"}, password_keys=["root-password", "user-password"])
    secret = api.get("Secret", "demo-galera")
    assert secret is not None
    assert base64.b64decode(secret["data"]["user-password"]) == b"swordfish"
    generated = base64.b64decode(secret["data"]["root-password"]).decode()
    text = json.dumps(result)
    for hidden in ("swordfish", generated, secret["data"]["user-password"], secret["data"]["root-password"]):
        assert hidden not in text
    assert result["generated"] == ["root-password"]
    again = _run(api, passwords={"user-password": "swordfish"}, password_keys=["root-password", "user-password"])
    assert (again["generated"], api.get("Secret", "demo-galera")) == ([], secret)


def test_key_that_is_added_keeps_the_others(api: FakeKubernetes) -> None:
    _run(api)
    before = api.get("Secret", "demo-galera")
    keys = ["root-password", "user-password"]
    assert "has no key user-password" in _refused(api, password_keys=keys)
    result = _run(api, password_keys=keys, passwords={"user-password": "x"})
    after = api.get("Secret", "demo-galera")
    assert before is not None
    assert after is not None
    assert after["data"]["root-password"] == before["data"]["root-password"]
    assert after["data"]["user-password"] == "eA=="
    assert result["generated"] == []
    assert "(hidden)" in result["diff"][0]["after"]


def test_database_without_the_account_xtrabackup_gets_a_password_for_it(api: FakeKubernetes) -> None:
    _run(api)
    before = api.get("Secret", "demo-galera")
    result = _run(api, password_keys=["root-password", "xtrabackup-password"])
    after = api.get("Secret", "demo-galera")
    assert before is not None
    assert after is not None
    assert result["generated"] == ["xtrabackup-password"]
    assert after["data"] == {**before["data"], "xtrabackup-password": after["data"]["xtrabackup-password"]}


def test_secret_that_was_made_by_hand_is_used(api: FakeKubernetes) -> None:
    """`kubectl create secret` sets no labels."""
    api.add({"kind": "Namespace", "metadata": {"name": "db"}})
    secret = {
        "kind": "Secret",
        "metadata": {"name": "demo-galera", "namespace": "db"},
        "data": {"root-password": "eA=="},
    }
    api.add(secret)
    result = _run(api)
    assert (result["seed"], result["generated"]) == ("needed", [])
    assert api.get("Secret", "demo-galera")["data"] == {"root-password": "eA=="}  # type: ignore[index]
    assert not [path for _, path in api.writes() if "secrets" in path]


def test_record_without_labels_counts(api: FakeKubernetes) -> None:
    _run(api)
    for kind, name in (("StatefulSet", "demo-galera-seed"), ("PersistentVolumeClaim", "demo-galera-seed-volume-claim")):
        del api.objects[kind, "db", name]
    state = api.objects["ConfigMap", "db", "demo-galera-state"]
    state["data"] = {"cluster": RECORD}
    del state["metadata"]["labels"]
    assert _run(api)["seed"] == "not_needed"


def test_other_password_for_a_cluster_that_lives(api: FakeKubernetes) -> None:
    _run(api)
    said = _refused(api, passwords={"root-password": "other-secret"})
    assert said.startswith("galera_mysql_root_password differs from the key root-password of the Secret db/demo-galera")
    assert "other-secret" not in said


def test_two_runs_at_once_make_one_secret(api: FakeKubernetes) -> None:
    """The run that comes second fails and does not overwrite what the first has generated."""

    def other_run(method: str, path: str) -> None:
        if (method, path) == ("POST", SECRETS):
            api.before = lambda method, path: None
            api.add(
                {
                    "kind": "Secret",
                    "metadata": {"name": "demo-galera", "namespace": "db", "labels": LABELS},
                    "data": {"root-password": "eA=="},
                }
            )

    api.before = other_run
    with pytest.raises(
        GaleraError, match=r"^Secret demo-galera was written by someone else during this run: run again\.$"
    ):
        _run(api)
    assert api.get("Secret", "demo-galera")["data"] == {"root-password": "eA=="}  # type: ignore[index]
    assert not [path for _, path in api.writes() if "statefulsets" in path]


def test_error_in_the_middle_names_the_object_and_stops(api: FakeKubernetes) -> None:
    calls = {"seed": 0}

    def fails_later(method: str, path: str) -> None:
        if (method, path) == ("PATCH", f"{SETS}/demo-galera-seed"):
            calls["seed"] += 1
            if calls["seed"] == 2:
                api.replies["PATCH", path] = [status(403, "Forbidden", "exceeded quota")]

    api.before = fails_later
    with pytest.raises(GaleraError) as error:
        _run(api)
    assert str(error.value) == (
        "StatefulSet demo-galera-seed was not accepted: exceeded quota. The phases before seed were applied; "
        "running again goes on."
    )
    assert api.get("StatefulSet", "demo-galera") is None
    api.before = lambda method, path: None
    assert _run(api)["seed"] == "needed"
    assert api.get("StatefulSet", "demo-galera") is not None


def test_object_that_a_document_refers_to_and_that_comes_with_the_run(api: FakeKubernetes) -> None:
    """A binding to a role of the same run cannot be rehearsed: the server does not know the role yet."""
    binding = _manifest(
        "RoleBinding", "demo-galera", "rbac.authorization.k8s.io/v1", roleRef={"kind": "Role", "name": "demo-galera"}
    )
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/db/rolebindings/demo-galera"
    api.replies["PATCH", path] = [status(404, "NotFound", 'roles "demo-galera" not found')]
    assert _results(_run(api, {**_phases(), "rights": [binding]}))["RoleBinding demo-galera"] == "created"


def _serving(api: FakeKubernetes, state: str = "Synced") -> None:
    """All that a cluster of three needs to serve, without a seed."""
    _run(api)
    for kind, name in (("StatefulSet", "demo-galera-seed"), ("PersistentVolumeClaim", "demo-galera-seed-volume-claim")):
        del api.objects[kind, "db", name]
    api.objects["ConfigMap", "db", "demo-galera-state"]["data"] = {"cluster": RECORD}
    wsrep = {
        "connected": True,
        "ready": True,
        "cluster_status": "Primary",
        "cluster_size": 3,
        "cluster_state_uuid": "u",
    }
    for ordinal in range(3):
        api.add(pod(f"demo-galera-{ordinal}"))
        agent = {"phase": "running", "wsrep": {**wsrep, "local_state_comment": state}, "age_seconds": 0.1}
        api.agents[f"demo-galera-{ordinal}"] = agent
    api.add(pod("demo-galera-haproxy-1", "haproxy"))


def test_run_that_changes_nothing_tells_how_the_cluster_is(api: FakeKubernetes) -> None:
    _serving(api)
    result = _run(api)
    assert not result["changed"]
    assert result["status"]["cluster"]["verdict"] == "healthy"
    assert [row["state"] for row in result["status"]["nodes"]] == ["Synced"] * 3


@pytest.mark.parametrize(("state", "params"), [("Joiner", {}), ("Synced", {"passwords": {"user-password": "new"}})])
def test_status_is_left_to_who_can_wait_for_it(api: FakeKubernetes, state: str, params: dict[str, Any]) -> None:
    _serving(api, state)
    assert "status" not in _run(api, **params)


def test_server_that_does_not_accept_us(api: FakeKubernetes) -> None:
    api.replies["GET", "/version"] = [status(401, "Unauthorized", "Unauthorized")]
    with pytest.raises(ApiError, match="does not accept the credentials"):
        _run(api)
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"name": "x" * 64}, "is no DNS label"),
        ({"size": 0}, "size=0 is not allowed: a cluster has at least one node."),
        (
            {"phases": {"nodes": [_manifest("Secret", "demo-galera")]}},
            "Secret demo-galera of the phase nodes: passwords are given by passwords, not here.",
        ),
        ({"phases": {"nodes": [{}]}}, "A document of the phase nodes of kind None has no metadata.name."),
    ],
)
def test_bad_options(api: FakeKubernetes, params: dict[str, Any], said: str) -> None:
    with pytest.raises(GaleraError) as error:
        _run(api, **params)
    assert said in str(error.value)
    assert api.requests == []
