# SPDX-License-Identifier: GPL-3.0-or-later
"""What users ask of the leader: when it is begun, what it waits for, and its answer."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from galera_agent.kube import ApiError
from test_backup_scheduler import FAILED_IN, STATE, Bench, bench, later

__all__ = ["bench"]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, ("tick", "--kind", "auto")),
        ({"kind": "full"}, ("tick", "--kind", "full")),
        ({"action": "verify", "name": "20261121T132300Z-full"}, ("verify", "20261121T132300Z-full")),
        ({"action": "verify"}, ("verify", "latest")),
    ],
)
def test_requests(bench: Bench, request_: dict[str, Any], words: tuple[str, ...]) -> None:
    bench.ask(**request_)
    bench.rounds()
    assert bench.words == [words]
    assert bench.document("result")["state"] == "running"
    bench.started[0].ends("succeeded", backup="b1")
    bench.rounds(10)
    result = bench.document("result")
    assert (result["id"], result["state"], result["backup"]) == ("r1", "succeeded", "b1")
    assert bench.words.count(words) == 1


@pytest.mark.parametrize("request_", [{"action": "drop"}, {"kind": "other"}, {"action": "verify", "name": "--work=/"}])
def test_requests_that_are_refused(bench: Bench, request_: dict[str, Any]) -> None:
    bench.ask(**request_)
    bench.rounds()
    assert bench.document("result")["state"] == "failed"
    assert bench.words == [("tick",)]


def digest(bench: Bench) -> str:
    return hashlib.sha256(bench.file.read_bytes()).hexdigest()


def test_a_request_waits_for_the_settings_that_it_means(bench: Bench) -> None:
    bench.rounds(1)
    bench.started[-1].ends("nothing", next=later(hours=1))
    old = digest(bench)
    bench.write(zstd_level=2)
    new = digest(bench)
    bench.write()
    assert digest(bench) == old != new
    bench.ask(kind="full", settings=new)
    bench.rounds(60)
    assert ("tick", "--kind", "full") not in bench.words
    assert bench.document("result") == {}
    assert len([line for line in bench.said if "waits until this pod has the settings" in line]) == 1
    bench.write(zstd_level=2)
    bench.rounds(5)
    assert bench.words[-1] == ("tick", "--kind", "full")
    assert bench.document("result")["state"] == "running"


def test_a_request_for_settings_that_never_come_fails(bench: Bench) -> None:
    bench.rounds(1)
    bench.started[-1].ends("nothing", next=later(hours=1))
    bench.ask(kind="full", settings="another", id="r0")
    bench.rounds(100)
    bench.ask(kind="full", settings="another")
    bench.rounds(179)
    assert bench.document("result") == {}
    bench.rounds(10)
    result = bench.document("result")
    assert (result["id"], result["state"]) == ("r1", "failed")
    assert "has not got the settings that it was asked with within 180 s: ask again" in result["message"]
    assert ("tick", "--kind", "full") not in bench.words
    bench.ask(kind="full", settings=digest(bench), id="r2")
    bench.rounds(10)
    assert bench.words[-1] == ("tick", "--kind", "full")


def test_a_failed_request_is_no_failure_of_the_schedule(bench: Bench) -> None:
    bench.ask()
    bench.rounds()
    bench.started[0].ends("failed")
    bench.rounds(70)
    assert bench.document("result")["state"] == "failed"
    assert bench.words[-1] == ("tick",)


FULL = ("tick", "--kind", "full")


def suspended(bench: Bench, message: str = "suspended: 2 of 3 nodes") -> None:
    bench.started[-1].ends("nothing", message=message, next=None)
    bench.rounds(1)


def waits(bench: Bench) -> str:
    result = bench.document("result")
    assert (result["id"], result["state"]) == ("r1", "running")
    return str(result["message"])


def test_a_request_that_waits_says_what_for_and_is_tried_once_a_minute(bench: Bench) -> None:
    bench.ask(kind="full")
    bench.rounds()
    assert waits(bench) == ""
    suspended(bench)
    assert waits(bench) == "waits: suspended: 2 of 3 nodes"
    for number in range(2, 5):
        bench.rounds(50)
        assert bench.words.count(FULL) == number - 1
        while bench.words.count(FULL) < number:
            bench.rounds(1)
            if bench.words[-1] == ("tick",) and bench.started[-1].end is None:
                suspended(bench)
            assert bench.clock.now < 1e6
        # also while it is tried
        assert waits(bench) == "waits: suspended: 2 of 3 nodes"
        suspended(bench)
    assert len([line for line in bench.said if "what was asked for waits" in line]) == 1
    answers = [one for one in bench.kube.patches if "waits: " in str(one.get("result"))]
    assert len(answers) == 1
    bench.rounds(70)
    suspended(bench, "suspended: a transfer")
    bench.rounds(70)
    suspended(bench, "suspended: a transfer")
    assert waits(bench) == "waits: suspended: a transfer"


def test_a_request_is_tried_again_at_once_when_the_cluster_changes(bench: Bench) -> None:
    bench.ask(kind="full")
    bench.rounds()
    suspended(bench)
    bench.rounds(20)
    assert bench.words == [FULL]
    bench.view = 3
    bench.rounds(5)
    assert bench.words == [FULL] * 2
    assert waits(bench).startswith("waits: ")
    bench.started[-1].last = {"type": "begin", "command": "tick", "kind": "full"}
    bench.rounds(1)
    assert waits(bench) == ""
    bench.started[-1].ends("succeeded", backup="b")
    bench.rounds(1)
    assert bench.document("result")["state"] == "succeeded"


def test_a_request_after_one_that_waited_is_taken_at_once(bench: Bench) -> None:
    bench.ask(kind="full")
    bench.rounds()
    suspended(bench)
    bench.ask(kind="incremental", id="r2")
    bench.rounds(5)
    assert bench.words == [FULL, ("tick", "--kind", "incremental")]


def test_a_new_leader_takes_over_a_request_that_was_running(bench: Bench) -> None:
    bench.ask(kind="full")
    bench.kube.patch_config_map(STATE, {"result": json.dumps({"id": "r1", "state": "running"})})
    bench.rounds()
    assert bench.words == [("tick", "--kind", "full")]


def test_one_that_was_asked_for_does_not_end_the_patience_with_a_target_that_is_away(bench: Bench) -> None:
    bench.rounds(1)
    bench.started[-1].ends("succeeded", backup="b1", not_in=["s3://b/n"])
    bench.rounds(3)
    bench.started[-1].ends("nothing", next=later(days=1))
    bench.ask(kind="full")
    bench.rounds(6)
    assert bench.words[-1] == ("tick", "--kind", "full", *FAILED_IN)
    bench.started[-1].ends("succeeded", backup="b2", not_in=["s3://b/n"])
    bench.rounds(3)
    assert (bench.words[-1][:3], bench.words[-1][5:]) == (("tick", "--failures", "1"), FAILED_IN)
    bench.started[-1].ends("nothing", next=later(days=1))
    bench.ask(action="verify", id="r2")
    bench.rounds(6)
    assert bench.words[-1] == ("verify", "latest")


def test_an_answer_that_was_not_taken_is_given_later_and_nothing_is_done_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.rounds()
    bench.started[0].ends("nothing", next="2099-01-01T00:00:00Z", message="")
    bench.ask(kind="full")
    bench.rounds(6)
    assert bench.words[-1] == ("tick", "--kind", "full")
    plain = bench.kube.patch_config_map

    def refuse(name: str, data: Any, version: Any = None) -> None:
        if "result" in data:
            raise ApiError(0, "timed out")
        plain(name, data, version)

    with monkeypatch.context() as patched:
        patched.setattr(bench.kube, "patch_config_map", refuse)
        bench.started[-1].ends("succeeded", backup="b1")
        bench.rounds(10)
        bench.started[-1].ends("nothing", next="2099-01-01T00:00:00Z", message="")
        bench.rounds(10)
    bench.rounds(10)
    assert bench.words.count(("tick", "--kind", "full")) == 1
    result = json.loads(bench.kube.maps[STATE]["data"]["result"])
    assert (result["id"], result["state"], result["backup"]) == ("r1", "succeeded", "b1")
    bench.ask(kind="full", id="r2")
    bench.rounds(6)
    assert bench.words.count(("tick", "--kind", "full")) == 2
