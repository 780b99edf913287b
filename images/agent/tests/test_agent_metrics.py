# SPDX-License-Identifier: GPL-3.0-or-later
"""The samples of /metrics: what they say, and that what is not known has none."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from galera_agent.members import Offer
from galera_agent.metrics import METRICS, render
from galera_agent.state import Snapshot
from galera_agent.wsrep import parse

OPERATIONS = Path(__file__).resolve().parents[3] / "docs" / "operations.md"
SERVER = parse(
    {
        "wsrep_cluster_status": "Primary",
        "wsrep_connected": "ON",
        "wsrep_local_state": "4",
        "wsrep_cluster_size": "3",
        "wsrep_last_committed": "12345678901234",
        "wsrep_local_recv_queue": "7",
        "wsrep_local_send_queue": "1",
        "wsrep_flow_control_paused": "0.25",
    }
)
RUNNING = Snapshot(phase="running", wsrep=SERVER, server_version="11.8.6", answered_at=1.0)
SAMPLE = re.compile(r'(galera_[a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+\})? (-?[0-9.e+]+)')


def backup(name: str, kind: str, finished: str, size: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, "finished": finished, "size": size, "verified": None, "problem": None, **more}


TARGET = {
    "target": "s3://backups/bak",
    "error": None,
    "backups": [
        backup("a", "full", "2026-11-20T01:00:00Z", 100, verified=True),
        backup("b", "full", "2026-11-21T01:00:00Z", 110, verified=False),
        backup("c", "incremental", "2026-11-21T02:00:00Z", 9),
        backup("d", "incremental", "2026-11-21T03:00:00Z", 10, problem="its parent is gone"),
    ],
    "incomplete": ["e"],
    "problems": ["something is foreign"],
    "intervals": [
        {"until": "2026-11-20T12:00:00Z"},
        {"until": "2026-11-21T03:30:00Z"},
    ],
    "holes": [["2026-11-20T12:00:00Z", "2026-11-21T01:00:00Z"]],
}
DOCUMENT = {
    "running": None,
    "last": {"state": "failed", "time": "2026-11-21T04:00:00Z"},
    "archive": {"state": "succeeded", "time": "2026-11-21T04:00:30Z"},
    "catalog": {"time": "2026-11-21T03:59:00Z", "targets": [TARGET]},
}


def samples(text: str) -> dict[str, float]:
    """Samples by name and labels; fails where a line is not of the format, or a sample is not under its own TYPE."""
    found: dict[str, float] = {}
    kind = ""
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            kind = line.split()[2]
            assert line.endswith(" gauge")
        elif not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            assert match[1] == kind, line
            assert match[1] + (match[2] or "") not in found
            found[match[1] + (match[2] or "")] = float(match[3])
    assert text.endswith("\n")
    return found


def test_a_running_server() -> None:
    found = samples(render(RUNNING, 0.2, True, None, wanted=False))
    assert found['galera_phase{phase="running"}'] == 1
    assert sum(value for name, value in found.items() if name.startswith("galera_phase")) == 1
    expected = {
        "up": 1,
        "ready": 1,
        "primary": 1,
        "local_state": 4,
        "cluster_size": 3,
        "last_committed": 12345678901234,
        "recv_queue": 7,
        "send_queue": 1,
        "flow_control_paused_ratio": 0.25,
        "consent_wanted": 0,
    }
    assert {name: found[f"galera_{name}"] for name in expected} == expected
    assert any('server_version="11.8.6"' in name for name in found)
    assert not any("backup" in name for name in found)


@pytest.mark.parametrize(
    ("snapshot", "age"), [(RUNNING, 1.0), (replace(RUNNING, wsrep=None), 0.1), (replace(RUNNING, wsrep=None), None)]
)
def test_a_silent_server_has_no_numbers(snapshot: Snapshot, age: float | None) -> None:
    found = samples(render(snapshot, age, False, None, wanted=False))
    assert (found["galera_up"], found["galera_ready"]) == (0, 0)
    assert "galera_last_committed" not in found
    assert "galera_primary" not in found


def test_a_pod_that_waits_for_consent_says_so() -> None:
    snapshot = Snapshot(phase="refused", offer=Offer("n-0", "u", 7, ("n-1",), 0, ()))
    assert samples(render(snapshot, None, False, None, wanted=False))["galera_consent_wanted"] == 1


def test_backups() -> None:
    found = samples(render(RUNNING, 0.2, True, json.dumps(DOCUMENT)))
    where = '{target="s3://backups/bak"}'
    full, increment = (f'{{target="s3://backups/bak",kind="{kind}"}}' for kind in ("full", "incremental"))
    expected = {
        "state_up": 1,
        "running": 0,
        "suspended": 0,
        "last_run_failed": 1,
        "last_run_timestamp_seconds": 1795233600,
        "archive_failed": 0,
        "state_timestamp_seconds": 1795233540,
        f"target_up{where}": 1,
        f"target_problems{where}": 1,
        f"count{full}": 2,
        f"count{increment}": 1,
        f"last_timestamp_seconds{full}": 1795222800,
        f"last_timestamp_seconds{increment}": 1795226400,
        f"last_size_bytes{full}": 110,
        f"last_size_bytes{increment}": 9,
        f"verified_timestamp_seconds{where}": 1795136400,
        f"verification_failed_count{where}": 1,
        f"restorable_until_timestamp_seconds{where}": 1795231800,
        f"holes{where}": 1,
    }
    assert {name: value for name, value in found.items() if "backup" in name} == {
        f"galera_backup_{name}": value for name, value in expected.items()
    }


def test_a_target_that_cannot_be_read_has_no_numbers() -> None:
    target = {**TARGET, "error": "connection refused", "target": 'a "b" \\ c'}
    document = {"catalog": {"time": "2026-11-21T03:59:00Z", "targets": [target]}}
    found = samples(render(RUNNING, 0.2, True, json.dumps(document)))
    assert {name: value for name, value in found.items() if "target=" in name} == {
        r'galera_backup_target_up{target="a \"b\" \\ c"}': 0
    }


@pytest.mark.parametrize("document", [None, "", "[]", "7", '{"catalog": {"targets": [{}]}}', '{"last": {"state": 1}}'])
def test_a_state_that_cannot_be_read_is_told_and_hides_nothing_else(document: str | None) -> None:
    found = samples(render(RUNNING, 0.2, True, document))
    assert {name: value for name, value in found.items() if "backup" in name} == {"galera_backup_state_up": 0}
    assert found["galera_up"] == 1


def test_at_first_no_backup_is_known() -> None:
    found = samples(render(RUNNING, 0.2, True, "{}"))
    told = {name.removeprefix("galera_backup_") for name in found if "backup" in name}
    assert told == {"state_up", "running", "suspended"}
    found = samples(render(RUNNING, 0.2, True, '{"suspended": "suspended: 2 of 3 nodes"}'))
    assert found["galera_backup_suspended"] == 1


def test_the_documents_name_all_of_them_and_no_others() -> None:
    section = OPERATIONS.read_text().partition("## Metrics")[2].partition("\n## ")[0]
    named = set(re.findall(r"\bgalera_[a-z_]+\b", section))
    assert named == {f"galera_{name}" for name in METRICS}
