# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are written when they are not as they must be, at once, and never shown when they are private."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.stateful.galera.plugins.plugin_utils._files import File


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize(("private", "wanted"), [(False, 0o644), (True, 0o600)])
def test_a_file_is_created_with_its_mode(tmp_path: Path, private: bool, wanted: int) -> None:
    path = tmp_path / "a.yml"
    assert File(path, "text\n", private).settle(check_mode=False)["result"] == "created"
    assert (path.read_text(), mode(path)) == ("text\n", wanted)


def test_a_file_that_is_right_is_left_alone(tmp_path: Path) -> None:
    file = File(tmp_path / "a.yml", "text\n")
    file.settle(check_mode=False)
    before = file.path.stat()
    assert file.settle(check_mode=False) == {"path": str(file.path), "result": "unchanged", "diff": None}
    assert (file.path.stat().st_mtime_ns, file.path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize(("content", "permissions"), [("other\n", 0o600), ("text\n", 0o644)])
def test_content_and_mode_are_both_brought_about(tmp_path: Path, content: str, permissions: int) -> None:
    path = tmp_path / "a.yml"
    path.write_text(content)
    path.chmod(permissions)
    file = File(path, "text\n", private=True)
    assert file.settle(check_mode=True)["result"] == "changed"
    assert (path.read_text(), mode(path)) == (content, permissions)
    assert file.settle(check_mode=False)["result"] == "changed"
    assert (path.read_text(), mode(path)) == ("text\n", 0o600)


def test_check_mode_writes_nothing_and_shows_the_difference(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.yml"
    done = File(path, "text\n").settle(check_mode=True)
    assert done["result"] == "created"
    assert (done["diff"]["before"], done["diff"]["after"]) == ("", "text\n")
    assert list(tmp_path.iterdir()) == []


def test_a_private_file_is_in_no_diff(tmp_path: Path) -> None:
    assert File(tmp_path / "a.yml", "password\n", private=True).settle(check_mode=False)["diff"] is None


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.yml"
    File(path, "old\n").settle(check_mode=False)

    def fail(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="No space"):
        File(path, "new\n").settle(check_mode=False)
    assert [each.name for each in tmp_path.iterdir()] == ["a.yml"]
    assert path.read_text() == "old\n"
