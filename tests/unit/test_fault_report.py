# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: what fails a run, and what is printed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from fault.report import Control, Report, Row, markdown, summary
from fault.table import main, read, table


def row(step: int, **more: object) -> Row:
    made = Row(step, "kill", "kill nodes=writer", ["n-galera-0"], 100, 1.0 * step, 1.2 * step, 0.1, 4.0, 0, 1)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_a_run_without_problems_does_not_fail() -> None:
    report = Report({"seed": 1}, [row(1), row(2)], [Control("unlocked", "about", ["1 lost"])])
    assert report.failures() == []
    assert "## Failures\n\nNone." in markdown(report)


def test_loss_fails_a_run() -> None:
    assert Report({}, [row(1, problems=["1 lost"])]).failures() == ["step 1, kill nodes=writer: 1 lost"]


def test_a_control_that_lost_nothing_fails_a_run() -> None:
    report = Report({}, [row(1)], [Control("stale", "about", [])])
    assert report.failures() == ["the control stale lost nothing that the harness saw"]
    assert "**nothing: the harness is blunt**" in markdown(report)


def test_an_early_end_fails_a_run() -> None:
    assert Report({}, [], stopped="interrupted").failures() == ["the run ended early: interrupted"]


def test_what_did_not_come_about_is_not_counted_and_fails_a_run_where_it_never_did() -> None:
    report = Report({}, [row(1), row(2, missed="it was over")])
    assert report.failures() == []
    (line,) = summary(report.rows)
    assert (line["injected"], line["missed"], line["acknowledged"], line["ist"]) == (1, 1, 100, 1)
    assert "| **all** | **1** | **100** |" in markdown(report)
    assert "| none |" in markdown(report)
    assert "| not injected: it was over |" in markdown(report)
    alone = Report({}, [row(1, fault="freeze"), row(2, missed="it was over")])
    assert alone.failures() == ["kill was never injected: it was over"]


def test_a_run_that_injected_nothing_fails() -> None:
    assert Report({}, not_run={"clock_step": "one kernel"}).failures() == ["no fault was injected"]


def test_the_summary_counts_elections_that_the_oracle_saw() -> None:
    elections = [
        {"chosen": ["a"], "agrees": True},
        {"chosen": ["b"], "agrees": False},
        {"chosen": ["c"], "agrees": None},
    ]
    (line,) = summary([row(number, election=one) for number, one in enumerate(elections, 1)])
    assert (line["elections"], line["looked"], line["agreed"]) == (3, 2, 1)
    assert line["gap"] == {"count": 3, "median": 2.4, "p99": 3.6, "worst": 3.6}


def test_the_page_has_a_line_for_each_fault_and_each_step() -> None:
    report = Report({"seed": 1}, [row(1), row(2, gap_writer=None, healed=None)], not_run={"clock_step": "one kernel"})
    page = markdown(report)
    assert "| kill | 2 | 200 | 0 | 1.20 / 1.20 / 1.20 s | 0.10 s | 4.0 / 4.0 s | 0 | 2 | – |" in page
    assert "| 2 | kill nodes=writer | n-galera-0 | 2.00 s | – | 0.10 s | – | – | none |" in page
    assert "| clock_step | one kernel |" in page


def test_the_report_is_json() -> None:
    report = Report({"seed": 1}, [row(1)], [Control("stale", "about", ["x"])])
    loaded = json.loads(json.dumps(report.as_dict()))
    assert loaded["controls"][0]["sharp"] is True
    assert loaded["rows"][0]["title"] == "kill nodes=writer"


def test_the_table_of_several_runs_counts_each_row_once() -> None:
    election = {"chosen": ["a"], "agrees": True}
    rows = [row(1), row(1, fault="freeze", problems=["1 lost"]), row(2, election=election, acknowledged=1900)]
    lines = table(rows).splitlines()
    assert lines[2:] == [
        "| `freeze` | 1 | 100 | 1 | 1.20 / 1.20 | 4.0 / 4.0 | 0 | 1 | – |",
        "| `kill` | 2 | 2,000 | 0 | 1.80 / 2.40 | 4.0 / 4.0 | 0 | 2 | 1 of 1 |",
        "| all | 3 | 2,100 | 1 | | | | | 1 of 1 |",
    ]


def test_a_row_of_an_older_report_tells_of_the_writes_alone() -> None:
    assert read({**asdict(row(1)), "acknowledged": 169, "measured": {"ok": 78}}).acknowledged == 78
    assert read({**asdict(row(1)), "acknowledged": 0, "measured": {"synced": 3.0}}).acknowledged == 0


def test_the_table_tells_why_a_run_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report({}, [row(1), row(2, missed="it was over")], [Control("stale", "about", [])], stopped="interrupted")
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report.as_dict()))
    assert main([str(path)]) == 1
    told = capsys.readouterr().out.splitlines()[-3:]
    assert told == [*report.failures(), "kill nodes=writer is not counted: it was over"]
