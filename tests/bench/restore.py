# SPDX-License-Identifier: GPL-3.0-or-later
"""The restore of a full backup to three Synced nodes, against the same by hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from common import ROUNDS, Row, gone, kubectl, one, play, ready, seconds, start_by_hand, synced, until
from objects import apply, pod

NAMESPACE = "bench-restore"
CLAIM = "b-galera-seed-volume-claim"
TARGET = "/target/data"


@dataclass(frozen=True)
class Hand:
    """Seconds of a restore by hand: from the empty namespace to the first INSERT and to the end, and of its parts.

    filled: from the empty namespace until the pod that has filled a volume is gone; of it pipe and prepare. start: of
    the one server on it.
    """

    inserted: float
    whole: float
    pipe: float
    prepare: float
    filled: float
    start: float


def against_hands(
    folder: Path, variables: str, backup: str, environment: Sequence[str], forget: Callable[[], None]
) -> Iterator[Row]:
    """Rows for the playbook and for the hands. environment: of in_agent.py; forget drops the page cache."""
    inventory = one(folder, NAMESPACE, variables, "4Gi")
    ours, hands = [], []
    for _ in range(ROUNDS):
        gone(NAMESPACE)
        cold(inventory, forget)
        ours.append(by_playbook(inventory, backup))
        gone(NAMESPACE)
        play(inventory, "stateful.galera.render")
        cold(inventory, forget)
        hands.append(by_hand(folder, f"bench/backups/{backup}/backup.xb.zst", environment))
    gone(NAMESPACE)
    inserted, ended = (list(found) for found in zip(*ours, strict=True))
    floor, whole = [one.inserted for one in hands], [one.whole for one in hands]
    single = [3 * (one.filled + one.start) for one in hands]
    filled, pipe, prepare, start = (statistics.median(found) for found in zip(*map(parts, hands), strict=True))
    yield (
        "restore from S3 into an empty namespace → three Synced nodes, first INSERT",
        seconds(inserted),
        f"by hand: {seconds(floor)}",
        f"{times(inserted, floor)} × the floor (≤ 1.3)",
    )
    yield (
        "– until the seed has gone; by the playbook also until it has told the targets and the status",
        seconds(ended),
        f"by hand: {seconds(whole)}",
        f"{times(ended, whole)} × the floor",
    )
    node = f"fill a volume {filled:.1f} s, of it pipe {pipe:.1f} and prepare {prepare:.1f}; start {start:.1f} s"
    yield (
        "– three Synced nodes against each node for itself",
        seconds(inserted),
        f"3 × ({node}): {seconds(single)}",
        f"{times(inserted, single)} × (≤ 0.5)",
    )


def cold(inventory: Path, forget: Callable[[], None]) -> None:
    """Drop the page cache, and read the programs of both sides again: what is measured is the data."""
    forget()
    play(inventory, "stateful.galera.restore", "--syntax-check")
    kubectl("get", "namespaces")


def parts(found: Hand) -> tuple[float, float, float, float]:
    """What one node takes for itself, in parts."""
    return found.filled, found.pipe, found.prepare, found.start


def times(ours: list[float], floor: list[float]) -> str:
    """How many times the floor."""
    return f"{statistics.median(ours) / statistics.median(floor):.2f}"


def by_playbook(inventory: Path, backup: str) -> tuple[float, float]:
    """Seconds from `ansible-playbook` to the first INSERT through HAProxy with three Synced nodes, and to its end."""
    given = {"galera_restore_s3_prefix": "bench", "galera_restore_backup": backup, "galera_restore_increment": "none"}
    words = [word for item in given.items() for word in ("-e", "=".join(item))]
    begin = time.monotonic()
    with ThreadPoolExecutor(1) as aside:
        whole = aside.submit(play, inventory, "stateful.galera.restore", *words)
        synced(NAMESPACE)
        inserted = time.monotonic() - begin
        whole.result()
    return inserted, time.monotonic() - begin


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
    filled = time.monotonic() - begin
    start, inserted = start_by_hand(folder, NAMESPACE)
    return Hand(filled + inserted, time.monotonic() - begin, pipe, prepare, filled, start)


def do(*arguments: str, stdin: str | None = None) -> str:
    """kubectl in the namespace of the restored cluster."""
    return kubectl("-n", NAMESPACE, *arguments, stdin=stdin).stdout


def in_pod(script: str) -> float:
    """Run a script in the pod that fills the volume; seconds that it took."""
    command = ["exec", "-i", "fill", "--", "bash", "-o", "pipefail", "-c", script]
    begin = time.monotonic()
    do(*command, stdin=Path(__file__).with_name("in_agent.py").read_text())
    return time.monotonic() - begin
