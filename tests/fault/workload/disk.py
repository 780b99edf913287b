# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes as file systems of their own, and full ones: run in the harness's privileged pod on the volume's machine.

usage: disk.py COMMAND PATH [ARGUMENTS]   (plain text on standard output, exit code 1 and a sentence on error)

    own PATH                 "yes" or "no": whether a file system of its own is mounted at a path of the machine
    mount PATH MEGABYTES     lay an empty ext4 of that size, in a file beside it, over a directory
    unmount PATH             take it away again; a pod that has it open keeps it until its end
    fill PATH                write to the last block of it; refuses a file system that others use as well
    unfill PATH              give the space back
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

BALLAST = "fault-ballast"
IMAGE = ".fault-ext4"


class DiskError(Exception):
    """Something that cannot be done, as a sentence."""


def seen(path: str) -> Path:
    """A path of the machine as this pod reaches it."""
    return Path("/proc/1/root" + path)


def on_host(*command: str) -> None:
    """Run a program of the machine. Raises DiskError with what it printed."""
    whole = ["nsenter", "--mount=/proc/1/ns/mnt", "--", *command]
    done = subprocess.run(whole, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DiskError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")


def own(path: str) -> str:
    """Whether a file system begins there."""
    return "yes" if seen(path).stat().st_dev != seen(path).parent.stat().st_dev else "no"


def mount(path: str, megabytes: str) -> str:
    """Lay a file system over a directory, with the owner and mode of that directory."""
    if own(path) == "yes":
        raise DiskError(f"{path} is a file system of its own already")
    before = seen(path).stat()
    image = path + IMAGE
    on_host("truncate", "--size", f"{megabytes}M", image)
    on_host("mkfs.ext4", "-q", "-F", "-m", "0", image)
    on_host("mount", "-o", "loop", image, path)
    os.chown(seen(path), before.st_uid, before.st_gid)
    seen(path).chmod(before.st_mode & 0o7777)
    return ""


def unmount(path: str) -> str:
    """Take the file system of `mount` away, if there is one."""
    image = seen(path + IMAGE)
    if image.exists():
        if own(path) == "yes":
            on_host("umount", "--lazy", path)
        image.unlink()
    return ""


def fill(path: str) -> str:
    """Not a block is left afterwards."""
    if own(path) == "no":
        raise DiskError(f"{path} is no file system of its own, so others would be hurt")
    place = seen(path) / BALLAST
    with place.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            block = bytes(size)
            while True:
                try:
                    file.write(block)
                except OSError:
                    break
    return str(place.stat().st_size)


def unfill(path: str) -> str:
    """Delete what filled it."""
    (seen(path) / BALLAST).unlink(missing_ok=True)
    return ""


COMMANDS: dict[str, Callable[..., str]] = {
    "own": own,
    "mount": mount,
    "unmount": unmount,
    "fill": fill,
    "unfill": unfill,
}

if __name__ == "__main__":
    try:
        print(COMMANDS[sys.argv[1]](*sys.argv[2:]))
    except (DiskError, OSError, KeyError) as problem:
        sys.exit(f"{problem}")
