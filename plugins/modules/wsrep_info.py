#!/usr/bin/python
# Copyright (c) stateful.galera maintainers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell how a Galera cluster is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wsrep_info
short_description: Tell how a Galera cluster is
version_added: 1.0.0
description:
  - Reads the pods of one Galera cluster and asks the agent of each node for its wsrep status, through the API server.
  - Returns a row for each node and a verdict on the cluster with its reason.
  - Can wait until the cluster is healthy. Waiting ends early where it is of no use, for example for an image that
    cannot be pulled.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - stateful.galera.attributes
  - stateful.galera.attributes.info_module
  - stateful.galera.attributes.actiongroup_galera
  - stateful.galera.target
  - stateful.galera.target.wait
options:
  size:
    description:
      - Number of nodes that the cluster shall have. The default is what its StatefulSet has.
    type: int
  wait:
    description:
      - Whether to wait for O(wait_for). In check mode the module never waits.
    type: bool
    default: false
  wait_for:
    description:
      - V(healthy) waits until all nodes are Synced in one Primary component and Ready, and no update of them is under
        way.
      - V(serving) waits until, besides, all pods of HAProxy that its Deployment asks for are Ready and have its form.
    type: str
    choices: [healthy, serving]
    default: healthy
  diagnose:
    description:
      - Whether to find out more, at the cost of some requests. Nodes that have no pod get a row, volumes, Leases and
        the logs of nodes that are not Synced are read, and RV(cluster.next_step) says what to do.
    type: bool
    default: false
seealso:
  - module: stateful.galera.cluster
  - module: stateful.galera.seed
author:
  - stateful.galera maintainers (@stateful)
"""

EXAMPLES = r"""
- name: Read the state of a cluster
  stateful.galera.wsrep_info:
    name: tier1
    namespace: web
  register: galera

- name: Wait until a cluster of three nodes is healthy
  stateful.galera.wsrep_info:
    name: tier1
    namespace: web
    size: 3
    wait: true
    wait_timeout: 300

- name: Find out what a cluster lacks
  stateful.galera.wsrep_info:
    name: tier1
    namespace: web
    diagnose: true
"""

RETURN = r"""
nodes:
  description: A row for each pod of a node or of the seed. Values of the server are null when they are not known.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the pod.
      type: str
      sample: tier1-galera-0
    role:
      description: V(node) or V(seed).
      type: str
      sample: node
    pod_phase:
      description: Phase of the pod, V(Absent) when there is none.
      type: str
      sample: Running
    ready:
      description: Whether the pod is Ready.
      type: bool
      sample: true
    phase:
      description: >-
        What the agent does: V(waiting), V(refused), V(initialising), V(filling) (an empty volume, from a backup),
        V(starting), V(running) or V(stopped); V(unknown) when it does not answer.
      type: str
      sample: running
    reason:
      description: What the node waits for, why it refuses, or what it does.
      type: str
      sample: serves
    evidence:
      description: What the agent found in the data directory, V(unknown), V(empty), V(partial) or V(present).
      type: str
      sample: present
    evidence_uuid:
      description: Identity of the history that these data belong to.
      type: str
      sample: 5ff0b4a2-6f6f-11f0-9c4e-3f6f1c5a3b11
    evidence_seqno:
      description: Sequence number that these data have reached; of a server that runs, as RV(nodes[].last_committed).
      type: int
      sample: 1201
    cluster_status:
      description: Status of the component that the node is in.
      type: str
      sample: Primary
    state:
      description: State of the node.
      type: str
      sample: Synced
    cluster_size:
      description: Members that the node counts.
      type: int
      sample: 3
    cluster_conf_id:
      description: Number of the view, the same on all nodes of one component; it grows with each change of members.
      type: int
      sample: 7
    cluster_uuid:
      description: Identity of the cluster's history.
      type: str
      sample: 5ff0b4a2-6f6f-11f0-9c4e-3f6f1c5a3b11
    last_committed:
      description: Sequence number of the last transaction.
      type: int
      sample: 1201
    flow_control_paused:
      description: Share of the time for which replication was paused, 0 to 1.
      type: float
      sample: 0.0
    recv_queue:
      description: Write-sets that wait to be applied.
      type: int
      sample: 0
    send_queue:
      description: Write-sets that wait to be sent.
      type: int
      sample: 0
    version:
      description: Version of the server.
      type: str
      sample: 11.8.6-MariaDB
    provider_version:
      description: Version of the Galera library.
      type: str
      sample: 26.4.23
    kubernetes_node:
      description: Kubernetes node that the pod runs on.
      type: str
      sample: worker-1
    agent_version:
      description: Version of the agent.
      type: str
      sample: 1.0.0
    restarts:
      description: Restarts of the pod's containers.
      type: int
      sample: 0
    claim:
      description: Claim of the node's volume. With O(diagnose=true).
      type: str
      sample: data-tier1-galera-0
    claim_phase:
      description: Phase of the claim, V(Absent) when there is none. With O(diagnose=true).
      type: str
      sample: Bound
    transfer_error:
      description: >-
        The last state transfer (SST or IST) that failed, in the words of the server's log, of a node that is not
        Synced. Null when none is found. With O(diagnose=true).
      type: str
      sample: "[ERROR] WSREP: SST failed: 32 (Broken pipe)"
