# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agent's threads share: the phase of the server, its last answer and the evidence of its volume."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import __version__, wsrep
from .datadir import NOTHING_KNOWN, Evidence
from .members import Offer, Record

LIVE_SECONDS = 60.0
# As long for one that only says that it has no connection left. The proxies have let go of it, and one that works has
# an extra one for the agent: after such a time those that there are hang.
FULL_SECONDS = 300.0
# How long a desynced server keeps the sessions that it has: longer than a backup's lock, too short to fall far behind.
DESYNCED_SECONDS = 10.0
# Of the evidence in /status: raised whenever an older agent would misread it. Elections need one format, joins do not.
FORMAT = 1
PHASES = ("waiting", "refused", "initialising", "filling", "starting", "running", "stopped")
# Names of backups that one agent vouches for at most; older ones are left out
_VOUCHED = 30


@dataclass(frozen=True)
class Snapshot:
    """The state at one moment.

    evidence: of the volume, as long as its server is stopped; once the server runs, its own word counts.
    answered_at: monotonic time of the server's last answer, of which wsrep is the content, None where it turned the
    agent away; None before the first one. full: whether all that it says is that it has no connection left.
    desynced_at: monotonic time since which it has been Donor/Desynced, None where it is not.
    draining_at: monotonic time since which the pod takes no queries.
    offer: what a human may consent to, where nothing else goes on. record: what a server in service knows of it.
    outside: what a server outside the primary component waits for, where it does not come back by itself.
    vouches: names of backups, oldest first, of which the running server's data are certainly a continuation: they were
    taken from it, or from members of its primary component, while it was in that without interruption. The uuid does
    not tell: a cluster that was continued without its most advanced volume keeps it.
    """

    phase: str = "stopped"
    reason: str = "the database container has not reported yet"
    evidence: Evidence = NOTHING_KNOWN
    wsrep: wsrep.Status | None = None
    server_version: str | None = None
    answered_at: float | None = None
    full: bool = False
    desynced_at: float | None = None
    draining_at: float | None = None
    offer: Offer | None = None
    outside: str = ""
    record: Record | None = None
    vouches: tuple[str, ...] = ()


