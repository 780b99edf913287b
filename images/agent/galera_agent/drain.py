# SPDX-License-Identifier: GPL-3.0-or-later
"""The last seconds of a server that is about to stop: clients are let go between their transactions, not inside them.

The proxies send no new connections by then. A client whose connection ends while it is idle, outside a transaction,
knows that nothing of its work is in doubt: it connects again, to another node, and goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pymysql

from .wsrep import connect, reason_of

# How long transactions may take to end. Each moment here is one in which the node still applies and serves.
PATIENCE_SECONDS = 10.0
_ROUND_SECONDS = 0.1
# A session in a transaction has a row in innodb_trx as soon as it has read or written a table.
_CLIENTS = """
SELECT p.id, p.command = 'Sleep' AND t.trx_id IS NULL
FROM information_schema.processlist p LEFT JOIN information_schema.innodb_trx t ON t.trx_mysql_thread_id = p.id
WHERE p.user NOT IN ('system user', 'event_scheduler', 'unauthenticated user') AND p.id <> CONNECTION_ID()
  AND p.command NOT IN ('Daemon', 'Binlog Dump', 'Binlog Dump GTID')
  AND NOT (p.user = 'mysql' AND p.host = 'localhost')
"""
_NO_SUCH_THREAD = 1094


def let_clients_go(socket: Path, gone: Callable[[], bool], patience: float = PATIENCE_SECONDS) -> str:
    """End each connection when it is idle and in no transaction; returns what came of it, as a sentence.

    Returns at the latest after patience seconds, or when gone() says that nobody waits for it any more. A server that
    does not answer has no clients to let go.
    """
    closed, end = 0, time.monotonic() + patience
    try:
        connection = connect(socket)
    except (OSError, pymysql.MySQLError) as error:
        return f"no connection was closed: {reason_of(error)}"
    try:
        with connection, connection.cursor() as cursor:
            while True:
                cursor.execute(_CLIENTS)
                clients = cursor.fetchall()
                closed += sum(_close(cursor, int(thread)) for thread, idle in clients if idle)
                busy = sum(not idle for _, idle in clients)
                if not clients or gone() or time.monotonic() >= end:
                    left = f", {busy} were busy to the end" if busy else ""
                    return f"closed {closed} connections between their transactions{left}"
                time.sleep(_ROUND_SECONDS)
    except (OSError, pymysql.MySQLError) as error:
        return f"closed {closed} connections between their transactions, then: {reason_of(error)}"


def _close(cursor: pymysql.cursors.Cursor, thread: int) -> bool:
    try:
        cursor.execute(f"KILL CONNECTION {thread}")
    except pymysql.MySQLError as error:
        if error.args and error.args[0] == _NO_SUCH_THREAD:
            return False
        raise
    return True