cluster:
  description: The cluster as a whole.
  type: dict
  returned: success
  contains:
    verdict:
      description: >-
        V(absent), V(bootstrapping), V(healthy), V(degraded) (works without all nodes, or HAProxy lacks
        pods), V(down) (no Primary component),
        V(split) (nodes in different clusters) or V(refused) (a node refuses to start).
      type: str
      sample: healthy
    reason:
      description: Why, in one sentence.
      type: str
      sample: All 3 nodes are Synced in one Primary component.
    size:
      description: Members that the Primary component counts, the seed included.
      type: int
      sample: 3
    wanted:
      description: Nodes that the cluster shall have.
      type: int
      sample: 3
    uuid:
      description: Identity of the cluster's history, also of a cluster that is down.
      type: str
      sample: 5ff0b4a2-6f6f-11f0-9c4e-3f6f1c5a3b11
    ready:
      description: Nodes that are Ready.
      type: int
      sample: 3
    seed:
      description: Whether there is a seed.
      type: bool
      sample: false
    haproxy:
      description: Pods of HAProxy.
      type: int
      sample: 2
    haproxy_ready:
      description: Pods of HAProxy that are Ready.
      type: int
      sample: 2
    writer:
      description: The node that HAProxy gives the writes of its port 3307, empty when none is Ready.
      type: str
      sample: tier1-galera-0
    next_step:
      description: What to do now, in one sentence. With O(diagnose=true).
      type: str
      sample: Nothing is to be done.
    unfinished:
      description: What an earlier run has left to do, empty when nothing. With O(diagnose=true).
      type: str
      sample: ""
    site_lease:
      description: >-
        The run that changes the cluster now, with V(holder), V(since), V(renewed), V(expires) and V(dead), which is
        true when the run is known to have ended. Null when there is none. With O(diagnose=true).
      type: dict
      sample: {"holder": "root@awx (process 4711)", "since": "2026-11-21T07:00:00Z", "dead": false}
    bootstrap_lease:
      description: The node that bootstraps the cluster now; as RV(cluster.site_lease). With O(diagnose=true).
      type: dict
requests:
  description: Number of requests to the API server.
  type: int
  returned: success
  sample: 6
