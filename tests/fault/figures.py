#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of docs/reliability.md: how long writes stand still, and how long the cluster takes to be whole.

usage: figures.py [kill|slow_checks|silence|rolling|crash|evictions|slow_transfer ...] [--kills N] [--rate N]
                  [--rounds N] [--megabytes N,N] [--floors N] [--seconds N] [--transfer SECONDS] [--set NAME=VALUE]
                  [--report DIR]

Makes a cluster of its own, as run.py does. Prints one Markdown table; nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fault import floor, slow
from fault.check import Tables
from fault.cluster import connection, read_inventory
from fault.faults.network import Latency, clear_rules, see_held_back, set_rules
from fault.faults.registry import FAULTS
from fault.gaps import stall, statistics_of
from fault.journal import acknowledgements, outcomes
from fault.kube import Kubectl, until, utc
from fault.load import Mix
from fault.plan import Params, Step
from fault.report import Row
from fault.run import say, settings
from fault.runner import Runner
from fault.session import own_cluster, own_inventory, play, session
from fault.starve import starved
from fault.views import watch
from fault.world import World

SLOW = "inter 10s fall 2"
_CHECK = re.compile(r"inter \S+ fastinter \S+ downinter \S+ fall \d+")


class Bench:
    """One cluster, and the figures that were measured on it."""

    def __init__(self, world: World, tables: Tables, inventory: Path, given: argparse.Namespace) -> None:
        self.world, self.tables, self.inventory, self.given = world, tables, inventory, given
        self.runner = Runner(world, tables)
        self.rows: list[tuple[str, dict[str, Any]]] = []

    def load(self, retries: int = 0, rate: float | None = None) -> None:
        """Fresh clients, at the wanted rate where no other is given."""
        self.world.load.stop()
        self.tables.make(self.world.load.password)
        self.world.load.start(Mix(rate or self.given.rate, retries))
        self.world.load.resume()
        self.world.load.await_all(60)

    def repeat(self, what: str, fault: str, params: Params, count: int) -> list[Row]:
        """Inject the same fault several times; note the statistics."""
        rows = []
        for number in range(1, count + 1):
            row = self.runner.step(Step(number, fault, params), FAULTS[fault])
            seen = f"gap {row.gap_writer}, second {row.second}, synced {row.measured.get('synced')}"
            say(f"{what} {number}/{count}: {seen}")
            rows.append(row)
        self.note(what, statistics(rows))
        return rows

    def note(self, what: str, values: dict[str, Any]) -> None:
        """Keep one line of the table."""
        self.rows.append((what, values))
        print(f"| {what} | {cells(values)} |", flush=True)


def statistics(rows: Sequence[Row]) -> dict[str, Any]:
    """Statistics of steps of one kind."""
    columns: dict[str, Callable[[Row], float | None]] = {
        "write gap": lambda row: row.gap_writer,
        "second stall": lambda row: row.second,
        "all Synced": lambda row: row.measured.get("synced"),
    }
    found: dict[str, Any] = {}
    for name, pick in columns.items():
        sample = statistics_of([value for row in rows if (value := pick(row)) is not None])
        found[name] = sample.as_dict() if sample else None
    return found | {
        "IST": sum(row.ist for row in rows),
        "SST": sum(row.sst for row in rows),
        "problems": [problem for row in rows for problem in (*row.problems, *filter(None, [row.missed]))],
    }


def cells(values: dict[str, Any]) -> str:
    """Values as text: `median / p99 / worst` for statistics."""

    def one(value: Any) -> str:
        if isinstance(value, dict):
            return f"{value['median']:.2f} / {value['p99']:.2f} / {value['worst']:.2f} s of {value['count']}"
        if isinstance(value, list):
            return "; ".join(map(str, value)) or "none"
        return f"{value:.2f}" if isinstance(value, float) else str(value)

    return " · ".join(f"{name}: {one(value)}" for name, value in values.items())


def bench_kill(bench: Bench) -> None:
    """SIGKILL of the writer's mariadbd."""
    bench.load()
    bench.repeat("kill -9 of the writer", "kill", {"nodes": ["writer"]}, bench.given.kills)


