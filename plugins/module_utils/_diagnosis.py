# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What `status` tells beyond the verdict: absent nodes, volumes, failed state transfers, and the next step. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils import _pods, _rollout
from ansible_collections.stateful.galera.plugins.module_utils._errors import and_list, shorten
from ansible_collections.stateful.galera.plugins.module_utils._wsrep import Node, judge, proxies_lack

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Manifest
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Sight

_TRANSFERS = ("Joiner", "Joining", "Joined", "Donor/Desynced", "Donor")
# the agent's words (State.turned_away), and what its account needs (sql.SST_GRANTS)
_TURNED_AWAY = "turns the agent away"
_AGENT_GRANTS = "RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, SHUTDOWN, CONNECTION ADMIN"
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d +\d+:\d\d:\d\d +\d+ ")
_TRANSFER_ERROR = re.compile(r"WSREP_SST: \[ERROR\]|\[ERROR\] WSREP: .*(?:\bSST\b|\bIST\b|[Ss]tate transfer)")
# what follows from the error that was told before it, or frames it
_NO_NEWS = re.compile(r"\*{5,}|WSREP_SST: \[ERROR\] (?:Cleanup|Removing|Parent)|Line \d+$")


def rows(sight: Sight, errors: t.Mapping[str, str]) -> list[dict[str, t.Any]]:
    """A row for each server and for each wanted node that has no pod. errors: failed state transfers by node."""
    claims = {claim["metadata"]["name"]: claim for claim in sight.claims}
    seen = {node.name: node for node in sight.nodes}
    wanted = sight.wanted_names if sight.stateful_set or sight.claims or sight.nodes else []
    missing = [Node(name, "node", pod_phase="Absent", reason="has no pod") for name in wanted]
    every = [*(seen.get(node.name, node) for node in missing), *(n for n in sight.nodes if n.role != "node")]
    every += [node for node in sight.nodes if node.role == "node" and node.name not in sight.wanted_names]
    return [{**node.row(), **_volume(node, sight, claims), "transfer_error": errors.get(node.name)} for node in every]


def _volume(node: Node, sight: Sight, claims: t.Mapping[str, Manifest]) -> dict[str, t.Any]:
    name = sight.names.seed_claim if node.role == "seed" else f"data-{node.name}"
    claim = claims.get(name)
    phase = "Absent" if claim is None else str((claim.get("status") or {}).get("phase", "Unknown"))
    return {"claim": name, "claim_phase": phase}


def transfer_error(log: str) -> str:
    """The last state transfer that failed, in the words of the server's log; "" when none did."""
    lines = [_STAMP.sub("", line.strip()) for line in log.splitlines()]
    found = [line for line in lines if _TRANSFER_ERROR.search(line) and not _NO_NEWS.search(line)]
    return shorten(found[-1], 300) if found else ""


def next_step(sight: Sight, events: t.Sequence[Manifest] = (), run: t.Mapping[str, t.Any] | None = None) -> str:
    """What to do now, in one sentence. run: who holds the Lease of the run, see _site_lease.facts."""
    if run is not None and not run["dead"]:
        return f"Wait for the end of the run of {run['holder']}, which is changing the cluster."
    lacks = proxies_lack(sight)
    verdict = judge(sight).verdict
    if verdict == "healthy" and lacks:
        return _of_proxies(sight, lacks)
    away = [node for node in sight.nodes if _TURNED_AWAY in node.reason] if verdict in ("degraded", "down") else []
    if away:
        return _of_turned_away(sight, away)
    steps: dict[str, t.Callable[[Sight, t.Sequence[Manifest]], str]] = {
        "absent": lambda sight, events: "Run the site playbook.",
        "healthy": lambda sight, events: _of_healthy(sight),
        "bootstrapping": _of_bootstrapping,
        "degraded": _of_degraded,
        "down": _of_down,
        "refused": lambda sight, events: _of_refused(sight),
        "split": lambda sight, events: _of_split(sight),
    }
    return steps[verdict](sight, events)


def _of_healthy(sight: Sight) -> str:
    if sight.state is None and not sight.record:
        return f"Run the site playbook: the ConfigMap {sight.names.state} is gone, without which nobody is elected."
    if sight.stateful_set is None:
        return (
            f"Run the site playbook: the StatefulSet {sight.names.nodes} is gone, without which no pod is made again."
        )
    left = _rollout.unfinished(sight)
    if left.startswith("the rolling restart"):
        return f"Run the rolling_restart playbook: {left}."
    if left:
        return f"Run the site playbook: {left}."
    if sight.seed is not None or sight.seed_pod is not None:
        return "Run the seed_decommission playbook, or the site playbook, which does it as well."
    going = _going_claims(sight)
    if going:
        listed = and_list(going)
        return (
            f"Delete the {'pod' if len(going) == 1 else 'pods'} of {listed}, one after the other while all nodes are "
            f"Synced: {listed} {'was' if len(going) == 1 else 'were'} deleted, the volume vanishes at the next stop of "
            f"its pod, and the node then gets a new one and a full copy."
        )
    return "Nothing is to be done."


def _going_claims(sight: Sight) -> list[str]:
    """The nodes' claims that were deleted while they are in use."""
    named = [claim["metadata"] for claim in sight.claims if "deletionTimestamp" in claim["metadata"]]
    return [each["name"] for each in named if sight.names.is_node_claim(each["name"])]


def _of_proxies(sight: Sight, lacks: str) -> str:
    if not sight.haproxy_wanted:
        return f"Run the site playbook: {lacks}"
    where, what = f"kubectl -n {sight.names.namespace}", f"deployment/{sight.names.haproxy}"
    return (
        f"Read `{where} describe {what}` and `{where} logs {what}`: a pod of HAProxy is Ready only when it reaches a "
        f"node that serves, by its name under galera_cluster_dns_domain."
    )


