# SPDX-License-Identifier: GPL-3.0-or-later
"""The local server as a backup sees it: a connection for statements, and what must be known before one begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

from .. import wsrep
from ..members import listed
from ..peers import Asker, member
from ..settings import Settings
from .binlog import Query, QueryError

_TIMEOUT = 60


class ServerError(QueryError):
    """The server does not answer, or is not in a state to be backed up; the text says in which."""


@dataclass(frozen=True)
class Facts:
    """uuid: of the cluster, None outside of one. size: members of the primary component."""

    uuid: str | None
    problem: str | None
    size: int
    version: str


@contextmanager
def connection(socket: Path, timeout: int | None = _TIMEOUT) -> Iterator[Query]:
    """Statements to a local server, by its socket and as this operating system user. Raises ServerError.

    timeout: seconds that a statement may take, None for as long as it takes.
    """
    try:
        found = pymysql.connect(
            unix_socket=str(socket),
            user="mysql",
            connect_timeout=_TIMEOUT,
            read_timeout=timeout,
            autocommit=True,
            init_command="SET SESSION wsrep_sync_wait=0",
        )
    except (OSError, pymysql.MySQLError) as error:
        raise ServerError(f"mariadbd cannot be reached: {wsrep.reason_of(error)}") from None

    def query(statement: str) -> Sequence[Sequence[Any]]:
        try:
            with found.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        except (OSError, pymysql.MySQLError) as error:
            raise ServerError(f"mariadbd refused '{statement[:80]}': {wsrep.reason_of(error)}") from None

    try:
        yield query
    finally:
        found.close()


def degraded(settings: Settings, wanted: int, size: int, peers: Asker) -> str:
    """Why the cluster lacks nodes that serve, empty where it does not. wanted: nodes; size: members of the component.

    The seed is none of the nodes, and one that still gets its data is a member already. Who is silent may serve.
    """
    others = [pod for pod in map(settings.node_pod, range(wanted)) if pod != settings.pod]
    seed = settings.seed_pod
    answers = peers.ask_all({pod: settings.address(pod) for pod in [*others, seed]})
    told = {pod: member(pod, pod == seed, 0, answer) for pod, answer in answers.items() if answer.status is not None}
    nodes = size - (seed in told and told[seed].primary is not None)
    if nodes < wanted:
        return f"the cluster is degraded: {nodes} of {wanted} nodes"
    lacking = [f"{pod} {told[pod].note}" for pod in others if pod in told and told[pod].primary is None]
    return f"the cluster is degraded: {listed(lacking)}" if lacking else ""


def facts(query: Query) -> Facts:
    """What the server says of itself; problem: why no backup may begin now, None where one may."""
    status = wsrep.parse({str(row[0]): str(row[1]) for row in query("SHOW GLOBAL STATUS LIKE 'wsrep%'")})
    (version,) = query("SELECT VERSION()")
    return Facts(status.uuid, wsrep.not_ready(status, 0), status.cluster_size, str(version[0]))
