#!/usr/bin/python
# Copyright (c) stateful.galera maintainers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring a change to the nodes of a Galera cluster one by one, or restart them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Replace or restart the nodes of a Galera cluster one by one
version_added: 1.0.0
description:
  - Brings the form that M(stateful.galera.cluster) has applied to the nodes, one after the other, the highest ordinal
    first and the writer last; with O(restart=true) restarts all nodes in the same way.
  - A node that serves is stopped only while all nodes are Synced in one Primary component. It is evicted, so that the
    PodDisruptionBudget counts it, is drained by its own hook, and must be Synced again before the next one.
  - A pod in which no server runs (it was never scheduled, its image cannot be pulled, it crashes) and whose form is not
    the wanted one is replaced at once.
  - Then waits until the cluster serves. Fails with the reason of a pod that cannot get ready, without touching the next
    node.
  - With O(documents), records then in the annotation C(stateful.galera/size) of the ConfigMap
    C(<name>-galera-state) that the cluster has O(size) nodes, so that nobody waits any more for those that have left.
  - May be killed at any moment and run again, it goes on where it was.
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
      - Says in RV(did) what would be done, and does not wait. Nodes of which O(documents) want another form than the
        StatefulSet has count as such that would be replaced, because M(stateful.galera.cluster) would have applied it.
  diff_mode:
    support: none
    details:
      - RV(did) says what was done.
  idempotent:
    support: partial
    details:
      - Without O(restart), a second run does nothing. With it, each run is a restart of its own, unless O(restart_id)
        names one that was made.
options:
  size:
    description:
      - Number of nodes of the cluster.
    type: int
    required: true
  documents:
    description:
      - YAML text of the StatefulSet of the nodes, for its update strategy, which it gets back when all nodes have its
        form; nothing else of it is applied. With O(restart=true) the nodes must have the form that it wants already.
      - Other documents are not used.
    type: list
    elements: str
    default: []
  restart:
    description:
      - Whether to restart all nodes.
      - Refused, with nothing changed, when the cluster is not healthy, or when O(documents) want another form of the
        nodes than the StatefulSet has, which is for M(stateful.galera.cluster) to apply.
      - A restart that was not finished goes on.
    type: bool
    default: false
  restart_id:
    description:
      - A name for the restart, for example the date of a maintenance. A restart of this name that was made is not made
        again. Empty, each run makes a new one.
    type: str
    default: ''
  keep_lease:
    description:
      - Whether the Lease C(<name>-galera-site) stays with the play when the module ends, for tasks that follow and end
        with one that gives it back. Without an error only.
    type: bool
    default: false
  wait_timeout:
    description:
      - Seconds to wait at most for one node, and for the cluster at the end. When they are over, the module fails and
        says what it waited for and what it last saw.
seealso:
  - module: stateful.galera.cluster
  - module: stateful.galera.wsrep_info
author:
  - stateful.galera maintainers (@stateful)
"""

EXAMPLES = r"""
- name: Restart the nodes one by one
  stateful.galera.rollout:
    name: tier1
    namespace: web
    size: 3
    restart: true
    restart_id: "2026-11-21"
"""

RETURN = r"""
did:
  description: What was done, a sentence for each step; in check mode what would be done. Empty when nothing was.
  type: list
  elements: str
  returned: success
  sample:
    - "Stopped tier1-galera-2: All others are Synced."
restart_id:
  description: Name of the restart that was made or found.
  type: str
  returned: when restart is true
  sample: "2026-11-21"
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
  sample: 60
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stateful.galera.plugins.module_utils._argspec import WAIT_SPEC, argument_spec, run, target
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._kinds import Document, read_document
from ansible_collections.stateful.galera.plugins.module_utils._roller import Roller
from ansible_collections.stateful.galera.plugins.module_utils._site_lease import SiteLease

ROLLOUT_SPEC: dict[str, t.Any] = {
    "size": {"type": "int", "required": True},
    "documents": {"type": "list", "elements": "str", "default": []},
    "restart": {"type": "bool", "default": False},
    "restart_id": {"type": "str", "default": ""},
    "keep_lease": {"type": "bool", "default": False},
}


def nodes_document(texts: t.Sequence[str], name: str, namespace: str) -> Document | None:
    """The StatefulSet of this name among YAML texts. Raises GaleraError for a text that is no object."""
    documents = [read_document(text, "nodes", namespace) for text in texts]
    return next((each for each in documents if each.key == ("StatefulSet", name)), None)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Roll, then wait until the cluster serves. Raises GaleraError."""
    params, names = module.params, target(module)
    document = nodes_document(params["documents"], names.nodes, names.namespace)
    client = Client(params, params["wait_timeout"], met=not params["restart"])
    lease = SiteLease(client, names)
    roller = Roller(client, names, params["size"], params["wait_timeout"], lease, document)
    if module.check_mode:
        return roller.rehearse(params["restart"], params["restart_id"])
    keep = False
    try:
        lease.adopt()
        result = roller.run(params["restart"], params["restart_id"])
        keep = params["keep_lease"]
    finally:
        lease.leave(keep)
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(WAIT_SPEC, ROLLOUT_SPEC), supports_check_mode=True)
    run(module, work)


if __name__ == "__main__":
    main()