@contextmanager
def slow_checks(world: World) -> Iterator[None]:
    """HAProxy with the checks of others: every 10 s, down after two that failed."""
    name, cluster = world.cluster.proxy, world.cluster
    original = cluster.get("configmap", name)["data"]["haproxy.cfg"]
    changed, count = _CHECK.subn(SLOW, original)
    if not count:
        raise LookupError(f"no interval of checks is found in the ConfigMap {name}: {original[:200]}")
    try:
        configure(world, name, changed)
        yield
    finally:
        configure(world, name, original)


def configure(world: World, name: str, text: str) -> None:
    """Give HAProxy a configuration, and new pods that read it."""
    patch = json.dumps({"data": {"haproxy.cfg": text}})
    namespace = ["-n", world.cluster.namespace]
    world.cluster.kubectl(*namespace, "patch", "configmap", name, "--type=merge", "-p", patch)
    world.cluster.kubectl(*namespace, "rollout", "restart", f"deployment/{name}")
    world.cluster.kubectl(*namespace, "rollout", "status", f"deployment/{name}", "--timeout=180s", seconds=200)
    until(world.cluster.trouble, "the cluster to be whole with other checks", world.heal_seconds)


def bench_slow_checks(bench: Bench) -> None:
    """The same kills with HAProxy's check at `inter 10s fall 2`."""
    with slow_checks(bench.world):
        bench.load()
        bench.repeat(f"kill -9 of the writer, {SLOW}", "kill", {"nodes": ["writer"]}, bench.given.kills)


def bench_silence(bench: Bench) -> None:
    """SIGSTOP of the writer, and the writer parted from the others without a word."""
    bench.load()
    frozen = {"nodes": ["writer"], "seconds": 20}
    bench.repeat("SIGSTOP of the writer", "freeze", frozen, bench.given.rounds)
    bench.repeat("silent partition of the writer", "isolate", frozen, bench.given.rounds)


def bench_rolling(bench: Bench) -> None:
    """The rolling restart under load, its clients trying again once, against the sum of its nodes' restarts."""
    world = bench.world
    bench.load(retries=1)
    floor = sum(restart(world, name) for name in world.cluster.nodes)
    world.load.pause()
    _, problems = bench.tables.check(world.load.read())
    world.load.resume()
    world.load.await_all(60)
    begin, since, clock = world.load.now(), utc(), time.monotonic()
    play(bench.inventory, "stateful.galera.rolling_restart")
    took = time.monotonic() - clock
    world.await_whole()
    end = world.load.now()
    world.load.pause()
    journals = world.load.read()
    problems += bench.tables.check(journals)[1]
    longest = stall(acknowledgements(journals), begin, end).first
    values = {"total": took, "sum of stop + start + IST": floor, "ratio": took / floor}
    values |= {"write gap": longest and longest.seconds}
    sent = world.cluster.transfers(since)
    values |= {**outcomes(journals, begin), "SST": sent["sst"], "problems": problems}
    bench.note("rolling restart under load, one retry", values)


def restart(world: World, name: str) -> float:
    """Seconds from the deletion of a pod until its successor is Synced and Ready."""
    begin, uid = time.monotonic(), world.cluster.pods()[name].uid
    world.cluster.kubectl("-n", world.cluster.namespace, "delete", "pod", name, "--wait=false")

    def missing() -> str | None:
        pod = world.cluster.pods().get(name)
        return world.cluster.trouble() if pod is not None and pod.uid != uid else "the old pod is there"

    until(missing, f"{name} to be back", world.heal_seconds)
    return time.monotonic() - begin


def bench_crash(bench: Bench) -> None:
    """All nodes SIGKILLed at once, with more data each time."""
    for megabytes in bench.given.megabytes:
        floor.grow(bench.world, megabytes)
        bench.load()
        found = [floor.measure(bench.world) for _ in range(bench.given.floors)]
        by_hand = {"first write": [one.first_write for one in found], "all Synced": [one.all_synced for one in found]}
        samples = {name: statistics_of(values) for name, values in by_hand.items()}
        bench.note(f"by hand, {megabytes} MB", {name: sample and sample.as_dict() for name, sample in samples.items()})
        bench.repeat(f"all nodes killed, {megabytes} MB", "kill", {"nodes": "all"}, bench.given.rounds)


