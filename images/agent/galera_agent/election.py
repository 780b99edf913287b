# SPDX-License-Identifier: GPL-3.0-or-later
"""The election: which member continues a cluster that nobody serves. Pure.

Every member that may hold data proves what it holds before anybody wins. Whose proof is missing can be left out only by
a human, who consents to one exact offer: evidence that has changed since makes it void.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .members import Action, Contact, Decision, Member, Offer, Record, View, listed, rank, refuse, subject, wait


def elect(view: View) -> Decision:
    """Decide for a member of a recorded or restored cluster while no primary component is seen."""
    out = left_out(view)
    if view.me.pod in out:
        return wait(f"was given up with a human's consent: waits for {listed(_others(view, out))} to serve")
    if unproven := _unproven(view, out):
        return wait(f"waits for {listed(unproven)} to show what the volumes hold")
    electorate = [one for one in view.members if one.contact is Contact.ANSWERS and one.pod not in out]
    uuids = {one.evidence.uuid for one in electorate if full(one) and one.evidence.uuid}
    wanted = {view.record.uuid} if view.record else set()
    if len(uuids | wanted) > 1:
        return refuse(_disagree(electorate, view.record))
    winner = _most_advanced(electorate)
    if winner is None:
        return refuse(_no_position(electorate))
    if not consented(view) and (lost := _lost_seqno(winner, view.record)):
        return refuse(lost)
    return _crown(view, winner, electorate)


def bootstrap(view: View, reason: str) -> Decision:
    """Whoever may bootstrap takes the Lease first, and decides again while holding it."""
    lease = view.lease
    if lease is None or lease.expired or not lease.holder:
        return Decision(Action.CLAIM, f"takes the Lease to bootstrap: {reason}")
    if lease.holder != view.me.pod:
        return wait(f"waits for {lease.holder}, which has held the bootstrap Lease since {lease.since}")
    return Decision(Action.BOOTSTRAP, f"bootstraps: {reason}")


def offer(view: View) -> Offer | None:
    """What a human may consent to: go on without the members whose proof is missing, or accept a known loss.

    None where nothing is missing, where somebody is about to show what it holds, where nobody could win, and where no
    cluster is recorded: without its uuid nobody can tell a foreign volume.
    """
    record = view.record
    if record is None or view.api_error is not None or any(one.primary or one.starting for one in view.members):
        return None
    before = {pod for pod, _ in record.given_up}
    foreign = [one for one in view.members if full(one) and one.evidence.uuid not in (record.uuid, None)]
    missing = {one.pod for one in (*unheard(view), *emptied(view), *foreign)} - before
    kept = [
        one
        for one in view.members
        if one.contact is Contact.ANSWERS and proven(one) and one.pod not in missing | before
    ]
    winner = _most_advanced(kept)
    if winner is None or winner.evidence.seqno is None:
        return None
    lost = max(0, _known(record)[1] - winner.evidence.seqno)
    if not missing and not lost:
        return None
    held = tuple(sorted((one.pod, one.evidence.position or one.evidence.data) for one in kept))
    return Offer(winner.pod, record.uuid, winner.evidence.seqno, tuple(sorted(missing)), lost, held)


def consented(view: View) -> bool:
    """Whether a human has consented to exactly what is offered now."""
    return view.consent is not None and view.consent.offer == offer(view)


def left_out(view: View) -> set[str]:
    """Pods that do not count: given up before, or by a consent that fits what is seen now."""
    before = {pod for pod, _ in view.record.given_up} if view.record else set()
    return before | set(view.consent.offer.given_up) if view.consent and consented(view) else before


def stale_consent(view: View) -> str:
    """Why a consent that was given is not acted on, empty where there is none or it fits."""
    if view.consent is None or consented(view):
        return ""
    offered = offer(view)
    now = f"now it would be for {offered.words()}" if offered else "no consent is possible or needed now"
    return f"; the consent of {view.consent.time} is ignored, it was for {view.consent.offer.words()}: {now}"


def unheard(view: View) -> list[Member]:
    """Members of the electorate that have not shown what they hold.

    All wanted nodes belong to it, absent or not, because their volumes may hold the most; the seed, if it exists.
    """
    missing = []
    for member in view.members:
        beyond = not member.seed and member.ordinal >= view.size
        if member.contact is Contact.ABSENT and (member.seed or beyond):
            continue
        if member.contact is not Contact.ANSWERS or not proven(member):
            missing.append(member)
    return missing


def emptied(view: View) -> list[Member]:
    """Members whose volume is empty although they held data of the recorded cluster: what they knew is gone.

    A volume that was emptied while others served is no such case: its entry goes when its pod asks for all data.
    """
    held = {pod for pod, _ in view.record.seqnos} if view.record else set()
    return [
        one
        for one in view.members
        if one.contact is Contact.ANSWERS and proven(one) and one.evidence.data == "empty" and one.pod in held
    ]


def proven(member: Member) -> bool:
    """Whether it has shown what its volume holds now."""
    return (member.stopped or member.live) and member.evidence.data != "unknown"


def full(member: Member) -> bool:
    """Whether it holds a whole data directory."""
    return member.evidence.data == "present"


def named(member: Member) -> str:
    """The member and why it has shown nothing."""
    note = member.evidence.note if member.stopped and member.evidence.note else member.note
    return f"{member.pod} ({note})" if note else member.pod


def blockers(view: View) -> list[str]:
    """Whose proof an election waits for, each with the reason; nobody's that a human has given up."""
    return _unproven(view, left_out(view))


