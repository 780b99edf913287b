# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _jobs
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import FIELD_MANAGER, Client
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, Document
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes

COMPLETE = {"conditions": [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]}
FAILED = {
    "conditions": [
        {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "exit code 2"},
    ]
}
JOB: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "restore", "namespace": "db"},
    "spec": {"template": {"spec": {"image": "a"}}},
}
LOG = "/api/v1/namespaces/db/pods/restore-x/log"
FIELDS = {"f:spec": {"f:template": {"f:spec": {"f:image": {}}}}}


def live(status: dict[str, Any] | None, image: str = "a", leaving: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": "restore",
        "namespace": "db",
        "managedFields": [{"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": FIELDS}],
    }
    if leaving:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    spec = {"template": {"spec": {"image": image}}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec, "status": status or {}}


@pytest.mark.parametrize(
    ("status", "state", "why"),
    [
        ({}, "running", ""),
        ({"active": 1}, "running", ""),
        (COMPLETE, "succeeded", ""),
        (FAILED, "failed", "PodFailurePolicy: exit code 2"),
        ({"conditions": [{"type": "Failed", "status": "False"}]}, "running", ""),
        ({"conditions": [{"type": "FailureTarget", "status": "True"}]}, "running", ""),
    ],
)
def test_state(status: dict[str, Any], state: str, why: str) -> None:
    assert _jobs.state_of({"status": status}) == _jobs.State(state, why)


@pytest.mark.parametrize(
    ("found", "again", "step"),
    [
        (None, False, "create"),
        (live(COMPLETE), False, "nothing"),
        (live(COMPLETE), True, "replace"),
        (live(COMPLETE, "b"), False, "replace"),
        (live(FAILED), False, "replace"),
        (live({}), False, "wait"),
        (live({}), True, "wait"),
        (live({}, "b"), False, "busy"),
        (live({}, leaving=True), False, "replace"),
    ],
)
def test_next_step(found: dict[str, Any] | None, again: bool, step: str) -> None:
    assert _jobs.next_step(found, JOB, again) == step


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"phase": "Running"}, ""),
        ({"phase": "Pending"}, "its pod is Pending"),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}]},
            "ErrImagePull: no such image",
        ),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no claim x"}
                ],
            },
            "Unschedulable: no claim x",
        ),
    ],
)
def test_trouble(status: dict[str, Any], words: str) -> None:
    assert _jobs.trouble_of({"status": status}) == words


@pytest.fixture
def api() -> Any:
    fake = FakeKubernetes()
    fake.add({"kind": "Namespace", "metadata": {"name": "db"}})
    labels = {"batch.kubernetes.io/job-name": "restore"}
    fake.add({"kind": "Pod", "metadata": {"name": "restore-x", "namespace": "db", "labels": labels}})
    yield fake
    fake.close()


def runner(api: FakeKubernetes, timeout: float = 5, said: list[str] | None = None) -> _jobs.Runner:
    client, say = Client(api.auth), None if said is None else said.append
    return _jobs.Runner(client, Document("restore", KINDS["Job"], JOB), timeout, say, sleep=lambda _: None)


def ends(api: FakeKubernetes, status: dict[str, Any]) -> None:
    """The Job ends as soon as it is there."""

    def before(method: str, path: str) -> None:
        job = api.get("Job", "restore")
        if job is not None and method == "GET":
            job["status"] = status

    api.before = before


def test_a_new_job_is_run_to_its_end(api: FakeKubernetes) -> None:
    ends(api, COMPLETE)
    assert runner(api).run() == _jobs.Ended(True, ("first line", "last line"))
    assert runner(api).run() == _jobs.Ended(False, ("first line", "last line"))
    assert [method for method, _ in api.writes()] == ["PATCH"]


