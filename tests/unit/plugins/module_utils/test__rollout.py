# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _rollout
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, Document
from ansible_collections.stateful.galera.plugins.module_utils._observe import Sight
from ansible_collections.stateful.galera.plugins.module_utils._wsrep import Node
from unit.plugins.module_utils.sights import node, pod, sight, waiting

HELD = {
    "metadata": {"name": "demo-galera", "uid": "1", "generation": 2},
    "spec": {"replicas": 3, "updateStrategy": {"type": "OnDelete"}},
    "status": {"observedGeneration": 2, "updateRevision": "new"},
}


def _pod(ordinal: int, form: str = "old", **change: Any) -> dict[str, Any]:
    """A pod of the old or the new form."""
    manifest = pod(f"demo-galera-{ordinal}", **change)
    manifest["metadata"]["labels"]["controller-revision-hash"] = form
    manifest["status"]["containerStatuses"] = [{"name": "mariadb", "state": {"running": {}}}]
    return manifest


def _sight(forms: str, *nodes: Node, **change: Any) -> Sight:
    """forms: o or n for each ordinal, . for no pod."""
    names = {"o": "old", "n": "new"}
    pods = tuple(_pod(ordinal, names[form]) for ordinal, form in enumerate(forms) if form != ".")
    seen = nodes or tuple(node(ordinal) for ordinal in range(3))
    return sight(*seen, **{"stateful_set": HELD, "pods": pods, **change})


@pytest.mark.parametrize(
    ("forms", "action", "which"),
    [
        ("ooo", "evict", "demo-galera-2"),
        ("oon", "evict", "demo-galera-1"),
        ("onn", "evict", "demo-galera-0"),
        ("nno", "evict", "demo-galera-2"),
        ("non", "evict", "demo-galera-1"),
        ("nnn", "done", ""),
    ],
)
def test_one_after_the_other_and_the_writer_last(forms: str, action: str, which: str) -> None:
    step = _rollout.next_step(_sight(forms))
    assert (step.action, step.pod) == (action, which)


def test_writer_is_the_first_that_is_ready() -> None:
    nodes = (node(0, ready=False), node(1), node(2))
    assert _rollout._in_order(_sight("ooo", *nodes), [f"demo-galera-{n}" for n in range(3)]) == [
        "demo-galera-2",
        "demo-galera-0",
        "demo-galera-1",
    ]


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ((node(0), node(1), node(2, state="Joiner", ready=False)), "demo-galera-2 is Joiner"),
        ((node(0), node(1, state="Donor/Desynced"), node(2)), "demo-galera-1 is Donor/Desynced"),
        ((node(0), node(1), node(2, ready=False)), "Kubernetes does not count demo-galera-2 as Ready"),
        ((node(0, cluster_size=4), node(1, cluster_size=4), node(2, cluster_size=4)), "count 4 members"),
        ((node(0, cluster_size=2), node(1, cluster_size=2)), "demo-galera-2 has no pod"),
    ],
)
@pytest.mark.parametrize("forms", ["oon", "ooo"])
def test_no_node_is_stopped_while_another_is_away(forms: str, nodes: tuple[Node, ...], said: str) -> None:
    step = _rollout.next_step(_sight(forms, *nodes))
    assert step.action == "wait"
    assert said in step.reason


def test_no_node_is_stopped_while_another_stops() -> None:
    pods = (_pod(0), _pod(1), _pod(2, "old", leaving=True))
    step = _rollout.next_step(_sight("ooo", pods=pods))
    assert (step.action, step.reason) == ("wait", "demo-galera-2 is stopping")


def test_change_that_kubernetes_has_not_seen_yet() -> None:
    late = {**HELD, "status": {"observedGeneration": 1, "updateRevision": "old"}}
    step = _rollout.next_step(_sight("ooo", stateful_set=late))
    assert step.action == "wait"
    assert "has not been taken up yet" in step.reason


def test_kubernetes_own_update_is_left_to_it() -> None:
    own = {**HELD, "spec": {"replicas": 3, "updateStrategy": {"type": "RollingUpdate"}}}
    assert _rollout.outdated(_sight("ooo", stateful_set=own)) == []
    assert _rollout.next_step(_sight("ooo", stateful_set=own)).action == "done"


