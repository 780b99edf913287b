# SPDX-License-Identifier: GPL-3.0-or-later
"""The module recover against an API server in memory: what it shows, what it refuses, and the one thing it writes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.modules import recover
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes, status
from unit.plugins.module_utils.sights import RECORD, UUID, claim, pod
from unit.plugins.modules.conftest import FakeModule

STATE = "/api/v1/namespaces/db/configmaps/demo-galera-state"
OFFER = {
    "format": 1,
    "winner": "demo-galera-1",
    "uuid": UUID,
    "seqno": 9,
    "given_up": ["demo-galera-2"],
    "lost": 3,
    "shown": {"demo-galera-0": f"{UUID}:8", "demo-galera-1": f"{UUID}:9"},
}
SENTENCE = (
    f"demo-galera-1 bootstraps the cluster {UUID} at seqno 9 without demo-galera-2: what only these volumes hold is "
    f"lost to the cluster; 3 write-sets are known to be lost."
)


def waits(seqno: int, offer: dict[str, Any] | None = OFFER) -> dict[str, Any]:
    """An agent whose server is stopped."""
    return {
        "phase": "waiting",
        "reason": "waits for demo-galera-2 (not scheduled) to show what the volumes hold",
        "evidence": {"data": "present", "uuid": UUID, "seqno": seqno},
        "wsrep": None,
        "age_seconds": None,
        "offer": offer,
    }


def serves() -> dict[str, Any]:
    wsrep = {
        "connected": True,
        "ready": True,
        "cluster_status": "Primary",
        "cluster_size": 2,
        "cluster_state_uuid": UUID,
        "local_state_comment": "Synced",
    }
    return {**waits(9, None), "phase": "running", "reason": "Synced", "wsrep": wsrep, "age_seconds": 0.1}


@pytest.fixture
def down(api: FakeKubernetes) -> FakeKubernetes:
    """Three nodes without a primary component; the pod of the last one is Pending."""
    labels = {"app.kubernetes.io/instance": "demo"}
    metadata = {"name": "demo-galera", "namespace": "db", "labels": labels}
    api.add({"kind": "StatefulSet", "metadata": metadata, "spec": {"replicas": 3}})
    api.add(
        {"kind": "ConfigMap", "metadata": {"name": "demo-galera-state", "namespace": "db"}, "data": {"cluster": RECORD}}
    )
    for ordinal in range(3):
        api.add(pod(f"demo-galera-{ordinal}", ready=False))
        api.add(claim(f"data-demo-galera-{ordinal}"))
    api.objects["Pod", "db", "demo-galera-2"]["status"] = {"phase": "Pending"}
    api.agents.update({"demo-galera-0": waits(8), "demo-galera-1": waits(9)})
    return api


def run(api: FakeKubernetes, check: bool = False, confirm: str = "", timeout: float = 2) -> dict[str, Any]:
    params = {"name": "demo", "namespace": "db", "size": 3, "confirm": confirm, "wait_timeout": timeout}
    return recover.work(FakeModule({**api.auth, **params}, check))


def consents(api: FakeKubernetes) -> list[tuple[str, str]]:
    return [(method, path) for method, path in api.writes() if "/leases" not in path]


def starts_on_consent(api: FakeKubernetes) -> None:
    """The agents act on the consent as soon as it is there."""

    def goes_on(method: str, path: str) -> None:
        state = api.get("ConfigMap", "demo-galera-state")
        if state and state["data"].get("consent"):
            api.agents.update({"demo-galera-0": serves(), "demo-galera-1": serves()})

    api.before = goes_on


def test_shows_what_each_member_holds_and_changes_nothing(down: FakeKubernetes) -> None:
    result = run(down, check=True)
    assert (result["action"], result["reason"], result["offer"]) == ("consent", SENTENCE, OFFER)
    assert [(row["name"], row["phase"], row["evidence"], row["seqno"]) for row in result["members"]] == [
        ("demo-galera-0", "waiting", "present", 8),
        ("demo-galera-1", "waiting", "present", 9),
        ("demo-galera-2", "Pending", None, None),
    ]
    assert result["table"][2].split() == ["demo-galera-1", "data-demo-galera-1", "waiting", "present", UUID, "9"]
    assert down.writes() == []


@pytest.mark.parametrize(("uuid", "says"), [(UUID, True), ("0" * 8 + UUID[8:], False)])
def test_says_how_far_backups_reach(down: FakeKubernetes, uuid: str, says: bool) -> None:
    backups = [{"name": "20261120T000000Z-full", "uuid": uuid}]
    intervals = [{"backup": "20261120T000000Z-full", "until": "2026-11-22T10:33:35Z"}]
    catalog = {"catalog": {"targets": [{"target": "s3://b/demo", "backups": backups, "intervals": intervals}]}}
    state = {"name": "demo-galera-backup-state", "namespace": "db"}
    down.add({"kind": "ConfigMap", "metadata": state, "data": {"catalog": json.dumps(catalog)}})
    reach = " Backups of it reach at least to 2026-11-22T10:33:35Z (s3://b/demo): a restore to that time may bring "
    assert run(down, check=True)["reason"] == SENTENCE + (f"{reach}back more than is left." if says else "")


def test_shows_members_that_only_the_record_counts(down: FakeKubernetes) -> None:
    state = down.get("ConfigMap", "demo-galera-state") or {}
    state["metadata"]["annotations"] = {"stateful.galera/size": "4"}
    row = run(down, check=True)["members"][3]
    assert (row["name"], row["phase"], row["reason"]) == ("demo-galera-3", "no pod", "there is no such pod")


@pytest.mark.parametrize("confirm", ["", "other"])
def test_without_the_name_of_the_cluster_nothing_is_changed(down: FakeKubernetes, confirm: str) -> None:
    with pytest.raises(GaleraError) as error:
        run(down, confirm=confirm)
    assert str(error.value).startswith(f"confirm={confirm!r}: {SENTENCE}")
    assert down.writes() == []


def test_consent_is_the_offer_word_for_word(down: FakeKubernetes) -> None:
    starts_on_consent(down)
    result = run(down, confirm="demo")
    state = down.get("ConfigMap", "demo-galera-state")
    assert state is not None
    written = json.loads(state["data"]["consent"])
    assert {key: value for key, value in written.items() if key != "time"} == OFFER
    assert consents(down) == [("PATCH", STATE)]
    assert result["changed"]
    assert result["cluster"]["verdict"] == "degraded"


@pytest.mark.parametrize("ours", [True, False])
def test_consent_whose_answer_was_lost_is_given(
    down: FakeKubernetes, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    """The request is repeated, and meets the record that it has changed itself, or another one."""
    starts_on_consent(down)
    true_answer, codes = down._answer, iter([504, 409])

    def lost(method: str, path: str, query: dict[str, str], body: Any) -> Any:
        if (method, path) != ("PATCH", STATE):
            return true_answer(method, path, query, body)
        true_answer(method, path, query, body if ours else {**body, "data": {"given_up": "{}"}})
        return status(next(codes), "", "")

    monkeypatch.setattr(down, "_answer", lost)
    if ours:
        assert run(down, confirm="demo")["changed"]
    else:
        with pytest.raises(GaleraError, match=r"^The consent was not written, because the record"):
            run(down, confirm="demo")


def test_consent_that_is_given_is_not_given_again(down: FakeKubernetes) -> None:
    state = down.get("ConfigMap", "demo-galera-state")
    assert state is not None
    state["data"]["consent"] = json.dumps({**OFFER, "time": "t"})
    looks = iter(range(100))

    def goes_on(method: str, path: str) -> None:
        if path.endswith("/pods") and next(looks) == 2:
            down.agents.update({"demo-galera-0": serves(), "demo-galera-1": serves()})

    down.before = goes_on
    assert not run(down, confirm="demo")["changed"]
    assert consents(down) == []


def test_time_is_up_with_what_was_seen(down: FakeKubernetes) -> None:
    with pytest.raises(GaleraError, match=r"Waited 0\.1 s for the cluster to serve with consent, last seen: demo-gal"):
        run(down, confirm="demo", timeout=0.1)


def test_consent_that_the_agents_ignore_is_taken_back(down: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover, "_IGNORED_SECONDS", 0.0)

    def ignores(method: str, path: str) -> None:
        state = down.get("ConfigMap", "demo-galera-state")
        if state and state["data"].get("consent"):
            down.agents["demo-galera-0"]["reason"] = "waits; the consent of t is ignored, it was for x: now y"

    down.before = ignores
    with pytest.raises(GaleraError, match="the consent was taken back: waits; the consent of t is ignored"):
        run(down, confirm="demo")
    state = down.get("ConfigMap", "demo-galera-state")
    assert state is not None
    assert "consent" not in state["data"]


@pytest.mark.parametrize(
    ("agents", "says"),
    [
        ({"demo-galera-0": serves(), "demo-galera-1": serves()}, "in service: there is nothing to recover"),
        ({"demo-galera-0": waits(8, None), "demo-galera-1": waits(9, None)}, "There is nothing to consent to"),
        (
            {"demo-galera-0": waits(8, None), "demo-galera-1": {**waits(9, None), "phase": "starting"}},
            "demo-galera-1 is about to show what its volume holds: wait. A recovery that never ends can be given up",
        ),
        ({"demo-galera-1": waits(9, {**OFFER, "seqno": 8})}, "do not see the same yet"),
        ({"demo-galera-1": waits(9, None)}, "do not see the same yet"),
    ],
)
def test_refusals(down: FakeKubernetes, agents: dict[str, Any], says: str) -> None:
    down.agents.update(agents)
    with pytest.raises(GaleraError) as error:
        run(down, confirm="demo")
    assert says in str(error.value)
    assert str(error.value).endswith("Nothing was changed.")
    assert down.writes() == []


@pytest.mark.parametrize(("offer", "action"), [(None, "refuse"), (OFFER, "consent")])
def test_a_place_that_is_taken_is_no_loss(down: FakeKubernetes, offer: dict[str, Any] | None, action: str) -> None:
    message = "1 node(s) didn't match pod anti-affinity rules, 4 node(s) didn't match PersistentVolume's node affinity."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    down.objects["Pod", "db", "demo-galera-2"]["status"] = {"phase": "Pending", "conditions": [condition]}
    down.agents.update({"demo-galera-0": waits(8, offer), "demo-galera-1": waits(9, offer)})
    found = run(down, check=True)
    assert found["action"] == action
    assert "the machine that the volume of demo-galera-2 is on" in found["reason"]
    assert "delete its claim and its pod" in found["reason"]


def event(pod_name: str, reason: str, message: str) -> dict[str, Any]:
    metadata = {"name": f"{pod_name}.{reason}", "namespace": "db"}
    about = {"kind": "Pod", "name": pod_name, "uid": f"uid-{pod_name}"}
    return {"kind": "Event", "metadata": metadata, "reason": reason, "message": message, "involvedObject": about}


def test_an_agent_whose_server_has_no_image_is_no_reason_to_run_again(down: FakeKubernetes) -> None:
    """It answers and never makes an offer, so that the others' offer, to go on without it, is never that of all."""
    image = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "mariadb:11.88"'}
    hindered = down.objects["Pod", "db", "demo-galera-2"]
    hindered["spec"] = {"containers": [{"name": "mariadb", "image": "mariadb:11.88"}]}
    waits_for_image = [{"name": "mariadb", "image": "mariadb:11.88", "state": {"waiting": image}}]
    hindered["status"] = {"phase": "Pending", "podIP": "10.0.0.3", "containerStatuses": waits_for_image}
    down.add(event("demo-galera-2", "Failed", 'Failed to pull image "mariadb:11.88": not found'))
    down.agents["demo-galera-2"] = {
        **waits(0, None),
        "phase": "stopped",
        "reason": "the database container has not reported yet",
        "evidence": {"data": "unknown"},
    }
    with pytest.raises(GaleraError) as error:
        run(down, confirm="demo")
    told = str(error.value)
    assert "The image mariadb:11.88 of the container mariadb of demo-galera-2 cannot be had: not found." in told
    assert "run again" not in told
    assert down.writes() == []


