# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest
from galera_agent import aside, purge


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ibdata1").write_bytes(b"x" * 10000)
    return tmp_path


def names(volume: Path) -> list[str]:
    return sorted(path.name for path in volume.iterdir())


def test_data_are_moved_once(volume: Path) -> None:
    assert aside.set_aside(volume, "one", check=False) == "set 1 MiB aside as data.before-one"
    assert names(volume) == ["data.before-one"]
    (volume / "data").mkdir()
    assert "already" in aside.set_aside(volume, "one", check=False)
    assert names(volume) == ["data", "data.before-one"]


def test_check_changes_nothing(volume: Path) -> None:
    assert "can be set aside" in aside.set_aside(volume, "one", check=True)
    assert names(volume) == ["data"]


def test_an_empty_volume_has_nothing_to_keep(tmp_path: Path) -> None:
    assert aside.set_aside(tmp_path, "one", check=False) == "there are no data to set aside"


def test_a_volume_without_room_is_refused(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "size_of", lambda _: 1 << 60)
    with pytest.raises(aside.NoRoomError, match=r"MiB free.*nothing was changed"):
        aside.set_aside(volume, "one", check=False)
    assert names(volume) == ["data"]


def test_a_running_server_is_refused(volume: Path) -> None:
    with (volume / "data" / "ibdata1").open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        with pytest.raises(purge.InUseError):
            # a lock of the own process does not count, so another one asks
            _in_child(volume)
    assert names(volume) == ["data"]


def _in_child(volume: Path) -> None:
    lines = ["import sys", "from pathlib import Path", "from galera_agent import aside"]
    code = "\n".join([*lines, "aside.set_aside(Path(sys.argv[1]), 'x', check=False)"])
    command = [sys.executable, "-c", code, str(volume)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    if "InUseError" in done.stderr:
        raise purge.InUseError(done.stderr)


def test_release_deletes_what_was_set_aside_and_no_more(volume: Path) -> None:
    aside.set_aside(volume, "one", check=False)
    (volume / "data").mkdir()
    assert aside.release(volume) == "deleted data.before-one"
    assert aside.release(volume) == "nothing was set aside"
    assert names(volume) == ["data"]
