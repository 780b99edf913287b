# SPDX-License-Identifier: GPL-3.0-or-later
"""The server as its own status shows it: rows to a typed status, and the thread that polls them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pymysql
from pymysql.constants import COMMAND

POLL_SECONDS = 0.25
# After a poll without an answer: the sooner a start is seen, the sooner clients are let in.
AGAIN_SECONDS = 0.1
# Longer than any answer of a server that lives, shorter than what HAProxy forgives.
_TIMEOUT = 1
_ZERO = "00000000-0000-0000-0000-000000000000"
_VARIABLES = (
    "wsrep_connected",
    "wsrep_ready",
    "wsrep_cluster_status",
    "wsrep_cluster_size",
    "wsrep_cluster_state_uuid",
    "wsrep_local_state",
    "wsrep_local_state_comment",
    "wsrep_last_committed",
    "wsrep_local_cached_downto",
    "wsrep_flow_control_paused",
    "wsrep_local_recv_queue",
    "wsrep_local_send_queue",
    "wsrep_incoming_addresses",
    "wsrep_cluster_conf_id",
    "wsrep_desync_count",
    "wsrep_provider_version",
)
_QUERY = "SHOW GLOBAL STATUS WHERE Variable_name IN ({})".format(",".join(f"'{name}'" for name in _VARIABLES))
# Words of a server that does not let the agent in: access denied, a host that is blocked or not allowed, a password
# that is expired, an account that is locked
_DENIED = (1045, 1129, 1130, 1698, 1820, 1862, 4151)
# Words of one that has no connection left, for anybody or for a user
_FULL = (1040, 1203, 1226)
TurnedAway = Literal["", "denied", "full"]
JOINING, DONOR, SYNCED = 1, 2, 4
# An answer of the server that is older says nothing of how it is
FRESH_SECONDS = 1.0


@dataclass(frozen=True)
class Status:
    """What a node says of itself; numbers are -1 where the server does not say them.

    local_cached_downto: the lowest seqno that its gcache holds for others, -1 where that is empty.
    """

    connected: bool
    ready: bool
    cluster_status: str
    cluster_size: int
    cluster_state_uuid: str
    local_state: int
    local_state_comment: str
    last_committed: int
    local_cached_downto: int
    flow_control_paused: float
    local_recv_queue: int
    local_send_queue: int
    incoming_addresses: str
    cluster_conf_id: int
    desync_count: int
    provider_version: str

    @property
    def primary(self) -> bool:
        """Whether the node is in the primary component."""
        return self.cluster_status == "Primary" and self.connected

    @property
    def serves(self) -> bool:
        """Whether the node is in the primary component and can serve: queries as Synced, state as Donor."""
        return self.primary and self.local_state in (DONOR, SYNCED)

    @property
    def uuid(self) -> str | None:
        """The cluster's uuid, None before there is one."""
        return self.cluster_state_uuid if self.cluster_state_uuid not in ("", _ZERO) else None

    def as_dict(self) -> dict[str, Any]:
        """The status as /status shows it."""
        return asdict(self)


def parse(rows: Mapping[str, str]) -> Status:
    """Turn rows of SHOW STATUS into a status; names and words in any case, missing rows mean no and -1."""
    values = {name.lower().removeprefix("wsrep_"): value for name, value in rows.items()}

    def whole(name: str) -> int:
        return int(_number(values.get(name, "-1")))

    return Status(
        connected=values.get("connected", "").upper() == "ON",
        ready=values.get("ready", "").upper() == "ON",
        cluster_status=_word(values.get("cluster_status", "")),
        cluster_size=whole("cluster_size"),
        cluster_state_uuid=values.get("cluster_state_uuid", "").lower(),
        local_state=whole("local_state"),
        local_state_comment=values.get("local_state_comment", ""),
        last_committed=whole("last_committed"),
        local_cached_downto=_unsigned(whole("local_cached_downto")),
        flow_control_paused=_number(values.get("flow_control_paused", "-1")),
        local_recv_queue=whole("local_recv_queue"),
        local_send_queue=whole("local_send_queue"),
        incoming_addresses=values.get("incoming_addresses", ""),
        cluster_conf_id=_unsigned(whole("cluster_conf_id")),
        desync_count=whole("desync_count"),
        provider_version=values.get("provider_version", ""),
    )


