# SPDX-License-Identifier: GPL-3.0-or-later
"""What the harness does on a Kubernetes node: run in a privileged pod there, in the machine's process namespace.

usage: hand.py COMMAND ARGUMENTS   (JSON or plain text on standard output, exit code 1 and a sentence on error)

    signal POD_UID NAME SIGNAL [NAME SIGNAL ...]   signal processes of a pod by name (mariadbd, agent)
    pids POD_UID NAME                              their numbers
    chain POD_UID RULES_JSON                       rules of iptables in the pod's network; [] removes all
    taken POD_UID                                  packets that met these rules
    held POD_UID                                   packets that went through the queue 7; 0 where nobody serves it
    shape POD_UID ARGUMENTS                        tc qdisc on the pod's eth0; "none" removes it
    delay POD_UID MILLISECONDS SECONDS             hold back what the pod's rules send to the queue 7; ends by itself
    recover PATH CONFIG                            position of the data directory by mariadbd --wsrep-recover on a copy
    size PATH                                      bytes of the files below a path
    wipe PATH                                      delete all below a path
    later SECONDS COMMAND ARGUMENTS ...            do one of these after a while, detached; survives the caller
    at EPOCH COMMAND ARGUMENTS ...                 the same at a time of the clock, on several machines at once
    host ARGUMENTS ...                             run a program of the machine, in its mount namespace
    host_later SECONDS ARGUMENTS ...               the same after a while, detached
    until_size PATH BYTES SECONDS COMMAND ...      wait until a data directory has so many bytes, then do one of these
    joining PATH                                   yes or no: whether a state transfer into a data directory goes on
    squeeze POD_UID PATH SIZE                      a full tmpfs over a directory of the mariadb container
    release POD_UID PATH                           take it away
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CHAIN = "GALERA-FAULT"
BALLAST = "fault-ballast"
QUEUE = "7"
# The files of the machine, as this pod sees them
MACHINE = "/proc/1/root"


class HandError(Exception):
    """Something that cannot be done, as a sentence."""


def pids(uid: str, name: str) -> list[int]:
    """Processes of a pod by their name; `agent` is the Python that runs the agent."""
    marks = (uid, uid.replace("-", "_"))
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            groups = (entry / "cgroup").read_text()
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if not any(mark in groups for mark in marks) or not words[0]:
            continue
        if name == "any" or (b"galera_agent" in words if name == "agent" else words[0].endswith(name.encode())):
            found.append(int(entry.name))
    return sorted(found)


def some_pid(uid: str) -> int:
    """Any process of a pod: all share one network namespace."""
    found = pids(uid, "any")
    if not found:
        raise HandError(f"no process of the pod {uid} runs on this machine")
    return found[0]


def run(*command: str, check: bool = True) -> str:
    """Run a program; raises HandError with what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise HandError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def on_host(*command: str, check: bool = True) -> str:
    """Run a program of the machine."""
    return run("nsenter", "--mount=/proc/1/ns/mnt", "--", *command, check=check)


def in_net(pid: int, *command: str, check: bool = True) -> str:
    """Run a program of the machine in the network namespace of a process."""
    return run("nsenter", "--mount=/proc/1/ns/mnt", f"--net=/proc/{pid}/ns/net", "--", *command, check=check)


def send(uid: str, *pairs: str) -> str:
    """Signal processes; says how many."""
    told = {}
    for name, number in zip(pairs[::2], pairs[1::2], strict=True):
        found = pids(uid, name)
        for pid in found:
            os.kill(pid, getattr(signal, f"SIG{number}"))
        told[name] = len(found)
    return json.dumps(told)


def chain(uid: str, rules: str) -> str:
    """Replace the rules of the pod's own chain."""
    pid = some_pid(uid)
    for hook in ("INPUT", "OUTPUT"):
        in_net(pid, "iptables", "-w", "-D", hook, "-j", CHAIN, check=False)
    in_net(pid, "iptables", "-w", "-F", CHAIN, check=False)
    in_net(pid, "iptables", "-w", "-X", CHAIN, check=False)
    wanted = json.loads(rules)
    if wanted:
        in_net(pid, "iptables", "-w", "-N", CHAIN)
        for rule in wanted:
            in_net(pid, "iptables", "-w", "-A", CHAIN, *rule)
        for hook in ("INPUT", "OUTPUT"):
            in_net(pid, "iptables", "-w", "-I", hook, "-j", CHAIN)
    return ""


def taken(uid: str) -> int:
    """Packets that met the rules of the pod's own chain."""
    listed = in_net(some_pid(uid), "iptables", "-w", "-n", "-v", "-x", "-L", CHAIN, check=False)
    # Two lines of heads, then the rules
    return sum(int(words[0]) for line in listed.splitlines() if (words := line.split()) and words[0].isdigit())


def held(uid: str) -> int:
    """Packets that the queue of delay.py has had, 0 where no program serves it."""
    listed = Path(f"/proc/{some_pid(uid)}/net/netfilter/nfnetlink_queue")
    # number, program, packets in it, mode, range, dropped, dropped, number of the last packet
    rows = [line.split() for line in listed.read_text().splitlines()] if listed.exists() else []
    return next((int(row[7]) for row in rows if row[0] == QUEUE), 0)


def shape(uid: str, arguments: str) -> str:
    """Set or remove the queueing discipline of a pod's interface."""
    pid = some_pid(uid)
    in_net(pid, "tc", "qdisc", "del", "dev", "eth0", "root", check=False)
    if arguments != "none":
        in_net(pid, "tc", "qdisc", "add", "dev", "eth0", *arguments.split())
    return ""


