#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action stateful.galera.manifest_files, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: manifest_files
short_description: Write the manifests of a Galera cluster to files
version_added: 1.0.0
author: stateful.galera maintainers (@stateful)
description:
  - Renders the templates of the collection with the values that the role P(stateful.galera.galera#role) gives, and
    writes them on the controller. The bytes are those that M(stateful.galera.cluster) sends.
  - Files that are as they must be are not touched. A file is replaced at once, so that a run that is killed leaves the
    old one or the new one.
  - It asks nothing of Kubernetes.
options:
  folder:
    description:
      - Where the files go. A folder that does not exist is made, with the mode V(0755).
    type: path
    required: true
  files:
    description:
      - The files. One without a document is not written.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the file in O(folder).
        type: str
        required: true
      manifests:
        description:
          - The sets of manifests in it, in order. P(stateful.galera.manifests#lookup) tells what a set is.
        type: list
        elements: str
        required: true
      values:
        description:
          - Values that take the place of normalised variables in this file, such as C(__galera_backup).
        type: dict
        default: {}
      private:
        description:
          - Whether the file may hold passwords. Its mode is then V(0600) instead of V(0644), and it is in no diff.
        type: bool
        default: false
attributes:
  action:
    description: Implemented as an action plugin that runs on the controller.
    support: full
  async:
    description: Supports the C(async) keyword.
    support: none
  check_mode:
    description: Tells what would be written and writes nothing.
    support: full
  diff_mode:
    description: Shows the difference of each file, apart from those that are O(files[].private).
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
seealso:
  - plugin: stateful.galera.manifests
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Write the manifests of the nodes
  stateful.galera.manifest_files:
    folder: "{{ inventory_dir }}"
    files:
      - {name: galera-3-volumes.yml, manifests: [volumes, secret], private: true}
      - {name: galera-3-nodes.yml, manifests: [nodes]}
"""

RETURN = r"""
files:
  description: The files, in their order, without those that hold no document.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The path of the file.
      type: str
      sample: /srv/inventories/tier1/galera-3-nodes.yml
    result:
      description: V(created), V(changed) or V(unchanged).
      type: str
      sample: unchanged
"""
