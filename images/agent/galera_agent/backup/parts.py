# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scheduler needs of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Running(Protocol):
    """The part of a child process that is needed here (child.Child)."""

    words: tuple[str, ...]
    began: float

    @property
    def last(self) -> dict[str, Any] | None:
        """What it said last."""

    def result(self) -> dict[str, Any] | None:
        """What it said at its end, None before."""

    def stop(self) -> None:
        """End it."""


class History(Protocol):
    """What the server's data are a continuation of (state.State)."""

    @property
    def stay(self) -> int:
        """Number of the server's stay in the primary component."""

    def vouch(self, stay: int, names: Sequence[str]) -> None:
        """Vouch for backups, unless that stay is over."""


class Board(Protocol):
    """Where outcomes are published (publish.Publisher)."""

    look: str

    def read_request(self) -> Mapping[str, Any] | None:
        """The open request of a user; then `look` differs if somebody wants the targets looked at since."""

    def catalog(self) -> Mapping[str, Any]:
        """What the targets held when it was published last, by whomever."""

    def answer(self, request: Mapping[str, Any], state: str, backup: str, message: str) -> None:
        """Answer it."""

    def publish(self, document: Mapping[str, Any]) -> None:
        """What GET /backups tells."""

    def refuse(self, message: str) -> None:
        """Why the settings are refused."""

    def event(self, reason: str, kind: str, message: str) -> None:
        """An Event."""
