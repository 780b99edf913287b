# SPDX-License-Identifier: GPL-3.0-or-later
"""Which agent makes the backups: the one that holds the Lease `<cluster>-galera-backup`, by preference the last node's.

The last node is the one that the proxies send writes to last. A leader that works is not replaced by a better one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ..lease import DURATION_SECONDS, RENEW_SECONDS
from ..members import Lease

# Well before anybody else may take the Lease, which is when it stood still for its whole duration.
LOST_SECONDS = DURATION_SECONDS * 2 / 3

# So long the Lease is left to a better node. One that has not taken it then, because its agent does not reach the API
# server, is passed over for a while.
OFFER_SECONDS, PASSED_SECONDS = 30.0, 3600.0


class Step(Enum):
    """What to do with the Lease."""

    WAIT = "wait"
    TAKE = "take"
    RENEW = "renew"
    GIVE_BACK = "give back"


@dataclass(frozen=True)
class View:
    """What decides. unfit: why this node must take no backup, empty where it may. busy: it takes one just now.

    better: the node with a higher ordinal that could, None where there is none.
    """

    held: bool
    lease: Lease | None
    unfit: str
    busy: bool
    better: str | None


def decide(view: View) -> tuple[Step, str]:
    """What to do, and why."""
    if view.held:
        if view.busy:
            return Step.RENEW, "a backup is being taken"
        if view.unfit:
            return Step.GIVE_BACK, view.unfit
        if view.better is not None:
            return Step.GIVE_BACK, f"{view.better} is further back and can take over"
        return Step.RENEW, "leads"
    if view.lease is not None and view.lease.holder and not view.lease.expired:
        return Step.WAIT, f"{view.lease.holder} leads"
    if view.unfit:
        return Step.WAIT, view.unfit
    if view.better is not None:
        return Step.WAIT, f"leaves it to {view.better}"
    return Step.TAKE, "nobody leads"


class Holder(Protocol):
    """The part of a Lease that is needed here (lease.BootstrapLease)."""

    held: bool

    def read(self) -> Lease | None:
        """Read it."""

    def take(self) -> bool:
        """Take or renew it."""

    def give_back(self) -> None:
        """Empty it."""


class Leader:
    """Keeps the Lease in rounds. Its owner stops what it does as soon as `leads` is false."""

    def __init__(
        self,
        lease: Holder,
        better: Callable[[], str | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lease, self._better, self._clock = lease, better, clock
        self._round_at = self._held_at = float("-inf")
        self._offered: tuple[str | None, float] = None, float("-inf")
        self._passed: tuple[str | None, float] = None, float("-inf")
        self.holder: str | None = None
        self.reason = "has not looked yet"

    @property
    def leads(self) -> bool:
        """Whether this pod certainly holds the Lease: it was renewed a moment ago."""
        return self._clock() - self._held_at < LOST_SECONDS

    def round(self, unfit: str, busy: bool, ready: Callable[[], bool] = lambda: True) -> None:
        """Look at the Lease and do what is due; at most as often as a Lease is renewed. Raises ApiError.

        ready: whether the Lease may go to a better node now; asked only then, and again until it may.
        """
        began = self._clock()
        if began - self._round_at < RENEW_SECONDS:
            return
        self._round_at = began
        lease = self._lease.read()
        self.holder = lease.holder if lease is not None and lease.holder and not lease.expired else None
        free = self._lease.held or self.holder is None
        better = self._willing(self._better() if free and not busy and not unfit else None, began)
        step, self.reason = decide(View(self._lease.held, lease, unfit, busy, better))
        if step is Step.GIVE_BACK and not unfit and not ready():
            step, self.reason = Step.RENEW, f"{self.reason}, once this is done here"
        if not self._lease.held:
            # Somebody else has it: there is nothing to hold on to until the old renewal is out of date.
            self._held_at = float("-inf")
        if step in (Step.TAKE, Step.RENEW):
            # From before the call: that is when the others begin to count at the earliest.
            self._held_at = began if self._lease.take() else float("-inf")
        elif step is Step.GIVE_BACK:
            self.resign()

    def _willing(self, better: str | None, now: float) -> str | None:
        """The better node, unless it has let the Lease pass."""
        if better is None or self._lease.held or better != self._offered[0]:
            self._offered = better, now
        elif now - self._offered[1] >= OFFER_SECONDS:
            self._passed = better, now
        pod, since = self._passed
        return None if better == pod and now - since < PASSED_SECONDS else better

    def resign(self) -> None:
        """Give the Lease back, where it is held. Raises ApiError."""
        self._held_at = float("-inf")
        self._lease.give_back()
