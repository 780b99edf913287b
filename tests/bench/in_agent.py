# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bench of backups does inside a container of the agent's image, to which it goes as standard input of Python.

usage: python3 - tick full|incremental | read | zstd | put KEY | hand gzip|zstd | get KEY | memory | bandwidth

tick: our backup. read, zstd: the data files through cat, and through zstd on one core, to nowhere. put: an object of
the bucket once more into it, by boto3's upload_file. hand: a pipe of mariadb-backup, gzip or zstd, and boto3's
upload_fileobj. get: an object to standard output. memory: the agent's own. bandwidth: what is set for backups. Each but
get prints one JSON object; seconds are those of the work alone. The S3 server and its keys are in boto3's environment
variables, the bucket in BUCKET.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What mariadb-backup copies: tablespaces and the files of the other storage engines, not logs and caches.
SUFFIXES = {".ibd", ".frm", ".MAD", ".MAI", ".MYD", ".MYI", ".CSV", ".CSM", ".opt"}
PREFIXES = ("ibdata", "undo", "aria_log")
PACKERS = {"gzip": ("gzip",), "zstd": ("zstd", "--quiet", "-1", "--single-thread", "--stdout")}


def data_files() -> list[str]:
    """The files of the data directory that are in a backup."""
    found = (path for path in Path(os.environ["GALERA_DATADIR"]).rglob("*") if path.is_file())
    return sorted(str(path) for path in found if path.suffix in SUFFIXES or path.name.startswith(PREFIXES))


def timed(work: Callable[[], Any]) -> float:
    """Seconds that the work takes."""
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def over_files(*program: str) -> dict[str, float]:
    """Give the data files to a program that prints to nowhere."""
    files = data_files()

    def work() -> None:
        subprocess.run([*program, *files], stdout=subprocess.DEVNULL, check=True)

    size = sum(os.path.getsize(path) for path in files)
    return {"seconds": timed(work), "bytes": size}


def tick(kind: str) -> dict[str, Any]:
    """One backup by the agent's own command, from the start of its process to its end."""
    from galera_agent.backup import settings
    from galera_agent.backup.manifest import Manifest, manifest_key
    from galera_agent.backup.store import open_stores

    command = [sys.executable, "-m", "galera_agent", "backup", "tick", "--kind", kind]
    begin = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    took = time.monotonic() - begin
    end = json.loads(done.stdout.splitlines()[-1])
    if done.returncode or end["state"] != "succeeded" or not end["backup"].endswith(kind):
        sys.exit(f"no {kind} backup was taken: {end['message']}")
    (store,) = open_stores(settings.load())
    manifest = Manifest.from_json(store.get(manifest_key(end["backup"])))
    return {"seconds": took, "name": manifest.name, "bytes": manifest.data_bytes, "stored": manifest.size}


def put(key: str) -> dict[str, float]:
    """The bytes of an object into the same bucket, from a file that was just written and so is in the page cache."""
    client, bucket, copy = s3(), os.environ["BUCKET"], "bench-copy"
    with tempfile.NamedTemporaryFile() as file:
        client.download_fileobj(bucket, key, file)
        file.flush()
        took = timed(lambda: client.upload_file(file.name, bucket, copy))
    client.delete_object(Bucket=bucket, Key=copy)
    return {"seconds": took}


def get(key: str) -> None:
    """An object to standard output."""
    body = s3().get_object(Bucket=os.environ["BUCKET"], Key=key)["Body"]
    shutil.copyfileobj(body, sys.stdout.buffer, 1 << 20)


def s3() -> Any:
    """boto3 as it comes."""
    import boto3

    return boto3.client("s3")


def hand(packer: str) -> dict[str, float]:
    """A full backup as one would type it: mariadb-backup | gzip or zstd | upload; the object is removed."""
    from galera_agent.backup import programs
    from galera_agent.settings import from_env

    agent, bucket, copy = from_env(os.environ), os.environ["BUCKET"], "bench-hand"
    upload = f"import boto3, sys; boto3.client('s3').upload_fileobj(sys.stdin.buffer, '{bucket}', '{copy}')"
    with tempfile.TemporaryDirectory() as scratch:
        source = programs.mariadb_backup(agent.socket, agent.datadir, Path(scratch), None).argv
        stages = [shlex.join(words) for words in (source, PACKERS[packer], (sys.executable, "-c", upload))]
        command = ["bash", "-o", "pipefail", "-c", " 2>/dev/null | ".join(stages)]
        took = timed(lambda: subprocess.run(command, check=True))
    s3().delete_object(Bucket=bucket, Key=copy)
    return {"seconds": took}


def memory() -> dict[str, float]:
    """MiB of resident memory of the agent and all its children."""
    found = [path for path in Path("/proc").glob("[0-9]*") if int(path.name) != os.getpid()]
    lines = [line for path in found for line in (path / "status").read_text().splitlines() if line.startswith("VmRSS")]
    return {"mib": sum(int(line.split()[1]) for line in lines) / 1024, "processes": len(lines)}


def bandwidth() -> dict[str, int | None]:
    """Bytes a second that a backup may take, None where that is not set."""
    from galera_agent.backup import settings

    return {"bytes": settings.load().bandwidth_bytes}


COMMANDS: dict[str, Callable[..., dict[str, Any] | None]] = {
    "tick": tick,
    "read": lambda: over_files("cat"),
    "zstd": lambda: over_files(*PACKERS["zstd"]),
    "put": put,
    "hand": hand,
    "get": get,
    "memory": memory,
    "bandwidth": bandwidth,
}

answer = COMMANDS[sys.argv[1]](*sys.argv[2:])
if answer is not None:
    print(json.dumps(answer))
