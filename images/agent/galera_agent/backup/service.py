# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the backup threads of an agent together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from .. import kube
from ..events import Events
from ..lease import BootstrapLease
from ..peers import Peers
from ..settings import Settings
from ..state import State
from . import settings as backup_settings
from .child import Children
from .leader import Leader
from .publish import Publisher
from .scheduler import Scheduler
from .witness import Witness


def start(settings: Settings, state: State, stop: threading.Event, log: Callable[[str], None]) -> Callable[[], str]:
    """Start the threads; returns what reads the document of GET /backups."""
    api = kube.in_cluster(settings.namespace)
    prefix = f"{settings.cluster}-galera-backup"
    events = Events(api, settings.namespace, settings.pod)
    board = Publisher(api, f"{prefix}-state", settings.pod, events, PodUid(api, settings), log)
    leader = Leader(BootstrapLease(api, prefix, settings.pod), Better(settings))
    scheduler = Scheduler(
        leader,
        board,
        lambda: state.not_ready() or "",
        lambda: _seqno(state),
        state,
        Children(),
        log,
        view=lambda: _view(state),
    )
    threading.Thread(target=scheduler.run, args=(stop,), name="backup", daemon=False).start()
    witness = Witness(settings, state, Peers(settings.http_port))
    threading.Thread(target=witness.run, args=(stop,), name="witness", daemon=True).start()
    return board.read


class PodUid:
    """The uid of this pod, which the API server is asked for once."""

    def __init__(self, api: kube.Kube, settings: Settings) -> None:
        self._api, self._settings = api, settings
        self._uid: str | None = None

    def __call__(self) -> str | None:
        """The uid, None as long as the API server does not tell."""
        if self._uid is None:
            selector = f"app.kubernetes.io/name=galera,app.kubernetes.io/instance={self._settings.cluster}"
            try:
                pods = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self._api.pods(selector)}
            except kube.ApiError:
                return None
            self._uid = pods.get(self._settings.pod)
        return self._uid


class Better:
    """Finds the Synced node with the highest ordinal above this one's."""

    def __init__(self, settings: Settings, file: Path = backup_settings.FILE) -> None:
        self._settings, self._peers, self._file = settings, Peers(settings.http_port), file

    def __call__(self) -> str | None:
        """Its pod, None where there is none."""
        settings = self._settings
        own = int(settings.pod.rpartition("-")[2])
        above = [settings.node_pod(ordinal) for ordinal in range(own + 1, backup_settings.size_in(self._file))]
        answers = self._peers.ask_all({pod: settings.address(pod) for pod in above})
        fit = [pod for pod in above if _fit(answers[pod].status)]
        return fit[-1] if fit else None


def _fit(status: object) -> bool:
    """Whether a /status is that of a node that could take backups."""
    if not isinstance(status, dict) or status.get("phase") != "running":
        return False
    wsrep = status.get("wsrep")
    return isinstance(wsrep, dict) and wsrep.get("cluster_status") == "Primary" and wsrep.get("local_state") == 4


def _view(state: State) -> object:
    """What changes when a node is lost or comes back, or another one has its data."""
    status = state.now.wsrep
    return status and (status.cluster_conf_id, status.cluster_size, status.cluster_status, status.local_state)


def _seqno(state: State) -> int:
    status = state.now.wsrep
    return -1 if status is None else status.last_committed
