# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision, by tables: who may bootstrap, who joins, who waits for whom, and who refuses."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from galera_agent.datadir import Evidence
from galera_agent.decide import comes_back, decide
from galera_agent.election import offer
from galera_agent.members import Action, Consent, Decision, Lease, Record, View
from member_samples import (
    EMPTY,
    FRESH,
    LOST,
    MINE,
    NO_NODES,
    NO_SEED,
    RECORD,
    SEEDS,
    SILENT_SEED,
    TORSO,
    A,
    B,
    absent,
    data,
    live,
    node,
    primary,
    seed,
    silent,
    starting,
    view,
)

CASES = {
    # --- a primary component is seen ---
    "an empty node joins": (view(node(1, EMPTY), primary(0)), Action.JOIN, "no complete data"),
    "a torso joins, all data are asked for": (view(node(1, TORSO), primary(0)), Action.JOIN, "no complete data"),
    "the same cluster joins from its position": (view(node(1, data(7)), primary(0)), Action.JOIN, f"{A}:7"),
    "an unrecoverable volume of the same cluster joins": (view(node(1, LOST), primary(0)), Action.JOIN, "n-0"),
    "a donor is good enough": (view(node(2, EMPTY), silent(1), primary(0)), Action.JOIN, "n-0"),
    "an empty seed joins a cluster that lives": (view(seed(EMPTY), primary(0), record=RECORD), Action.JOIN, "n-0"),
    "data of another cluster are not given up": (view(node(1, data(7, B)), primary(0)), Action.REFUSE, B),
    "data without a cluster are not given up": (view(node(1, FRESH), primary(0)), Action.REFUSE, "no cluster"),
    "an unreadable volume of an unknown cluster is not given up": (
        view(node(1, Evidence("unknown", None, None, "disk full")), primary(0)),
        Action.REFUSE,
        "disk full",
    ),
    "two clusters under one name": (view(node(2, EMPTY), primary(0), primary(1, B)), Action.REFUSE, B),
    "the running cluster is not the recorded one": (
        view(node(1, data(7, B)), primary(0, B), record=RECORD),
        Action.REFUSE,
        "bootstrapped as " + A,
    ),
    "an empty node does not join an unrecorded cluster": (
        view(node(1, EMPTY), primary(0, B), record=RECORD),
        Action.REFUSE,
        A,
    ),
    "a volume ahead of the running cluster is kept": (
        view(node(1, data(101)), primary(0, seqno=100)),
        Action.WAIT,
        "seqno 101",
    ),
    "a volume level with the running cluster joins": (
        view(node(1, data(100)), primary(0, seqno=100)),
        Action.JOIN,
        "n-0",
    ),
    "joining needs no API server where a member that serves knows the record": (
        replace(view(node(1, data(7)), replace(primary(0), record=RECORD)), api_error="timed out"),
        Action.JOIN,
        "n-0",
    ),
    "a volume that may have been given up waits for the record": (
        replace(view(node(1, data(7)), primary(0)), api_error="timed out"),
        Action.WAIT,
        "timed out",
    ),
    "so does an empty one: who was given up must be counted again before it serves": (
        replace(view(node(1, EMPTY), primary(0)), api_error="timed out"),
        Action.WAIT,
        "timed out",
    ),
    "those that were given up and serve are not joined": (
        view(node(2, data(7)), primary(0), primary(1), record=Record(A, (), (("n-0", 9), ("n-1", 9)))),
        Action.WAIT,
        "waits for n-0, n-1, which serve although they were given up, to stop",
    ),
    "nor is their word taken while the API server is away": (
        replace(
            view(node(2, data(7)), replace(primary(0), record=RECORD)),
            api_error="timed out",
            record=Record(A, (), (("n-0", 9),)),
        ),
        Action.WAIT,
        "waits for n-0, which serves although it was given up, to stop",
    ),
    "a volume is compared with those that count": (
        view(node(2, data(150)), primary(0, seqno=200), primary(1), record=Record(A, (), (("n-0", 9),))),
        Action.WAIT,
        "the running cluster at 100",
    ),
    "a volume that was given up and is ahead has another history": (
        view(node(2, data(101)), primary(0, seqno=200), record=Record(A, (), (("n-2", 100),))),
        Action.REFUSE,
        "continued without this volume from seqno 100, and this volume holds seqno 101",
    ),
    "those that serve know of it while the API server is away": (
        replace(
            view(node(2, data(101)), replace(primary(0, seqno=200), record=Record(A, (), (("n-2", 100),)))),
            api_error="timed out",
        ),
        Action.WAIT,
        "may have been given up: timed out",
    ),
    "what the API server said before it went away counts, though those that serve heard less": (
        replace(
            view(node(2, data(101)), replace(primary(0, seqno=200), record=RECORD)),
            api_error="timed out",
            record=Record(A, (), (("n-2", 100),)),
        ),
        Action.WAIT,
        "may have been given up: timed out",
    ),
    "so does what those that serve heard since": (
        replace(
            view(node(2, data(101)), replace(primary(0, seqno=200), record=Record(A, (), (("n-2", 100),)))),
            api_error="timed out",
            record=RECORD,
        ),
        Action.WAIT,
        "may have been given up: timed out",
    ),
    "while the API server answers, its word alone counts": (
        view(
            node(2, data(101)),
            replace(primary(0, seqno=200), record=Record(A, (), (("n-2", 100),))),
            record=RECORD,
        ),
        Action.JOIN,
        f"{A}:101",
    ),
    "a volume that was given up and has no position is not trusted": (
        view(node(2, LOST), primary(0, seqno=200), record=Record(A, (), (("n-2", 100),))),
        Action.REFUSE,
        "cannot say which seqno",
    ),
    "a volume that was given up and is not ahead joins": (
        view(node(2, data(100)), primary(0, seqno=200), record=Record(A, (), (("n-2", 100),))),
        Action.JOIN,
        f"{A}:100",
    ),
    "an emptied volume that was given up joins": (
        view(node(2, EMPTY), primary(0, seqno=200), record=Record(A, (), (("n-2", 100),))),
        Action.JOIN,
        "no complete data",
    ),
    "who was given up waits for the others": (
        view(node(2, data(300)), node(0, data(9)), node(1, data(9)), NO_SEED, record=Record(A, (), (("n-2", 100),))),
        Action.WAIT,
        "was given up",
    ),
    "who was given up holds up nothing": (
        view(node(0, data(9)), node(1, data(9)), silent(2), NO_SEED, record=Record(A, (), (("n-2", 9),))),
        Action.CLAIM,
        f"{A}:9",
    ),
    # --- the seed of a new cluster ---
    "an empty seed initialises": (view(seed(EMPTY), *NO_NODES), Action.INITIALISE, "first data"),
    "initialising waits for nobody": (view(seed(EMPTY), silent(0), silent(1)), Action.INITIALISE, "first data"),
    "an empty seed is not needed where nodes hold data": (
        view(seed(EMPTY), node(0, data(7)), silent(1)),
        Action.REFUSE,
        "n-0 holds data, so no seed is needed",
    ),
    "an empty seed is not needed where several nodes hold data": (
        view(seed(EMPTY), node(0, data(7)), node(1, data(7)), silent(2)),
        Action.REFUSE,
        "n-0, n-1 hold data, so no seed is needed",
    ),
    "an empty seed of a bootstrapped cluster refuses": (
        view(seed(EMPTY), *NO_NODES[:0], *(node(n, EMPTY) for n in range(3)), record=RECORD),
        Action.REFUSE,
        "bootstrapped already",
    ),
    "a torn seed volume is not initialised over": (view(seed(TORSO), *NO_NODES), Action.REFUSE, "incomplete data"),
    "the initialised seed takes the Lease": (view(seed(FRESH), *NO_NODES), Action.CLAIM, "first member"),
    "the initialised seed bootstraps": (view(seed(FRESH), *NO_NODES, lease=SEEDS), Action.BOOTSTRAP, "new cluster"),
    "a restart in the middle of the bootstrap": (
        view(seed(data(1)), node(0, EMPTY), node(1, EMPTY), node(2, TORSO), lease=SEEDS),
        Action.BOOTSTRAP,
        f"{A}:1",
    ),
    "a restored seed bootstraps": (
        view(seed(data(7)), *NO_NODES, lease=SEEDS),
        Action.BOOTSTRAP,
        f"{A}:7",
    ),
    "the seed waits for a node that may hold data": (
        view(seed(FRESH), node(0, EMPTY), silent(1), absent(2)),
        Action.WAIT,
        "n-1 (not scheduled: no machine left)",
    ),
    "the seed waits for a node that has not looked yet": (
        view(seed(FRESH), node(0, EMPTY), node(1, EMPTY), starting(2)),
        Action.WAIT,
        "n-2 (is starting)",
    ),
    "an initialised seed gives way to nodes with data": (
        view(seed(FRESH), node(0, data(7)), node(1, EMPTY), node(2, EMPTY)),
        Action.REFUSE,
        "delete the seed",
    ),
    "a restored seed beside a node of another cluster": (
        view(seed(data(7)), node(0, data(9, B)), node(1, EMPTY), node(2, EMPTY)),
        Action.REFUSE,
        f"n-0 of {B}",
    ),
    "a restored seed beside a node that is ahead": (
        view(seed(data(7)), node(0, data(9)), node(1, EMPTY), node(2, EMPTY)),
        Action.WAIT,
        "n-0, the most advanced",
    ),
    "a seed behind the nodes it bootstrapped is one of them": (
        view(seed(data(7)), node(0, data(7)), node(1, data(6)), node(2, EMPTY), record=RECORD),
        Action.WAIT,
        "n-0",
    ),
    "a seed ahead of the nodes it bootstrapped wins": (
        view(seed(data(8)), node(0, data(7)), node(1, data(6)), node(2, EMPTY), record=RECORD, lease=SEEDS),
        Action.BOOTSTRAP,
        f"{A}:8",
    ),
    # --- nodes of a new cluster ---
    "an empty node waits for the seed": (
        view(node(0, EMPTY), node(1, EMPTY), node(2, EMPTY), seed(FRESH)),
        Action.WAIT,
        "waits for seed",
    ),
    "an empty node without a seed waits for one": (
        view(node(0, EMPTY), node(1, EMPTY), node(2, EMPTY), NO_SEED),
        Action.WAIT,
        "the seed",
    ),
    "an empty node waits for those with data": (
        view(node(0, EMPTY), node(1, data(7)), silent(2), NO_SEED),
        Action.WAIT,
        "n-1",
    ),
    # --- elections ---
    "the most advanced node takes the Lease": (
        view(node(1, data(9)), node(0, data(8)), node(2, data(7)), NO_SEED, record=RECORD),
        Action.CLAIM,
        f"{A}:9",
    ),
    "and bootstraps with it": (
        view(node(1, data(9)), node(0, data(8)), node(2, data(7)), NO_SEED, record=RECORD, lease=MINE["n-1"]),
        Action.BOOTSTRAP,
        f"{A}:9",
    ),
    "without a record the volumes decide": (
        view(node(1, data(9)), node(0, data(8)), node(2, data(7)), NO_SEED, lease=MINE["n-1"]),
        Action.BOOTSTRAP,
        f"{A}:9",
    ),
    "an expired Lease is taken over": (
        view(node(0, data(9)), node(1, EMPTY), node(2, EMPTY), NO_SEED, lease=Lease("n-1", "09:00", True)),
        Action.CLAIM,
        "takes the Lease",
    ),
    "an emptied Lease is taken": (
        view(node(0, data(9)), node(1, EMPTY), node(2, EMPTY), NO_SEED, lease=Lease("", "09:00")),
        Action.CLAIM,
        "takes the Lease",
    ),
    "a Lease that another holds is waited for": (
        view(node(0, data(9)), node(1, EMPTY), node(2, EMPTY), NO_SEED, lease=MINE["n-1"]),
        Action.WAIT,
        "n-1, which has held the bootstrap Lease since 09:00",
    ),
    "a silent node holds up the election": (
        view(node(0, data(9)), node(1, data(8)), silent(2), NO_SEED, record=RECORD, lease=MINE["n-0"]),
        Action.WAIT,
        "n-2",
    ),
    "a silent seed holds up the election": (
        view(node(0, data(9)), node(1, data(8)), node(2, data(7)), SILENT_SEED, record=RECORD),
        Action.WAIT,
        "seed",
    ),
    "a wanted node that is absent holds up the election": (
        view(node(0, data(9)), node(1, data(8)), absent(2), NO_SEED, record=RECORD),
        Action.WAIT,
        "n-2 (its StatefulSet has 0 replicas)",
    ),
    "a node beyond the wanted size does not": (
        view(node(0, data(9)), node(1, data(8)), absent(2), NO_SEED, record=RECORD, size=2),
        Action.CLAIM,
        f"{A}:9",
    ),
    "an unreadable volume holds up the election": (
        view(node(0, data(9)), node(1, data(8)), node(2, LOST), NO_SEED, record=RECORD),
        Action.WAIT,
        "n-2 (recovery failed: disk full)",
    ),
    "a starting server holds up the election": (
        view(node(0, data(9)), node(1, data(8)), starting(2), NO_SEED, record=RECORD),
        Action.WAIT,
        "n-2 (is starting)",
    ),
    "an unreadable volume alone refuses": (
        view(node(0, LOST), node(1, EMPTY), node(2, EMPTY), NO_SEED, record=RECORD),
        Action.REFUSE,
        "disk full",
    ),
    "uuid zero never wins": (
        view(node(0, FRESH), node(1, data(1)), node(2, EMPTY), NO_SEED, record=RECORD),
        Action.WAIT,
        "waits for n-1",
    ),
    "seqno -1 never wins": (
        view(node(0, Evidence("present", A)), node(1, data(1)), node(2, EMPTY), NO_SEED, record=RECORD),
        Action.WAIT,
        "waits for n-1",
    ),
    "a torso never wins": (
        view(node(0, data(1)), node(1, Evidence("partial", A, 99)), node(2, EMPTY), NO_SEED, lease=MINE["n-0"]),
        Action.BOOTSTRAP,
        f"{A}:1",
    ),
    "uuid zero alone does not bootstrap a node": (
        view(node(0, FRESH), node(1, FRESH), node(2, EMPTY), NO_SEED, lease=MINE["n-0"]),
        Action.REFUSE,
        "restore a backup",
    ),
    "seqno -1 alone does not bootstrap a node": (
        view(node(0, Evidence("present", A)), node(1, EMPTY), node(2, EMPTY), NO_SEED, record=RECORD),
        Action.REFUSE,
        "restore a backup",
    ),
    "a foreign uuid stops the election": (
        view(node(0, data(9)), node(1, data(8)), node(2, data(99, B)), NO_SEED, lease=MINE["n-0"]),
        Action.REFUSE,
        f"n-2 of {B}",
    ),
    "volumes that agree on the wrong cluster": (
        view(node(0, data(9, B)), node(1, data(8, B)), node(2, EMPTY), NO_SEED, record=RECORD, lease=MINE["n-0"]),
        Action.REFUSE,
        f"bootstrapped as {A}",
    ),
    "a tie goes to the lowest ordinal": (
        view(node(1, data(9)), node(0, data(9)), node(2, data(9)), NO_SEED),
        Action.WAIT,
        "waits for n-0",
    ),
    "a tie with the seed goes to the node": (
        view(node(2, data(9)), node(0, EMPTY), node(1, EMPTY), seed(data(9)), record=RECORD),
        Action.CLAIM,
        f"{A}:9",
    ),
    "all volumes of a recorded cluster are empty": (
        view(node(0, EMPTY), node(1, EMPTY), node(2, TORSO), NO_SEED, record=Record(A, (("n-1", 41), ("n-2", 7)))),
        Action.REFUSE,
        "last known seqno 41",
    ),
    "an empty node of a recorded cluster waits for the silent one": (
        view(node(0, EMPTY), node(1, EMPTY), silent(2), NO_SEED, record=RECORD),
        Action.WAIT,
        "n-2",
    ),
    "the volume that knew most is gone": (
        view(node(0, data(9)), node(1, data(8)), node(2, TORSO), NO_SEED, record=Record(A, (("n-2", 12), ("n-0", 9)))),
        Action.REFUSE,
        "3 write-sets would be lost",
    ),
    "the volume that knew most is there": (
        view(node(0, data(12)), node(1, data(8)), node(2, TORSO), NO_SEED, record=Record(A, (("n-2", 12),))),
        Action.CLAIM,
        f"{A}:12",
    ),
    "a volume that was emptied while nobody served may have held the most": (
        view(node(0, data(12)), node(1, data(8)), node(2, EMPTY), NO_SEED, record=Record(A, (("n-2", 5),))),
        Action.WAIT,
        "n-2 (its volume is empty, but it held this cluster up to seqno 5 or more)",
    ),
    "one node is its own electorate": (
        view(node(0, data(9)), NO_SEED, record=RECORD, lease=MINE["n-0"], size=1),
        Action.BOOTSTRAP,
        f"{A}:9",
    ),
    "a server outside a primary component is a candidate": (
        view(node(0, data(9)), node(1, data(8)), live(2, 10), NO_SEED, record=RECORD),
        Action.WAIT,
        "waits for n-2",
    ),
    "an empty node waits for one that holds data": (
        view(node(0, EMPTY), node(1, data(9)), silent(2), NO_SEED, record=RECORD),
        Action.WAIT,
        "waits for n-1, which holds data, to form",
    ),
    "an empty node waits for those that hold data": (
        view(node(0, EMPTY), node(1, data(9)), node(2, data(9)), NO_SEED, record=RECORD),
        Action.WAIT,
        "waits for n-1, n-2, which hold data, to form",
    ),
    "an empty node without a record waits for one that holds data": (
        view(node(0, EMPTY), node(1, data(9)), silent(2), NO_SEED),
        Action.WAIT,
        "waits for n-1, which holds data, to form",
    ),
    "servers outside a primary component can lose": (
        view(node(0, data(11)), live(1, 8), live(2, 10), NO_SEED, record=RECORD),
        Action.WAIT,
        "n-1, n-2, which run outside a primary component, to stop",
    ),
    "a server outside a primary component can lose": (
        view(node(0, data(11)), node(1, data(8)), live(2, 10), NO_SEED, record=RECORD),
        Action.WAIT,
        "n-2, which runs outside a primary component, to stop",
    ),
}


