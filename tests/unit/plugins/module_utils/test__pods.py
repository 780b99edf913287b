# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of *_troubled.json were made to fail on Kubernetes 1.36, each pod in another way."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _pods
from unit.plugins.module_utils.sights import node, waiting

FIXTURES = Path(__file__).parent / "fixtures"


def _load(name: str) -> list[dict[str, Any]]:
    return list(json.loads((FIXTURES / f"{name}.json").read_text()))


PODS = {each["metadata"]["name"]: each for each in _load("pods_troubled")}
EVENTS, CLAIMS, SETS = _load("events_troubled"), _load("claims_troubled"), _load("statefulsets_troubled")


@pytest.mark.parametrize(
    ("pod", "begins", "contains", "patience"),
    [
        (
            "t-galera-0",
            "The image registry.invalid/mariadb:11.8 of the container mariadb of t-galera-0 cannot be had: "
            "failed to pull",
            "lookup registry.invalid",
            3.0,
        ),
        (
            "t-galera-1",
            "The image UPPER/Case::x of the container mariadb of t-galera-1 cannot be had: Failed to apply "
            "default image tag",
            "repository name (Case) must be lowercase",
            0.0,
        ),
        (
            "t-galera-2",
            "t-galera-2 finds no Kubernetes node: 0/5 nodes are available: 5 node(s) didn't match Pod's node affinity",
            "",
            10.0,
        ),
        ("t-galera-3", "The container mariadb of t-galera-3 ended 4 times (exit code 3, Error).", "", 0.0),
        ("t-galera-4", 'The container mariadb of t-galera-4 cannot be made: secret "t-galera" not found.', "", 5.0),
        (
            "t-galera-5",
            "t-galera-5 finds no Kubernetes node: 0/5 nodes are available: pod has unbound immediate",
            "",
            _pods.NEVER,
        ),
        ("t-galera-6", 't-galera-6 waits for its volume: MountVolume.SetUp failed for volume "data"', "", _pods.NEVER),
        (
            "t-galera-7",
            "The image nothing-here:1 of the container mariadb of t-galera-7 cannot be had: Container image",
            "pull policy of Never.",
            0.0,
        ),
    ],
)
def test_trouble_of_a_real_pod(pod: str, begins: str, contains: str, patience: float) -> None:
    (trouble,) = _pods.find([PODS[pod]], [], events=EVENTS)
    assert trouble.text.startswith(begins)
    assert contains in trouble.text
    assert trouble.text.endswith(".")
    assert trouble.patience == patience


def test_pull_error_is_told_from_the_event_where_the_pod_does_not_say_it() -> None:
    """Before Kubernetes 1.31 a pod in ImagePullBackOff repeats only the image."""
    pod = copy.deepcopy(PODS["t-galera-0"])
    pod["status"]["containerStatuses"][0]["state"]["waiting"] = {
        "reason": "ImagePullBackOff",
        "message": 'Back-off pulling image "registry.invalid/mariadb:11.8"',
    }
    (trouble,) = _pods.find([pod], [], events=EVENTS)
    assert "cannot be had: failed to pull and unpack image" in trouble.text


@pytest.mark.parametrize(
    ("claim", "begins", "patience"),
    [
        (
            "data-t-galera-5",
            "The claim data-t-galera-5 gets no volume: Waiting for a volume to be created either by the external",
            _pods.NEVER,
        ),
        (
            "data-t-galera-8",
            "The claim data-t-galera-8 gets no volume: no persistent volumes available for this claim and no "
            "storage class is set.",
            20.0,
        ),
    ],
)
def test_claim_that_gets_no_volume(claim: str, begins: str, patience: float) -> None:
    claims = [each for each in CLAIMS if each["metadata"]["name"] == claim]
    (trouble,) = _pods.find([], [], claims=claims, events=EVENTS)
    assert trouble.text.startswith(begins)
    assert trouble.patience == patience


def test_bound_claim_has_no_trouble() -> None:
    claims = [{**each, "status": {"phase": "Bound"}} for each in CLAIMS]
    assert _pods.find([], [], claims=claims, events=EVENTS) == []


def test_pods_that_cannot_be_made() -> None:
    (trouble,) = _pods.find([], [], sets=SETS, events=EVENTS)
    assert re.match(
        r'The StatefulSet t-galera cannot make its pods: .*violates PodSecurity "baseline:latest": host namespaces',
        trouble.text,
    )


def test_old_failure_to_make_pods_does_not_count() -> None:
    sets = [{**each, "status": {"replicas": 1}} for each in SETS]
    assert _pods.find([], [], sets=sets, events=EVENTS) == []


