# SPDX-License-Identifier: GPL-3.0-or-later
"""Members as they answer over HTTP: answering, absent, silent; and what of an answer counts as evidence."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from galera_agent import __version__, web
from galera_agent.datadir import Evidence
from galera_agent.decide import decide
from galera_agent.members import Action, Contact, Member, Record, View
from galera_agent.peers import Answer, Peers, ask, member
from galera_agent.state import FORMAT, Snapshot, State, report
from galera_agent.wsrep import parse

A = "aaaaaaaa-0000-4000-8000-00000000000a"
PRESENT = {"data": "present", "uuid": A, "seqno": 7}


def status(phase: str, evidence: Any = None, age: float | None = None, **wsrep: Any) -> dict[str, Any]:
    said = {
        "cluster_status": "Primary",
        "local_state": 4,
        "cluster_state_uuid": A,
        "cluster_size": 3,
        "last_committed": 7,
    }
    return {
        "pod": "n-1",
        "phase": phase,
        "format": FORMAT,
        "reason": "so",
        "evidence": evidence if evidence is not None else {"data": "unknown", "uuid": None, "seqno": None},
        "wsrep": {**said, **wsrep} if age is not None else None,
        "age_seconds": age,
    }


def judge(said: dict[str, Any]) -> Member:
    return member("n-1", False, 1, Answer(said))


@pytest.mark.parametrize(
    ("said", "stopped", "starting", "live", "primary"),
    [
        (status("waiting", PRESENT), True, False, False, None),
        (status("refused", PRESENT), True, False, False, None),
        (status("filling", {"data": "empty"}), True, False, False, None),
        (status("starting"), False, True, False, None),
        (status("initialising"), False, False, False, None),
        (status("stopped"), False, False, False, None),
        (status("running", PRESENT, 0.2), False, False, False, A),
        (status("running", PRESENT, 0.2, local_state=2), False, False, False, A),
        (status("running", PRESENT, 0.2, local_state=1), False, True, False, None),
        (status("running", PRESENT, 0.2, cluster_status="non-Primary"), False, False, True, None),
        # An answer of the server that is a second old says nothing about now.
        (status("running", PRESENT, 1.0), False, True, False, None),
        (status("running", PRESENT, 1.0, cluster_status="non-Primary"), False, True, False, None),
        (status("stopped", PRESENT, 0.2), False, False, False, None),
    ],
)
def test_phases(said: dict[str, Any], stopped: bool, starting: bool, live: bool, primary: str | None) -> None:
    found = judge(said)
    assert (found.contact, found.stopped, found.starting, found.live, found.primary) == (
        Contact.ANSWERS,
        stopped,
        starting,
        live,
        primary,
    )


@pytest.mark.parametrize(
    ("raw", "evidence"),
    [
        (PRESENT, Evidence("present", A, 7)),
        ({"data": "empty", "uuid": None, "seqno": None}, Evidence("empty")),
        ({"data": "partial", "uuid": A, "seqno": None, "note": "torso"}, Evidence("partial", A, None, "torso")),
        ({"data": "present", "uuid": A, "seqno": -1}, Evidence("present", A)),
        ({"data": "present", "uuid": None, "seqno": 7}, Evidence("present")),
        ({"data": "present", "uuid": A, "seqno": "7"}, Evidence("present", A)),
        (
            {"data": "unknown", "uuid": A, "seqno": None, "note": "disk full"},
            Evidence("unknown", None, None, "disk full"),
        ),
        ({"data": "perhaps"}, Evidence("unknown")),
        ("present", Evidence("unknown")),
    ],
)
def test_evidence(raw: Any, evidence: Evidence) -> None:
    assert judge(status("waiting", raw)).evidence == evidence


@pytest.mark.parametrize(
    ("answer", "absent", "note", "contact", "says"),
    [
        (Answer(None, "timed out"), "", "", Contact.SILENT, "timed out"),
        (Answer(None, "timed out"), "", "not scheduled", Contact.SILENT, "not scheduled"),
        (Answer(None, "timed out"), "no such set", "", Contact.ABSENT, "no such set"),
        (Answer({**status("waiting"), "pod": "n-9"}), "", "", Contact.SILENT, "n-9 answers at its address"),
    ],
)
def test_who_does_not_answer(answer: Answer, absent: str, note: str, contact: Contact, says: str) -> None:
    found = member("n-1", False, 1, answer, absent, note)
    assert (found.contact, found.note) == (contact, says)


@pytest.fixture
def port() -> Iterator[int]:
    """An agent's web server with a node that is Synced."""
    state = State(lambda _: None)
    rows = {"wsrep_cluster_status": "Primary", "wsrep_connected": "ON", "wsrep_local_state": "4"}
    state.heard(parse({**rows, "wsrep_cluster_state_uuid": A, "wsrep_cluster_size": "2"}), "11.8.6", "", True)
    server = web.Server(("127.0.0.1", 0), state, "n-1", "node")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


