# SPDX-License-Identifier: GPL-3.0-or-later
"""Journals of the clients, and what they prove when they are held against the tables. No I/O."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

CONFLICT = 1213
WRITERS = ("append", "transfer", "unlocked", "tick")


class Entry(NamedTuple):
    """One operation of one client, as workload/client.py writes it; times are in seconds of its monotonic clock."""

    number: int
    begin: float
    end: float
    result: str
    error: int
    node: str
    session: int
    value: int | None
    floor: int | None
    tries: int


@dataclass(frozen=True)
class Worker:
    """Who wrote a journal: its name, what it does, through which port, and its number in the tables."""

    name: str
    kind: str
    port: int
    index: int


@dataclass
class Findings:
    """What a comparison found; empty lists are what a sound cluster gives. Operations are named `worker/number`.

    acknowledged, unknown, failed: numbers of writes by their outcome; reads are not among them.
    """

    acknowledged: int = 0
    unknown: int = 0
    failed: int = 0
    lost: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    backwards: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """One sentence for each kind of finding."""
        kinds = {
            "acknowledged and not there": self.lost,
            "there more often than acknowledged": self.duplicates,
            "there although it was refused or never sent": self.unexpected,
            "read backwards in a session": self.backwards,
            "stale read in spite of wsrep_sync_wait": self.stale,
        }
        return [f"{len(found)} {what}: {shorten(found)}" for what, found in kinds.items() if found]

    def add(self, other: Findings) -> None:
        """Take another comparison's findings in."""
        for name in ("acknowledged", "unknown", "failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("lost", "duplicates", "unexpected", "backwards", "stale"):
            getattr(self, name).extend(getattr(other, name))


def parse(text: str) -> list[Entry]:
    """Read a journal; a last line without its end was not acknowledged and does not count.

    Raises ValueError for any other line that is not an entry.
    """
    whole = text[: text.rfind("\n") + 1]
    entries = []
    for line in whole.splitlines():
        raw = json.loads(line)
        if not isinstance(raw, list) or len(raw) != len(Entry._fields):
            raise ValueError(f"not an entry of a journal: {line[:100]!r}")
        entries.append(Entry(*raw))
    return entries


def compare_writes(worker: Worker, entries: Sequence[Entry], present: Mapping[int, int]) -> Findings:
    """Hold the journal of an append or transfer worker against the rows that are there, {number: count}.

    Entries and rows are those of the same stretch of numbers. An operation whose outcome the client does not know may
    be there or not; one that was retried after a lost connection may be there once for each try.
    """
    found = Findings()
    known = set()
    for entry in entries:
        known.add(entry.number)
        count = present.get(entry.number, 0)
        name = f"{worker.name}/{entry.number}"
        if entry.result == "ok":
            found.acknowledged += 1
            if count == 0:
                found.lost.append(name)
            elif count > entry.tries:
                found.duplicates.append(name)
        elif entry.result == "unknown":
            found.unknown += 1
            if count > entry.tries:
                found.duplicates.append(name)
        else:
            found.failed += 1
            if count > entry.tries - 1:
                found.unexpected.append(name)
    found.unexpected.extend(f"{worker.name}/{number}" for number in sorted(set(present) - known))
    return found


def compare_ticks(worker: Worker, entries: Sequence[Entry], value: int) -> Findings:
    """Hold the journal of the tick worker, the only one that sets the value, against the value that is there."""
    found = Findings()
    counts = Counter(entry.result for entry in entries)
    found.acknowledged, found.unknown, found.failed = counts["ok"], counts["unknown"], counts["fail"]
    acknowledged = max((entry.number for entry in entries if entry.result == "ok"), default=0)
    possible = {entry.number for entry in entries if entry.result != "fail"}
    if value < acknowledged:
        found.lost.append(f"{worker.name}/{acknowledged} (the value is {value})")
    elif entries and value not in possible and value >= entries[0].number:
        found.unexpected.append(f"{worker.name}/{value}")
    return found


def check_reads(worker: Worker, entries: Sequence[Entry]) -> Findings:
    """Check that a reader never saw the value go back.

    Every reader: within one session. With wsrep_sync_wait (kind read_sync), besides: never less than what had been
    acknowledged before it asked, over all sessions.
    """
    found = Findings()
    last: dict[int, int] = {}
    for entry in entries:
        if entry.result != "ok":
            continue
        value, before = entry.value or 0, last.get(entry.session, 0)
        if value < before:
            found.backwards.append(f"{worker.name}/{entry.number} ({before}, then {value} on {entry.node})")
        last[entry.session] = max(value, before)
        if worker.kind == "read_sync" and value < (entry.floor or 0):
            found.stale.append(f"{worker.name}/{entry.number} ({value}, {entry.floor} was acknowledged, {entry.node})")
    return found


def acknowledgements(journals: Mapping[Worker, Sequence[Entry]], port: int | None = None) -> list[float]:
    """Times of all acknowledged writes in order, of one port or of all."""
    return sorted(
        entry.end
        for worker, entries in journals.items()
        if worker.kind in WRITERS and port in (None, worker.port)
        for entry in entries
        if entry.result == "ok"
    )


def outcomes(journals: Mapping[Worker, Sequence[Entry]], since: float) -> dict[str, int]:
    """Writes since a moment: total, ok, rolled back by a conflict, failed otherwise (after their retries), and retried.

    Conflicts (error 1213) are those of clients that write the same accounts through several nodes, fault or not.
    """
    entries = [e for w, es in journals.items() if w.kind in WRITERS for e in es if e.begin >= since]
    bad = [entry for entry in entries if entry.result != "ok"]
    conflicts = sum(entry.error == CONFLICT for entry in bad)
    return {
        "writes": len(entries),
        "ok": len(entries) - len(bad),
        "conflicts": conflicts,
        "failed": len(bad) - conflicts,
        "retried": sum(entry.tries > 1 for entry in entries),
    }


def shorten(items: Iterable[str], most: int = 5) -> str:
    """The first items, and how many more there are."""
    listed = list(items)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
