# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What agents and pods say about the nodes of a cluster, and the verdict on the cluster. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils._errors import and_list, shorten
from ansible_collections.stateful.galera.plugins.module_utils._kinds import COMPONENT_LABEL

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Manifest
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Sight

# the agent polls its server several times a second: what is older than this is no longer known
STALE_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Node:
    """One server. phase is the agent's word, "unknown" when it does not answer; None stands for what is not known.

    evidence: what the agent found in the data directory before the start: unknown, empty, partial or present;
    evidence_uuid, evidence_seqno: the position of these data, of a server that runs its present one.
    """

    name: str
    role: str
    pod_phase: str = "Unknown"
    ready: bool = False
    phase: str = "unknown"
    reason: str = ""
    connected: bool = False
    cluster_status: str | None = None
    state: str | None = None
    cluster_size: int | None = None
    cluster_uuid: str | None = None
    last_committed: int | None = None
    flow_control_paused: float | None = None
    recv_queue: int | None = None
    send_queue: int | None = None
    version: str | None = None
    provider_version: str | None = None
    kubernetes_node: str | None = None
    agent_version: str | None = None
    restarts: int = 0
    evidence: str = "unknown"
    evidence_uuid: str | None = None
    evidence_seqno: int | None = None
    cluster_conf_id: int | None = None
    leaving: bool = False

    @property
    def primary(self) -> bool:
        return self.connected and self.cluster_status == "Primary"

    @property
    def synced(self) -> bool:
        return self.primary and self.state == "Synced"

    def row(self) -> dict[str, t.Any]:
        """The node as a module returns it."""
        hidden = ("connected", "leaving")
        return {key: value for key, value in dataclasses.asdict(self).items() if key not in hidden}

    def summary(self) -> str:
        """The node in a few words: "demo-galera-1 is Joiner (receives a full copy from demo-galera-0)"."""
        words = self.state if self.primary else self.phase if self.phase != "unknown" else self.pod_phase
        if self.primary and self.ready:
            words = f"{words} and Ready"
        reason = "" if self.synced or not self.reason else f" ({shorten(self.reason, 300).rstrip('.')})"
        return f"{self.name} is {words}{reason}"


def node_of(pod: Manifest, status: Manifest | None, silence: str = "") -> Node:
    """The node for a pod and its agent's status; silence: why there is no status."""
    state = pod.get("status") or {}
    conditions = {each["type"]: each["status"] for each in state.get("conditions") or []}
    containers = (state.get("initContainerStatuses") or []) + (state.get("containerStatuses") or [])
    node = Node(
        name=pod["metadata"]["name"],
        role=(pod["metadata"].get("labels") or {}).get(COMPONENT_LABEL, "node"),
        pod_phase=state.get("phase", "Unknown"),
        ready=conditions.get("Ready") == "True",
        kubernetes_node=(pod.get("spec") or {}).get("nodeName"),
        restarts=sum(int(each.get("restartCount", 0)) for each in containers),
        leaving="deletionTimestamp" in pod["metadata"],
        reason=silence,
    )
    return node if status is None else dataclasses.replace(node, **_agent_fields(status))


def _agent_fields(status: Manifest) -> dict[str, t.Any]:
    """The fields of a Node that the agent's /status gives; the server's are left out when they are stale."""
    fields = {
        "phase": str(status.get("phase") or "unknown"),
        "reason": str(status.get("reason") or ""),
        "agent_version": status.get("agent_version"),
        "version": status.get("server_version"),
        "evidence": str((status.get("evidence") or {}).get("data") or "unknown"),
        "evidence_uuid": (status.get("evidence") or {}).get("uuid"),
        "evidence_seqno": (status.get("evidence") or {}).get("seqno"),
    }
    wsrep, age = status.get("wsrep"), status.get("age_seconds")
    if not wsrep or age is None or age > STALE_SECONDS:
        return fields
    return {
        **fields,
        "connected": bool(wsrep.get("connected")) and bool(wsrep.get("ready")),
        "cluster_status": wsrep.get("cluster_status"),
        "state": wsrep.get("local_state_comment"),
        "cluster_size": wsrep.get("cluster_size"),
        "cluster_conf_id": wsrep.get("cluster_conf_id"),
        "cluster_uuid": wsrep.get("cluster_state_uuid"),
        "last_committed": wsrep.get("last_committed"),
        "flow_control_paused": wsrep.get("flow_control_paused"),
        "recv_queue": wsrep.get("local_recv_queue"),
        "send_queue": wsrep.get("local_send_queue"),
        "provider_version": wsrep.get("provider_version"),
    }


