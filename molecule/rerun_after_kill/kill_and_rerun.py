# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill site at many moments of its way, then run it to its end and once more.

usage: kill_and_rerun.py INVENTORY NAMESPACE

Each kill is SIGKILL to ansible-playbook and all its children, at the start of one task after the other (read from the
play's own output) and at times in between. Fails unless the run that is let through succeeds, the run after it changes
nothing, and the cluster that was recorded first is the cluster that runs in the end.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from processes import kill

SITE = "stateful.galera.site"
# Each of the first tasks of a cluster that is not there yet
FEWEST_KILLS = 5


def start(inventory: str) -> subprocess.Popen[str]:
    """Start site."""
    return subprocess.Popen(
        ["ansible-playbook", "-i", inventory, SITE],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_at_task(inventory: str, number: int, delay: float) -> str | None:
    """Kill a run this many seconds after its task of this number began; None if the run ended before."""
    process = start(inventory)
    tasks = 0
    for line in process.stdout or ():
        tasks += line.startswith("TASK [")
        if tasks == number:
            timer = threading.Timer(delay, kill, [process])
            timer.start()
            if process.stdout:
                process.stdout.read()  # the run goes on until the timer strikes or it ends
            process.wait()
            ended = process.returncode != -signal.SIGKILL
            timer.cancel()
            timer.join()
            return None if ended else line.strip()
    process.wait()
    return None


def moments() -> Iterator[tuple[int, float]]:
    """Yield (task number, seconds after its begin): every task boundary, and the inside of the long tasks."""
    for task in range(1, 8):
        yield task, 0.0
    for delay in (0.3, 0.8, 1.2, 1.6, 2.5):
        yield 2, delay
    for delay in (0.5, 2.0, 6.0, 12.0):
        yield 4, delay
        yield 5, delay


def record(namespace: str) -> str | None:
    """Return the recorded uuid of the cluster."""
    command = ["kubectl", "-n", namespace, "get", "configmap", "mol-galera-state", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    cluster = json.loads(done.stdout).get("data", {}).get("cluster")
    return json.loads(cluster)["uuid"] if cluster else None


def run(inventory: str) -> str:
    """Run site to its end and return its recap line."""
    done = subprocess.run(["ansible-playbook", "-i", inventory, SITE], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the run after the kills failed:\n{done.stdout}{done.stderr}")
    recap = re.search(r"localhost\s*:.*", done.stdout)
    return recap.group(0) if recap else ""


def main(inventory: str, namespace: str) -> None:
    """Kill, run, run again, compare."""
    first, kills = None, 0
    for task, delay in moments():
        where = kill_at_task(inventory, task, delay)
        kills += where is not None
        print(f"killed {delay} s into task {task}: {where}" if where else f"ended before {delay} s of task {task}")
        now = record(namespace)
        if first and now != first:
            sys.exit(f"the recorded cluster changed from {first} to {now} after a kill in task {task}")
        first = now
    if kills < FEWEST_KILLS:
        sys.exit(f"only {kills} runs were killed, the others had ended before: look at the moments")
    print(run(inventory))
    again = run(inventory)
    print(again)
    if "changed=0" not in again:
        sys.exit(f"the second run after the kills changed something: {again}")
    last = record(namespace)
    if last is None or first not in (None, last):
        sys.exit(f"the recorded cluster changed from {first} to {last}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
