# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules backup, backup_info and restore against an API server in memory."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _jobs
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.modules import backup, backup_info, restore
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes, status
from unit.plugins.modules.conftest import FakeModule

STATE = "demo-galera-backup-state"
PATH = f"/api/v1/namespaces/db/configmaps/{STATE}"
CATALOG = {
    "time": "2026-11-21T14:59:00Z",
    "targets": [
        {
            "target": "volume /backups",
            "backups": [
                {
                    "name": "20261121T130000Z-full",
                    "parent": None,
                    "finished": "2026-11-21T13:00:30Z",
                    "size": 1,
                    "verified": None,
                    "problem": None,
                }
            ],
        }
    ],
}
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: demo-galera-restore-job, namespace: db}
spec: {backoffLimit: 4}
"""


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(_jobs, "_LOOK_SECONDS", 0.01)


def module(api: FakeKubernetes, check: bool = False, **options: Any) -> FakeModule:
    options = {"wait_timeout": 5, **options}
    return FakeModule({**api.auth, "name": "demo", "namespace": "db", **options}, check_mode=check)


def add_state(api: FakeKubernetes, **documents: dict[str, Any]) -> None:
    data = {key: json.dumps(value) for key, value in documents.items()}
    api.add({"kind": "ConfigMap", "metadata": {"name": STATE, "namespace": "db"}, "data": data})


def add_settings(api: FakeKubernetes, text: str) -> None:
    metadata = {"name": "demo-galera-backup", "namespace": "db"}
    api.add({"kind": "ConfigMap", "metadata": metadata, "data": {"backup.json": text}})


def add_lease(api: FakeKubernetes, holder: str) -> None:
    """The Lease of the backups, renewed now."""
    spec = {"holderIdentity": holder, "renewTime": str(time.monotonic())}
    api.add({"kind": "Lease", "metadata": {"name": "demo-galera-backup", "namespace": "db"}, "spec": spec})


def state(api: FakeKubernetes, key: str) -> dict[str, Any]:
    found = api.get("ConfigMap", STATE)
    assert found is not None
    return json.loads((found.get("data") or {}).get(key, "{}"))


def answers(api: FakeKubernetes, **answer: str) -> None:
    """An agent that answers each request at once."""

    def before(method: str, path: str) -> None:
        request = state(api, "request")
        if request:
            data = api.get("ConfigMap", STATE)["data"]  # type: ignore[index]
            data["result"] = json.dumps({"id": request["id"], **answer})

    api.before = before


def test_a_backup_is_asked_for_and_waited_for(api: FakeKubernetes) -> None:
    add_state(api)
    answers(api, state="succeeded", backup="20261121T130000Z-full", message="done")
    found = backup.work(module(api, kind="full"))
    assert found == {"changed": True, "backup": "20261121T130000Z-full", "message": "done"}
    request = state(api, "request")
    assert (request["action"], request["kind"]) == ("backup", "full")


def test_a_backup_that_fails_tells_why(api: FakeKubernetes) -> None:
    add_state(api)
    answers(api, state="failed", message="s3://b is denied")
    with pytest.raises(GaleraError, match="The backup failed: s3://b is denied"):
        backup.work(module(api, kind="full"))


def test_a_backup_that_takes_too_long_is_told_apart(api: FakeKubernetes) -> None:
    add_state(api, catalog={"leader": "demo-galera-2"})
    with pytest.raises(GaleraError, match=r"Waited 0 s for the backup \(request \w+, open\), last seen: demo-galera-2"):
        backup.work(module(api, kind="full", wait_timeout=0))


WAITS = "waits: suspended: 2 of 3 nodes"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "_PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(backup, "_REFUSED_SECONDS", 0.3)


def test_a_backup_that_waits_in_vain_is_withdrawn(api: FakeKubernetes, impatient: None) -> None:
    add_state(api, catalog={"leader": "demo-galera-2"})
    answers(api, state="running", message=WAITS)
    words = rf"No backup was taken within 0.3 s, last seen: {WAITS}\. The request was withdrawn"
    with pytest.raises(GaleraError, match=words):
        backup.work(module(api, kind="full"))
    assert state(api, "request") == {}


@pytest.mark.parametrize("held", [None, "", "demo-galera-2"])
@pytest.mark.parametrize("answer", ["", "running"])
def test_a_backup_that_nobody_takes_is_withdrawn(
    api: FakeKubernetes, impatient: None, held: str | None, answer: str
) -> None:
    """All nodes are down, or none is Synced; who led, and said that it is at work, may be gone."""
    add_state(api, catalog={"leader": "demo-galera-2", "running": {"kind": "full"}})
    if answer:
        answers(api, state=answer, message="")
    if held is not None:
        add_lease(api, held)
    words = r"No agent has led the backups of demo for 0\.3 s \(.*\), .*\. The request was withdrawn"
    with pytest.raises(GaleraError, match=words):
        backup.work(module(api, kind="full", wait_timeout=30))
    assert state(api, "request") == {}


@pytest.mark.parametrize("readable", [True, False])
def test_a_backup_that_somebody_takes_is_waited_for(api: FakeKubernetes, impatient: None, readable: bool) -> None:
    """As long as the Lease is renewed, or where it is not known whether it is."""
    add_state(api)
    if not readable:
        api.denied = {("get", "leases")}

    def before(method: str, path: str) -> None:
        if readable:
            add_lease(api, "demo-galera-2")

    api.before = before
    with pytest.raises(GaleraError, match=r"Waited 1 s for the backup \(request \w+, open\)"):
        backup.work(module(api, kind="full", wait_timeout=1))
    assert state(api, "request")["kind"] == "full"


def test_a_backup_that_waits_tells_so_when_the_time_is_over(api: FakeKubernetes) -> None:
    add_state(api, catalog={"leader": "demo-galera-2"})
    answers(api, state="running", message=WAITS)
    with pytest.raises(GaleraError, match=rf"\(request \w+, running\), last seen: {WAITS}\. Running again"):
        backup.work(module(api, kind="full", wait_timeout=0))
    assert state(api, "request")["kind"] == "full"


def test_a_request_that_is_taken_up_while_it_is_withdrawn_is_waited_for(api: FakeKubernetes, impatient: None) -> None:
    add_state(api)
    patches: list[str] = []

    def before(method: str, path: str) -> None:
        add_lease(api, "demo-galera-2")
        patches.extend([path] if method == "PATCH" else [])
        request = state(api, "request")
        if request:
            answer = {"state": "running", "message": WAITS} if len(patches) < 2 else {"state": "succeeded"}
            data = api.get("ConfigMap", STATE)["data"]  # type: ignore[index]
            data["result"] = json.dumps({"id": request["id"], "backup": "b", "message": "done", **answer})
        if len(patches) == 2 and method == "PATCH":
            api.replies["PATCH", PATH] = [status(409, "Conflict", "the object has been modified")]

    api.before = before
    assert backup.work(module(api, kind="full"))["backup"] == "b"


@pytest.mark.parametrize("hindered", [False, True])
def test_a_backup_that_begins_in_time_is_not_withdrawn(
    api: FakeKubernetes, monkeypatch: pytest.MonkeyPatch, hindered: bool
) -> None:
    """Also one whose reason changes."""
    add_state(api)
    monkeypatch.setattr(backup, "_PATIENCE_SECONDS", 0.4)
    looks: list[str] = []

    def before(method: str, path: str) -> None:
        looks.extend([path] if method == "GET" else [])
        request = state(api, "request")
        if request:
            why = f"{WAITS} {len(looks)}" if hindered else ""
            answer = {"state": "running", "message": why} if len(looks) < 60 else {"state": "succeeded", "message": ""}
            data = api.get("ConfigMap", STATE)["data"]  # type: ignore[index]
            data["result"] = json.dumps({"id": request["id"], "backup": "b", **answer})

    api.before = before
    assert backup.work(module(api, kind="full"))["backup"] == "b"


def test_a_request_that_is_gone_is_not_waited_for(api: FakeKubernetes) -> None:
    add_state(api, request={"id": "another", "action": "backup"})
    with pytest.raises(GaleraError, match="The request mine is not there any more"):
        backup.await_answer(backup.Client(api.auth), _names(), "mine", 5)


def test_a_backup_with_settings_that_are_refused(api: FakeKubernetes, impatient: None) -> None:
    add_state(api, catalog={"leader": "demo-galera-2"}, refused={"message": "max_chain is 0"})
    with pytest.raises(GaleraError, match=r"refuse the settings.*, and take none: max_chain is 0\. The request"):
        backup.work(module(api, kind="full"))
    assert state(api, "request") == {}


def test_info_names_settings_that_are_refused(api: FakeKubernetes) -> None:
    add_state(api, refused={"message": "max_chain is 0"})
    with pytest.raises(GaleraError, match=r"has told of its backups: the agents refuse.*max_chain is 0\. To read the"):
        backup_info.work(module(api, job=None))
    _map(api)["data"]["catalog"] = json.dumps({"leader": "demo-galera-2", "catalog": CATALOG})
    (problem,) = backup_info.work(module(api, job=None))["problems"]
    assert problem == "the agents refuse the settings of backups, and take none: max_chain is 0"


def test_an_open_request_for_the_same_is_joined(api: FakeKubernetes) -> None:
    add_state(api, request={"id": "theirs", "action": "backup", "kind": "full"})
    answers(api, state="succeeded", backup="b", message="done")
    api_writes = api.writes
    assert backup.make_request(backup.Client(api.auth), _names(), _map(api), "full") == "theirs"
    assert api_writes() == []


def test_a_request_names_the_settings_that_it_means(api: FakeKubernetes) -> None:
    add_state(api)
    add_settings(api, "{}")
    answers(api, state="succeeded", backup="b", message="done")
    backup.work(module(api, kind="full"))
    assert state(api, "request")["settings"] == hashlib.sha256(b"{}").hexdigest()


@pytest.mark.parametrize(
    ("settings", "joined"), [(None, True), (hashlib.sha256(b"{}").hexdigest(), True), ("older", False)]
)
def test_an_open_request_is_joined_if_it_means_the_same_settings(
    api: FakeKubernetes, settings: str | None, joined: bool
) -> None:
    more = {} if settings is None else {"settings": settings}
    add_state(api, request={"id": "theirs", "action": "backup", "kind": "full", **more})
    add_settings(api, "{}")
    if joined:
        assert backup.make_request(backup.Client(api.auth), _names(), _map(api), "full") == "theirs"
    else:
        with pytest.raises(GaleraError, match="Another request is open"):
            backup.make_request(backup.Client(api.auth), _names(), _map(api), "full")


def test_an_open_request_that_names_no_kind_is_for_any(api: FakeKubernetes) -> None:
    add_state(api, request={"id": "theirs", "action": "backup", "kind": None, "settings": None})
    add_settings(api, "{}")
    assert backup.make_request(backup.Client(api.auth), _names(), _map(api), "auto") == "theirs"


def test_an_open_request_for_something_else_is_left_alone(api: FakeKubernetes) -> None:
    add_state(api, request={"id": "theirs", "action": "verify"})
    with pytest.raises(GaleraError, match=r"Another request is open \(id theirs, verify \)"):
        backup.work(module(api, kind="full"))
    assert api.writes() == []


def test_a_write_of_someone_else_in_between_is_no_failure(api: FakeKubernetes) -> None:
    add_state(api)
    answers(api, state="succeeded", backup="b", message="done")
    api.replies["PATCH", PATH] = [status(409, "Conflict", "the object has been modified")]
    assert backup.work(module(api, kind="auto"))["backup"] == "b"


def test_without_backups_it_says_what_to_do(api: FakeKubernetes) -> None:
    with pytest.raises(GaleraError, match=r"has no backups.*galera_cluster_backup_s3_bucket"):
        backup.work(module(api, kind="full"))


def test_check_mode_asks_nothing(api: FakeKubernetes) -> None:
    add_state(api)
    assert backup.work(module(api, check=True, kind="full"))["changed"]
    assert api.writes() == []


def test_check_mode_and_info_tell_what_will_expire(api: FakeKubernetes) -> None:
    gone = {"name": "20261113T010000Z-full", "reason": "is 8 days old, and no rule keeps it"}
    (target,) = CATALOG["targets"]
    add_state(api, catalog={"catalog": {**CATALOG, "targets": [{**target, "expiring": [gone]}]}})
    said = backup.work(module(api, check=True, kind="full"))
    assert said["message"] == (
        "Would ask for a backup (full). What retention lets go with it: "
        "20261113T010000Z-full in volume /backups is 8 days old, and no rule keeps it."
    )
    found = backup_info.work(module(api, job=None))
    assert said["expiring"] == found["expiring"] == [{"target": "volume /backups", **gone}]
    assert found["table"][-1] == (
        "volume /backups: 20261113T010000Z-full goes with the next backup: it is 8 days old, and no rule keeps it"
    )


@pytest.mark.parametrize(("told", "outdated"), [("{}", False), ('{"retention": 1}', True), (None, False)])
def test_check_mode_and_info_say_that_it_is_told_by_settings_of_before(
    api: FakeKubernetes, told: str | None, outdated: bool
) -> None:
    """A backup that is asked for waits for the present ones, and deletes by these."""
    by = {} if told is None else {"settings": hashlib.sha256(told.encode()).hexdigest()}
    add_state(api, catalog={"leader": "demo-galera-2", "catalog": CATALOG, **by})
    add_settings(api, "{}")
    words = "told by the settings of before, and that backup follows the present ones"
    assert (words in backup.work(module(api, check=True, kind="full"))["message"]) == outdated
    problems = backup_info.work(module(api, job=None))["problems"]
    assert [words in one for one in problems] == ([True] if outdated else [])


def test_info_is_what_the_leader_told(api: FakeKubernetes) -> None:
    add_state(api, catalog={"leader": "demo-galera-2", "catalog": CATALOG})
    found = backup_info.work(module(api, job=None))
    assert (found["leader"], found["changed"], len(found["backups"])) == ("demo-galera-2", False, 1)
    assert found["backups"][0]["chain"] == ["20261121T130000Z-full"]


def test_info_says_what_failed_since(api: FakeKubernetes) -> None:
    last = {"command": "tick", "state": "failed", "message": "s3 is not reachable", "time": "2026-11-21T14:00:00Z"}
    add_state(api, catalog={"leader": "demo-galera-2", "catalog": CATALOG, "last": last})
    found = backup_info.work(module(api, job=None))
    assert found["problems"] == ["the last backup failed, at 2026-11-21T14:00:00Z: s3 is not reachable"]


def test_info_that_nobody_told_is_said_to_be_missing(api: FakeKubernetes) -> None:
    with pytest.raises(GaleraError, match="No agent of the cluster demo has told of its backups"):
        backup_info.work(module(api, job=None))


def test_info_without_a_catalog_says_what_failed(api: FakeKubernetes) -> None:
    """As with the prefix of another cluster, from the first backup on."""
    last = {"command": "tick", "state": "failed", "message": "s3://b is that of another", "time": "14:00"}
    add_state(api, catalog={"leader": "demo-galera-2", "last": last})
    words = r"told of its backups: the last backup failed, at 14:00: s3://b is that of another\. To read the targets"
    with pytest.raises(GaleraError, match=words):
        backup_info.work(module(api, job=None))


def ends(api: FakeKubernetes, log: str) -> None:
    """Each Job ends well at once and has this log."""
    labels = {"batch.kubernetes.io/job-name": "demo-galera-restore-job"}
    api.add({"kind": "Pod", "metadata": {"name": "job-x", "namespace": "db", "labels": labels}})

    def before(method: str, path: str) -> None:
        api.replies["GET", "/api/v1/namespaces/db/pods/job-x/log"] = [(200, log.encode())]
        for (kind, _, _), found in api.objects.items():
            if kind == "Job":
                found["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}

    api.before = before


def test_info_by_a_job(api: FakeKubernetes) -> None:
    ends(api, json.dumps({"type": "end", "catalog": CATALOG}))
    found = backup_info.work(module(api, job=JOB))
    assert (found["leader"], len(found["backups"])) == (None, 1)


def test_a_restore_is_made_once(api: FakeKubernetes) -> None:
    ends(api, "restored it")
    options = {"documents": [JOB], "again": False, "remove": False, "settings": {}}
    assert restore.work(module(api, **options)) == {"changed": True, "message": "restored it", "log": ["restored it"]}
    assert restore.work(module(api, **options))["changed"] is False
    assert restore.work(module(api, check=True, **options))["message"] == (
        "Job demo-galera-restore-job has ended well already."
    )
    assert [method for method, _ in api.writes()] == ["PATCH"]


def test_check_mode_runs_no_job(api: FakeKubernetes) -> None:
    found = restore.work(module(api, check=True, documents=[JOB], again=False, remove=False, settings={}))
    assert (found["changed"], found["message"]) == (True, "Would run Job demo-galera-restore-job.")
    assert api.writes() == []


def test_the_last_document_must_be_a_job(api: FakeKubernetes) -> None:
    claim = JOB.replace("batch/v1", "v1").replace("kind: Job", "kind: PersistentVolumeClaim")
    with pytest.raises(GaleraError, match="must be a Job"):
        restore.work(module(api, documents=[claim], again=False, remove=False))


def _names() -> backup.Names:
    return backup.Names("demo", "db")


def _map(api: FakeKubernetes) -> dict[str, Any]:
    found = api.get("ConfigMap", STATE)
    assert found is not None
    return found