class State:
    """The shared state; each change is one step, each reader gets a whole snapshot."""

    def __init__(self, log: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._lock = threading.Lock()
        self._now = Snapshot()
        self._stay = 0

    @property
    def now(self) -> Snapshot:
        """The state at this moment."""
        return self._now

    @property
    def stay(self) -> int:
        """Number of the server's stay in the primary component: another one whenever it may have left it."""
        return self._stay

    def vouch(self, stay: int, names: Iterable[str]) -> None:
        """Vouch for backups that the server's data have grown out of, unless that stay is over."""
        with self._lock:
            if stay == self._stay:
                known = sorted({*self._now.vouches, *names})
                self._now = replace(self._now, vouches=tuple(known[-_VOUCHED:]))

    def age(self, snapshot: Snapshot) -> float | None:
        """Seconds since the server's last answer."""
        return None if snapshot.answered_at is None else self._clock() - snapshot.answered_at

    def set(self, phase: str, reason: str, offer: Offer | None = None) -> None:
        """Enter a phase, or stay in it for another reason."""
        self._change(phase=phase, reason=reason, offer=offer)

    def stay_outside(self, reason: str, offer: Offer | None) -> None:
        """Tell what a server outside the primary component waits for ("": it comes back by itself), and any offer."""
        if self._now.phase == "running":
            self._change(outside=reason, offer=offer)

    def know(self, record: Record | None) -> None:
        """Tell the others the record, for times when they cannot read it."""
        if record != self._now.record:
            self._change(record=record)

    def begin(self) -> None:
        """The database container has started: nothing that was known of its server holds any more."""
        with self._lock:
            self._stay += 1
            self._now = Snapshot("starting", "finds the position of its volume")

    def testify(self, evidence: Evidence) -> None:
        """Evidence of the volume from this start of the container."""
        self._change(evidence=evidence)

    def executed(self, reason: str) -> None:
        """The server was told to start: what the volume held is history from here on."""
        self._change(
            phase="starting", reason=reason, offer=None, evidence=Evidence("unknown", note="its server is starting")
        )

    def drain(self) -> None:
        """Take no more queries."""
        if self._now.draining_at is None:
            self._change(draining_at=self._clock(), reason="draining: the pod is about to stop")

    def heard(self, status: wsrep.Status | None, version: str | None, problem: str, present: bool) -> None:
        """Note the outcome of a poll: an answer, or the problem; present is whether something listens at the socket."""
        if (status is None and not present) or (status is not None and not status.primary):
            self._leave()
        if status is not None and self._now.phase in ("starting", "running", "stopped"):
            outside = "" if status.primary else self._now.outside
            told = _state_of(status) + (f": {outside}" if outside else "")
            reason = self._now.reason if self._now.draining_at else told
            now = self._clock()
            self._change(
                phase="running",
                outside=outside,
                offer=self._now.offer if outside else None,
                reason=reason,
                wsrep=status,
                server_version=version,
                answered_at=now,
                full=False,
                desynced_at=(self._now.desynced_at or now) if status.local_state == wsrep.DONOR else None,
            )
        elif self._now.phase == "running":
            # What it said before is of no use to anybody: a server that has just died was Primary until then.
            phase, what = ("running", "does not answer") if present else ("stopped", "has stopped")
            self._change(phase=phase, reason=f"mariadbd {what}: {problem}", wsrep=None, full=False, desynced_at=None)

    def turned_away(self, problem: str, *, full: bool = False) -> None:
        """The server answered that it does not let the agent in: it lives, but nothing else is known of it.

        full: it has no connection left, which counts as life for a while.
        """
        if self._now.phase in ("starting", "running", "stopped"):
            reason = f"mariadbd runs, but turns the agent away, which comes as mysql@localhost: {problem}"
            if self._now.draining_at is not None:
                reason = self._now.reason
            before = self._now.answered_at
            answered_at = before if full and before is not None else self._clock()
            self._change(
                phase="running", reason=reason, wsrep=None, full=full, desynced_at=None, answered_at=answered_at
            )

    def not_ready(self) -> str | None:
        """Why the pod must get no queries, None where it may get them."""
        snapshot = self._now
        if snapshot.phase != "running":
            return f"{snapshot.phase}: {snapshot.reason}"
        if snapshot.draining_at is not None:
            return "draining: the pod is about to stop"
        if snapshot.wsrep is None:
            return snapshot.reason
        return wsrep.not_ready(snapshot.wsrep, self.age(snapshot))

    def keeps_sessions(self) -> bool:
        """Whether those that have a session may go on with it, although the pod gets no new ones.

        So it is while a healthy server drains, and in the first seconds after it has left the flow control of its
        group: each backup makes it do so for the length of a lock, and to lose the sessions would cost more than to
        read from a server that lags by so little.
        """
        snapshot = self._now
        if snapshot.phase != "running":
            return False
        if snapshot.desynced_at is not None and self._clock() - snapshot.desynced_at >= DESYNCED_SECONDS:
            return False
        return wsrep.not_ready(snapshot.wsrep, self.age(snapshot), states=(wsrep.SYNCED, wsrep.DONOR)) is None

    def dead(self) -> str | None:
        """Why the server must be restarted: it ran and was silent for a minute. Starts and transfers are never dead."""
        snapshot = self._now
        age = self.age(snapshot)
        limit = FULL_SECONDS if snapshot.full else LIVE_SECONDS
        if snapshot.phase != "running" or age is None or age < limit:
            return None
        return f"mariadbd has not answered for {age:.0f} s: {snapshot.reason}"

    def _leave(self) -> None:
        """The server is not in the primary component: what comes after may be of another history."""
        with self._lock:
            self._stay += 1
            self._now = replace(self._now, vouches=())

    def _change(self, **changes: Any) -> None:
        with self._lock:
            before, self._now = self._now, replace(self._now, **changes)
            after = self._now
        if (before.phase, before.reason) != (after.phase, after.reason):
            self._log(f"{after.phase}: {after.reason}")


def fresh(snapshot: Snapshot, age: float | None) -> wsrep.Status | None:
    """What the running server said less than a second ago; None where it said nothing. age: as State.age tells it."""
    answered = snapshot.phase == "running" and age is not None and age < wsrep.FRESH_SECONDS
    return snapshot.wsrep if answered else None


def report(snapshot: Snapshot, age: float | None, pod: str, role: str, namespace: str | None = None) -> dict[str, Any]:
    """The content of /status.

    In every format there are, because agents of other versions join by them: pod, phase, age_seconds, and of wsrep
    cluster_status, cluster_state_uuid, cluster_size, local_state, local_recv_queue and last_committed.
    """
    evidence, record = snapshot.evidence, snapshot.record
    if snapshot.phase == "running" and snapshot.wsrep is not None:
        seqno = snapshot.wsrep.last_committed
        evidence = Evidence("present", snapshot.wsrep.uuid, seqno if seqno >= 0 else None)
    return {
        "pod": pod,
        "namespace": namespace,
        "role": role,
        "phase": snapshot.phase,
        "reason": snapshot.reason,
        "agent_version": __version__,
        "format": FORMAT,
        "evidence": {
            "data": evidence.data,
            "uuid": evidence.uuid,
            "seqno": evidence.seqno,
            **({"note": evidence.note} if evidence.note else {}),
        },
        "wsrep": None if snapshot.wsrep is None else snapshot.wsrep.as_dict(),
        "record": None if record is None else {"uuid": record.uuid, "given_up": dict(record.given_up)},
        "vouches": list(snapshot.vouches),
        "offer": None if snapshot.offer is None else snapshot.offer.as_dict(),
        "server_version": snapshot.server_version,
        "age_seconds": None if age is None else round(age, 3),
    }


def socket_present(socket: Path, problem: str) -> bool:
    """Whether a poll failed although something listens at the socket (it hangs), or because nothing does."""
    return socket.exists() and "refused" not in problem.lower()


def _state_of(status: wsrep.Status) -> str:
    if not status.primary:
        return f"outside the primary component ({status.cluster_status or 'no cluster status'})"
    return f"{status.local_state_comment} in a primary component of {status.cluster_size}"
