# SPDX-License-Identifier: GPL-3.0-or-later
"""What trial restores have found since the targets were looked at before. Pure.

They run in Jobs of a play or a CronJob, which leave their verdict beside the backup and know nothing of Events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Verdict(NamedTuple):
    """name: of the backup; target: where it lies; passed: whether it was found right."""

    name: str
    target: str
    passed: bool

    def __str__(self) -> str:
        found = "right" if self.passed else "wrong, its verification.json says why"
        return f"{self.name} in {self.target} was restored on trial and found {found}"


def fresh(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Verdict]:
    """The verdicts on backups that were known before, and had another one or none.

    before, after: the `catalog` of what GET /backups tells; {} where nothing is known, which makes none fresh.
    """
    known = _verdicts(before)
    found = _verdicts(after)
    return [
        Verdict(name, target, passed)
        for (target, name), passed in found.items()
        if passed is not None and (target, name) in known and known[target, name] != passed
    ]


def _verdicts(catalog: Mapping[str, Any]) -> dict[tuple[str, str], bool | None]:
    """By target and name; none of a document of another form, as an agent of another version may have published it."""
    try:
        return {
            (target["target"], one["name"]): one["verified"]
            for target in catalog.get("targets") or []
            for one in target["backups"]
        }
    except (AttributeError, KeyError, TypeError):
        return {}
