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
    assert "already" in aside.set_aside(volume, "one", check=False)
    assert names(volume) == ["data.before-one"]


@pytest.mark.parametrize("check", [True, False])
def test_data_that_came_after_those_that_were_set_aside_do_not_pass_for_restored_ones(
    volume: Path, check: bool
) -> None:
    aside.set_aside(volume, "one", check=False)
    (volume / "data" / "mysql").mkdir(parents=True)
    with pytest.raises(aside.TwiceError, match=r"data\.before-one.*another galera_restore_id; nothing was changed"):
        aside.set_aside(volume, "one", check=check)
    assert names(volume) == ["data", "data.before-one"]
    assert aside.set_aside(volume, "two", check=check)


@pytest.mark.parametrize("name", [None, "grastate.dat"])
def test_a_node_that_was_started_on_what_is_left_hinders_no_second_run(volume: Path, name: str | None) -> None:
    """It makes the directory, and waits: the playbook may be killed before it has recorded the restore."""
    aside.set_aside(volume, "one", check=False)
    (volume / "data").mkdir()
    if name:
        (volume / "data" / name).touch()
    assert "set aside already" in aside.set_aside(volume, "one", check=True)
    assert names(volume) == ["data", "data.before-one"]
    assert "set aside already" in aside.set_aside(volume, "one", check=False)
    assert names(volume) == ["data.before-one"]


def test_check_changes_nothing(volume: Path) -> None:
    assert "can be set aside" in aside.set_aside(volume, "one", check=True)
    assert names(volume) == ["data"]


def test_an_empty_volume_has_nothing_to_keep(tmp_path: Path) -> None:
    assert aside.set_aside(tmp_path, "one", check=False) == "there are no data to set aside"


def test_a_volume_without_room_is_refused(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "size_of", lambda _: 1 << 60)
    with pytest.raises(aside.NoRoomError, match=r"MiB free.*nothing was changed"):
        aside.set_aside(volume, "one", check=True)
    assert names(volume) == ["data"]


def test_data_that_have_grown_since_the_check_are_set_aside(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes are stopped by then, other volumes are done, and each further run would end in the same way."""
    assert "can be set aside" in aside.set_aside(volume, "one", check=True)
    monkeypatch.setattr(aside, "size_of", lambda _: 1 << 60)
    assert "aside as data.before-one" in aside.set_aside(volume, "one", check=False)
    assert names(volume) == ["data.before-one"]


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


def test_a_release_that_was_killed_leaves_nothing_that_could_be_brought_back(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the files may be deleted by then."""
    (volume / "data" / "mysql").mkdir()
    aside.set_aside(volume, "one", check=False)
    with monkeypatch.context() as patch:
        patch.setattr(aside.shutil, "rmtree", lambda path: (path / "ibdata1").unlink() or sys.exit(143))
        with pytest.raises(SystemExit):
            aside.release(volume)
    assert aside.undo(volume, "one", check=True) == "there is no data.before-one here"
    assert aside.undo(volume, "one", check=False) == "there is no data.before-one here, and no data"
    assert aside.release(volume) == "deleted data.before-one"
    assert names(volume) == []


@pytest.fixture
def restored(volume: Path) -> Path:
    """A volume with the data of before the restore "one", and restored ones in their place."""
    aside.set_aside(volume, "one", check=False)
    (volume / "data").mkdir()
    (volume / "data" / "restored").touch()
    return volume


def test_undo_brings_the_old_data_back_and_keeps_the_restored_ones(restored: Path) -> None:
    said = aside.undo(restored, "one", check=False)
    assert said == "brought data.before-one back, kept the restored data as data.undone-one"
    assert names(restored) == ["data", "data.undone-one"]
    assert names(restored / "data") == ["ibdata1"]
    assert names(restored / "data.undone-one") == ["restored"]
    assert "already" in aside.undo(restored, "one", check=False)
    assert names(restored / "data") == ["ibdata1"]


def test_undo_that_was_killed_between_its_two_steps_goes_on(restored: Path) -> None:
    (restored / "data").rename(restored / "data.undone-one")
    assert aside.undo(restored, "one", check=False) == "brought data.before-one back"
    assert names(restored / "data") == ["ibdata1"]
    assert names(restored / "data.undone-one") == ["restored"]


def test_undo_keeps_what_an_earlier_one_has_kept(restored: Path) -> None:
    aside.undo(restored, "one", check=False)
    aside.set_aside(restored, "one", check=False)
    (restored / "data").mkdir()
    (restored / "data" / "again").touch()
    assert "kept the restored data as data.undone-one-2" in aside.undo(restored, "one", check=False)
    assert names(restored) == ["data", "data.undone-one", "data.undone-one-2"]
    assert names(restored / "data.undone-one-2") == ["again"]
    assert names(restored / "data") == ["ibdata1"]


def test_undo_leaves_a_volume_without_old_data_empty(volume: Path) -> None:
    assert aside.undo(volume, "one", check=False) == "kept the restored data as data.undone-one"
    assert names(volume) == ["data.undone-one"]
    assert "already" in aside.undo(volume, "one", check=False)


def test_undo_of_a_volume_without_restored_data_may_be_run_again(volume: Path) -> None:
    aside.set_aside(volume, "one", check=False)
    assert aside.undo(volume, "one", check=False) == "brought data.before-one back"
    assert "already" in aside.undo(volume, "one", check=False)
    assert names(volume / "data") == ["ibdata1"]


def test_undo_that_was_killed_before_it_brought_anything_back_goes_on(volume: Path) -> None:
    aside.set_aside(volume, "one", check=False)
    (volume / "data.undone-one").mkdir()
    assert aside.undo(volume, "one", check=False) == "brought data.before-one back"
    assert names(volume / "data") == ["ibdata1"]


def test_undo_of_another_restore_brings_nothing_of_this_one_back(restored: Path) -> None:
    assert "there is no data.before-two here" in aside.undo(restored, "two", check=True)
    aside.undo(restored, "two", check=False)
    assert names(restored) == ["data.before-one", "data.undone-two"]


def test_undo_only_looks_if_told_so(restored: Path) -> None:
    assert aside.undo(restored, "one", check=True) == "data.before-one can be brought back"
    assert names(restored) == ["data", "data.before-one"]


def test_undo_refuses_a_running_server(restored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "locked_file", lambda directory: directory / "ibdata1")
    with pytest.raises(purge.InUseError, match="stop it first"):
        aside.undo(restored, "one", check=False)
    assert names(restored) == ["data", "data.before-one"]
    assert names(restored / "data") == ["restored"]


def test_release_deletes_both_kinds(restored: Path) -> None:
    aside.undo(restored, "one", check=False)
    aside.set_aside(restored, "two", check=False)
    assert aside.release(restored) == "deleted data.before-two, data.undone-one"
    assert names(restored) == []