@pytest.mark.parametrize(
    ("said", "log", "new"),
    [
        ((), "ab", "ab"),
        ("ab", "ab", ""),
        ("ab", "abc", "c"),
        ("abc", "cde", "de"),
        ("ab", "cd", "cd"),
        ("aa", "aab", "b"),
        ("ab", "", ""),
    ],
)
def test_lines_are_said_once(said: str, log: str, new: str) -> None:
    assert list(_jobs.unsaid(tuple(said), tuple(log))) == list(new)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("2026-11-21T13:40:00Z unpacks", "2026-11-21T13:40:00Z unpacks"),
        ('{"type": "end", "state": "failed", "message": "no bucket b"}', "no bucket b"),
        ('{"type": "begin", "command": "verify"}', '{"type": "begin", "command": "verify"}'),
        ('{"message": 7}', '{"message": 7}'),
        ('{"message": "cut', '{"message": "cut'),
    ],
)
def test_of_an_object_its_message_is_said(line: str, text: str) -> None:
    assert _jobs.plain(line) == text


def test_the_message_of_an_object_is_what_a_reader_gets(api: FakeKubernetes) -> None:
    said: list[str] = []
    log = b'{"type": "begin", "command": "verify"}\ntries it\n{"type": "end", "message": "no bucket b"}\n'
    api.replies["GET", LOG] = [(200, log)]
    ends(api, FAILED)
    with pytest.raises(GaleraError, match=r"Its last words: tries it no bucket b$"):
        runner(api, said=said).run()
    assert said[1:] == ["tries it", "no bucket b"]


def test_the_log_is_said_while_a_job_runs_and_at_its_end(api: FakeKubernetes) -> None:
    said: list[str] = []
    ends(api, COMPLETE)
    runner(api, said=said).run()
    assert said == ["first line", "last line"]
    ends(api, FAILED)
    said.clear()
    with pytest.raises(GaleraError):
        runner(api, said=said).run(again=True)
    assert said == ["first line", "last line"]


def test_one_that_ended_well_is_removed_where_that_is_wanted(api: FakeKubernetes) -> None:
    ends(api, COMPLETE)
    assert runner(api).run(remove=True) == _jobs.Ended(True, ("first line", "last line"))
    assert [method for method, _ in api.writes()] == ["PATCH", "DELETE"]


def test_one_that_failed_is_removed_too_and_its_words_stay_in_the_message(api: FakeKubernetes) -> None:
    ends(api, FAILED)
    with pytest.raises(GaleraError, match="first line last line"):
        runner(api).run(remove=True)
    assert [method for method, _ in api.writes()] == ["PATCH", "DELETE"]


def test_only_one_that_would_be_replaced_is_cleared(api: FakeKubernetes) -> None:
    api.add(live({}))
    runner(api).clear(again=True)
    assert api.writes() == []
    api.add(live(FAILED))
    runner(api).clear(again=True)
    assert [method for method, _ in api.writes()] == ["DELETE"]


def test_a_failure_has_its_reason_and_its_last_words(api: FakeKubernetes) -> None:
    ends(api, FAILED)
    with pytest.raises(GaleraError, match=r"restore failed \(PodFailurePolicy: exit code 2\)\..*first line last line"):
        runner(api).run()


def test_a_timeout_says_what_was_last_seen(api: FakeKubernetes) -> None:
    with pytest.raises(GaleraError, match=r"Waited 0 s for Job restore, which still runs, last seen: last line\."):
        runner(api, 0).run()


def test_another_job_that_runs_is_left_alone(api: FakeKubernetes) -> None:
    api.add(live({}, "b"))
    with pytest.raises(GaleraError, match="runs with other settings"):
        runner(api).run()
    assert api.writes() == []


def test_a_job_that_does_not_start_says_why_while_it_is_waited_for(
    api: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole deadline, hours, may go by in silence otherwise."""
    monkeypatch.setattr(_jobs.Runner, "log", lambda _: ())
    message = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no such claim"}
    api.objects["Pod", "db", "restore-x"]["status"] = {"phase": "Pending", "conditions": [message]}
    now, said = [0.0], []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    one = _jobs.Runner(Client(api.auth), Document("restore", KINDS["Job"], JOB), 40, said.append, lambda: now[0], sleep)
    with pytest.raises(GaleraError, match="last seen: Unschedulable: no such claim"):
        one.run()
    assert said == ["Job restore has not started: Unschedulable: no such claim"]
