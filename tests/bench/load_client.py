# SPDX-License-Identifier: GPL-3.0-or-later
"""A steady load for the bench of backups; goes into a pod of the agent's image as standard input of Python.

usage: python3 - HOST CLIENTS RATE ROWS

Each client has a connection and runs one transaction after the other: it reads an order, changes another one, adds an
event, and commits. RATE: transactions a second of all clients together, 0: as many as they can. What a stall made
impossible is not made up for. ROWS: the orders are numbered from 1 to this. Prints once a second how many were
committed in it, the milliseconds of the slowest one, and how many failed, until there is a file /tmp/stop.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from pathlib import Path

import pymysql

host, clients, rate, rows = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
guard = threading.Lock()
committed: list[float] = []
failed: list[str] = []


def connect() -> pymysql.connections.Connection:
    """Through HAProxy, as an application."""
    return pymysql.connect(
        host=host, user="app", password="bench", database="appdb", connect_timeout=5, read_timeout=30
    )


def transaction(connection: pymysql.connections.Connection, pick: random.Random) -> None:
    """A read and two writes."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT amount, address FROM orders WHERE id = %s", (pick.randint(1, rows),))
        number = pick.randint(1, rows)
        cursor.execute("UPDATE orders SET amount = amount + 1, status = 'paid' WHERE id = %s", (number,))
        cursor.execute("INSERT INTO events (orders_id, what) VALUES (%s, 'paid')", (number,))
    connection.commit()


def work(seed: int) -> None:
    """One client."""
    pick, pause = random.Random(seed), clients / rate if rate else 0.0
    connection = connect()
    due = time.monotonic()
    while True:
        begin = time.monotonic()
        try:
            transaction(connection, pick)
        except pymysql.MySQLError as error:
            with guard:
                failed.append(str(error))
            connection.close()
            connection = connect()
            continue
        end = time.monotonic()
        with guard:
            committed.append(end - begin)
        due = max(due + pause, end)
        time.sleep(due - end)


for seed in range(clients):
    threading.Thread(target=work, args=(seed,), daemon=True).start()
begin, second = time.monotonic(), 0
while not Path("/tmp/stop").exists():
    second += 1
    time.sleep(max(0.0, begin + second - time.monotonic()))
    with guard:
        done, committed, bad, failed = committed, [], failed, []
    print(len(done), round(1000 * max(done, default=0)), len(bad), flush=True)
    for text in bad:
        print(text, file=sys.stderr, flush=True)
