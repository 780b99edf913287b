# SPDX-License-Identifier: GPL-3.0-or-later
"""`python3 -m galera_agent run`: the agent of one MariaDB Galera pod."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import __version__, aside, door, kube, purge, web, wsrep
from .backup import service
from .control import Control
from .events import Events
from .facts import Facts
from .lease import BootstrapLease
from .record import Recorder
from .settings import Settings, SettingsError, from_env
from .state import State, socket_present

# What the kubelet puts into the status of the pod
TERMINATION_MESSAGE = Path("/dev/termination-log")
_SCRIPTS = ("start.sh", "drain.sh", "sst_env.sh")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="galera_agent", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("run", help="serve health and status, and decide how the server starts")
    wipe = commands.add_parser("purge", help="wipe a volume that no server uses")
    wipe.add_argument("volume", type=Path, help="where the volume is mounted")
    keep = commands.add_parser("aside", help="keep the data of a volume beside their place, for a restore")
    keep.add_argument("volume", type=Path, help="where the volume is mounted")
    keep.add_argument("identity", help="of the restore")
    keep.add_argument("--check", action="store_true", help="only look whether there is room")
    back = commands.add_parser("undo", help="bring back what a restore set aside, and keep the restored data")
    back.add_argument("volume", type=Path, help="where the volume is mounted")
    back.add_argument("identity", help="of the restore")
    back.add_argument("--check", action="store_true", help="only look whether there is anything to bring back")
    drop = commands.add_parser("release", help="delete what was set aside")
    drop.add_argument("volume", type=Path, help="where the volume is mounted")
    commands.add_parser("restore", help="restore a backup into an empty volume")
    words = list(sys.argv[1:] if argv is None else argv)
    backup = commands.add_parser("backup", help="take, archive, list, verify backups")
    if words[:1] == ["backup"]:
        # Imported only where they are used: the agent itself stays small.
        from .backup import commands as backup_commands

        backup_commands.add_arguments(backup)
        return backup_commands.command(parser.parse_args(words), os.environ)
    arguments = parser.parse_args(words)
    if arguments.command == "purge":
        return purge_volume(arguments.volume)
    if arguments.command == "aside":
        return report(lambda: aside.set_aside(arguments.volume, arguments.identity, check=arguments.check))
    if arguments.command == "undo":
        return report(lambda: aside.undo(arguments.volume, arguments.identity, check=arguments.check))
    if arguments.command == "release":
        return report(lambda: aside.release(arguments.volume))
    if arguments.command == "restore":
        from . import restore

        return restore.command(os.environ, log)
    try:
        settings = from_env(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    return run(settings)


def run(settings: Settings) -> int:
    """Run until SIGTERM; returns the exit code."""
    # Small stacks and no per-thread heaps: dozens of short threads must not cost memory.
    threading.stack_size(256 * 1024)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    state = State(log)
    start_polling(settings, state, stop)
    host = "::" if ":" in settings.pod_ip else ""
    backups = service.start(settings, state, stop, log) if settings.role == "node" else None
    http = web.Server((host, settings.http_port), state, settings.pod, settings.role, backups, settings.namespace)
    threading.Thread(target=http.serve_forever, name="http", daemon=True).start()
    control = make_control(settings, state)
    install_scripts(settings.rundir)
    door.listen(settings.rundir / "agent.sock", control.handle)
    log(f"agent {__version__} of {settings.pod} listens on port {settings.http_port}")
    control.run(stop)
    http.shutdown()
    log("stopped")
    return 0


def purge_volume(volume: Path, message: Path = TERMINATION_MESSAGE) -> int:
    """Wipe a volume; returns the exit code. What was deleted stands in the pod's status, for who started the Job."""
    try:
        names = purge.purge(volume)
    except (purge.InUseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    log(f"deleted from {volume}: {', '.join(names) or 'nothing, it was empty'}")
    if message.exists():
        message.write_text(", ".join(names)[:1024] or "nothing", encoding="utf-8")
    return 0


def report(work: Callable[[], str]) -> int:
    """Do the work on a volume and say what was done; returns the exit code, 2 where trying again changes nothing."""
    try:
        log(work())
    except (purge.InUseError, aside.NoRoomError, aside.TwiceError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


def make_control(settings: Settings, state: State) -> Control:
    """Put the parts together."""
    api = kube.in_cluster(settings.namespace)
    lease = BootstrapLease(api, settings.lease, settings.pod)
    recorder = Recorder(api, settings.state_map, settings.pod)
    events = Events(api, settings.namespace, settings.pod)
    return Control(settings, state, Facts(settings, api, lease), lease, recorder, events, log)


def start_polling(settings: Settings, state: State, stop: threading.Event) -> None:
    """Poll the server in a thread."""
    server = wsrep.Server(settings.socket)

    def heard(status: wsrep.Status | None, problem: str, turned_away: wsrep.TurnedAway) -> None:
        if turned_away:
            state.turned_away(problem, full=turned_away == "full")
        else:
            state.heard(status, server.version, problem, socket_present(settings.socket, problem))

    wsrep.Poller(server, heard, stop).start()


def install_scripts(rundir: Path) -> None:
    """Put the scripts where the database container finds them; a running one keeps the file that it reads."""
    for name in _SCRIPTS:
        fresh = rundir / f"{name}.new"
        shutil.copyfile(Path(__file__).with_name(name), fresh)
        fresh.chmod(0o644)
        fresh.replace(rundir / name)


def log(text: str) -> None:
    """One line to standard output, which is the container's log."""
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