PENDING = {"phase": "Pending", "conditions": []}
CRASHING = {
    "phase": "Running",
    "containerStatuses": [{"name": "mariadb", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
}


@pytest.mark.parametrize(
    ("status", "seen", "replaced"),
    [
        (PENDING, Node("demo-galera-2", "node", "Pending"), True),
        (CRASHING, Node("demo-galera-2", "node", "Running", phase="stopped"), True),
        (None, waiting(2), True),
        (None, Node("demo-galera-2", "node", "Running", phase="refused", reason="no"), True),
        (None, Node("demo-galera-2", "node", "Running", phase="starting"), False),
        (None, Node("demo-galera-2", "node", "Running", phase="unknown"), False),
        (None, node(2, state="Joiner", ready=False), False),
    ],
)
def test_only_a_pod_without_a_server_is_replaced_at_once(status: Any, seen: Node, replaced: bool) -> None:
    last = _pod(2)
    if status:
        last["status"] = status
    step = _rollout.next_step(_sight("ooo", node(0), node(1), seen, pods=(_pod(0), _pod(1), last)))
    assert (step.action, step.pod) == (("replace", "demo-galera-2") if replaced else ("wait", ""))


def test_pod_of_the_wanted_form_is_never_replaced() -> None:
    broken = _pod(2, "new")
    broken["status"] = CRASHING
    seen = Node("demo-galera-2", "node", "Running", phase="stopped")
    step = _rollout.next_step(_sight("oon", node(0), node(1), seen, pods=(_pod(0), _pod(1), broken)))
    assert step.action == "wait"


def test_restart_knows_what_is_left() -> None:
    before = _sight("nnn")
    restart = _rollout.begin_restart(before, "monday")
    assert restart.left(before) == ["demo-galera-0", "demo-galera-1", "demo-galera-2"]
    assert _rollout.next_step(before, restart).pod == "demo-galera-2"
    renewed = _pod(2, "new")
    renewed["metadata"]["uid"] = "another"
    after = _sight("nnn", pods=(_pod(0, "new"), _pod(1, "new"), renewed))
    assert restart.left(after) == ["demo-galera-0", "demo-galera-1"]
    noted = {**HELD, "metadata": {**HELD["metadata"], "annotations": {_rollout.RESTART_ANNOTATION: restart.text()}}}
    assert _rollout.find_restart(noted) == restart
    assert "'monday' has not reached demo-galera-0 and demo-galera-1" in _rollout.unfinished(
        _sight("nnn", pods=after.pods, stateful_set={**noted, "spec": {"replicas": 3}})
    )


@pytest.mark.parametrize("text", [None, "", "{}", "[]", "nonsense", '{"id": 1, "pods": 3}'])
def test_note_that_is_not_readable_is_none(text: str | None) -> None:
    annotations = {} if text is None else {_rollout.RESTART_ANNOTATION: text}
    assert _rollout.find_restart({"metadata": {"annotations": annotations}}) is None
    assert _rollout.find_restart(None) is None


def test_held_document_differs_in_its_strategy_only() -> None:
    manifest = {"metadata": {"name": "x"}, "spec": {"replicas": 3, "updateStrategy": {"type": "RollingUpdate"}}}
    document = Document("nodes", KINDS["StatefulSet"], manifest)
    held = _rollout.held(document)
    assert held.manifest["spec"] == {"replicas": 3, "updateStrategy": {"type": "OnDelete"}}
    assert manifest["spec"]["updateStrategy"] == {"type": "RollingUpdate"}
    assert _rollout.is_held(held.manifest)
    assert not _rollout.is_held(manifest)


def test_strategy_comes_back_and_the_run_gives_up_no_field() -> None:
    """A field that was applied as null or empty stays ours: else the next run would write it again."""
    spec = {"f:updateStrategy": {"f:type": {}}, "f:template": {"f:spec": {"f:image": {}, "f:tolerations": {}}}}
    entry = {"manager": "stateful.galera", "operation": "Apply", "fieldsV1": {"f:spec": spec}}
    live = {
        "metadata": {"name": "x", "namespace": "db", "managedFields": [entry]},
        "spec": {"updateStrategy": {"type": "OnDelete"}, "template": {"spec": {"image": "a", "dnsPolicy": "b"}}},
    }
    assert _rollout.released(live, _rollout.ROLLING)["spec"] == {
        "updateStrategy": _rollout.ROLLING,
        "template": {"spec": {"image": "a", "tolerations": None}},
    }


def test_unfinished_roll_is_told() -> None:
    assert _rollout.unfinished(_sight("onn")).startswith("1 of 3 nodes do not have the form yet")
    assert _rollout.unfinished(_sight("nnn", stateful_set={**HELD, "spec": {"replicas": 3}})) == ""
    # all nodes were replaced, and the run was killed before its end
    assert _rollout.unfinished(_sight("nnn")).startswith("the StatefulSet demo-galera lacks its update strategy")
