# SPDX-License-Identifier: GPL-3.0-or-later
"""One step of the harness, with a cluster that stands still."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fault.journal import Entry, Worker
from fault.plan import Params, Step
from fault.runner import Runner
from fault.world import Fault, Injected, NotInjectedError

NODES = ["n-galera-0", "n-galera-1", "n-galera-2"]
WRITER, READER = Worker("append-0", "append", 3307, 0), Worker("read-12", "read", 3308, 12)


class Nothing(Fault):
    """Does what its test wants."""

    name = "nothing"

    def __init__(self, injected: Injected | NotInjectedError) -> None:
        self.injected, self.healed = injected, 0

    def variants(self, size: int) -> list[Params]:
        """One."""
        return [{}]

    def inject(self, world: Any, params: Params) -> Injected:
        """Return, or raise."""
        if isinstance(self.injected, NotInjectedError):
            raise self.injected
        return self.injected

    def heal(self, world: Any, params: Params) -> None:
        """Count."""
        self.healed += 1


def entries(worker: str, count: int, begin: float) -> list[Entry]:
    return [Entry(n, begin + n, begin + n + 0.5, "ok", 0, worker, 1, n, 0, 1) for n in range(1, count + 1)]


@pytest.fixture
def world() -> SimpleNamespace:
    """Three nodes; the fault begins at the clients' 100 s and has ended at 110 s."""
    clock = iter([100.0, 110.0])
    load = SimpleNamespace(
        await_all=lambda seconds: None,
        now=lambda: next(clock),
        pause=lambda: None,
        resume=lambda: None,
        read=lambda: {WRITER: entries("w", 4, 100), READER: entries("r", 9, 100)},
    )
    cluster = SimpleNamespace(
        nodes=NODES,
        pods=dict,
        transfers=lambda since: {"sst": 0, "ist": 1},
        logs=lambda pod, container, since: "",
    )
    return SimpleNamespace(
        load=load, cluster=cluster, homes={}, heal_seconds=1, await_whole=lambda *_, **__: 2.0, say=lambda text: None
    )


@pytest.fixture
def tables() -> SimpleNamespace:
    """Find nothing wrong."""
    return SimpleNamespace(check=lambda journals: (None, []), trim=lambda: None)


def test_a_row_counts_acknowledged_writes_and_no_reads(world: Any, tables: Any) -> None:
    row = Runner(world, tables).step(Step(1, "nothing", {}), Nothing(Injected(["n-galera-0"])))
    assert (row.acknowledged, row.targets, row.problems) == (4, ["n-galera-0"], [])


def test_a_fault_that_did_not_come_about_is_healed_and_told(world: Any, tables: Any) -> None:
    fault = Nothing(NotInjectedError("no mariadbd ran in n-galera-0"))
    row = Runner(world, tables).step(Step(1, "nothing", {}), fault)
    assert (row.missed, row.problems, fault.healed) == ("no mariadbd ran in n-galera-0", [], 1)
    assert row.healed is not None