def delay(uid: str, milliseconds: str, seconds: str) -> str:
    """Start delay.py in a pod's network namespace, detached."""
    script = str(Path(__file__).with_name("delay.py"))
    command = [f"--net=/proc/{some_pid(uid)}/ns/net", "--", sys.executable, script, QUEUE, milliseconds, seconds]
    return detach("0", "nsenter", *command)


def recover(path: str, config: str) -> str:
    """Copy a data directory and have the server say its position; the original is only read.

    With the binary log, where there is one: without it recovery rolls back what was acknowledged.
    """
    source = Path(MACHINE + path)
    names = {entry.name for entry in source.iterdir()} if source.is_dir() else set()
    partial = bool(names & {"sst_in_progress", ".sst"}) or "ibdata1" not in names
    if partial:
        return json.dumps({"partial": True, "log": ""})
    work = Path("/tmp/look")
    shutil.rmtree(work, ignore_errors=True)
    skip = shutil.ignore_patterns("galera.cache", "gcache.page*")
    shutil.copytree(source, work, ignore=skip)
    run("chown", "-R", "mysql:mysql", str(work))
    command = ["mariadbd", f"--defaults-file={config}", f"--datadir={work}", "--user=mysql", "--wsrep-recover"]
    command += ["--wsrep_cluster_address=gcomm://", "--skip-networking", "--skip-log-error"]
    command += ["--socket=/tmp/look.sock", "--pid-file=/tmp/look.pid", *provider()]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    shutil.rmtree(work, ignore_errors=True)
    return json.dumps({"partial": False, "log": done.stdout[-8192:]})


def provider() -> list[str]:
    """Where this image has Galera's library."""
    for path in (
        "/usr/lib/galera/libgalera_smm.so",
        "/usr/lib/libgalera_smm.so",
        "/usr/lib64/galera-4/libgalera_smm.so",
    ):
        if Path(path).exists():
            return [f"--wsrep_provider={path}"]
    return []


def size(path: str) -> int:
    """Bytes of the files below a path of the machine that a state transfer brings: without Galera's own cache."""
    total = 0
    for folder, _, files in os.walk(MACHINE + path):
        for name in files:
            if name == "galera.cache":
                continue
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total


def wipe(path: str) -> str:
    """Delete all below a path of the machine."""
    for entry in Path(MACHINE + path).iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return ""


def joining(path: str) -> bool:
    """Whether the mark is there that the server's script lays for as long as a state transfer lasts."""
    return Path(f"{MACHINE}{path}/sst_in_progress").exists()


def until_size(path: str, wanted: str, seconds: str, *command: str) -> str:
    """Wait until a data directory is as large as wanted, then do something.

    Says how large it was, whether the state transfer still went on, and what was done.
    """
    end = time.monotonic() + float(seconds)
    while (seen := size(path)) < int(wanted):
        if time.monotonic() > end:
            raise HandError(f"{path} had {seen} of {wanted} bytes after {seconds} s")
        time.sleep(0.02)
    under_way = joining(path)
    return json.dumps({"bytes": seen, "under_way": under_way, "done": act(*command)})


def squeeze(uid: str, path: str, limit: str) -> str:
    """Lay a small file system over a directory of the running server and fill it."""
    (pid, *_) = pids(uid, "mariadbd") or [0]
    if not pid:
        raise HandError("mariadbd does not run in that pod")
    inside = f"/proc/{pid}/root{path}"
    enter = ["nsenter", f"--mount=/proc/{pid}/ns/mnt", "--"]
    run(*enter, "mount", "-t", "tmpfs", "-o", f"size={limit},mode=1777", "tmpfs", path)
    subprocess.run(["dd", "if=/dev/zero", f"of={inside}/{BALLAST}", "bs=64k"], capture_output=True, check=False)
    return ""


def release(uid: str, path: str) -> str:
    """Take the small file system away; a container that has restarted meanwhile has lost it already."""
    for pid in pids(uid, "mariadbd")[:1]:
        run("nsenter", f"--mount=/proc/{pid}/ns/mnt", "--", "umount", "-l", path, check=False)
    return ""


def detach(seconds: str, *command: str) -> str:
    """Run a command after a while in a session of its own, so that it needs neither caller nor API server."""
    script = 'sleep "$1"; shift; exec "$@"'
    subprocess.Popen(
        ["/bin/bash", "-c", script, "later", seconds, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return ""


def wait_until(epoch: str, *command: str) -> str:
    """Do a command at a time of the machine's clock."""
    time.sleep(max(0.0, float(epoch) - time.time()))
    return act(*command)


def act(command: str, *arguments: str) -> str:
    """Do one command."""
    if command == "later":
        return detach(arguments[0], sys.executable, __file__, *arguments[1:])
    if command == "at":
        return detach("0", sys.executable, __file__, "wait_until", *arguments)
    if command == "host_later":
        return detach(arguments[0], "nsenter", "--mount=/proc/1/ns/mnt", "--", *arguments[1:])
    commands: dict[str, Callable[..., object]] = {
        "signal": send,
        "pids": lambda uid, name: json.dumps(pids(uid, name)),
        "chain": chain,
        "taken": taken,
        "held": held,
        "joining": lambda path: "yes" if joining(path) else "no",
        "shape": shape,
        "delay": delay,
        "recover": recover,
        "size": lambda path: str(size(path)),
        "wipe": wipe,
        "host": on_host,
        "until_size": until_size,
        "wait_until": wait_until,
        "squeeze": squeeze,
        "release": release,
    }
    return str(commands[command](*arguments))


if __name__ == "__main__":
    try:
        print(act(*sys.argv[1:]))
    except (HandError, OSError, KeyError, subprocess.SubprocessError) as problem:
        sys.exit(f"{problem}")
