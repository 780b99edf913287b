#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Injure a Galera cluster while clients write, and prove that nothing acknowledged is lost.

Without -i a cluster of its own is made on the Kubernetes that KUBECONFIG names, injured and removed. With -i a cluster
that exists is injured: it will lose nodes, connections and time, and the harness needs privileged pods on its machines.
It is refused unless --confirm names that cluster.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fault import plan, report
from fault.cluster import InventoryError, connection, read_inventory
from fault.controls import CONTROLS
from fault.faults.registry import FAULTS, describe
from fault.kube import Kubectl, KubeError, WaitError
from fault.load import Mix
from fault.runner import Runner
from fault.session import PlayError, own_cluster, own_inventory, play, session
from fault.world import NotInjectedError, World

BEGIN = time.monotonic()


class UsageError(Exception):
    """An option that cannot be met; the text says which, what was given and what is allowed."""


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; refuses with exit code 2."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="faults:\n" + describe(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-i", "--inventory", type=Path, help="inventory of a cluster that exists")
    parser.add_argument("--limit", help="host of the inventory, where it has several clusters")
    parser.add_argument(
        "--confirm", metavar="CLUSTER", help="name of the cluster of -i, typed as the consent to injure it"
    )
    parser.add_argument("--faults", default="all", help="names with commas between them (default: all)")
    parser.add_argument(
        "--every", action="store_true", help="every variant of each fault, instead of one chosen by the seed"
    )
    parser.add_argument(
        "--steps", type=Path, metavar="FILE", help="exactly these: JSON, [[fault, {parameter: value}], ...]"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the order and of the variants (default: 1)")
    parser.add_argument("--rounds", type=int, default=1, help="how often each fault is injected (default: 1)")
    parser.add_argument("--duration", type=float, metavar="MINUTES", help="begin no fault after so many minutes")
    parser.add_argument("--rate", type=float, default=100, help="writes a second (default: 100)")
    parser.add_argument("--retries", type=int, default=0, help="how often clients try again after a lost connection")
    parser.add_argument(
        "--controls", default="all", help="controls that must lose data, 'none' for none (default: all)"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="where report.json and report.md are written")
    parser.add_argument("--endpoint", metavar="HOST", help="run the clients here, against this address of HAProxy")
    parser.add_argument(
        "--allow", default="", help="'clock': clocks may be stepped; 'machines': what others use may be stopped"
    )
    parser.add_argument("--heal-timeout", type=float, default=300, metavar="SECONDS", help="patience after a fault")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="variable of the own cluster")
    parser.add_argument("--keep", action="store_true", help="leave the own cluster as it is at the end")
    parser.add_argument("--plan", action="store_true", help="print the steps and end")
    return parser.parse_args(arguments)


def consent(given: argparse.Namespace, variables: dict[str, Any]) -> None:
    """Refuse to injure somebody's cluster without its typed name. Raises UsageError."""
    name = variables["galera_cluster_name"]
    if given.set:
        raise UsageError(
            f"--set {given.set[0]}: only for the harness's own cluster; {name} is changed by its inventory"
        )
    if given.confirm != name:
        typed = "is missing" if given.confirm is None else f"is '{given.confirm}'"
        raise UsageError(
            f"this injures the cluster {name} of {given.inventory}: its nodes are killed, parted and emptied while "
            f"clients write. --confirm {typed}; it must be '{name}'"
        )


