# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole crashes and recoveries of a modelled cluster, watched by an oracle that sees all volumes.

The model holds what each volume really contains, as a history of write-sets. Servers are killed in every order with
writes in between, then the members decide in rounds, each with its own and partial sight of the others, through the
real decision and the real record. The oracle knows what no member knows, and objects to a bootstrap without the most
advanced volume, to a second primary component and to a join that would mix two histories.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from agent_fakes import FakeKube
from galera_agent.datadir import Evidence, after_recovery, parse_grastate
from galera_agent.decide import comes_back, decide
from galera_agent.members import Action, Consent, Contact, Decision, Lease, Member, View
from galera_agent.record import Recorder, consent_of, parse

A = "aaaaaaaa-0000-4000-8000-00000000000a"
B = "bbbbbbbb-0000-4000-8000-00000000000b"
ZERO = "00000000-0000-0000-0000-000000000000"
NO_SEED = Member("seed", True, 0, Contact.ABSENT)
STATE = "state"
PATIENCE = 3  # rounds for which Galera is given the time to form a component by itself


@dataclass
class Volume:
    """One node: what its disk really holds, and what becomes of it."""

    ordinal: int
    uuid: str = A
    history: list[int] = field(default_factory=list)
    kind: str = "present"
    runs: bool = True
    primary: bool = True
    reachable: bool = True
    orderly: bool = False
    outside: int = 0

    @property
    def pod(self) -> str:
        return f"n-galera-{self.ordinal}"

    def evidence(self) -> Evidence:
        """As the agent finds it: the texts of Galera and MariaDB, read by the agent's own parsers."""
        if self.kind in ("empty", "partial"):
            return Evidence("empty" if self.kind == "empty" else "partial", A if self.kind == "partial" else None)
        seqno = len(self.history) if self.orderly else -1
        # safe_to_bootstrap is set everywhere: it must decide nothing.
        grastate = parse_grastate(f"version: 2.1\nuuid:    {self.uuid}\nseqno:   {seqno}\nsafe_to_bootstrap: 1\n")
        if self.kind == "unreadable":
            return after_recovery("[ERROR] InnoDB: the disk is full", 1, grastate)
        position = f"{ZERO}:-1" if self.uuid == ZERO else f"{self.uuid}:{len(self.history)}"
        return after_recovery(f"[Note] WSREP: Recovered position: {position}\n", 0, grastate)


