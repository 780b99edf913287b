# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup has to fit so that a node can join the running cluster with its data. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """What holds for the running cluster.

    uuid: of its Galera state. cached: the lowest seqno of which a donor has the write-sets. vouched: names of the
    backups of which the data of all who serve are a continuation.
    """

    uuid: str
    cached: int
    vouched: frozenset[str]

    def refusal(self, backup: str, uuid: str, seqno: int) -> str | None:
        """Why a backup with this Galera position does not fit, None where it does."""
        if uuid != self.uuid:
            return f"backup {backup} is of the cluster state {uuid}, the running cluster has {self.uuid}"
        if backup not in self.vouched:
            return f"backup {backup} is not known to all who serve as one that their data are a continuation of"
        if seqno + 1 < self.cached:
            return f"backup {backup} ends at seqno {seqno}, and what the donors have cached begins at {self.cached}"
        return None
