# SPDX-License-Identifier: GPL-3.0-or-later
"""A short selection of the fault harness: the faults that happen most, and a control that must lose data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rendering import ROOT, collection_environment

# Names of faults and the one variant of each that is injected here
STEPS = [
    ("kill", {"nodes": ["writer"]}),
    ("kill", {"nodes": "all"}),
    ("delete_by_force", {"nodes": "all"}),
    ("freeze", {"nodes": ["writer"], "seconds": 5}),
    ("partition", {"nodes": ["writer"], "seconds": 5}),
    # The joiner is back before its state transfer has ended: Galera does not take it for joined
    ("interrupt_transfer", {"percent": 25, "who": "network", "rate": "20mbit"}),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The report of one run; the harness ends with 0 only if nothing was lost and the control was."""
    folder: Path = tmp_path_factory.mktemp("fault")
    (folder / "steps.json").write_text(json.dumps(STEPS))
    command = [sys.executable, str(ROOT / "tests" / "fault" / "run.py"), "--steps", str(folder / "steps.json")]
    command += ["--set", "galera_cluster_namespace=fault-e2e", "--controls", "not_flushed", "--report", str(folder)]
    done = subprocess.run(
        command,
        env=collection_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    loaded: dict[str, object] = json.loads((folder / "report.json").read_text())
    return loaded


def test_nothing_acknowledged_is_lost(report: dict[str, list[dict[str, object]]]) -> None:
    rows = report["rows"]
    assert [row["fault"] for row in rows] == [fault for fault, _ in STEPS]
    assert [row["problems"] for row in rows] == [[]] * len(STEPS)
    assert [row["missed"] for row in rows] == [""] * len(STEPS)
    assert all(int(str(row["acknowledged"])) > 0 for row in rows)


def test_the_harness_sees_loss_where_there_is_some(report: dict[str, list[dict[str, object]]]) -> None:
    assert [(control["name"], control["sharp"]) for control in report["controls"]] == [("not_flushed", True)]