@dataclasses.dataclass(frozen=True)
class Verdict:
    """verdict: absent, bootstrapping, healthy, degraded, down, split or refused; reason: one sentence."""

    verdict: str
    reason: str


def judge(sight: Sight) -> Verdict:
    """The verdict on what was seen."""
    if sight.stateful_set is None and sight.seed is None and not sight.nodes:
        return _absent(sight)
    refusing = [node for node in sight.nodes if node.phase == "refused"]
    if refusing:
        return Verdict("refused", and_list(node.summary() for node in refusing) + ".")
    primary = [node for node in sight.nodes if node.primary]
    split = _split(primary)
    if split:
        return Verdict("split", split)
    synced = {node.name for node in primary if node.synced}
    lacking = [name for name in sight.wanted_names if name not in synced]
    if not lacking:
        return _complete(sight)
    seen = {node.name: node for node in sight.nodes}
    said = ", ".join(seen[name].summary() if name in seen else f"{name} has no pod" for name in lacking)
    counted = f"{sight.size - len(lacking)} of {sight.size} nodes are Synced: {said}"
    if not sight.record or (sight.seed is not None and not sight.seed_leaving):
        return Verdict("bootstrapping", f"The cluster is being made; {counted}.")
    if primary:
        return Verdict("degraded", f"The cluster works, but only {counted}.")
    return Verdict("down", f"No node is in a Primary component; {counted}.")


def judge_service(sight: Sight) -> Verdict:
    """As judge, and a cluster that clients cannot reach as they must is degraded."""
    verdict = judge(sight)
    lacks = proxies_lack(sight)
    if not lacks or verdict.verdict not in ("healthy", "degraded"):
        return verdict
    return Verdict("degraded", f"{lacks} {verdict.reason}")


def proxies_lack(sight: Sight) -> str:
    """What HAProxy lacks, a sentence; "" when nothing, or when it is not known what there must be."""
    ready, wanted = sight.haproxy_ready, sight.haproxy_wanted
    if sight.proxies is None or ready >= max(wanted, 1):
        return ""
    name = sight.names.haproxy
    if not sight.proxies and not ready:
        return f"No client can connect: there is no Deployment {name} and no HAProxy."
    if not wanted:
        return f"No client can connect: the Deployment {name} has 0 replicas."
    if not ready:
        return f"No client can connect: 0 of {wanted} pods of HAProxy are Ready."
    return f"Only {ready} of {wanted} pods of HAProxy are Ready."


def _absent(sight: Sight) -> Verdict:
    where = f"There is no cluster {sight.names.name} in the namespace {sight.names.namespace}"
    if sight.record:
        return Verdict("absent", f"{where}, but its record is there: the site playbook starts it again on its volumes.")
    return Verdict("absent", f"{where}: the site playbook makes it.")


def _split(primary: t.Sequence[Node]) -> str:
    """Why the Primary nodes cannot be in one component, "" when they can."""
    uuids: dict[str, list[str]] = {}
    for node in primary:
        uuids.setdefault(str(node.cluster_uuid), []).append(node.name)
    if len(uuids) > 1:
        parts = and_list(f"{and_list(names)} in {uuid}" for uuid, names in sorted(uuids.items()))
        return f"The nodes are in different clusters: {parts}. Decide which one holds the data before anything else."
    largest = max((int(node.cluster_size or 0) for node in primary), default=0)
    if len(primary) > largest:
        names = and_list(f"{node.name} (counts {node.cluster_size})" for node in primary)
        return f"{len(primary)} nodes are Primary, but none counts more than {largest} members: {names}."
    return ""


