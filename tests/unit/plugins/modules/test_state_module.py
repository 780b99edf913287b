# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _holder
from ansible_collections.stateful.galera.plugins.module_utils._errors import ApiError, GaleraError
from ansible_collections.stateful.galera.plugins.modules import lease, state
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes
from unit.plugins.modules.conftest import FakeModule

NAME = "demo-galera-state"
DEFAULTS = {"of": "cluster", "annotations": {}, "data": {}, "required": True, "held": False}


@pytest.fixture(autouse=True)
def _play(monkeypatch: pytest.MonkeyPatch) -> None:
    """A play that outlives the module."""
    holder, _ = _holder.current()
    monkeypatch.setattr(_holder, "current", lambda: (holder, True))


@pytest.fixture
def written(api: FakeKubernetes) -> FakeKubernetes:
    """A cluster with a record."""
    metadata = {"name": NAME, "namespace": "db", "annotations": {"size": "3", "mine": "stays"}}
    api.add({"kind": "ConfigMap", "metadata": metadata, "data": {"cluster": "old", "pod-0": "5", "other": "stays"}})
    return api


def _run(api: FakeKubernetes, check: bool = False, **options: Any) -> dict[str, Any]:
    return state.work(FakeModule({**api.auth, "name": "demo", "namespace": "db", **DEFAULTS, **options}, check))


def _lease(api: FakeKubernetes, wanted: str) -> None:
    lease.work(FakeModule({**api.auth, "name": "demo", "namespace": "db", "state": wanted, "duration": 900}))


CHANGES: dict[str, Any] = {
    "annotations": {"size": None, "restore": "{}"},
    "data": {"cluster": None, "pod-0": "7", "gone": None},
}
AFTER = {"pod-0": "7", "other": "stays"}
DIFF = {
    "before": {"annotations": {"size": "3"}, "data": {"cluster": "old", "pod-0": "5"}},
    "after": {"annotations": {"restore": "{}"}, "data": {"pod-0": "7"}},
}


def test_what_is_named_is_set_or_removed_and_the_rest_stays(written: FakeKubernetes) -> None:
    assert _run(written, **CHANGES) == {"changed": True, "data": AFTER, "diff": DIFF}
    live = written.get("ConfigMap", NAME)
    assert live is not None
    assert live["metadata"]["annotations"] == {"mine": "stays", "restore": "{}"}
    assert live["data"] == AFTER


def test_a_second_run_writes_nothing(written: FakeKubernetes) -> None:
    _run(written, **CHANGES)
    written.requests.clear()
    again = _run(written, **CHANGES)
    assert (again["changed"], again["data"]) == (False, AFTER)
    assert again["diff"] == {"before": {"annotations": {}, "data": {}}, "after": {"annotations": {}, "data": {}}}
    assert [method for method, *_ in written.requests] == ["GET"]


def test_check_mode_tells_what_would_be(written: FakeKubernetes) -> None:
    assert _run(written, check=True, held=True, **CHANGES) == {"changed": True, "data": AFTER, "diff": DIFF}
    assert {method for method, *_ in written.requests} == {"GET"}


def test_the_state_of_the_backups(written: FakeKubernetes) -> None:
    written.add({"kind": "ConfigMap", "metadata": {"name": "demo-galera-backup-state", "namespace": "db"}})
    assert _run(written, of="backups", data={"look": "now"})["data"] == {"look": "now"}
    live = written.get("ConfigMap", NAME)
    assert live is not None
    assert "look" not in live["data"]


def test_without_the_configmap_nothing_is_written(api: FakeKubernetes) -> None:
    with pytest.raises(GaleraError, match=rf"^There is no ConfigMap {NAME} in namespace db: nothing was changed\.$"):
        _run(api, **CHANGES)
    assert _run(api, required=False, **CHANGES) == {"changed": False, "data": {}}
    assert {method for method, *_ in api.requests} == {"GET"}


def test_only_with_the_lease_of_this_run(written: FakeKubernetes) -> None:
    _lease(written, "held")
    assert _run(written, held=True, **CHANGES)["changed"]
    _lease(written, "released")
    before = written.get("ConfigMap", NAME)
    with pytest.raises(GaleraError, match=r"does not hold the Lease demo-galera-site any more.* run again\.$"):
        _run(written, held=True, data={"cluster": "new"})
    assert written.get("ConfigMap", NAME) == before


def test_the_lease_stays_for_the_tasks_that_follow(written: FakeKubernetes) -> None:
    _lease(written, "held")
    _run(written, held=True, **CHANGES)
    assert written.get("Lease", "demo-galera-site") is not None


def test_another_runs_lease_is_left_alone(written: FakeKubernetes) -> None:
    _lease(written, "held")
    live = written.get("Lease", "demo-galera-site")
    assert live is not None
    live["spec"]["holderIdentity"] = "root@elsewhere/7/7/7/0"
    written.add(live)
    with pytest.raises(GaleraError, match="does not hold the Lease"):
        _run(written, held=True, **CHANGES)
    assert written.get("Lease", "demo-galera-site") == live


@pytest.mark.parametrize(("option", "value"), [("data", 7), ("annotations", {"a": "b"}), ("data", True)])
def test_a_value_that_is_no_text(written: FakeKubernetes, option: str, value: Any) -> None:
    with pytest.raises(GaleraError, match=rf"^{option}: key is .*; allowed: a text, or null to remove it\.$"):
        _run(written, **{option: {"key": value}})
    assert written.requests == []


def test_a_right_that_is_missing_is_told(written: FakeKubernetes) -> None:
    written.denied.add(("patch", "configmaps"))
    with pytest.raises(ApiError, match=f"The ConfigMap {NAME} was not changed"):
        _run(written, **CHANGES)
