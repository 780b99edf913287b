# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the cluster is whole enough for a backup: what the other agents say, and what the component counts."""

from __future__ import annotations

import pytest
from agent_fakes import Others
from agent_rig import status
from galera_agent.backup.server import degraded
from galera_agent.peers import Answer
from galera_agent.settings import Settings
from galera_agent.state import Snapshot, report

ONE, TWO, SEED = "n-galera-1", "n-galera-2", "n-galera-seed-0"


def serves(pod: str, local_state: str = "4") -> Answer:
    return Answer(report(Snapshot("running", wsrep=status(local_state=local_state)), 0.1, pod, "node"))


def does(pod: str, phase: str, reason: str) -> Answer:
    return Answer(report(Snapshot(phase, reason=reason), None, pod, "node"))


CASES = {
    "all serve": (3, (serves(ONE), serves(TWO)), ""),
    "one sends its data to nobody else's harm": (3, (serves(ONE, "2"), serves(TWO)), ""),
    "who is silent may serve, as the component counts it": (3, (serves(ONE),), ""),
    "one has gone": (2, (serves(ONE),), "2 of 3 nodes"),
    "one still gets its data, and is a member": (
        3,
        (serves(ONE), does(TWO, "starting", "joins")),
        "n-galera-2 is starting: joins",
    ),
    "one waits outside, for a donor": (
        3,
        (serves(ONE), serves(SEED), does(TWO, "waiting", "for a donor")),
        "2 of 3 nodes",
    ),
    "the seed is there beside all nodes": (4, (serves(ONE), serves(TWO), serves(SEED)), ""),
    "the seed is there, and a node is not": (3, (serves(ONE), serves(SEED)), "2 of 3 nodes"),
}


@pytest.mark.parametrize(("size", "answers", "why"), CASES.values(), ids=CASES.keys())
def test_a_cluster_is_degraded_while_a_node_lacks_its_data(
    settings: Settings, size: int, answers: tuple[Answer, ...], why: str
) -> None:
    said = {str((answer.status or {})["pod"]): answer for answer in answers}
    assert degraded(settings, 3, size, Others(said)) == (f"the cluster is degraded: {why}" if why else "")
