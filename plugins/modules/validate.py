#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action stateful.galera.validate, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: validate
short_description: Check the inventory variables of a Galera cluster
version_added: 1.0.0
author: stateful.galera maintainers (@stateful)
description:
  - Checks every variable that begins with C(galera_) for the current host against the argument spec of the role
    P(stateful.galera.galera#role), the formats of Kubernetes and MariaDB, and the other variables.
  - An unknown variable is an error, and the nearest known name is given.
  - All problems are told in one message, one line each. The value of a password is never shown.
  - It runs on the controller, changes nothing and asks nothing of Kubernetes.
options: {}
attributes:
  action:
    description: Implemented as an action plugin that runs on the controller.
    support: full
  async:
    description: Supports the C(async) keyword.
    support: none
  check_mode:
    description: Does the same in check mode, as it changes nothing.
    support: full
  diff_mode:
    description: Returns no differences, as it changes nothing.
    support: none
  idempotent:
    description: A second run returns the same.
    support: full
seealso:
  - module: stateful.galera.cluster
  - module: stateful.galera.wsrep_info
"""

EXAMPLES = r"""
- name: Check every variable of the inventory
  stateful.galera.validate:
"""

RETURN = r"""
msg:
  description: What is wrong, one line a problem, each beginning with the variable; sorted by variable.
  returned: failure
  type: str
  sample: galera_cluster_size is 2.5, but must be a whole number of nodes from 1 to 99.
"""
