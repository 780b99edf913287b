# SPDX-License-Identifier: GPL-3.0-or-later
"""The benches of backups: three nodes with data, backed up to a real S3 server, each figure with its floor.

BENCH_MIB is the size of the data in MiB (1024).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import COMPONENT, ROUNDS, Row, client, gone, kubectl, one, play, ready, seconds, until
from objects import BUCKET, KEYS, apply, pod, serve_s3
from restore import against_hands

MIB = int(os.environ.get("BENCH_MIB", "1024"))
NAMESPACE, STORE = "bench-backup", "bench-s3"
ENDPOINT = f"http://s3.{STORE}:7070"
# The leader of backups: the last Synced node
NODE = "b-galera-2"
CACHES = Path("/proc/sys/vm/drop_caches")
AGENT = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
INVENTORY = f"""galera_cluster_agent_resources={json.dumps(AGENT)}
galera_cluster_backup_schedule="0 0 1 1 *"
galera_cluster_backup_binlog_interval=30s
galera_cluster_backup_s3_bucket={BUCKET}
galera_cluster_backup_s3_endpoint={ENDPOINT}
galera_cluster_backup_s3_access_key_id={KEYS["access-key-id"]}
galera_cluster_backup_s3_secret_access_key={KEYS["secret-access-key"]}
"""
# An order as shops have them: keys, numbers, and a text of thirty words; some 400 bytes with its indexes
WORDS = (
    "'street', 'road', 'north', 'south', 'garden', 'house', 'floor', 'left', 'right', 'please', 'deliver', 'before', "
    "'noon', 'after', 'call', 'ring', 'twice', 'neighbour', 'parcel', 'gift', 'wrapped', 'invoice', 'enclosed', "
    "'fragile', 'express', 'standard', 'customer', 'returning', 'discount', 'voucher', 'annual', 'order'"
)
NOTE = ", ".join([f"ELT(1 + FLOOR(RAND() * {WORDS.count(',') + 1}), {WORDS})"] * 30)
ORDERS = f"""INSERT INTO orders SELECT seq, FLOOR(RAND() * 100000), '2020-01-01' + INTERVAL seq MINUTE,
 1 + FLOOR(RAND() * 4), RAND() * 1000, MD5(RAND()), CONCAT('customer', FLOOR(RAND() * 100000), '@example.com'),
 CONCAT(FLOOR(RAND() * 999), ' ', ELT(1 + FLOOR(RAND() * 4), 'High', 'Station', 'Mill', 'Church'), ' street, ',
 FLOOR(RAND() * 99999)), CONCAT_WS(' ', {NOTE}) FROM seq_"""
SCHEMA = """CREATE TABLE appdb.orders (id BIGINT PRIMARY KEY, customer INT NOT NULL, placed DATETIME NOT NULL,
 status ENUM('new', 'paid', 'sent', 'returned') NOT NULL, amount DECIMAL(10, 2) NOT NULL, token CHAR(32) NOT NULL,
 email VARCHAR(80) NOT NULL, address VARCHAR(120) NOT NULL, note VARCHAR(400) NOT NULL, KEY (customer), KEY (placed));
