# SPDX-License-Identifier: GPL-3.0-or-later
"""State transfers of this pod: the script of one, and all that it started, hold a lock from beginning to end.

sst_env.sh takes it; it ends with the last of these processes, however that ends, so it cannot outlive a transfer.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Literal

Role = Literal["donor", "joiner"]


def running(rundir: Path, role: Role) -> bool | None:
    """Whether a script of a state transfer runs in this role; None where none ever ran, so nothing is known of it.

    Raises OSError where the file of the lock cannot be opened.
    """
    try:
        with (rundir / f"sst.{role}").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return True
    return False
