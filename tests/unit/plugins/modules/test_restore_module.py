# SPDX-License-Identifier: GPL-3.0-or-later
"""The module restore against an API server in memory: what becomes of a former Job and of its claim."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _jobs
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.modules import backup_info, restore
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes
from unit.plugins.modules.conftest import FakeModule

CLAIM: dict[str, Any] = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "seed"}, "spec": {}}
JOB: dict[str, Any] = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"image": "new"}}
POD = {
    "kind": "Pod",
    "metadata": {"name": "job-x", "namespace": "db", "labels": {"batch.kubernetes.io/job-name": "job"}},
    "spec": {"volumes": [{"name": "target", "persistentVolumeClaim": {"claimName": "seed"}}]},
}


def _former(api: FakeKubernetes) -> None:
    """A Job that failed, whose pod keeps a claim that is being deleted."""
    status = {"conditions": [{"type": "Failed", "status": "True"}]}
    former = {"kind": "Job", "metadata": {"name": "job", "namespace": "db"}, "spec": {"image": "old"}, "status": status}
    api.add(former)
    api.add(POD)
    api.add({**CLAIM, "metadata": {"name": "seed", "namespace": "db", "deletionTimestamp": "2026-01-01T00:00:00Z"}})


def _run(api: FakeKubernetes, timeout: int = 5, settings: dict[str, str] | None = None) -> dict[str, Any]:
    params = {"name": "demo", "namespace": "db", "documents": [json.dumps(CLAIM), json.dumps(JOB)]}
    options = {"again": True, "remove": True, "settings": settings or {}, "wait_timeout": timeout}
    return restore.work(FakeModule({**api.auth, **params, **options}))


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_jobs, restore):
        monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)


def test_a_claim_that_is_being_deleted_goes_with_the_former_job_before_a_new_one_is_made(api: FakeKubernetes) -> None:
    _former(api)
    looks = {"count": 0}

    def goes_on(method: str, path: str) -> None:
        job, claim = api.get("Job", "job"), api.get("PersistentVolumeClaim", "seed")
        if job is None:
            api.objects.pop(("Pod", "db", "job-x"), None)
            looks["count"] += 1
            if looks["count"] == 4 and claim is not None:
                del api.objects["PersistentVolumeClaim", "db", "seed"]
        elif job["spec"]["image"] == "new":
            job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}

    api.before = goes_on
    assert _run(api)["changed"]
    assert [(method, path.rpartition("/")[2]) for method, path in api.writes()] == [
        ("DELETE", "job"),
        ("PATCH", "seed"),
        ("PATCH", "job"),
        ("DELETE", "job"),
    ]
    claim = api.get("PersistentVolumeClaim", "seed")
    assert claim is not None
    assert "deletionTimestamp" not in claim["metadata"]


def test_a_claim_that_does_not_go_says_which_pod_keeps_it(api: FakeKubernetes) -> None:
    _former(api)
    with pytest.raises(GaleraError, match=r"Waited 0 s for the end of .*seed, .* kept by pod job-x: .*was restored"):
        _run(api, 0)
    assert [method for method, _ in api.writes()] == ["DELETE"]


@pytest.mark.parametrize("end", ["Complete", "Failed"])
def test_words_of_the_job_name_the_variables(api: FakeKubernetes, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that another one begins with is not taken for it."""
    settings = {"SOURCE_GTID": "restore_gtid", "SOURCE_BEFORE_GTID": "restore_before_gtid"}
    log = ("SOURCE_BEFORE_GTID is 'x'; SOURCE_GTID and SOURCE_GTIDS are not",)
    monkeypatch.setattr(_jobs.Runner, "log", lambda _: log)

    def ends(method: str, path: str) -> None:
        if (job := api.get("Job", "job")) is not None:
            job["status"] = {"conditions": [{"type": end, "status": "True"}]}

    api.before = ends
    shown = "restore_before_gtid is 'x'; restore_gtid and SOURCE_GTIDS are not"
    if end == "Complete":
        assert _run(api, settings=settings)["message"] == shown
        return
    with pytest.raises(GaleraError, match=shown):
        _run(api, settings=settings)


