# SPDX-License-Identifier: GPL-3.0-or-later
"""Who vouches for which backups: only who was in one primary component with somebody that does, and has come as far."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent_fakes import Others
from agent_rig import A, B, status
from backup_samples import settings_json
from galera_agent.backup.witness import Witness
from galera_agent.peers import Answer
from galera_agent.settings import Settings
from galera_agent.state import Snapshot, State, report

ONE, TWO = "n-galera-1", "n-galera-2"
ROWS = {
    "last_committed": "7",
    "cluster_conf_id": "4",
    "cluster_size": "3",
    "incoming_addresses": "10.0.0.1:0,10.0.0.2:0,10.0.0.3:0",
}


def said(pod: str, *vouches: str, age: float = 0.1, **rows: str) -> Answer:
    snapshot = Snapshot("running", wsrep=status(**{**ROWS, **rows}), vouches=vouches)
    return Answer(report(snapshot, age, pod, "node"))


@pytest.fixture
def mine() -> State:
    state = State(lambda _: None)
    runs(state)
    return state


def runs(state: State, **rows: str) -> None:
    state.heard(status(**{**ROWS, **rows}), "11.8.6", "", True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "backup.json").write_text(settings_json(size=3))
    return tmp_path / "backup.json"


def test_it_learns_from_all_in_the_same_component(settings: Settings, mine: State, file: Path) -> None:
    mine.vouch(mine.stay, ["b0"])
    order = "10.0.0.3:0,10.0.0.1:0,10.0.0.2:0"
    others = Others({ONE: said(ONE, "b1", "b2"), TWO: said(TWO, "b2", "b3", incoming_addresses=order, local_state="2")})
    Witness(settings, mine, others, file).round()
    assert mine.now.vouches == ("b0", "b1", "b2", "b3")
    assert others.asked == [ONE, TWO]


def test_it_asks_as_many_as_the_settings_count_now(settings: Settings, mine: State, file: Path) -> None:
    """A cluster that grows changes no pod that stays."""
    others = Others({})
    witness = Witness(settings, mine, others, file)
    for size, asked in ((3, [ONE, TWO]), (4, [ONE, TWO, "n-galera-3"]), (1, [])):
        others.asked = []
        file.write_text(settings_json(size=size))
        witness.round()
        assert others.asked == asked


@pytest.mark.parametrize(
    "rows",
    [
        {"cluster_state_uuid": B},
        {"cluster_conf_id": "5"},
        {"incoming_addresses": "10.0.0.2:0,10.0.0.3:0"},
        {"incoming_addresses": ""},
        {"last_committed": "8"},
        {"cluster_status": "non-Primary"},
        {"local_state": "1"},
    ],
)
def test_who_is_elsewhere_or_further_teaches_nothing(
    settings: Settings, mine: State, file: Path, rows: dict[str, str]
) -> None:
    Witness(settings, mine, Others({ONE: said(ONE, "b1", **rows)}), file).round()
    assert mine.now.vouches == ()


@pytest.mark.parametrize("answer", [said(ONE, "b1", age=1.0), said(TWO, "b1"), Answer(None, "it is silent")])
def test_an_answer_that_is_old_or_anothers_or_none(settings: Settings, mine: State, file: Path, answer: Answer) -> None:
    Witness(settings, mine, Others({ONE: answer}), file).round()
    assert mine.now.vouches == ()


def test_addresses_that_name_nobody_prove_nothing(settings: Settings, mine: State, file: Path) -> None:
    runs(mine, incoming_addresses="AUTO,AUTO,AUTO")
    Witness(settings, mine, Others({ONE: said(ONE, "b1", incoming_addresses="AUTO,AUTO,AUTO")}), file).round()
    assert mine.now.vouches == ()


def test_the_view_is_that_of_after_the_answers(settings: Settings, mine: State, file: Path) -> None:
    """It had left the component and come back into another one when the answers were there."""

    def leaves() -> None:
        runs(mine, cluster_status="non-Primary")
        runs(mine)

    Witness(settings, mine, Others({ONE: said(ONE, "b1")}, leaves), file).round()
    assert mine.now.vouches == ()


@pytest.mark.parametrize("problem", ["no settings", "outside", "no server"])
def test_nobody_is_asked_in_vain(settings: Settings, mine: State, file: Path, problem: str) -> None:
    if problem == "no settings":
        file.unlink()
    elif problem == "outside":
        runs(mine, cluster_status="non-Primary")
    else:
        mine.begin()
    others = Others({ONE: said(ONE, "b1")})
    Witness(settings, mine, others, file).round()
    assert others.asked == []


def test_knowledge_outlives_the_leader(settings: Settings, file: Path) -> None:
    """From the one who took the backup to the second, and from that to the third when the first is gone."""
    states = {pod: State(lambda _: None) for pod in ("n-galera-0", ONE, TWO)}
    for state in states.values():
        runs(state)
    states[TWO].vouch(states[TWO].stay, ["b1"])

    def asks(pod: str, other: str) -> None:
        state = states[other]
        answer = Answer(report(state.now, state.age(state.now), other, "node"))
        own = Settings(**{**vars(settings), "pod": pod})
        Witness(own, states[pod], Others({other: answer}), file).round()

    asks(ONE, TWO)
    states[TWO].begin()
    asks("n-galera-0", TWO)
    assert states["n-galera-0"].now.vouches == ()
    asks("n-galera-0", ONE)
    assert states["n-galera-0"].now.vouches == ("b1",)
    assert A in str(states["n-galera-0"].now.wsrep)
