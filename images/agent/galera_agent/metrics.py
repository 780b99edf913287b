# SPDX-License-Identifier: GPL-3.0-or-later
"""GET /metrics: the state of a pod and of its cluster's backups, in the text format 0.0.4 of Prometheus.

What is not known has no sample, so that nobody takes an old value or a zero for the truth; each of `galera_up`,
`galera_backup_state_up` and `galera_backup_target_up` tells of the samples that hang on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from . import __version__
from .state import PHASES, Snapshot, fresh
from .wsrep import Status

CONTENT_TYPE = "text/plain; version=0.0.4"
# All are gauges: name without the prefix, and what it tells.
METRICS = {
    "info": "Versions of the agent and of the server, as labels.",
    "phase": "1 for the phase that the pod is in, 0 for the others.",
    "ready": "Whether the pod may get queries.",
    "up": "Whether the server has answered in the last second.",
    "consent_wanted": "Whether the pod waits for a human's consent to go on without what it misses (recover).",
    "primary": "Whether the server is in the primary component.",
    "local_state": "wsrep_local_state: 1 Joining, 2 Donor/Desynced, 3 Joined, 4 Synced.",
    "cluster_size": "Servers in the component that this one sees.",
    "last_committed": "Sequence number of the last transaction that was committed.",
    "recv_queue": "Write sets that were received and are not applied.",
    "send_queue": "Write sets that were not sent.",
    "flow_control_paused_ratio": "Share of the time since the last FLUSH STATUS for which flow control held writes.",
    "backup_state_up": "Whether the state of the backups could be read from the API server.",
    "backup_state_timestamp_seconds": "When the targets were read for the samples below.",
    "backup_running": "Whether a backup or a verification is under way.",
    "backup_suspended": "Whether a backup is due and waits, since the cluster is not whole.",
    "backup_last_run_failed": "Whether the last backup or verification failed.",
    "backup_last_run_timestamp_seconds": "When the last backup or verification ended.",
    "backup_archive_failed": "Whether the last archiving of binary logs failed.",
    "backup_target_up": "Whether a target could be read.",
    "backup_target_problems": "What is wrong in a target, as a number; GET /backups tells what.",
    "backup_count": "Backups of a kind that are complete and can be restored.",
    "backup_last_timestamp_seconds": "End of the newest backup of a kind that can be restored.",
    "backup_last_size_bytes": "Stored size of that backup.",
    "backup_verified_timestamp_seconds": "End of the newest backup that was restored on trial and found right.",
    "backup_verification_failed_count": "Backups that were restored on trial and found wrong.",
    "backup_restorable_until_timestamp_seconds": "The latest point in time that can be restored.",
    "backup_holes": "Intervals in time that cannot be restored, between others that can.",
}
Sample = tuple[str, Mapping[str, str], float]


def render(snapshot: Snapshot, age: float | None, ready: bool, backups: str | None, wanted: bool = True) -> str:
    """All samples as text. age is in seconds since the server's last answer.

    backups: the document of GET /backups, None where it cannot be read; it is left out where it is not wanted.
    """
    found: dict[str, list[str]] = {name: [] for name in METRICS}
    for name, labels, value in (*_server(snapshot, age, ready), *(_backups(backups) if wanted else ())):
        found[name].append(f"galera_{name}{_labels(labels)} {value:.16g}\n")
    return "".join(
        f"# HELP galera_{name} {METRICS[name]}\n# TYPE galera_{name} gauge\n{''.join(lines)}"
        for name, lines in found.items()
        if lines
    )


def _server(snapshot: Snapshot, age: float | None, ready: bool) -> Iterator[Sample]:
    yield "info", {"agent_version": __version__, "server_version": snapshot.server_version or ""}, 1
    for phase in PHASES:
        yield "phase", {"phase": phase}, snapshot.phase == phase
    yield "ready", {}, ready
    yield "consent_wanted", {}, snapshot.offer is not None
    status = fresh(snapshot, age)
    yield "up", {}, status is not None
    if status is not None:
        yield from _wsrep(status)


def _wsrep(status: Status) -> Iterator[Sample]:
    yield "primary", {}, status.primary
    yield "local_state", {}, status.local_state
    yield "cluster_size", {}, status.cluster_size
    yield "last_committed", {}, status.last_committed
    yield "recv_queue", {}, status.local_recv_queue
    yield "send_queue", {}, status.local_send_queue
    yield "flow_control_paused_ratio", {}, status.flow_control_paused


def _backups(text: str | None) -> Iterator[Sample]:
    try:
        found = [] if text is None else list(_document(json.loads(text)))
    except (ValueError, KeyError, TypeError, AttributeError):
        # Of another version, or written by somebody else
        found = []
    yield "backup_state_up", {}, bool(found)
    yield from found


def _document(document: Mapping[str, Any]) -> Iterator[Sample]:
    yield "backup_running", {}, bool(document.get("running"))
    yield "backup_suspended", {}, bool(document.get("suspended"))
    last, archive, catalog = (document.get(name) or {} for name in ("last", "archive", "catalog"))
    if last:
        yield "backup_last_run_failed", {}, last["state"] == "failed"
        yield "backup_last_run_timestamp_seconds", {}, _seconds(last["time"])
    if archive:
        yield "backup_archive_failed", {}, archive["state"] == "failed"
    if catalog:
        yield "backup_state_timestamp_seconds", {}, _seconds(catalog["time"])
    for target in catalog.get("targets", []):
        yield from _target(target)


def _target(target: Mapping[str, Any]) -> Iterator[Sample]:
    where = {"target": target["target"]}
    yield "backup_target_up", where, target["error"] is None
    if target["error"] is not None:
        return
    yield "backup_target_problems", where, len(target["problems"])
    good = [one for one in target["backups"] if not one["problem"]]
    for kind in ("full", "incremental"):
        of_kind = [one for one in good if one["kind"] == kind]
        yield "backup_count", {**where, "kind": kind}, len(of_kind)
        if of_kind:
            yield "backup_last_timestamp_seconds", {**where, "kind": kind}, _seconds(of_kind[-1]["finished"])
            yield "backup_last_size_bytes", {**where, "kind": kind}, of_kind[-1]["size"]
    verified = [one for one in target["backups"] if one["verified"] is not None]
    passed = [one for one in verified if one["verified"]]
    yield "backup_verification_failed_count", where, len(verified) - len(passed)
    if passed:
        yield "backup_verified_timestamp_seconds", where, _seconds(passed[-1]["finished"])
    if target["intervals"]:
        until = max(_seconds(one["until"]) for one in target["intervals"])
        yield "backup_restorable_until_timestamp_seconds", where, until
    yield "backup_holes", where, len(target["holes"])


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    escape = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    return "{" + ",".join(f'{name}="{value.translate(escape)}"' for name, value in labels.items()) + "}"
