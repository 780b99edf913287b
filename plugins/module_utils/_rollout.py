# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Which node is replaced next when nodes get a new form or are restarted. Pure.

The rolling update of Kubernetes takes one pod after the other from the highest ordinal, with podManagementPolicy
Parallel also while another node is down. So a change is applied with the strategy OnDelete (`held`), the nodes are
taken here, each only while all others are Synced, and the strategy of the manifest comes back at the end.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils import _apply
from ansible_collections.stateful.galera.plugins.module_utils._errors import and_list
from ansible_collections.stateful.galera.plugins.module_utils._k8s import FIELD_MANAGER
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, Document, Manifest
from ansible_collections.stateful.galera.plugins.module_utils._observe import component
from ansible_collections.stateful.galera.plugins.module_utils._wsrep import judge, writer

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Sight
    from ansible_collections.stateful.galera.plugins.module_utils._wsrep import Node

REVISION_LABEL = "controller-revision-hash"
RESTART_ANNOTATION = "stateful.galera/rolling-restart"
ROLLING: Manifest = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
HELD: Manifest = {"type": "OnDelete"}
_NO_SERVER = ("waiting", "refused")


@dataclasses.dataclass(frozen=True)
class Step:
    """action: done, wait, evict (a node that serves) or replace (a pod without a running server); reason: a sentence.

    The reason of wait says what lacks, without a full stop.
    """

    action: str
    reason: str
    pod: str = ""


@dataclasses.dataclass(frozen=True)
class Restart:
    """A rolling restart as it is kept in an annotation of the StatefulSet. pods: name -> uid of those at its begin."""

    id: str
    pods: t.Mapping[str, str]

    def text(self) -> str:
        return json.dumps({"id": self.id, "pods": dict(self.pods)}, sort_keys=True)

    def left(self, sight: Sight) -> list[str]:
        """The pods that have not been restarted yet."""
        uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in sight.pods}
        return [name for name, uid in self.pods.items() if uids.get(name) == uid]


def held(document: Document) -> Document:
    """The StatefulSet of the nodes, so that Kubernetes restarts nothing by itself."""
    manifest = copy.deepcopy(document.manifest)
    manifest["spec"]["updateStrategy"] = dict(HELD)
    return Document(document.phase, document.kind, manifest)


def others_strategy(stateful_set: Manifest) -> bool:
    """Whether somebody else has set spec.updateStrategy.rollingUpdate: applying `held` would leave it, as invalid."""
    for entry in stateful_set["metadata"].get("managedFields") or []:
        strategy = ((entry.get("fieldsV1") or {}).get("f:spec") or {}).get("f:updateStrategy") or {}
        if "f:rollingUpdate" in strategy and (entry.get("manager"), entry.get("operation")) != (FIELD_MANAGER, "Apply"):
            return True
    return False


def released(live: Manifest, strategy: Manifest) -> Manifest:
    """What we applied to a StatefulSet before, with `strategy`: to apply it changes nothing else.

    The manifest of the inventory would do more: it may have changed since, and Kubernetes would stop nodes by itself.
    """
    fields = _apply.owned_fields(live, FIELD_MANAGER)
    manifest = copy.deepcopy(_apply.project(live, fields, empty=True)) if fields else {}
    names = {key: live["metadata"][key] for key in ("name", "namespace")}
    manifest["metadata"] = {**(manifest.get("metadata") or {}), **names}
    manifest["spec"] = {**(manifest.get("spec") or {}), "updateStrategy": strategy}
    return {"apiVersion": KINDS["StatefulSet"].api_version, "kind": "StatefulSet", **manifest}


def is_held(stateful_set: Manifest | None) -> bool:
    strategy = ((stateful_set or {}).get("spec") or {}).get("updateStrategy") or {}
    return bool(strategy.get("type") == "OnDelete")