@pytest.mark.parametrize(("seen", "action", "says"), CASES.values(), ids=CASES.keys())
def test_decision(seen: View, action: Action, says: str) -> None:
    decision = decide(seen)
    assert (decision.action, says in decision.reason) == (action, True), decision


@pytest.mark.parametrize("evidence", [EMPTY, TORSO, FRESH, LOST, data(9)])
@pytest.mark.parametrize("me", [node, lambda _, evidence: seed(evidence)], ids=["node", "seed"])
def test_without_the_api_server_nobody_starts_a_cluster(me: object, evidence: Evidence) -> None:
    peers = (node(1, EMPTY), node(2, EMPTY), NO_SEED)
    decision = decide(replace(view(me(0, evidence), *peers), api_error="connection refused"))  # type: ignore[operator]
    assert decision.action is Action.WAIT
    assert "connection refused" in decision.reason


def test_all_members_that_answer_are_addresses_to_join_by() -> None:
    seen = view(node(1, EMPTY), node(0, EMPTY), primary(2), silent(3), seed(EMPTY))
    assert decide(seen).via == ("n-2", "n-0", "seed")
    beside = replace(seen, peers=(*seen.peers, primary(4)), record=Record(A, (), (("n-4", 9),)))
    assert decide(beside).via == ("n-2", "n-0", "seed"), "one that was given up may still serve by itself"


