#!/usr/bin/python
# Copyright (c) stateful.galera maintainers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make or decommission the seed of a Galera cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: seed
short_description: Make or decommission the seed of a Galera cluster
version_added: 1.0.0
description:
  - The seed is the server that bootstraps a new cluster. When the nodes have joined it, it is decommissioned.
  - With O(state=present), makes the seed only when there is evidence that the cluster has never been bootstrapped.
  - With O(state=absent), waits until all nodes are Synced in one Primary component, removes the seed, waits until the
    nodes go on without it, and removes its claim. Fails without removing anything when the nodes do not get so far.
  - Removes with the claim a Job that has ended and whose pod would keep it, as that of a restore. Fails while one runs.
  - Takes the Lease C(<name>-galera-site) before it changes something, unless the play holds it already, and fails with
    the name of the holder when another run has it.
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
      - Says in RV(did) what would be done, and does not wait.
  diff_mode:
    support: none
    details:
      - RV(did) says what was done.
  idempotent:
    support: full
options:
  state:
    description:
      - Whether there shall be a seed.
    type: str
    choices: [present, absent]
    required: true
  size:
    description:
      - Number of nodes of the cluster.
    type: int
    required: true
  documents:
    description:
      - YAML texts of the objects of the seed, its claim included, one object each. For O(state=present).
    type: list
    elements: str
    default: []
  keep_lease:
    description:
      - Whether the Lease C(<name>-galera-site) stays with the play when the module ends, for tasks that follow and end
        with one that gives it back. Without an error only.
    type: bool
    default: false
seealso:
  - module: stateful.galera.cluster
  - module: stateful.galera.wsrep_info
author:
  - stateful.galera maintainers (@stateful)
"""

EXAMPLES = r"""
- name: Make the seed of a cluster that has volumes but no record
  stateful.galera.seed:
    state: present
    name: tier1
    namespace: web
    size: 3
    documents:
      - "{{ lookup('ansible.builtin.template', 'seed_claim.yml.j2') }}"
      - "{{ lookup('ansible.builtin.template', 'seed.yml.j2') }}"

- name: Decommission the seed
  stateful.galera.seed:
    state: absent
    name: tier1
    namespace: web
    size: 3
"""

RETURN = r"""
did:
  description: >-
    What was done, a sentence for each step; in check mode what would be done. Empty when there was nothing to do.
  type: list
  elements: str
  returned: success
  sample:
    - "Removed the StatefulSet tier1-galera-seed: All 3 nodes are Synced in one Primary component."
    - "Removed the claim tier1-galera-seed-volume-claim: All 3 nodes are Synced without the seed."
reason:
  description: Why nothing more was to be done, in one sentence.
  type: str
  returned: success
  sample: There is no seed.
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
  sample: {"verdict": "healthy"}
requests:
  description: Number of requests to the API server.
  type: int
  returned: success
  sample: 30
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stateful.galera.plugins.module_utils import _converge, _jobs, _seed
from ansible_collections.stateful.galera.plugins.module_utils._argspec import WAIT_SPEC, argument_spec, run, target
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError, and_list
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, Document, read_document
from ansible_collections.stateful.galera.plugins.module_utils._site_lease import SiteLease
from ansible_collections.stateful.galera.plugins.module_utils._wait import Waiter
from ansible_collections.stateful.galera.plugins.module_utils._wsrep import cluster_facts, goal_healthy

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Sight

SEED_SPEC: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "required": True},
    "size": {"type": "int", "required": True},
    "documents": {"type": "list", "elements": "str", "default": []},
    "keep_lease": {"type": "bool", "default": False},
}
Outcome = tuple[list[str], str, "Sight"]


def make(module: AnsibleModule, client: Client, waiter: Waiter, lease: SiteLease, documents: list[Document]) -> Outcome:
    """Make the seed if the evidence allows it: sentences, the reason, what was last seen. Raises GaleraError."""
    if module.check_mode:
        sight = waiter.look()
    else:
        sight = waiter.until(_lacks(_seed.to_create), "the nodes to say what is on their volumes")
    decision = _seed.to_create(sight)
    if decision.action == "wait":
        return [f"Would make the seed if all volumes turn out to be empty; {decision.reason}."], "", sight
    if decision.action == "refuse":
        raise GaleraError(f"{decision.reason} Nothing was changed.")
    if decision.action != "create":
        return [], decision.reason, sight
    if not documents:
        raise GaleraError("The seed is to be made, but documents holds none of its objects. Nothing was changed.")
    if not module.check_mode:
        lease.take()
        if _seed.to_create(waiter.look()).action != "create":
            raise GaleraError("Another run was at work on the seed: run again. Nothing was changed.")
        lease.check()
    rehearsed = _converge.rehearse(client, documents, {})
    if not module.check_mode:
        _converge.converge(client, documents, {})
    verb = "Would make" if module.check_mode else "Made"
    names = ", ".join(str(outcome.document) for outcome in rehearsed if outcome.result != "unchanged")
    return [f"{verb} {names}: {decision.reason}"], decision.reason, sight


