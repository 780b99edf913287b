# SPDX-License-Identifier: GPL-3.0-or-later
"""Who had to bootstrap: the judgement of somebody who has looked into all volumes. No I/O.

Written from the rules in docs and design, not from the agent's code, so that the two can disagree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ZERO = "00000000-0000-0000-0000-000000000000"
_POSITION = re.compile(r"Recovered position:?\s*([0-9a-f-]{36}):(-?\d+)", re.IGNORECASE)
# What the agent says when it starts a server as the first of a primary component; others may quote it
_BOOTSTRAP = re.compile(r"^\S+ starting: bootstraps: (?P<reason>.*)", re.MULTILINE)


@dataclass(frozen=True)
class Volume:
    """What one volume held while no server ran: uuid and seqno, or why there are none."""

    uuid: str | None
    seqno: int | None
    trouble: str = ""

    @property
    def whole(self) -> bool:
        """Whether it holds data with a position."""
        return self.uuid not in (None, ZERO) and self.seqno is not None and self.seqno >= 0 and not self.trouble


@dataclass(frozen=True)
class Verdict:
    """What was right (pods that may bootstrap, empty for "nobody"), what happened, and whether the two agree."""

    right: tuple[str, ...]
    chosen: tuple[str, ...]
    agrees: bool
    why: str


def recovered(log: str, partial: bool) -> Volume:
    """What `mariadbd --wsrep-recover` printed about a volume; partial is whether a transfer had left it half full."""
    if partial:
        return Volume(None, None, "a state transfer did not end")
    found = _POSITION.findall(log)
    if not found:
        return Volume(None, None, "no position: " + (log.strip().splitlines() or ["nothing printed"])[-1][:200])
    uuid, seqno = found[-1]
    return Volume(uuid.lower(), int(seqno))


def bootstraps(agent_log: str) -> list[str]:
    """The reasons of all bootstraps that an agent's log tells of."""
    return [match["reason"].strip() for match in _BOOTSTRAP.finditer(agent_log)]


def right_ones(volumes: Mapping[str, Volume]) -> tuple[tuple[str, ...], str]:
    """The pods that may bootstrap, lowest ordinal first, and why."""
    whole = {pod: volume for pod, volume in volumes.items() if volume.whole}
    if not whole:
        return (), "no volume holds data with a position"
    uuids = {volume.uuid for volume in whole.values()}
    if len(uuids) > 1:
        return (), f"the volumes hold {len(uuids)} clusters"
    most = max(volume.seqno or 0 for volume in whole.values())
    able = sorted(pod for pod, volume in whole.items() if volume.seqno == most)
    return tuple(able), f"seqno {most} is the highest of " + ", ".join(
        f"{pod}:{volume.seqno if volume.whole else volume.trouble or 'zero'}" for pod, volume in sorted(volumes.items())
    )


def judge(volumes: Mapping[str, Volume], chosen: Sequence[str]) -> Verdict:
    """Hold the pods that did bootstrap against those that might: exactly one, and the lowest ordinal among equals."""
    right, why = right_ones(volumes)
    agrees = list(chosen) == list(right[:1])
    return Verdict(right[:1], tuple(chosen), agrees, why)
