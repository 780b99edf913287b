# SPDX-License-Identifier: GPL-3.0-or-later
"""The module cluster for a user who has no more rights than it needs."""

from __future__ import annotations

from typing import Any

import pytest
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes
from unit.plugins.modules.test_cluster import _kubernetes_nodes, _manifest, _phases, _refused, _results, _run

__all__ = ["_kubernetes_nodes"]  # a fixture of every test here

RBAC = "rbac.authorization.k8s.io/v1"
RULES = [
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["a", "b"], "verbs": ["get"]},
]


def _with_role() -> dict[str, list[dict[str, Any]]]:
    """Phases with a binding that stands before its role, as the names of files may bring it."""
    binding = _manifest("RoleBinding", "demo-galera", RBAC, roleRef={"kind": "Role", "name": "demo-galera"})
    return {**_phases(), "rights": [binding, _manifest("Role", "demo-galera", RBAC, rules=RULES)]}


def test_role_is_there_before_its_binding(api: FakeKubernetes) -> None:
    _run(api, _with_role())
    rights = [path.split("/")[-2] for _, path in api.writes() if "rbac" in path]
    assert rights == ["roles", "rolebindings"]


def test_what_the_role_grants_is_needed(api: FakeKubernetes) -> None:
    api.denied |= {("create", "events"), ("create", "statefulsets")}
    assert _refused(api, _with_role()) == (
        "The user tester has no right in the namespace db to create events; create statefulsets.apps. "
        "Nothing was changed."
    )
    assert "events" not in _refused(api)


def test_role_that_is_as_it_must_be_asks_for_nothing(api: FakeKubernetes) -> None:
    _run(api, _with_role())
    api.denied.add(("create", "events"))
    phases = _with_role()
    phases["volumes"][0]["data"]["my.cnf"] = "a=2"
    assert _results(_run(api, phases))["Role demo-galera"] == "unchanged"


@pytest.mark.parametrize("rules", [[{"verbs": ["escalate"], "apiGroups": ["*"], "resources": ["roles"]}]])
def test_who_may_grant_more_than_they_have_need_not_have_it(api: FakeKubernetes, rules: list[Any]) -> None:
    api.denied.add(("create", "events"))
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    api.replies["POST", path] = [(200, {"status": {"resourceRules": rules}})] * 2
    assert _results(_run(api, _with_role()))["Role demo-galera"] == "created"
