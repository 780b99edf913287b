# SPDX-License-Identifier: GPL-3.0-or-later
"""Members, records and views for the tests of decisions."""

from __future__ import annotations

from dataclasses import replace

from galera_agent.datadir import Evidence
from galera_agent.members import Contact, Lease, Member, Record, View

A = "aaaaaaaa-0000-4000-8000-00000000000a"
B = "bbbbbbbb-0000-4000-8000-00000000000b"
EMPTY = Evidence("empty")
FRESH = Evidence("present")  # initialised, never in a cluster: uuid zero
TORSO = Evidence("partial", note="a state transfer did not end")
LOST = Evidence("unknown", A, note="recovery failed: disk full")


def data(seqno: int, uuid: str = A) -> Evidence:
    return Evidence("present", uuid, seqno)


def node(ordinal: int, evidence: Evidence) -> Member:
    return Member(f"n-{ordinal}", False, ordinal, Contact.ANSWERS, evidence, stopped=True, note="is waiting")


def seed(evidence: Evidence) -> Member:
    return Member("seed", True, 0, Contact.ANSWERS, evidence, stopped=True, note="is waiting")


def primary(ordinal: int, uuid: str = A, seqno: int = 100, size: int = 1) -> Member:
    return Member(f"n-{ordinal}", False, ordinal, Contact.ANSWERS, data(seqno, uuid), uuid, size, note="is running")


def donor(ordinal: int) -> Member:
    return replace(primary(ordinal), desynced=True)


def live(ordinal: int, seqno: int) -> Member:
    return Member(f"n-{ordinal}", False, ordinal, Contact.ANSWERS, data(seqno), live=True, note="is running")


def starting(ordinal: int) -> Member:
    return Member(f"n-{ordinal}", False, ordinal, Contact.ANSWERS, starting=True, note="is starting")


def silent(ordinal: int) -> Member:
    return Member(f"n-{ordinal}", False, ordinal, Contact.SILENT, note="not scheduled: no machine left")


def absent(ordinal: int) -> Member:
    return Member(f"n-{ordinal}", False, ordinal, Contact.ABSENT, note="its StatefulSet has 0 replicas")


SILENT_SEED = Member("seed", True, 0, Contact.SILENT, note="its agent does not answer")
NO_SEED = Member("seed", True, 0, Contact.ABSENT)
NO_NODES = (absent(0), absent(1), absent(2))
RECORD = Record(A)
MINE = {"n-0": Lease("n-0", "09:00"), "n-1": Lease("n-1", "09:00"), "n-2": Lease("n-2", "09:00")}
SEEDS = Lease("seed", "09:00")


def view(me: Member, *peers: Member, record: Record | None = None, lease: Lease | None = None, size: int = 3) -> View:
    return View(me, peers, size, None, record, lease)
