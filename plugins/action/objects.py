# SPDX-License-Identifier: GPL-3.0-or-later
"""The action stateful.galera.objects: the module of that name, in the process of the play where that is the same."""

from __future__ import annotations

from ansible_collections.stateful.galera.plugins.module_utils._argspec import argument_spec
from ansible_collections.stateful.galera.plugins.modules import objects
from ansible_collections.stateful.galera.plugins.plugin_utils._in_process import InProcessAction


class ActionModule(InProcessAction):
    """Reads the objects of a cluster."""

    work = staticmethod(objects.work)
    argument_spec = argument_spec(objects.OBJECTS_SPEC)
