# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that name the cluster, and those of waiting."""

from __future__ import annotations


class ModuleDocFragment:
    """Options that the modules have in common."""

    DOCUMENTATION = r"""
options:
  name:
    description:
      - Name of the Galera cluster; its objects are named after it, C(<name>-galera) and so on.
      - A DNS label, at most 63 lower-case letters, digits and hyphens.
    type: str
    required: true
  namespace:
    description:
      - Kubernetes namespace of the cluster.
    type: str
    required: true
requirements:
  - "python >= 3.11"
  - "kubernetes >= 24.2.0"
  - "PyYAML >= 3.11"
"""

    WAIT = r"""
options:
  wait_timeout:
    description:
      - Seconds to wait at most. When they are over, the module fails and says what it waited for and what it last saw.
    type: int
    default: 600
"""
