# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that are right one by one and wrong together.

Each check takes the converted values of all variables that are given or have a default, and returns one line a problem,
beginning with the variable to change. A variable whose own value is wrong is not among the values.
Pure; private to the collection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.stateful.galera.plugins.module_utils._config_words import size_of
from ansible_collections.stateful.galera.plugins.plugin_utils import _backups, _mycnf
from ansible_collections.stateful.galera.plugins.plugin_utils._convert import show
from ansible_collections.stateful.galera.plugins.plugin_utils._volumes import (
    ISCSI_PARTS,
    canonical_portal,
    iscsi_luns,
    local_nodes,
    owners,
)

Values = Mapping[str, Any]


def one_volume_source(values: Values) -> list[str]:
    """Volumes of nodes and seed come from one StorageClass, from iSCSI LUNs or from local directories."""
    luns, nodes = iscsi_luns(values), local_nodes(values)
    sources = [name for name in ("galera_cluster_storage_class", "galera_vsphere_storage_class") if values.get(name)]
    if luns:
        sources.append(_first(luns))
    if nodes or values.get("galera_cluster_local_volume_path"):
        sources.append("galera_cluster_local_volume_path")
    if len(sources) < 2:
        return []
    return [f"{sources[0]} and {sources[1]} are both given, but the volumes must come from one source: leave one out."]


