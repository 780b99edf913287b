# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients of the fault harness: one program, a thread a client, beside the cluster that is injured.

usage: client.py CONFIG PASSWORD_FILE

Needs Python 3.11 and PyMySQL and nothing of this project, so that it runs in a pod (from a ConfigMap) or anywhere else.
CONFIG is JSON: {"host", "user", "database", "journal", "listen", "retries", "start",
"workers": [{"name", "kind", "port", "rate", "index"}]}. Kinds: append, transfer, unlocked, tick, read,
read_sync. rate is in operations a second, for each worker; index is its number in the tables.

Each worker has a journal, one JSON list a line, flushed to the disk (fsync) before the next operation begins:

    [number, begin, end, result, error, node, session, value, floor, tries]

begin and end are seconds of the monotonic clock of this machine. result is "ok" (acknowledged), "fail" (the server said
that it did not happen) or "unknown" (the connection was lost before an answer). error is the server's or the driver's
number, 0 for none; node is @@hostname of the session, session the count of connections. value is what a reader read,
floor the last tick that was acknowledged before it asked. tries is 1 unless a lost connection was retried.

HTTP on `listen`: /status, /pause (ends when no operation is under way), /resume, /journal?worker=NAME&from=BYTES.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pymysql

CONNECT_SECONDS = 2
ANSWER_SECONDS = 20
# Statements that were rolled back: deadlock and certification conflict, lock wait, changed record, not in a primary
# component, too many connections, server starting or stopping before the statement began
ROLLED_BACK = {1213, 1205, 1020, 1047, 1040, 1203, 1226, 1290}
ACCOUNTS = 16


def classify(error: BaseException, connected: bool) -> tuple[str, int]:
    """Result and number of an operation that raised; connected is whether a statement may have reached the server."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else -1
    if not connected or number in ROLLED_BACK:
        return "fail", number
    return "unknown", number


class Shared:
    """What the workers of one process share."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.running.set()
        self.tick = 0


