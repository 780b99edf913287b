# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benches share: kubectl, playbooks, an inventory, a client, and how figures are written."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from objects import remove_namespaces

PROJECT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
POLL = 0.1
COMPONENT = "app.kubernetes.io/instance=b,app.kubernetes.io/component"
INVENTORY = """[all:vars]
galera_cluster_docker_image={mariadb}
galera_cluster_haproxy_docker_image={haproxy}
galera_cluster_backup_agent_image={agent}
galera_cluster_volume_size={volume}
galera_cluster_resources={{"requests": {{"cpu": "50m", "memory": "300Mi"}}, "limits": {{"memory": "768Mi"}}}}
galera_cluster_agent_resources={{"requests": {{"cpu": "10m", "memory": "48Mi"}}, "limits": {{"memory": "256Mi"}}}}
galera_cluster_haproxy_resources={{"requests": {{"cpu": "10m", "memory": "32Mi"}}, "limits": {{"memory": "128Mi"}}}}
galera_mysql_root_password=bench
galera_mysql_user=app
galera_mysql_password=bench
galera_mysql_database=appdb
galera_xtrabackup_password=bench
"""
Row = tuple[str, str, str, str]


def images() -> dict[str, str]:
    """Return the images of the local inventory, so that the benches measure what `make demo` runs."""
    found = dict(
        re.findall(r"^(galera_cluster_\w*image)=(\S+)$", (PROJECT / "inventories/local/galera.conf").read_text(), re.M)
    )
    return {
        "mariadb": found["galera_cluster_docker_image"],
        "haproxy": found["galera_cluster_haproxy_docker_image"],
        "agent": found["galera_cluster_backup_agent_image"],
    }


def kubectl(*args: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run kubectl; raises CalledProcessError unless check is false."""
    return subprocess.run(["kubectl", *args], input=stdin, capture_output=True, text=True, check=check)


def play(inventory: Path, playbook: str = "stateful.galera.site", *more: str, **environment: str) -> str:
    """Run a playbook and return what it printed; stops the bench with the output if it fails."""
    command = ["ansible-playbook", "-i", str(inventory), playbook, *more]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=PROJECT, env={**os.environ, **environment}
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def until(condition: Callable[[], bool], what: str, seconds: float = 300, pause: float = POLL) -> None:
    """Poll every 100 ms, or less often what takes long: each look is a process on the processors that are measured."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"waited {seconds} s for {what}")
        time.sleep(pause)


def ready(namespace: str, selector: str, count: int) -> bool:
    """Tell whether this many pods of the selector are Ready."""
    pods = json.loads(kubectl("-n", namespace, "get", "pods", "-l", selector, "-o", "json").stdout)["items"]
    conditions = [{c["type"]: c["status"] for c in pod["status"].get("conditions", [])} for pod in pods]
    return sum(c.get("Ready") == "True" for c in conditions) == count


def insert(namespace: str) -> None:
    """Write one row through HAProxy from a client pod, polling until it is accepted."""
    sql = "CREATE TABLE IF NOT EXISTS appdb.bench (id SERIAL); INSERT INTO appdb.bench VALUES ()"
    command = ["-n", "bench-client", "exec", "client", "--", "mariadb", "--connect-timeout=1"]
    command += ["-h", f"b-galera-haproxy.{namespace}", "-uapp", "-pbench", "-e", sql]
    until(lambda: kubectl(*command, check=False).returncode == 0, "an INSERT through HAProxy")


@contextmanager
def client() -> Iterator[None]:
    """A pod with the MariaDB client."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": "bench-client"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": images()["mariadb"], "command": ["sleep", "infinity"]}],
        },
    }
    kubectl("create", "namespace", "bench-client", check=False)
    kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    kubectl("-n", "bench-client", "wait", "--for=condition=Ready", "pod/client", "--timeout=120s")
    try:
        yield
    finally:
        gone("bench-client")


def write_inventory(folder: Path, hosts: str, more: str = "", volume: str = "1Gi") -> Path:
    """Write a galera.conf with the common variables, and more, each on a line of its own."""
    path = folder / "galera.conf"
    path.write_text(INVENTORY.format(**images(), volume=volume) + more + hosts)
    return path


def one(folder: Path, namespace: str, more: str = "", volume: str = "1Gi") -> Path:
    """Write the inventory of one cluster of three nodes."""
    variables = f"galera_cluster_name=b\ngalera_cluster_namespace={namespace}\ngalera_cluster_render_dir={folder}\n"
    return write_inventory(folder, "\n[template_target]\nlocalhost\n", variables + more, volume)


def synced(namespace: str) -> None:
    """Wait until the three nodes are Ready, that is Synced, and the first INSERT through HAProxy is in."""
    until(lambda: ready(namespace, f"{COMPONENT}=node", 3), "the nodes", pause=0.5)
    insert(namespace)


def start_by_hand(folder: Path, namespace: str) -> tuple[float, float]:
    """Apply what was rendered from the seed on, in the documented order with kubectl, polling every 100 ms.

    Ends when the seed is gone. Returns the seconds until the seed was Ready, and those until the first INSERT was in.
    """
    begin = time.monotonic()
    kubectl("apply", "-f", f"{folder}/galera-3-seed.yml")
    until(lambda: ready(namespace, f"{COMPONENT}=seed", 1), "the seed")
    started = time.monotonic() - begin
    for name in ("nodes", "haproxy"):
        kubectl("apply", "-f", f"{folder}/galera-3-{name}.yml")
    synced(namespace)
    inserted = time.monotonic() - begin
    kubectl("delete", "-f", f"{folder}/galera-3-seed.yml", "--wait=false")
    until(
        lambda: not kubectl("-n", namespace, "get", "pod", "b-galera-seed-0", "-o", "name", check=False).stdout,
        "the seed's end",
    )
    kubectl("-n", namespace, "delete", "pvc", "b-galera-seed-volume-claim", "--wait=false")
    return started, inserted


def gone(namespace: str) -> None:
    """Delete a namespace and wait for its end."""
    remove_namespaces(kubectl, namespace)


def seconds(values: list[float]) -> str:
    """Median and all values."""
    return f"{statistics.median(values):.1f} s ({', '.join(f'{value:.1f}' for value in values)})"
