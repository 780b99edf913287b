# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders once a session, whatever the number of workers."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from rendering import FOLDERS, Manifests, render_all


@pytest.fixture(scope="session")
def renders(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of all runs: the worker that comes first renders, the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    target = shared / "renders"
    with (shared / "renders.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            render_all(shared / "renders.part")
            (shared / "renders.part").rename(target)
    return target


@pytest.fixture(scope="session")
def clusters(renders: Path) -> dict[str, Manifests]:
    """What was written for each cluster."""
    return {name: Manifests(renders / folder) for name, folder in FOLDERS.items()}


@pytest.fixture(params=list(FOLDERS))
def manifests(request: pytest.FixtureRequest, clusters: dict[str, Manifests]) -> Manifests:
    """What was written for one cluster, all of them in turn."""
    return clusters[request.param]
