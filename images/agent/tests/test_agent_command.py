# SPDX-License-Identifier: GPL-3.0-or-later
"""The arguments of mariadbd."""

from __future__ import annotations

from dataclasses import replace

from galera_agent.command import arguments
from galera_agent.settings import Settings


def test_joining(settings: Settings) -> None:
    found = arguments(settings, "u:7", ["10.0.0.2", "n-galera-2.n-galera-nodes.ns.svc"])
    assert found[0] == f"--defaults-file={settings.cnf}"
    assert found[-2:] == [
        "--wsrep_start_position=u:7",
        "--wsrep_cluster_address=gcomm://10.0.0.2,n-galera-2.n-galera-nodes.ns.svc",
    ]
    assert "--wsrep-new-cluster" not in found
    assert {"--wsrep_cluster_name=n", "--wsrep_node_name=n-galera-0", "--wsrep_node_address=10.0.0.1"} < set(found)


def test_bootstrapping(settings: Settings) -> None:
    found = arguments(settings, None, None)
    assert found[-2:] == ["--wsrep_cluster_address=gcomm://", "--wsrep-new-cluster"]
    assert not [one for one in found if "start_position" in one]


def test_ipv6(settings: Settings) -> None:
    found = arguments(replace(settings, pod_ip="fd00::1"), None, ["fd00::2"])
    assert "--wsrep_node_address=[fd00::1]" in found
    assert found[-1] == "--wsrep_cluster_address=gcomm://[fd00::2]"
