# SPDX-License-Identifier: GPL-3.0-or-later
"""The action stateful.galera.seed: the module of that name, in the process of the play where that is the same."""

from __future__ import annotations

from ansible_collections.stateful.galera.plugins.module_utils._argspec import WAIT_SPEC, argument_spec
from ansible_collections.stateful.galera.plugins.modules import seed
from ansible_collections.stateful.galera.plugins.plugin_utils._in_process import InProcessAction


class ActionModule(InProcessAction):
    """Starts or decommissions the seed."""

    work = staticmethod(seed.work)
    argument_spec = argument_spec(WAIT_SPEC, seed.SEED_SPEC)
