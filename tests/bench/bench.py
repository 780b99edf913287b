#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the collection against a floor in the same run, on the Kubernetes that KUBECONFIG names.

usage: bench.py [start|unchanged|fleet|memory ...]   (all of them without an argument)

Prints one Markdown table. The benches take the namespaces bench-* and remove them.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

sys.path.append(str(Path(__file__).resolve().parents[1]))

from counting_proxy import counting_proxy
from objects import remove_namespaces

PROJECT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
POLL = 0.1
INVENTORY = """[all:vars]
galera_cluster_docker_image={mariadb}
galera_cluster_haproxy_docker_image={haproxy}
galera_cluster_backup_agent_image={agent}
galera_cluster_volume_size=1Gi
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


def until(condition: Callable[[], bool], what: str, seconds: float = 300) -> None:
    """Poll every 100 ms."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"waited {seconds} s for {what}")
        time.sleep(POLL)


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
        kubectl("delete", "namespace", "bench-client")


def write_inventory(folder: Path, hosts: str, more: str = "") -> Path:
    """Write a galera.conf with the common variables."""
    path = folder / "galera.conf"
    path.write_text(INVENTORY.format(**images()) + more + hosts)
    return path


def one(folder: Path, namespace: str) -> Path:
    """Write the inventory of one cluster of three nodes."""
    variables = f"galera_cluster_name=b\ngalera_cluster_namespace={namespace}\ngalera_cluster_render_dir={folder}\n"
    return write_inventory(folder, "\n[template_target]\nlocalhost\n", variables)


def gone(namespace: str) -> None:
    """Delete a namespace and wait for its end."""
    remove_namespaces(kubectl, namespace)


def start_by_site(folder: Path) -> float:
    """Seconds from `ansible-playbook` to the first INSERT through HAProxy, the seed gone."""
    gone("bench-start")
    inventory = one(folder, "bench-start")
    begin = time.monotonic()
    play(inventory)
    insert("bench-start")
    return time.monotonic() - begin


def start_by_kubectl(folder: Path) -> float:
    """The floor: the same manifests in the documented order with kubectl, polling every 100 ms."""
    gone("bench-start")
    play(one(folder, "bench-start"), "stateful.galera.render")
    component = "app.kubernetes.io/instance=b,app.kubernetes.io/component="
    begin = time.monotonic()
    for name in ("namespace", "volumes", "seed"):
        kubectl("apply", "-f", f"{folder}/galera-3-{name}.yml")
    until(lambda: ready("bench-start", component + "seed", 1), "the seed")
    for name in ("nodes", "haproxy"):
        kubectl("apply", "-f", f"{folder}/galera-3-{name}.yml")
    until(lambda: ready("bench-start", component + "node", 3), "the nodes")
    kubectl("delete", "-f", f"{folder}/galera-3-seed.yml", "--wait=false")
    until(
        lambda: not kubectl("-n", "bench-start", "get", "pod", "b-galera-seed-0", "-o", "name", check=False).stdout,
        "the seed's end",
    )
    kubectl("-n", "bench-start", "delete", "pvc", "b-galera-seed-volume-claim", "--wait=false")
    insert("bench-start")
    return time.monotonic() - begin


def bench_start(folder: Path) -> Iterator[Row]:
    """Empty namespace → three Synced nodes, the seed gone, first INSERT through HAProxy."""
    ours, floor = [], []
    with client():
        for _ in range(ROUNDS):
            ours.append(start_by_site(folder))
            floor.append(start_by_kubectl(folder))
    gone("bench-start")
    ratio = statistics.median(ours) / statistics.median(floor)
    yield (
        "empty namespace → first INSERT",
        seconds(ours),
        f"kubectl: {seconds(floor)}",
        f"{ratio:.2f} × the floor (≤ 1.25); ≤ 45 s",
    )


def naive(folder: Path, inventory: Path) -> Path:
    """Write the same play (check of the inventory, manifests, status) with one kubernetes.core.k8s task a manifest."""
    play(inventory, "stateful.galera.render")
    check = {"ansible.builtin.import_role": {"name": "stateful.galera.galera", "rolespec_validate": False}}
    status = {"ansible.builtin.import_role": {"name": "stateful.galera.galera_status"}}
    manager = {"field_manager": "naive", "force_conflicts": True}
    manifests = [
        {
            "name": f"Apply {document['kind']} {document['metadata']['name']}",
            "kubernetes.core.k8s": {"definition": document, "apply": True, "server_side_apply": manager},
        }
        for document in applied_documents(folder)
    ]
    path = folder / "naive.yml"
    variables = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    head = {"hosts": "template_target", "connection": "local", "gather_facts": False, "vars": variables}
    path.write_text(yaml.safe_dump([{**head, "tasks": [check, *manifests, status]}]))
    return path


