# SPDX-License-Identifier: GPL-3.0-or-later
"""What single values may look like, where many are told apart; what is taken here the agent takes as well."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible_collections.stateful.galera.plugins.plugin_utils._formats import FORMATS
from ansible_collections.stateful.galera.plugins.plugin_utils._structures import check_rule
from galera_agent.backup import settings
from galera_agent.settings import SettingsError

S3: dict[str, Any] = {
    "bucket": "backups",
    "prefix": "web/tier1",
    "endpoint": None,
    "region": None,
    "ca": None,
    "path_style": True,
    "sse": "aws:kms",
    "kms_key": None,
    "object_lock": {"mode": "GOVERNANCE", "days": 7},
}
SETTINGS: dict[str, Any] = {
    "format": 1,
    "cluster": "tier1",
    "namespace": "web",
    "size": 3,
    "volume": None,
    "s3": S3,
    "schedule": "0 1 * * *",
    "incremental_interval_seconds": None,
    "max_chain": 24,
    "deadline_seconds": 21600,
    "retention": {"days": None, "keep_last": None, "rule": None},
    "binlog_interval_seconds": None,
    "verify_schedule": None,
    "recipients": [],
    "zstd_level": 1,
    "bandwidth_bytes": None,
}

# variable, where the agent reads it, the lowest and the highest value, what lies just outside
RANGES: list[tuple[str, str, list[Any], list[Any]]] = [
    ("cluster_size", "size", [1, 99], [0, 100]),
    (
        "cluster_backup_incremental_interval",
        "incremental_interval_seconds",
        ["60s", "1m", "30d", "720h"],
        ["59s", "30d1s", "31d"],
    ),
    ("cluster_backup_max_chain", "max_chain", [1, 1000], [0, 1001]),
    ("cluster_backup_deadline", "deadline_seconds", ["60s", "7d"], ["59s", "7d1s"]),
    ("cluster_backup_binlog_interval", "binlog_interval_seconds", ["1s", "1h", "none"], ["0s", "1h1s"]),
    ("cluster_backup_bandwidth", "bandwidth_bytes", ["64Ki", "65536", "100Ti"], ["65535", "63Ki", "1"]),
    ("cluster_backup_retention_days", "retention.days", [1, 36500], [0, 36501]),
    ("cluster_backup_retention_keep_last", "retention.keep_last", [1, 10000], [0, 10001]),
    ("cluster_backup_s3_object_lock_days", "s3.object_lock.days", [1, 36500], [0, 36501]),
    ("cluster_backup_s3_bucket", "s3.bucket", ["abc", "a" * 63], ["ab", "a" * 64, "-bc", "ab."]),
    ("cluster_backup_s3_prefix", "s3.prefix", ["a", "a/b=c", "A._-"], ["a//b", "a/.b", "a b"]),
    ("cluster_backup_s3_region", "s3.region", ["eu-central-1"], ["EU", "a b"]),
    ("cluster_backup_s3_sse_kms_key", "s3.kms_key", ["alias/backups"], ["a b"]),
    ("cluster_backup_schedule", "schedule", ["0 1 * * *", "0 0 * * 7"], ["60 1 * * *", "0 0 31 2 *"]),
]
# What the agent puts together of a variable that is outside of the range: read() refuses it
RAW = {
    "59s": 59,
    "30d1s": 2592001,
    "31d": 2678400,
    "7d1s": 604801,
    "0s": 0,
    "1h1s": 3601,
    "65535": 65535,
    "63Ki": 64512,
    "1": 1,
}


def agent_takes(path: str, value: Any) -> bool:
    """Tell whether the agent takes settings with this value in this place."""
    document = json.loads(json.dumps(SETTINGS))
    part = document
    *parents, name = path.split(".")
    for parent in parents:
        part = part[parent]
    part[name] = value
    try:
        settings.from_json(json.dumps(document))
    except SettingsError:
        return False
    return True


@pytest.mark.parametrize(("variable", "path", "inside", "outside"), RANGES, ids=[row[0] for row in RANGES])
def test_ranges_are_those_of_the_agent(variable: str, path: str, inside: list[Any], outside: list[Any]) -> None:
    read = FORMATS[f"galera_{variable}"].read
    for value in inside:
        assert agent_takes(path, read(value)), value
    for value in outside:
        with pytest.raises(ValueError):  # noqa: PT011
            read(value)
        assert not agent_takes(path, RAW.get(value, value)), value


def test_each_number_of_backups_is_in_the_table() -> None:
    """A number, time or amount that is added to the inventory gets its row."""
    others = {"volume_size", "log_volume_size"}
    words = ("whole number", "a time", "an amount", "a size")
    known = {name for name, found in FORMATS.items() if "_backup_" in name and found.allowed.startswith(words)}
    assert known - {f"galera_cluster_backup_{name}" for name in others} <= {f"galera_{row[0]}" for row in RANGES}


@pytest.mark.parametrize(
    "ages", [(1, 1, 1), (36500, 36500, 36500), (0, 1, 1), (1, 1, 36501), (2, 1, 3), (1, 3, 2), (7, 30, 365)]
)
def test_the_rule_of_retention_is_that_of_the_agent(ages: tuple[int, int, int]) -> None:
    rule = dict(zip(("all_days", "alternate_until_days", "weekly_until_days"), ages, strict=True))
    assert (check_rule("rule", rule) == []) == agent_takes("retention.rule", rule)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T10:00:00Z",
        "2026-13-45T99:99:99Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T14:30:60Z",
        "2026-11-21T14:60:00Z",
        "2026-11-21T14:30:00+99:99",
        "2026-11-21T14:30:00+12:60",
        "2026-11-21T14:30:00+24:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-01:00",
        "0000-01-01T00:00:00Z",
        "2026-11-21T14:30:00",
        "2026-11-21T14:30:00.Z",
        "2026-11-21T14:30:00.1234567Z",
        "2026-11-21T14:30:00Z\n",
        "2026-11-21T14Z",
        "Latest",
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        FORMATS["galera_restore_time"].read(text)


@pytest.mark.parametrize(
    "text",
    [
        "latest",
        "2026-11-21T14:30:00Z",
        "2026-11-21 14:30Z",
        "2024-02-29T23:59:59.999999-12:00",
        "2026-11-21T15:30:00+01:00",
    ],
)
def test_what_is_a_time(text: str) -> None:
    assert FORMATS["galera_restore_time"].read(text) == text


@pytest.mark.parametrize("name", ["galera_restore_backup", "galera_restore_increment"])
def test_names_of_backups(name: str) -> None:
    """A directory of mariadb-backup may lie in another one; the agent lists it by its path."""
    read = FORMATS[name].read
    for text in ("latest", "20261121T132300Z-full", "2026-11-21_13:23", "mon/full"):
        assert read(text) == text
    for text in ("../full", "/mon/full", "mon/../full", "mon//full", "mon/", "a/b/c", ".hidden", "mon/-x", ""):
        with pytest.raises(ValueError):  # noqa: PT011
            read(text)


@pytest.mark.parametrize("text", ["2026-11-21T14:30:00Z", "2026-11-21T15:30:00+01:00", "2026-11-21 14:30:00.5Z"])
def test_a_time_that_yaml_has_read(text: str) -> None:
    """With its zone it says what it means."""
    read = FORMATS["galera_restore_time"].read
    found = read(yaml.safe_load(text))
    assert isinstance(found, str)
    assert read(found) == found
    assert yaml.safe_load(found) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://minio_server:9000",
        "https://s3..x",
        "https://s3.x:99999",
        "https://s3.x:0",
        "https://s3.x:",
        "https://-s3.x",
        "https://s3-.x",
        f"https://{'a' * 64}.x",
        "https://" + ".".join(["a" * 60] * 5),
        "https://10.0.0.256",
        "https://10.0.0",
        "https://fd00::1",
        "https://[fd00::1",
        "https://[fd00::g]",
        "https://[10.0.0.1]",
        "https://[fe80::1%eth0]",
        "https://[]",
        "https://",
        "https:///",
        "https://s3.x/bucket",
        "https://user@s3.x",
        "ftp://s3.x",
        "s3.x",
    ],
)
def test_what_is_no_address_of_an_s3_server(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        FORMATS["galera_cluster_backup_s3_endpoint"].read(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://s3.example.com",
        "https://s3.example.com./",
        "http://minio:9000",
        "http://minio.db.svc:65535/",
        "http://10.0.0.1:1",
        "https://[fd00::1]:9000",
        "https://[::1]",
        f"https://{'a' * 63}.X",
    ],
)
def test_what_is_the_address_of_an_s3_server(text: str) -> None:
    assert FORMATS["galera_cluster_backup_s3_endpoint"].read(text) == text
    assert agent_takes("s3.endpoint", text)
