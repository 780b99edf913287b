# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's hands: takes the start script's requests, decides in rounds, and keeps Lease and record."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from . import command, datadir, decide, drain, sql
from .datadir import Evidence
from .door import Caller
from .events import Events
from .facts import Facts
from .kube import ApiError
from .lease import BootstrapLease
from .members import Action, Consent, Decision, View
from .record import Recorder
from .rejoin import Rejoin
from .settings import Settings
from .state import State
from .upkeep import Upkeep, myself

ROUND_SECONDS = 0.3
# What failed on this volume is tried again, in case the cause (a full disk, a wrong option) is gone.
AGAIN_SECONDS = 30.0
# Several times the interval of HAProxy's check, so that it has taken the pod out.
DRAIN_SECONDS = 1.5
# Longest time for which a joiner holds back: Galera has noticed a dead member by then.
QUEUE_SECONDS = 10.0
# A volume that stays ahead of a running cluster so long, while that has nothing left to apply, has another history.
AHEAD_SECONDS = 15.0
# After so many failed incremental state transfers in a row all data are asked for.
MOST_FAILED_JOINS = 2
ZERO_POSITION = "00000000-0000-0000-0000-000000000000:-1"
INIT_SQL = "init.sql"


class Control:
    """Decides for one pod. Requests come from their own threads, rounds from one other."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        facts: Facts,
        lease: BootstrapLease,
        recorder: Recorder,
        events: Events,
        log: Callable[[str], None],
        rejoin: Rejoin | None = None,
    ) -> None:
        self._settings, self._state, self._facts, self._lease = settings, state, facts, lease
        self._recorder, self._events, self._log = recorder, events, log
        self._caller: Caller | None = None
        self._caller_lock = threading.Lock()
        self._asked = threading.Event()
        self._upkeep = Upkeep(settings, state, facts, lease, recorder, events, log)
        self._rejoin = rejoin or Rejoin(settings, self._tell, log)
        self._failed_at: float | None = None
        self._queueing_since: float | None = None
        self._joining, self._failed_joins = False, 0
        self._ahead_since: float | None = None

    # --- requests ---------------------------------------------------------------------------------------------------

    def handle(self, word: str, text: str, caller: Caller) -> None:
        """Take one request of the start script (or of the hook that runs before a stop)."""
        if word == "start":
            self._start(caller)
        elif word == "recovered":
            code, _, log = text.partition("\n")
            exit_code = int(code) if code.strip().isdigit() else 255
            grastate = datadir.read_grastate(self._settings.datadir)
            self._wait_with(caller, datadir.after_recovery(log, exit_code, grastate))
        elif word == "initialised":
            self._forget_sql()
            self._wait_with(caller, Evidence("present"))
        elif word == "failed":
            self._forget_sql()
            note = f"the first data directory could not be made: {datadir.last_words(text)}"
            self._wait_with(caller, Evidence("unknown", note=note))
        elif word == "drain":
            self._drain(caller)
        else:
            caller.answer(["error", f"unknown request '{word[:40]}'"])

    def _start(self, caller: Caller) -> None:
        """A container has started: empty and partial volumes are known at a look, others by what InnoDB recovers."""
        self._drop()
        # A server that ran, outside or inside, and never served after it asked for what it missed, failed to get it.
        if self._joining and self._state.now.server_version is not None:
            self._failed_joins += 1
        self._joining = False
        self._forget_sql()
        self._recorder.begin()
        self._state.begin()
        self._upkeep.begin()
        self._queueing_since = self._ahead_since = None
        try:
            if not self._await_volume(caller):
                return
            data = datadir.inspect(self._settings.datadir)
            grastate = datadir.read_grastate(self._settings.datadir)
        except OSError as error:
            self._wait_with(caller, Evidence("unknown", note=f"the data directory cannot be read: {error}"))
            return
        if data != "present":
            note = "a state transfer did not end" if data == "partial" else ""
            self._wait_with(caller, Evidence(data, grastate.uuid if data == "partial" else None, note=note))
        else:
            # Also where grastate.dat has a position: one that a power cut left may be too old (datadir.forget_seqno).
            caller.answer(["recover"])

    def _await_volume(self, caller: Caller) -> bool:
        """Wait until no server of a pod before this one uses the volume; False where the container ended meanwhile.

        A pod deleted by force is replaced before its server has ended.
        """
        while path := datadir.locked_file(self._settings.datadir):
            if caller.gone():
                return False
            self._state.set("waiting", f"waits for another server to leave this volume: it has {path.name} locked")
            time.sleep(ROUND_SECONDS)
        return True

    def _wait_with(self, caller: Caller, evidence: Evidence) -> None:
        with self._caller_lock:
            old, self._caller = self._caller, caller
            self._state.testify(evidence)
            self._failed_at = time.monotonic() if evidence.data == "unknown" else None
            self._state.set("waiting", "has shown what its volume holds, looks at the other members")
        self._asked.set()
        if old is not None:
            old.close()

    def _drain(self, caller: Caller) -> None:
        self._state.drain()
        since = self._state.now.draining_at
        while since is not None and time.monotonic() - since < DRAIN_SECONDS and not caller.gone():
            time.sleep(0.1)
        self._log(f"drained: {drain.let_clients_go(self._settings.socket, caller.gone)}")
        caller.answer(["drained"])

    def _drop(self) -> None:
        with self._caller_lock:
            old, self._caller = self._caller, None
        if old is not None:
            old.close()

    # --- rounds -----------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Go round until told to stop."""
        while not stop.is_set():
            # A round that fails must not end the agent, and must be seen.
            try:
                again = self.round()
            except Exception as error:
                text = f"this round failed: {type(error).__name__}: {error}"
                self._upkeep.problem(text)
                if self._caller is not None:
                    self._state.set("waiting", f"cannot start mariadbd, tries again: {text}")
                again = False
            if not again:
                # A request that has come meanwhile is decided at once: after a crash of all nodes each pause counts.
                self._asked.wait(ROUND_SECONDS)
                self._asked.clear()
        self._rejoin.stop()

    def round(self) -> bool:
        """One round; True where the next one should follow at once."""
        caller = self._caller
        if caller is not None and caller.gone():
            self._forget(caller)
            self._rejoin.stop()
            return False
        if caller is not None:
            return self._decide(caller)
        self._rejoin.stop()
        if self._upkeep.look():
            self._joining, self._failed_joins = False, 0
        return False

    def _forget(self, caller: Caller) -> None:
        """The container of this request has ended; what the next one has shown meanwhile stays."""
        with self._caller_lock:
            if self._caller is not caller:
                return
            self._caller = None
            self._state.testify(Evidence("unknown"))
            self._state.set("stopped", "the database container ended while it waited")
        caller.close()

    def _decide(self, caller: Caller) -> bool:
        if not self._rejoin.accepts(self._state.now.evidence):
            self._state.testify(Evidence("empty"))
            self._failed_at = None
        snapshot = self._state.now
        me = replace(myself(self._settings, snapshot.evidence), stopped=True)
        # With the Lease in hand nothing that was read before counts.
        view = self._facts.view(me, fresh=self._lease.held)
        decision = decide.decide(view)
        if self._lease.held and decision.action not in (Action.CLAIM, Action.BOOTSTRAP):
            self._upkeep.quietly(self._lease.give_back)
        if me.evidence.data == "empty" and self._fills(caller, view, decision):
            return False
        if decision.action is Action.JOIN and (why := self._hold_back(view)):
            self._state.set("waiting", f"{why}, then {decision.reason}")
            return False
        return self._obey(caller, me.evidence, decision)

    def _fills(self, caller: Caller, view: View, decision: Decision) -> bool:
        """Fill an empty volume from a backup, if that can be done; whether the decision has to wait for it."""
        waits = self._rejoin.round(view, decision)
        if waits is None:
            return False
        if waits:
            if self._state.now.phase != "filling":
                # As where it asks a donor for everything; it begins only while others serve.
                self._upkeep.quietly(self._recorder.forget_volume)
            self._state.set("filling", waits, decision.offer)
        else:
            self._release(caller, ["recover"])
        return True

    def _tell(self, reason: str, kind: str, message: str) -> None:
        if (uid := self._facts.pod_uid()) is not None:
            self._events.say(reason, kind, message, uid)

    def _hold_back(self, view: View) -> str | None:
        if why := decide.await_donor(view):
            self._queueing_since = None
            return why
        self._queueing_since = self._queueing_since or time.monotonic()
        patient = time.monotonic() - self._queueing_since < QUEUE_SECONDS
        return decide.hold_back(view) if patient else None

    def _obey(self, caller: Caller, evidence: Evidence, decision: Decision) -> bool:
        if decision.action in (Action.WAIT, Action.REFUSE):
            phase = "waiting" if decision.action is Action.WAIT else "refused"
            self._state.set(phase, decision.reason, decision.offer)
            self._upkeep.quietly(lambda: self._note_ahead(decision.ahead))
            self._try_again(caller)
        elif decision.action is Action.CLAIM or (decision.action is Action.BOOTSTRAP and not self._lease.held):
            # Also where the Lease was seen as it was before it was given back.
            self._state.set("waiting", decision.reason)
            return self._take_lease()
        elif decision.action is Action.INITIALISE:
            self._initialise(caller, decision)
        elif decision.action is Action.BOOTSTRAP:
            self._bootstrap(caller, evidence, decision)
        else:
            self._join(caller, evidence, decision)
        self._events.tell(decision.action, decision.reason, self._facts.pod_uid())
        return False

    def _initialise(self, caller: Caller, decision: Decision) -> None:
        settings = self._settings
        try:
            text = sql.bootstrap_sql(settings.secrets, settings.database, settings.user)
        except sql.SecretError as error:
            self._state.set("refused", str(error))
            return
        self._state.set("initialising", decision.reason)
        sql.write_private(settings.rundir / INIT_SQL, text)
        self._release(caller, ["initialise", str(settings.rundir / INIT_SQL)])

    def _note_ahead(self, reached: int | None) -> None:
        """Record that the cluster went on without this volume: it must not join when the cluster's seqno has passed."""
        if reached is None:
            self._ahead_since = None
            return
        self._ahead_since = self._ahead_since or time.monotonic()
        if time.monotonic() - self._ahead_since >= AHEAD_SECONDS:
            self._recorder.give_up(reached)

    def _bootstrap(self, caller: Caller, evidence: Evidence, decision: Decision) -> None:
        # Renewed at the last moment: a Lease that another has taken meanwhile shows here.
        if not self._take_lease():
            return
        if decision.consent is not None and not self._on_record(functools.partial(self._use, decision.consent)):
            return
        datadir.allow_bootstrap(self._settings.datadir, evidence.uuid)
        self._upkeep.bootstrapping()
        self._execute(caller, decision, command.arguments(self._settings, evidence.position, None))

    def _use(self, consent: Consent) -> None:
        if not self._recorder.use(consent):
            raise ValueError("the consent was taken back")
        self._log(f"goes on with the consent of {consent.time}: {consent.offer.words()}")

    def _on_record(self, step: Callable[[], object]) -> bool:
        """Change the record before a start that rests on it; False, and the reason is shown, where that failed."""
        try:
            step()
        except (ApiError, ValueError) as error:
            self._state.set("waiting", f"cannot change the record, so does not start: {error}")
            return False
        return True

    def _join(self, caller: Caller, evidence: Evidence, decision: Decision) -> None:
        if decision.returns and not self._on_record(self._recorder.come_back):
            return
        if evidence.data == "empty":
            # Without the API server the entry stays, and costs no more than a question to a human.
            self._upkeep.quietly(self._recorder.forget_volume)
        if evidence.data in ("empty", "partial"):
            # A position without its data must not let the server ask for less than everything.
            (self._settings.datadir / "grastate.dat").unlink(missing_ok=True)
        datadir.forget_seqno(self._settings.datadir)
        position = evidence.position
        if position is not None and self._failed_joins >= MOST_FAILED_JOINS:
            self._log("incremental state transfer failed repeatedly: asks for all data instead")
            (self._settings.datadir / "grastate.dat").unlink(missing_ok=True)
            position = ZERO_POSITION
        self._joining = position not in (None, ZERO_POSITION)
        addresses = [self._facts.address(pod) for pod in decision.via]
        self._execute(caller, decision, command.arguments(self._settings, position, addresses))

    def _execute(self, caller: Caller, decision: Decision, arguments: list[str]) -> None:
        with self._caller_lock:
            if self._caller is not caller:
                # Its container has ended, and the next one has shown what the volume holds now.
                return
            self._state.executed(decision.reason)
        self._release(caller, ["exec", *arguments])

    def _release(self, caller: Caller, words: list[str]) -> None:
        with self._caller_lock:
            current = self._caller is caller
            if current:
                self._caller = None
        if not caller.answer(words) and current:
            self._state.set("stopped", "the database container ended while it waited")

    def _try_again(self, caller: Caller) -> None:
        if self._failed_at is not None and time.monotonic() - self._failed_at >= AGAIN_SECONDS:
            self._release(caller, ["again"])

    # --- Lease and record -------------------------------------------------------------------------------------------

    def _take_lease(self) -> bool:
        try:
            return self._lease.take()
        except ApiError as error:
            self._state.set("waiting", f"cannot take the bootstrap Lease: {error}")
            return False

    def _forget_sql(self) -> None:
        (self._settings.rundir / INIT_SQL).unlink(missing_ok=True)
