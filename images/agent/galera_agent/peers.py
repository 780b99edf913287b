# SPDX-License-Identifier: GPL-3.0-or-later
"""How the other members are: asked over HTTP in parallel, and told apart into answering, absent and silent."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from . import __version__
from .datadir import Evidence
from .members import Contact, Member, Record
from .state import FORMAT
from .wsrep import DONOR, SYNCED

TIMEOUT = 1.0
_FRESH_SECONDS = 1.0
_LARGEST = 1 << 20
_WAITING = ("waiting", "refused", "filling")


@dataclass(frozen=True)
class Answer:
    """What asking one pod gave: its /status, or none and why."""

    status: Mapping[str, Any] | None
    problem: str = ""


def ask(address: str, port: int, timeout: float = TIMEOUT) -> Answer:
    """GET /status of one agent."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", "/status")
        answer = connection.getresponse()
        body = json.loads(answer.read(_LARGEST))
    except socket.gaierror as error:
        return Answer(None, f"its name {address} is not resolved: {error.strerror}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(None, f"its agent does not answer: {error or type(error).__name__}")
    finally:
        connection.close()
    if answer.status != 200 or not isinstance(body, dict):
        return Answer(None, f"its agent answers with {answer.status}")
    return Answer(body)


class Asker(Protocol):
    """Asks many agents at once."""

    def ask_all(self, addresses: Mapping[str, str]) -> dict[str, Answer]:
        """Ask pods at their addresses for their /status."""


class Peers:
    """Asks many agents at once; one that hangs (DNS) holds up neither the others nor the next round."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._busy: dict[str, threading.Thread] = {}

    def ask_all(self, addresses: Mapping[str, str]) -> dict[str, Answer]:
        """Ask pods at their addresses; who has not answered in time is silent."""
        answers: dict[str, Answer] = {}

        def work(pod: str, address: str) -> None:
            answers[pod] = ask(address, self._port)

        deadline = time.monotonic() + TIMEOUT + 0.2
        wanted = list(addresses)
        for pod, address in addresses.items():
            if pod not in self._busy:
                thread = threading.Thread(target=work, args=(pod, address), name=f"ask-{pod}", daemon=True)
                # Where no thread is to be had, as while clients have taken all, it is silent now and asked again later.
                with contextlib.suppress(RuntimeError):
                    thread.start()
                    self._busy[pod] = thread
        for pod in self._busy.keys() & addresses:
            self._busy[pod].join(max(0.0, deadline - time.monotonic()))
        for pod in [pod for pod, thread in self._busy.items() if not thread.is_alive()]:
            del self._busy[pod]
        late = Answer(None, f"its agent has not answered within {TIMEOUT:g} s")
        return {pod: answers.get(pod, late) for pod in wanted}


def member(pod: str, seed: bool, ordinal: int, answer: Answer, absent: str = "", note: str = "") -> Member:
    """Judge one pod by its answer.

    absent: how the API server proves that there is no such pod, empty where it does not. note: what it says of the pod.
    """
    if answer.status is not None and answer.status.get("pod") != pod:
        answer = Answer(None, f"{answer.status.get('pod')} answers at its address")
    if answer.status is None:
        contact = Contact.ABSENT if absent else Contact.SILENT
        return Member(pod, seed, ordinal, contact, note=absent or note or answer.problem)
    status = answer.status
    wsrep = _wsrep(status)
    note = f"is {status.get('phase')}: {status.get('reason', '')}"
    serving = _serving(wsrep)
    understood = status.get("format") == FORMAT
    if serving is not None:
        record = _record(status.get("record")) if understood else None
        vouches = _vouches(status.get("vouches"))
        return Member(pod, seed, ordinal, Contact.ANSWERS, note=note, record=record, vouches=vouches, **serving)
    if not understood:
        return Member(pod, seed, ordinal, Contact.ANSWERS, note=_other_version(status))
    phase = str(status.get("phase"))
    live = wsrep is not None and wsrep.get("cluster_status") != "Primary"
    return Member(
        pod,
        seed,
        ordinal,
        Contact.ANSWERS,
        _evidence(status.get("evidence")),
        stopped=phase in _WAITING,
        starting=phase == "starting" or (phase == "running" and not live),
        live=live,
        note=note,
        record=_record(status.get("record")),
        filling=phase == "filling",
    )


def _wsrep(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The fresh wsrep status of an answer."""
    wsrep, age = status.get("wsrep"), status.get("age_seconds")
    fresh = isinstance(age, (int, float)) and age < _FRESH_SECONDS
    return wsrep if status.get("phase") == "running" and isinstance(wsrep, Mapping) and fresh else None


def _serving(wsrep: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a member of a primary component shows: its evidence, primary, size and more; None if it serves none.

    These are facts of MariaDB, in fields that every format has (state.report): agents of all versions join each other.
    Only cached is not: an older agent does not tell it.
    """
    if wsrep is None or wsrep.get("cluster_status") != "Primary" or wsrep.get("local_state") not in (DONOR, SYNCED):
        return None
    uuid, seqno, size = (wsrep.get(name) for name in ("cluster_state_uuid", "last_committed", "cluster_size"))
    if not isinstance(uuid, str) or not isinstance(seqno, int) or not isinstance(size, int):
        return None
    cached = wsrep.get("local_cached_downto")
    return {
        "evidence": Evidence("present", uuid, seqno if seqno >= 0 else None),
        "primary": uuid,
        "size": size,
        "caught_up": wsrep["local_state"] == SYNCED and wsrep.get("local_recv_queue") == 0,
        "desynced": wsrep["local_state"] == DONOR,
        "cached": cached if isinstance(cached, int) and cached > 0 else None,
    }


def _other_version(status: Mapping[str, Any]) -> str:
    """Evidence that another version of the agent words in another way is no evidence here."""
    theirs, format_ = status.get("agent_version") or "of an unknown version", status.get("format")
    return (
        f"its agent {theirs} gives evidence in format {format_ or 'none'}, this agent {__version__} understands format "
        f"{FORMAT}: bring all agents to one version"
    )


def _vouches(raw: Any) -> tuple[str, ...]:
    """The backups that an answer vouches for; what is not understood is none."""
    return tuple(one for one in raw if isinstance(one, str)) if isinstance(raw, list) else ()


def _record(raw: Any) -> Record | None:
    """What an answer says of the record; what is not understood is not known."""
    try:
        return Record(
            str(raw["uuid"]), given_up=tuple((str(pod), int(seqno)) for pod, seqno in raw["given_up"].items())
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _evidence(raw: Any) -> Evidence:
    """The evidence of an answer; what is not understood is unknown."""
    if not isinstance(raw, Mapping) or raw.get("data") not in ("empty", "partial", "present"):
        note = str(raw.get("note", "")) if isinstance(raw, Mapping) else ""
        return Evidence("unknown", note=note)
    uuid, seqno = raw.get("uuid"), raw.get("seqno")
    good = isinstance(uuid, str) and isinstance(seqno, int) and seqno >= 0
    return Evidence(
        raw["data"], uuid if isinstance(uuid, str) else None, seqno if good else None, str(raw.get("note", ""))
    )