def _of_turned_away(sight: Sight, away: t.Sequence[Node]) -> str:
    """A server that lives and lets its agent not in: nobody serves through it, and no restart changes that."""
    node, reason = away[0].name, shorten(away[0].reason, 300)
    if "too many connections" in reason.lower():
        return f"End connections to {node}, or raise max_connections in galera_cluster_mycnf: {reason}."
    shell = f"kubectl -n {sight.names.namespace} exec -it {node} -c mariadb -- mariadb -u root -p"
    return (
        f"Give the account of the agents back, once for all nodes, with `{shell}`: CREATE OR REPLACE USER "
        f"mysql@localhost IDENTIFIED VIA unix_socket; GRANT {_AGENT_GRANTS} ON *.* TO mysql@localhost;"
    )


def _of_bootstrapping(sight: Sight, events: t.Sequence[Manifest]) -> str:
    lacks = trouble(sight, events)
    if lacks:
        return f"Mend this, then run the site playbook: {lacks}"
    return "Wait, or run the site playbook, which goes on where an earlier run was ended."


def _of_degraded(sight: Sight, events: t.Sequence[Manifest]) -> str:
    lacks = trouble(sight, events)
    if lacks:
        return f"Mend this: {lacks}"
    seen = {node.name: node for node in sight.nodes}
    lacking = [name for name in sight.wanted_names if name not in seen or not seen[name].synced]
    if not lacking:
        return "Wait a minute and look again."
    moving = [name for name in lacking if name in seen and seen[name].state in _TRANSFERS]
    if moving:
        return f"Wait: {and_list(moving)} {'gets' if len(moving) == 1 else 'get'} what was missed from another node."
    silent = [name for name in lacking if name in seen and seen[name].phase == "unknown"]
    if silent:
        return _look_into(sight, silent[0])
    absent = [name for name in lacking if name not in seen]
    if absent and not _under_way(sight):
        return f"Run the site playbook: {and_list(absent)} {'has' if len(absent) == 1 else 'have'} no pod."
    one = len(lacking) == 1
    return (
        f"Wait: {and_list(lacking)} {'comes' if one else 'come'} back by {'itself' if one else 'themselves'}. "
        f"If that takes longer than five minutes: {_look_into(sight, lacking[0])}"
    )


def _of_down(sight: Sight, events: t.Sequence[Manifest]) -> str:
    recover = (
        f"run the recover playbook with -e galera_recover_confirm={sight.names.name}, which shows what each node holds "
        f"and goes on with the rest"
    )
    seen = {node.name: node for node in sight.nodes}
    gone = [name for name in sight.wanted_names if name not in seen or seen[name].phase == "unknown"]
    lacks = trouble(sight, events)
    if lacks:
        return f"Mend this, and the cluster starts by itself: {lacks} If it cannot be mended, {recover}."
    if len(gone) == sight.size and sight.stateful_set is None:
        return "Run the site playbook: it starts the cluster again on its volumes."
    if sight.stateful_set is not None and not int(sight.stateful_set["spec"].get("replicas", 1)):
        return f"Run the site playbook: the StatefulSet {sight.names.nodes} has 0 replicas."
    if len(gone) == sight.size:
        return f"No agent answers: {_look_into(sight, gone[0])}"
    if gone:
        return f"Bring {and_list(gone)} back, and the cluster starts by itself. If that cannot be, {recover}."
    return f"Wait a minute: the nodes elect who starts the cluster. If they wait for a node for good, {recover}."


def _of_refused(sight: Sight) -> str:
    nodes = [node.name for node in sight.nodes if node.phase == "refused"]
    if not sight.record:
        return f"Mend what {and_list(nodes)} {'tells' if len(nodes) == 1 else 'tell'}, then run the site playbook."
    if any(node.primary for node in sight.nodes):
        where = f"kubectl -n {sight.names.namespace} delete"
        return (
            f"The others serve. Bind the right volume, or save what is needed from that of {nodes[0]} and empty it: "
            f"`{where} pvc data-{nodes[0]} --wait=false`, `{where} pod {nodes[0]}`."
        )
    return (
        f"Read why {and_list(nodes)} {'refuses' if len(nodes) == 1 else 'refuse'}, and bring back the volume that is "
        f"told of; to go on without it, run the recover playbook with -e galera_recover_confirm={sight.names.name}."
    )


def _of_split(sight: Sight) -> str:
    return (
        "Stop the writes, decide which of the histories is the right one, and remove the pods and the volumes of the "
        f"other nodes of {sight.names.name}."
    )


def _look_into(sight: Sight, name: str) -> str:
    where = f"kubectl -n {sight.names.namespace}"
    return f"Read `{where} describe pod {name}` and `{where} logs {name} -c agent`."


def _under_way(sight: Sight) -> bool:
    """Whether Kubernetes is making a pod that is missing."""
    if sight.stateful_set is None:
        return False
    return int(sight.stateful_set["spec"].get("replicas", 1)) >= sight.size


def trouble(sight: Sight, events: t.Sequence[Manifest]) -> str:
    """Why pods do not start, as Kubernetes tells it, "" when it tells nothing."""
    sets = [each for each in (sight.stateful_set, sight.seed) if each is not None]
    pods = [pod for pod in sight.pods if pod["metadata"]["name"] in {node.name for node in sight.nodes}]
    pending = [claim for claim in sight.claims if (claim.get("status") or {}).get("phase") == "Pending"]
    return " ".join(each.text for each in _pods.find(pods, [], pending, sets, events))