def _complete(sight: Sight) -> Verdict:
    """The verdict when all wanted nodes are Synced."""
    members = [node for node in sight.nodes if node.primary]
    sizes = sorted({int(node.cluster_size or 0) for node in members})
    if sizes != [len(members)]:
        counted = and_list(map(str, sizes), "or")
        return Verdict(
            "degraded",
            f"All {sight.size} nodes are Synced, but count {counted} members where {len(members)} are seen: a view is "
            f"changing, or a server that is not ours is in the cluster.",
        )
    unready = [name for name in sight.wanted_names if not any(node.name == name and node.ready for node in members)]
    if unready:
        listed = and_list(unready)
        return Verdict("degraded", f"All {sight.size} nodes are Synced, Kubernetes does not count {listed} as Ready.")
    text = f"All {sight.size} nodes are Synced in one Primary component"
    if sight.seed is not None or sight.seed_pod is not None:
        return Verdict("healthy", f"{text}; the seed is still there: the seed_decommission playbook removes it.")
    return Verdict("healthy", f"{text}.")


def cluster_facts(sight: Sight) -> dict[str, t.Any]:
    """The `cluster` of a module's result."""
    verdict = judge_service(sight)
    primary = [node for node in sight.nodes if node.primary]
    return {
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "size": max((int(node.cluster_size or 0) for node in primary), default=0),
        "wanted": sight.size,
        "uuid": next((node.cluster_uuid for node in primary), None) or sight.record_uuid,
        "ready": sum(node.ready for node in sight.nodes if node.name in sight.wanted_names),
        "seed": sight.seed is not None or sight.seed_pod is not None,
        "haproxy": sight.haproxy_pods,
        "haproxy_ready": sight.haproxy_ready,
        "writer": writer(sight),
    }


def writer(sight: Sight) -> str:
    """The node that HAProxy gives the writes of 3307: the first one that is Ready; "" when none is."""
    ready = {node.name for node in sight.nodes if node.ready}
    return next((name for name in sight.wanted_names if name in ready), "")


def goal_healthy(sight: Sight) -> str:
    """What lacks until the cluster is healthy and at rest, "" when it is. For a wait."""
    verdict = judge(sight)
    if verdict.verdict != "healthy":
        return verdict.reason.rstrip(".")
    return _update_under_way(sight.stateful_set)


def goal_serving(sight: Sight) -> str:
    """As goal_healthy, and the pods of HAProxy are Ready, of which there is at least one."""
    lacks = goal_healthy(sight)
    if lacks:
        return lacks
    lacks = proxies_lack(sight).rstrip(".") or next(map(_proxies_under_way, sight.proxies or ()), "")
    if lacks or sight.haproxy_ready == sight.haproxy_pods > 0:
        return lacks
    return f"{sight.haproxy_ready} of {sight.haproxy_pods} pods of HAProxy are Ready"


def _proxies_under_way(deployment: Manifest) -> str:
    """Right after a change of its template a Deployment still looks as if nothing had happened."""
    status, wanted = deployment.get("status") or {}, int(deployment["spec"].get("replicas", 1))
    if int(status.get("observedGeneration", 0)) < int(deployment["metadata"].get("generation", 0)):
        return f"the change of the Deployment {deployment['metadata']['name']} has not been taken up yet"
    updated = int(status.get("updatedReplicas", 0))
    if updated >= wanted:
        return ""
    return (
        f"{updated} of {wanted} pods of HAProxy have the new form; one takes the place of an old one only when it "
        f"reaches a node that serves, by its name under galera_cluster_dns_domain"
    )


def _update_under_way(stateful_set: Manifest | None) -> str:
    """Right after a change of its template a StatefulSet still looks as if nothing had happened."""
    if stateful_set is None:
        return ""
    spec, status = stateful_set["spec"], stateful_set.get("status") or {}
    name, replicas = stateful_set["metadata"]["name"], int(spec.get("replicas", 1))
    if int(status.get("observedGeneration", 0)) < int(stateful_set["metadata"].get("generation", 0)):
        return f"the change of the StatefulSet {name} has not been taken up yet"
    rolling = (spec.get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
    updated = int(status.get("updatedReplicas", 0))
    if rolling and status.get("currentRevision") != status.get("updateRevision") and updated < replicas:
        return f"{updated} of {replicas} nodes have the new form of the StatefulSet {name}"
    return ""
