# SPDX-License-Identifier: GPL-3.0-or-later
"""The action stateful.galera.rollout: the module of that name, in the process of the play where that is the same."""

from __future__ import annotations

from ansible_collections.stateful.galera.plugins.module_utils._argspec import WAIT_SPEC, argument_spec
from ansible_collections.stateful.galera.plugins.modules import rollout
from ansible_collections.stateful.galera.plugins.plugin_utils._in_process import InProcessAction


class ActionModule(InProcessAction):
    """Brings a change to the nodes, one by one."""

    work = staticmethod(rollout.work)
    argument_spec = argument_spec(WAIT_SPEC, rollout.ROLLOUT_SPEC)