OTHER_FORMATS = [None, 0, FORMAT + 1, str(FORMAT)]


@pytest.mark.parametrize("theirs", OTHER_FORMATS)
@pytest.mark.parametrize(
    "said",
    [
        status("waiting", PRESENT),
        status("running", PRESENT, 0.2, cluster_status="non-Primary"),
        status("running", PRESENT, 0.2, local_state=1),
        status("running", PRESENT, 1.0),
    ],
)
def test_evidence_of_another_version_is_none_and_names_the_versions(said: dict[str, Any], theirs: object) -> None:
    found = judge({**said, "agent_version": "9.9.9", "format": theirs})
    assert (found.contact, found.evidence.data, found.primary, found.stopped) == (
        Contact.ANSWERS,
        "unknown",
        None,
        False,
    )
    assert "its agent 9.9.9 gives evidence in format" in found.note
    assert f"this agent {__version__} understands format {FORMAT}" in found.note


# What every version of the agent says of a server that serves: a field that is taken out or renamed stops upgrades.
SERVES: dict[str, Any] = {
    "pod": "n-1",
    "phase": "running",
    "age_seconds": 0.2,
    "wsrep": {
        "cluster_status": "Primary",
        "cluster_state_uuid": A,
        "cluster_size": 3,
        "local_state": 4,
        "local_recv_queue": 0,
        "last_committed": 7,
    },
}


@pytest.mark.parametrize("theirs", OTHER_FORMATS)
def test_a_member_that_serves_is_joined_whatever_its_agents_version(theirs: object) -> None:
    new = {"evidence": ["of", "another", "format"], "record": {"uuid": A, "given_up": {}}}
    found = judge({**SERVES, **new, "format": theirs})
    assert (found.primary, found.size, found.evidence, found.caught_up) == (A, 3, Evidence("present", A, 7), True)
    assert found.record is None, "a record of another format was believed"
    me = Member("n-0", False, 0, Contact.ANSWERS, Evidence("present", A, 5), stopped=True)
    decision = decide(View(me, (found,), 2))
    assert (decision.action, decision.via) == (Action.JOIN, ("n-1",))


@pytest.mark.parametrize("theirs", OTHER_FORMATS)
def test_an_election_waits_for_a_member_of_another_version(theirs: object) -> None:
    older = judge({**status("waiting", PRESENT), "agent_version": "0.9.0", "format": theirs})
    me = Member("n-0", False, 0, Contact.ANSWERS, Evidence("present", A, 9), stopped=True)
    decision = decide(View(me, (older,), 2, record=Record(A)))
    assert decision.action is Action.WAIT
    assert "n-1 (its agent 0.9.0 gives evidence in format" in decision.reason