@pytest.mark.parametrize(("offer", "action"), [(None, "refuse"), (OFFER, "consent")])
def test_says_why_a_pod_does_not_start(down: FakeKubernetes, offer: dict[str, Any] | None, action: str) -> None:
    message = "0/3 nodes are available: 3 Insufficient memory."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    down.objects["Pod", "db", "demo-galera-2"]["status"] = {"phase": "Pending", "conditions": [condition]}
    down.agents.update({"demo-galera-0": waits(8, offer), "demo-galera-1": waits(9, offer)})
    found = run(down, check=True)
    assert found["action"] == action
    assert found["reason"].endswith(
        "Mend this first, then no consent may be needed: demo-galera-2 finds no Kubernetes node: 0/3 nodes are "
        "available: 3 Insufficient memory."
    )


@pytest.mark.parametrize("machine_ready", [True, False])
def test_a_member_that_runs_is_not_given_up(down: FakeKubernetes, machine_ready: bool) -> None:
    silent = down.objects["Pod", "db", "demo-galera-2"]
    silent["spec"] = {"nodeName": "worker-3"}
    silent["status"] = {
        "phase": "Running",
        "podIP": "10.0.0.3",
        "initContainerStatuses": [{"name": "agent", "ready": True}],
    }
    condition = {"type": "Ready", "status": "True" if machine_ready else "Unknown"}
    down.add({"kind": "Node", "metadata": {"name": "worker-3"}, "status": {"conditions": [condition]}})
    result = run(down, check=True)
    assert result["action"] == ("refuse" if machine_ready else "consent")
    assert ("mend the network" in result["reason"]) == machine_ready


def test_a_cluster_that_was_continued_needs_nothing_more(down: FakeKubernetes) -> None:
    down.agents.update({"demo-galera-0": serves(), "demo-galera-1": serves()})
    state = down.get("ConfigMap", "demo-galera-state")
    assert state is not None
    state["data"]["given_up"] = json.dumps({"demo-galera-2": {"seqno": 9, "time": "t"}})
    result = run(down)
    assert (result["changed"], result["action"]) == (False, "nothing")
    assert "continued without demo-galera-2 (from seqno 9)" in result["reason"]
