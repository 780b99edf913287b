# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a human may consent to when a cluster that nobody serves cannot go on by itself. Pure.

The agents work out the offer, all of them the same one; here it is only found, judged and laid out. Its shape is
{"winner", "uuid", "seqno", "given_up": [pod], "lost", "shown": {pod: what it holds}}; a consent is an offer with its
time.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils._diagnosis import trouble
from ansible_collections.stateful.galera.plugins.module_utils._errors import and_list
from ansible_collections.stateful.galera.plugins.module_utils._pods import taken_places

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Manifest
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Sight
    from ansible_collections.stateful.galera.plugins.module_utils._wsrep import Node

Offer = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done. action: nothing, refuse, consent, or wait for what was consented to; reason: a sentence."""

    action: str
    reason: str
    offer: Offer | None = None


def plan(
    sight: Sight,
    offers: t.Mapping[str, Offer | None],
    state: t.Mapping[str, str],
    ready_machines: t.Collection[str],
    events: t.Sequence[Manifest] = (),
) -> Plan:
    """Decide from what was seen.

    offers: what each agent that answers offers, by pod; state: the data of the state ConfigMap; ready_machines: the
    Kubernetes nodes that are known to be Ready; events: those of the namespace, for the reasons of pods that do not
    start.
    """
    if any(node.primary for node in sight.nodes):
        return _serves(given_up(state))
    if sight.stateful_set is None:
        return Plan("refuse", f"There are no nodes ({sight.names.nodes}): the site playbook makes or starts them.")
    # What can be had back without a loss is told before anybody consents to one.
    hinders = trouble(sight, events)
    places = [text for text in taken_places(sight.pods) if text not in hinders]
    mend = [f"Mend this first, then no consent may be needed: {hinders}"] if hinders else []
    made = [json.dumps(offer, sort_keys=True) for offer in offers.values() if offer]
    if not made:
        text = f"There is nothing to consent to: {_reasons(sight)}"
        return Plan("refuse", " ".join([text, *_recovering(sight), *mend, *places]))
    if len(set(made)) > 1 or len(made) < len(offers) - len(given_up(state)):
        # one whose server cannot even be started never makes an offer: to run again would not help
        then = "" if hinders else ", run again"
        text = f"The agents do not see the same yet{then}: {_reasons(sight)}"
        return Plan("refuse", " ".join([text, *mend, *places]))
    offer: Offer = json.loads(made[0])
    reachable = [pod for pod in offer["given_up"] if pod not in offers and _runs(sight, pod, ready_machines)]
    if reachable:
        listed = and_list(reachable)
        return Plan(
            "refuse",
            f"{listed} would be given up, but runs on a Kubernetes node that is Ready; only its agent is not heard: "
            f"mend the network between the pods, or delete the pod, and run again.",
            offer,
        )
    action = "wait" if _pending(state) == offer else "consent"
    return Plan(action, " ".join([explain(offer), *mend, *places]), offer)


def explain(offer: Offer) -> str:
    """The offer as a sentence for whoever consents to it."""
    text = f"{offer['winner']} bootstraps the cluster {offer['uuid']} at seqno {offer['seqno']}"
    if offer["given_up"]:
        text += f" without {and_list(offer['given_up'])}: what only these volumes hold is lost to the cluster"
    if offer["lost"]:
        text += f"; {offer['lost']} write-sets are known to be lost"
    return f"{text}."


def given_up(state: t.Mapping[str, str]) -> dict[str, int]:
    """Pods without which the cluster was continued, each with the seqno from which it was; {} if unreadable."""
    try:
        return {pod: int(entry["seqno"]) for pod, entry in json.loads(state.get("given_up", "{}")).items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def lacking(sight: Sight, offer: Offer) -> str:
    """What lacks until all whose volumes were counted are Synced, "" when nothing does."""
    nodes = {node.name: node for node in sight.nodes}
    waiting = [pod for pod in offer["shown"] if pod not in nodes or not nodes[pod].synced]
    return "; ".join(nodes[pod].summary() if pod in nodes else f"{pod}: no pod" for pod in sorted(waiting))


def rows(sight: Sight) -> list[dict[str, t.Any]]:
    """A row for each member, pods that do not exist included, and for the seed if there is one."""
    nodes = {node.name: node for node in sight.nodes}
    claims = {claim["metadata"]["name"] for claim in sight.claims}
    members = [f"{sight.names.nodes}-{ordinal}" for ordinal in range(max(sight.size, sight.recorded_size or 0))]
    names = members + [name for name in nodes if name not in members]
    return [_row(sight, name, nodes.get(name), claims) for name in names]


def table(found: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """The rows as lines, with the reason of each below."""
    columns = ("name", "claim", "phase", "evidence", "uuid", "seqno")
    cells = [columns] + [tuple("-" if row[column] is None else str(row[column]) for column in columns) for row in found]
    widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return lines + [f"{row['name']}: {row['reason']}" for row in found if row["reason"]]


def _row(sight: Sight, name: str, node: Node | None, claims: t.Collection[str]) -> dict[str, t.Any]:
    claim = sight.names.seed_claim if name == sight.names.seed_pod else f"data-{name}"
    known = node is not None and node.phase != "unknown"
    return {
        "name": name,
        "claim": claim if claim in claims else None,
        "kubernetes_node": node.kubernetes_node if node else None,
        "phase": "no pod" if node is None else node.phase if known else node.pod_phase,
        "evidence": node.evidence if node and known else None,
        "uuid": node.evidence_uuid if node else None,
        "seqno": node.evidence_seqno if node else None,
        "reason": node.reason if node else "there is no such pod",
    }


def _serves(left: t.Mapping[str, int]) -> Plan:
    if not left:
        return Plan("refuse", "The cluster is in service: there is nothing to recover.")
    parts = and_list(f"{pod} (from seqno {seqno})" for pod, seqno in sorted(left.items()))
    return Plan("nothing", f"The cluster is in service; it was continued without {parts}.")


def _pending(state: t.Mapping[str, str]) -> Offer | None:
    """The offer of the consent that is given already."""
    try:
        found = json.loads(state["consent"])
        return {key: value for key, value in found.items() if key != "time"}
    except (KeyError, ValueError, AttributeError):
        return None


def _reasons(sight: Sight) -> str:
    return f"{'; '.join(node.summary() for node in sight.nodes) or 'no node answers'}."


def _recovering(sight: Sight) -> list[str]:
    """What to do about servers that are about to show what they hold, and may never: nobody is given up meanwhile."""
    names = [node.name for node in sight.nodes if node.phase == "starting"]
    if not names:
        return []
    one = len(names) == 1
    return [
        f"{and_list(names)} {'is' if one else 'are'} about to show what {'its volume holds' if one else 'they hold'}: "
        f"wait. A recovery that never ends can be given up when its pod does not run: cordon the machines that could "
        f"take it, delete the pod, and run again."
    ]


def _runs(sight: Sight, name: str, ready_machines: t.Collection[str]) -> bool:
    """Whether the agent of a silent pod certainly runs: its container is ready on a machine that is."""
    pod: Manifest | None = next((one for one in sight.pods if one["metadata"]["name"] == name), None)
    if pod is None or "deletionTimestamp" in pod["metadata"]:
        return False
    started = [each for each in (pod.get("status") or {}).get("initContainerStatuses") or [] if each.get("ready")]
    on_ready = (pod.get("spec") or {}).get("nodeName") in ready_machines
    return on_ready and any(each["name"] == "agent" for each in started)