def _everyone(evidence: tuple[Evidence, ...], lease: Lease | None, record: Record | None) -> list[Decision]:
    members = [node(ordinal, one) for ordinal, one in enumerate(evidence)]
    size = len(members)
    return [
        decide(view(me, *(one for one in members if one is not me), NO_SEED, record=record, lease=lease, size=size))
        for me in members
    ]


@pytest.mark.parametrize("size", [1, 3, 5])
def test_every_kill_order_elects_the_last_one_standing(size: int) -> None:
    """Whoever was killed later has seen more; the lag is none, one or many write-sets a kill."""
    for order in itertools.permutations(range(size)):
        for lag in (0, 1, 1000):
            seqnos = {ordinal: 10 + lag * place for place, ordinal in enumerate(order)}
            winner = 0 if lag == 0 else order[-1]
            found = _everyone(tuple(data(seqnos[ordinal]) for ordinal in range(size)), None, RECORD)
            actions = [decision.action for decision in found]
            assert actions == [Action.CLAIM if n == winner else Action.WAIT for n in range(size)], (order, lag)


STATES = (EMPTY, TORSO, FRESH, LOST, Evidence("present", A), data(5), data(6), data(6, B))


@pytest.mark.parametrize("record", [None, RECORD, Record(A, (("n-1", 6),))], ids=["unrecorded", "recorded", "position"])
def test_no_mixture_of_volumes_gives_two_bootstrappers_or_a_worse_one(record: Record | None) -> None:
    """An oracle over all triples of volumes: at most one goes on, and only with the most of what there is."""
    for triple in itertools.product(STATES, repeat=3):
        found = _everyone(triple, None, record)
        winners = [n for n, decision in enumerate(found) if decision.action is Action.CLAIM]
        full = [one for one in triple if one.data == "present" and one.uuid]
        cluster = {one.uuid for one in full} | ({record.uuid} if record else set())
        most = max((one.seqno or 0 for one in full), default=0)
        known = max((seqno for _, seqno in record.seqnos), default=0) if record else 0
        emptied = record is not None and record.seqnos != () and triple[1] == EMPTY
        electable = most > 0 and len(cluster) == 1 and LOST not in triple and most >= known and not emptied
        assert len(winners) == (1 if electable else 0), (triple, found)
        assert all(triple[n].seqno == most for n in winners)
        assert not [one for one in found if one.action in (Action.BOOTSTRAP, Action.JOIN, Action.INITIALISE)]


