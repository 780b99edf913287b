# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _preflight
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS
from ansible_collections.stateful.galera.plugins.module_utils._preflight import Right

NODES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "fixtures" / "nodes.json").read_text())


@pytest.mark.parametrize(
    ("major", "minor", "fits"),
    [
        ("1", "29", True),
        ("1", "36", True),
        ("1", "29+", True),
        ("2", "0", True),
        ("1", "28", False),
        ("1", "", False),
        ("0", "99", False),
    ],
)
def test_version(major: str, minor: str, fits: bool) -> None:
    said = _preflight.check_version({"major": major, "minor": minor, "gitVersion": f"v{major}.{minor}.3"})
    assert said == ([] if fits else [f"The API server is Kubernetes v{major}.{minor}.3, 1.29 or newer is needed."])


@pytest.mark.parametrize(
    ("namespace", "said"),
    [
        (None, []),
        ({"metadata": {"name": "db"}, "status": {"phase": "Active"}}, []),
        (
            {"metadata": {"name": "db"}, "status": {"phase": "Terminating"}},
            ["The namespace db is being deleted: run again when it is gone."],
        ),
        (
            {"metadata": {"name": "db", "deletionTimestamp": "now"}},
            ["The namespace db is being deleted: run again when it is gone."],
        ),
    ],
)
def test_namespace(namespace: dict[str, Any] | None, said: list[str]) -> None:
    assert _preflight.check_namespace(namespace) == said


def _class(name: str, default: str = "false") -> dict[str, Any]:
    return {"metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": default}}}


@pytest.mark.parametrize(
    ("wanted", "require_default", "classes", "said"),
    [
        (["thin"], False, [_class("thin")], []),
        ([], True, [_class("thin", "true")], []),
        (
            ["fast", "thin"],
            False,
            [_class("thin"), _class("slow", "true")],
            ["The storage class 'fast' does not exist: this Kubernetes has slow (default) and thin."],
        ),
        (["fast"], False, [], ["The storage class 'fast' does not exist: this Kubernetes has none."]),
        (
            [],
            True,
            [_class("thin")],
            [
                "No storage class is the default one and galera_cluster_storage_class names none: this "
                "Kubernetes has thin. "
                "Set galera_cluster_storage_class to one of them."
            ],
        ),
        (
            [],
            True,
            [{"metadata": {"name": "bare"}}],
            [
                "No storage class is the default one and galera_cluster_storage_class names none: this "
                "Kubernetes has bare. "
                "Set galera_cluster_storage_class to one of them."
            ],
        ),
    ],
)
def test_storage_classes(
    wanted: list[str], require_default: bool, classes: list[dict[str, Any]], said: list[str]
) -> None:
    assert _preflight.check_storage_classes(wanted, require_default, classes) == said


def _node(**change: Any) -> dict[str, Any]:
    node = copy.deepcopy(NODES[1])
    node["spec"].update(change.get("spec", {}))
    node["metadata"]["labels"].update(change.get("labels", {}))
    for condition in node["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition["status"] = change.get("ready", "True")
    return node


MASTER = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
DEDICATED = {"key": "dedicated", "value": "db", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("node", "selector", "tolerations", "reason"),
    [
        (_node(), {}, [], ""),
        (_node(ready="False"), {}, [], "is not Ready"),
        (_node(ready="Unknown"), {}, [], "is not Ready"),
        (_node(spec={"unschedulable": True}), {}, [], "is cordoned"),
        (_node(labels={"disk": "ssd"}), {"disk": "ssd"}, [], ""),
        (_node(labels={"rank": "1"}), {"rank": 1}, [], ""),
        (
            _node(labels={"disk": "hdd"}),
            {"disk": "ssd", "zone": "a"},
            [],
            "lacks the label disk=ssd and zone=a of galera_cluster_node_selector",
        ),
        (
            _node(spec={"taints": [MASTER]}),
            {},
            [],
            "has the taint node-role.kubernetes.io/control-plane:NoSchedule that galera_cluster_tolerations "
            "does not tolerate",
        ),
        (_node(spec={"taints": [{**MASTER, "effect": "PreferNoSchedule"}]}), {}, [], ""),
        (_node(spec={"taints": [MASTER]}), {}, [{"operator": "Exists"}], ""),
        (
            _node(spec={"taints": [MASTER]}),
            {},
            [{"key": MASTER["key"], "operator": "Exists", "effect": "NoSchedule"}],
            "",
        ),
        (_node(spec={"taints": [MASTER]}), {}, [{"key": MASTER["key"], "effect": "NoSchedule"}], ""),
        (_node(spec={"taints": [DEDICATED]}), {}, [{"key": "dedicated", "operator": "Equal", "value": "db"}], ""),
        (
            _node(spec={"taints": [DEDICATED]}),
            {},
            [{"key": "dedicated", "value": "web"}],
            "has the taint dedicated=db:NoExecute that galera_cluster_tolerations does not tolerate",
        ),
        (
            _node(spec={"taints": [DEDICATED]}),
            {},
            [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
            "has the taint dedicated=db:NoExecute that galera_cluster_tolerations does not tolerate",
        ),
        (
            _node(spec={"taints": [MASTER, DEDICATED]}),
            {},
            [{"key": MASTER["key"], "operator": "Exists"}],
            "has the taint dedicated=db:NoExecute that galera_cluster_tolerations does not tolerate",
        ),
    ],
)
def test_unfit_reason(
    node: dict[str, Any], selector: dict[str, Any], tolerations: list[dict[str, Any]], reason: str
) -> None:
    assert _preflight.unfit_reason(node, selector, tolerations) == reason


def test_nodes_that_suffice() -> None:
    assert _preflight.check_nodes(NODES, 5, {}, []) == []


def test_too_few_nodes() -> None:
    nodes = [*NODES[1:4], _node(spec={"unschedulable": True})]
    assert _preflight.check_nodes(nodes, 5, {}, []) == [
        "galera_cluster_size=5 needs 5 Kubernetes nodes, one for each node of the cluster, but only 3 of 4 can "
        "take one. "
        f"Not counted: {nodes[3]['metadata']['name']} is cordoned."
    ]


def _service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "web"}, "spec": spec}


