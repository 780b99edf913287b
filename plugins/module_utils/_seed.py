# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""When a seed may come and when it may go. Pure: what was seen in, a decision with its reason out.

A seed that comes too much would make a second cluster beside one that lives, a seed that goes too early takes the only
copy of the data with it. So: where evidence is missing, wait, and after the time-out refuse.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils._errors import and_list

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Sight
    from ansible_collections.stateful.galera.plugins.module_utils._wsrep import Node


@dataclasses.dataclass(frozen=True)
class Decision:
    """action: a word of the function that decided; reason: one sentence."""

    action: str
    reason: str


def in_cluster_run(
    record: str | None, seed: str, seed_claim: bool, claims: t.Sequence[str], ready_nodes: int
) -> Decision:
    """Whether a run of `cluster` applies the seed: needed, present, leaving, not_needed or undecided.

    record: the cluster's record in the state ConfigMap; seed: absent, present or leaving; seed_claim: whether its claim
    is there; claims: names of the nodes' claims; ready_nodes: Ready pods of the nodes.
    """
    if seed == "present":
        return Decision("present", "The seed is there: its bootstrap has not been finished by a decommission.")
    if seed == "leaving":
        return Decision("leaving", "The seed is being removed: its decommission has not been finished.")
    if (record or ready_nodes) and seed_claim:
        return Decision("leaving", "The seed was removed, its claim was not: its decommission has not been finished.")
    if record:
        return Decision("not_needed", "The cluster was bootstrapped: its record is in the state ConfigMap.")
    if ready_nodes:
        return Decision("not_needed", f"The cluster lives: {ready_nodes} of its nodes are ready.")
    if claims:
        listed = and_list(sorted(claims))
        return Decision("undecided", f"There is no record of the cluster, but its volumes exist ({listed}).")
    return Decision("needed", "The cluster is new: there is no record of it and it has no volumes.")


def to_create(sight: Sight) -> Decision:
    """Whether to create a seed: present (one is there), not_needed, create, wait or refuse."""
    if sight.seed is not None:
        return Decision("present", f"The seed {sight.names.seed} exists.")
    if sight.record:
        return Decision("not_needed", f"The cluster was bootstrapped (uuid {sight.record_uuid}): it needs no seed.")
    nodes = [node for node in sight.nodes if node.role == "node"]
    for node in nodes:
        if node.primary or node.evidence == "present":
            has = "is in a Primary component" if node.primary else "has data"
            return Decision("not_needed", f"{node.name} {has}: the cluster was bootstrapped and needs no seed.")
    for node in nodes:
        if node.evidence == "partial":
            return Decision(
                "refuse",
                f"{node.name} has an incomplete data directory and the cluster has no record: a seed would begin a new "
                f"cluster over what may be the rest of an old one. Empty the volumes with the purge_volumes playbook "
                f"if they hold nothing that is needed.",
            )
    if sight.stateful_set is None:
        if not sight.node_claims:
            return Decision("create", "The cluster is new: it has no nodes, no volumes and no record.")
        return Decision(
            "refuse",
            f"There are volumes of the cluster ({and_list(sorted(sight.node_claims))}), but no nodes that could say "
            f"what is on them: apply the nodes first.",
        )
    empty = {node.name for node in nodes if node.evidence == "empty"}
    silent = [name for name in sight.wanted_names if name not in empty]
    if not silent:
        return Decision("create", f"All {sight.size} nodes answer and are empty.")
    return Decision("wait", f"every node must first say what is on its volume: {_say(sight, silent)}")


def to_remove(sight: Sight) -> Decision:
    """The next step of a decommission: nothing, wait, wait_gone, refuse, remove_seed, remove_pod or remove_claim.

    The reasons of wait and wait_gone say what lacks, without a full stop.
    """
    seed = sight.seed is not None and not sight.seed_leaving
    if not seed and sight.seed_pod is None and sight.seed is None and sight.seed_claim is None:
        return Decision("nothing", "There is no seed.")
    if sight.stateful_set is None:
        return Decision("refuse", f"There are no nodes ({sight.names.nodes}) that could take over from the seed.")
    if not seed and (sight.seed is not None or sight.seed_pod is not None):
        if sight.seed is None and sight.seed_pod is not None and not sight.seed_pod_leaving:
            return Decision("remove_pod", f"The pod {sight.names.seed_pod} was left behind by its StatefulSet.")
        return Decision("wait_gone", f"the pod {sight.names.seed_pod} is stopping")
    without = _unready(sight, allowed_sizes={sight.size, sight.size + 1} if seed else {sight.size})
    if without:
        return Decision("wait", without)
    if seed:
        member = next((node for node in sight.nodes if node.role == "seed"), None)
        if member and member.state in ("Donor/Desynced", "Joining", "Joined"):
            return Decision("wait", f"the seed is {member.state}: it has not finished a state transfer")
        return Decision("remove_seed", f"All {sight.size} nodes are Synced in one Primary component.")
    if sight.seed_claim_leaving:
        return Decision("wait_gone", f"the claim {sight.names.seed_claim} is being deleted")
    return Decision("remove_claim", f"All {sight.size} nodes are Synced without the seed.")


def _unready(sight: Sight, allowed_sizes: set[int]) -> str:
    """Why the nodes cannot do without the seed, "" when they can."""
    nodes = {node.name: node for node in sight.nodes if node.role == "node"}
    wanted = [nodes.get(name) for name in sight.wanted_names]
    lacking = [name for name, node in zip(sight.wanted_names, wanted, strict=True) if node is None or not node.synced]
    if lacking:
        count = sight.size - len(lacking)
        return f"{count} of {sight.size} nodes are Synced in a Primary component: {_say(sight, lacking)}"
    members = [node for node in wanted if node is not None]
    uuids = sorted({str(node.cluster_uuid) for node in members})
    if len(uuids) > 1:
        return f"the nodes are in different clusters: {and_list(uuids)}"
    seeds = [node for node in sight.nodes if node.role == "seed" and node.primary]
    if any(seed.cluster_uuid != uuids[0] for seed in seeds):
        return f"the seed is in another cluster ({seeds[0].cluster_uuid}) than the nodes ({uuids[0]})"
    sizes = sorted({int(node.cluster_size or 0) for node in members})
    if not set(sizes) <= allowed_sizes:
        return f"the nodes count {and_list(map(str, sizes), 'or')} members, {_allowed(allowed_sizes)} are expected"
    return ""


def _allowed(sizes: set[int]) -> str:
    return and_list(map(str, sorted(sizes)), "or")


def _say(sight: Sight, names: t.Sequence[str]) -> str:
    """What was last seen of the nodes `names`."""
    seen: dict[str, Node] = {node.name: node for node in sight.nodes}
    return ", ".join(seen[name].summary() if name in seen else f"{name}: no pod" for name in names)
