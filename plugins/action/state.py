# SPDX-License-Identifier: GPL-3.0-or-later
"""The action stateful.galera.state: the module of that name, in the process of the play where that is the same."""

from __future__ import annotations

from ansible_collections.stateful.galera.plugins.module_utils._argspec import argument_spec
from ansible_collections.stateful.galera.plugins.modules import state
from ansible_collections.stateful.galera.plugins.plugin_utils._in_process import InProcessAction


class ActionModule(InProcessAction):
    """Writes into the ConfigMap of a cluster's state."""

    work = staticmethod(state.work)
    argument_spec = argument_spec(state.STATE_SPEC)