def find_restart(stateful_set: Manifest | None) -> Restart | None:
    """The restart that was begun last; None when there was none, or when what was noted is not readable."""
    text = ((stateful_set or {}).get("metadata") or {}).get("annotations", {}).get(RESTART_ANNOTATION)
    try:
        noted = json.loads(text or "")
        return Restart(str(noted["id"]), {str(name): str(uid) for name, uid in noted["pods"].items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def begin_restart(sight: Sight, restart_id: str) -> Restart:
    """A restart of all nodes that are there."""
    return Restart(restart_id, {pod["metadata"]["name"]: str(pod["metadata"]["uid"]) for pod in _node_pods(sight)})


def outdated(sight: Sight) -> list[str]:
    """Pods that have not the form of their StatefulSet, where it waits for us to replace them."""
    if sight.stateful_set is None or not is_held(sight.stateful_set):
        return []
    wanted = (sight.stateful_set.get("status") or {}).get("updateRevision")
    pods = _node_pods(sight)
    return [p["metadata"]["name"] for p in pods if (p["metadata"].get("labels") or {}).get(REVISION_LABEL) != wanted]


def next_step(sight: Sight, restart: Restart | None = None) -> Step:
    """What to do now. restart: the one that is to be brought to its end."""
    if sight.stateful_set is None:
        return Step("wait", f"there is no StatefulSet {sight.names.nodes}")
    pods = {pod["metadata"]["name"]: pod for pod in _node_pods(sight)}
    if not _is_observed(sight.stateful_set):
        return Step("wait", f"the change of the StatefulSet {sight.names.nodes} has not been taken up yet")
    stopping = sorted(name for name, pod in pods.items() if "deletionTimestamp" in pod["metadata"])
    if stopping:
        return Step("wait", f"{and_list(stopping)} {'is' if len(stopping) == 1 else 'are'} stopping")
    stale = [name for name in pods if name in {*outdated(sight), *(restart.left(sight) if restart else ())}]
    if not stale:
        return Step("done", "Every node is as it must be.")
    nodes = {node.name: node for node in sight.nodes}
    for name in _in_order(sight, stale):
        if name in nodes and not runs_server(pods[name], nodes[name]):
            return Step("replace", f"No server runs in {name}, whose form is not the wanted one.", name)
    verdict = judge(sight)
    if verdict.verdict != "healthy":
        return Step("wait", verdict.reason.rstrip("."))
    name = _in_order(sight, stale)[0]
    what = "the writer, last" if name == writer(sight) and len(stale) == 1 else "all others are Synced"
    return Step("evict", f"{what[0].upper()}{what[1:]}.", name)


def runs_server(pod: Manifest, node: Node) -> bool:
    """Whether a server may run in a pod; in doubt it may. Without one, nothing is lost by replacing the pod."""
    if node.primary or node.ready:
        return True
    status = pod.get("status") or {}
    if status.get("phase") == "Pending" and not _started(status):
        return False
    mariadb = [each for each in status.get("containerStatuses") or [] if each["name"] == "mariadb"]
    if any((each.get("state") or {}).get("waiting") for each in mariadb):
        return False
    return node.phase not in _NO_SERVER


def _started(status: Manifest) -> bool:
    return any((each.get("state") or {}).get("running") for each in status.get("containerStatuses") or [])


def staying(sight: Sight) -> str:
    """What lacks until nodes beyond the wanted size have left, "" when none is there."""
    names = [pod["metadata"]["name"] for pod in _node_pods(sight)]
    beyond = [name for name in names if name not in sight.wanted_names]
    return f"{and_list(beyond)} {'has' if len(beyond) == 1 else 'have'} not left yet" if beyond else ""


def unfinished(sight: Sight) -> str:
    """What a run that was killed has left to do, "" when nothing: for `status`."""
    restart = find_restart(sight.stateful_set)
    left = restart.left(sight) if restart else []
    count = len(outdated(sight))
    if is_held(sight.stateful_set) and not count:
        return f"the StatefulSet {sight.names.nodes} lacks its update strategy, which the last site run has taken away"
    if count:
        return f"{count} of {sight.size} nodes do not have the form yet that the last site run wanted"
    if left and restart is not None:
        return f"the rolling restart {restart.id!r} has not reached {and_list(sorted(left))}"
    return ""


def _in_order(sight: Sight, names: t.Sequence[str]) -> list[str]:
    """The highest ordinal first, the writer last."""
    last = writer(sight)
    return sorted(names, key=lambda name: (name == last, -int(name.rpartition("-")[2])))


def _is_observed(stateful_set: Manifest) -> bool:
    status = stateful_set.get("status") or {}
    return int(status.get("observedGeneration", 0)) >= int(stateful_set["metadata"].get("generation", 0))


def _node_pods(sight: Sight) -> list[Manifest]:
    return [pod for pod in sight.pods if component(pod) == "node"]
