# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

from cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster of the scenario that runs."""
    return Cluster(Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]))
