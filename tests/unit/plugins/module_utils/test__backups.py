# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _backups
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError

NOW = datetime(2026, 11, 21, 15, 0, tzinfo=UTC)
FULL = "20261121T130000Z-full"
FIRST = "20261121T140000Z-incremental"


def backup(name: str, parent: str | None = None, **changes: Any) -> dict[str, Any]:
    hour = name[9:11]
    found = {"name": name, "parent": parent, "finished": f"2026-11-21T{hour}:00:30Z", "size": 3 << 20}
    return {**found, "verified": None, "problem": None, **changes}


def target(label: str, *backups: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"target": label, "error": None, "owner": "cluster n", "backups": list(backups), "problems": [], **changes}


def state(**documents: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "n-state"}, "data": {key: json.dumps(value) for key, value in documents.items()}}


@pytest.mark.parametrize(
    ("found", "is_open"),
    [
        (None, False),
        (state(), False),
        (state(request={"id": "1"}), True),
        (state(request={"id": "1"}, result={"id": "0", "state": "succeeded"}), True),
        (state(request={"id": "1"}, result={"id": "1", "state": "running"}), True),
        (state(request={"id": "1"}, result={"id": "1", "state": "failed"}), False),
        (state(request={"id": "1"}, result={"id": "1", "state": "succeeded"}), False),
    ],
)
def test_open_request(found: dict[str, Any] | None, is_open: bool) -> None:
    assert (_backups.open_request(found) is not None) == is_open


def test_answers_to_others_are_none() -> None:
    found = state(result={"id": "1", "state": "failed", "message": "no room"})
    assert _backups.answer_to(found, "1") == _backups.Answer("failed", "", "no room")
    assert _backups.answer_to(found, "2").state == "open"


def test_what_is_no_json_is_told() -> None:
    with pytest.raises(GaleraError, match="The key request of the ConfigMap n-state is not JSON"):
        _backups.open_request({"metadata": {"name": "n-state"}, "data": {"request": "{"}})


def test_copies_of_one_backup_are_one() -> None:
    volume = target("volume", backup(FULL, problem="damaged", verified=False), backup(FIRST, FULL))
    bucket = target("s3", backup(FULL, verified=True))
    full, first = _backups.merged([volume, bucket], NOW)
    assert (full["targets"], full["problem"], full["verified"]) == (["volume", "s3"], None, True)
    assert (first["targets"], first["chain"], first["age_seconds"]) == (["volume"], [FULL, FIRST], 3570)


def test_a_chain_in_a_circle_ends() -> None:
    one, other = backup(FULL, FIRST), backup(FIRST, FULL)
    assert _backups.chain_of(one, {FULL: one, FIRST: other}) == [FIRST, FULL]


def test_facts() -> None:
    catalog = {
        "time": "2026-11-21T14:59:00Z",
        "targets": [
            target("volume", error="not mounted"),
            target("s3", backup(FULL), problems=["x is not ours"], holes=[["a", "b"]], intervals=[{"since": "a"}]),
        ],
    }
    found = _backups.facts(catalog, NOW)
    assert found["problems"] == ["volume: not mounted", "s3: x is not ours"]
    assert found["holes"] == [{"target": "s3", "since": "a", "until": "b"}]
    assert found["intervals"] == [{"target": "s3", "since": "a"}]


def test_table() -> None:
    backups = _backups.merged([target("s3", backup(FULL, verified=True), backup(FIRST, FULL, problem="cut"))], NOW)
    lines = _backups.table(backups, [{"target": "s3", "since": "a", "until": "b"}])
    assert [line.split() for line in lines[1:3]] == [
        [FULL, "1h", "59m", "3.0", "MiB", "1", "yes", "s3"],
        [FIRST, "59m", "3.0", "MiB", "2", "no", "cut", "s3"],
    ]
    assert lines[3] == "s3: any time from a to b"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0m"), (59, "0m"), (3600, "1h 0m"), (90061, "1d 1h")])
def test_age(seconds: int, text: str) -> None:
    assert _backups.age(seconds) == text


def test_last_report() -> None:
    assert _backups.last_report(["x", '{"type": "end", "state": "succeeded"}', "[1]"])["state"] == "succeeded"
    with pytest.raises(GaleraError, match="did not say how it ended; its last words: x"):
        _backups.last_report(["x"])


@pytest.mark.parametrize(
    ("published", "words"),
    [
        ({}, "no agent leads"),
        (
            {"leader": "n-2", "running": {"kind": "full", "reason": "it was asked for"}},
            "n-2 takes a full (it was asked",
        ),
        ({"leader": "n-2", "last": {"message": "denied"}}, "n-2 leads the backups, which last said: denied"),
    ],
)
def test_progress(published: dict[str, Any], words: str) -> None:
    assert words in _backups.progress(state(catalog=published))


def test_what_failed_last_is_a_problem() -> None:
    """The catalog may be from before, when the target was still there."""
    failed = {"state": "failed", "message": "s3 is not reachable", "time": "2026-11-21T14:00:00Z"}
    said = "failed, at 2026-11-21T14:00:00Z: s3 is not reachable"
    assert _backups.failures({"last": {"command": "tick", **failed}, "archive": failed}) == [
        f"the last backup {said}",
        f"the last archive of binary logs {said}",
    ]
    assert _backups.failures({"last": {"command": "verify", **failed}}) == [f"the last verification {said}"]
    assert _backups.failures({"last": {"state": "succeeded"}, "archive": {"state": "succeeded"}}) == []
    assert _backups.failures({"last": None, "suspended": None}) == []
    why = "suspended: the cluster is degraded: 2 of 3 nodes"
    assert _backups.failures({"suspended": why, "archive": failed}) == [
        f"a backup is due, and {why}",
        f"the last archive of binary logs {said}",
    ]