def test_a_claim_that_does_not_exist_is_told_before_anything_is_applied(api: FakeKubernetes) -> None:
    """Kubernetes would have the pod wait for it, and the playbook with it, for the whole deadline."""
    api.add({**CLAIM, "metadata": {"name": "backups", "namespace": "db"}})
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in ("seed", "backups", "typo")]
    job = {**JOB, "spec": {"template": {"spec": {"volumes": [*volumes, {"name": "tmp", "emptyDir": {}}]}}}}
    params = {"name": "demo", "namespace": "db", "documents": [json.dumps(CLAIM), json.dumps(job)]}
    options = {"again": True, "remove": True, "settings": {}, "wait_timeout": 5}
    with pytest.raises(
        GaleraError, match=r"The claim typo, which Job job needs, does not exist .*; there are: backups\."
    ):
        restore.work(FakeModule({**api.auth, **params, **options}))
    assert api.writes() == []


def _needy() -> dict[str, Any]:
    """A Job whose pod needs a service account, two ConfigMaps and two Secrets, one of each only if it is there."""
    volumes = [
        {"name": "settings", "configMap": {"name": "demo-galera-backup"}},
        {"name": "config", "configMap": {"name": "demo-galera-config", "optional": True}},
        {"name": "secret", "secret": {"secretName": "demo-galera"}},
        {"name": "keys", "secret": {"secretName": "keys", "optional": True}},
    ]
    return {**JOB, "spec": {"template": {"spec": {"serviceAccountName": "demo-galera", "volumes": volumes}}}}


def _verify(api: FakeKubernetes) -> dict[str, Any]:
    options = {"again": True, "remove": False, "settings": {}, "wait_timeout": 1}
    params = {"name": "demo", "namespace": "db", "documents": [json.dumps(_needy())]}
    return restore.work(FakeModule({**api.auth, **params, **options}))


def _list(api: FakeKubernetes) -> dict[str, Any]:
    params = {"name": "demo", "namespace": "db", "job": json.dumps(_needy()), "wait_timeout": 1}
    return backup_info.work(FakeModule({**api.auth, **params}))


@pytest.mark.parametrize("work", [_verify, _list])
def test_a_job_for_a_cluster_that_is_not_there_is_not_run(
    api: FakeKubernetes, work: Callable[[FakeKubernetes], dict[str, Any]]
) -> None:
    """Kubernetes makes no pod without its service account: the playbook would wait for the whole deadline, hours."""
    api.add({"kind": "ConfigMap", "metadata": {"name": "demo-galera-backup", "namespace": "db"}})
    with pytest.raises(
        GaleraError,
        match=r"Job job needs what does not exist in namespace db: ServiceAccount demo-galera and Secret demo-galera. ",
    ):
        work(api)
    assert api.writes() == []


def test_what_may_not_be_looked_for_hinders_no_job(api: FakeKubernetes) -> None:
    api.denied = {("get", "secrets"), ("get", "serviceaccounts"), ("get", "configmaps"), ("list", "events")}
    with pytest.raises(GaleraError, match="Waited 1 s for Job job, which still runs, last seen: it has no pod yet"):
        _verify(api)


def test_a_job_without_a_pod_says_why_there_is_none(api: FakeKubernetes) -> None:
    for kind, name in (
        ("ConfigMap", "demo-galera-backup"),
        ("ServiceAccount", "demo-galera"),
        ("Secret", "demo-galera"),
    ):
        api.add({"kind": kind, "metadata": {"name": name, "namespace": "db"}})
    for number, name in enumerate(("job", "another")):
        involved = {"kind": "Job", "name": name, "namespace": "db"}
        event = {"reason": "FailedCreate", "message": f"exceeded quota of {name}", "involvedObject": involved}
        api.add({"kind": "Event", "metadata": {"name": f"e{number}", "namespace": "db"}, **event})
    with pytest.raises(GaleraError, match=r"last seen: it has no pod yet: exceeded quota of job\. Running again"):
        _verify(api)