def applied_documents(folder: Path) -> list[dict[str, Any]]:
    """Return the rendered documents that site applies to a cluster whose seed is gone."""
    files = [(folder / f"galera-3-{name}.yml").read_text() for name in ("namespace", "volumes", "nodes", "haproxy")]
    documents = [document for text in files for document in yaml.safe_load_all(text)]
    return [d for d in documents if d["kind"] != "Secret" and not d["metadata"]["name"].endswith("-seed-volume-claim")]


def bench_unchanged(folder: Path) -> Iterator[Row]:
    """A run that has nothing to change: time, requests, and the same play with one task a manifest."""
    inventory = one(folder, "bench-unchanged")
    play(inventory)
    many = naive(folder, inventory)
    ours, slow = [], []
    for _ in range(ROUNDS):
        begin = time.monotonic()
        if "changed=0" not in play(inventory):
            sys.exit("the run changed something")
        ours.append(time.monotonic() - begin)
        begin = time.monotonic()
        play(inventory, str(many))
        slow.append(time.monotonic() - begin)
    play(inventory)  # takes the fields back from the naive manager
    with counting_proxy(folder) as (config, seen):
        play(inventory, KUBECONFIG=str(config))
    documents = len(applied_documents(folder))
    gone("bench-unchanged")
    ratio = statistics.median(slow) / statistics.median(ours)
    yield (
        "nothing to change",
        seconds(ours),
        f"one task a manifest: {seconds(slow)}",
        f"{ratio:.1f} × faster (≥ 6); ≤ 6 s",
    )
    yield (
        "– requests to the API server",
        str(seen.total()),
        f"{documents} documents",
        f"documents + {seen.total() - documents} (≤ 25)",
    )


def bench_fleet(folder: Path) -> Iterator[Row]:
    """Ten clusters in one inventory, nothing to change, against one of them."""
    count = 10
    hosts = "".join(f"c{i} galera_cluster_name=c{i} galera_cluster_namespace=bench-fleet-{i}\n" for i in range(count))
    more = "galera_cluster_size=1\ngalera_cluster_haproxy_replicas=1\n"
    inventory = write_inventory(folder, f"\n[galera]\n{hosts}", more)
    play(inventory)
    play(inventory)
    single, fleet = [], []
    for _ in range(ROUNDS):
        begin = time.monotonic()
        play(inventory, "stateful.galera.site", "--limit", "c0")
        single.append(time.monotonic() - begin)
        begin = time.monotonic()
        play(inventory)
        fleet.append(time.monotonic() - begin)
    remove_namespaces(kubectl, *(f"bench-fleet-{i}" for i in range(count)))
    ratio = statistics.median(fleet) / statistics.median(single)
    yield (
        f"{count} clusters, nothing to change",
        seconds(fleet),
        f"one: {seconds(single)}",
        f"{ratio:.1f} × one (≤ 4)",
    )


def bench_memory(folder: Path) -> Iterator[Row]:
    """Resident memory of the agent in every pod of an idle cluster."""
    play(one(folder, "bench-memory"))
    sizes = []
    for ordinal in range(3):
        command = [
            "-n",
            "bench-memory",
            "exec",
            f"b-galera-{ordinal}",
            "-c",
            "agent",
            "--",
            "grep",
            "VmRSS",
            "/proc/1/status",
        ]
        sizes.append(int(kubectl(*command).stdout.split()[1]) / 1024)
    gone("bench-memory")
    yield ("agent, idle, resident", f"{max(sizes):.0f} MiB", "the leading operator: 48 MiB a pod + 180 MiB", "≤ 48 MiB")


def seconds(values: list[float]) -> str:
    """Median and all values."""
    return f"{statistics.median(values):.1f} s ({', '.join(f'{value:.1f}' for value in values)})"


def main() -> None:
    """Run the chosen benches and print the table."""
    benches = {"start": bench_start, "unchanged": bench_unchanged, "fleet": bench_fleet, "memory": bench_memory}
    chosen = sys.argv[1:] or list(benches)
    unknown = sorted(set(chosen) - set(benches))
    if unknown:
        sys.exit(f"unknown bench {', '.join(unknown)}; there are {', '.join(benches)}")
    print("| what | median (all) | measured beside it | ratio, goal |\n|---|---|---|---|", flush=True)
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            for row in benches[name](Path(folder)):
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
