# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asks for: the command that does it, and what it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Waiting:
    """The request that waits, why, until when at most it is not tried again, and what the world looked like then."""

    request: object
    why: str
    until: float
    view: object


def command_of(request: Mapping[str, Any]) -> list[str] | None:
    """The command for a request, None where it asks for nothing that there is."""
    kind, name = request.get("kind") or "auto", request.get("name") or "latest"
    if request.get("action") == "backup" and kind in ("auto", "full", "incremental"):
        return ["tick", "--kind", str(kind)]
    if request.get("action") == "verify" and isinstance(name, str) and not name.startswith("-"):
        return ["verify", name]
    return None
