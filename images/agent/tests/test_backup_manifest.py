# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest: written and read alike, and nothing in it changes unseen."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from backup_samples import at, full, increment, verification
from galera_agent.backup.manifest import (
    Manifest,
    ManifestError,
    StoredObject,
    Verification,
    backup_name,
    manifest_key,
    parse_name,
)

FULL = full(at("2026-11-21 13:23"))
INCREMENT = increment(FULL, at("2026-11-21 14:23"), binlog=None, encryption="age", recipients=("age1xyz",))


@pytest.mark.parametrize("manifest", [FULL, INCREMENT], ids=["full", "incremental"])
def test_round_trip(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert manifest.contradictions() == []
    assert json.loads(manifest.to_json())["digest"] == manifest.digest


def test_round_trip_of_verification() -> None:
    found = verification(FULL)
    assert Verification.from_json(found.to_json()) == found


def test_names() -> None:
    assert backup_name(at("2026-11-21 13:23"), "full") == FULL.name == "20261121T132300Z-full"
    assert parse_name("20261121T142300Z-incremental") == (at("2026-11-21 14:23"), "incremental")
    assert [parse_name(name) for name in ("20261321T142300Z-full", "x", "20261121T142300Z-full/", "")] == [None] * 4
    assert manifest_key(FULL.name) == FULL.key == "backups/20261121T132300Z-full/manifest.json"


def test_each_flipped_bit_is_found() -> None:
    """Whatever bit of the file changes, it is refused or says what it said before (white space, case of an escape)."""
    content = INCREMENT.to_json()
    refused = 0
    for position in range(len(content) * 8):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        try:
            assert Manifest.from_json(bytes(damaged)) == INCREMENT
        except ManifestError:
            refused += 1
    assert refused > 0.95 * len(content) * 8


def test_each_truncation_is_found() -> None:
    content = FULL.to_json()
    for length in range(len(content) - 2):
        with pytest.raises(ManifestError):
            Manifest.from_json(content[:length])


def test_noise_is_refused() -> None:
    noise = random.Random(5)
    for _ in range(200):
        with pytest.raises(ManifestError):
            Manifest.from_json(noise.randbytes(noise.randrange(300)))


@pytest.mark.parametrize("name", json.loads(FULL.to_json()))
def test_nothing_may_be_missing(name: str) -> None:
    document = json.loads(FULL.to_json())
    del document[name]
    with pytest.raises(ManifestError, match=f"{name} is"):
        Manifest.from_json(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("format", 2, "format is 2; allowed: 1"),
        ("format", True, "format is true; allowed: 1"),
        ("name", "x", 'name is "x"; allowed: a name such as 20261121T132300Z-full'),
        ("kind", "partial", 'kind is "partial"; allowed: full, incremental'),
        ("uuid", "0", 'uuid is "0"; allowed: a uuid'),
        ("seqno", -1, "seqno is -1; allowed: a whole number from 0"),
        ("lsn_to", "1000", 'lsn_to is "1000"; allowed: a whole number from 1'),
        ("started", "2026-11-21 13:23", 'started is "2026-11-21 13:23"'),
        ("compression", "gzip", 'compression is "gzip"; allowed: zstd'),
        ("objects", {}, "objects is {}; allowed: a list of objects"),
        ("objects", [1], "objects[0] is 1; allowed: an object"),
        ("objects", [{"key": "k", "size": 0, "sha256": "0"}], "objects[0].size is 0"),
        ("binlog", {"file": "f"}, "binlog.position is missing"),
        ("digest", "0" * 64, f"digest is {'0' * 64}, and that of the contents is {FULL.digest}"),
        ("extra", 1, "extra is unknown"),
    ],
)
def test_wrong(name: str, value: Any, said: str) -> None:
    document = {**json.loads(FULL.to_json()), name: value}
    with pytest.raises(ManifestError) as error:
        Manifest.from_json(json.dumps(document).encode())
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (replace(FULL, kind="incremental"), "name is 20261121T132300Z-full and kind is incremental"),
        (replace(FULL, parent="20261121T132200Z-full"), "parent 20261121T132200Z-full and parent_digest None"),
        (replace(INCREMENT, parent=None, parent_digest=None), "kind is incremental, parent None"),
        (replace(INCREMENT, parent="20261121T142300Z-incremental"), "which is not older"),
        (replace(FULL, lsn_from=5), "kind is full, lsn_from 5"),
        (replace(INCREMENT, lsn_to=999), "lsn_from 1000 and lsn_to 999"),
        (replace(FULL, encryption="age"), "encryption is age and there are 0 recipients"),
        (replace(FULL, finished=FULL.started - timedelta(seconds=1)), "before started"),
        (replace(FULL, objects=()), "objects is empty or names one twice"),
        (replace(FULL, objects=FULL.objects * 2), "objects is empty or names one twice"),
        (replace(FULL, objects=(StoredObject("backups/x/y", 1, "0" * 64),)), "backups/x/y, which is not below"),
        (replace(FULL, objects=(StoredObject(FULL.key, 1, "0" * 64),)), "manifest.json, which is not below"),
    ],
)
def test_contradictions(manifest: Manifest, said: str) -> None:
    """Right alone and wrong together: refused although the digest fits."""
    assert any(said in one for one in manifest.contradictions())
    with pytest.raises(ManifestError) as error:
        Manifest.from_json(manifest.to_json())
    assert said in str(error.value)