class Worker(threading.Thread):
    """One client: a connection that is opened again when it is lost, and a journal."""

    def __init__(self, about: dict[str, Any], config: dict[str, Any], password: str, shared: Shared) -> None:
        super().__init__(name=about["name"], daemon=True)
        self.kind, self.port, self.index = about["kind"], int(about["port"]), int(about["index"])
        self._pause = 1 / float(about["rate"])
        self._config, self._password, self._shared = config, password, shared
        self.path = Path(config["journal"]) / f"{self.name}.jsonl"
        self._out = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self._connection: Any = None
        self.node, self.session, self.number, self.acked, self.failed = "", 0, 0, 0, 0
        self.last_ack, self.last_error = 0.0, ""
        self.idle = True
        self._random = random.Random(self.name)

    def run(self) -> None:
        """Work at the given rate; what a stall made impossible is not made up for."""
        due = time.monotonic()
        while True:
            if not self._shared.running.is_set():
                self.idle = True
                self._shared.running.wait()
            self.idle = False
            # Set while it looked idle: the pause may have begun in between.
            if not self._shared.running.is_set():
                continue
            self._operate()
            due = max(due + self._pause, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def _operate(self) -> None:
        self.number += 1
        floor = self._shared.tick
        begin = time.monotonic()
        tries, result, error, value = 0, "fail", 0, None
        while True:
            tries += 1
            connected = False
            try:
                self._connect()
                connected = True
                value = self._act()
                result, error = "ok", 0
            except (pymysql.MySQLError, OSError, AttributeError) as problem:
                self._close()
                result, error = classify(problem, connected)
                self.last_error = f"{type(problem).__name__} {str(problem)[:120]}"
                if tries <= int(self._config["retries"]):
                    continue
            break
        end = time.monotonic()
        self._note([self.number, begin, end, result, error, self.node, self.session, value, floor, tries])
        if result != "ok":
            self.failed += 1
            time.sleep(0.02)

    def _note(self, entry: list[Any]) -> None:
        rounded = [round(item, 5) if isinstance(item, float) else item for item in entry]
        os.write(self._out, (json.dumps(rounded, separators=(",", ":")) + "\n").encode())
        os.fsync(self._out)
        if entry[3] == "ok":
            self.acked += 1
            self.last_ack = entry[2]
            if self.kind == "tick":
                self._shared.tick = entry[0]

    def _connect(self) -> None:
        if self._connection is not None:
            return
        self.node = ""
        self._connection = pymysql.connect(
            host=self._config["host"],
            port=self.port,
            user=self._config["user"],
            password=self._password,
            database=self._config["database"],
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            write_timeout=ANSWER_SECONDS,
            autocommit=self.kind not in ("transfer", "unlocked"),
        )
        self.session += 1
        if self.kind == "read_sync":
            self._sql("SET SESSION wsrep_sync_wait=1")
        if self.kind == "unlocked":
            self._sql("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        self.node = str(self._sql("SELECT @@hostname")[0][0])
        if not self._connection.get_autocommit():
            self._connection.rollback()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection._force_close()

    def _sql(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def _act(self) -> int | None:
        if self.kind == "append":
            self._sql("INSERT INTO appends (worker, number) VALUES (%s, %s)", (self.index, self.number))
        elif self.kind == "tick":
            self._sql("UPDATE ticks SET value = %s WHERE id = 1", (self.number,))
        elif self.kind in ("read", "read_sync"):
            return int(self._sql("SELECT value FROM ticks WHERE id = 1")[0][0])
        else:
            self._transfer()
        return None

    def _transfer(self) -> None:
        """Move money in a transaction; the balance is computed here, so a lost update changes the sum."""
        unlocked = self.kind == "unlocked"
        # Two transfers of the same pair of accounts would hide a lost update from the sum: three accounts, not two.
        one, two = self._random.sample(range(1, 4 if unlocked else ACCOUNTS + 1), 2)
        amount = self._random.randint(1, 5)
        lock = "" if unlocked else " FOR UPDATE"
        found = dict(self._sql(f"SELECT id, balance FROM accounts WHERE id IN (%s, %s) ORDER BY id{lock}", (one, two)))
        if unlocked:
            time.sleep(0.005)
        self._sql("UPDATE accounts SET balance = %s WHERE id = %s", (found[one] - amount, one))
        self._sql("UPDATE accounts SET balance = %s WHERE id = %s", (found[two] + amount, two))
        self._sql("INSERT INTO transfers (worker, number) VALUES (%s, %s)", (self.index, self.number))
        self._connection.commit()

    def report(self) -> dict[str, Any]:
        """The worker's line of /status."""
        return {
            "name": self.name,
            "kind": self.kind,
            "port": self.port,
            "index": self.index,
            "node": self.node,
            "attempted": self.number,
            "acked": self.acked,
            "failed": self.failed,
            "last_ack": self.last_ack,
            "last_error": self.last_error,
            "idle": self.idle,
        }


def handler(workers: list[Worker], shared: Shared) -> type[BaseHTTPRequestHandler]:
    """The HTTP side of these workers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlparse(self.path)
            if url.path == "/journal":
                query = parse_qs(url.query)
                (worker,) = [one for one in workers if one.name == query["worker"][0]]
                with worker.path.open("rb") as journal:
                    journal.seek(int(query["from"][0]))
                    self._send(journal.read(8 << 20))
                return
            if url.path == "/pause":
                shared.running.clear()
                while not all(worker.idle for worker in workers):
                    time.sleep(0.01)
            elif url.path == "/resume":
                shared.running.set()
            answer = {"now": time.monotonic(), "workers": [worker.report() for worker in workers]}
            self._send(json.dumps(answer).encode())

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def main() -> None:
    """Start the workers and serve."""
    config = json.loads(Path(sys.argv[1]).read_text())
    password = Path(sys.argv[2]).read_text()
    Path(config["journal"]).mkdir(parents=True, exist_ok=True)
    shared = Shared()
    if not config.get("start", True):
        shared.running.clear()
    workers = [Worker(about, config, password, shared) for about in config["workers"]]
    for worker in workers:
        worker.start()
    address, _, port = config["listen"].rpartition(":")
    ThreadingHTTPServer((address, int(port)), handler(workers, shared)).serve_forever()


if __name__ == "__main__":
    main()