"""

import functools
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stateful.galera.plugins.module_utils import _diagnosis, _rollout, _site_lease
from ansible_collections.stateful.galera.plugins.module_utils._argspec import WAIT_SPEC, argument_spec, run, target
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS
from ansible_collections.stateful.galera.plugins.module_utils._wait import Waiter
from ansible_collections.stateful.galera.plugins.module_utils._wsrep import (
    cluster_facts,
    goal_healthy,
    goal_serving,
    judge,
)

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Sight

INFO_SPEC: dict[str, t.Any] = {
    "size": {"type": "int"},
    "wait": {"type": "bool", "default": False},
    "wait_for": {"type": "str", "choices": ["healthy", "serving"], "default": "healthy"},
    "diagnose": {"type": "bool", "default": False},
}
# nodes are asked one after the other while a view changes: only what lasts is a split
_SECOND_LOOK_SECONDS = 1.5
_LOG_LINES = 500


def _there(goal: t.Callable[[Sight], str]) -> t.Callable[[Sight], str]:
    """A goal that is given up at once when there is no cluster that could reach it."""

    def checked(sight: Sight) -> str:
        verdict = judge(sight)
        if verdict.verdict == "absent":
            raise GaleraError(verdict.reason)
        return goal(sight)

    return checked


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Look once, or until the cluster is as wanted. Raises GaleraError."""
    params, names = module.params, target(module)
    client = Client(params, params["wait_timeout"] if params["wait"] else 30.0)
    serving = params["wait_for"] == "serving"
    claims = params["diagnose"]
    waiter = Waiter(client, names, params["size"], params["wait_timeout"], claims=claims, haproxy=serving)
    if params["wait"] and not module.check_mode:
        size = params["size"] if params["size"] is not None else "all"
        what = f"{size} nodes of the cluster {names.name} to be Synced and Ready{', and HAProxy' if serving else ''}"
        sight = waiter.until(_there(goal_serving if serving else goal_healthy), what)
        facts = cluster_facts(sight)
    else:
        sight = waiter.look()
        facts = cluster_facts(sight)
        if facts["verdict"] == "split":
            time.sleep(_SECOND_LOOK_SECONDS)
            sight = waiter.look()
            facts = cluster_facts(sight)
    nodes = [node.row() for node in sight.nodes]
    if params["diagnose"]:
        nodes, more = diagnose(client, sight)
        facts.update(more)
    return {"changed": False, "nodes": nodes, "cluster": facts, "requests": client.requests}


def diagnose(client: Client, sight: Sight) -> tuple[list[dict[str, t.Any]], dict[str, t.Any]]:
    """The rows of the nodes and what is told of the cluster besides; what may not be read is left out."""
    names, unsynced = sight.names, [node for node in sight.nodes if not node.synced]
    reads: list[t.Callable[[], t.Any]] = [
        functools.partial(client.get, KINDS["Lease"], names.site_lease, names.namespace),
        functools.partial(client.get, KINDS["Lease"], names.bootstrap_lease, names.namespace),
        functools.partial(client.list_all, KINDS["Event"], names.namespace),
        *(functools.partial(failed_transfer, client, sight, node.name, node.restarts > 0) for node in unsynced),
    ]
    site, bootstrap, events, *failed = [
        None if isinstance(answer, GaleraError) else answer for answer in client.parallel(reads)
    ]
    errors = {node.name: error for node, error in zip(unsynced, failed, strict=True) if error}
    return _diagnosis.rows(sight, errors), {
        "next_step": _diagnosis.next_step(sight, events or [], _site_lease.facts(site)),
        "unfinished": _rollout.unfinished(sight),
        "site_lease": _site_lease.facts(site),
        "bootstrap_lease": _site_lease.facts(bootstrap),
    }


def failed_transfer(client: Client, sight: Sight, node: str, restarted: bool) -> str:
    """The last state transfer of a node that failed, by its log and that of the container before; "" for none."""
    path = f"{KINDS['Pod'].path(sight.names.namespace, node)}/log"
    for previous in ("false", "true") if restarted else ("false",):
        query = {"container": "mariadb", "previous": previous, "tailLines": str(_LOG_LINES)}
        answer = client.fetch("GET", path, query)
        error = _diagnosis.transfer_error(answer.body.decode("utf-8", "replace")) if answer.status == 200 else ""
        if error:
            return error
    return ""


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(WAIT_SPEC, INFO_SPEC), supports_check_mode=True)
    run(module, work)


if __name__ == "__main__":
    main()
