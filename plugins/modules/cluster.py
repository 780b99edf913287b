#!/usr/bin/python
# Copyright (c) stateful.galera maintainers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Apply the manifests of one Galera cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster
short_description: Apply the manifests of a Galera cluster
version_added: 1.0.0
description:
  - Applies the manifests of one Galera cluster in the order of their phases, by server-side apply.
  - Before anything is changed, it checks what the cluster needs around it and what Kubernetes would refuse, and fails
    with all that is wrong at once.
  - Generates passwords that are missing, once, and keeps them in the Secret of the cluster.
  - Applies what belongs to the seed only for a cluster that has not been bootstrapped, see RV(seed).
  - Records in the annotation C(stateful.galera/size) of the ConfigMap C(<name>-galera-state) how many nodes the cluster
    has, before it gets more. That it has fewer is recorded by M(stateful.galera.rollout).
  - Objects that are as they must be are not sent, so that a run that has nothing to change costs one list a kind of
    objects.
  - A run that has something to change takes the Lease C(<name>-galera-site) first, and fails with the name of the
    holder when another run has it.
  - Nodes that exist and get a new form keep running in the old one until M(stateful.galera.rollout) replaces them.
  - Before nodes get another configuration, image or other resources, a pod without data (C(<name>-galera-config-check))
    starts MariaDB with them. What MariaDB refuses fails the run with MariaDB's own words, and nothing is changed.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - stateful.galera.attributes
  - stateful.galera.attributes.actiongroup_galera
  - stateful.galera.target
attributes:
  check_mode:
    support: full
    details:
      - The API server rehearses each change. Where the namespace does not exist yet, the objects in it are told as
        created without asking the server.
  diff_mode:
    support: full
    details:
      - Shows the fields that are applied, not those that Kubernetes adds. Values of Secrets are never shown.
  idempotent:
    support: full
options:
  size:
    description:
      - Number of nodes of the cluster.
      - A cluster that has more is made smaller by one node in a run, and only while all nodes are Synced. Where none
        runs, it is not started with fewer nodes than are recorded.
    type: int
    required: true
  phases:
    description:
      - The manifests, in the order in which they are applied. Those of one phase are applied side by side.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the phase. The phase V(seed) is applied only when the cluster needs a seed.
        type: str
        required: true
      documents:
        description:
          - YAML texts of exactly one Kubernetes object each. The Secret with the passwords is not one of them.
        type: list
        elements: str
        required: true
  node_selector:
    description:
      - Labels that a Kubernetes node must have to take a node of the cluster; as in the manifests.
    type: dict
    default: {}
  tolerations:
    description:
      - Taints of Kubernetes nodes that the pods tolerate; as in the manifests.
    type: list
    elements: dict
    default: []
  storage_classes:
    description:
      - Storage classes that the manifests name. Empty names do not count.
    type: list
    elements: str
    default: []
  require_default_storage_class:
    description:
      - Whether claims in the manifests leave the storage class to Kubernetes, so that there must be a default one.
    type: bool
    default: false
  node_port:
    description:
      - Node port that the manifests ask for. It must be free or belong to O(node_port_service).
    type: int
  node_port_service:
    description:
      - Name of the Service that O(node_port) is for. The default is C(<name>-galera-external-access).
    type: str
  volume_size:
    description:
      - Size of the volume of a node. A cluster that is made again on volumes that were kept must ask for their size.
    type: str
  passwords:
    description:
      - Values for keys of the Secret C(<name>-galera), for example C(root-password). Missing ones are generated.
      - A value that differs from the one in the Secret of a cluster that lives is an error, because changing it here
        does not change it in the database.
    type: dict
    default: {}
  password_keys:
    description:
      - Keys that the Secret must have. Those that neither the Secret nor O(passwords) has are generated for a new
        cluster, and an error for one that lives, whose database has passwords that nobody here knows.
    type: list
    elements: str
    default: []
  absent:
    description:
      - Objects of the cluster that shall not exist, because other options asked for them.
      - C(kind/name) with the kind V(CronJob), V(NetworkPolicy) or V(Service); a name alone is that of a Service.
    type: list
    elements: str
    default: []
  check_new:
    description:
      - Whether the configuration is tried also for nodes that do not exist yet. It costs a start of MariaDB, which is
        of use where the inventory adds options to my.cnf.
    type: bool
    default: false
  keep_lease:
    description:
      - Whether the Lease stays with the play when the module ends and has changed something, for tasks that follow and
        end with M(stateful.galera.rollout).
    type: bool
    default: false
  wait_timeout:
    description:
      - Seconds for which a request is repeated that the API server did not answer or answered with a passing error.
    type: int
    default: 120
