# SPDX-License-Identifier: GPL-3.0-or-later
"""The volumes that an inventory names one by one: iSCSI LUNs and directories of Kubernetes nodes.

Pure; private to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.stateful.galera.plugins.plugin_utils._convert import as_int

ISCSI_PARTS = ("targetportal", "iqn", "lun")
_ISCSI = re.compile(r"galera_cluster_(seed|node[1-9][0-9]*)_iscsi_(targetportal|iqn|lun)")
_LOCAL = re.compile(r"galera_cluster_(seed|node[1-9][0-9]*)_local_node")


def owners(size: int) -> list[str]:
    """Return who needs a volume in a cluster of size nodes: ["seed", "node1", ...]."""
    return ["seed", *(f"node{number}" for number in range(1, size + 1))]


def is_given(value: Any) -> bool:
    """Tell whether a variable has a value: empty text and null count as left out, 0 does not."""
    return value is not None and value != ""


def iscsi_luns(variables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what is given of each LUN, by owner: {"node1": {"targetportal": "...", "iqn": "...", "lun": 1}, ...}."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in variables.items():
        match = _ISCSI.fullmatch(name)
        if match and is_given(value):
            found.setdefault(match[1], {})[match[2]] = value
    return found


def local_nodes(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Kubernetes node named for the local volume of each owner: {"seed": "worker1"}."""
    matches = ((_LOCAL.fullmatch(name), value) for name, value in variables.items())
    return {match[1]: value for match, value in matches if match and is_given(value)}


def canonical_portal(portal: str) -> str:
    """Return the target portal with its port, which is 3260 unless given."""
    has_port = re.fullmatch(r"\[.*\]:[0-9]+|[^:]+:[0-9]+", portal)
    return portal if has_port else f"{portal}:3260"


def static_volumes(variables: Mapping[str, Any], size: int) -> list[dict[str, Any]]:
    """Return the volumes of the seed and of the first size nodes, as far as the inventory names them.

    variables: all inventory variables, or those that name volumes. size: number of nodes.
    Returns [{"owner": "seed" or "node<N>", "ordinal": N - 1 (None for the seed), "source": fields of a PersistentVolume
    spec}], the seed first; empty for volumes from a storage class. A volume that is named by halves is left out.
    """
    luns, nodes = iscsi_luns(variables), local_nodes(variables)
    directory = variables.get("galera_cluster_local_volume_path")
    volumes = []
    for owner in owners(size):
        source: dict[str, Any] | None = None
        if len(luns.get(owner, {})) == len(ISCSI_PARTS):
            source = _iscsi_source(luns[owner])
        elif owner in nodes and is_given(directory):
            source = _local_source(f"{str(directory).rstrip('/')}/{owner}", str(nodes[owner]))
        if source is not None:
            ordinal = None if owner == "seed" else int(owner.removeprefix("node")) - 1
            volumes.append({"owner": owner, "ordinal": ordinal, "source": source})
    return volumes


def _iscsi_source(lun: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a PersistentVolume on a LUN."""
    portal, iqn = str(lun["targetportal"]), str(lun["iqn"])
    return {"iscsi": {"targetPortal": portal, "iqn": iqn, "lun": as_int(lun["lun"]), "fsType": "ext4"}}


def _local_source(path: str, node: str) -> dict[str, Any]:
    """Return the fields of a PersistentVolume in a directory of one Kubernetes node."""
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
    return {"local": {"path": path}, "nodeAffinity": affinity}
