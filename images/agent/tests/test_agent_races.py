# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's threads against each other, and what is left of them when the machine has nothing more to give."""

from __future__ import annotations

import pytest
from agent_rig import GRASTATE, NO_SEED, PRIMARY, A, Rig, fill, words
from galera_agent.datadir import Evidence
from galera_agent.members import Contact, Member


def test_a_container_that_comes_while_the_end_of_the_last_one_is_noted_is_heard(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was being made for the last one is removed in between, which may take a while."""
    fill(rig.settings.datadir, GRASTATE)
    rig.world.peers = (Member("n-galera-1", False, 1, Contact.SILENT), NO_SEED)
    rig.send("start\n").close()
    came = []
    monkeypatch.setattr(rig.control._rejoin, "stop", lambda: came or came.append(rig.send("start\n")))
    rig.rounds(1)
    assert (rig.state.now.phase, rig.state.now.evidence) == ("waiting", Evidence("present", A, 7))
    rig.world.peers = (PRIMARY,)
    rig.rounds(1)
    assert words(came[0])[0] == "exec"
