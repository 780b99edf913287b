# SPDX-License-Identifier: GPL-3.0-or-later
"""Who joins at once, and who lets another enter or waits for a donor first: by tables."""

from __future__ import annotations

from dataclasses import replace

import pytest
from galera_agent.datadir import Evidence
from galera_agent.decide import await_donor, hold_back
from galera_agent.members import Member, View
from member_samples import EMPTY, LOST, TORSO, data, donor, node, primary, starting, view

QUEUE = {
    "alone it goes": (view(node(1, EMPTY), primary(0)), None),
    "one that is entering goes first": (view(node(2, EMPTY), primary(0), starting(1)), "n-1"),
    "one that has entered is no hindrance": (view(node(2, data(5)), primary(0, size=2), starting(1)), None),
    "one that has entered is about to take the only donor": (
        view(node(2, EMPTY), primary(0, size=2), starting(1)),
        "lets n-1 find a donor first",
    ),
    "there is a donor for each of two": (view(node(3, EMPTY), primary(0, size=3), primary(1), starting(2)), None),
    "the lowest ordinal goes first": (view(node(2, EMPTY), primary(0), node(1, EMPTY)), "n-1"),
    "a higher ordinal goes later": (view(node(1, EMPTY), primary(0), node(2, EMPTY)), None),
    "one that cannot say what it holds is not waited for": (view(node(2, EMPTY), primary(0), node(1, LOST)), None),
    "one that fills its volume is not waited for": (
        view(node(2, EMPTY), primary(0), replace(node(1, EMPTY), filling=True)),
        None,
    ),
    "a component about to notice its dead": (view(node(1, data(5)), primary(0, size=3), node(2, data(5))), "left of 3"),
    "a component that still counts what this server was": (
        view(node(1, data(5)), primary(0, size=3), primary(2, size=3)),
        "n-0, n-2 noticed who is left of 3",
    ),
    "a component that has noticed": (view(node(1, data(5)), primary(0, size=2), primary(2, size=2)), None),
}


@pytest.mark.parametrize(("seen", "names"), QUEUE.values(), ids=QUEUE.keys())
def test_joiners_enter_one_by_one(seen: View, names: str | None) -> None:
    why = hold_back(seen)
    assert (why is None) if names is None else (names in str(why))


DONORS = {
    "a member that serves is free": ((primary(0),), EMPTY, None),
    "one of two is free": ((donor(0), primary(1)), EMPTY, None),
    "all send their data to others": (
        (donor(0), donor(1), node(3, data(9))),
        EMPTY,
        "n-0, n-1 are one already, or desynced",
    ),
    "the seed is one already": ((replace(donor(0), pod="seed", seed=True),), TORSO, "for a donor: seed is one already"),
    "for a few write-sets Galera finds its donor": ((donor(0),), data(9), None),
    "a volume that cannot say what it holds may need all": ((donor(0),), LOST, "n-0 is one already"),
}


@pytest.mark.parametrize(("peers", "evidence", "names"), DONORS.values(), ids=DONORS.keys())
def test_who_needs_all_data_waits_outside_for_a_donor(
    peers: tuple[Member, ...], evidence: Evidence, names: str | None
) -> None:
    why = await_donor(view(node(2, evidence), *peers))
    assert (why is None) if names is None else (names in str(why))
