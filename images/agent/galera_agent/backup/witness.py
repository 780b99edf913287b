# SPDX-License-Identifier: GPL-3.0-or-later
"""Passes on from agent to agent of which backups the cluster's data are a continuation.

The leader vouches for the backups that it takes. Who has all the data that a voucher has, vouches as well: two servers
in one primary component have the same history as far as both have come. So the knowledge outlives the leader's volume
and each restart, and ends when no member is left that was there: after such an end the cluster may go on from before a
backup that bears its uuid.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..peers import Answer, Asker, member
from ..settings import Settings
from ..state import State
from ..wsrep import Status
from . import settings as backup_settings

EVERY_SECONDS = 5.0
_FRESH_SECONDS = 1.0


class Witness:
    """Asks the other nodes while this one's server is in the primary component, where backups are made at all."""

    def __init__(self, settings: Settings, state: State, peers: Asker, file: Path = backup_settings.FILE) -> None:
        self._settings, self._state, self._peers, self._file = settings, state, peers, file

    def run(self, stop: threading.Event) -> None:
        """Go round until told to stop."""
        while not stop.wait(EVERY_SECONDS):
            self.round()

    def round(self) -> None:
        """Ask once, and vouch for what is certain now."""
        stay, status = self._state.stay, self._state.now.wsrep
        if status is None or not status.serves or not (size := backup_settings.size_in(self._file)):
            return
        pods = [self._settings.node_pod(ordinal) for ordinal in range(size)]
        answers = self._peers.ask_all({pod: self._settings.address(pod) for pod in pods if pod != self._settings.pod})
        # What this server has is read after what the others have: it must have come at least as far.
        mine = self._mine()
        if mine is None:
            return
        names = {name for pod, answer in answers.items() for name in shared(mine, pod, answer)}
        self._state.vouch(stay, names)

    def _mine(self) -> Status | None:
        snapshot = self._state.now
        age = self._state.age(snapshot)
        return snapshot.wsrep if age is not None and age < _FRESH_SECONDS else None


def shared(mine: Status, pod: str, answer: Answer) -> tuple[str, ...]:
    """The backups that a pod vouches for, where this server is in its component and has come as far; else none."""
    theirs = member(pod, False, 0, answer)
    if answer.status is None or not mine.serves or theirs.primary is None or theirs.primary != mine.uuid:
        return ()
    view: Mapping[str, Any] = answer.status["wsrep"]
    members = _members(mine.incoming_addresses)
    same = view.get("cluster_conf_id") == mine.cluster_conf_id and _members(view.get("incoming_addresses")) == members
    reached = theirs.evidence.seqno is not None and mine.last_committed >= theirs.evidence.seqno
    return theirs.vouches if same and reached and len(members) > 1 else ()


def _members(addresses: object) -> set[str]:
    """Who is in a view: `10.0.0.1:3306,10.0.0.2:3306`, in an order that differs from server to server."""
    return {one for one in addresses.split(",") if one} if isinstance(addresses, str) else set()