@pytest.mark.parametrize("holder", [0, 1, 2])
def test_the_lease_lets_one_bootstrap(holder: int) -> None:
    for triple in itertools.product((EMPTY, data(5), data(6)), repeat=3):
        found = _everyone(triple, MINE[f"n-{holder}"], RECORD)
        assert [n for n, one in enumerate(found) if one.action is Action.BOOTSTRAP] in ([], [holder])
        assert not [one for one in found if one.action is Action.CLAIM]


BACK = {
    "the others ended and show what they hold": (view(live(0, 9), node(1, data(8)), node(2, data(8)), NO_SEED), True),
    "one is silent: it may be a partition": (view(live(0, 9), node(1, data(8)), silent(2), NO_SEED), None),
    "all run: Galera may merge them": (view(live(0, 9), live(1, 9), live(2, 9), NO_SEED), False),
    "one is starting": (view(live(0, 9), node(1, data(8)), starting(2), NO_SEED), None),
    "its cluster is seen": (view(live(0, 9), primary(1), primary(2), NO_SEED), False),
    "another cluster is seen": (view(live(0, 9), primary(1, B), NO_SEED), None),
    "it is in a component itself": (view(primary(0), node(1, data(8)), node(2, data(8)), NO_SEED), None),
    "the API server is away": (
        replace(view(live(0, 9), node(1, data(8)), node(2, data(8)), NO_SEED), api_error="x"),
        None,
    ),
}