seealso:
  - module: stateful.galera.rollout
  - module: stateful.galera.seed
  - module: stateful.galera.wsrep_info
author:
  - stateful.galera maintainers (@stateful)
"""

EXAMPLES = r"""
- name: Apply the manifests of a cluster
  stateful.galera.cluster:
    name: tier1
    namespace: web
    size: 3
    storage_classes: [vmware-thin]
    passwords:
      root-password: "{{ vault_root_password }}"
    phases:
      - name: volumes
        documents:
          - "{{ lookup('ansible.builtin.template', 'seed_claim.yml.j2') }}"
      - name: nodes
        documents:
          - "{{ lookup('ansible.builtin.template', 'nodes.yml.j2') }}"
"""

RETURN = r"""
seed:
  description:
    - What was decided about the seed. V(needed), the cluster is new and the seed was applied; V(present), there is
      a seed and it was applied again; V(leaving), it was bootstrapped and the seed or its claim is still to be
      removed; V(not_needed), the cluster was bootstrapped; V(undecided), the cluster has volumes but no record, so
      that M(stateful.galera.seed) must decide by what the nodes find on them.
  type: str
  returned: success
  sample: needed
seed_reason:
  description: Why, in one sentence.
  type: str
  returned: success
  sample: "The cluster is new: there is no record of it and it has no volumes."
objects:
  description: The objects that belong to the run, in the order of their phases.
  type: list
  elements: dict
  returned: success
  contains:
    kind:
      description: Kind of the object.
      type: str
      sample: StatefulSet
    name:
      description: Name of the object.
      type: str
      sample: tier1-galera
    namespace:
      description: Namespace of the object, empty for objects of the whole Kubernetes cluster.
      type: str
      sample: web
    result:
      description: V(created), V(changed), V(unchanged) or V(removed).
      type: str
      sample: created
kubernetes_version:
  description: Version of the API server.
  type: str
  returned: success
  sample: v1.33.1
generated:
  description: Keys of the Secret for which a password was generated. The passwords themselves are never returned.
  type: list
  elements: str
  returned: success
  sample: [xtrabackup-password]
status:
  description:
    - What M(stateful.galera.wsrep_info) would return, C(nodes) and C(cluster), so that a run that has
      nothing to change needs no further task to tell how the cluster is.
  type: dict
  returned: when nothing was changed and every node and HAProxy serve
  sample: {nodes: [], cluster: {verdict: healthy}}
requests:
  description: Number of requests to the API server.
  type: int
  returned: success
  sample: 14
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stateful.galera.plugins.module_utils import _survey
from ansible_collections.stateful.galera.plugins.module_utils._argspec import argument_spec, run, target
from ansible_collections.stateful.galera.plugins.module_utils._config_check import rehearse_start, tidy
from ansible_collections.stateful.galera.plugins.module_utils._converge import (
    Outcome,
    bring_about,
    in_order,
    make_namespace,
)
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError, RefusedError
from ansible_collections.stateful.galera.plugins.module_utils._inspect import inspect
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._observe import look
from ansible_collections.stateful.galera.plugins.module_utils._site_lease import SiteLease
from ansible_collections.stateful.galera.plugins.module_utils._wsrep import cluster_facts, goal_serving

