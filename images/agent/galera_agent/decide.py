# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision how a member starts: evidence of all members in, decision and reason out. No I/O, no clock.

Three rules carry it:

1. A primary component that is seen is joined, never doubled; data of another cluster is never given to it.
2. Without one, nobody bootstraps before every member that may hold data has shown what it holds. A member that does
   not answer is not a member that is absent: then the answer is to wait, and to say for whom.
3. Whoever may bootstrap first takes the Lease, and decides again with fresh evidence while holding it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from .datadir import NOTHING_KNOWN, Evidence


class Action(Enum):
    """What a member does next."""

    WAIT = "wait"
    REFUSE = "refuse"
    INITIALISE = "initialise"
    CLAIM = "claim"
    BOOTSTRAP = "bootstrap"
    JOIN = "join"


class Contact(Enum):
    """How a member was found. Absent is proven by the API server, never guessed from silence."""

    ANSWERS = "answers"
    ABSENT = "absent"
    SILENT = "silent"


@dataclass(frozen=True)
class Member:
    """One pod as it was last seen.

    primary: uuid of the primary component that it serves, None where it serves none.
    size: of that component.
    stopped: whether its server waits for a decision, so that its evidence is that of the volume now.
    starting: whether its server was told to start and does not run yet.
    live: whether its server runs outside a primary component; its evidence is what the server says.
    note: why it is silent, or what it does.
    """

    pod: str
    seed: bool
    ordinal: int
    contact: Contact
    evidence: Evidence = NOTHING_KNOWN
    primary: str | None = None
    size: int = 0
    stopped: bool = False
    starting: bool = False
    live: bool = False
    note: str = ""


@dataclass(frozen=True)
class Record:
    """What outlives the pods: the cluster's uuid, and the highest seqno each pod has reported for it."""

    uuid: str
    seqnos: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Lease:
    """The bootstrapper's Lease; since is the time at which the holder took it, as text."""

    holder: str
    since: str
    expired: bool = False


@dataclass(frozen=True)
class View:
    """All that one decision may know.

    size: how many nodes are wanted. api_error: why the API server gave no facts, None where it gave them.
    """

    me: Member
    peers: tuple[Member, ...]
    size: int
    api_error: str | None = None
    record: Record | None = None
    lease: Lease | None = None


@dataclass(frozen=True)
class Decision:
    """What to do and why; via are the pods to join, those in the primary component first."""

    action: Action
    reason: str
    via: tuple[str, ...] = ()


def decide(view: View) -> Decision:
    """Decide how view.me starts."""
    if any(peer.primary for peer in view.peers):
        return _with_primary(view)
    if view.api_error is not None:
        return _wait(f"the API server does not answer, so no other member can be ruled out: {view.api_error}")
    if view.me.evidence.data in ("empty", "partial"):
        return _without_data(view)
    if view.me.evidence.data == "unknown":
        return _refuse(f"the position of this volume is unknown, and no primary component is seen: {_me_note(view)}")
    return _with_data(view)


def hold_back(view: View) -> str | None:
    """Why joining now would cost more time than joining later, None where it would not.

    This is about speed only: whoever has waited long enough may go regardless.
    """
    serving = [peer for peer in view.peers if peer.primary]
    size = max((peer.size for peer in serving), default=0)
    entering = sorted((peer for peer in view.peers if peer.starting), key=_rank)
    # A component that lost half of its members or more is about to find out, and takes nobody in any more.
    if 2 * (len(serving) + len(entering)) <= size:
        return f"waits until {_list(peer.pod for peer in serving)} has noticed who is left of {size} members"
    # Galera takes in one server in less than a second, but two that come at the same moment get in each other's way
    # for five seconds and more.
    if entering and len(serving) + len(entering) > size:
        return f"lets {entering[-1].pod} enter first"
    next_ones = [peer for peer in view.peers if peer.stopped and peer.evidence.data != "unknown"]
    first = min((*next_ones, view.me), key=_rank)
    return None if first is view.me else f"lets {first.pod} enter first"


def comes_back(view: View) -> bool | None:
    """Whether a server that runs outside a primary component (view.me) gets back only by a restart.

    True: at once, because servers that were in its component have ended, so Galera cannot form it again, and all
    members show what they hold. False: it should be taken in by the primary component that is seen, without a restart.
    None: it has to wait, since a restart would change nothing.
    """
    if view.api_error is not None or not view.me.live:
        return None
    uuids = {peer.primary for peer in view.peers if peer.primary}
    if uuids:
        return False if uuids == {view.me.evidence.uuid} else None
    return True if any(peer.stopped for peer in view.peers) and not _missing(view) else None


