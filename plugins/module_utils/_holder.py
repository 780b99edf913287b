# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Who runs: the ansible process that this module works for, and whether one that is named still lives.

The modules of one play are processes of their own; what they have in common is the ansible-playbook that started them.
"""

from __future__ import annotations

import dataclasses
import os
import pwd
import re
import socket
import typing as t
from pathlib import Path

PROC = Path("/proc")
# user@host/process/its start in clock ticks/PID namespace/boot
_FORM = re.compile(r"([^@/]+)@([^@/]+)/([0-9]+)/([0-9]+)/([0-9]+)/([0-9a-f-]+)")


@dataclasses.dataclass(frozen=True)
class Holder:
    """One process on one machine. started: clock ticks since the boot; a process number alone comes back."""

    user: str
    host: str
    pid: int
    started: int
    pid_namespace: int
    boot: str

    def __str__(self) -> str:
        """The identity as a Lease holds it."""
        return f"{self.user}@{self.host}/{self.pid}/{self.started}/{self.pid_namespace}/{self.boot}"

    @classmethod
    def parse(cls, text: str) -> Holder | None:
        """The holder that an identity names, None for one of another form."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        user, host, pid, started, namespace, boot = match.groups()
        return cls(user, host, int(pid), int(started), int(namespace), boot)

    def is_dead(self, proc: Path = PROC) -> bool:
        """Whether the process has surely ended: known only for those that this process could see if they lived."""
        if (self.boot, self.pid_namespace) != (_boot(proc), _pid_namespace(proc)):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # another user's process lives
        started = _started(proc, self.pid)
        if started is None:
            return False
        # one that was killed and that nobody has waited for yet keeps its number
        return started != self.started or _state(proc, self.pid) in ("Z", "X")


# By /proc, number and start of the process that asked. A worker that a killed play leaves behind goes on with the items
# of its loop, and what is above it then tells no more whose it is.
_RUNS: dict[tuple[Path, int, int | None], tuple[Holder, bool]] = {}


def describe(identity: str) -> str:
    """An identity for a reader: "root@builder (process 4711)"."""
    holder = Holder.parse(identity)
    return f"{holder.user}@{holder.host} (process {holder.pid})" if holder else identity


def current(proc: Path = PROC, pid: int | None = None) -> tuple[Holder, bool]:
    """The run that this process belongs to, or belonged to when it first asked, and whether it outlives this process.

    Without an ansible process above it, or without /proc, the process stands for itself.
    """
    me = os.getpid() if pid is None else pid
    key = proc, me, _started(proc, me)
    if key not in _RUNS:
        run = _run_of(proc, me)
        _RUNS[key] = _holder_of(proc, me if run is None else run), run is not None
    return _RUNS[key]


def _holder_of(proc: Path, pid: int) -> Holder:
    return Holder(
        user=re.sub(r"[@/]", "_", _user()),
        host=re.sub(r"[@/]", "_", socket.gethostname()) or "unknown",
        pid=pid,
        started=_started(proc, pid) or 0,
        pid_namespace=_pid_namespace(proc),
        boot=_boot(proc),
    )


def _run_of(proc: Path, pid: int) -> int | None:
    """The ansible process above `pid`: its workers are forks of it, with the same command line."""
    chain: list[tuple[int, list[str]]] = []
    while pid > 0 and len(chain) < 100:
        command = _command(proc, pid)
        chain.append((pid, command))
        parent = _stat(proc, pid, 3)
        if parent is None:
            break
        pid = parent
    for place, (_pid, command) in enumerate(chain):
        if any(Path(word).name.startswith("ansible") for word in command[:3]):
            forks = [each for each, words in _while_same(chain[place:], command)]
            return forks[-1]
    return None


def _while_same(chain: list[tuple[int, list[str]]], command: list[str]) -> t.Iterator[tuple[int, list[str]]]:
    for pid, words in chain:
        if words != command:
            return
        yield pid, words


def _command(proc: Path, pid: int) -> list[str]:
    try:
        return (proc / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
    except OSError:
        return []


def _started(proc: Path, pid: int) -> int | None:
    return _stat(proc, pid, 21)


def _state(proc: Path, pid: int) -> str:
    """R, S, ..., Z for a process that has ended and that its parent has not waited for; "" where nothing is known."""
    return next(iter(_fields(proc, pid)), "")


def _stat(proc: Path, pid: int, field: int) -> int | None:
    """A number of /proc/<pid>/stat."""
    try:
        return int(_fields(proc, pid)[field - 2])
    except (ValueError, IndexError):
        return None


def _fields(proc: Path, pid: int) -> list[str]:
    """/proc/<pid>/stat from its third field on: the name in the second may hold blanks and parentheses."""
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _pid_namespace(proc: Path) -> int:
    try:
        return int(re.sub(r"\D", "", os.readlink(proc / "self" / "ns" / "pid")))
    except (OSError, ValueError):
        return 0


def _boot(proc: Path) -> str:
    try:
        return (proc / "sys" / "kernel" / "random" / "boot_id").read_text(encoding="ascii").strip() or "0"
    except OSError:
        return "0"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