def _unproven(view: View, out: Iterable[str]) -> list[str]:
    held = dict(view.record.seqnos) if view.record else {}
    gone = [
        f"{one.pod} (its volume is empty, but it held this cluster up to seqno {held[one.pod]} or more)"
        for one in emptied(view)
        if one.pod not in out
    ]
    return [named(one) for one in unheard(view) if one.pod not in out] + gone


def _crown(view: View, winner: Member, electorate: list[Member]) -> Decision:
    reason = f"the most advanced member at {winner.evidence.position}"
    consent = view.consent if consented(view) else None
    if consent is not None:
        without = f", without {listed(consent.offer.given_up)}" if consent.offer.given_up else ""
        reason = f"{reason}{without}, with the consent of {consent.time}"
    if winner.pod != view.me.pod:
        return wait(f"waits for {winner.pod}, {reason}, to bootstrap")
    # Servers that run outside a primary component could form one by themselves: never two at the same time.
    running = [one.pod for one in electorate if one.live]
    if running:
        who = subject(running, "runs", "run", ", which")
        return wait(f"waits for {who} outside a primary component, to stop: then bootstraps")
    return replace(bootstrap(view, reason), consent=consent)


def _most_advanced(members: list[Member]) -> Member | None:
    able = [one for one in members if full(one) and one.evidence.position]
    return min(able, key=lambda one: (-(one.evidence.seqno or 0), rank(one))) if able else None


def _others(view: View, out: set[str]) -> list[str]:
    return [one.pod for one in sorted(view.peers, key=rank) if one.pod not in out and one.contact is not Contact.ABSENT]


def _disagree(known: list[Member], record: Record | None) -> str:
    held = listed([f"{one.pod} of {one.evidence.uuid}" for one in sorted(known, key=rank) if one.evidence.uuid])
    recorded = f"; the cluster was bootstrapped as {record.uuid}" if record else ""
    return f"the volumes hold data of different clusters: {held}{recorded}; nothing was changed: bind the right volumes"


def _no_position(known: list[Member]) -> str:
    held = listed([f"{one.pod} {one.evidence.data}" for one in sorted(known, key=rank)])
    return f"no volume holds data with a position ({held}); nothing was changed: restore a backup"


def _known(record: Record | None) -> tuple[str, int]:
    """The highest seqno that was recorded, and by whom; -1 where there is none."""
    return max(record.seqnos, key=lambda item: item[1]) if record and record.seqnos else ("", -1)


def _lost_seqno(winner: Member, record: Record | None) -> str | None:
    """A pod was more advanced than any volume is now: the volume that knew more is gone or has gone back."""
    (pod, seqno), held = _known(record), winner.evidence.seqno or 0
    if seqno <= held:
        return None
    return (
        f"{pod} had reached seqno {seqno}, but the most advanced volume, {winner.pod}, holds {held}: {seqno - held} "
        f"write-sets would be lost; nothing was changed: bring back the volume of {pod}, or consent to the loss"
    )
