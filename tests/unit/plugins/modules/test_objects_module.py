# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils._errors import ApiError
from ansible_collections.stateful.galera.plugins.modules import objects
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes
from unit.plugins.modules.conftest import FakeModule

KINDS = ["ConfigMap", "PersistentVolumeClaim"]


def _run(api: FakeKubernetes, kinds: list[str], namespace: str = "db") -> dict[str, Any]:
    params = {**api.auth, "name": "demo", "namespace": namespace, "kinds": kinds}
    return objects.work(FakeModule(params))


def _add(api: FakeKubernetes, kind: str, name: str, **labels: str) -> None:
    api.add({"kind": kind, "metadata": {"name": name, "namespace": "db", "labels": labels}})


def test_the_objects_of_the_cluster_by_kind_and_name(api: FakeKubernetes) -> None:
    mine = {"app.kubernetes.io/name": "galera", "app.kubernetes.io/instance": "demo"}
    for name in ("data-demo-galera-1", "data-demo-galera-0"):
        _add(api, "PersistentVolumeClaim", name, **mine)
    _add(api, "PersistentVolumeClaim", "data-other-galera-0", **{**mine, "app.kubernetes.io/instance": "other"})
    _add(api, "PersistentVolumeClaim", "demo", **{**mine, "app.kubernetes.io/name": "web"})
    _add(api, "StatefulSet", "demo-galera", **mine)
    found = _run(api, KINDS)
    assert not found["changed"]
    assert found["objects"]["ConfigMap"] == []
    claims = [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in found["objects"][KINDS[1]]]
    assert claims == [("v1", KINDS[1], "data-demo-galera-0"), ("v1", KINDS[1], "data-demo-galera-1")]
    assert list(found["objects"]) == KINDS
    assert len(api.requests) == 2


def test_in_a_namespace_that_does_not_exist_there_are_none(api: FakeKubernetes) -> None:
    assert _run(api, KINDS, "nowhere")["objects"] == {"ConfigMap": [], "PersistentVolumeClaim": []}


def test_a_right_that_is_missing_is_told(api: FakeKubernetes) -> None:
    api.denied.add(("list", "persistentvolumeclaims"))
    with pytest.raises(ApiError, match="persistentvolumeclaims"):
        _run(api, KINDS)
