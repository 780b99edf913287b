# SPDX-License-Identifier: GPL-3.0-or-later
"""The bootstrapper's Lease: one holder at a time, renewed until its server is Primary, then given back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from . import members
from .kube import ApiError

DURATION_SECONDS = 15
RENEW_SECONDS = 3.0


class LeaseApi(Protocol):
    """The part of the API client that is needed here."""

    def lease(self, name: str) -> dict[str, Any] | None:
        """Read a Lease."""

    def create_lease(self, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Create a Lease."""

    def replace_lease(self, lease: Mapping[str, Any]) -> dict[str, Any]:
        """Replace a Lease."""


class BootstrapLease:
    """Reads, takes, renews and gives back the Lease in one pod's name.

    A holder is taken for dead only when this process has watched its Lease stand still for the whole duration: the
    clocks of two machines are never compared, and a time in which nobody could read the Lease does not count.
    """

    def __init__(self, api: LeaseApi, name: str, pod: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._name, self._pod, self._clock = api, name, pod, clock
        self._raw: dict[str, Any] | None = None
        self._mark: tuple[str, str] = ("", "")
        self._since = self._read_at = clock()
        self.held = False

    def read(self) -> members.Lease | None:
        """The Lease now, None where nobody ever took it. Raises ApiError."""
        return self._note(self._api.lease(self._name))

    def take(self) -> bool:
        """Take or renew the Lease as it was last read; False where another was faster. Raises ApiError."""
        spec = {
            "holderIdentity": self._pod,
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": _now(),
            "acquireTime": _now(),
        }
        if self.held and self._raw is not None:
            spec["acquireTime"] = self._raw["spec"].get("acquireTime") or spec["acquireTime"]
        return self._write(spec)

    def give_back(self) -> None:
        """Empty the Lease, if this pod holds it. Raises ApiError."""
        self.read()
        if self.held:
            self._write({"holderIdentity": "", "leaseDurationSeconds": DURATION_SECONDS, "renewTime": _now()})

    def _write(self, spec: dict[str, Any]) -> bool:
        try:
            if self._raw is None:
                self._note(self._api.create_lease(self._name, spec))
            else:
                self._note(self._api.replace_lease({**self._raw, "spec": spec}))
        except ApiError as error:
            self.held = False
            if error.status == 409:
                return False
            raise
        return True

    def _note(self, raw: dict[str, Any] | None) -> members.Lease | None:
        self._raw = raw
        if raw is None:
            self.held = False
            return None
        spec = raw.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        mark = (holder, str(spec.get("renewTime") or ""))
        before, self._read_at = self._read_at, self._clock()
        if mark != self._mark or self._read_at - before > DURATION_SECONDS:
            self._mark, self._since = mark, self._read_at
        self.held = holder == self._pod
        stood = self._read_at - self._since
        expired = not self.held and stood > float(spec.get("leaseDurationSeconds") or DURATION_SECONDS)
        return members.Lease(
            holder, str(spec.get("acquireTime") or spec.get("renewTime") or "an unknown time"), expired
        )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
