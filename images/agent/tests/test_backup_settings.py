# SPDX-License-Identifier: GPL-3.0-or-later
"""backup.json: read whole, and everything wrong told at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from backup_samples import SETTINGS, settings_json
from galera_agent.backup.settings import ObjectLock, Retention, Thinning, from_json, load
from galera_agent.settings import SettingsError


def test_everything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "backup.json"
    path.write_text(settings_json())
    found = load(path)
    assert (found.cluster, found.namespace, found.size, found.volume) == ("n", "ns", 3, Path("/backups"))
    assert found.s3 is not None
    assert (found.s3.bucket, found.s3.prefix, found.s3.endpoint) == ("backups", "n", "https://s3.example.com:9000")
    assert found.s3.object_lock == ObjectLock("GOVERNANCE", 7)
    assert (found.schedule.text, found.verify_schedule and found.verify_schedule.text) == ("0 1 * * *", "30 3 * * sun")
    assert found.retention == Retention(7, None, Thinning(7, 30, 365))
    assert (found.incremental_interval_seconds, found.max_chain, found.binlog_interval_seconds) == (3600, 24, 30)


def test_what_may_be_null() -> None:
    s3 = {**SETTINGS["s3"], "endpoint": None, "object_lock": None, "prefix": "/a/b/"}
    retention = {"days": None, "keep_last": 3, "rule": None}
    found = from_json(
        settings_json(
            volume=None,
            s3=s3,
            retention=retention,
            incremental_interval_seconds=None,
            verify_schedule=None,
            recipients=[],
        )
    )
    assert (found.volume, found.incremental_interval_seconds, found.verify_schedule) == (None, None, None)
    assert found.s3 is not None
    assert (found.s3.prefix, found.s3.endpoint, found.s3.object_lock) == ("a/b", None, None)
    assert found.retention == Retention(None, 3, None)


@pytest.mark.parametrize(("given", "found"), [({}, False), ({"rejoin_from_backup": True}, True)])
def test_an_older_file_knows_of_no_rejoin(given: dict[str, Any], found: bool) -> None:
    assert from_json(settings_json(**given)).rejoin_from_backup is found


def s3(**changes: Any) -> dict[str, Any]:
    return {"s3": {**SETTINGS["s3"], **changes}}


def retention(**changes: Any) -> dict[str, Any]:
    return {"retention": {**SETTINGS["retention"], **changes}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "format is 2; allowed: 1, what this agent understands"),
        (
            {"volume": None, "s3": None},
            "volume and s3 are null; allowed: at least one of them as the target of backups",
        ),
        ({"volume": "backups"}, 'volume is "backups"; allowed: an absolute path or null'),
        (
            {"incremental_interval_seconds": "60"},
            'incremental_interval_seconds is "60"; allowed: seconds from 60 to 2592000, or null',
        ),
        ({"incremental_interval_seconds": 59}, "incremental_interval_seconds is 59; allowed: seconds from 60"),
        ({"max_chain": True}, "max_chain is true; allowed: a whole number from 1 to 1000"),
        ({"size": 3.0}, "size is 3.0; allowed"),
        ({"schedule": None}, "schedule is null; allowed: a cron expression"),
        ({"schedule": "daily"}, 'schedule is "daily" (it has 1 fields;'),
        (
            {"schedule": "0 0 31 2 *"},
            "names a date that never comes); allowed: a cron expression of five fields in UTC",
        ),
        ({"verify_schedule": "0 0 * * 9"}, "verify_schedule is \"0 0 * * 9\" ('9' is no day of week"),
        (retention(days=0), "retention.days is 0; allowed: a whole number from 1 to 36500, or null"),
        (retention(keep_last=0), "retention.keep_last is 0; allowed: a whole number from 1 to 10000, or null"),
        (
            retention(rule={"all_days": 7, "alternate_until_days": 3, "weekly_until_days": 365}),
            "retention.rule.alternate_until_days is 3; allowed: at least all_days, 7",
        ),
        (
            retention(rule={"all_days": 7, "alternate_until_days": 30, "weekly_until_days": 29}),
            "retention.rule.weekly_until_days is 29; allowed: at least alternate_until_days, 30",
        ),
        (retention(rule=7), "retention.rule is 7; allowed: an object"),
        ({"retention": None}, "retention is null; allowed: an object"),
        (s3(bucket="A"), 's3.bucket is "A"; allowed: 3 to 63 of a-z 0-9 . -'),
        (s3(prefix="../x"), 's3.prefix is "../x"; allowed: names of'),
        (s3(endpoint="s3.example.com"), 's3.endpoint is "s3.example.com"; allowed: https://host[:port]'),
        (s3(endpoint="https://u:p@h"), "s3.endpoint is"),
        (s3(ca="ca.crt"), 's3.ca is "ca.crt"; allowed: an absolute path or null'),
        (s3(path_style="no"), 's3.path_style is "no"; allowed: true, false'),
        (s3(sse="aes"), 's3.sse is "aes"; allowed: null, AES256, aws:kms'),
        (s3(kms_key="k"), 's3.kms_key is "k"; allowed: null, where sse is not aws:kms'),
        (s3(object_lock={"mode": "x", "days": 0}), 's3.object_lock.mode is "x"; allowed: GOVERNANCE, COMPLIANCE'),
        ({"recipients": ["age1x"]}, 'recipients is ["age1x"]; allowed: a list of age recipients'),
        ({"recipients": "age1"}, 'recipients is "age1"; allowed'),
        ({"zstd_level": 22}, "zstd_level is 22; allowed: a whole number from 1 to 19"),
        ({"bandwidth_bytes": 10}, "bandwidth_bytes is 10; allowed: bytes a second, from 65536, or null"),
        ({"rejoin_from_backup": "yes"}, 'rejoin_from_backup is "yes"; allowed: true, false'),
        ({"bandwith": 10}, "bandwith is unknown; allowed: format, cluster,"),
    ],
)
def test_wrong(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as error:
        from_json(settings_json(**changes))
    lines = str(error.value).splitlines()
    assert said in lines[0]
    assert len(lines) == (2 if "object_lock" in said else 1)


@pytest.mark.parametrize("name", SETTINGS)
def test_nothing_may_be_missing(name: str) -> None:
    less = {key: value for key, value in SETTINGS.items() if key != name}
    with pytest.raises(SettingsError, match=f"^{name} is missing; allowed: "):
        from_json(json.dumps(less))


def test_all_problems_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        from_json(settings_json(size=0, schedule="x", zstd_level=0))
    assert [line.split()[0] for line in str(error.value).splitlines()] == ["size", "schedule", "zstd_level"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "backup.json is not usable: it is no JSON: "),
        ("", "backup.json is not usable: it is no JSON: "),
        ('{"size": 1, "size": 2}', "backup.json is not usable: a name stands twice in it"),
        ('{"size": NaN}', "backup.json is not usable: NaN is no number"),
        ("[" * 100_000, "backup.json is not usable: it is nested too deeply"),
        ("[]", "it is []; allowed: an object"),
    ],
)
def test_no_document(content: str, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        from_json(content)
    assert str(error.value).startswith(said)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"backup\.json cannot be read: No such file or directory"):
        load(tmp_path / "backup.json")
    (tmp_path / "backup.json").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="is not in UTF-8"):
        load(tmp_path / "backup.json")
