# SPDX-License-Identifier: GPL-3.0-or-later
"""What several tests share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import s3_server
from agent_fakes import Clock, FakeKube
from agent_rig import Rig
from galera_agent.members import Contact, Member
from galera_agent.settings import Settings


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Node 0 of three, with a data directory that is empty and a Secret."""
    for name in ("data", "run", "secret"):
        (tmp_path / name).mkdir()
    for key in ("root-password", "user-password", "xtrabackup-password"):
        (tmp_path / "secret" / key).write_text("pw")
    return Settings(
        pod="n-galera-0",
        namespace="ns",
        pod_ip="10.0.0.1",
        cluster="n",
        role="node",
        node_service="n-galera-nodes",
        http_port=9200,
        cnf=tmp_path / "galera.cnf",
        datadir=tmp_path / "data",
        rundir=tmp_path / "run",
        secrets=tmp_path / "secret",
        database="d",
        user="u",
    )


@pytest.fixture
def rig(settings: Settings, kube: FakeKube) -> Rig:
    return Rig(settings, kube)


@pytest.fixture
def seed(settings: Settings, kube: FakeKube) -> Rig:
    found = Rig(replace(settings, role="seed", pod="n-galera-seed-0"), kube)
    found.world.peers = tuple(Member(f"n-galera-{n}", False, n, Contact.ABSENT) for n in range(3))
    return found


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_server.Server]:
    """An S3 server for the tests of one process."""
    found = s3_server.start(tmp_path_factory.mktemp("s3"))
    yield found
    found.stop()