class Cluster:
    """Nodes, a record in a ConfigMap, a Lease, and the oracle."""

    def __init__(self, size: int, dice: random.Random) -> None:
        self.size, self.dice, self.writes = size, dice, 0
        self.volumes = [Volume(ordinal) for ordinal in range(size)]
        self.holder = ""
        self.kube = FakeKube()
        self.kube.make_map(STATE, {"cluster": json.dumps({"uuid": A})})
        self.bootstraps: list[int] = []
        self.log: list[str] = []

    # --- the life before the crash ---

    def write(self, lags: dict[int, int]) -> None:
        """Commit a write-set: it reaches the disks of the running members except the last `lag` of each."""
        self.writes += 1
        for volume in self._members():
            volume.history.append(self.writes)
        self._lags = lags

    def kill(self, ordinal: int, orderly: bool) -> None:
        """End a server; killed, it loses what had not reached its disk; half of a component is no majority."""
        volume = self.volumes[ordinal]
        before = len(self._members())
        lag = 0 if orderly else self._lags.get(ordinal, 0)
        if lag and volume.primary:
            del volume.history[len(volume.history) - lag :]
        volume.runs = volume.primary = False
        volume.orderly = orderly
        rest = self._members()
        if not orderly and 2 * len(rest) <= before:
            for other in rest:
                other.primary = False

    def record(self, ordinal: int, seqno: int) -> None:
        self.kube.patch_config_map(STATE, {f"n-galera-{ordinal}": json.dumps({"uuid": A, "seqno": seqno})})

    def _members(self) -> list[Volume]:
        return [volume for volume in self.volumes if volume.runs and volume.primary]

    # --- the recovery ---

    def round(self, blindness: float) -> None:
        """Each server that does not serve looks, in any order, and does what it decides."""
        for volume in self.dice.sample(self.volumes, self.size):
            if not volume.reachable or (volume.runs and volume.primary):
                continue
            view = self._view(volume, blindness)
            if volume.runs:
                answer = comes_back(view)
                volume.outside += 1
                if answer or (answer is False and volume.outside > PATIENCE):
                    volume.runs, volume.orderly = False, True
                continue
            self._obey(volume, decide(view))

    def _view(self, me: Volume, blindness: float) -> View:
        peers = [
            self._seen(other) if other.reachable and self.dice.random() >= blindness else self._silent(other)
            for other in self.volumes
            if other is not me
        ]
        data = self.kube.maps[STATE]["data"]
        lease = Lease(self.holder, "09:00") if self.holder else None
        mine = replace(self._seen(me), primary=None)
        return View(mine, (*peers, NO_SEED), self.size, None, parse(data), lease, consent_of(data))

    def _seen(self, volume: Volume) -> Member:
        evidence = volume.evidence()
        serves = volume.runs and volume.primary
        if volume.runs:
            evidence = Evidence("present", A, len(volume.history))
        return Member(
            volume.pod,
            False,
            volume.ordinal,
            Contact.ANSWERS,
            evidence,
            A if serves else None,
            len(self._members()) if serves else 0,
            stopped=not volume.runs,
            live=volume.runs and not serves,
            caught_up=serves,
        )

    def _silent(self, volume: Volume) -> Member:
        return Member(volume.pod, False, volume.ordinal, Contact.SILENT, note="does not answer")

    def _obey(self, volume: Volume, decision: Decision) -> None:
        self.log.append(f"{volume.pod}: {decision.action.value}: {decision.reason}")
        if decision.action is Action.CLAIM and not self.holder:
            self.holder = volume.pod
        elif decision.action is Action.BOOTSTRAP:
            self._bootstrap(volume, decision)
        elif decision.action is Action.JOIN:
            self._join(volume, decision)
        elif self.holder == volume.pod and decision.action is not Action.CLAIM:
            self.holder = ""

    def _bootstrap(self, volume: Volume, decision: Decision) -> None:
        assert self.holder == volume.pod, "bootstraps without the Lease"
        assert not self._members(), "a second primary component"
        assert not [one for one in self.volumes if one.runs], "a second component may form beside it"
        given_up = decision.consent.offer.given_up if decision.consent else ()
        left = [one for one in self.volumes if one.pod not in (*given_up, *self._given_up())]
        most = max(len(one.history) for one in left if one.kind != "partial" and one.uuid == A)
        assert len(volume.history) == most, f"{volume.pod} bootstraps at {len(volume.history)}, the most is {most}"
        if decision.consent:
            assert Recorder(self.kube, STATE, volume.pod).use(decision.consent)
        self._serve(volume)
        self.bootstraps.append(volume.ordinal)
        self.holder = ""

    def _join(self, volume: Volume, decision: Decision) -> None:
        truth = self._members()[0].history
        recorder = Recorder(self.kube, STATE, volume.pod)
        if decision.returns:
            recorder.come_back()
        if volume.kind == "present":
            assert volume.history == truth[: len(volume.history)], f"{volume.pod} would mix two histories"
            assert volume.uuid == A, f"{volume.pod} gives up data of another cluster"
        elif volume.kind == "empty":
            recorder.forget_volume()
        volume.history, volume.kind = list(truth), "present"
        self._serve(volume)

    def _serve(self, volume: Volume) -> None:
        volume.runs = volume.primary = True

    def _given_up(self) -> list[str]:
        found = parse(self.kube.maps[STATE]["data"])
        return [pod for pod, _ in found.given_up] if found else []

    def consent(self) -> Decision:
        """A human consents to what the most advanced member that is heard offers."""
        for volume in self.volumes:
            if volume.reachable and not (volume.runs and volume.primary):
                decision = decide(self._view(volume, 0.0))
                if decision.offer:
                    given = {**decision.offer.as_dict(), "time": "2026-11-21T09:00:00Z"}
                    self.kube.patch_config_map(STATE, {"consent": json.dumps(given)})
                    return decision
        raise AssertionError(f"nobody offers anything: {self.log[-self.size :]}")

    def settle(self, rounds: int = 12) -> None:
        """Rounds in the dark, then rounds in the light."""
        for _ in range(4):
            self.round(blindness=0.5)
        for _ in range(rounds):
            if len(self.serving) == self.size:
                return
            self.round(blindness=0.0)

    @property
    def serving(self) -> list[int]:
        return [volume.ordinal for volume in self._members()]