CREATE TABLE appdb.events (id SERIAL, orders_id BIGINT NOT NULL, what VARCHAR(20) NOT NULL)"""
CHUNK = 10_000
SIZE = "SELECT file_size FROM information_schema.innodb_sys_tablespaces WHERE name = 'appdb/orders'"
# Seconds of each part of the load: before, while backups run one after the other, after
WINDOW, WARM_UP = 30, 10
CLIENTS = 8
RATE = float(os.environ.get("BENCH_RATE", "100"))
# The load comes from elsewhere: its processor is not one that a backup can take
LOAD_CPU = "500m"
# galera_cluster_backup_bandwidth where clients take all that the processors have
BANDWIDTH = "20Mi"


def do(*arguments: str, stdin: str | None = None) -> str:
    """kubectl in the namespace of the S3 server."""
    return kubectl("-n", STORE, *arguments, stdin=stdin).stdout


def sql(statement: str, node: int = 0) -> str:
    """Run SQL on a node."""
    mariadb = ["env", "MYSQL_PWD=bench", "mariadb", "-N", "-h", "127.0.0.1", "-u", "root", "appdb"]
    command = ["-n", NAMESPACE, "exec", "-i", f"b-galera-{node}", "-c", "mariadb", "--", *mariadb]
    return kubectl(*command, stdin=statement).stdout.strip()


def in_agent(*words: str, node: str = NODE) -> dict[str, Any]:
    """Run a command of in_agent.py in the agent of a node; returns its answer."""
    command = ["-n", NAMESPACE, "exec", "-i", node, "-c", "agent", "--", "env", *s3_environment(), "python3", "-"]
    script = Path(__file__).with_name("in_agent.py").read_text()
    done = kubectl(*command, *words, stdin=script, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)} in {node}: {done.stderr}")
    return json.loads(done.stdout)


def tick(kind: str) -> dict[str, Any]:
    """Take a backup, once all nodes are ready."""
    until(lambda: ready(NAMESPACE, f"{COMPONENT}=node", 3), "three ready nodes before a backup")
    return in_agent("tick", kind)


def s3_environment() -> list[str]:
    """How boto3 finds the S3 server."""
    return [
        f"AWS_ENDPOINT_URL_S3={ENDPOINT}",
        "AWS_DEFAULT_REGION=us-east-1",
        f"AWS_ACCESS_KEY_ID={KEYS['access-key-id']}",
        f"AWS_SECRET_ACCESS_KEY={KEYS['secret-access-key']}",
        f"BUCKET={BUCKET}",
    ]


def forget() -> None:
    """Drop the page cache of this machine, and so of a Kubernetes in it, where we may."""
    if os.access(CACHES, os.W_OK):
        os.sync()
        CACHES.write_text("3\n")


def published() -> dict[str, Any]:
    """What GET /backups tells."""
    command = ["-n", NAMESPACE, "get", "configmap", "b-galera-backup-state", "-o", "json"]
    data = json.loads(kubectl(*command).stdout).get("data") or {}
    return json.loads(data.get("catalog") or "{}")


def quiet() -> None:
    """Wait until the archive has all that was written, and nothing is under way."""
    gtid = sql("INSERT INTO events (orders_id, what) VALUES (0, 'bench'); SELECT @@last_gtid")
    last = int(gtid.rpartition("-")[2])
    until(lambda: (published().get("archive") or {}).get("last", 0) >= last, f"the archive of transaction {last}", 900)
    until(lambda: in_agent("memory")["processes"] == 1, "the end of the agent's children")


def fill() -> int:
    """Make the data; returns the number of rows."""
    sql(SCHEMA)
    rows = 0
    while int(sql(SIZE)) < MIB << 20:
        chunks = range(rows, rows + 10 * CHUNK, CHUNK)
        sql(";".join(f"{ORDERS}{first + 1}_to_{first + CHUNK}" for first in chunks))
        rows = chunks.stop
    return rows


def processors(work: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds of this machine, and so of a Kubernetes in it, while work runs: those in use, and all."""

    def read() -> tuple[float, float]:
        ran = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        # The fourth and fifth: without work, and waiting for a disk
        return (sum(ran) - ran[3] - ran[4]) / hertz, sum(ran) / hertz

    hertz = os.sysconf("SC_CLK_TCK")
    before = read()
    work()
    after = read()
    return after[0] - before[0], after[1] - before[1]


@contextmanager
def source(folder: Path) -> Iterator[int]:
    """A cluster with data and an S3 server, quiet; yields the number of rows. Both are gone at the end."""
    gone(NAMESPACE)
    with store():
        play(inventory(folder))
        until(first_backup, "the first backup, made by itself")
        rows = fill()
        quiet()
        yield rows
        gone(NAMESPACE)


def inventory(folder: Path, more: str = "") -> Path:
    """The inventory of that cluster."""
    return one(folder, NAMESPACE, f"{INVENTORY}galera_cluster_backup_s3_prefix=bench\n{more}", "4Gi")


