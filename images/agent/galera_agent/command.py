# SPDX-License-Identifier: GPL-3.0-or-later
"""The arguments with which mariadbd is started."""

from __future__ import annotations

from collections.abc import Iterable

from .settings import Settings


def arguments(settings: Settings, position: str | None, addresses: Iterable[str] | None) -> list[str]:
    """Arguments of mariadbd: joining through addresses, or, where that is None, a new primary component.

    position is `uuid:seqno`, None where the server must get all data from a donor or makes a new cluster.
    """
    found = [
        f"--defaults-file={settings.cnf}",
        f"--datadir={settings.datadir}",
        f"--socket={settings.socket}",
        f"--pid-file={settings.rundir}/mysqld.pid",
        f"--wsrep_cluster_name={settings.cluster}",
        f"--wsrep_node_name={settings.pod}",
        f"--wsrep_node_address={bracketed(settings.pod_ip)}",
    ]
    if position is not None:
        found.append(f"--wsrep_start_position={position}")
    if addresses is None:
        return [*found, "--wsrep_cluster_address=gcomm://", "--wsrep-new-cluster"]
    return [*found, "--wsrep_cluster_address=gcomm://" + ",".join(map(bracketed, addresses))]


def bracketed(address: str) -> str:
    """An address as it stands before a port."""
    return f"[{address}]" if ":" in address else address