def crashed(
    size: int, order: tuple[int, ...], lags: tuple[int, ...], orderly: tuple[bool, ...], seed: int = 0
) -> Cluster:
    """A cluster whose servers ended in this order, with two writes before each end."""
    cluster = Cluster(size, random.Random(seed))
    behind = dict(enumerate(lags))
    for _ in range(3):
        cluster.write(behind)
    for ordinal in range(size):
        cluster.record(ordinal, max(0, 3 - lags[ordinal]))
    for ordinal, how in zip(order, orderly, strict=True):
        cluster.kill(ordinal, how)
        cluster.write(behind)
        cluster.write(behind)
    return cluster


def _crashes(size: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[bool, ...]]]:
    """All kill orders, with some lags and ways to end each."""
    lags = [(0,) * size, (1, 0, 2, 0, 1)[:size], (0, 2, 1, 3, 0)[:size], (3, 3, 3, 3, 3)[:size]]
    ends = [(False,) * size, (True,) * size, (True, False, True, False, False)[:size]]
    for order in itertools.permutations(range(size)):
        yield from ((order, lag, end) for lag in lags for end in ends)


@pytest.mark.parametrize("size", [3, 5])
def test_every_order_of_deaths_is_recovered_from_by_the_most_advanced(size: int) -> None:
    for number, (order, lags, orderly) in enumerate(_crashes(size)):
        cluster = crashed(size, order, lags, orderly, number)
        most = max(len(volume.history) for volume in cluster.volumes)
        cluster.settle()
        assert cluster.serving == list(range(size)), (order, lags, orderly, cluster.log)
        assert len(cluster.bootstraps) == 1, (order, lags, orderly, cluster.log)
        assert all(len(volume.history) == most for volume in cluster.volumes)


@pytest.mark.parametrize("alive", [1, 2, 5])
def test_survivors_outside_a_primary_component_are_counted(alive: int) -> None:
    """Servers that live without a majority are candidates, and never run beside a bootstrapped one."""
    for survivors in itertools.combinations(range(5), alive):
        cluster = Cluster(5, random.Random(survivors[0]))
        for _ in range(3):
            cluster.write({})
        # All at once: whoever is left has no majority, and may have received more than the others.
        for volume in cluster.volumes:
            volume.runs, volume.primary = volume.ordinal in survivors, False
            volume.history = volume.history[: 3 if volume.runs else 3 - volume.ordinal % 2]
        cluster.settle()
        assert cluster.serving == list(range(5)), (survivors, cluster.log)
        assert len(cluster.bootstraps) == 1


# What happens to one volume, and what the others make of it without a human: bootstrap or not.
HARM = {
    "aborted state transfer": ({"kind": "partial"}, True),
    "zero uuid": ({"uuid": ZERO}, True),
    "emptied while nobody served": ({"kind": "empty", "history": []}, False),
    "of another cluster": ({"uuid": B, "history": [90, 91, 92, 93, 94, 95, 96, 97, 98, 99] * 9}, False),
    "unreadable": ({"kind": "unreadable", "orderly": False}, False),
    "gone": ({"reachable": False}, False),
}


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize(("change", "goes_on"), HARM.values(), ids=HARM.keys())
def test_one_volume_that_proves_nothing(size: int, change: dict[str, object], goes_on: bool) -> None:
    orders = list(itertools.permutations(range(size)))
    for number, order in enumerate(orders if size == 3 else orders[::4]):
        for victim in {order[0], order[-1]}:
            cluster = crashed(size, order, (1, 0, 2, 0, 1)[:size], (False,) * size, number)
            for name, value in change.items():
                setattr(cluster.volumes[victim], name, list(value) if isinstance(value, list) else value)
            cluster.settle()
            assert bool(cluster.bootstraps) == goes_on, (order, victim, cluster.log)
            others = [ordinal for ordinal in range(size) if ordinal != victim]
            if not goes_on:
                offer = cluster.consent().offer
                assert offer is not None
                assert offer.given_up == (cluster.volumes[victim].pod,)
                cluster.settle()
            assert len(cluster.bootstraps) == 1, (order, victim, cluster.log)
            assert set(others) <= set(cluster.serving)


