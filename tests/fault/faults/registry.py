# SPDX-License-Identifier: GPL-3.0-or-later
"""All faults by name, in the order in which they are listed."""

from __future__ import annotations

from fault.faults import disks, machines, network, pods, processes, services, volumes
from fault.world import Fault

_MODULES = (processes, pods, network, machines, volumes, disks, services)
FAULTS: dict[str, Fault] = {fault.name: fault() for module in _MODULES for fault in module.FAULTS}


def describe() -> str:
    """A line for each fault."""
    width = max(map(len, FAULTS))
    return "\n".join(f"{name:{width}}  {(fault.__doc__ or '').splitlines()[0]}" for name, fault in FAULTS.items())
