# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from agent_fakes import locked
from galera_agent.purge import InUseError, purge


def _volume(path: Path) -> Path:
    (path / "data" / "mysql").mkdir(parents=True)
    (path / "data" / "ibdata1").write_bytes(b"x")
    (path / "data.tmp").mkdir()
    (path / "file").write_text("")
    (path / "lost+found").mkdir()
    (path / "link").symlink_to("/etc")
    return path


def test_everything_but_lost_and_found_goes(tmp_path: Path) -> None:
    assert purge(_volume(tmp_path)) == ["data", "data.tmp", "file", "link"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["lost+found"]
    assert Path("/etc/passwd").exists()


def test_an_empty_volume_is_left_as_it_is(tmp_path: Path) -> None:
    assert purge(tmp_path) == []


def test_a_volume_in_use_keeps_every_file(tmp_path: Path) -> None:
    volume = _volume(tmp_path)
    before = sorted(volume.rglob("*"))
    with locked(volume / "data" / "ibdata1"), pytest.raises(InUseError, match="ibdata1 is locked by a running server"):
        purge(volume)
    assert sorted(volume.rglob("*")) == before
