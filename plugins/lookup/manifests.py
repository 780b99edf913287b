# Copyright (c) stateful.galera maintainers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup stateful.galera.manifests: manifests of a cluster, rendered."""

from __future__ import annotations

DOCUMENTATION = r"""
name: manifests
short_description: Render manifests of a Galera cluster
version_added: 1.0.0
author: stateful.galera maintainers (@stateful)
description:
  - Renders the templates of the collection with the values that the role P(stateful.galera.galera#role) gives.
  - One call for several sets is much faster than one call for each, as a value is then worked out once.
  - It runs on the controller and asks nothing of Kubernetes.
options:
  _terms:
    description:
      - Names of sets of manifests, for example V(namespace), V(volumes), V(seed), V(nodes) or V(haproxy).
      - The variable C(__galera_templates) of the role P(stateful.galera.galera#role) holds the templates of each set.
    type: list
    elements: str
    required: true
seealso:
  - module: stateful.galera.cluster
  - module: stateful.galera.manifest_files
"""

EXAMPLES = r"""
- name: Apply the nodes of the cluster of the inventory
  stateful.galera.cluster:
    name: "{{ galera_cluster_name }}"
    namespace: "{{ galera_cluster_namespace }}"
    size: 3
    phases: "{{ query('stateful.galera.manifests', 'nodes') }}"
"""

RETURN = r"""
_list:
  description: One dictionary a set, in the order of the terms.
  type: list
  elements: dict
  contains:
    name:
      description: The name of the set.
      type: str
      sample: nodes
    documents:
      description: YAML texts of one Kubernetes object each, in the order in which they are applied.
      type: list
      elements: str
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.stateful.galera.plugins.plugin_utils._manifests import SETS, Manifests


class LookupModule(LookupBase):
    """Renders sets of templates."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return {"name", "documents"} for each set named in terms. Raises AnsibleError for an unknown one."""
        self.set_options(var_options=variables, direct=kwargs)
        manifests = Manifests(self._templar, variables or {})
        known = manifests.value(SETS)
        for term in terms:
            if term not in known:
                raise AnsibleError(f"{term} is not a set of manifests, there are: {', '.join(known)}.")
        return [{"name": str(term), "documents": manifests.documents(term)} for term in terms]