def slow_down(folder: Path) -> None:
    """Set the bandwidth, and wait until the agent has it."""
    play(inventory(folder, f"galera_cluster_backup_bandwidth={BANDWIDTH}\n"))
    until(lambda: bool(in_agent("bandwidth")["bytes"]), "the new settings in the agent's pod")


def bench_backup(folder: Path) -> Iterator[Row]:
    """Backups of a cluster with data."""
    with source(folder) as rows:
        fulls = yield from bench_full()
        yield from bench_increment(fulls, rows)
        yield from bench_load(rows, RATE)
        yield from bench_load(rows)
        slow_down(folder)
        yield from bench_load(rows, bandwidth=BANDWIDTH)
        quiet()
        sizes = [in_agent("memory", node=f"b-galera-{ordinal}")["mib"] for ordinal in range(3)]
        beside = f"each pod: {', '.join(f'{size:.0f}' for size in sizes)}"
        yield ("agent with backups and archive, idle, resident", f"{max(sizes):.0f} MiB", beside, "≤ 48 MiB")


def bench_restore(folder: Path) -> Iterator[Row]:
    """The restore of a backup; the cluster that it is of has gone, so that it takes no part of the machine."""
    with source(folder):
        backup = tick("full")["name"]
        quiet()
        gone(NAMESPACE)
        with client():
            yield from against_hands(folder, INVENTORY, backup, s3_environment(), forget)


def first_backup() -> bool:
    """Whether the leader has taken a backup; stops the bench where it could not."""
    found = published()
    if (found.get("last") or {}).get("state") == "failed":
        sys.exit(f"the first backup failed: {found['last']['message']}")
    targets = (found.get("catalog") or {}).get("targets") or []
    return bool(found.get("archive")) and any(target["backups"] for target in targets)


@contextmanager
def store() -> Iterator[None]:
    """An S3 server in a namespace of its own."""
    gone(STORE)
    kubectl("create", "namespace", STORE)
    try:
        serve_s3(do)
        yield
    finally:
        gone(STORE)


def bench_full() -> Iterator[Row]:
    """Full backups, with what bounds them, and the same by hand, with zstd and with gzip; returns the backups."""
    fulls: list[dict[str, Any]] = []
    floors: dict[str, list[float]] = {"read": [], "zstd": [], "put": []}
    hands: dict[str, list[float]] = {"zstd": [], "gzip": []}
    used, ran = processors(lambda: time.sleep(WARM_UP))
    idle, work = used / ran, []
    for _ in range(ROUNDS):
        forget()
        work.append(processors(lambda: fulls.append(tick("full"))))
        forget()
        read = in_agent("read")
        floors["read"].append(read["seconds"])
        floors["zstd"].append(in_agent("zstd")["seconds"])
        floors["put"].append(in_agent("put", f"bench/backups/{fulls[-1]['name']}/backup.xb.zst")["seconds"])
        for packer, found in hands.items():
            forget()
            found.append(in_agent("hand", packer)["seconds"])
    size, ours = read["bytes"], taken(fulls)
    slowest = max(floors, key=lambda name: statistics.median(floors[name]))
    yield (
        f"full backup to S3 of {size >> 20} MiB ({fulls[0]['stored'] >> 20} MiB stored)",
        f"{seconds(ours)}, {size / statistics.median(ours) / 2**20:.0f} MiB/s",
        "; ".join(f"{name}: {seconds(found)}" for name, found in floors.items()),
        f"{statistics.median(floors[slowest]) / statistics.median(ours):.0%} of the slowest, {slowest} (≥ 80 %)",
    )
    # What a backup and the S3 server add to the idle cluster
    added, count = statistics.median(used - idle * ran for used, ran in work), os.cpu_count() or 1
    yield (
        f"– processors: {count}, for all nodes and the S3 server",
        f"{statistics.median(used / ran for used, ran in work):.0%} in use",
        f"without a backup: {idle:.0%}",
        f"{added:.1f} processor seconds: {added / count / (1 - idle):.1f} s at the least",
    )
    yield (
        "– against the pipe by hand",
        seconds(ours),
        f"mariadb-backup, zstd, boto3: {seconds(hands['zstd'])}",
        f"{statistics.median(ours) / statistics.median(hands['zstd']):.2f} × the floor",
    )
    yield (
        "– against gzip by hand",
        seconds(ours),
        f"mariadb-backup, gzip, boto3: {seconds(hands['gzip'])}",
        f"{statistics.median(hands['gzip']) / statistics.median(ours):.1f} × faster (≥ 4)",
    )
    return fulls


