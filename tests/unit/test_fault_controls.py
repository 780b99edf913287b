# SPDX-License-Identifier: GPL-3.0-or-later
"""A control proves that its own loss is seen, not that something is."""

from __future__ import annotations

from typing import Any

import pytest
from fault.controls import CONTROLS, TRIES, Blunt
from fault.journal import Findings

LOST = Findings(lost=["append-0/7"]).problems()
OTHER = Findings(unexpected=["append-0/7"]).problems()


class Found(Blunt):
    """Finds what its test wants."""

    name = "found"

    def __init__(self, *found: list[str]) -> None:
        self.left = list(found)

    def lose(self, world: Any, tables: Any) -> list[str]:
        """The next answer, and the last one from then on."""
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


@pytest.mark.parametrize(
    ("found", "sharp", "tries"),
    [
        pytest.param([[*OTHER, *LOST]], True, 1, id="its loss, and something else"),
        pytest.param([[], LOST], True, 2, id="its loss at the second try"),
        pytest.param([OTHER], False, TRIES, id="something else"),
        pytest.param([[]], False, TRIES, id="nothing"),
    ],
)
def test_only_the_loss_that_was_made_counts(found: list[list[str]], sharp: bool, tries: int) -> None:
    unused: Any = None
    control = Found(*found).run(unused, unused)
    assert (control.sharp, control.found, control.note) == (sharp, LOST if sharp else [], f"{tries} tries")


def test_each_control_looks_for_its_own_loss() -> None:
    assert {name: control.sign for name, control in CONTROLS.items()} == {
        "unlocked": "the sum of all accounts",
        "not_flushed": "acknowledged and not there",
        "stale": "acknowledged and not there",
    }
