# SPDX-License-Identifier: GPL-3.0-or-later
"""Which faults are injected, how, and in which order: made from a seed alone. No I/O."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Params = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One fault to inject, with its parameters."""

    number: int
    fault: str
    params: Params

    @property
    def title(self) -> str:
        """The fault and its parameters as text."""
        values = " ".join(f"{name}={_text(value)}" for name, value in self.params.items())
        return f"{self.fault} {values}".strip()


class PlanError(ValueError):
    """A wish that cannot be met; the text says what is allowed."""


def chosen(wanted: str, known: Sequence[str]) -> list[str]:
    """The faults of a comma-separated list; "all" are all. Raises PlanError for a name that is not known."""
    if wanted == "all":
        return list(known)
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    unknown = sorted(set(names) - set(known))
    if unknown or not names:
        what = f"unknown fault {', '.join(unknown)}" if unknown else "no fault is named"
        raise PlanError(f"--faults: {what}; there are all, {', '.join(known)}")
    return names


def make(variants: Mapping[str, Sequence[Params]], seed: int, rounds: int, every: bool) -> list[Step]:
    """Lay out the steps: in each round every fault once with one of its variants, or with every one, shuffled.

    The same arguments give the same steps, on every machine and in every version of Python that has this generator.
    """
    generator = random.Random(seed)
    steps: list[tuple[str, Params]] = []
    for _ in range(rounds):
        turn = [
            (fault, params)
            for fault, choices in variants.items()
            for params in (choices if every else [generator.choice(list(choices))])
        ]
        generator.shuffle(turn)
        steps.extend(turn)
    return [Step(number, fault, dict(params)) for number, (fault, params) in enumerate(steps, 1)]


def _text(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
