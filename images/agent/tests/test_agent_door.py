# SPDX-License-Identifier: GPL-3.0-or-later
"""agent.sock: requests, answers, and a caller that dies."""

from __future__ import annotations

import queue
import socket
from pathlib import Path

import pytest
from galera_agent import door

Requests = queue.Queue[tuple[str, str, door.Caller]]


@pytest.fixture
def requests(tmp_path: Path) -> Requests:
    found: Requests = queue.Queue()
    door.listen(tmp_path / "agent.sock", lambda word, text, caller: found.put((word, text, caller)))
    return found


def call(path: Path, request: bytes) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.connect(str(path))
    connection.sendall(request)
    connection.shutdown(socket.SHUT_WR)
    return connection


def test_question_and_answer(tmp_path: Path, requests: Requests) -> None:
    caller_side = call(tmp_path / "agent.sock", b"recovered\n0\nline one\nline two\n")
    word, text, caller = requests.get(timeout=10)
    assert (word, text) == ("recovered", "0\nline one\nline two\n")
    assert caller.answer(["exec", "--a=b c", "$(date)", "ä"])
    assert caller_side.recv(4096) == "exec\0--a=b c\0$(date)\0ä\0end\0".encode()
    assert caller_side.recv(1) == b""


def test_a_caller_that_has_said_its_word_is_not_gone(tmp_path: Path, requests: Requests) -> None:
    caller_side = call(tmp_path / "agent.sock", b"start\n")
    _, _, caller = requests.get(timeout=10)
    assert not caller.gone()
    caller_side.close()
    assert caller.gone()
    assert not caller.answer(["exec"])


def test_an_answer_cannot_smuggle_words(tmp_path: Path, requests: Requests) -> None:
    call(tmp_path / "agent.sock", b"start\n")
    _, _, caller = requests.get(timeout=10)
    with pytest.raises(ValueError, match="NUL"):
        caller.answer(["exec", "a\0end"])


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe\n", b"\n\n"])
def test_strange_requests_arrive_as_words(tmp_path: Path, requests: Requests, raw: bytes) -> None:
    call(tmp_path / "agent.sock", raw)
    word, _, _ = requests.get(timeout=10)
    assert word == raw.decode("utf-8", "replace").partition("\n")[0]


def test_a_socket_that_was_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    for name in ("old", "new"):
        found: Requests = queue.Queue()
        door.listen(path, lambda word, text, caller, found=found: found.put((word, text, caller)))  # type: ignore[misc]
        call(path, name.encode())
        assert found.get(timeout=10)[0] == name