SERVICES = [
    _service("headless", clusterIP="None"),
    _service("shop", ports=[{"port": 80, "nodePort": 30080}, {"port": 443, "nodePort": 30443}]),
    _service("local", healthCheckNodePort=31000, ports=[{"port": 80}]),
]


@pytest.mark.parametrize(("port", "owner"), [(30443, ("web", "shop")), (31000, ("web", "local")), (30306, None)])
def test_port_owner(port: int, owner: tuple[str, str] | None) -> None:
    assert _preflight.port_owner(SERVICES, port) == owner


@pytest.mark.parametrize(
    ("rule", "right", "allowed"),
    [
        (([""], ["pods"], ["get", "list"], []), Right("", "pods", "list"), True),
        (([""], ["pods"], ["get", "list"], []), Right("", "pods", "delete"), False),
        (([""], ["pods"], ["get"], []), Right("", "pods/proxy", "get"), False),
        (([""], ["pods/proxy"], ["get"], []), Right("", "pods/proxy", "get"), True),
        (([""], ["*/proxy"], ["get"], []), Right("", "pods/proxy", "get"), True),
        ((["*"], ["*"], ["*"], []), Right("apps", "statefulsets", "patch"), True),
        ((["apps"], ["*"], ["*"], []), Right("", "secrets", "patch"), False),
        (([""], ["secrets"], ["patch"], ["demo-galera"]), Right("", "secrets", "patch", "demo-galera"), True),
        (([""], ["secrets"], ["patch"], ["other"]), Right("", "secrets", "patch", "demo-galera"), False),
        (([""], ["secrets"], ["create"], ["demo-galera"]), Right("", "secrets", "create"), False),
    ],
)
def test_allows(rule: tuple[list[str], list[str], list[str], list[str]], right: Right, allowed: bool) -> None:
    groups, resources, verbs, names = rule
    rules = [{"apiGroups": groups, "resources": resources, "verbs": verbs, "resourceNames": names}]
    assert _preflight.allows(rules, right) is allowed


def test_rights_of_a_run() -> None:
    assert [(right.verb, right.rbac_name) for right in _preflight.run_rights(with_seed=True)] == [
        ("list", "pods"),
        ("get", "pods/proxy"),
        ("list", "events"),
        ("get", "leases.coordination.k8s.io"),
        ("create", "leases.coordination.k8s.io"),
        ("update", "leases.coordination.k8s.io"),
        ("delete", "leases.coordination.k8s.io"),
        ("delete", "statefulsets.apps"),
        ("delete", "persistentvolumeclaims"),
    ]
    without = [right.rbac_name for right in _preflight.run_rights(with_seed=False) if right.verb == "delete"]
    assert without == ["leases.coordination.k8s.io"]


def test_rights_to_replace_nodes() -> None:
    assert [(right.verb, right.rbac_name) for right in _preflight.roll_rights()] == [
        ("get", "pods"),
        ("create", "pods"),
        ("delete", "pods"),
        ("get", "pods/log"),
        ("create", "pods/eviction"),
    ]


@pytest.mark.parametrize(
    ("requests", "rooms", "said"),
    [
        ({"cpu": "2", "memory": "1Gi"}, [("4", "8Gi")] * 3, ""),
        ({"cpu": "50"}, [("4", "8Gi")] * 3, "asks for cpu=50 for each node (with its agent), but only 0 of 3"),
        ({"memory": "6Gi"}, [("4", "8Gi"), ("4", "8Gi"), ("4", "4Gi")], "only 2 of 3 Kubernetes nodes have so much"),
        ({"memory": "6Gi"}, [("4", "8Gi")] * 3 + [("1", "1Gi")], ""),
        ({}, [("4", "8Gi")] * 3, ""),
    ],
)
def test_room(requests: dict[str, str], rooms: list[tuple[str, str]], said: str) -> None:
    ready = [{"type": "Ready", "status": "True"}]
    nodes = [
        {
            "metadata": {"name": f"w{number}"},
            "status": {"conditions": ready, "allocatable": {"cpu": cpu, "memory": memory}},
        }
        for number, (cpu, memory) in enumerate(rooms)
    ]
    problems = _preflight.check_room(nodes, 3, {}, [], requests)
    assert len(problems) == bool(said)
    assert said in "".join(problems)


def test_rights_problem() -> None:
    missing = [Right.on(KINDS["StatefulSet"], verb) for verb in ("patch", "create")] + [Right.on(KINDS["Pod"], "list")]
    assert _preflight.rights_problem(missing, "ci", "db") == (
        "The user ci has no right in the namespace db to list pods; create and patch statefulsets.apps."
    )
    assert "in the whole cluster to list pods." in _preflight.rights_problem(missing[2:], "ci", "")
