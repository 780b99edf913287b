# SPDX-License-Identifier: GPL-3.0-or-later
"""While a server starts or runs: the Lease until it is Primary, the record from then on, and the cures of a server.

A cure is a restart in place: the start script asks again, and the server joins or takes part in an election.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

from pymysql import MySQLError

from . import decide, transfer
from .datadir import Evidence, drop_marks
from .events import Events
from .facts import Facts
from .kube import ApiError
from .lease import RENEW_SECONDS, BootstrapLease
from .members import Action, Contact, Member
from .record import Recorder
from .settings import Settings
from .state import State, fresh
from .wsrep import DONOR, JOINING, SYNCED, Server, Status, reason_of

# A server that lost its primary component is taken in again by Galera within this time, if it can be.
MERGE_SECONDS = 15.0
# One that has closed its connection to the group, as after a state transfer that failed at its end, is not; this is
# time for whoever gives it another address by hand.
LEFT_SECONDS = 3.0
# Much longer than a donor needs between two steps of a state transfer, and before and after it.
IDLE_DONOR_SECONDS = 10.0
# A server that has all that the others had a moment ago is Synced within a second or so.
LEVEL_SECONDS, MOMENT_SECONDS = 20.0, 5.0
# A server that was told to stop and still answers has not come further than Galera, which takes a second or so, and as
# long as it applies what it has received. Where an incremental transfer has failed, Galera waits for ever for a thread
# that has gone (its issues 142, 439 and 456).
STUCK_SECONDS = 10.0
# The pipe into which the start script listens while its server runs.
KILL_PIPE = "kill"


class Upkeep:
    """Looks after the server of one pod, in the thread of the rounds."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        facts: Facts,
        lease: BootstrapLease,
        recorder: Recorder,
        events: Events,
        log: Callable[[str], None],
    ) -> None:
        self._settings, self._state, self._facts, self._lease = settings, state, facts, lease
        self._recorder, self._events, self._log = recorder, events, log
        self._server = Server(settings.socket)
        self._bootstrapping = self._released = False
        self._renewed_at = float("-inf")
        self._outside_since: float | None = None
        self._idle_since: float | None = None
        self._others_had: tuple[float, int | None] | None = None
        self._level_since: float | None = None
        self._stopped_at: float | None = None
        self._stopped_with: int | None = None
        self._problems: dict[str, str] = {}

    def begin(self) -> None:
        """The database container has started: what was known of its last server is history."""
        self._bootstrapping = self._released = False
        self._outside_since = self._idle_since = self._stopped_at = None
        self._others_had = self._level_since = None

    def bootstrapping(self) -> None:
        """The server was told to bootstrap: the Lease is renewed until it is Primary."""
        self._bootstrapping, self._renewed_at = True, time.monotonic()

    def look(self) -> bool:
        """One round; returns whether the server is in the primary component and serves."""
        status = self._state.now.wsrep
        if status is not None and status.serves:
            self._outside_since = self._others_had = self._level_since = None
            self.quietly(lambda: self._record_and_release(status))
            self._free_donor()
            self._take_for_whole()
            return True
        self._idle_since = None
        self._recorder.read_again()
        self._come_back()
        self._be_let_in()
        if self._bootstrapping and time.monotonic() - self._renewed_at >= RENEW_SECONDS:
            self._renewed_at = time.monotonic()
            self.quietly(self._renew)
        return False

    def quietly(self, step: Callable[[], object]) -> None:
        """Do a step that the next round repeats; that it failed is logged."""
        try:
            step()
        except (ApiError, ValueError) as error:
            self.problem(str(error))
        else:
            self._problems.pop("step", None)

    def problem(self, text: str, topic: str = "step") -> None:
        """Log a problem once, not at each round."""
        if text != self._problems.get(topic):
            self._log(f"problem: {text}")
        self._problems[topic] = text

    # --- Lease and record -------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        self._lease.read()
        if self._lease.held:
            self._lease.take()

    def _record_and_release(self, status: Status) -> None:
        problem = self._recorder.update(status)
        if problem is not None:
            raise ValueError(problem)
        self._state.know(self._recorder.known)
        self._facts.learn(self._recorder.known)
        if not self._released:
            # Also after a restart of the agent, which forgets that it held the Lease.
            self._lease.give_back()
            self._bootstrapping, self._released = False, True
        if self._recorder.given_up:
            # Behind a partition, alone or until Galera took it in: its write-sets may be none of the cluster's.
            self._restart("the cluster was continued without it, so it must ask before it serves")

    # --- cures ------------------------------------------------------------------------------------------------------

    def _come_back(self) -> None:
        """Restart a server that runs outside a primary component, where nothing else brings it back."""
        status = self._fresh()
        if status is None or status.primary or status.uuid is None:
            self._outside_since = None
            self._state.stay_outside("", None)
            return
        self._outside_since = self._outside_since or time.monotonic()
        evidence = Evidence("present", status.uuid, max(status.last_committed, 0))
        view = self._facts.view(replace(myself(self._settings, evidence), live=True))
        answer = decide.comes_back(view)
        patience = LEFT_SECONDS if status.cluster_status == "Disconnected" else MERGE_SECONDS
        patient = time.monotonic() - self._outside_since < patience
        # One that waits shows, as those that are stopped do, for whom, and what a human may consent to.
        waits = decide.decide(view) if answer is None else None
        if waits is not None and waits.action in (Action.WAIT, Action.REFUSE):
            self._state.stay_outside(waits.reason, waits.offer)
        else:
            self._state.stay_outside("", None)
        if answer is None or (answer is False and patient):
            return
        self._restart("it is outside the primary component, and joins or elects when it starts again")
        self._outside_since = None

    def _be_let_in(self) -> None:
        """Restart a joiner that has everything, and that the group does not take for joined.

        The group had split during its state transfer and asked for a new one ("Rejecting JOIN message"); Galera does
        not ask again, so the server gets each write-set and stays Joining for ever. One that still receives or applies
        what it missed has less than the others had a moment before.
        """
        status, now = self._fresh(), time.monotonic()
        joins = status is not None and status.primary and status.local_state == JOINING
        if status is None or not joins or transfer.running(self._settings.rundir, "joiner"):
            self._others_had = self._level_since = None
            return
        looked_at, had = self._others_had or (float("-inf"), None)
        if now - looked_at < MOMENT_SECONDS:
            return
        view = self._facts.view(replace(myself(self._settings, Evidence("present", status.uuid)), live=True))
        serving = [one.evidence.seqno for one in view.peers if one.primary is not None and one.primary == status.uuid]
        self._others_had = now, max((seqno for seqno in serving if seqno is not None), default=None)
        if had is None or status.last_committed < had:
            self._level_since = None
            return
        self._level_since = now if self._level_since is None else self._level_since
        if (level := now - self._level_since) >= LEVEL_SECONDS:
            self._restart(
                f"it has had all that the others have for {level:.0f} s and stays Joining, because the group had split "
                "during its state transfer"
            )

    def _free_donor(self) -> None:
        """Restart a donor that Galera keeps as donor for ever.

        The group had split when the script of its state transfer ended: Galera took no note of the end, and gave the
        server its old state back when the group was one again. No statement ends that: wsrep_desync counts up and down
        beside it. Such a server has wsrep_ready off. One that a human or a backup desynced has not, unless its group
        has split since: wsrep_desync tells. A transfer that goes on holds a lock.
        """
        status = self._fresh()
        kept = status is not None and status.local_state == DONOR and not status.ready
        if not kept or transfer.running(self._settings.rundir, "donor") is not False:
            self._idle_since = None
            self._problems.pop("cure", None)
            return
        self._idle_since = self._idle_since or time.monotonic()
        if time.monotonic() - self._idle_since < IDLE_DONOR_SECONDS:
            return
        self._idle_since = None
        try:
            by_hand = self._server.desynced_by_hand()
        except (OSError, MySQLError) as error:
            self._server.close()
            self.problem(f"cannot ask whether wsrep_desync is on: {reason_of(error)}", "cure")
            return
        if by_hand:
            self.problem("the server stays Donor/Desynced and serves nobody, because wsrep_desync is on", "cure")
            return
        self._restart(
            f"it has stayed Donor/Desynced for {IDLE_DONOR_SECONDS:g} s without a state transfer, because the group "
            f"had split when that ended: it serves nobody and can be no donor"
        )

    def _take_for_whole(self) -> None:
        """Remove what marks the volume of a Synced server as half-filled: after a crash it would count for nothing."""
        status = self._fresh()
        if status is None or status.local_state != SYNCED or transfer.running(self._settings.rundir, "joiner"):
            return
        try:
            if marks := drop_marks(self._settings.datadir):
                self._log(f"removed {' and '.join(marks)} of an earlier state transfer: the server is Synced")
        except OSError as error:
            self.problem(f"cannot remove the mark of an earlier state transfer: {error}", "mark")

    def _fresh(self) -> Status | None:
        """What the running server said less than a second ago; None where it said nothing."""
        snapshot = self._state.now
        return fresh(snapshot, self._state.age(snapshot))

    def _restart(self, why: str) -> None:
        """Stop the server in order, once: the start script starts it again. One that still answers later is killed.

        Not one that has left its group and goes on applying: it may hold what no other volume has any more.
        """
        status = self._fresh()
        reached = status.last_committed if status is not None and not status.primary else None
        if self._stopped_at is not None:
            if reached is not None and reached != self._stopped_with:
                self._stopped_at, self._stopped_with = time.monotonic(), reached
            elif (age := time.monotonic() - self._stopped_at) >= STUCK_SECONDS:
                self._kill(f"it was told to stop, has not got on for {age:.0f} s and still answers: {why}")
            return
        self._tell(f"mariadbd is stopped and starts again: {why}")
        try:
            self._server.shut_down()
            self._stopped_at, self._stopped_with = time.monotonic(), reached
        except (OSError, MySQLError) as error:
            self.problem(f"cannot stop mariadbd: {reason_of(error)}", "cure")
        finally:
            self._server.close()

    def _kill(self, why: str) -> None:
        """Have the start script kill the server, by which nobody is served."""
        try:
            pipe = os.open(self._settings.rundir / KILL_PIPE, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            self.problem(f"cannot have mariadbd killed: {error.strerror}; {why}", "cure")
            return
        self._tell(f"mariadbd is killed and starts again: {why}")
        try:
            os.write(pipe, b"now\n")
        finally:
            os.close(pipe)
        # Time to end; once more if it does not
        self._stopped_at = time.monotonic()

    def _tell(self, what: str) -> None:
        self._log(what)
        if (uid := self._facts.pod_uid()) is not None:
            self._events.say("GaleraRestarted", "Warning", what, uid)


def myself(settings: Settings, evidence: Evidence) -> Member:
    """This pod as a member, with what it holds."""
    ordinal = int(settings.pod.rpartition("-")[2])
    return Member(settings.pod, settings.role == "seed", ordinal, Contact.ANSWERS, evidence)