def not_ready(status: Status | None, age: float | None, states: tuple[int, ...] = (SYNCED,)) -> str | None:
    """Why the node must get no queries, or None where it may get them.

    age is in seconds since the last answer of the server, None where it never answered; states are those of
    wsrep_local_state that will do.
    """
    if status is None or age is None:
        return "mariadbd does not answer"
    if age >= FRESH_SECONDS:
        return f"mariadbd has not answered for {age:.1f} s"
    if not status.primary:
        return f"not in the primary component (wsrep_cluster_status is {status.cluster_status or 'unknown'})"
    if status.local_state not in states:
        return f"not Synced (wsrep_local_state_comment is {status.local_state_comment or 'unknown'})"
    return None if status.ready else "wsrep_ready is OFF"


def connect(socket: Path) -> Any:
    """Connect to the local server as the user that its socket proves. Raises OSError or pymysql.MySQLError."""
    return pymysql.connect(
        unix_socket=str(socket),
        user="mysql",
        connect_timeout=_TIMEOUT,
        read_timeout=_TIMEOUT,
        write_timeout=_TIMEOUT,
        autocommit=True,
        init_command="SET SESSION wsrep_sync_wait=0",
    )


class Server:
    """A connection to the local server that opens itself again; one thread uses it."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._connection: Any = None
        self.version: str | None = None

    def poll(self) -> Status:
        """Ask for the status. Raises OSError or pymysql.MySQLError where the server does not answer in time."""
        with self._cursor() as cursor:
            cursor.execute(_QUERY)
            return parse({str(name): str(value) for name, value in cursor.fetchall()})

    def desynced_by_hand(self) -> bool:
        """Whether somebody has set wsrep_desync. Raises as poll does."""
        with self._cursor() as cursor:
            cursor.execute("SELECT @@GLOBAL.wsrep_desync")
            return bool(cursor.fetchone()[0])

    def shut_down(self) -> None:
        """Stop the server in order, by the protocol's command: outside a primary component it takes no statement.

        Raises as poll does.
        """
        with self._cursor() as cursor:
            cursor.connection._execute_command(COMMAND.COM_SHUTDOWN, b"\0")
            cursor.connection._read_packet()
        self.close()

    def close(self) -> None:
        """Forget the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection._force_close()

    def _cursor(self) -> Any:
        if self._connection is None:
            self._connection = connect(self._socket)
            # Older servers put a version of old MySQL before their own, for clients of that time.
            self.version = str(self._connection.server_version).removeprefix("5.5.5-")
        return self._connection.cursor()


class Poller(threading.Thread):
    """Polls the server and tells each answer, or why there is none, to a listener.

    listener gets (status or None, error text, whether and why the server itself turned the agent away).
    """

    def __init__(
        self, server: Server, listener: Callable[[Status | None, str, TurnedAway], None], stop: threading.Event
    ) -> None:
        super().__init__(name="poller", daemon=True)
        self._server, self._listener, self._stop_event = server, listener, stop

    def run(self) -> None:
        """Poll until told to stop; an error closes the connection, so the next poll starts afresh."""
        pause = AGAIN_SECONDS
        while not self._stop_event.wait(pause):
            # The driver has errors of many kinds; one that ended this thread would make a server that lives look dead.
            try:
                status = self._server.poll()
            except Exception as error:
                pause = AGAIN_SECONDS
                self._server.close()
                self._listener(None, reason_of(error), turned_away(error))
            else:
                pause = POLL_SECONDS
                self._listener(status, "", "")


def reason_of(error: BaseException) -> str:
    """An error of the connection in words, without the driver's tuples."""
    original = getattr(error, "original_exception", None)
    if isinstance(original, OSError) and original.errno is not None:
        return os.strerror(original.errno)
    if isinstance(error, pymysql.MySQLError) and len(error.args) > 1:
        return str(error.args[1]).partition(" (")[0]
    return str(error) or type(error).__name__


def turned_away(error: BaseException) -> TurnedAway:
    """Why the server itself did not let the agent in; empty where it said nothing of the kind.

    denied: it lives, and a restart would change nothing. full: it has no connection left, perhaps because all hang.
    """
    code = error.args[0] if isinstance(error, pymysql.MySQLError) and error.args else None
    return "denied" if code in _DENIED else "full" if code in _FULL else ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1


def _unsigned(value: int) -> int:
    # The server shows -1 as an unsigned number: outside the primary component, and of an empty gcache.
    return -1 if value >= 2**63 else value


def _word(text: str) -> str:
    return {"primary": "Primary", "non-primary": "non-Primary", "disconnected": "Disconnected"}.get(text.lower(), text)
