# SPDX-License-Identifier: GPL-3.0-or-later
"""What a data directory remembers of the backups taken from it, and when it must not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from galera_agent.backup import base

NODE = "n-galera-2"


@pytest.fixture
def datadir(tmp_path: Path) -> Path:
    found = tmp_path / "data"
    found.mkdir()
    (found / "ibdata1").write_text("pages")
    return found


def test_memory_grows(datadir: Path) -> None:
    assert base.load(datadir, NODE) is None
    begun = base.open_base(datadir, NODE)
    assert (len(begun.id), begun.backups) == (32, ())
    base.remember(datadir, begun, "a")
    grown = base.remember(datadir, begun, "b")
    assert grown == base.load(datadir, NODE) == base.open_base(datadir, NODE)
    assert (grown.id, grown.backups) == (begun.id, ("a", "b"))
    assert sorted(os.listdir(datadir)) == ["galera_agent_base.json", "ibdata1"]


def replaced(datadir: Path) -> str:
    """The data were replaced and the file stayed: ibdata1 is another file."""
    (datadir / "other").write_text("pages")
    (datadir / "other").replace(datadir / "ibdata1")
    return NODE


def removed(datadir: Path) -> str:
    """A state transfer wiped what it does not know."""
    (datadir / base.FILE).unlink()
    return NODE


def torn(datadir: Path) -> str:
    """The file was cut short."""
    os.truncate(datadir / base.FILE, 20)
    return NODE


def copied(datadir: Path) -> str:
    """The volume was copied file by file."""
    datadir.rename(datadir.with_name("old"))
    shutil.copytree(datadir.with_name("old"), datadir)
    return NODE


def moved(_: Path) -> str:
    """The volume is another node's now."""
    return "n-galera-0"


@pytest.mark.parametrize("change", [replaced, removed, torn, copied, moved])
def test_other_data_remember_nothing(datadir: Path, change: object) -> None:
    before = base.remember(datadir, base.open_base(datadir, NODE), "a")
    node = change(datadir)  # type: ignore[operator]
    assert base.load(datadir, node) is None
    with pytest.raises(ValueError, match="the data directory was replaced while b was taken"):
        base.remember(datadir, base.Base(before.id, node, before.inode, before.backups), "b")
    after = base.open_base(datadir, node)
    assert after.id != before.id
    assert after.backups == ()


def test_empty_data_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        base.open_base(tmp_path, NODE)


def test_the_idle_agent_never_imports_boto3() -> None:
    """Nor anything else that only child processes need."""
    script = """
import sys
from galera_agent.backup import base, catalog, cleanup, cron, manifest, plan, retention, settings, store, volume_store
print([name for name in sys.modules if name.split(".")[0] in ("boto3", "botocore", "ssl")])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
