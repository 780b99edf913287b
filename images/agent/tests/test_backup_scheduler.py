# SPDX-License-Identifier: GPL-3.0-or-later
"""When the leader starts what, what it does with the outcome, and that nothing runs without the Lease."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from agent_fakes import Clock, FakeChild, FakeKube
from backup_samples import settings_json
from galera_agent.backup.leader import LOST_SECONDS, Leader
from galera_agent.backup.publish import Publisher
from galera_agent.backup.scheduler import Scheduler
from galera_agent.events import Events
from galera_agent.lease import RENEW_SECONDS, BootstrapLease
from galera_agent.state import State

STATE, LEASE = "n-galera-backup-state", "n-galera-backup"
FAILED_IN = ("--failed-in", "s3://b/n")


class Work(FakeChild):
    """A child process that ends when it is told to."""

    def ends(self, state: str, **more: Any) -> None:
        self.end = {"type": "end", "state": state, "message": f"it {state}", **more}


class Bench:
    """A scheduler with everything around it."""

    def __init__(self, kube: FakeKube, clock: Clock, file: Path) -> None:
        self.kube, self.clock, self.file = kube, clock, file
        self.started: list[Work] = []
        self.said: list[str] = []
        self.unfit, self.seqno = "", 10
        self.better: str | None = None
        self.view: object = None
        self.state = State(self.said.append)
        kube.make_map(STATE)
        self.write()
        board = Publisher(
            kube,  # type: ignore[arg-type]
            STATE,
            "n-galera-2",
            Events(kube, "ns", "n-galera-2", clock),
            lambda: "uid",
            self.said.append,
            clock,
        )
        leader = Leader(BootstrapLease(kube, LEASE, "n-galera-2", clock), lambda: self.better, clock)
        self.scheduler = Scheduler(
            leader,
            board,
            lambda: self.unfit,
            lambda: self.seqno,
            self.state,
            self.start,
            self.said.append,
            view=lambda: self.view,
            file=file,
            clock=clock,
        )

    def start(self, words: Sequence[str]) -> Work:
        self.started.append(Work(words, self.clock()))
        return self.started[-1]

    def write(self, **changes: Any) -> None:
        self.file.write_text(settings_json(**{"binlog_interval_seconds": None, **changes}))
        os.utime(self.file, ns=(time.time_ns(), time.time_ns()))

    def rounds(self, seconds: float = RENEW_SECONDS) -> None:
        until = self.clock.now + seconds
        while self.clock.now <= until:
            self.scheduler.round()
            self.clock.now += 1

    @property
    def words(self) -> list[tuple[str, ...]]:
        return [one.words for one in self.started]

    def document(self, key: str = "catalog") -> dict[str, Any]:
        return json.loads(self.kube.maps[STATE].get("data", {}).get(key, "{}"))

    def ask(self, **request: Any) -> None:
        self.kube.patch_config_map(STATE, {"request": json.dumps({"id": "r1", "action": "backup", **request})})


@pytest.fixture
def bench(kube: FakeKube, clock: Clock, tmp_path: Path) -> Bench:
    return Bench(kube, clock, tmp_path / "backup.json")


def later(**delta: float) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(("restarts", "vouched"), [(False, ("b1",)), (True, ())])
def test_a_backup_is_vouched_for_unless_the_server_was_another(
    bench: Bench, restarts: bool, vouched: tuple[str, ...]
) -> None:
    bench.rounds(1)
    if restarts:
        bench.state.begin()
    bench.started[-1].ends("succeeded", backup="b1")
    bench.rounds(1)
    assert bench.state.now.vouches == vouched


@pytest.mark.parametrize(("command", "state"), [("tick", "failed"), ("tick", "nothing"), ("verify", "succeeded")])
def test_what_is_no_new_backup_is_not_vouched_for(bench: Bench, command: str, state: str) -> None:
    if command == "verify":
        bench.ask(action="verify", name="b1")
    bench.rounds(5)
    (work,) = bench.started
    assert work.words[0] == command
    work.ends(state, backup="b1")
    bench.rounds(1)
    assert bench.state.now.vouches == ()


def test_without_settings_nothing_happens(bench: Bench) -> None:
    bench.file.unlink()
    bench.rounds()
    assert (bench.started, bench.kube.leases) == ([], {})


def catalog(**verified: bool | None) -> dict[str, Any]:
    """What a look at one target finds, by name of the backup."""
    backups = [{"name": name, "verified": verdict} for name, verdict in verified.items()]
    return {"targets": [{"target": "s3://b/n", "backups": backups}]}


@pytest.mark.parametrize("by_another_leader", [False, True])
def test_a_verdict_of_a_trial_restore_elsewhere_is_an_event(bench: Bench, by_another_leader: bool) -> None:
    before, after = catalog(b1=None, b2=True, b3=None), catalog(b1=True, b2=False, b3=None, b4=True)
    if by_another_leader:
        bench.kube.patch_config_map(STATE, {"catalog": json.dumps({"catalog": before})})
    else:
        bench.rounds(1)
        bench.started[-1].ends("nothing", catalog=before, next=later(seconds=-1))
    bench.rounds(5)
    assert bench.kube.events == []
    bench.started[-1].ends("nothing", catalog=after)
    bench.rounds(1)
    told = [(one["reason"], one["type"], one["message"]) for one in bench.kube.events]
    assert told == [
        ("BackupVerificationSucceeded", "Normal", "b1 in s3://b/n was restored on trial and found right"),
        (
            "BackupVerificationFailed",
            "Warning",
            "b2 in s3://b/n was restored on trial and found wrong, its verification.json says why",
        ),
    ]


def test_targets_are_looked_at_when_somebody_asks_for_it(bench: Bench) -> None:
    bench.rounds(1)
    bench.started[-1].ends("nothing", next=later(hours=1))
    bench.rounds(10)
    assert bench.words == [("tick",)]
    bench.kube.patch_config_map(STATE, {"look": "2026-11-22T11:00:00Z"})
    bench.rounds(4)
    assert bench.words == [("tick",)] * 2
    bench.started[-1].ends("nothing", next=later(hours=1))
    bench.rounds(10)
    assert len(bench.started) == 2


def test_one_at_a_time_and_again_when_it_is_due(bench: Bench) -> None:
    bench.rounds(20)
    assert bench.words == [("tick",)]
    bench.started[0].ends("nothing", next=later(seconds=60))
    bench.rounds(50)
    assert len(bench.started) == 1
    bench.rounds(15)
    assert len(bench.started) == 2


def test_a_success_is_published_and_the_next_look_follows_at_once(bench: Bench) -> None:
    bench.rounds()
    bench.started[0].ends("succeeded", backup="b1", catalog={"targets": [1]})
    bench.rounds()
    assert bench.words == [("tick",), ("tick",)]
    document = bench.document()
    assert (document["leader"], document["catalog"]) == ("n-galera-2", {"targets": [1]})
    assert (document["last"]["state"], document["last"]["backup"]) == ("succeeded", "b1")
    assert [(one["reason"], one["type"]) for one in bench.kube.events] == [("BackupSucceeded", "Normal")]


def test_a_catalog_is_published_with_the_settings_by_which_it_was_made(bench: Bench) -> None:
    """Those from before, where others have come meanwhile."""
    bench.rounds()
    before = hashlib.sha256(bench.file.read_bytes()).hexdigest()
    bench.write(max_chain=3)
    bench.rounds()
    bench.started[0].ends("succeeded", backup="b1", catalog={"targets": [1]})
    bench.rounds()
    assert bench.document()["settings"] == before
    bench.started[1].ends("nothing", next=later(days=1), catalog={"targets": [1]})
    bench.rounds()
    assert bench.document()["settings"] == hashlib.sha256(bench.file.read_bytes()).hexdigest()


def test_failures_are_counted_told_and_tried_again_later(bench: Bench) -> None:
    for number in range(1, 4):
        bench.rounds(61)
        bench.started[-1].ends("failed")
        bench.rounds(3)
        assert len(bench.started) == number
    bench.rounds(61)
    words = bench.started[-1].words
    assert words[:3] == ("tick", "--failures", "3")
    assert abs(float(words[4]) - time.time()) < 60
    assert {(one["reason"], one["type"]) for one in bench.kube.events} == {("BackupFailed", "Warning")}
    bench.started[-1].ends("succeeded")
    bench.rounds()
    assert bench.words[-1] == ("tick",)


def test_what_a_restore_is_about_to_allow_is_tried_again_soon(bench: Bench) -> None:
    for _ in range(3):
        bench.rounds(61)
        bench.started[-1].ends("failed", soon=True)
        bench.rounds(3)
    bench.rounds(61)
    assert bench.words == [("tick",)] * 4
    assert {(one["reason"], one["type"]) for one in bench.kube.events} == {("BackupFailed", "Warning")}


def test_a_backup_that_a_target_did_not_take_is_tried_again_with_patience(bench: Bench) -> None:
    """What is due for that target would else be taken again at once, into the other one as well."""
    bench.rounds(1)
    for number in (1, 2):
        bench.started[-1].ends("succeeded", backup="b1", not_in=["s3://b/n"])
        bench.rounds(3)
        assert (bench.words[-1][:3], bench.words[-1][5:]) == (("tick", "--failures", str(number)), FAILED_IN)
        # it waits
        bench.started[-1].ends("nothing", next=later(seconds=30))
        bench.rounds(40)
        assert (bench.words[-1][:3], bench.words[-1][5:]) == (("tick", "--failures", str(number)), FAILED_IN)
    bench.started[-1].ends("succeeded", backup="b1", not_in=[])
    bench.rounds(3)
    assert bench.words[-1] == ("tick",)
    # one that was made nowhere tells by its beginning where it was tried
    for tried, number in (["volume /backups"], 1), (["volume /backups"], 2), (["s3://b/n"], 1):
        bench.started[-1].ends("failed", tried=tried)
        bench.rounds(61)
        assert bench.words[-1] == ("tick", "--failures", str(number), "--failed-at", ANY, "--failed-in", *tried)


def test_what_runs_is_shown(bench: Bench) -> None:
    bench.rounds()
    bench.started[0].last = {"type": "begin", "command": "tick", "kind": "full"}
    bench.rounds()
    assert bench.document()["running"]["kind"] == "full"
    bench.started[0].ends("succeeded")
    bench.rounds()
    assert bench.document()["running"] is None


@pytest.mark.parametrize(("soon", "suspended", "left"), [(True, False, None), (True, True, "x"), (False, False, "x")])
def test_a_failure_until_a_restore_tells_the_targets_is_over_when_it_has(
    bench: Bench, soon: bool, suspended: bool, left: str | None
) -> None:
    """After restore_undo nothing is due, perhaps for a day: it would be said to have failed so long."""
    bench.rounds()
    bench.started[0].ends("failed", message="x", soon=soon, next=later(seconds=5))
    bench.rounds(2)
    assert bench.document()["last"]["message"] == "x"
    bench.rounds(600)
    bench.started[1].ends("nothing", suspended=suspended, next=later(seconds=60))
    bench.rounds(5)
    assert (bench.document()["last"] or {}).get("message") == left


def test_the_lost_lease_ends_what_runs(bench: Bench) -> None:
    bench.write(binlog_interval_seconds=30)
    bench.rounds()
    assert bench.words == [("tick",), ("archive",)]
    bench.kube.down = True
    bench.rounds(LOST_SECONDS + 1)
    assert all(one.stopped for one in bench.started)
    for one in bench.started:
        one.ends("failed")
    bench.kube.down = False
    bench.kube.leases[LEASE]["spec"]["holderIdentity"] = "n-galera-1"
    bench.rounds()
    assert len(bench.started) == 2
    assert bench.document().get("last") is None


def test_nothing_is_stopped_because_the_backup_itself_desyncs_the_node(bench: Bench) -> None:
    bench.rounds()
    bench.unfit = "not Synced"
    bench.rounds(20)
    assert bench.started[0].stopped == 0
    bench.started[0].ends("succeeded")
    bench.rounds()
    assert bench.kube.leases[LEASE]["spec"]["holderIdentity"] == ""


def test_a_child_that_outlives_its_deadline_is_stopped(bench: Bench) -> None:
    bench.write(deadline_seconds=60)
    bench.rounds(100)
    assert bench.started[0].stopped == 0
    bench.rounds(30)
    assert bench.started[0].stopped > 0
    bench.started[0].ends("failed", message="the process was stopped")
    bench.rounds()
    (event,) = bench.kube.events
    assert (event["reason"], event["message"]) == ("BackupFailed", ANY)
    assert re.fullmatch(r"the process was stopped, after 1\d\d s; its deadline is 60 s", event["message"])


def test_settings_apply_as_they_change(bench: Bench) -> None:
    bench.rounds()
    bench.started[0].ends("nothing", next=later(days=1))
    bench.rounds(30)
    bench.write(max_chain=3)
    bench.rounds()
    assert len(bench.started) == 2
    bench.file.write_text("{}")
    bench.rounds()
    assert bench.started[1].stopped
    assert any("settings are refused" in one and "schedule is missing" in one for one in bench.said)


def test_the_archive_runs_beside_and_only_after_writes(bench: Bench) -> None:
    bench.write(binlog_interval_seconds=30)
    bench.rounds()
    archives = [one for one in bench.started if one.words == ("archive",)]
    assert len(archives) == 1
    archives[0].ends("succeeded", last=10, problems=[])
    bench.rounds(60)
    assert len(bench.started) == 2
    bench.seqno = 11
    bench.rounds(20)
    assert bench.words.count(("archive",)) == 2


def leads(bench: Bench) -> bool:
    return bench.kube.leases[LEASE]["spec"]["holderIdentity"] == "n-galera-2"


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_the_archive_is_brought_up_to_date_before_a_better_node_leads(bench: Bench, state: str) -> None:
    """What runs is no such round: it may have looked before the last transaction."""
    bench.write(binlog_interval_seconds=30)
    bench.rounds(1)
    tick, running = bench.started
    tick.ends("nothing", message="", next=later(hours=1))
    bench.better = "n-galera-3"
    bench.rounds(10)
    assert leads(bench)
    running.ends("succeeded", last=10, problems=[])
    bench.rounds(10)
    assert leads(bench)
    assert bench.words == [("tick",), ("archive",), ("archive",)]
    bench.started[-1].ends(state, last=11, problems=[])
    bench.rounds(2 * RENEW_SECONDS)
    assert not leads(bench)


def test_a_last_round_that_takes_too_long_holds_nobody_up(bench: Bench) -> None:
    bench.write(binlog_interval_seconds=30)
    bench.rounds(1)
    bench.started[0].ends("nothing", message="", next=later(hours=1))
    bench.better = "n-galera-3"
    bench.rounds(55)
    assert leads(bench)
    bench.rounds(15)
    assert not leads(bench)


def test_without_an_archive_the_better_node_leads_at_once(bench: Bench) -> None:
    bench.rounds(1)
    bench.started[0].ends("nothing", message="", next=later(hours=1))
    bench.better = "n-galera-3"
    bench.rounds(2 * RENEW_SECONDS)
    assert not leads(bench)


def test_a_failed_archive_is_told_once_and_tried_again(bench: Bench) -> None:
    bench.write(binlog_interval_seconds=30)
    for _ in range(3):
        bench.rounds(21)
        bench.started[-1].ends("succeeded", last=3, problems=["gone"])
        bench.rounds(1)
    assert bench.words.count(("archive",)) == 4
    assert [one["reason"] for one in bench.kube.events] == ["BinlogArchiveFailed"]
    bench.rounds(60)
    assert bench.document()["archive"]["last"] == 3


def test_an_archive_that_a_restore_is_about_to_allow_is_no_event(bench: Bench) -> None:
    bench.write(binlog_interval_seconds=30)
    bench.rounds(21)
    bench.started[-1].ends("failed", message="it is that of before", problems=["it is that of before"], soon=True)
    bench.rounds(1)
    assert bench.document()["archive"]["message"] == "it is that of before"
    assert bench.kube.events == []


def test_refused_settings_are_told_until_there_are_others(bench: Bench) -> None:
    bench.rounds()
    bench.started[0].ends("succeeded", catalog={"targets": [1]})
    bench.rounds(1)
    bench.started[1].ends("nothing", next=later(days=1))
    bench.write(incremental_interval_seconds=2678400)
    bench.rounds(200)
    assert (
        "incremental_interval_seconds is 2678400; allowed: seconds from 60 to 2592000"
        in bench.document("refused")["message"]
    )
    # what is known stays
    assert bench.document()["catalog"] == {"targets": [1]}
    events = [(one["reason"], one["type"]) for one in bench.kube.events if one["reason"] != "BackupSucceeded"]
    assert events == [("BackupSettingsRefused", "Warning")]
    assert "incremental_interval_seconds is 2678400" in bench.kube.events[-1]["message"]
    # a leader that has the settings from before ends it
    bench.kube.patch_config_map(STATE, {"refused": None})
    bench.rounds(61)
    assert bench.document("refused") != {}
    bench.write()
    bench.rounds()
    assert bench.document("refused") == {}


def test_a_document_too_long_for_a_config_map_loses_its_oldest_backups(bench: Bench) -> None:
    bench.rounds()
    backups = [{"name": f"b{number}", "message": "x" * 1000} for number in range(2000)]
    bench.started[0].ends("succeeded", catalog={"targets": [{"backups": backups}]})
    bench.rounds()
    kept = bench.document()["catalog"]["targets"][0]["backups"]
    assert kept[-1]["name"] == "b1999"
    assert 100 < len(kept) < 1000


def test_an_archive_that_could_not_be_started_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written before a quiet time would else not be archived before the next write."""
    bench.write(binlog_interval_seconds=30)
    start, tried = bench.scheduler._start, []

    def fails(words: Sequence[str]) -> Any:
        if words == ["archive"] and len(tried) < 2:
            tried.append(words)
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start(words)

    monkeypatch.setattr(bench.scheduler, "_start", fails)
    for _ in range(60):
        with suppress(BlockingIOError):
            bench.rounds(1)
    assert bench.words.count(("archive",)) == 1


def test_what_is_due_and_suspended_is_told(bench: Bench) -> None:
    """At once in what is published, and as an Event where it lasts."""
    bench.rounds()
    for number in range(4):
        bench.started[-1].ends("nothing", message="suspended: 2 of 3 nodes", suspended=True)
        bench.rounds(3)
        assert bench.document()["suspended"] == "suspended: 2 of 3 nodes"
        told = [("BackupSuspended", "Normal", "a backup is due, and suspended: 2 of 3 nodes")] if number else []
        assert [(one["reason"], one["type"], one["message"]) for one in bench.kube.events] == told
        bench.rounds(61)
    bench.started[-1].ends("nothing", message="neither asks for one", next=later(seconds=30))
    bench.rounds(3)
    assert bench.document()["suspended"] is None
