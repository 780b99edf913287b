# SPDX-License-Identifier: GPL-3.0-or-later
"""The thread of the agent that has backups made: leads or not, starts child processes, and publishes what came of it.

It knows times and outcomes, nothing of stores: those are the children's. Its rounds are a second apart.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..kube import ApiError
from ..lease import RENEW_SECONDS
from ..settings import SettingsError
from . import settings as backup_settings
from . import verdicts
from .leader import Leader
from .parts import Board, History, Running
from .request import Waiting, command_of
from .settings import Settings

ROUND_SECONDS = 1.0
# A child that says nothing is due says until when; but a target may be changed from outside.
LONGEST_PAUSE = 900.0
_RETRY_SECONDS = 60.0
_REQUEST_SECONDS = 3.0
_PUBLISH_SECONDS = 60.0
# The kubelet brings a changed ConfigMap into a pod within a minute and a half.
_SETTINGS_SECONDS = 180.0
# Beyond its own deadline a child has time to clean up.
_GRACE_SECONDS = 60.0
# So long a leader that makes room for a better one may take for its last round of the archive.
_LAST_SECONDS = 60.0
# A closed log has to be uploaded within the interval as well.
_ARCHIVE_SHARE = 2 / 3


@dataclass
class Progress:
    """What the leader knows; a new leader begins with nothing. Times are of the monotonic clock.

    before: what the targets held by the word of the leader before, None while that was not read.
    """

    next_tick: float = 0.0
    next_archive: float = 0.0
    archived_at_seqno: int | None = None
    failures: int = 0
    failed_at: float | None = None
    failed_in: list[str] = field(default_factory=list)
    suspended: int = 0
    document: dict[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] | None = None
    published_at: float = float("-inf")
    changed: bool = True
    passing: bool = False


@dataclass
class _Leaving:
    """When the leader began to make room for another one, when it last looked at that, and its last round."""

    began: float = float("-inf")
    asked_at: float = float("-inf")
    archiver: Running | None = None


class Scheduler:
    """One round after the other; see the module."""

    def __init__(
        self,
        leader: Leader,
        board: Board,
        unfit: Callable[[], str],
        seqno: Callable[[], int],
        history: History,
        start: Callable[[Sequence[str]], Running],
        log: Callable[[str], None],
        *,
        view: Callable[[], object] = lambda: None,
        file: Path = backup_settings.FILE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """view: what of the cluster may end the reason for which a request waits, when it changes."""
        self._leader, self._board, self._unfit, self._seqno = leader, board, unfit, seqno
        self._history, self._stay, self._meant = history, -1, ""
        self._start, self._log, self._file, self._clock, self._view = start, log, file, clock, view
        self._settings: Settings | None = None
        self._refused, self._refused_at = "", float("-inf")
        self._seen: int | None = None
        self._digest = ""
        self._waits: tuple[object, float] | None = None
        self._waiting: Waiting | None = None
        self._work: Running | None = None
        self._request: Mapping[str, Any] | None = None
        self._archiver: Running | None = None
        self._asked_at, self._looked = float("-inf"), ""
        self._leaving = _Leaving()
        self._progress = Progress()
        self._problem = ""

    def run(self, stop: threading.Event) -> None:
        """Go round until told to stop; then end what runs and give the Lease back."""
        while not stop.wait(ROUND_SECONDS):
            # A round that fails must not end the backups, and must be seen.
            try:
                self.round()
            except Exception as error:
                self._say_once(f"backup: this round failed: {type(error).__name__}: {error}")
        self._end()

    def round(self) -> None:
        """Look at the settings, keep the Lease, take the outcomes of what has ended, and start what is due."""
        self._read_settings()
        if self._settings is None:
            self._stop_all()
            if self._leader.leads:
                self._leader.resign()
            self._tell_refused()
            return
        try:
            self._leader.round(self._unfit(), busy=self._work is not None, ready=self._archived_all)
        except ApiError as error:
            self._say_once(f"backup: the Lease cannot be kept: {error}")
        if not self._leader.leads:
            self._stop_all()
            self._progress = Progress()
            return
        if self._progress.before is None:
            self._progress.before = self._board.catalog()
        self._collect(self._settings)
        self._begin(self._settings)
        self._publish()

    def _read_settings(self) -> None:
        try:
            seen = self._file.stat().st_mtime_ns
        except OSError:
            self._settings = self._seen = None
            self._refused = ""
            return
        if seen == self._seen:
            return
        self._seen, self._refused = seen, ""
        try:
            self._digest = hashlib.sha256(self._file.read_bytes()).hexdigest()
            self._settings = backup_settings.load(self._file)
            self._progress.next_tick = 0.0
        except SettingsError as error:
            # What was asked for before may be just what is not wanted any more.
            self._settings = None
            self._refused, self._refused_at = str(error), float("-inf")
            message = f"the settings are refused, and no backup is taken: {error}"
            self._log(f"backup: {message}")
            self._board.event("BackupSettingsRefused", "Warning", message)

    def _tell_refused(self) -> None:
        """Publish why the settings are refused; again and again, since who leads with settings of before ends it."""
        now = self._clock()
        if self._refused and now - self._refused_at >= _PUBLISH_SECONDS:
            self._refused_at = now
            self._board.refuse(self._refused)

    def _collect(self, settings: Settings) -> None:
        if self._work is not None and (result := self._ended(self._work, settings)) is not None:
            work, self._work = self._work, None
            self._worked(work, result)
        if self._archiver is not None and (archived := self._ended(self._archiver, settings)) is not None:
            self._archiver = None
            self._archived(archived)

    def _ended(self, child: Running, settings: Settings) -> Mapping[str, Any] | None:
        """What a child said at its end, None before; who is not at it long after the deadline is stopped."""
        result, took = child.result(), self._clock() - child.began
        if took <= settings.deadline_seconds + _GRACE_SECONDS:
            return result
        if result is None:
            child.stop()
        elif result.get("state") == "failed":
            why = f"{result.get('message')}, after {took:.0f} s; its deadline is {settings.deadline_seconds} s"
            return {**result, "message": why}
        return result

    def _worked(self, work: Running, result: Mapping[str, Any]) -> None:
        """A backup or a verification has ended, or nothing was due."""
        state, message, now = str(result.get("state")), str(result.get("message", "")), self._clock()
        progress = self._progress
        tick = work.words[0] == "tick"
        if tick and state == "succeeded":
            self._history.vouch(self._stay, [str(result.get("backup"))])
        if state != "nothing":
            self._log(f"backup: {work.words[0]} {state}: {message}")
            failed = state == "failed"
            # A verdict is told when the targets have been looked at, whoever came to it.
            if tick or (failed and "tables" not in result):
                self._tell("Backup" if tick else "BackupVerification", not failed, message)
            last = {"command": work.words[0], "state": state, "message": message, "time": _now()}
            progress.document["last"] = {**last, "backup": result.get("backup")}
            progress.passing = tick and failed and bool(result.get("soon"))
        elif progress.passing and not result.get("suspended"):  # by now a restore has told the targets
            progress.document["last"], progress.passing = None, False
        if tick and state == "succeeded" and not result.get("not_in"):
            progress.failures, progress.failed_at, progress.failed_in = 0, None, []
        elif tick and state != "nothing" and self._request is None and not result.get("soon"):
            # Also one that a target did not take: what is due for that one is not tried again at once.
            failed_in = sorted(str(one) for one in result.get("not_in") or result.get("tried") or [])
            known = progress.failures if failed_in == progress.failed_in else 0
            progress.failures, progress.failed_at, progress.failed_in = known + 1, time.time(), failed_in
        if tick and self._request is None:
            self._tell_suspended(message if state == "nothing" and result.get("suspended") else "")
        if result.get("catalog"):
            for verdict in verdicts.fresh(progress.document.get("catalog") or progress.before or {}, result["catalog"]):
                self._tell("BackupVerification", verdict.passed, str(verdict))
            progress.document["catalog"], progress.document["settings"] = result["catalog"], self._meant
        progress.next_tick = now + (_pause(result) if tick else 0)
        progress.document["running"] = None
        progress.document["next"] = result.get("next")
        progress.changed = True
        if self._request is not None:
            request, self._request = self._request, None
            # What is suspended for a while is asked for still: it is tried again later.
            if state == "nothing":
                self._wait(request, message)
                return
            self._waiting = None
            answer = "failed" if state == "failed" else "succeeded"
            self._board.answer(request, answer, str(result.get("backup") or ""), message)

    def _tell_suspended(self, why: str) -> None:
        """Publish that what is due waits; with an Event where it still does at the second look."""
        progress, before = self._progress, self._progress.document.get("suspended")
        progress.document["suspended"] = why or None
        progress.suspended = progress.suspended + 1 if why else 0
        if progress.suspended == 2:
            self._log(f"backup: {why}")
            self._board.event("BackupSuspended", "Normal", f"a backup is due, and {why}")
        elif before and not why:
            self._log("backup: no longer suspended")

    def _tell(self, what: str, good: bool, message: str) -> None:
        self._board.event(f"{what}{'Succeeded' if good else 'Failed'}", "Normal" if good else "Warning", message)

    def _archived(self, result: Mapping[str, Any]) -> None:
        progress = self._progress
        problems = [str(one) for one in result.get("problems", [])]
        if result.get("state") == "failed" or problems:
            message = str(result.get("message"))
            self._say_once(f"backup: archive of binary logs: {message}")
            # What a restore is about to allow is told by the next look at what is due, if it goes on
            if progress.document.get("archive", {}).get("message") != message and not result.get("soon"):
                self._board.event("BinlogArchiveFailed", "Warning", message)
            progress.archived_at_seqno = None
        said = {name: result.get(name) for name in ("state", "last", "message")}
        progress.document["archive"] = {**said, "time": _now()}
        progress.changed = progress.changed or bool(problems)

    def _begin(self, settings: Settings) -> None:
        now, progress = self._clock(), self._progress
        if self._unfit():
            # The Lease goes to another node, unless this is over soon.
            return
        if self._work is None and now - self._asked_at >= _REQUEST_SECONDS:
            self._asked_at = now
            self._take_request()
        if self._work is None and now >= progress.next_tick:
            words = ["tick"]
            if progress.failed_at is not None:
                words += ["--failures", str(progress.failures), "--failed-at", f"{progress.failed_at:.0f}"]
            self._begin_work(words)
        interval = settings.binlog_interval_seconds
        if interval is not None and self._archiver is None and now >= progress.next_archive:
            progress.next_archive = now + interval * _ARCHIVE_SHARE
            seqno = self._seqno()
            if seqno != progress.archived_at_seqno:
                self._archiver = self._start(["archive"])
                progress.archived_at_seqno = seqno

    def _take_request(self) -> None:
        request = self._board.read_request()
        if self._board.look != self._looked:
            self._looked, self._progress.next_tick = self._board.look, 0.0
        if request is None:
            return
        words = command_of(request)
        if words is None:
            self._board.answer(request, "failed", "", "the request is not understood; allowed: action backup or verify")
            return
        if self._waits_for_settings(request):
            return
        waiting = self._waiting if self._waiting and self._waiting.request == request.get("id") else None
        if waiting is None:
            self._board.answer(request, "running", "", "")
        elif self._clock() < waiting.until and waiting.view == (self._view(), self._digest):
            return
        self._request = request
        self._begin_work(words)

    def _waits_for_settings(self, request: Mapping[str, Any]) -> bool:
        """Whether a request has to wait until the settings that it means have come to this pod; fails one in vain."""
        if request.get("settings") in (None, self._digest):
            self._waits = None
            return False
        now = self._clock()
        if self._waits is None or self._waits[0] != request.get("id"):
            self._waits = request.get("id"), now
            self._log("backup: what was asked for waits until this pod has the settings that it was asked with")
        if now - self._waits[1] >= _SETTINGS_SECONDS:
            self._waits = None
            why = f"this pod has not got the settings that it was asked with within {_SETTINGS_SECONDS:g} s: ask again"
            self._board.answer(request, "failed", "", why)
        return True

    def _wait(self, request: Mapping[str, Any], why: str) -> None:
        """Tell who asked what it waits for, once for each reason; it is tried again in a while."""
        known, identity = self._waiting, request.get("id")
        self._waiting = Waiting(identity, why, self._clock() + _RETRY_SECONDS, (self._view(), self._digest))
        if known is None or (known.request, known.why) != (identity, why):
            self._log(f"backup: what was asked for waits: {why}")
            self._board.answer(request, "running", "", f"waits: {why}")

    def _begin_work(self, words: Sequence[str]) -> None:
        # Also one that was asked for: it does not end the patience with a target that is away
        lacking = self._progress.failed_in if words[0] == "tick" else []
        self._stay, self._meant = self._history.stay, self._digest
        self._work = self._start([*words, *(word for one in lacking for word in ("--failed-in", one))])

    def _publish(self) -> None:
        progress, now = self._progress, self._clock()
        if self._work is not None and self._work.last is not None and self._work.last.get("type") == "begin":
            running = {**self._work.last, "type": "running"}
            if progress.document.get("running") != running:
                progress.document["running"], progress.changed = running, True
                if self._request is not None and self._waiting is not None:
                    self._waiting = None
                    self._board.answer(self._request, "running", "", "")
        if progress.changed or now - progress.published_at >= _PUBLISH_SECONDS:
            progress.changed, progress.published_at = False, now
            self._board.publish(progress.document)

    def _archived_all(self) -> bool:
        """Whether a last round of the archive has ended; begins it.

        The logs of the next leader may begin with the transfer of its data, after this node's round before.
        """
        now, settings = self._clock(), self._settings
        if settings is None or settings.binlog_interval_seconds is None:
            return True
        if now - self._leaving.asked_at > 2 * RENEW_SECONDS:
            self._leaving = _Leaving(began=now)
        self._leaving.asked_at = now
        if self._leaving.archiver is None and self._archiver is None:
            self._leaving.archiver = self._archiver = self._start(["archive"])
        done = self._leaving.archiver is not None and self._leaving.archiver.result() is not None
        return done or now - self._leaving.began >= _LAST_SECONDS

    def _stop_all(self) -> None:
        """End what runs: its outcome is nobody's business any more, and what it leaves the next run removes."""
        for child in (self._work, self._archiver):
            if child is not None and child.result() is None:
                child.stop()
        self._work = None if self._work is None or self._work.result() is not None else self._work
        self._archiver = None if self._archiver is None or self._archiver.result() is not None else self._archiver
        if self._work is None:
            self._request = None

    def _end(self) -> None:
        until = self._clock() + 2 * ROUND_SECONDS
        self._stop_all()
        while (self._work is not None or self._archiver is not None) and self._clock() < until:
            time.sleep(0.05)
            self._stop_all()
        try:
            self._leader.resign()
        except ApiError as error:
            self._log(f"backup: the Lease was not given back: {error}")

    def _say_once(self, text: str) -> None:
        if text != self._problem:
            self._log(text)
        self._problem = text


def _pause(result: Mapping[str, Any]) -> float:
    """Seconds until the next look at what is due."""
    until = result.get("next")
    if result.get("state") != "nothing" or until is None:
        return _RETRY_SECONDS if result.get("state") != "succeeded" else 1.0
    left = (datetime.fromisoformat(str(until)) - datetime.now(UTC)).total_seconds()
    return min(max(left, 1.0), LONGEST_PAUSE)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
