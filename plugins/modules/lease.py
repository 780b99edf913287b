#!/usr/bin/python
# Copyright (c) stateful.galera maintainers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hold or give back the Lease of the one run that may change a Galera cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lease
short_description: Let one play at a time change a Galera cluster
version_added: 1.0.0
description:
  - Takes or gives back the Lease C(<name>-galera-site) for the play, for tasks that are no modules of this collection.
    M(stateful.galera.cluster), M(stateful.galera.seed) and M(stateful.galera.rollout) take it themselves.
  - The holder is the ansible-playbook process. Another play fails here with the name of the holder and since when,
    unless the holder is known to be dead or has not renewed the Lease for its duration.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - stateful.galera.attributes
  - stateful.galera.attributes.actiongroup_galera
  - stateful.galera.target
attributes:
  check_mode:
    support: full
    details:
      - Takes and gives back nothing.
  diff_mode:
    support: none
    details:
      - The Lease is a lock, no content.
  idempotent:
    support: full
options:
  state:
    description:
      - V(held), the play holds the Lease. V(released), it does not.
    type: str
    choices: [held, released]
    required: true
  duration:
    description:
      - Seconds for which the Lease holds without being renewed. Nothing renews it between the tasks of the play, so it
        must be longer than the tasks that follow.
    type: int
    default: 15
seealso:
  - module: stateful.galera.cluster
  - module: stateful.galera.rollout
author:
  - stateful.galera maintainers (@stateful)
"""

EXAMPLES = r"""
- name: Let no other play change the cluster for ten minutes
  stateful.galera.lease:
    name: tier1
    namespace: web
    state: held
    duration: 600
"""

RETURN = r"""
held:
  description: Whether the play holds the Lease now.
  type: bool
  returned: success
  sample: true
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stateful.galera.plugins.module_utils._argspec import argument_spec, run, target
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._site_lease import (
    DURATION_SECONDS,
    NoNamespaceError,
    SiteLease,
)

LEASE_SPEC: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["held", "released"], "required": True},
    "duration": {"type": "int", "default": DURATION_SECONDS},
}


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Take the Lease or give it back. Raises GaleraError."""
    params, names = module.params, target(module)
    if params["duration"] < DURATION_SECONDS:
        raise GaleraError(
            f"duration={params['duration']} is too short: at least {DURATION_SECONDS} seconds are needed."
        )
    client = Client(params)
    holds = params["state"] == "held"
    lease = SiteLease(client, names, params["duration"])
    held = False
    if not module.check_mode:
        try:
            lease.take() if holds else lease.adopt()
            held = holds
        except NoNamespaceError:
            module.warn(f"The namespace {names.namespace} does not exist: there is nothing to guard.")
        lease.leave(keep=holds)
    return {"changed": False, "held": held}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(LEASE_SPEC), supports_check_mode=True)
    run(module, work)


if __name__ == "__main__":
    main()