@pytest.mark.parametrize(("seen", "restart"), BACK.values(), ids=BACK.keys())
def test_a_server_outside_comes_back(seen: View, restart: bool | None) -> None:
    assert comes_back(seen) is restart


def test_a_recovery_that_failed_does_not_advise_to_empty_the_volume() -> None:
    """A changed my.cnf makes it fail as well, and the data are good."""
    said = decide(view(node(1, Evidence("unknown", None, None, "it ended with 1: page size")), primary(0))).reason
    assert said == (
        f"the position of this volume could not be found, so whether it belongs to the running cluster {A} is unknown; "
        "nothing was changed: it ended with 1: page size; where my.cnf was changed, that may be the cause: put the old "
        "options back"
    )


def test_a_shrink_that_was_killed_can_be_gone_on_with_by_consent() -> None:
    """The node went before the rest agreed: one server is outside, the other is new, and both wait for the third."""
    outside = view(live(0, 9), node(1, data(8)), absent(2), NO_SEED, record=RECORD)
    new = view(node(1, data(8)), live(0, 9), absent(2), NO_SEED, record=RECORD)
    offered = offer(outside)
    assert offered is not None
    assert (offered, offered.winner, offered.given_up) == (offer(new), "n-0", ("n-2",))
    assert (comes_back(outside), decide(new).action, decide(new).offer) == (None, Action.WAIT, offered)
    consent = Consent(offered, "09:00")
    assert comes_back(replace(outside, consent=consent)) is True
    stopped = view(node(0, data(9)), node(1, data(8)), absent(2), NO_SEED, record=RECORD)
    assert decide(replace(stopped, consent=Consent(offer(stopped) or offered, "09:00"))).action is Action.CLAIM
