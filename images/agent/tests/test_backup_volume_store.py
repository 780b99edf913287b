# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume that is full, read-only, not there; and writers that are killed. On real file systems."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from backup_samples import OWNER
from galera_agent.backup import volume_store
from galera_agent.backup.store import StoreError
from galera_agent.backup.volume_store import VolumeStore

AGENT = str(Path(__file__).parents[1])
SOON = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    (tmp_path / "volume").mkdir()
    found = VolumeStore(tmp_path / "volume", mount_required=False)
    found.create("owner.json", OWNER.to_json())
    return found


def mounted(tmp_path: Path, script: str) -> list[str]:
    """Run Python with a volume of 2 MiB at tmp_path/volume, which only it sees; returns the lines it printed."""
    volume = tmp_path / "volume"
    volume.mkdir(exist_ok=True)
    setup = f"""
import sys
sys.path[:0] = [{AGENT!r}]
from pathlib import Path
from galera_agent.backup.store import StoreError
from galera_agent.backup.volume_store import VolumeStore
store = VolumeStore(Path({str(volume)!r}))
def tell(action):
    try:
        print(action())
    except StoreError as error:
        print(error)
"""
    mount = f'mount -t tmpfs -o size=2m none "{volume}" && exec setpriv --bounding-set=-dac_override "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", mount, sys.executable, setup + script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.replace(str(volume), "VOLUME").splitlines()


def test_full_volume(tmp_path: Path) -> None:
    """One sentence, and not a byte is left."""
    script = """
print(store.create("owner.json", b"{}"))
def fill():
    with store.writer("backups/x/stream") as writer:
        while True:
            writer.write(b"x" * 100000)
tell(fill)
print(sorted(path.name for path in Path(store._root).rglob("*")))
"""
    assert mounted(tmp_path, script) == [
        "True",
        "volume VOLUME does not take backups/x/stream: it is full",
        "['owner.json']",
    ]


def test_read_only_volume(tmp_path: Path) -> None:
    script = """
import subprocess
print(store.create("owner.json", b"{}"))
subprocess.run(["mount", "-o", "remount,ro", str(store._root)], check=True)
tell(lambda: store.put("backups/x/one", b""))
tell(lambda: store.delete("owner.json"))
tell(lambda: store.get("owner.json"))
"""
    assert mounted(tmp_path, script) == [
        "True",
        "volume VOLUME does not take backups/x/one: it is read-only",
        "volume VOLUME cannot delete owner.json: it is read-only",
        "b'{}'",
    ]


def test_volume_that_is_not_mounted_is_not_filled(tmp_path: Path) -> None:
    """Mounted, it gets its owner; unmounted, the empty directory behind it is refused."""
    script = """
print(store.create("owner.json", b"{}"))
store.check()
import subprocess
subprocess.run(["umount", str(store._root)], check=True)
tell(store.check)
tell(lambda: store.create("owner.json", b"{}"))
tell(lambda: store.put("backups/x/one", b""))
print(list(Path(store._root).iterdir()))
"""
    unmounted = "volume VOLUME is no mount point and has no owner.json: the backup volume is not mounted there"
    assert mounted(tmp_path, script) == [
        "True",
        unmounted,
        unmounted,
        "volume VOLUME has no owner.json: it is not mounted, or was emptied; nothing is written to it",
        "[]",
    ]


def test_directory_that_is_not_there_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read: it is not there"):
        VolumeStore(tmp_path / "none").check()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be read: Not a directory"):
        VolumeStore(tmp_path / "file").check()


def test_no_permission(tmp_path: Path) -> None:
    script = """
print(store.create("owner.json", b"{}"))
store._root.chmod(0o555)
tell(lambda: store.put("backups/x/one", b""))
"""
    assert mounted(tmp_path, script) == [
        "True",
        "volume VOLUME does not take backups/x/one: permission is denied to uid 0",
    ]