def settings(pairs: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE of --set. Raises UsageError."""
    wrong = [pair for pair in pairs if "=" not in pair or not pair.startswith("galera_")]
    if wrong:
        raise UsageError(f"--set {wrong[0]}: must be a variable of the inventory, galera_...=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


def read_steps(path: Path) -> list[plan.Step]:
    """The steps of a file. Raises UsageError and PlanError."""
    try:
        listed = [(str(fault), dict(params)) for fault, params in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError) as problem:
        raise UsageError(f"--steps {path}: must be JSON, [[fault, {{parameter: value}}], ...]: {problem}") from None
    plan.chosen(",".join(fault for fault, _ in listed), list(FAULTS))
    return [plan.Step(number, fault, params) for number, (fault, params) in enumerate(listed, 1)]


def say(text: str) -> None:
    """A line of progress."""
    print(f"{time.monotonic() - BEGIN:7.1f} s  {text}", flush=True)


def controls_of(given: argparse.Namespace) -> list[str]:
    """Names of the wanted controls; on somebody's cluster only those that harm nothing. Raises PlanError."""
    if given.controls == "none":
        return []
    names = plan.chosen(given.controls, list(CONTROLS))
    return [name for name in names if given.inventory is None or CONTROLS[name].harmless]


def inject(
    world: World, runner: Runner, steps: Sequence[plan.Step], given: argparse.Namespace, out: report.Report
) -> None:
    """All steps; ends early where the cluster did not come back."""
    for step in steps:
        if given.duration is not None and time.monotonic() - BEGIN > given.duration * 60:
            say(f"{given.duration:g} minutes are over")
            return
        fault = FAULTS[step.fault]
        if reason := out.not_run.get(step.fault) or fault.impossible(world):
            if step.fault not in out.not_run:
                say(f"{step.fault} is not run here: {reason}")
            out.not_run[step.fault] = reason
            continue
        say(f"{step.number}/{len(steps)} {step.title}")
        row = runner.step(step, fault)
        out.rows.append(row)
        save(given, out)
        gap = "–" if row.gap_writer is None else f"{row.gap_writer:.2f} s"
        healed = "never" if row.healed is None else f"after {row.healed:.1f} s"
        found = [*([f"NOT INJECTED: {row.missed}"] if row.missed else []), *row.problems]
        what = "; ".join(found) or "nothing lost"
        say(f"    {', '.join(row.targets)}: writes stood still {gap}, whole {healed}; {what}")
        if row.healed is None:
            raise WaitError(row.problems[-1])


def save(given: argparse.Namespace, out: report.Report) -> None:
    """Write the report as far as it goes."""
    if given.report is not None:
        given.report.mkdir(parents=True, exist_ok=True)
        (given.report / "report.json").write_text(json.dumps(out.as_dict(), indent=1) + "\n")
        (given.report / "report.md").write_text(report.markdown(out))


def work(
    given: argparse.Namespace, inventory: Path, variables: dict[str, Any], steps: Sequence[plan.Step]
) -> report.Report:
    """The whole run on a cluster that exists."""
    controls = controls_of(given)
    allowed = frozenset(filter(None, given.allow.split(",")))
    more: dict[str, Any] = {"heal_seconds": given.heal_timeout, "own": given.inventory is None, "allowed": allowed}
    if given.inventory is None:
        confirm = f"galera_recover_confirm={variables['galera_cluster_name']}"
        more["recover"] = lambda: play(inventory, "stateful.galera.recover", "-e", confirm)
    out = report.Report({"seed": given.seed, "rounds": given.rounds, "rate": given.rate, "steps": len(steps)})
    with session(variables, say, given.endpoint, **more) as (world, tables):
        out.about["nodes"] = world.cluster.size
        out.about["server"] = world.cluster.status(world.cluster.nodes[0])["server_version"]
        try:
            world.load.start(Mix(given.rate, given.retries))
            world.load.resume()
            inject(world, Runner(world, tables), steps, given, out)
            for name in controls:
                say(f"control {name}")
                out.controls.append(CONTROLS[name].run(world, tables))
                say(f"    {'; '.join(out.controls[-1].found) or 'NOTHING FOUND'}")
        except (KubeError, WaitError, PlayError, NotInjectedError) as problem:
            out.stopped = str(problem)
            say(f"ends early: {problem}")
        except KeyboardInterrupt:
            out.stopped = "interrupted"
    save(given, out)
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns 0, 1 for any loss, divergence, missing convergence or blunt control, 2 for bad input."""
    given = options(arguments)
    try:
        names = plan.chosen(given.faults, list(FAULTS))
        controls_of(given)
        with tempfile.TemporaryDirectory() as folder:
            inventory = given.inventory or own_inventory(Path(folder), settings(given.set))
            variables = read_inventory(inventory, given.limit)
            if given.inventory is not None:
                consent(given, variables)
            size = int(variables.get("galera_cluster_size", 3))
            steps = (
                read_steps(given.steps)
                if given.steps
                else plan.make(
                    {name: FAULTS[name].variants(size) for name in names}, given.seed, given.rounds, given.every
                )
            )
            if given.plan:
                print("\n".join(f"{step.number} {step.title}" for step in steps))
                return 0
            kubectl = Kubectl(connection(variables))
            namespace = str(variables["galera_cluster_namespace"])
            cluster = nullcontext() if given.inventory else own_cluster(inventory, namespace, kubectl, given.keep)
            with cluster:
                out = work(given, inventory, variables, steps)
    except (plan.PlanError, UsageError, InventoryError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except (PlayError, KubeError, WaitError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print(report.markdown(out))
    return 1 if out.failures() else 0


if __name__ == "__main__":
    # So that what was made is removed, and what was frozen goes on
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
