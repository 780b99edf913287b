# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of SHOW STATUS, captured from MariaDB 11.8.6 with galera 26.4.23, to a typed status."""

from __future__ import annotations

import pymysql
import pytest
from galera_agent.wsrep import AGAIN_SECONDS, POLL_SECONDS, Poller, Status, not_ready, parse, reason_of, turned_away

UUID = "5d6e1e54-e57a-11f1-b442-e759366d5ad6"
SYNCED = {
    "wsrep_local_send_queue": "0",
    "wsrep_local_recv_queue": "0",
    "wsrep_flow_control_paused": "1.38e-05",
    "wsrep_local_state": "4",
    "wsrep_local_state_comment": "Synced",
    "wsrep_incoming_addresses": "10.99.0.10:0,10.99.0.11:0",
    "wsrep_desync_count": "0",
    "wsrep_cluster_conf_id": "2",
    "wsrep_cluster_size": "2",
    "wsrep_cluster_state_uuid": UUID,
    "wsrep_cluster_status": "Primary",
    "wsrep_connected": "ON",
    "wsrep_last_committed": "2",
    "wsrep_local_cached_downto": "1",
    "wsrep_provider_version": "4.23(rXXXX)",
    "wsrep_ready": "ON",
}
ALONE = {
    **SYNCED,
    "wsrep_local_state": "0",
    "wsrep_local_state_comment": "Initialized",
    "wsrep_incoming_addresses": "10.99.0.11:0",
    "wsrep_cluster_conf_id": "18446744073709551615",
    "wsrep_cluster_size": "1",
    "wsrep_cluster_status": "non-Primary",
    "wsrep_ready": "OFF",
}
DONOR = {**SYNCED, "wsrep_local_state": "2", "wsrep_local_state_comment": "Donor/Desynced"}
JOINER = {
    **SYNCED,
    "wsrep_local_state": "1",
    "wsrep_local_state_comment": "Joining: receiving State Transfer",
    "wsrep_ready": "OFF",
}
NOT_CONNECTED = {
    "wsrep_cluster_conf_id": "18446744073709551615",
    "wsrep_cluster_size": "0",
    "wsrep_cluster_state_uuid": "",
    "wsrep_cluster_status": "Disconnected",
    "wsrep_connected": "OFF",
    "wsrep_ready": "OFF",
}


def test_parse() -> None:
    assert parse(SYNCED) == Status(
        connected=True,
        ready=True,
        cluster_status="Primary",
        cluster_size=2,
        cluster_state_uuid=UUID,
        local_state=4,
        local_state_comment="Synced",
        last_committed=2,
        local_cached_downto=1,
        flow_control_paused=1.38e-05,
        local_recv_queue=0,
        local_send_queue=0,
        incoming_addresses="10.99.0.10:0,10.99.0.11:0",
        cluster_conf_id=2,
        desync_count=0,
        provider_version="4.23(rXXXX)",
    )


def test_an_empty_gcache_holds_nothing() -> None:
    assert parse({**SYNCED, "wsrep_local_cached_downto": "18446744073709551615"}).local_cached_downto == -1


def test_the_status_has_all_that_is_promised() -> None:
    assert {f"wsrep_{name}" for name in parse({}).as_dict()} == set(SYNCED)


@pytest.mark.parametrize(
    ("rows", "primary", "serves", "uuid", "view"),
    [
        (SYNCED, True, True, UUID, 2),
        (DONOR, True, True, UUID, 2),
        (JOINER, True, False, UUID, 2),
        (ALONE, False, False, UUID, -1),
        (NOT_CONNECTED, False, False, None, -1),
        ({**SYNCED, "wsrep_cluster_state_uuid": "00000000-0000-0000-0000-000000000000"}, True, True, None, 2),
        ({**SYNCED, "wsrep_connected": "OFF"}, False, False, UUID, 2),
        ({**SYNCED, "wsrep_cluster_status": "PRIMARY"}, True, True, UUID, 2),
        ({}, False, False, None, -1),
    ],
)
def test_what_follows(rows: dict[str, str], primary: bool, serves: bool, uuid: str | None, view: int) -> None:
    status = parse(rows)
    assert (status.primary, status.serves, status.uuid, status.cluster_conf_id) == (primary, serves, uuid, view)