def test_events_of_an_earlier_object_of_the_same_name_do_not_count() -> None:
    claims = [{**each, "metadata": {**each["metadata"], "uid": "another"}} for each in CLAIMS]
    assert _pods.find([], [], claims=claims, events=EVENTS) == []


def test_latest_event_counts() -> None:
    claim = CLAIMS[1]
    about = {"uid": claim["metadata"]["uid"]}
    events = [
        {
            "reason": "ProvisioningFailed",
            "message": message,
            "lastTimestamp": f"2026-11-21T07:0{minute}:00Z",
            "involvedObject": about,
        }
        for message, minute in (("new", 2), ("old", 1))
    ]
    assert [each.text for each in _pods.find([], [], claims=[claim], events=events)] == [
        f"The claim {claim['metadata']['name']} gets no volume: new."
    ]


def test_pod_that_is_being_deleted_has_no_trouble() -> None:
    pod = copy.deepcopy(PODS["t-galera-0"])
    pod["metadata"]["deletionTimestamp"] = "now"
    assert _pods.find([pod], []) == []


def test_machine_of_its_volume_is_taken() -> None:
    """The words of Kubernetes 1.36 where a node whose volume was new ran on the machine of another one's volume."""
    pod = copy.deepcopy(PODS["t-galera-2"])
    (condition,) = (each for each in pod["status"]["conditions"] if each["type"] == "PodScheduled")
    assert "delete its claim" not in _pods.find([pod], [], events=[])[0].text
    condition["message"] = (
        "0/5 nodes are available: 1 node(s) didn't match pod anti-affinity rules, 4 node(s) didn't match "
        "PersistentVolume's node affinity. no new claims to deallocate"
    )
    (trouble,) = _pods.find([pod], [], events=[])
    assert "If that one is empty, delete its claim and its pod" in trouble.text


def test_no_place_while_another_pod_leaves() -> None:
    """The place that is missing may be the one that becomes free."""
    going = copy.deepcopy(PODS["t-galera-0"])
    going["metadata"]["deletionTimestamp"] = "now"
    assert _pods.find([PODS["t-galera-2"], going], []) == []


def test_healthy_pods_have_no_trouble() -> None:
    assert _pods.find(_load("pods_healthy"), [node(ordinal) for ordinal in range(3)]) == []


def test_node_that_refuses() -> None:
    refusing = waiting(1).__class__(
        "demo-galera-1", "node", phase="refused", reason="its volume holds another cluster."
    )
    (trouble,) = _pods.find([], [node(0), refusing])
    assert trouble.text == "demo-galera-1 refuses to start: its volume holds another cluster."


def _crashing(restarts: int, exit_code: int = 1, seconds: int = 5, state: str = "waiting") -> dict[str, Any]:
    ended = {
        "exitCode": exit_code,
        "reason": "OOMKilled",
        "startedAt": "2026-11-21T07:00:00Z",
        "finishedAt": f"2026-11-21T07:{seconds // 60:02}:{seconds % 60:02}Z",
    }
    states = {
        "waiting": {"waiting": {"reason": "CrashLoopBackOff"}},
        "terminated": {"terminated": ended},
        "running": {"running": {}},
    }
    status = {"name": "agent", "restartCount": restarts, "state": states[state], "lastState": {"terminated": ended}}
    return {"metadata": {"name": "demo-galera-0", "uid": "1"}, "status": {"initContainerStatuses": [status]}}


@pytest.mark.parametrize(
    ("pod", "hopeless"),
    [
        (_crashing(3), True),
        (_crashing(3, state="terminated"), True),
        (_crashing(2), False),
        (_crashing(9, state="running"), False),
        (_crashing(9, exit_code=0), False),
        (_crashing(9, seconds=600), False),
    ],
)
def test_crash_loop(pod: dict[str, Any], hopeless: bool) -> None:
    troubles = _pods.find([pod], [])
    assert bool(troubles) is hopeless
    if hopeless:
        assert troubles[0].text == "The container agent of demo-galera-0 ended 3 times (exit code 1, OOMKilled)."
        assert troubles[0].log_of == ("demo-galera-0", "agent")


def test_patience() -> None:
    patience = _pods.Patience()
    soon, late, never = (_pods.Trouble(f"x {seconds}", "", seconds) for seconds in (0.0, 10.0, _pods.NEVER))
    assert patience.final([soon, late, never], 100.0) == [soon]
    assert patience.final([late, never], 109.9) == []
    assert patience.final([late, never], 110.0) == [late]
    assert patience.final([], 111.0) == []
    assert patience.final([late], 112.0) == []