@pytest.mark.parametrize("change", [change for change, goes_on in HARM.values() if not goes_on], ids=str)
def test_without_consent_nothing_ever_moves(change: dict[str, object]) -> None:
    cluster = crashed(3, (0, 1, 2), (0, 0, 0), (False, False, False))
    before = json.dumps(cluster.kube.maps)
    for name, value in change.items():
        setattr(cluster.volumes[1], name, list(value) if isinstance(value, list) else value)
    cluster.settle(rounds=50)
    assert (cluster.serving, cluster.holder, json.dumps(cluster.kube.maps)) == ([], "", before)


@dataclass(frozen=True)
class Return:
    """How a member that was given up comes back."""

    change: dict[str, object]
    joins: bool


RETURNS = {
    "with an empty volume": Return({"kind": "empty", "history": []}, True),
    "with an older volume": Return({"history": [1, 2]}, True),
    "with what the others lack": Return({}, False),
    "with an unreadable volume": Return({"kind": "unreadable"}, False),
}


@pytest.mark.parametrize("later", [0, 50])
@pytest.mark.parametrize("back", RETURNS.values(), ids=RETURNS.keys())
def test_who_was_given_up_comes_back(back: Return, later: int) -> None:
    """The most advanced node is given up; the others go on and write as much and more as it had."""
    cluster = crashed(3, (0, 1, 2), (0, 0, 0), (True, True, False))
    lost = cluster.volumes[2]
    lost.reachable = False
    cluster.settle()
    cluster.consent()
    cluster.settle()
    assert cluster.serving == [0, 1]
    for _ in range(later):
        cluster.write({})
    for name, value in back.change.items():
        setattr(lost, name, list(value) if isinstance(value, list) else value)
    lost.reachable = True
    cluster.settle()
    assert cluster.serving == ([0, 1, 2] if back.joins else [0, 1]), cluster.log
    assert cluster._given_up() == ([] if back.joins else ["n-galera-2"])


def test_a_second_crash_needs_no_second_consent() -> None:
    cluster = crashed(3, (0, 1, 2), (0, 0, 0), (False, False, False))
    cluster.volumes[2].reachable = False
    cluster.consent()
    cluster.settle()
    cluster.write({})
    for ordinal in (1, 0):
        cluster.kill(ordinal, orderly=False)
    cluster.settle()
    assert (cluster.serving, len(cluster.bootstraps)) == ([0, 1], 2)


def test_a_member_that_came_back_counts_in_the_next_election() -> None:
    cluster = crashed(3, (0, 1, 2), (0, 0, 0), (False, False, False))
    cluster.volumes[2].history = cluster.volumes[0].history[:]
    cluster.volumes[2].reachable = False
    cluster.consent()
    cluster.settle()
    cluster.volumes[2].reachable = True
    cluster.settle()
    assert cluster.serving == [0, 1, 2]
    for ordinal in (0, 1):
        cluster.kill(ordinal, orderly=True)
    cluster.write({})
    cluster.kill(2, orderly=False)
    cluster.volumes[2].reachable = False
    cluster.settle()
    assert cluster.serving == []


@pytest.mark.parametrize("what", ["came back", "another one fell silent", "moved"])
def test_a_consent_that_does_not_fit_any_more_is_ignored_and_says_so(what: str) -> None:
    cluster = crashed(3, (0, 1, 2), (0, 0, 0), (False, False, False))
    cluster.volumes[2].reachable = False
    cluster.consent()
    if what == "came back":
        cluster.volumes[2].reachable = True
    elif what == "another one fell silent":
        cluster.volumes[1].reachable = False
    else:
        cluster.volumes[1].history.pop()
    decision = decide(cluster._view(cluster.volumes[0], 0.0))
    assert decision.action is Action.WAIT
    assert "the consent of 2026-11-21T09:00:00Z is ignored" in decision.reason
    cluster.settle()
    assert cluster.serving == ([0, 1, 2] if what == "came back" else [])


def test_a_consent_counts_for_all_who_see_the_same() -> None:
    """All members that are heard offer the same, word for word: a consent given to one is given to all."""
    cluster = crashed(5, (4, 2, 0, 1, 3), (0, 1, 0, 2, 0), (False,) * 5)
    cluster.volumes[3].reachable = False
    offers = {decide(cluster._view(cluster.volumes[ordinal], 0.0)).offer for ordinal in (0, 1, 2, 4)}
    assert len(offers) == 1
    offer = offers.pop()
    assert offer is not None
    given = Consent(offer, "t")
    data = {"consent": json.dumps({**offer.as_dict(), "time": "t"})}
    assert consent_of(data) == given