def bench_evictions(bench: Bench) -> None:
    """Members that are only slow: five minutes without processor time, and 200 ms of delay each way."""
    world = bench.world
    bench.load(rate=20)
    with starved(world, world.hands.namespace):
        bench.note("machines starved", asdict(watch(world, bench.given.seconds)))
    world.await_whole()
    latency: Params = {"milliseconds": 200, "nodes": "all"}
    for name in world.cluster.nodes:
        world.hands.at(name, "delay", str(latency["milliseconds"]), str(bench.given.seconds + 60))
    set_rules(world, Latency().rules(world, latency))
    try:
        bench.note("200 ms of delay each way", asdict(watch(world, bench.given.seconds)))
        see_held_back(world, world.cluster.nodes)
    finally:
        clear_rules(world)
    world.await_whole()


def bench_slow_transfer(bench: Bench) -> None:
    """A full state transfer that takes an hour, while clients write."""
    world, megabytes = bench.world, bench.given.megabytes[0]
    floor.grow(world, megabytes)
    bench.load(rate=20)
    begin = world.load.now()
    found = slow.transfer(world, bench.given.transfer)
    world.await_whole()
    end = world.load.now()
    world.load.pause()
    journals = world.load.read()
    problems = bench.tables.check(journals)[1]
    world.load.resume()
    longest = stall(acknowledgements(journals), begin, end).first
    values = {**asdict(found), "views": f"{found.views.changes} changes, at least {found.views.smallest} members"}
    values |= {"write gap": longest and longest.seconds, **outcomes(journals, begin)}
    bench.note(f"a full transfer of {megabytes} MB, slowly", {**values, "problems": problems})


BENCHES: dict[str, Callable[[Bench], None]] = {
    "kill": bench_kill,
    "slow_checks": bench_slow_checks,
    "silence": bench_silence,
    "rolling": bench_rolling,
    "crash": bench_crash,
    "evictions": bench_evictions,
    "slow_transfer": bench_slow_transfer,
}


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", help=f"of {', '.join(BENCHES)}; default: all")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--megabytes", type=lambda text: [int(one) for one in text.split(",")], default=[250, 2000])
    parser.add_argument("--floors", type=int, default=3, help="how often a crash is recovered from by hand")
    parser.add_argument("--seconds", type=int, default=300, help="how long members are slow")
    parser.add_argument("--transfer", type=int, default=3600, help="how many seconds the slow state transfer takes")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--report", type=Path, metavar="DIR")
    parser.add_argument("--keep", action="store_true", help="leave the cluster as it is at the end")
    given = parser.parse_args()
    if unknown := sorted(set(given.figures) - set(BENCHES)):
        parser.error(f"unknown figure {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    return given


def main() -> int:
    """Measure and print; 1 where anything was lost."""
    given = options()
    with tempfile.TemporaryDirectory() as folder:
        inventory = own_inventory(Path(folder), settings(given.set))
        variables = read_inventory(inventory, None)
        kubectl, namespace = Kubectl(connection(variables)), str(variables["galera_cluster_namespace"])
        with (
            own_cluster(inventory, namespace, kubectl, given.keep),
            session(variables, say, own=True) as (world, tables),
        ):
            bench = Bench(world, tables, inventory, given)
            print("| what | median / p99 / worst |\n|---|---|", flush=True)
            for name in given.figures or BENCHES:
                BENCHES[name](bench)
    if given.report is not None:
        given.report.mkdir(parents=True, exist_ok=True)
        (given.report / "figures.json").write_text(json.dumps(dict(bench.rows), indent=1) + "\n")
    return 1 if any(values.get("problems") for _, values in bench.rows) else 0


if __name__ == "__main__":
    # So that what was made is removed, and what was frozen goes on
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except subprocess.SubprocessError as problem:
        sys.exit(f"error: {problem}")
