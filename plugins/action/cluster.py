# SPDX-License-Identifier: GPL-3.0-or-later
"""The action stateful.galera.cluster: the module of that name, in the process of the play where that is the same."""

from __future__ import annotations

from ansible_collections.stateful.galera.plugins.module_utils._argspec import argument_spec
from ansible_collections.stateful.galera.plugins.modules import cluster
from ansible_collections.stateful.galera.plugins.plugin_utils._in_process import InProcessAction


class ActionModule(InProcessAction):
    """Applies the manifests of a cluster."""

    work = staticmethod(cluster.work)
    argument_spec = argument_spec(cluster.CLUSTER_SPEC)
