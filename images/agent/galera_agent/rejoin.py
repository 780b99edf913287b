# SPDX-License-Identifier: GPL-3.0-or-later
"""Fills the empty volume of a node from a backup, so that it joins by IST and no donor sends all its data.

An optimisation of a join with an empty volume, tried once in a pod's life: whatever is missing or goes wrong, the
server joins at once as it would without, by SST. Nothing that lies in the data directory is ever removed for it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import datadir
from .backup import settings as backup_settings
from .backup.child import Child
from .backup.parts import Running
from .backup.terms import Terms
from .datadir import Evidence
from .members import Action, Decision, View, listed, rank, subject
from .settings import Settings, SettingsError

# For a store that does not answer
LOOK_SECONDS = 60.0
# A member that has just started learns within this time what it may vouch for.
VOUCH_SECONDS = 60.0
# A process that was killed and does not end hangs in the kernel, at a file system that does not answer.
KILLED_SECONDS = 20.0
MARK = "rejoin.tried"


@dataclass(frozen=True)
class Filled:
    """A data directory that was made of a backup, and its position."""

    backup: str
    uuid: str
    seqno: int

    @property
    def evidence(self) -> Evidence:
        """What its volume holds."""
        return Evidence("present", self.uuid, self.seqno)


def terms(view: View, decision: Decision) -> Terms | str:
    """What a backup has to fit for a member that joins without data; or why none can. Pure."""
    serving = sorted((peer for peer in view.peers if peer.primary), key=rank)
    if decision.returns:
        return "this pod was given up, and comes back"
    uuids = {peer.primary for peer in serving}
    if len(uuids) != 1:
        return "no member serves"
    cached = [peer.cached for peer in serving if peer.cached is not None]
    if not cached:
        who = subject((peer.pod for peer in serving), "does", "do")
        return f"{who} not tell which write-sets they have cached"
    vouched = frozenset.intersection(*(frozenset(peer.vouches) for peer in serving))
    if not vouched:
        return f"of no backup is known that the data of {listed(peer.pod for peer in serving)} are a continuation"
    return Terms(str(uuids.pop()), min(cached), vouched)


class Rejoin:
    """Fills one pod's volume. Its owner asks round() while the database container waits for a decision.

    tell creates an Event (reason, kind, message). start runs a command of `galera_agent backup`.
    """

    def __init__(
        self,
        settings: Settings,
        tell: Callable[[str, str, str], None],
        log: Callable[[str], None],
        *,
        start: Callable[[Sequence[str]], Running] = Child,
        file: Path = backup_settings.FILE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._tell, self._log = settings, tell, log
        self._start, self._file, self._clock = start, file, clock
        self._mark = settings.rundir / MARK
        # Of the process that makes the data: for which cluster, in how many seconds, and why and since when it is ended
        self._child: Running | None = None
        self._uuid, self._deadline, self._why = "", 0.0, ""
        self._stopped_at: float | None = None
        # Data that were made, and since when they do not fit; then data in their place that mariadbd has not seen yet
        self._ready: Filled | None = None
        self._unfit_since: float | None = None
        self._placed: Filled | None = None

    def round(self, view: View, decision: Decision) -> str | None:
        """What the start of an empty volume waits for; empty when data are in its place, None where nothing is done."""
        if self._child is not None:
            return self._watch(view, decision)
        if self._ready is not None:
            return self._place(self._ready, view, decision)
        if decision.action is not Action.JOIN or self._settings.role != "node":
            return None
        # Whatever a run that was killed has left is in the way of an SST, too.
        datadir.sweep(self._settings.datadir)
        return None if self._mark.exists() else self._begin(view, decision)

    def accepts(self, evidence: Evidence) -> bool:
        """Whether data that were put in place are what mariadbd finds there; if not, they are taken away again."""
        placed, self._placed = self._placed, None
        if placed is None:
            return True
        if evidence == placed.evidence:
            text = f"the volume was filled from {placed.backup}, to {evidence.position}: joins by IST"
            self._log(f"rejoin: {text}")
            self._tell("GaleraFilled", "Normal", text)
            return True
        # No server has joined with them, so they are as they were made, and can be made again.
        data = self._settings.datadir
        data.rename(datadir.being_made(data))
        data.mkdir()
        datadir.sweep(data)
        found = evidence.position or evidence.note or "no position"
        self._fail("Warning", f"mariadbd finds {found} in what was made of {placed.backup}, not {placed.seqno}")
        return False

    def stop(self) -> None:
        """The database container waits no more: drop what is being made. To be called until nothing runs."""
        if self._child is not None and not self._over("the database container ended"):
            return
        if self._child is not None or self._ready is not None:
            self._child = self._ready = None
            datadir.sweep(self._settings.datadir)

    def _begin(self, view: View, decision: Decision) -> str | None:
        if not self._file.exists():
            return None
        try:
            # Before it begins: should it take this agent with it, it is not tried again.
            self._mark.touch()
            settings = backup_settings.load(self._file)
            names = sorted(os.listdir(self._settings.datadir))
        except (SettingsError, OSError) as error:
            self._fail("Warning", str(error))
            return None
        if not settings.rejoin_from_backup:
            return None
        found = terms(view, decision)
        if isinstance(found, str):
            self._fail("Normal", found)
            return None
        if names:
            self._fail("Normal", f"the data directory is not empty, it holds {', '.join(names[:5])}")
            return None
        vouched = [word for name in sorted(found.vouched) for word in ("--vouched", name)]
        self._child = self._start(["fill", "--uuid", found.uuid, "--cached", str(found.cached), *vouched])
        self._uuid, self._deadline = found.uuid, settings.deadline_seconds
        return self._progress(decision)

    def _watch(self, view: View, decision: Decision) -> str | None:
        child = self._child
        assert child is not None
        took = self._clock() - child.began
        if took > self._deadline:
            over = self._over(f"it did not end within its deadline of {self._deadline:g} s")
        elif child.last is None and took > LOOK_SECONDS:
            over = self._over(f"no backup was found within {LOOK_SECONDS:g} s")
        else:
            over = self._over(self._why) if self._why else child.result() is not None
        if not over:
            return self._progress(decision)
        result, why, self._child = child.result() or {}, self._why, None
        if why or result.get("state") != "succeeded":
            datadir.sweep(self._settings.datadir)
            kind = "Normal" if result.get("state") == "nothing" else "Warning"
            self._fail(kind, why or str(result.get("message")))
            return None
        self._ready = Filled(str(result["backup"]), self._uuid, int(result["seqno"]))
        return self._place(self._ready, view, decision)

    def _over(self, why: str) -> bool:
        """End the child, and say whether nothing of it runs any more."""
        assert self._child is not None
        self._why = why
        self._stopped_at = self._stopped_at or self._clock()
        self._child.stop()
        return self._child.result() is not None or self._clock() - self._stopped_at >= KILLED_SECONDS

    def _place(self, ready: Filled, view: View, decision: Decision) -> str | None:
        """Move the data to their place, if they still are a part of what the running cluster continues."""
        if decision.action is not Action.JOIN:
            return f"is ready to join with {ready.backup}: {decision.reason}"
        found = terms(view, decision)
        why = found if isinstance(found, str) else found.refusal(ready.backup, ready.uuid, ready.seqno)
        if why is None:
            self._ready = None
            try:
                # Fails where anything has appeared in the data directory.
                datadir.being_made(self._settings.datadir).rename(self._settings.datadir)
                datadir.sync_directory(self._settings.datadir.parent)
            except OSError as error:
                datadir.sweep(self._settings.datadir)
                self._fail("Warning", f"{ready.backup} cannot be put in its place: {error}")
                return None
            self._placed = ready
            return ""
        self._unfit_since = self._unfit_since or self._clock()
        if self._clock() - self._unfit_since < VOUCH_SECONDS:
            return f"is ready to join with {ready.backup}, but {why}"
        self._ready = None
        datadir.sweep(self._settings.datadir)
        self._fail("Warning", why)
        return None

    def _progress(self, decision: Decision) -> str:
        last = self._child.last if self._child is not None else None
        text = "looks for a backup to fill the volume from"
        if self._why:
            text = f"ends the filling of the volume: {self._why}"
        elif last is not None and last.get("type") == "progress":
            text = f"fills the volume from {last.get('backup')}: {last.get('message')}"
        return text if decision.action is Action.JOIN else f"{text}; {decision.reason}"

    def _fail(self, kind: str, why: str) -> None:
        text = f"the volume is not filled from a backup: {why}; joins by SST"
        self._log(f"rejoin: {text}")
        self._tell("GaleraNotFilled", kind, text)