def remove(module: AnsibleModule, client: Client, waiter: Waiter, lease: SiteLease) -> Outcome:
    """Decommission the seed, step by step, each after a fresh look. Raises GaleraError."""
    did: list[str] = []
    while True:
        sight = waiter.look() if module.check_mode else _await_step(client, waiter, module.params["name"], did)
        decision = _seed.to_remove(sight)
        if decision.action == "nothing":
            return did, decision.reason, _settled(waiter, module.params["name"], did) if did else sight
        if decision.action == "refuse":
            raise GaleraError(f"{decision.reason} Nothing was removed.")
        if module.check_mode:
            return [_would(decision)], "", sight
        if not lease.held:
            lease.take()
            continue  # what was seen before may be another run's past
        lease.check()
        did.append(step(client, sight, decision))


def _await_step(client: Client, waiter: Waiter, name: str, did: list[str]) -> Sight:
    """Wait until there is a step to take. Raises GaleraError."""

    def lacks(sight: Sight) -> str:
        if _seed.to_remove(sight).action == "wait_gone" and sight.seed_claim is not None and sight.seed_claim_leaving:
            _free(client, sight.seed_claim)
        return _lacks(_seed.to_remove)(sight)

    return _until(waiter, lacks, f"the cluster {name} to do without its seed", did)


def _settled(waiter: Waiter, name: str, did: list[str]) -> Sight:
    """Wait until all nodes are Synced without it: a first backup desyncs its node for a moment. Raises GaleraError."""
    return _until(waiter, goal_healthy, f"all nodes of the cluster {name} to be Synced and Ready without its seed", did)


def _until(waiter: Waiter, goal: t.Callable[[Sight], str], what: str, did: list[str]) -> Sight:
    """What was seen when the goal was reached. Raises GaleraError, which says what had been done."""
    try:
        return waiter.until(goal, what)
    except GaleraError as error:
        raise GaleraError(f"{error} {' '.join(did) or 'Nothing was removed.'}") from error


def step(client: Client, sight: Sight, decision: _seed.Decision) -> str:
    """Remove one object; says what was removed and why."""
    kind, what, manifest = {
        "remove_seed": (KINDS["StatefulSet"], "StatefulSet", sight.seed),
        "remove_pod": (KINDS["Pod"], "pod", sight.seed_pod),
        "remove_claim": (KINDS["PersistentVolumeClaim"], "claim", sight.seed_claim),
    }[decision.action]
    if manifest is None:
        raise GaleraError(f"The {what} of the seed was gone when it was to be removed: run again.")
    kept = ""
    if decision.action == "remove_claim":
        _free(client, manifest)
        kept = _volume_note(client, manifest)
    client.delete(kind, manifest)
    return f"Removed the {what} {manifest['metadata']['name']}: {decision.reason}{kept}"


def _free(client: Client, claim: dict[str, t.Any]) -> None:
    """Remove the ended Jobs whose pods would keep a claim, as that of a restore. Raises GaleraError where one runs."""
    metadata = claim["metadata"]
    jobs = _jobs.jobs_of(client, metadata["name"], metadata["namespace"])
    running = [job["metadata"]["name"] for job in jobs if _jobs.state_of(job).state == _jobs.RUNNING]
    if running:
        raise GaleraError(
            f"The claim {metadata['name']} is used by the Job {and_list(running)}, which runs: wait for its end (the "
            "playbook restore does, and goes on), or delete it. The claim was not removed."
        )
    for job in jobs:
        client.delete(KINDS["Job"], job)


def _volume_note(client: Client, claim: dict[str, t.Any]) -> str:
    """What becomes of the volume behind a claim, where it stays."""
    name = (claim.get("spec") or {}).get("volumeName")
    try:
        volume = client.get(KINDS["PersistentVolume"], name) if name else None
    except GaleraError:
        return ""  # volumes belong to the whole Kubernetes cluster and may not be ours to read
    if not volume or (volume.get("spec") or {}).get("persistentVolumeReclaimPolicy") != "Retain":
        return ""
    return f" Its volume {name} stays, with the data on it, because its reclaim policy is Retain."


def _lacks(decide: t.Callable[[Sight], _seed.Decision]) -> t.Callable[[Sight], str]:
    """A decision function as a goal: reached when there is something else to do than to wait."""

    def goal(sight: Sight) -> str:
        decision = decide(sight)
        return decision.reason if decision.action in ("wait", "wait_gone") else ""

    return goal


def _would(decision: _seed.Decision) -> str:
    steps = "remove the StatefulSet, the pod and the claim of the seed"
    if decision.action in ("wait", "wait_gone"):
        return f"Would wait, because {decision.reason}; then {steps}."
    return f"Would {steps}: {decision.reason}"


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Bring the seed into the wanted state. Raises GaleraError."""
    params, names = module.params, target(module)
    documents = [read_document(text, "seed", names.namespace) for text in params["documents"]]
    client = Client(params, params["wait_timeout"])
    waiter = Waiter(client, names, params["size"], params["wait_timeout"], claims=True)
    lease, keep = SiteLease(client, names), False
    try:
        if not module.check_mode:
            lease.adopt()
        if params["state"] == "present":
            did, reason, sight = make(module, client, waiter, lease, documents)
        else:
            did, reason, sight = remove(module, client, waiter, lease)
        keep = params["keep_lease"]
    finally:
        lease.leave(keep)
    return {
        "changed": bool(did),
        "did": did,
        "reason": reason,
        "nodes": [node.row() for node in sight.nodes],
        "cluster": cluster_facts(sight),
        "requests": client.requests,
    }


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(WAIT_SPEC, SEED_SPEC), supports_check_mode=True)
    run(module, work)


if __name__ == "__main__":
    main()