@pytest.mark.parametrize("missing", ["cluster_state_uuid", "last_committed", "cluster_size"])
def test_a_member_that_does_not_say_what_it_serves_is_not_joined(missing: str) -> None:
    wsrep = {name: value for name, value in SERVES["wsrep"].items() if name != missing}
    assert judge({**SERVES, "format": FORMAT, "wsrep": wsrep}).primary is None


def test_a_report_has_what_every_format_has() -> None:
    rows = {f"wsrep_{name}": str(value) for name, value in SERVES["wsrep"].items()}
    snapshot = Snapshot("running", wsrep=parse({**rows, "wsrep_connected": "ON"}))
    found = report(snapshot, 0.2, "n-1", "node")
    assert {name: found[name] for name in ("pod", "phase", "age_seconds")} == {
        name: SERVES[name] for name in ("pod", "phase", "age_seconds")
    }
    assert SERVES["wsrep"].items() <= found["wsrep"].items()


@pytest.mark.parametrize(
    ("raw", "record"),
    [
        ({"uuid": A, "given_up": {"n-2": 7}}, Record(A, (), (("n-2", 7),))),
        ({"uuid": A, "given_up": {}}, Record(A)),
        (None, None),
        ({"uuid": A}, None),
        ({"uuid": A, "given_up": {"n-2": "many"}}, None),
    ],
)
def test_what_a_member_knows_of_the_record(raw: Any, record: Record | None) -> None:
    assert judge({**status("running", PRESENT, 0.2), "record": raw}).record == record


@pytest.mark.parametrize(
    ("said", "cached", "vouches"),
    [
        ({"local_cached_downto": 5, "vouches": ["b1", "b2"]}, 5, ("b1", "b2")),
        ({"local_cached_downto": -1, "vouches": []}, None, ()),
        ({"local_cached_downto": "5", "vouches": "b1"}, None, ()),
        ({"vouches": ["b1", 7]}, None, ("b1",)),
        ({}, None, ()),
    ],
)
def test_what_a_node_could_rejoin_with(said: dict[str, Any], cached: int | None, vouches: tuple[str, ...]) -> None:
    wsrep = {name: value for name, value in said.items() if name != "vouches"}
    answer = {**status("running", PRESENT, 0.2, **wsrep), **{key: said[key] for key in said if key == "vouches"}}
    found = judge(answer)
    assert (found.cached, found.vouches) == (cached, vouches)


def test_who_fills_its_volume_is_known_as_that() -> None:
    assert [judge(status(phase, {"data": "empty"})).filling for phase in ("filling", "waiting")] == [True, False]


@pytest.mark.parametrize(("state", "queue", "caught_up"), [(4, 0, True), (4, 3, False), (2, 0, False)])
def test_a_member_has_caught_up(state: int, queue: int, caught_up: bool) -> None:
    found = judge(status("running", PRESENT, 0.2, local_state=state, local_recv_queue=queue))
    assert (found.caught_up, found.desynced) == (caught_up, state == 2)


def test_a_real_answer_is_understood(port: int) -> None:
    found = member("n-1", False, 1, ask("127.0.0.1", port))
    assert (found.contact, found.primary, found.size) == (Contact.ANSWERS, A, 2)


def test_one_that_hangs_does_not_hold_up_the_others(port: int) -> None:
    peers = Peers(port)
    with socket.socket() as deaf:
        # It accepts the connection (in the kernel) and never answers.
        deaf.bind(("127.0.0.2", port))
        deaf.listen(8)
        for _ in range(2):
            answers = peers.ask_all({"n-1": "127.0.0.1", "n-2": "127.0.0.2"})
            assert answers["n-1"].status is not None
            assert answers["n-2"].status is None


def test_nobody_at_the_port() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answer = ask("127.0.0.1", port)
    assert answer.status is None
    assert "does not answer" in answer.problem


def test_a_name_that_does_not_exist() -> None:
    answer = ask("no-such-host.invalid", 9200)
    assert answer.status is None
    assert "no-such-host.invalid" in answer.problem
