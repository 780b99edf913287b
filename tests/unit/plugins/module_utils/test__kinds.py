# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, read_document, read_phases

CONFIG_MAP = "{apiVersion: v1, kind: ConfigMap, metadata: {name: demo-galera-config}}"


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "path"),
    [
        ("ConfigMap", "db", "x", "/api/v1/namespaces/db/configmaps/x"),
        ("ConfigMap", "db", "", "/api/v1/namespaces/db/configmaps"),
        ("Service", "", "", "/api/v1/services"),
        ("StatefulSet", "db", "x", "/apis/apps/v1/namespaces/db/statefulsets/x"),
        ("PersistentVolume", "db", "x", "/api/v1/persistentvolumes/x"),
        ("PriorityClass", "", "x", "/apis/scheduling.k8s.io/v1/priorityclasses/x"),
    ],
)
def test_path(kind: str, namespace: str, name: str, path: str) -> None:
    assert KINDS[kind].path(namespace, name) == path


def test_rbac_name() -> None:
    assert [KINDS[kind].rbac_name for kind in ("Pod", "StatefulSet")] == ["pods", "statefulsets.apps"]


def test_document_gets_the_namespace_of_the_cluster() -> None:
    document = read_document(CONFIG_MAP, "volumes", "db")
    assert (document.phase, document.namespace, document.path, str(document)) == (
        "volumes",
        "db",
        "/api/v1/namespaces/db/configmaps/demo-galera-config",
        "ConfigMap demo-galera-config",
    )
    assert document.manifest["metadata"] == {"name": "demo-galera-config", "namespace": "db"}


def test_object_of_the_whole_cluster_gets_no_namespace() -> None:
    document = read_document("---\n{apiVersion: v1, kind: Namespace, metadata: {name: db}}\n", "namespace", "db")
    assert document.manifest["metadata"] == {"name": "db"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "A document of the phase nodes is not valid YAML: "),
        ("", "holds 0 objects, exactly one mapping is allowed."),
        ("- 1", "holds 1 objects, exactly one mapping is allowed."),
        (f"{CONFIG_MAP}\n---\n{CONFIG_MAP}", "holds 2 objects, exactly one mapping is allowed."),
        ("{apiVersion: v1, kind: ConfigMap}", "of kind 'ConfigMap' has no metadata.name."),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: 3}}", "of kind 'ConfigMap' has no metadata.name."),
        (
            "{apiVersion: v1, kind: Gadget, metadata: {name: x}}",
            "named x is of the kind 'Gadget' of apiVersion 'v1', allowed",
        ),
        (
            "{apiVersion: apps/v1beta1, kind: StatefulSet, metadata: {name: x}}",
            "named x is of the kind 'StatefulSet' of apiVersion 'apps/v1beta1', allowed are: ConfigMap (v1), ",
        ),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: web}}",
            "ConfigMap x of the phase nodes names the namespace 'web', the cluster lives in 'db'.",
        ),
    ],
)
def test_bad_document(text: str, said: str) -> None:
    with pytest.raises(GaleraError) as error:
        read_document(text, "nodes", "db")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_phases_keep_their_order() -> None:
    phases = [
        {"name": "volumes", "documents": [CONFIG_MAP.replace("-config", "-b"), CONFIG_MAP.replace("-config", "-a")]},
        {"name": "nodes", "documents": [CONFIG_MAP]},
    ]
    assert [(each.phase, each.name) for each in read_phases(phases, "db")] == [
        ("volumes", "demo-galera-b"),
        ("volumes", "demo-galera-a"),
        ("nodes", "demo-galera-config"),
    ]


def test_two_documents_of_one_name() -> None:
    phases = [{"name": "volumes", "documents": [CONFIG_MAP]}, {"name": "nodes", "documents": [CONFIG_MAP]}]
    with pytest.raises(
        GaleraError, match=r"^ConfigMap demo-galera-config stands in the phase volumes and again in the phase nodes\.$"
    ):
        read_phases(phases, "db")
