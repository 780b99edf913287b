# SPDX-License-Identifier: GPL-3.0-or-later
"""A server started by hand on a copy of a node's data, in the harness's privileged pod: for the floor of a recovery.

usage: stage.py COMMAND ARGUMENTS   (JSON on standard output, exit code 1 and a sentence on error)

    copy PATH                     copy a data directory of the machine, Galera's cache too; the original is only read
    recover                       {"uuid", "seqno", "seconds"} of mariadbd --wsrep-recover on the copy
    start ADDRESS JOIN EPOCH      start the server at a time of the clock, with an address of its own, and the address
                                  of the cluster, gcomm:// for the first; {"seconds"} until it is Synced
    end                           kill it and delete the copy
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HOME = Path("/tmp/stage")
DATA, SOCKET, LOG = HOME / "data", HOME / "sock", HOME / "log"
CONFIG = "/fault/galera.cnf"
PATIENCE_SECONDS = 240
_POSITION = re.compile(r"Recovered position:?\s*([0-9a-f-]{36}):(-?\d+)", re.IGNORECASE)
_PROVIDERS = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so")


class StageError(Exception):
    """Something that cannot be done, as a sentence."""


def server(*arguments: str) -> list[str]:
    """The command line of a server on the copy."""
    provider = [f"--wsrep_provider={path}" for path in _PROVIDERS if Path(path).exists()][:1]
    command = ["mariadbd", f"--defaults-file={CONFIG}", f"--datadir={DATA}", "--user=mysql", *provider]
    return [*command, f"--socket={SOCKET}", f"--pid-file={HOME}/pid", "--skip-log-error", *arguments]


def copy(path: str) -> object:
    """Make the copy, not timed: a server that starts again in its place needs none."""
    end()
    shutil.copytree("/proc/1/root" + path, DATA)
    subprocess.run(["chown", "-R", "mysql:mysql", str(HOME)], check=True)
    return {}


def recover() -> object:
    """The position of the copy, and how long the server took to say it."""
    begin = time.monotonic()
    command = server("--wsrep-recover", "--wsrep_cluster_address=gcomm://", "--skip-networking")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    seconds = time.monotonic() - begin
    found = _POSITION.findall(done.stdout)
    if not found:
        raise StageError(f"mariadbd --wsrep-recover says no position: {done.stdout[-500:]}")
    uuid, seqno = found[-1]
    (HOME / "position").write_text(f"{uuid}:{seqno}")
    return {"uuid": uuid, "seqno": int(seqno), "seconds": seconds}


def start(address: str, join: str, epoch: str) -> object:
    """Start the server, detached, and wait until it is Synced."""
    position = (HOME / "position").read_text()
    if join == "gcomm://":
        state = DATA / "grastate.dat"
        state.write_text(re.sub(r"safe_to_bootstrap: 0", "safe_to_bootstrap: 1", state.read_text()))
    command = server(
        f"--wsrep_start_position={position}",
        f"--wsrep_cluster_address={join}",
        f"--wsrep_node_address={address}",
        f"--wsrep_node_name=stage-{address}",
        "--wsrep_cluster_name=galera-fault-stage",
    )
    time.sleep(max(0.0, float(epoch) - time.time()))
    begin = time.monotonic()
    with LOG.open("w") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    while (state_now := asked()) != "Synced":
        if process.poll() is not None or time.monotonic() - begin > PATIENCE_SECONDS:
            raise StageError(f"the server is {state_now or 'silent'}; its log ends with: {LOG.read_text()[-1500:]}")
        time.sleep(0.1)
    return {"seconds": time.monotonic() - begin}


def asked() -> str:
    """The state of the server, empty while it does not answer."""
    command = ["mariadb", "-N", "-B", "-u", "mysql", f"--socket={SOCKET}"]
    command += ["-e", "SHOW STATUS LIKE 'wsrep_local_state_comment'"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, user="mysql")
    return done.stdout.strip().rpartition("\t")[2]


def end() -> object:
    """Leave nothing behind."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"--datadir={DATA}".encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue
    shutil.rmtree(HOME, ignore_errors=True)
    return {}


COMMANDS: dict[str, Callable[..., object]] = {"copy": copy, "recover": recover, "start": start, "end": end}

if __name__ == "__main__":
    try:
        print(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])))
    except (StageError, OSError, KeyError, subprocess.SubprocessError) as problem:
        sys.exit(f"{problem}")