def _with_primary(view: View) -> Decision:
    """Rule 1: join the primary component, unless this volume or the record belongs to another cluster."""
    serving = sorted((peer for peer in view.peers if peer.primary), key=_rank)
    uuids = {peer.primary for peer in serving}
    if len(uuids) > 1:
        named = _list(f"{peer.pod} in {peer.primary}" for peer in serving)
        return _refuse(f"two clusters are running under this name: {named}; stop the wrong one, nothing was changed")
    uuid, mine = str(serving[0].primary), view.me.evidence
    if view.record and view.record.uuid != uuid:
        return _refuse(
            f"the running cluster is {uuid}, but this cluster was bootstrapped as {view.record.uuid}; nothing was "
            f"changed: find out which of the two holds the data before anything else"
        )
    if mine.data in ("present", "unknown") and mine.uuid != uuid:
        return _refuse(_foreign(mine, uuid))
    reached = max((peer.evidence.seqno or 0 for peer in serving), default=0)
    if (mine.seqno or 0) > reached:
        # A moment after a kill the others may still be applying; if it stays so, the wrong volume was bootstrapped.
        return _wait(
            f"this volume is at seqno {mine.seqno}, the running cluster at {reached}: waits until it got there"
        )
    others = sorted((peer for peer in view.peers if not peer.primary and peer.contact is Contact.ANSWERS), key=_rank)
    via = tuple(peer.pod for peer in (*serving, *others))
    how = "its volume holds no complete data" if mine.position is None else f"from position {mine.position}"
    return Decision(Action.JOIN, f"joins cluster {uuid} through {serving[0].pod}, {how}", via)


def _foreign(mine: Evidence, uuid: str) -> str:
    if mine.uuid is None:
        held = f"data of unknown origin ({mine.note})" if mine.note else "data that belongs to no cluster"
    else:
        held = f"data of cluster {mine.uuid}"
    return (
        f"this volume holds {held}, the running cluster is {uuid}; nothing was changed: "
        f"empty the volume to let this pod join, or bind the right one"
    )


def _without_data(view: View) -> Decision:
    """Nothing usable here and no primary component: only the seed of a new cluster goes on."""
    mine = view.me.evidence
    if view.record is not None:
        return _lost_or_wait(view, view.record)
    if not view.me.seed:
        return _without_record(view)
    if mine.data == "partial":
        return _refuse(
            f"this volume holds incomplete data ({mine.note or 'no whole data directory'}) and there is no cluster to "
            f"join; nothing was changed: empty the volume or restore a backup"
        )
    if holders := _holders(view):
        return _refuse(f"{_list(holders)} hold data, so no seed is needed: delete the seed")
    return Decision(Action.INITIALISE, "makes the first data directory of a new cluster")


def _without_record(view: View) -> Decision:
    """An empty node with no record waits: for the nodes with data, else for the seed."""
    waiting = _missing(view)
    holders = _holders(view)
    if holders:
        return _wait(f"waits for {_list(holders)}, which hold data, to form the primary component")
    seed = next((peer for peer in view.peers if peer.seed), None)
    if seed is not None and seed.contact is Contact.ANSWERS:
        return _wait(f"waits for {seed.pod} to bootstrap the cluster: it {seed.note or 'has started'}")
    named = f"; not heard of: {_list(waiting)}" if waiting else ""
    return _wait(f"waits for the seed to bootstrap the cluster{named}")


def _lost_or_wait(view: View, record: Record) -> Decision:
    """The cluster was bootstrapped before, and this volume does not hold it."""
    missing, holders = _missing(view), _holders(view)
    if holders:
        return _wait(f"waits for {_list(holders)}, which hold data, to form the primary component")
    if missing:
        return _wait(f"waits for {_list(missing)} to show what the volumes hold of cluster {record.uuid}")
    known = max((seqno for _, seqno in record.seqnos), default=None)
    last = "" if known is None else f" (last known seqno {known})"
    return _refuse(
        f"cluster {record.uuid} was bootstrapped already{last}, and no volume holds its data; nothing was changed: "
        f"restore a backup, or bind the volumes that hold it"
    )


def _with_data(view: View) -> Decision:
    """Data here and no primary component: the seed of a new or restored cluster, else an election."""
    me = view.me
    if me.seed and view.record is None and not _holders(view):
        return _first_bootstrap(view)
    if me.seed and view.record is None and me.evidence.uuid is None:
        return _refuse(f"{_list(_holders(view))} hold data, so no seed is needed: delete the seed and its claim")
    return _elect(view)


def _first_bootstrap(view: View) -> Decision:
    """The seed of a cluster that never ran: no node holds data, and all that exist have said so."""
    exist = [peer for peer in view.peers if peer.contact is not Contact.ABSENT]
    unknown = [peer for peer in exist if peer.contact is Contact.SILENT or not _shown(peer)]
    if unknown:
        return _wait(f"waits for {_list(map(_named, unknown))} to show what the volumes hold")
    what = view.me.evidence.position or "a new cluster"
    return _bootstrap(view, f"the first member, no node holds data: {what}")