def _first(luns: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one variable of the LUNs, for a message."""
    owner = min(luns, key=_number)
    return f"galera_cluster_{owner}_iscsi_{min(luns[owner])}"


def iscsi_complete(values: Values) -> list[str]:
    """With iSCSI, the seed and each wanted node have a whole LUN; other nodes have a whole one or none."""
    luns = iscsi_luns(values)
    if not luns:
        return []
    size = values.get("galera_cluster_size", 0)
    found = []
    for owner in {*owners(size), *luns}:
        missing = [part for part in ISCSI_PARTS if part not in luns.get(owner, {})]
        prefix = f"galera_cluster_{owner}_iscsi_"
        if len(missing) == len(ISCSI_PARTS):
            found.append(
                f"{prefix}{missing[0]} is missing, and so are iqn and lun: with iSCSI, the seed and every node "
                "up to galera_cluster_size must have a LUN."
            )
        else:
            found += [
                f"{prefix}{part} is missing: targetportal, iqn and lun must be given together." for part in missing
            ]
    return found


def iscsi_distinct(values: Values) -> list[str]:
    """No LUN is used twice."""
    seen: dict[tuple[Any, ...], str] = {}
    found = []
    for owner, lun in sorted(iscsi_luns(values).items(), key=lambda item: _number(item[0])):
        if len(lun) < len(ISCSI_PARTS):
            continue
        key = (canonical_portal(lun["targetportal"]).lower(), lun["iqn"].lower(), lun["lun"])
        first = seen.setdefault(key, owner)
        if first != owner:
            found.append(
                f"galera_cluster_{owner}_iscsi_lun is {lun['lun']}, as galera_cluster_{first}_iscsi_lun is on the "
                f"same target ({lun['targetportal']}, {lun['iqn']}), but the seed and each node must have a LUN "
                "of their own."
            )
    return found


def _number(owner: str) -> int:
    """Return the place of an owner in the order seed, node1, node2, ..."""
    return 0 if owner == "seed" else int(owner.removeprefix("node"))


def local_complete(values: Values) -> list[str]:
    """With local volumes, there is a path, a Kubernetes node for the seed, and another one for each wanted node."""
    nodes, path = local_nodes(values), values.get("galera_cluster_local_volume_path")
    size = values.get("galera_cluster_size", 0)
    if not nodes and not path:
        return []
    found = [
        f"galera_cluster_{owner}_local_node is missing: with local volumes, the seed and every node "
        "up to galera_cluster_size must name a Kubernetes node."
        for owner in owners(size)
        if owner not in nodes
    ]
    if not path:
        found.append("galera_cluster_local_volume_path is missing: galera_cluster_seed_local_node must go with it.")
    seen: dict[str, str] = {}
    for owner in sorted(set(nodes) - {"seed"}, key=_number):
        first = seen.setdefault(nodes[owner], owner)
        if first != owner:
            found.append(
                f"galera_cluster_{owner}_local_node is {show(nodes[owner])}, as galera_cluster_{first}_local_node is, "
                "but each node must have a Kubernetes node of its own."
            )
    return found


def backup_volumes(values: Values) -> list[str]:
    """The backup volume is an NFS share with server and path, or of a StorageClass."""
    server, path = values.get("galera_cluster_backup_nfs_server"), values.get("galera_cluster_backup_path")
    storage_class = values.get("galera_cluster_backup_storage_class")
    found = []
    if server and not path:
        found.append("galera_cluster_backup_path is missing: galera_cluster_backup_nfs_server must go with it.")
    if path and not server:
        found.append("galera_cluster_backup_nfs_server is missing: galera_cluster_backup_path must go with it.")
    if storage_class and (server or path):
        found.append(
            "galera_cluster_backup_storage_class is given beside galera_cluster_backup_nfs_server, but backups must "
            "go to one place: leave one out."
        )
    bucket = values.get("galera_cluster_backup_s3_bucket")
    if values.get("galera_cluster_backup_enabled") and not (server or path or storage_class or bucket):
        found.append(
            "galera_cluster_backup_enabled is true, but galera_cluster_backup_nfs_server with "
            "galera_cluster_backup_path, galera_cluster_backup_storage_class or galera_cluster_backup_s3_bucket must "
            "say where backups go."
        )
    return found


def external_access(values: Values) -> list[str]:
    """Access by node port needs the port, and a port lies in the range of the API server."""
    port, (low, high) = values.get("galera_cluster_nodeport"), values.get("galera_cluster_nodeport_range", (1, 65535))
    if port is None and values.get("galera_cluster_external_access") == "nodeport":
        return [
            f"galera_cluster_nodeport is missing: galera_cluster_external_access is nodeport, so it must be a port "
            f"from {low} to {high}."
        ]
    if port is not None and not low <= port <= high:
        return [
            f"galera_cluster_nodeport is {port}, but must be a port from {low} to {high} "
            "(galera_cluster_nodeport_range)."
        ]
    return []


def priority_class(values: Values) -> list[str]:
    """A priority belongs to a class with a name that is not reserved."""
    if "galera_cluster_priority_class_value" not in values:
        return []
    name = values.get("galera_cluster_priority_class")
    if not name:
        return ["galera_cluster_priority_class is missing: galera_cluster_priority_class_value must go with the name."]
    if name.startswith("system-"):
        return [
            f"galera_cluster_priority_class is {show(name)}, but must be another name where "
            "galera_cluster_priority_class_value is given: Kubernetes reserves system- for classes of its own."
        ]
    return []


def files_fit(values: Values) -> list[str]:
    """The files that a server makes in their full size, write-set cache and redo log, fit on each volume."""
    options = {_mycnf.option_name(name): value for name, value in values.get("galera_cluster_mycnf", {}).items()}
    cache, log = "gcache.size", "innodb_log_file_size"
    return [
        *_fits(f"galera_cluster_provider_options.{cache}", values.get("galera_cluster_provider_options", {}), values),
        *_fits(f"galera_cluster_mycnf.{log}", options, values),
    ]


def _fits(variable: str, options: Mapping[str, Any], values: Values) -> list[str]:
    """Return a line where the size that an option gives is none of a file beside the data."""
    given = options.get(variable.partition(".")[2])
    wanted = size_of(str(given)) or 0
    for name in ("galera_cluster_volume_size", "galera_cluster_seed_volume_size"):
        room = values.get(name)
        if isinstance(room, int) and wanted >= room:
            return [
                f"{variable} is {show(given)}, but must be less than {name}, which is {room} bytes: the file of this "
                f"size lies on the volume, beside the data."
            ]
    return []


CHECKS: tuple[Callable[[Values], list[str]], ...] = (
    one_volume_source,
    iscsi_complete,
    iscsi_distinct,
    local_complete,
    backup_volumes,
    *_backups.CHECKS,
    external_access,
    priority_class,
    files_fit,
)


def warnings(values: Values) -> list[str]:
    """Return what works but is seldom meant, one line each."""
    size = values.get("galera_cluster_size", 3)
    found = _backups.warnings(values)
    if size < 3:
        found.append(
            f"galera_cluster_size is {size}: a cluster of fewer than 3 nodes stops serving when one node is lost."
        )
    elif size % 2 == 0:
        found.append(f"galera_cluster_size is {size}: an even number survives no more lost nodes than {size - 1}.")
    if values.get("galera_mysql_user") and not values.get("galera_mysql_database"):
        found.append("galera_mysql_database is missing: galera_mysql_user will have no rights on any database.")
    if values.get("galera_mysql_password") and not values.get("galera_mysql_user"):
        found.append("galera_mysql_user is missing: galera_mysql_password is not used without it.")
    return found
