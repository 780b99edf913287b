# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the clients, and the check of what is in them against the journals after each fault."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

from fault.cluster import Cluster
from fault.journal import Entry, Findings, Worker, check_reads, compare_ticks, compare_writes
from fault.load import DATABASE, USER
from fault.workload.client import ACCOUNTS
from fault.world import together

BALANCE = 1000
TABLES = ("appends", "transfers", "accounts", "ticks")
MOST_ROWS = 500_000
_ROWS = {"append": "appends", "transfer": "transfers", "unlocked": "transfers"}
_SUMMARY = "SELECT COUNT(*), COALESCE(BIT_XOR(CRC32(CONCAT(worker, ':', number))), 0) FROM {table}{where}"
_END = "no more rows"


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
        base = self._base | {
            worker.index: entries[-1].number for worker, entries in journals.items() if worker.kind in _ROWS and entries
        }
        tables = sorted(set(_ROWS.values()))
        # One session for all questions: each kubectl costs more than its answer
        sums, ticks, earlier, now, present = self._ask(
            reader,
            ["SELECT SUM(balance) FROM accounts"],
            ["SELECT value FROM ticks"],
            [_summary(table, self._base) for table in tables],
            [_summary(table, base) for table in tables],
            self._beyond(journals),
        )
        rows: dict[int, dict[int, int]] = defaultdict(dict)
        for index, number, count in present:
            rows[int(index)][int(number)] = int(count)
        findings, problems = Findings(), []
        for worker, entries in journals.items():
            if worker.kind in _ROWS:
                findings.add(compare_writes(worker, entries, rows[worker.index]))
            elif worker.kind == "tick":
                findings.add(compare_ticks(worker, entries, int(ticks[0][0])))
            else:
                findings.add(check_reads(worker, entries))
        if (total := int(sums[0][0])) != (wanted := ACCOUNTS * BALANCE):
            problems.append(f"the sum of all accounts is {total}, it was {wanted}")
        problems += self._changed(_counts(tables, earlier))
        if pod is None:
            problems += self._divergence()
        self._note_late(_counts(tables, earlier))
        self._base, self._seen = base, _counts(tables, now)
        self._note_absent(journals, rows)
        return findings, findings.problems() + problems

    def _ask(self, pod: str, *questions: Sequence[str]) -> list[list[list[str]]]:
        """The rows of each group of statements, all asked in one session. Raises KubeError."""
        ends = [[*group, f"SELECT '{_END}'"] for group in questions]
        statements = "; ".join(one for group in ends for one in group)
        found: list[list[list[str]]] = [[]]
        for row in self._cluster.sql(pod, f"USE {DATABASE}; SET SESSION wsrep_sync_wait=15; {statements}"):
            if row == [_END]:
                found.append([])
            else:
                found[-1].append(row)
        return found[:-1]

    def _beyond(self, journals: Mapping[Worker, Sequence[Entry]]) -> list[str]:
        """Questions for the rows beyond the last check: worker, number, count."""
        questions = []
        for table in sorted({_ROWS[worker.kind] for worker in journals if worker.kind in _ROWS}):
            mine = [worker.index for worker in journals if _ROWS.get(worker.kind) == table]
            which = " OR ".join(f"(worker = {index} AND number > {self._base.get(index, 0)})" for index in mine)
            questions.append(f"SELECT worker, number, COUNT(*) FROM {table} WHERE {which} GROUP BY worker, number")
        return questions

    def _changed(self, now: Mapping[str, tuple[int, int]]) -> list[str]:
        """Rows of an earlier check must still be there; only an operation of unknown outcome may come late."""
        problems = []
        for table, before in self._seen.items():
            late = now[table][0] - before[0]
            if now[table] != before and not 0 < late <= self._open.get(table, 0):
                problems.append(
                    f"rows of {table} that were there have changed: {before[0]} rows before, {now[table][0]} now"
                )
        return problems

    def _note_late(self, now: Mapping[str, tuple[int, int]]) -> None:
        """What has come late is awaited no longer."""
        for table, before in self._seen.items():
            late = max(now[table][0] - before[0], 0)
            self._open[table] = max(self._open.get(table, 0) - late, 0)

    def _note_absent(
        self, journals: Mapping[Worker, Sequence[Entry]], present: Mapping[int, Mapping[int, int]]
    ) -> None:
        """Count the operations of unknown outcome that are not there yet."""
        for worker, entries in journals.items():
            if worker.kind in _ROWS:
                absent = [e for e in entries if e.result == "unknown" and not present[worker.index].get(e.number)]
                table = _ROWS[worker.kind]
                self._open[table] = self._open.get(table, 0) + len(absent)

    def _divergence(self) -> list[str]:
        """CHECKSUM TABLE on all nodes."""
        question = [f"CHECKSUM TABLE {', '.join(TABLES)}"]
        nodes = self._cluster.nodes
        found = together([partial(self._ask, pod, question) for pod in nodes])
        sums = {pod: str(answers[0]) for pod, answers in zip(nodes, found, strict=True)}
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


def _summary(table: str, base: Mapping[int, int]) -> str:
    """The question for number and checksum of the rows up to the highest number of each worker."""
    limits = [f"(worker = {index} AND number <= {number})" for index, number in base.items()]
    return _SUMMARY.format(table=table, where=f" WHERE {' OR '.join(limits)}" if limits else " WHERE FALSE")


def _counts(tables: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, tuple[int, int]]:
    """The answers to _summary, by table."""
    return {table: (int(count), int(mix)) for table, (count, mix) in zip(tables, rows, strict=True)}