def _elect(view: View) -> Decision:
    """All members that may hold data have shown it; the most advanced one bootstraps."""
    members = (view.me, *view.peers)
    missing = _missing(view)
    if missing:
        return _wait(f"waits for {_list(missing)} to show what the volumes hold")
    known = [member for member in members if member.contact is Contact.ANSWERS]
    if all(member.live for member in known):
        return _wait("all servers run outside a primary component: Galera forms it when they reach each other")
    uuids = {member.evidence.uuid for member in known if _full(member) and member.evidence.uuid}
    wanted = {view.record.uuid} if view.record else set()
    if len(uuids | wanted) > 1:
        return _refuse(_disagree(known, view.record))
    able = [member for member in known if _full(member) and member.evidence.position]
    if not able:
        return _refuse(_no_position(known))
    winner = min(able, key=lambda member: (-(member.evidence.seqno or 0), _rank(member)))
    if lost := _lost_seqno(winner, view.record):
        return _refuse(lost)
    reason = f"the most advanced member at {winner.evidence.position}"
    if winner.pod != view.me.pod:
        return _wait(f"waits for {winner.pod}, {reason}, to bootstrap")
    return _bootstrap(view, reason)


def _disagree(known: list[Member], record: Record | None) -> str:
    held = _list(f"{one.pod} of {one.evidence.uuid}" for one in sorted(known, key=_rank) if one.evidence.uuid)
    recorded = f"; the cluster was bootstrapped as {record.uuid}" if record else ""
    return f"the volumes hold data of different clusters: {held}{recorded}; nothing was changed: bind the right volumes"


def _no_position(known: list[Member]) -> str:
    held = _list(f"{one.pod} {one.evidence.data}" for one in sorted(known, key=_rank))
    return f"no volume holds data with a position ({held}); nothing was changed: restore a backup"


def _lost_seqno(winner: Member, record: Record | None) -> str | None:
    """A pod was more advanced than any volume is now: the volume that knew more is gone or has gone back."""
    if record is None or not record.seqnos:
        return None
    pod, seqno = max(record.seqnos, key=lambda item: item[1])
    if seqno <= (winner.evidence.seqno or 0):
        return None
    return (
        f"{pod} had reached seqno {seqno}, but the most advanced volume, {winner.pod}, holds "
        f"{winner.evidence.seqno}: {seqno - (winner.evidence.seqno or 0)} write-sets would be lost; nothing was "
        f"changed: bring back the volume of {pod}, or consent to the loss"
    )


def _bootstrap(view: View, reason: str) -> Decision:
    """Rule 3: the Lease first."""
    lease = view.lease
    if lease is None or lease.expired or not lease.holder:
        return Decision(Action.CLAIM, f"takes the Lease to bootstrap: {reason}")
    if lease.holder != view.me.pod:
        return _wait(f"waits for {lease.holder}, which has held the bootstrap Lease since {lease.since}")
    return Decision(Action.BOOTSTRAP, f"bootstraps: {reason}")


def _missing(view: View) -> list[str]:
    """Members of the electorate that have not shown what they hold, each with the reason.

    All wanted nodes belong to it, absent or not, because their volumes may hold the most; the seed, if it exists.
    """
    missing = []
    for member in (view.me, *view.peers):
        beyond = not member.seed and member.ordinal >= view.size
        if member.contact is Contact.ABSENT and (member.seed or beyond):
            continue
        if member.contact is not Contact.ANSWERS or not _shown(member):
            missing.append(_named(member))
    return missing


def _shown(member: Member) -> bool:
    return (member.stopped or member.live) and member.evidence.data != "unknown"


def _full(member: Member) -> bool:
    return member.evidence.data == "present"


def _holders(view: View) -> list[str]:
    """Peers that are known to hold data of a cluster."""
    peers = sorted(view.peers, key=_rank)
    return [peer.pod for peer in peers if peer.contact is Contact.ANSWERS and _full(peer) and peer.evidence.uuid]


def _rank(member: Member) -> tuple[bool, int]:
    return member.seed, member.ordinal


def _named(member: Member) -> str:
    note = member.evidence.note if member.stopped and member.evidence.note else member.note
    return f"{member.pod} ({note})" if note else member.pod


def _me_note(view: View) -> str:
    return view.me.evidence.note or "no recovery has run"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _wait(reason: str) -> Decision:
    return Decision(Action.WAIT, reason)


def _refuse(reason: str) -> Decision:
    return Decision(Action.REFUSE, reason)
