# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's HTTP side, asked over loopback."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from agent_fakes import Clock
from galera_agent import web
from galera_agent.state import State
from galera_agent.wsrep import parse

SYNCED = parse(
    {
        "wsrep_cluster_status": "Primary",
        "wsrep_connected": "ON",
        "wsrep_ready": "ON",
        "wsrep_local_state": "4",
        "wsrep_local_state_comment": "Synced",
    }
)


@pytest.fixture
def state(clock: Clock) -> State:
    return State(lambda _: None, clock)


@pytest.fixture
def port(state: State) -> Iterator[int]:
    server = web.Server(("127.0.0.1", 0), state, "n-0", "node", namespace="ns")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text.strip()


def test_ready_follows_the_server(port: int, state: State, clock: Clock) -> None:
    assert get(port, "/health/ready")[0] == 503
    state.heard(SYNCED, "11.8.6", "", True)
    assert get(port, "/health/ready") == (200, "ok")
    assert get(port, "/health/ready", "HEAD") == (200, "")
    clock.now += 1
    assert get(port, "/health/ready") == (503, "mariadbd has not answered for 1.0 s")


def test_a_draining_server_keeps_its_sessions_as_long_as_it_is_healthy(port: int, state: State, clock: Clock) -> None:
    state.heard(SYNCED, "11.8.6", "", True)
    state.drain()
    assert get(port, "/health/ready") == (404, "draining: the pod is about to stop")
    clock.now += 1
    assert get(port, "/health/ready")[0] == 503
    state.heard(None, None, "refused", False)
    assert get(port, "/health/ready")[0] == 503


def test_a_desynced_server_keeps_its_sessions_for_a_while(port: int, state: State, clock: Clock) -> None:
    desynced = replace(SYNCED, local_state=2, local_state_comment="Donor/Desynced")
    state.heard(desynced, "11.8.6", "", True)
    assert get(port, "/health/ready")[0] == 404
    clock.now += 10
    state.heard(desynced, "11.8.6", "", True)
    assert get(port, "/health/ready") == (503, "not Synced (wsrep_local_state_comment is Donor/Desynced)")


def test_live_is_patient(port: int, state: State, clock: Clock) -> None:
    assert get(port, "/health/live") == (200, "ok")
    state.heard(SYNCED, "11.8.6", "", True)
    clock.now += 61
    assert get(port, "/health/live")[0] == 503
    state.begin()
    assert get(port, "/health/live") == (200, "ok")


def test_status_has_all_that_is_promised(port: int, state: State) -> None:
    state.heard(SYNCED, "11.8.6", "", True)
    status, text = get(port, "/status")
    shown = json.loads(text)
    assert (status, shown["namespace"]) == (200, "ns")
    assert list(shown) == [
        "pod",
        "namespace",
        "role",
        "phase",
        "reason",
        "agent_version",
        "format",
        "evidence",
        "wsrep",
        "record",
        "vouches",
        "offer",
        "server_version",
        "age_seconds",
    ]
    assert (shown["pod"], shown["role"], shown["wsrep"]["local_state_comment"]) == ("n-0", "node", "Synced")


@pytest.mark.parametrize("path", ["/", "/health", "/status/x", "/../etc/passwd"])
def test_other_paths_are_told_what_exists(port: int, path: str) -> None:
    status, text = get(port, path)
    assert status == 404
    assert "/health/ready" in text
