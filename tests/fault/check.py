# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the clients, and the check of what is in them against the journals after each fault."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from fault.cluster import Cluster
from fault.journal import Entry, Findings, Worker, check_reads, compare_ticks, compare_writes
from fault.load import DATABASE, USER
from fault.workload.client import ACCOUNTS

BALANCE = 1000
TABLES = ("appends", "transfers", "accounts", "ticks")
MOST_ROWS = 500_000
_ROWS = {"append": "appends", "transfer": "transfers", "unlocked": "transfers"}
_SUMMARY = "SELECT COUNT(*), COALESCE(BIT_XOR(CRC32(CONCAT(worker, ':', number))), 0) FROM {table}{where}"


class Tables:
    """Makes and reads the tables; all journals start with them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        # The highest number of each worker that a check has seen, and what the rows up to there came to.
        self._base: dict[int, int] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._open: dict[str, int] = {}

    def make(self, password: str) -> None:
        """Make user and tables anew. Raises KubeError."""
        rows = ", ".join(f"({number}, {BALANCE})" for number in range(1, ACCOUNTS + 1))
        numbered = "id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, worker SMALLINT NOT NULL, number INT NOT NULL"
        self._cluster.sql(
            self._cluster.nodes[0],
            f"""DROP DATABASE IF EXISTS {DATABASE}; CREATE DATABASE {DATABASE}; USE {DATABASE};
            CREATE TABLE appends ({numbered}, KEY (worker, number));
            CREATE TABLE transfers ({numbered}, KEY (worker, number));
            CREATE TABLE accounts (id INT PRIMARY KEY, balance INT NOT NULL);
            CREATE TABLE ticks (id INT PRIMARY KEY, value INT NOT NULL);
            INSERT INTO accounts VALUES {rows};
            INSERT INTO ticks VALUES (1, 0);
            CREATE OR REPLACE USER {USER}@'%' IDENTIFIED BY '{password}';
            GRANT ALL PRIVILEGES ON {DATABASE}.* TO {USER}@'%';""",
        )
        self._base, self._seen, self._open = {}, {}, {}

    def drop(self) -> None:
        """Leave nothing behind."""
        self._cluster.sql(
            self._cluster.nodes[0], f"DROP DATABASE IF EXISTS {DATABASE}; DROP USER IF EXISTS {USER}@'%';"
        )

    def check(self, journals: Mapping[Worker, Sequence[Entry]], pod: str | None = None) -> tuple[Findings, list[str]]:
        """Compare everything, while no client writes; findings, and sentences about what is not in a journal.

        journals holds what was written since the last check. pod is where to read, and then the only node asked.
        """
        reader = pod or self._cluster.nodes[0]
        findings, problems = Findings(), []
        present = self._present(reader, journals)
        for worker, entries in journals.items():
            if worker.kind in _ROWS:
                findings.add(compare_writes(worker, entries, present[worker.index]))
            elif worker.kind == "tick":
                findings.add(compare_ticks(worker, entries, int(self._ask(reader, "SELECT value FROM ticks")[0][0])))
            else:
                findings.add(check_reads(worker, entries))
        problems += self._sum(reader) + self._earlier(reader)
        if pod is None:
            problems += self._divergence()
        self._advance(reader, journals, present)
        return findings, findings.problems() + problems

    def _ask(self, pod: str, statement: str) -> list[list[str]]:
        return self._cluster.sql(pod, f"USE {DATABASE}; SET SESSION wsrep_sync_wait=15; {statement}")

    def _present(self, pod: str, journals: Mapping[Worker, Sequence[Entry]]) -> dict[int, dict[int, int]]:
        """Rows beyond the last check, {worker: {number: count}}."""
        found: dict[int, dict[int, int]] = defaultdict(dict)
        for table in sorted({_ROWS[worker.kind] for worker in journals if worker.kind in _ROWS}):
            mine = [worker.index for worker in journals if _ROWS.get(worker.kind) == table]
            which = " OR ".join(f"(worker = {index} AND number > {self._base.get(index, 0)})" for index in mine)
            query = f"SELECT worker, number, COUNT(*) FROM {table} WHERE {which} GROUP BY worker, number"
            for worker, number, count in self._ask(pod, query):
                found[int(worker)][int(number)] = int(count)
        return found

    def _sum(self, pod: str) -> list[str]:
        total, wanted = int(self._ask(pod, "SELECT SUM(balance) FROM accounts")[0][0]), ACCOUNTS * BALANCE
        return [] if total == wanted else [f"the sum of all accounts is {total}, it was {wanted}"]

    def _summary(self, pod: str, table: str) -> tuple[int, int]:
        limits = [f"(worker = {index} AND number <= {base})" for index, base in self._base.items()]
        where = f" WHERE {' OR '.join(limits)}" if limits else " WHERE FALSE"
        count, mix = self._ask(pod, _SUMMARY.format(table=table, where=where))[0]
        return int(count), int(mix)

    def _earlier(self, pod: str) -> list[str]:
        """Rows of an earlier check must still be there; only an operation of unknown outcome may come late."""
        problems = []
        for table, before in self._seen.items():
            now = self._summary(pod, table)
            late = now[0] - before[0]
            if now != before and not 0 < late <= self._open.get(table, 0):
                problems.append(f"rows of {table} that were there have changed: {before[0]} rows before, {now[0]} now")
        return problems

    def _advance(
        self, pod: str, journals: Mapping[Worker, Sequence[Entry]], present: Mapping[int, Mapping[int, int]]
    ) -> None:
        for worker, entries in journals.items():
            if worker.kind in _ROWS and entries:
                self._base[worker.index] = entries[-1].number
                absent = [e for e in entries if e.result == "unknown" and not present[worker.index].get(e.number)]
                table = _ROWS[worker.kind]
                self._open[table] = self._open.get(table, 0) + len(absent)
        self._seen = {table: self._summary(pod, table) for table in sorted(set(_ROWS.values()))}

    def _divergence(self) -> list[str]:
        """CHECKSUM TABLE on all nodes."""
        names = ", ".join(TABLES)
        sums = {pod: str(self._ask(pod, f"CHECKSUM TABLE {names}")) for pod in self._cluster.nodes}
        if len(set(sums.values())) == 1:
            return []
        return ["the nodes hold different data: " + "; ".join(f"{pod} {found}" for pod, found in sums.items())]

    def trim(self) -> None:
        """Empty the tables of rows once they are long; only after a check that found nothing."""
        if sum(count for count, _ in self._seen.values()) > MOST_ROWS:
            self._cluster.sql(
                self._cluster.nodes[0], f"TRUNCATE TABLE {DATABASE}.appends; TRUNCATE TABLE {DATABASE}.transfers;"
            )
            self._seen, self._open = dict.fromkeys(self._seen, (0, 0)), {}
