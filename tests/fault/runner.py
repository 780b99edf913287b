# SPDX-License-Identifier: GPL-3.0-or-later
"""One step after the other: whole cluster, fault, healing, whole cluster, check."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from fault.check import Tables
from fault.gaps import stall
from fault.journal import Entry, Worker, acknowledgements, outcomes
from fault.kube import KubeError, WaitError, utc
from fault.oracle import bootstraps, judge
from fault.plan import Step
from fault.report import Row
from fault.world import Fault, Injected, NotInjectedError, World

WRITER_PORT = 3307
CHECK_TRIES = 5


class Runner:
    """Injects steps into one cluster under one load."""

    def __init__(self, world: World, tables: Tables) -> None:
        self._world, self._tables = world, tables
        self.journals: Mapping[Worker, Sequence[Entry]] = {}

    def step(self, step: Step, fault: Fault) -> Row:
        """Inject one fault and tell what came of it; a problem of the cluster is in the row, not an exception.

        Raises KubeError or WaitError where the cluster was not whole to begin with, or the harness itself failed.
        """
        world, row = self._world, Row(step.number, step.fault, step.title)
        # It was whole for a while at the end of the step before, and at the beginning of the session
        world.await_whole("the cluster to be whole before the fault", steady=0)
        world.load.await_all(60)
        world.homes = {name: pod.node for name, pod in world.cluster.pods().items()}
        since = utc()
        begin = world.load.now()
        injected = self._inject(step, fault, row)
        try:
            row.healed = self._await_health(row)
        except WaitError as problem:
            row.problems.append(f"did not converge: {problem}")
            return row
        self._judge(row, injected, since, begin)
        return row

    def _inject(self, step: Step, fault: Fault, row: Row) -> Injected:
        """Inject and heal. What goes wrong in between is told after the healing was tried."""
        injected = Injected([])
        try:
            injected = fault.inject(self._world, step.params)
        except NotInjectedError as reason:
            row.missed = str(reason)
        except (WaitError, TimeoutError) as problem:
            row.problems.append(f"while the fault lasted: {problem}")
        finally:
            fault.heal(self._world, step.params)
        row.targets, row.measured = injected.targets, dict(injected.measured)
        row.problems += injected.problems
        return injected

    def _await_health(self, row: Row) -> float:
        """Seconds until the cluster is whole and every client has had an answer. Raises WaitError."""
        begin = time.monotonic()
        row.measured["synced"] = round(self._world.await_whole(), 2)
        self._world.load.await_all(self._world.heal_seconds)
        return time.monotonic() - begin

    def _judge(self, row: Row, injected: Injected, since: str, begin: float) -> None:
        world = self._world
        end = world.load.now()
        world.load.pause()
        try:
            self.journals = world.load.read()
            problems = self._compare()
            if not problems:
                self._tables.trim()
        finally:
            world.load.resume()
        row.problems += problems
        whole, writer = (stall(acknowledgements(self.journals, port), begin, end) for port in (None, WRITER_PORT))
        row.gap = whole.first and whole.first.seconds
        row.gap_writer = writer.first and writer.first.seconds
        row.second = writer.second and writer.second.seconds
        row.measured |= outcomes(self.journals, begin)
        row.acknowledged = row.measured["ok"]
        received = world.cluster.transfers(since)
        row.sst, row.ist = received["sst"], received["ist"]
        self._judge_election(row, injected, since)

    def _compare(self) -> list[str]:
        """What is wrong in the tables; where a node goes away just then, wait and check again.

        Raises WaitError, KubeError.
        """
        for _ in range(CHECK_TRIES - 1):
            try:
                return self._tables.check(self.journals)[1]
            except KubeError as problem:
                self._world.say(f"    the check is done again: {str(problem)[-160:].strip()}")
                self._world.await_whole("the cluster to be whole for the check")
        return self._tables.check(self.journals)[1]

    def _judge_election(self, row: Row, injected: Injected, since: str) -> None:
        """Who bootstrapped, by the agents' logs, and who had to, by the volumes."""
        world = self._world
        logs = {pod: world.cluster.logs(pod, "agent", since) for pod in world.cluster.nodes}
        chosen = {pod: reasons for pod, log in logs.items() if (reasons := bootstraps(log))}
        if not chosen and injected.volumes is None:
            return
        row.election = {"chosen": sorted(chosen), "reasons": chosen, "agrees": None, "right": None}
        if injected.volumes is not None:
            verdict = judge(injected.volumes, sorted(chosen))
            row.election |= {"agrees": verdict.agrees, "right": list(verdict.right), "why": verdict.why}
            if not verdict.agrees:
                row.problems.append(f"{', '.join(chosen) or 'nobody'} bootstrapped, but {verdict.why}")
