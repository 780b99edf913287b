# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision how a member starts: evidence of all members in, decision and reason out. No I/O, no clock.

Three rules carry it:

1. A primary component that is seen is joined, never doubled; data of another cluster, or of another history of this
   one, is never given to it.
2. Without one, nobody bootstraps before every member that may hold data has shown what it holds. A member that does
   not answer is not a member that is absent: then the answer is to wait, and to say for whom.
3. Whoever may bootstrap first takes the Lease, and decides again with fresh evidence while holding it.
"""

from __future__ import annotations

from dataclasses import replace

from .datadir import Evidence
from .election import (
    blockers,
    bootstrap,
    consented,
    elect,
    emptied,
    full,
    left_out,
    named,
    offer,
    proven,
    stale_consent,
    unheard,
)
from .members import Action, Contact, Decision, Member, Record, View, listed, rank, refuse, subject, wait

HOW_TO_CONSENT = "the recover playbook shows what each volume holds and goes on with consent"


def decide(view: View) -> Decision:
    """Decide how view.me starts."""
    if any(peer.primary for peer in view.peers):
        return _with_primary(view)
    if view.api_error is not None:
        return wait(f"the API server does not answer, so no other member can be ruled out: {view.api_error}")
    decision = _without_primary(view)
    if decision.action not in (Action.WAIT, Action.REFUSE):
        return decision
    offered, note = offer(view), stale_consent(view)
    if offered is not None and not consented(view):
        note += f"; {HOW_TO_CONSENT}"
    return replace(decision, reason=decision.reason + note, offer=offered)


def _without_primary(view: View) -> Decision:
    if view.me.pod in left_out(view):
        return elect(view)
    if view.me.evidence.data in ("empty", "partial"):
        return _without_data(view)
    if view.me.evidence.data == "unknown":
        return refuse(f"the position of this volume is unknown, and no primary component is seen: {_me_note(view)}")
    return _with_data(view)


def await_donor(view: View) -> str | None:
    """For whom a member that needs all data waits before it joins, None where somebody is free to be its donor.

    A joiner that finds no donor repeats its request inside the group as it was. Where one that has got its own data
    meanwhile answers it, Galera fails it ("IST didn't contain all write sets"). Outside it costs nothing to wait, and
    what is written meanwhile is not kept for it.
    """
    if view.me.evidence.position is not None:
        return None
    serving = sorted((peer for peer in view.peers if peer.primary), key=rank)
    if any(not peer.desynced for peer in serving):
        return None
    return f"waits for a donor: {subject((peer.pod for peer in serving), 'is', 'are')} one already, or desynced"


def hold_back(view: View) -> str | None:
    """Why joining now would cost more time than joining later, None where it would not.

    This is about speed only: whoever has waited long enough may go regardless.
    """
    serving = [peer for peer in view.peers if peer.primary]
    size = max((peer.size for peer in serving), default=0)
    entering = sorted((peer for peer in view.peers if peer.starting), key=rank)
    # A component that counts more members than there are is about to find out who has died, as this server did a
    # moment ago. One that lost half of them takes nobody in; one that meets a newcomer meanwhile may split for seconds.
    if len(serving) + len(entering) < size:
        return f"waits until {listed(peer.pod for peer in serving)} noticed who is left of {size} members"
    # Galera takes in one server in less than a second, but two that come at the same moment get in each other's way
    # for five seconds and more.
    if entering and len(serving) + len(entering) > size:
        return f"lets {entering[-1].pod} enter first"
    # Who has entered asks for a donor a second later: each has one of those that serve, or is about to take one.
    if view.me.evidence.position is None and len(serving) <= len(entering):
        return f"lets {listed(peer.pod for peer in entering)} find a donor first"
    # One that fills its volume enters much later.
    next_ones = [peer for peer in view.peers if peer.stopped and not peer.filling and peer.evidence.data != "unknown"]
    first = min((*next_ones, view.me), key=rank)
    return None if first is view.me else f"lets {first.pod} enter first"


def comes_back(view: View) -> bool | None:
    """Whether a server that runs outside a primary component (view.me) gets back only by a restart.

    True: at once, because servers that were in its component have ended, so Galera cannot form it again, and all
    members show what they hold. False: Galera should bring it back without a restart, given some time: a primary
    component is seen, or all servers run. None: it has to wait, since a restart would change nothing.
    """
    if view.api_error is not None or not view.me.live:
        return None
    if view.record and view.me.pod in dict(view.record.given_up):
        # It was behind a partition: it must ask before Galera takes it in.
        return True
    uuids = {peer.primary for peer in view.peers if peer.primary}
    if uuids:
        return False if uuids == {view.me.evidence.uuid} else None
    if blockers(view):
        return None
    # A consent that fits is acted on by those that are stopped. Where all run, Galera may form a component again by
    # itself, but not if a member of the last one is gone for good, such as a seed.
    return any(peer.stopped for peer in view.peers) or consented(view)


def _with_primary(view: View) -> Decision:
    """Rule 1: join the primary component, unless this volume or the record belongs to another cluster."""
    serving = sorted((peer for peer in view.peers if peer.primary), key=rank)
    uuids = {peer.primary for peer in serving}
    if len(uuids) > 1:
        held = listed(f"{peer.pod} in {peer.primary}" for peer in serving)
        return refuse(f"two clusters are running under this name: {held}; stop the wrong one, nothing was changed")
    uuid, mine = str(serving[0].primary), view.me.evidence
    told = [record for record in (view.record, *(peer.record for peer in serving)) if record]
    # What the API server says now is true; without it, each word of old may be.
    records = [view.record] if view.record and view.api_error is None else told
    if record := next((one for one in records if one.uuid != uuid), None):
        return refuse(
            f"the running cluster is {uuid}, but this cluster was bootstrapped as {record.uuid}; nothing was "
            f"changed: find out which of the two holds the data before anything else"
        )
    if mine.data in ("present", "unknown") and mine.uuid != uuid:
        return refuse(_foreign(mine, uuid))
    if view.api_error is not None and not records:
        return wait(f"the API server does not answer, and this volume may have been given up: {view.api_error}")
    # Behind a partition one may have gone on serving: what it has written since is not the cluster's.
    left = {pod for one in records for pod, _ in one.given_up}
    apart, serving = [one.pod for one in serving if one.pod in left], [one for one in serving if one.pod not in left]
    if not serving:
        although = subject(apart, "serves although it was", "serve although they were", ", which")
        return wait(f"waits for {although} given up, to stop")
    given_up = min(
        (dict(one.given_up)[view.me.pod] for one in records if view.me.pod in dict(one.given_up)), default=None
    )
    if mine.data in ("present", "unknown"):
        beyond = given_up is not None and not 0 <= _seqno(mine) <= given_up
        if view.api_error is not None and beyond:
            return wait(f"the API server does not answer, and this volume may have been given up: {view.api_error}")
        if given_up is not None and beyond:
            return refuse(_other_history(mine, given_up))
    if ahead := _ahead(mine, serving):
        return ahead
    others = sorted((peer for peer in view.peers if not peer.primary and peer.contact is Contact.ANSWERS), key=rank)
    via = tuple(peer.pod for peer in (*serving, *others))
    how = "its volume holds no complete data" if mine.position is None else f"from position {mine.position}"
    reason = f"joins cluster {uuid} through {serving[0].pod}, {how}"
    return Decision(Action.JOIN, reason, via, returns=given_up is not None)


def _seqno(mine: Evidence) -> int:
    return -1 if mine.seqno is None else mine.seqno


def _ahead(mine: Evidence, serving: list[Member]) -> Decision | None:
    """A moment after a kill the others may still be applying; if it stays so, the wrong volume was bootstrapped."""
    reached = max((peer.evidence.seqno or 0 for peer in serving), default=0)
    if _seqno(mine) <= reached:
        return None
    text = f"this volume is at seqno {mine.seqno}, the running cluster at {reached}: waits until it got there"
    settled = any(peer.caught_up and peer.evidence.seqno == reached for peer in serving)
    return Decision(Action.WAIT, text, ahead=reached if settled else None)


def _other_history(mine: Evidence, given_up: int) -> str:
    held = f"holds seqno {mine.seqno}" if mine.seqno is not None else "cannot say which seqno it holds"
    return (
        f"this cluster was continued without this volume from seqno {given_up}, and this volume {held}: its later "
        f"write-sets are not those of the cluster; nothing was changed: save from it what is needed, then empty the "
        f"volume to let this pod join"
    )


def _foreign(mine: Evidence, uuid: str) -> str:
    if mine.uuid is None and mine.data == "unknown" and mine.note:
        return (
            f"the position of this volume could not be found, so whether it belongs to the running cluster {uuid} is "
            f"unknown; nothing was changed: {mine.note}; where my.cnf was changed, that may be the cause: put the old "
            f"options back"
        )
    held = "data that belongs to no cluster" if mine.uuid is None else f"data of cluster {mine.uuid}"
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
        return refuse(
            f"this volume holds incomplete data ({mine.note or 'no whole data directory'}) and there is no cluster to "
            f"join; nothing was changed: empty the volume or restore a backup"
        )
    if holders := _holders(view):
        return refuse(f"{subject(holders, 'holds', 'hold')} data, so no seed is needed: delete the seed")
    return Decision(Action.INITIALISE, "makes the first data directory of a new cluster")


def _without_record(view: View) -> Decision:
    """An empty node with no record waits: for the nodes with data, else for the seed."""
    waiting = list(map(named, unheard(view)))
    holders = _holders(view)
    if holders:
        held = subject(holders, "holds", "hold", ", which")
        return wait(f"waits for {held} data, to form the primary component")
    seed = next((peer for peer in view.peers if peer.seed), None)
    if seed is not None and seed.contact is Contact.ANSWERS:
        return wait(f"waits for {seed.pod} to bootstrap the cluster: it {seed.note or 'has started'}")
    unseen = f"; not heard of: {listed(waiting)}" if waiting else ""
    return wait(f"waits for the seed to bootstrap the cluster{unseen}")


def _lost_or_wait(view: View, record: Record) -> Decision:
    """The cluster was bootstrapped before, and this volume does not hold it."""
    missing, holders = list(map(named, unheard(view))), _holders(view)
    if holders:
        seqno = dict(record.seqnos).get(view.me.pod) if view.me in emptied(view) else None
        lost = "" if seqno is None else f"its volume is empty, but it held this cluster up to seqno {seqno} or more: "
        held = subject(holders, "holds", "hold", ", which")
        return wait(f"{lost}waits for {held} data, to form the primary component")
    if missing:
        return wait(f"waits for {listed(missing)} to show what the volumes hold of cluster {record.uuid}")
    known = max((seqno for _, seqno in record.seqnos), default=None)
    last = "" if known is None else f" (last known seqno {known})"
    return refuse(
        f"cluster {record.uuid} was bootstrapped already{last}, and no volume holds its data; nothing was changed: "
        f"restore a backup, or bind the volumes that hold it"
    )


def _with_data(view: View) -> Decision:
    """Data here and no primary component: the seed of a new or restored cluster, else an election."""
    me = view.me
    if me.seed and view.record is None and not _holders(view):
        return _first_bootstrap(view)
    if me.seed and view.record is None and me.evidence.uuid is None:
        held = subject(_holders(view), "holds", "hold")
        return refuse(f"{held} data, so no seed is needed: delete the seed and its claim")
    return elect(view)


def _first_bootstrap(view: View) -> Decision:
    """The seed of a cluster that never ran: no node holds data, and all that exist have said so."""
    exist = [peer for peer in view.peers if peer.contact is not Contact.ABSENT]
    unknown = [peer for peer in exist if peer.contact is Contact.SILENT or not proven(peer)]
    if unknown:
        return wait(f"waits for {listed(map(named, unknown))} to show what the volumes hold")
    what = view.me.evidence.position or "a new cluster"
    return bootstrap(view, f"the first member, no node holds data: {what}")


def _holders(view: View) -> list[str]:
    """Peers that are known to hold data of a cluster."""
    peers = sorted(view.peers, key=rank)
    return [peer.pod for peer in peers if peer.contact is Contact.ANSWERS and full(peer) and peer.evidence.uuid]


def _me_note(view: View) -> str:
    return view.me.evidence.note or "no recovery has run"
