#!/usr/bin/python
# Copyright (c) stateful.galera maintainers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Go on with a cluster although the evidence of some volumes is missing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: recover
short_description: Go on with a Galera cluster although some volumes are lost
version_added: 1.0.0
description:
  - A cluster that nobody serves bootstraps by itself when every member has shown what its volume holds. When a member
    can show nothing (its machine is gone, its volume was emptied or is another cluster's), it waits, because that
    volume may hold the most. This module gives it a human's consent to go on without that member.
  - The agents of the nodes work out what is possible. The module writes their offer, word for word, as a consent into
    the ConfigMap C(<name>-galera-state), and waits until all whose volumes were counted are Synced. The agents act on
    it only while they still see exactly what was consented to, and only once.
  - Says why a pod does not start (its image cannot be pulled, it finds no Kubernetes node). That mended, the cluster
    needs no consent. An agent whose server cannot be started offers nothing, so no consent is possible until it can.
  - Refuses when the cluster is in service, when it can recover without consent, when no volume holds data of the
    recorded cluster, and when a member that would be given up runs and only the network to it is broken.
  - A member that was given up joins when it comes back with an empty volume or with an older one. One that holds more
    than the cluster was continued from refuses to start; nothing on it is changed.
  - May be killed at any moment and run again.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - stateful.galera.attributes
  - stateful.galera.attributes.actiongroup_galera
  - stateful.galera.target
  - stateful.galera.target.wait
attributes:
  check_mode:
    support: full
    details:
      - Shows what each member holds and what would be done; needs no O(confirm).
  diff_mode:
    support: none
    details:
      - RV(did) says what was done.
  idempotent:
    support: full
    details:
      - When the cluster is in service without a member that was given up, nothing is done.
options:
  confirm:
    description:
      - The name of the cluster, as a confirmation. Without it nothing is changed and the module fails.
    type: str
    default: ""
  size:
    description:
      - Number of nodes of the cluster. The default is what its StatefulSet has.
    type: int
seealso:
  - module: stateful.galera.wsrep_info
author:
  - stateful.galera maintainers (@stateful)
"""

EXAMPLES = r"""
- name: See what each volume holds and what would be done
  stateful.galera.recover:
    name: tier1
    namespace: web
  check_mode: true
  register: recovery

- name: Go on without the members that are lost
  stateful.galera.recover:
    name: tier1
    namespace: web
    confirm: tier1
"""

RETURN = r"""
action:
  description: >-
    V(consent) when a consent is what is needed, V(wait) when it was given already and is being acted on, V(nothing)
    when the cluster is in service again, V(refuse) when a consent is not possible or not needed.
  type: str
  returned: success
  sample: consent
reason:
  description: >-
    What is or would be done, or why nothing, in one sentence. Where volumes would be given up another one says up to
    when backups can restore the cluster.
  type: str
  returned: success
  sample: "tier1-galera-0 bootstraps the cluster 5ff0b4a2-6f6f-11f0-9c4e-3f6f1c5a3b11 at seqno 1201 without
    tier1-galera-2: what only these volumes hold is lost to the cluster."
did:
  description: What was done; in check mode what would be done.
  type: list
  elements: str
  returned: success
  sample: ["Gave the consent to go on without tier1-galera-2."]
offer:
  description: What the agents offer, null when they offer nothing.
  type: dict
  returned: success
  contains:
    winner:
      description: Pod that bootstraps.
      type: str
      sample: tier1-galera-0
    uuid:
      description: Identity of the cluster's history.
      type: str
      sample: 5ff0b4a2-6f6f-11f0-9c4e-3f6f1c5a3b11
    seqno:
      description: Sequence number at which the cluster goes on.
      type: int
      sample: 1201
    given_up:
      description: Pods that are left out.
      type: list
      elements: str
      sample: [tier1-galera-2]
    lost:
      description: Write-sets that are known to be lost; a volume that is given up may hold more.
      type: int
      sample: 0
    shown:
      description: What each counted volume holds, by pod.
      type: dict
      sample: {"tier1-galera-0": "5ff0b4a2-6f6f-11f0-9c4e-3f6f1c5a3b11:1201"}
members:
  description: >-
    What each member holds: C(name) of the pod, C(claim) (null when there is none), C(kubernetes_node), C(phase),
    C(evidence), C(uuid), C(seqno), and C(reason), which says why it shows nothing.
  type: list
  elements: dict
  returned: success
  sample: [{"name": "tier1-galera-2", "claim": "data-tier1-galera-2", "phase": "Pending", "evidence": null}]
table:
  description: The members as lines of text.
  type: list
  elements: str
  returned: success
  sample: ["name  claim  phase  evidence  uuid  seqno"]
nodes:
  description: The nodes as they were last seen, see M(stateful.galera.wsrep_info).
  type: list
  elements: dict
  returned: success
  sample: [{"name": "tier1-galera-0", "state": "Synced"}]
cluster:
  description: The cluster as it was last seen, see M(stateful.galera.wsrep_info).
  type: dict
  returned: success
  sample: {"verdict": "degraded"}
"""

import dataclasses
import datetime
import functools
import json
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stateful.galera.plugins.module_utils import _backups, _recovery
from ansible_collections.stateful.galera.plugins.module_utils._argspec import WAIT_SPEC, argument_spec, run, target
from ansible_collections.stateful.galera.plugins.module_utils._errors import ApiError, GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS
from ansible_collections.stateful.galera.plugins.module_utils._observe import Names, Sight, ask_agent, component, look
from ansible_collections.stateful.galera.plugins.module_utils._site_lease import SiteLease
from ansible_collections.stateful.galera.plugins.module_utils._wsrep import cluster_facts

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Manifest

RECOVER_SPEC: dict[str, t.Any] = {"confirm": {"type": "str", "default": ""}, "size": {"type": "int"}}
_LOOK_SECONDS = 0.5
_IGNORED_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Found:
    """What was seen, and what follows from it; version: of the state ConfigMap, "" when there is none."""

    sight: Sight
    plan: _recovery.Plan
    version: str


def survey(client: Client, names: Names, size: int | None) -> Found:
    """Look at the cluster, its offers and its record. Raises GaleraError."""
    sight = look(client, names, size, claims=True)
    servers = [pod for pod in sight.pods if component(pod) in ("node", "seed")]
    answers = client.all_of([functools.partial(ask_agent, client, names, pod) for pod in servers])
    offers = {
        pod["metadata"]["name"]: answer[0].get("offer")
        for pod, answer in zip(servers, answers, strict=True)
        if answer[0] is not None
    }
    found = client.get(KINDS["ConfigMap"], names.state, names.namespace) or {"metadata": {"resourceVersion": ""}}
    plan = _recovery.plan(sight, offers, found.get("data") or {}, _ready_machines(client), _events(client, names))
    if plan.action == "consent" and plan.offer and plan.offer["given_up"]:
        published = client.get(KINDS["ConfigMap"], _backups.state_name(names.name), names.namespace)
        reach = _backups.reach(published, plan.offer["uuid"])
        plan = dataclasses.replace(plan, reason=f"{plan.reason} {reach}".rstrip())
    return Found(sight, plan, found["metadata"]["resourceVersion"])


def _ready_machines(client: Client) -> set[str]:
    """Names of the Kubernetes nodes that are Ready; none when they may not be read."""
    try:
        nodes = client.list_all(KINDS["Node"])
    except GaleraError:
        return set()
    return {
        node["metadata"]["name"]
        for node in nodes
        if any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions") or [])
    }


def _events(client: Client, names: Names) -> list[Manifest]:
    """The Events of the namespace; none when they may not be read: they only explain."""
    try:
        return client.list_all(KINDS["Event"], names.namespace)
    except GaleraError:
        return []


def write_consent(client: Client, names: Names, consent: _recovery.Offer | None, version: str = "") -> None:
    """Write or take away the consent; with version only if the record did not change. Raises GaleraError."""
    text = None if consent is None else json.dumps(consent)
    body: dict[str, t.Any] = {"metadata": {}, "data": {"consent": text}}
    if version:
        body["metadata"] = {"resourceVersion": version}
    path = KINDS["ConfigMap"].path(names.namespace, names.state)
    what = "The consent was not written, because the record of the cluster changed meanwhile: run again"
    try:
        client.merge(path, body, what, conflicts_pass=not version)
    except ApiError as error:
        if error.status != 409:
            raise
        # or the record changed by this very consent, and the answer that said so was lost
        found = client.get(KINDS["ConfigMap"], names.state, names.namespace) or {}
        if (found.get("data") or {}).get("consent") != text:
            raise


def await_service(client: Client, names: Names, size: int | None, offer: _recovery.Offer, timeout: float) -> Sight:
    """Wait until all whose volumes were counted are Synced. Raises GaleraError."""
    start, ignored_since = time.monotonic(), None
    while True:
        sight = look(client, names, size)
        lacks = _recovery.lacking(sight, offer)
        if not lacks:
            return sight
        now = time.monotonic()
        ignored = next((node.reason for node in sight.nodes if "is ignored, it was for" in node.reason), "")
        ignored_since = (ignored_since or now) if ignored else None
        if ignored_since is not None and now - ignored_since >= _IGNORED_SECONDS:
            write_consent(client, names, None)
            raise GaleraError(
                f"What the volumes hold has changed, so the consent was taken back: {ignored}. Run again."
            )
        if now - start >= timeout:
            raise GaleraError(f"Waited {timeout:g} s for the cluster to serve with consent, last seen: {lacks}.")
        time.sleep(_LOOK_SECONDS)


def recover(module: AnsibleModule, client: Client, names: Names, found: Found) -> tuple[list[str], Sight]:
    """Give the consent, unless it is given, and wait. Raises GaleraError."""
    params, plan = module.params, found.plan
    if plan.action == "refuse":
        raise GaleraError(f"{plan.reason} Nothing was changed.")
    if plan.action == "nothing" or plan.offer is None:
        return [], found.sight
    if params["confirm"] != names.name:
        raise GaleraError(
            f"confirm={params['confirm']!r}: {plan.reason} If that is what you want, confirm with the name of the "
            f"cluster, {names.name}. Nothing was changed."
        )
    did = []
    lease = SiteLease(client, names)
    lease.adopt()
    try:
        if plan.action == "consent":
            lease.take()
            moment = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            write_consent(client, names, {**plan.offer, "time": moment}, found.version)
            did.append(f"Gave the consent of {moment}: {plan.reason}")
        return did, await_service(client, names, params["size"], plan.offer, params["wait_timeout"])
    finally:
        lease.leave(keep=False)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Show, or show and recover. Raises GaleraError."""
    names = target(module)
    client = Client(module.params, module.params["wait_timeout"])
    found = survey(client, names, module.params["size"])
    members = _recovery.rows(found.sight)
    if module.check_mode:
        did = [f"Would give the consent: {found.plan.reason}"] if found.plan.action == "consent" else []
        sight = found.sight
    else:
        did, sight = recover(module, client, names, found)
    return {
        "changed": bool(did),
        "action": found.plan.action,
        "reason": found.plan.reason,
        "did": did,
        "offer": found.plan.offer,
        "members": members,
        "table": _recovery.table(members),
        "nodes": [node.row() for node in sight.nodes],
        "cluster": cluster_facts(sight),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(WAIT_SPEC, RECOVER_SPEC), supports_check_mode=True)
    run(module, work)


if __name__ == "__main__":
    main()
