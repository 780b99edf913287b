# SPDX-License-Identifier: GPL-3.0-or-later
"""What a decision is made of, and what it is: members, evidence, the record, a human's consent; the decision."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .datadir import NOTHING_KNOWN, Evidence

CONSENT_FORMAT = 1


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
class Record:
    """What outlives the pods: the cluster's uuid, and the highest seqno each pod has reported for it.

    given_up: pods without which the cluster was continued, each with the seqno from which it was. What such a volume
    holds beyond it belongs to another history.
    """

    uuid: str
    seqnos: tuple[tuple[str, int], ...] = ()
    given_up: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Member:
    """One pod as it was last seen.

    primary: uuid of the primary component that it serves, None where it serves none.
    size: of that component.
    stopped: whether its server waits for a decision, so that its evidence is that of the volume now.
    starting: whether its server was told to start and does not run yet.
    live: whether its server runs outside a primary component; its evidence is what the server says.
    caught_up: whether it is Synced and has applied all that it received.
    desynced: whether it serves, but can be no donor, because it is one already or somebody has desynced it.
    note: why it is silent, or what it does.
    record: what it knows of the record, None where it knows nothing.
    filling: whether it fills its empty volume from a backup.
    cached: the lowest seqno of which a joiner gets the write-sets from it, None where it does not tell.
    vouches: names of backups that the data which it serves have grown out of (state.Snapshot).
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
    caught_up: bool = False
    desynced: bool = False
    note: str = ""
    record: Record | None = None
    filling: bool = False
    cached: int | None = None
    vouches: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lease:
    """The bootstrapper's Lease; since is the time at which the holder took it, as text."""

    holder: str
    since: str
    expired: bool = False


@dataclass(frozen=True)
class Offer:
    """How the cluster can go on without evidence that is missing, if a human consents to exactly this.

    winner bootstraps at uuid:seqno; given_up are left out; lost write-sets are known to be lost (a given-up volume may
    hold more that nobody knows of); shown is what every other member holds, in words.
    """

    winner: str
    uuid: str
    seqno: int
    given_up: tuple[str, ...]
    lost: int
    shown: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """The offer as /status shows it and as a consent carries it."""
        return {
            "format": CONSENT_FORMAT,
            "winner": self.winner,
            "uuid": self.uuid,
            "seqno": self.seqno,
            "given_up": list(self.given_up),
            "lost": self.lost,
            "shown": dict(self.shown),
        }

    def words(self) -> str:
        """The offer in a few words."""
        without = f" without {', '.join(self.given_up)}" if self.given_up else ""
        return f"{self.winner} at {self.uuid}:{self.seqno}{without}"


@dataclass(frozen=True)
class Consent:
    """An offer that a human has consented to, and when, as text."""

    offer: Offer
    time: str


def parse_consent(text: str) -> Consent:
    """Read a consent: an offer as JSON with its time. Raises ValueError where it is not readable."""
    try:
        raw = json.loads(text)
        if raw["format"] != CONSENT_FORMAT:
            raise ValueError(f"the consent has format {raw['format']}, this agent understands {CONSENT_FORMAT}")
        offer = Offer(
            str(raw["winner"]),
            str(raw["uuid"]),
            int(raw["seqno"]),
            tuple(sorted(map(str, raw["given_up"]))),
            int(raw["lost"]),
            tuple(sorted((str(pod), str(held)) for pod, held in raw["shown"].items())),
        )
        return Consent(offer, str(raw["time"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the consent is unreadable ({error!r}): {text!r}") from None


@dataclass(frozen=True)
class View:
    """All that one decision may know.

    size: how many nodes are wanted. api_error: why the API server gives no facts, None where it gives them.
    record: where the API server gives no facts, what it said last.
    """

    me: Member
    peers: tuple[Member, ...]
    size: int
    api_error: str | None = None
    record: Record | None = None
    lease: Lease | None = None
    consent: Consent | None = None

    @property
    def members(self) -> tuple[Member, ...]:
        """This member and all others."""
        return (self.me, *self.peers)


@dataclass(frozen=True)
class Decision:
    """What to do and why.

    via: the pods to join, those in the primary component first. offer: what a human may consent to where nothing else
    goes on. consent: the consent on which a bootstrap rests. returns: a member that was given up joins again.
    ahead: this volume is ahead of a running cluster that has applied all that it received, which is at this seqno.
    """

    action: Action
    reason: str
    via: tuple[str, ...] = ()
    offer: Offer | None = None
    consent: Consent | None = None
    returns: bool = False
    ahead: int | None = None


def rank(member: Member) -> tuple[bool, int]:
    """The order among members: nodes by ordinal, the seed last."""
    return member.seed, member.ordinal


def listed(names: Iterable[str]) -> str:
    """Names as a reader wants them."""
    return ", ".join(names)


def subject(names: Iterable[str], one: str, many: str, link: str = "") -> str:
    """Names with what they do: `n-0 holds`, `n-0, n-1 hold`. link: between the two, such as a comma and "which"."""
    found = [*names]
    return f"{listed(found)}{link} {one if len(found) == 1 else many}"


def wait(reason: str) -> Decision:
    """Wait, and say for what."""
    return Decision(Action.WAIT, reason)


def refuse(reason: str) -> Decision:
    """Change nothing, and say why."""
    return Decision(Action.REFUSE, reason)
