# SPDX-License-Identifier: GPL-3.0-or-later
"""The restore of a full backup to three Synced nodes, against the same by hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import ROUNDS, Row, gone, insert, kubectl, one, play, ready, seconds, start_by_hand, until
from objects import apply, pod

NAMESPACE = "bench-restore"
CLAIM = "b-galera-seed-volume-claim"
TARGET = "/target/data"


@dataclass(frozen=True)
class Hand:
    """Seconds of a restore by hand: from the empty namespace to the first INSERT; of its parts, start until Synced."""

    whole: float
    pipe: float
    prepare: float
    start: float

    @property
    def node(self) -> float:
        """What one node takes."""
        return self.pipe + self.prepare + self.start


def against_hands(
    folder: Path, variables: str, backup: str, environment: Sequence[str], forget: Callable[[], None]
) -> Iterator[Row]:
    """Rows for the playbook and for the hands. environment: of in_agent.py; forget drops the page cache."""
    inventory = one(folder, NAMESPACE, variables, "4Gi")
    ours, hands = [], []
    for _ in range(ROUNDS):
        gone(NAMESPACE)
        forget()
        ours.append(by_playbook(inventory, backup))
        gone(NAMESPACE)
        play(inventory, "stateful.galera.render")
        forget()
        hands.append(by_hand(folder, f"bench/backups/{backup}/backup.xb.zst", environment))
    gone(NAMESPACE)
    floor, single = [one.whole for one in hands], [3 * one.node for one in hands]
    pipe, prepare, start = (statistics.median(found) for found in zip(*map(parts, hands), strict=True))
    yield (
        "restore from S3 into an empty namespace → three Synced nodes, first INSERT",
        seconds(ours),
        f"by hand: {seconds(floor)}",
        f"{statistics.median(ours) / statistics.median(floor):.2f} × the floor (≤ 1.3)",
    )
    yield (
        "– against each node for itself",
        seconds(ours),
        f"3 × (pipe {pipe:.1f} + prepare {prepare:.1f} + start {start:.1f}): {seconds(single)}",
        f"{statistics.median(ours) / statistics.median(single):.2f} × (≤ 0.5)",
    )


def parts(found: Hand) -> tuple[float, float, float]:
    """What a node takes, in parts."""
    return found.pipe, found.prepare, found.start


def by_playbook(inventory: Path, backup: str) -> float:
    """Seconds from `ansible-playbook` to the first INSERT through HAProxy."""
    given = {"galera_restore_s3_prefix": "bench", "galera_restore_backup": backup, "galera_restore_increment": "none"}
    words = [word for item in given.items() for word in ("-e", "=".join(item))]
    begin = time.monotonic()
    play(inventory, "stateful.galera.restore", *words)
    insert(NAMESPACE)
    return time.monotonic() - begin


def by_hand(folder: Path, key: str, environment: Sequence[str]) -> Hand:
    """Fill the seed's volume in a pod: download | zstd -d | mbstream, and prepare; then the hand-applied flow."""
    begin = time.monotonic()
    for name in ("namespace", "volumes"):
        kubectl("apply", "-f", f"{folder}/galera-3-{name}.yml")
    mount = {"name": "target", "mountPath": "/target"}
    volume = {"name": "target", "persistentVolumeClaim": {"claimName": CLAIM}}
    apply(do, pod("fill", [mount], [volume]))
    until(lambda: ready(NAMESPACE, "app=fill", 1), "the pod that fills the volume")
    download = f"env {' '.join(environment)} python3 - get {key}"
    pipe = in_pod(f"mkdir -m 700 {TARGET} && {download} | zstd --quiet -d | mbstream -x -C {TARGET}")
    prepare = in_pod(f"mariadb-backup --prepare --target-dir={TARGET}")
    kubectl("-n", NAMESPACE, "delete", "pod", "fill", "--wait")
    start = start_by_hand(folder, NAMESPACE)
    return Hand(time.monotonic() - begin, pipe, prepare, start)


def do(*arguments: str, stdin: str | None = None) -> str:
    """kubectl in the namespace of the restored cluster."""
    return kubectl("-n", NAMESPACE, *arguments, stdin=stdin).stdout


def in_pod(script: str) -> float:
    """Run a script in the pod that fills the volume; seconds that it took."""
    command = ["exec", "-i", "fill", "--", "bash", "-o", "pipefail", "-c", script]
    begin = time.monotonic()
    do(*command, stdin=Path(__file__).with_name("in_agent.py").read_text())
    return time.monotonic() - begin
