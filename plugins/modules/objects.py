#!/usr/bin/python
# Copyright (c) stateful.galera maintainers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the Kubernetes objects of a Galera cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: objects
short_description: Read the Kubernetes objects of a Galera cluster
version_added: 1.0.0
description:
  - Reads all objects of some kinds that bear the labels C(app.kubernetes.io/name=galera) and
    C(app.kubernetes.io/instance=<name>), in one moment and with one request a kind.
  - Where the namespace does not exist there are none.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - stateful.galera.attributes
  - stateful.galera.attributes.actiongroup_galera
  - stateful.galera.target
attributes:
  check_mode:
    support: full
    details:
      - Changes nothing.
  diff_mode:
    support: none
    details:
      - Changes nothing.
  idempotent:
    support: full
options:
  kinds:
    description:
      - The kinds to read.
    type: list
    elements: str
    choices: [ConfigMap, PersistentVolumeClaim, StatefulSet]
    required: true
seealso:
  - module: stateful.galera.cluster
  - module: kubernetes.core.k8s_info
author:
  - stateful.galera maintainers (@stateful)
"""

EXAMPLES = r"""
- name: See the claims of the cluster
  stateful.galera.objects:
    name: tier1
    namespace: web
    kinds: [PersistentVolumeClaim]
  register: seen

- name: Show their names
  ansible.builtin.debug:
    msg: "{{ seen.objects.PersistentVolumeClaim | map(attribute='metadata.name') }}"
"""

RETURN = r"""
objects:
  description: For each kind that was asked for its objects, sorted by name, as the API server gives them.
  type: dict
  returned: success
  sample:
    PersistentVolumeClaim:
      - apiVersion: v1
        kind: PersistentVolumeClaim
        metadata: {name: data-tier1-galera-0, namespace: web}
"""

import functools
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stateful.galera.plugins.module_utils._argspec import argument_spec, run, target
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS

OBJECTS_SPEC: dict[str, t.Any] = {
    "kinds": {
        "type": "list",
        "elements": "str",
        "choices": ["ConfigMap", "PersistentVolumeClaim", "StatefulSet"],
        "required": True,
    },
}


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the objects. Raises GaleraError."""
    params, names = module.params, target(module)
    client, selector = Client(params), f"app.kubernetes.io/name=galera,{names.selector}"
    reads = [
        functools.partial(client.list_all, KINDS[kind], names.namespace, labelSelector=selector)
        for kind in params["kinds"]
    ]
    found = zip(params["kinds"], client.all_of(reads), strict=True)
    return {
        "changed": False,
        "objects": {kind: sorted(each, key=lambda one: str(one["metadata"]["name"])) for kind, each in found},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(OBJECTS_SPEC), supports_check_mode=True)
    run(module, work)


if __name__ == "__main__":
    main()
