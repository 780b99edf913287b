# SPDX-License-Identifier: GPL-3.0-or-later
"""The action stateful.galera.restore: the module of that name, in the process of the play, so that its log is seen."""

from __future__ import annotations

from ansible_collections.stateful.galera.plugins.module_utils._argspec import argument_spec
from ansible_collections.stateful.galera.plugins.modules import restore
from ansible_collections.stateful.galera.plugins.plugin_utils._in_process import InProcessAction


class ActionModule(InProcessAction):
    """Runs the Job of a restore."""

    work = staticmethod(restore.work)
    argument_spec = argument_spec(restore.RESTORE_SPEC)
