#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the collection against a floor in the same run, on the Kubernetes that KUBECONFIG names.

usage: bench.py [start|unchanged|fleet|memory|backup|restore ...]   (all of them without an argument)

Prints one Markdown table. The benches take the namespaces bench-* and remove them.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

sys.path.append(str(Path(__file__).resolve().parents[1]))

from backup import bench_backup, bench_restore
from common import ROUNDS, Row, client, gone, insert, kubectl, one, play, seconds, start_by_hand, write_inventory
from counting_proxy import counting_proxy
from objects import remove_namespaces


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
    begin = time.monotonic()
    for name in ("namespace", "volumes"):
        kubectl("apply", "-f", f"{folder}/galera-3-{name}.yml")
    start_by_hand(folder, "bench-start")
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


def main() -> None:
    """Run the chosen benches and print the table."""
    benches = {
        "start": bench_start,
        "unchanged": bench_unchanged,
        "fleet": bench_fleet,
        "memory": bench_memory,
        "backup": bench_backup,
        "restore": bench_restore,
    }
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
