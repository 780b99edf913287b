# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends a playbook as a machine that fails would: with all that it started, at once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a run and everything that it started; workers of Ansible have sessions of their own."""
    family = [process.pid]
    for pid in family:
        family += children(pid)
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def children(parent: int) -> list[int]:
    """Return the processes whose parent this is."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found
