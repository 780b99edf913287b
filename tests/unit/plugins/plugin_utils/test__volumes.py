# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.plugin_utils import _volumes

PORTAL, IQN = "192.168.100.40:3260", "iqn.2018-04.io.idstudios:server.galera"


def lun(owner: str, number: Any) -> dict[str, Any]:
    prefix = f"galera_cluster_{owner}_iscsi_"
    return {f"{prefix}targetportal": PORTAL, f"{prefix}iqn": IQN, f"{prefix}lun": number}


def test_luns_become_volumes_of_the_seed_and_the_wanted_nodes() -> None:
    variables = lun("seed", 0) | lun("node1", "1") | lun("node2", 2) | lun("node3", 3)
    volumes = _volumes.static_volumes(variables, 2)
    assert [(volume["owner"], volume["ordinal"]) for volume in volumes] == [("seed", None), ("node1", 0), ("node2", 1)]
    source = {"iscsi": {"targetPortal": PORTAL, "iqn": IQN, "lun": 1, "fsType": "ext4"}}
    assert volumes[1]["source"] == source


def test_lun_0_is_a_lun() -> None:
    assert [volume["source"]["iscsi"]["lun"] for volume in _volumes.static_volumes(lun("seed", 0), 1)] == [0]


def test_local_volumes_are_bound_to_their_kubernetes_node() -> None:
    variables = {
        "galera_cluster_local_volume_path": "/var/lib/galera/",
        "galera_cluster_seed_local_node": "w1",
        "galera_cluster_node1_local_node": "w2",
    }
    seed, node = _volumes.static_volumes(variables, 1)
    assert seed["source"]["local"] == {"path": "/var/lib/galera/seed"}
    assert node["source"]["local"] == {"path": "/var/lib/galera/node1"}
    terms = node["source"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms == [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["w2"]}]}]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"galera_cluster_storage_class": "fast"},
        {"galera_cluster_seed_iscsi_lun": 1},
        {"galera_cluster_seed_local_node": "w1"},
        {"galera_cluster_local_volume_path": "/data"},
        lun("seed", "") | {"galera_cluster_node1_local_node": ""},
    ],
)
def test_other_sources_and_halves_name_no_volume(variables: dict[str, Any]) -> None:
    assert _volumes.static_volumes(variables, 3) == []


def test_more_nodes_than_volumes_lists_those_that_are_named() -> None:
    variables = lun("seed", 0) | lun("node1", 1) | lun("node3", 3)
    assert [volume["owner"] for volume in _volumes.static_volumes(variables, 5)] == ["seed", "node1", "node3"]


def test_a_tenth_node_has_its_volume() -> None:
    volumes = _volumes.static_volumes(lun("node10", 10), 10)
    assert [(volume["owner"], volume["ordinal"]) for volume in volumes] == [("node10", 9)]


@pytest.mark.parametrize(
    ("portal", "canonical"),
    [
        ("10.0.0.1:3260", "10.0.0.1:3260"),
        ("10.0.0.1", "10.0.0.1:3260"),
        ("san.example.com:860", "san.example.com:860"),
        ("[fd00::1]", "[fd00::1]:3260"),
        ("[fd00::1]:3261", "[fd00::1]:3261"),
    ],
)
def test_a_portal_without_port_has_the_default_one(portal: str, canonical: str) -> None:
    assert _volumes.canonical_portal(portal) == canonical