def test_killed_writer_leaves_only_a_part(store: VolumeStore, tmp_path: Path) -> None:
    """SIGKILL at any time: nothing is listed; clean-up takes what is old and nobody's."""
    script = f"""
import sys, os, signal; sys.path[:0] = [{AGENT!r}]
from pathlib import Path
from galera_agent.backup.volume_store import VolumeStore
writer = VolumeStore(Path({str(tmp_path / "volume")!r})).writer("backups/x/stream")
writer.write(b"x" * 1000)
print("written", flush=True)
signal.pause()
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    later = datetime.now(UTC) + timedelta(days=1)
    assert store.clean(SOON, later) == []
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert [one.key for one in store.list("")] == ["owner.json"]
    (part,) = (tmp_path / "volume").rglob("*.part")
    assert part.stat().st_size == 1000
    assert store.clean(SOON, datetime.now(UTC)) == []
    assert store.clean(SOON, later) == [part.relative_to(tmp_path / "volume").as_posix()]
    assert os.listdir(tmp_path / "volume") == ["owner.json"]


def test_what_the_file_system_keeps_is_not_ours(store: VolumeStore, tmp_path: Path) -> None:
    (tmp_path / "volume/lost+found").mkdir()
    (tmp_path / "volume/lost+found/1234").touch()
    assert [one.key for one in store.list("")] == list(store.children("")) == ["owner.json"]


@pytest.mark.parametrize(
    "foreign",
    [
        "films/night.mp4.part",
        "backups/x/night.mp4.part",
        ".snapshot/hourly.0/backups/x/stream.0123abcd.part",
        ".zfs/snapshot/a/backups/x/stream.0123abcd.part",
    ],
)
def test_only_unfinished_files_of_the_agents_are_cleaned(store: VolumeStore, tmp_path: Path, foreign: str) -> None:
    """Others end so as well, and a snapshot of the volume has those that were being written, and lets none go."""
    left = "binlogs/u/20261121/segment.zst.0123abcd.part"
    for name in (foreign, left):
        path = tmp_path / "volume" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert store.clean(SOON, datetime.now(UTC) + timedelta(days=1)) == [left]
    assert (tmp_path / "volume" / foreign).exists()


def test_a_file_is_known_as_used_where_locks_need_the_right_to_write(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS."""
    plain = fcntl.flock

    def flock(file: io.FileIO, operation: int) -> None:
        if not file.writable():
            raise OSError(errno.EBADF, "Bad file descriptor")
        plain(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with store.writer("binlogs/a") as writer:
        writer.write(b"x")
        assert store.clean(SOON, datetime.now(UTC) + timedelta(days=1)) == []
        writer.commit()


def test_a_volume_whose_server_forgot_it_says_so_when_it_is_written_to(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else the error ends the backup in the other target as well, or the volume is said to be empty."""
    plain = os.stat

    def stat(path: Path, **how: bool) -> os.stat_result:
        if str(path).endswith("owner.json"):
            raise OSError(errno.ESTALE, "Stale file handle")
        return plain(path, **how)

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(StoreError, match=r"does not take backups/x/one: its NFS server .* \(stale file handle\)"):
        store.writer("backups/x/one")


def test_create_without_hard_links(store: VolumeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert store.create("backups/x/one", b"first")
    assert not store.create("backups/x/one", b"second")
    assert store.get("backups/x/one") == b"first"


@pytest.mark.parametrize("step", ["_modified", "_unused"])
def test_a_writer_that_ends_while_others_clean(store: VolumeStore, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The archive gives its files their names at any moment."""
    plain = getattr(volume_store, step)
    with store.writer("binlogs/a") as writer:
        writer.write(b"x")

        def ends(path: Path) -> object:
            writer.commit()
            return plain(path)

        monkeypatch.setattr(volume_store, step, ends)
        assert store.clean(timedelta(0), datetime.now(UTC) + SOON) == []
    assert store.get("binlogs/a") == b"x"


def test_what_was_there_before_stays_where_its_successor_may_not_last(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(volume_store, "sync_directory", sync)
    with pytest.raises(StoreError, match="its device reports an input/output error"):
        store.put("owner.json", b"{}")
    assert store.get("owner.json") == b"{}"


def test_a_large_object_is_brought_to_disk_while_it_is_written(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others wait for a target as long as it takes something."""
    synced: list[int] = []
    plain = os.fsync

    def sync(number: int) -> None:
        synced.append(os.fstat(number).st_size)
        plain(number)

    monkeypatch.setattr(volume_store, "_SYNC_BYTES", 100)
    monkeypatch.setattr(os, "fsync", sync)
    with store.writer("backups/x/backup.xb") as writer:
        for _ in range(5):
            writer.write(b"x" * 50)
        assert synced[-2:] == [100, 200]
        writer.commit()
