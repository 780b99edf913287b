# SPDX-License-Identifier: GPL-3.0-or-later
"""The molecule scenarios, each in a namespace of its own on the local Kubernetes, several at a time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(path.parent.name for path in PROJECT.glob("molecule/*/molecule.yml"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, tmp_path: Path) -> None:
    log = tmp_path / "molecule.log"
    with log.open("w") as out:
        done = subprocess.run(
            ["molecule", "test", "-s", scenario],
            cwd=PROJECT,
            # a state of its own: what an interrupted run left there would have `create` skipped
            env={
                **os.environ,
                "NO_COLOR": "1",
                "ANSIBLE_NOCOLOR": "1",
                "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path / "molecule"),
            },
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert done.returncode == 0, log.read_text()[-8000:]