PHASE_SPEC = {
    "name": {"type": "str", "required": True},
    "documents": {"type": "list", "elements": "str", "required": True},
}
CLUSTER_SPEC: dict[str, t.Any] = {
    "size": {"type": "int", "required": True},
    "phases": {"type": "list", "elements": "dict", "required": True, "options": PHASE_SPEC},
    "node_selector": {"type": "dict", "default": {}},
    "tolerations": {"type": "list", "elements": "dict", "default": []},
    "storage_classes": {"type": "list", "elements": "str", "default": []},
    "require_default_storage_class": {"type": "bool", "default": False},
    "node_port": {"type": "int"},
    "node_port_service": {"type": "str"},
    "volume_size": {"type": "str"},
    "passwords": {"type": "dict", "default": {}, "no_log": True},
    "password_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "absent": {"type": "list", "elements": "str", "default": []},
    "check_new": {"type": "bool", "default": False},
    "keep_lease": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 120},
}


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Observe, decide, apply. Raises GaleraError."""
    wanted = _survey.wanted_of(module.params, target(module))
    client = Client(module.params, module.params["wait_timeout"])
    found, plan, warnings = examine(client, wanted)
    for warning in warnings:
        module.warn(warning)
    if plan.is_empty or module.check_mode:
        outcomes = bring_about(client, wanted, found, plan, dry_run=True)
    else:
        found, plan, outcomes = change(module, client, wanted, make_namespace(client, found, plan))
    answer = result(client, found, plan, outcomes)
    if not answer["changed"] and plan.seed.action == "not_needed":
        answer.update(status(client, wanted, tidies=not module.check_mode))
    if module._diff:
        answer["diff"] = [outcome.diff for outcome in outcomes if outcome.diff]
    return answer


def examine(client: Client, wanted: _survey.Wanted) -> tuple[_survey.Found, _survey.Plan, list[str]]:
    """What is there, what is to be done about it, and warnings. Raises RefusedError with all that forbids it."""
    found = _survey.observe(client, wanted)
    plan = _survey.decide(wanted, found)
    problems, warnings = list(plan.problems), []
    if not plan.is_empty or found.denied:
        findings = inspect(client, wanted, found, plan)
        problems += findings.problems
        plan = plan.without(findings.left_out)
        warnings += findings.warnings
    if problems:
        raise RefusedError(problems)
    if not found.namespace_known:
        warnings.append(f"The namespace {wanted.names.namespace} may not be read: it is taken to exist, left as it is.")
    return found, plan, warnings


def change(
    module: AnsibleModule, client: Client, wanted: _survey.Wanted, made: list[Outcome]
) -> tuple[_survey.Found, _survey.Plan, list[Outcome]]:
    """Make the change under the Lease. What was seen before it was had may be another run's past: look again.

    made: what has been done, for the result: the Lease lives in the namespace, which is made first.
    """
    lease = SiteLease(client, wanted.names)
    keep = False
    try:
        lease.take()
        found, plan, _warnings = examine(client, wanted)
        for warning in rehearse_start(client, wanted.names, found.live, plan.changes, module.params["check_new"]):
            module.warn(warning)
        lease.check()
        outcomes = made + bring_about(client, wanted, found, plan, dry_run=False, check=lease.check)
        # where nothing came of it and no seed is wanted, no task need follow that would give the Lease back
        follows = any(each.result != "unchanged" for each in outcomes) or plan.seed.action != "not_needed"
        keep = bool(module.params["keep_lease"]) and follows
    except GaleraError as error:
        raise _told_truly(error, made) from error
    finally:
        lease.leave(keep)
    return found, plan, outcomes


def _told_truly(error: GaleraError, made: list[Outcome]) -> GaleraError:
    """`error`, which may say that nothing was changed, after the namespace was."""
    spaces = [each for each in made if each.result != "unchanged"]
    if not spaces:
        return error
    did = f"nly the namespace {spaces[0].document.name} was {'made' if spaces[0].result == 'created' else 'changed'}"
    text = str(error).replace("Nothing was changed", f"O{did}").replace("nothing was changed", f"o{did}")
    return error if text == str(error) else GaleraError(text)


def status(client: Client, wanted: _survey.Wanted, tidies: bool = False) -> dict[str, t.Any]:
    """How a cluster is that needed no change; nothing when it does not serve, so that somebody waits for it.

    Nor where another size is recorded: a run was killed before it could record that a node has left.
    tidies: whether to remove what such a run has left.
    """
    sight = look(client, wanted.names, wanted.size)
    if tidies:
        tidy(client, wanted.names, sight.pods)
    if goal_serving(sight) or (sight.record and sight.recorded_size != wanted.size):
        return {}
    seen = {"nodes": [node.row() for node in sight.nodes], "cluster": cluster_facts(sight)}
    return {"status": seen, "requests": client.requests}


def result(client: Client, found: _survey.Found, plan: _survey.Plan, outcomes: list[Outcome]) -> dict[str, t.Any]:
    """The result of the module."""
    listed = in_order(plan, outcomes)
    return {
        "changed": any(outcome.result != "unchanged" for outcome in listed),
        "seed": plan.seed.action,
        "seed_reason": plan.seed.reason,
        "objects": [outcome.row() for outcome in listed],
        "kubernetes_version": found.version.get("gitVersion", "unknown"),
        "generated": list(plan.passwords.generated),
        "requests": client.requests,
    }


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(CLUSTER_SPEC), supports_check_mode=True)
    run(module, work)


if __name__ == "__main__":
    main()
