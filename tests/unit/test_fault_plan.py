# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that a seed gives, and what the command line refuses."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from fault import run
from fault.faults.registry import FAULTS, describe
from fault.plan import PlanError, chosen, make

VARIANTS: dict[str, list[dict[str, Any]]] = {"kill": [{"nodes": ["writer"]}, {"nodes": "all"}], "drain": [{}]}
FOLDER = Path(run.__file__).parent
PURE = ("journal.py", "gaps.py", "oracle.py", "plan.py", "report.py")
IO = {"subprocess", "socket", "time", "urllib", "threading", "os", "pathlib", "pymysql"}


def test_a_seed_gives_the_same_steps_again_and_another_one_others() -> None:
    steps = make(VARIANTS, 1, 20, every=False)
    assert steps == make(VARIANTS, 1, 20, every=False)
    assert steps != make(VARIANTS, 2, 20, every=False)
    assert [step.number for step in steps] == list(range(1, 41))


def test_each_round_has_each_fault_once_or_in_every_variant() -> None:
    steps = make(VARIANTS, 7, 3, every=False)
    assert [sorted(step.fault for step in steps[turn : turn + 2]) for turn in (0, 2, 4)] == [["drain", "kill"]] * 3
    everything = make(VARIANTS, 7, 1, every=True)
    assert sorted(step.title for step in everything) == ["drain", "kill nodes=all", "kill nodes=writer"]


def test_names_of_faults() -> None:
    assert chosen("all", ["a", "b"]) == ["a", "b"]
    assert chosen("b, a", ["a", "b"]) == ["b", "a"]
    with pytest.raises(PlanError, match=r"unknown fault c; there are all, a, b"):
        chosen("a,c", ["a", "b"])
    with pytest.raises(PlanError, match="no fault is named"):
        chosen(",", ["a"])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("name", FAULTS)
def test_variants_fit_the_size_of_the_cluster(name: str, size: int) -> None:
    variants = FAULTS[name].variants(size)
    assert variants
    assert len({str(params) for params in variants}) == len(variants)
    for params in variants:
        assert len(params["nodes"]) <= size if isinstance(params.get("nodes"), list) else True


def test_every_order_of_three_nodes_is_tried_with_no_some_and_many_writes_between() -> None:
    variants = FAULTS["kill_in_order"].variants(3)
    assert len({tuple(params["order"]) for params in variants}) == 6
    assert {params["writes"] for params in variants} == {0, 1, 10, 1000}


def test_the_help_describes_every_fault() -> None:
    lines = describe().splitlines()
    assert [line.split()[0] for line in lines] == list(FAULTS)
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize("file", PURE)
def test_logic_does_no_input_and_output(file: str) -> None:
    tree = ast.parse((FOLDER / file).read_text())
    names = {
        alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    names |= {str(node.module).partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names & IO == set()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--faults", "kil"], "--faults: unknown fault kil; there are all, kill,"),
        (["--controls", "none,x"], "unknown fault none, x; there are all, unlocked, not_flushed, stale"),
        (["--set", "size=3"], "--set size=3: must be a variable of the inventory, galera_...=VALUE"),
        (["--steps", "{folder}/galera.conf"], "galera.conf: must be JSON, [[fault, {parameter: value}], ...]"),
        (["-i", "{folder}/none.conf"], "none.conf: there is no such inventory"),
        (["-i", "{folder}/galera.conf"], "this injures the cluster tier1 of"),
        (["-i", "{folder}/galera.conf", "--confirm", "tier2"], "--confirm is 'tier2'; it must be 'tier1'"),
        (["-i", "{folder}/galera.conf", "--limit", "x"], "--limit x: no such cluster in"),
        (
            ["-i", "{folder}/galera.conf", "--confirm", "tier1", "--set", "galera_a=1"],
            "only for the harness's own cluster",
        ),
    ],
)
def test_bad_input_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    inventory = "[all:vars]\ngalera_cluster_name=tier1\n\n[template_target]\nlocalhost ansible_connection=local\n"
    (tmp_path / "galera.conf").write_text(inventory)
    assert run.main([argument.format(folder=tmp_path) for argument in arguments]) == 2
    assert says in capsys.readouterr().err