@pytest.mark.parametrize(
    ("rows", "age", "why"),
    [
        (SYNCED, 0.0, None),
        (SYNCED, 0.999, None),
        (SYNCED, 1.0, "has not answered for 1.0 s"),
        (SYNCED, None, "does not answer"),
        (None, 0.1, "does not answer"),
        (DONOR, 0.1, "Donor/Desynced"),
        (JOINER, 0.1, "Joining"),
        (ALONE, 0.1, "non-Primary"),
        (NOT_CONNECTED, 0.1, "Disconnected"),
        ({**SYNCED, "wsrep_ready": "OFF"}, 0.1, "wsrep_ready is OFF"),
        ({}, 0.1, "unknown"),
    ],
)
def test_readiness(rows: dict[str, str] | None, age: float | None, why: str | None) -> None:
    found = not_ready(None if rows is None else parse(rows), age)
    assert (found is None) if why is None else (why in str(found))


def test_a_donor_is_fit_for_those_whom_it_will_do() -> None:
    assert not_ready(parse(DONOR), 0.1, states=(2, 4)) is None
    assert "Joining" in str(not_ready(parse(JOINER), 0.1, states=(2, 4)))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (pymysql.err.OperationalError(2006, "MySQL server has gone away"), "MySQL server has gone away"),
        (ConnectionRefusedError(111, "Connection refused"), "[Errno 111] Connection refused"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_errors_in_words(error: Exception, words: str) -> None:
    assert reason_of(error) == words


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (pymysql.err.OperationalError(1040, "Too many connections"), "full"),
        (pymysql.err.OperationalError(1226, "User 'mysql' has exceeded the 'max_user_connections' resource"), "full"),
        (pymysql.err.OperationalError(1698, "Access denied for user 'mysql'@'localhost'"), "denied"),
        (pymysql.err.OperationalError(4151, "Access denied, this account is locked"), "denied"),
        (pymysql.err.OperationalError(1053, "Server shutdown in progress"), ""),
        (pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query"), ""),
        (pymysql.err.InternalError("Packet sequence number wrong"), ""),
        (pymysql.err.OperationalError(), ""),
        (TimeoutError(), ""),
    ],
)
def test_a_server_that_turns_the_agent_away_is_told_from_one_that_is_silent(error: Exception, why: str) -> None:
    assert turned_away(error) == why


def test_a_refused_connection_is_told_apart() -> None:
    error = pymysql.err.OperationalError(2003, "Can't connect to MySQL server on 'localhost' ([Errno 111] ...)")
    error.original_exception = ConnectionRefusedError(111, "Connection refused")  # type: ignore[attr-defined]
    assert reason_of(error) == "Connection refused"


def test_a_server_that_does_not_answer_is_looked_for_more_often() -> None:
    answers = iter([None, None, parse(SYNCED), None])
    heard, pauses = list[bool](), list[float]()

    class Fake:
        def poll(self) -> Status:
            if (answer := next(answers)) is None:
                raise ConnectionRefusedError("refused")
            return answer

        def close(self) -> None: ...

        def wait(self, seconds: float) -> bool:
            pauses.append(seconds)
            return len(pauses) > 4

    def listener(status: Status | None, problem: str, turned_away: str) -> None:
        heard.append(status is not None)

    fake = Fake()
    Poller(fake, listener, fake).run()  # type: ignore[arg-type]
    assert heard == [False, False, True, False]
    assert pauses == [AGAIN_SECONDS, AGAIN_SECONDS, AGAIN_SECONDS, POLL_SECONDS, AGAIN_SECONDS]