def bench_increment(fulls: list[dict[str, Any]], rows: int) -> Iterator[Row]:
    """Increments after a change of one percent, in one range of keys."""
    increments, read = [], []
    for number in range(ROUNDS):
        first = 1 + number * rows // ROUNDS
        last = first + rows // 100
        sql(f"UPDATE orders SET amount = amount + 1, token = MD5(token) WHERE id BETWEEN {first} AND {last}")
        quiet()
        forget()
        increments.append(tick("incremental"))
        forget()
        read.append(in_agent("read"))
    ours, full = taken(increments), taken(fulls)
    yield (
        f"increment after 1 % changed ({increments[0]['bytes'] >> 20} MiB, {increments[0]['stored'] >> 20} MiB stored)",
        seconds(ours),
        f"full: {seconds(full)}; reading the files: {seconds(taken(read))}",
        f"{statistics.median(ours) / statistics.median(full):.0%} of the full (≤ 10 %)",
    )


def bench_load(rows: int, rate: float = 0.0, bandwidth: str = "") -> Iterator[Row]:
    """A steady load, or one that takes what it can get, before, during and after backups."""
    with load(rate, rows) as lines:
        until(lambda: len(lines) >= WARM_UP + WINDOW, "the load before a backup")
        begin, count = len(lines), 0
        while len(lines) < begin + WINDOW:
            tick("full")
            count += 1
        end = len(lines)
        until(lambda: len(lines) >= end + WINDOW, "the load after the backup")
        parts = lines[WARM_UP:begin], lines[begin:end], lines[end + 2 :]
    before, during, after = (statistics.mean(one[0] for one in part) for part in parts)
    slowest = [max(one[1] for one in part) for part in parts]
    failed = sum(one[2] for part in parts for one in part)
    title = f"{CLIENTS} clients, {rate:.0f} transactions a second" if rate else f"{CLIENTS} clients without a pause"
    backups = f"{count} full backups one after the other" if count > 1 else "a full backup"
    yield (
        f"{title}, {backups}{f' at {bandwidth}B a second' if bandwidth else ''} ({failed} failed)",
        f"{during:.0f} a second, the slowest {slowest[1]} ms",
        f"before: {before:.0f}, {slowest[0]} ms; after: {after:.0f}, {slowest[2]} ms",
        f"{during / statistics.mean((before, after)) - 1:+.0%} (drop ≤ 10 %)",
    )


@contextmanager
def load(rate: float, rows: int) -> Iterator[list[list[int]]]:
    """Run the clients; yields what they print, a line for each second: commits, slowest in milliseconds, failures."""
    lines: list[list[int]] = []
    clients = pod("load", [], [])
    clients["spec"]["containers"][0]["resources"] = {"requests": {"cpu": LOAD_CPU}}
    apply(do, clients)
    do("wait", "--for=condition=Ready", "pod/load", "--timeout=120s")
    words = [f"b-galera-haproxy.{NAMESPACE}", str(CLIENTS), str(rate), str(rows)]
    with Path(__file__).with_name("load_client.py").open() as script:
        process = subprocess.Popen(
            ["kubectl", "-n", STORE, "exec", "-i", "load", "--", "python3", "-", *words],
            stdin=script,
            stdout=subprocess.PIPE,
            text=True,
        )

    def collect() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append([int(word) for word in line.split()])

    reader = threading.Thread(target=collect)
    reader.start()
    try:
        yield lines
    finally:
        do("exec", "load", "--", "touch", "/tmp/stop")
        process.wait()
        reader.join()
        do("delete", "pod", "load", "--wait")


def taken(found: list[dict[str, Any]]) -> list[float]:
    """The seconds of answers."""
    return [float(one["seconds"]) for one in found]
