# SPDX-License-Identifier: GPL-3.0-or-later
"""MariaDB's own programs at work on a data directory that no cluster uses yet."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pymysql

from . import datadir, mycnf, sql
from .datadir import Evidence
from .wsrep import Server

BEAT_SECONDS = 5.0
# Where the Job has the my.cnf of the cluster's nodes
MYCNF = Path("/etc/galera/config/galera.cnf")
_POLL_SECONDS = 0.2
_PROVIDERS = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so")
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
# Without these a server does not find its files; a seed needs the same ones in its my.cnf.
_LAYOUT = ("innodb_page_size", "innodb_data_file_path")
_USUAL = {"innodb_page_size": "16384", "innodb_data_file_path": "ibdata1:12M:autoextend"}
_ANY_PASSWORD = (
    "--loose-strict-password-validation=OFF",
    "--loose-simple-password-check=OFF",
    "--loose-cracklib-password-check=OFF",
    "--loose-password-reuse-check=OFF",
)
_ZERO_POSITION = "00000000-0000-0000-0000-000000000000:-1"
# A role that has every other one, so that who replays can grant them all: the log does not say who could.
_HELPER = "galera replay"
# CREATE ROLE makes who replays it the admin of the role; that is root instead.
_ROOT_IS_ADMIN = f"""INSERT INTO mysql.roles_mapping (Host, User, Role, Admin_option)
 SELECT root.Host, root.User, made.Role, 'Y' FROM mysql.roles_mapping AS made, mysql.global_priv AS root
 WHERE made.Host = 'localhost' AND made.User = 'mysql' AND made.Admin_option = 'Y' AND made.Role <> '{_HELPER}'
 AND root.User = 'root' AND NOT COALESCE(JSON_VALUE(root.Priv, '$.is_role'), 0)
 ON DUPLICATE KEY UPDATE Admin_option = 'Y';
DELETE FROM mysql.roles_mapping
 WHERE Host = 'localhost' AND User = 'mysql' AND Admin_option = 'Y' AND Role <> '{_HELPER}';
"""
# What is run after a CREATE ROLE of a replay
AFTER_ROLE = f"""{_ROOT_IS_ADMIN}INSERT IGNORE INTO mysql.roles_mapping (Host, User, Role, Admin_option)
 SELECT '', '{_HELPER}', User, 'Y' FROM mysql.global_priv
 WHERE JSON_VALUE(Priv, '$.is_role') AND User <> '{_HELPER}';
FLUSH PRIVILEGES;
"""
# What replaying needs of the account that comes through the socket; the accounts are set anew after it.
_FULL_RIGHTS = f"""SET SESSION sql_mode='';
FLUSH PRIVILEGES;
CREATE OR REPLACE USER mysql@localhost IDENTIFIED VIA unix_socket;
GRANT ALL PRIVILEGES ON *.* TO mysql@localhost WITH GRANT OPTION;
INSERT IGNORE INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, With_grant, Grantor)
 VALUES ('localhost', 'mysql', '', '', 1, '');
CREATE OR REPLACE ROLE `{_HELPER}` WITH ADMIN mysql@localhost;
{AFTER_ROLE}"""
# What takes that back, but for the account itself, which is made anew behind it
RIGHTS_BACK = f"""SET SESSION sql_mode='';
{_ROOT_IS_ADMIN}FLUSH PRIVILEGES;
DROP ROLE IF EXISTS `{_HELPER}`;
"""
# Of a cluster's nodes only the one on which an event was made has it enabled. `created` would change by itself.
_EVENTS = """SET SESSION sql_mode='';
SELECT CONCAT(db, '.', name) FROM mysql.event WHERE status = 'SLAVESIDE_DISABLED' ORDER BY db, name INTO OUTFILE {};
UPDATE mysql.event SET status = 'ENABLED', created = created WHERE status = 'SLAVESIDE_DISABLED';
"""


class StepError(Exception):
    """A program failed; the text says which and its last words."""


class Tools:
    """The steps of a restore that programs do.

    scratch: a directory for their logs, sockets and temporary files. cnf: of the nodes, need not be there; None where
    nothing is replayed.
    """

    def __init__(self, scratch: Path, say: Callable[[str], None], cnf: Path | None = MYCNF) -> None:
        self._scratch, self._say, self._cnf = scratch, say, cnf

    def prepare(self, full: Path, increment: Path | None, name: str) -> None:
        """Bring a copied full backup to one point in time, with an increment to the point of that."""
        extra = [] if increment is None else [f"--incremental-dir={increment}"]
        memory = f"--use-memory={_memory()}"
        step = f"prepares {name}" if increment is None else f"applies {name}"
        self._backup(["--prepare", f"--target-dir={full}", memory, *extra], step, lambda: "")

    def move(self, full: Path, target: Path) -> None:
        """Move the prepared files into a data directory."""

        def moved() -> str:
            return f", {size(target) / 2**20:.0f} MiB so far"

        self._backup(["--move-back", f"--target-dir={full}", f"--datadir={target}"], f"moves to {target.parent}", moved)

    def run_sql(self, data: Path, layout: Sequence[str], statements: str, step: str = "prepares the accounts") -> None:
        """Run SQL on a data directory without a server that anybody could reach; ends at the first error."""
        arguments = ["mariadbd", *self._offline(data, layout), "--bootstrap", "--wsrep-on=OFF"]
        # The texts of a password policy apply to who sets a password, not to hashes of those that are in use.
        arguments.append(_ANY_PASSWORD[0])
        self._run(arguments, step, lambda: "", statements)

    def settle(self, data: Path, layout: Sequence[str], statements: str) -> list[str]:
        """As run_sql, and enable the events that are left to another server to run; returns their names.

        In one start of a server, which takes seconds. Raises StepError, OSError.
        """
        names = self._scratch / "events"
        statements = _EVENTS.format(sql.string(str(names))) + statements
        self.run_sql(data, layout, statements, "enables events and sets the accounts")
        found = names.read_text(encoding="utf-8", errors="replace").splitlines()
        names.unlink()
        return found

    def new_cluster(self, data: Path, layout: Sequence[str]) -> str:
        """Start the data as a cluster of its own for a moment, so that it gets a uuid of its own; returns that.

        With the uuid that it has, a forgotten volume of the old cluster would join as one that is just a bit behind.
        """
        socket = self._scratch / "server.sock"
        log = self._scratch / "server.log"
        arguments = [
            "mariadbd",
            *self._offline(data, layout),
            f"--socket={socket}",
            "--wsrep-on=ON",
            f"--wsrep-provider={_provider()}",
            "--wsrep-cluster-name=restore",
            "--wsrep-cluster-address=gcomm://",
            "--wsrep-new-cluster",
            f"--wsrep-start-position={_ZERO_POSITION}",
            "--wsrep-node-address=127.0.0.1",
            "--wsrep-sst-method=skip",
            f"--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:4567;gcache.dir={self._scratch};"
            "gcache.size=16M;pc.recovery=no",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            # With Galera a server that loads events disables those which were made with another server_id than its own.
            "--event-scheduler=DISABLED",
        ]
        with log.open("wb") as out:
            process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self._scratch)
        try:
            uuid = self._first_view(process, Server(socket), log)
            self._await(process, "stops the server", lambda: "")
        finally:
            _end(process)
        if process.returncode:
            raise StepError(_words("mariadbd", process.returncode, log))
        return uuid

    def position(self, data: Path) -> tuple[Evidence, str]:
        """What InnoDB says of the data's place in the cluster's history: the evidence, and the GTID that goes with it.

        The GTID is empty where the server has none. Raises StepError.
        """
        arguments = [
            "mariadbd",
            *self._offline(data, []),
            f"--socket={self._scratch}/server.sock",
            "--wsrep-on=ON",
            f"--wsrep-provider={_provider()}",
            "--wsrep-cluster-address=gcomm://",
            "--wsrep-gtid-mode=ON",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            "--wsrep-recover",
        ]
        words = self._run(arguments, "recovers the position", lambda: "")
        return datadir.after_recovery(words, 0, datadir.Grastate(None, None, False)), datadir.recovered_gtid(words)

    @contextmanager
    def serving(self, data: Path, layout: Sequence[str]) -> Iterator[Path]:
        """Run the data as a server without Galera and network for the time of a block; gives its socket.

        It has those options of the nodes that change what statements do. The account mysql@localhost, which it lets in,
        has all rights from here on, until RIGHTS_BACK was run. Raises StepError, OSError.
        """
        self.run_sql(data, layout, _FULL_RIGHTS)
        socket, log = self._scratch / "server.sock", self._scratch / "server.log"
        file, names = self._scratch / "server.cnf", self._take_options()
        _, *offline = self._offline(data, layout)
        arguments = ["mariadbd", f"--defaults-file={file}", *offline, f"--socket={socket}", "--wsrep-on=OFF"]
        # A crash loses nothing here: what is not finished is made again from its beginning.
        arguments += ["--innodb-flush-log-at-trx-commit=0", "--max-allowed-packet=1G"]
        arguments.append(f"--innodb-buffer-pool-size={_memory()}")
        # A binary log does not say that a session had these, without which a statement of it may be refused; passwords
        # were judged on the node, by what its plugins were told there.
        arguments += ["--innodb-strict-mode=OFF", "--system-versioning-alter-history=KEEP", *_ANY_PASSWORD]
        with log.open("wb") as out:
            process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self._scratch)
        server = Server(socket)
        try:
            try:
                self._answer(process, server, log)
            except StepError as error:
                of_nodes = f"; from {self._cnf} it has {', '.join(names)}" if names else ""
                raise StepError(f"the server for the replay does not start: {error}{of_nodes}") from None
            yield socket
            server.close()
            _shut_down(process, server)
            self._await(process, "stops the server", lambda: "")
        finally:
            server.close()
            _end(process)
        if process.returncode:
            raise StepError(_words("mariadbd", process.returncode, log))

    def _take_options(self) -> list[str]:
        """Write the option file of a server that replays; returns the names of the nodes' options in it."""
        text = ""
        if self._cnf is not None:
            with suppress(FileNotFoundError):
                text = self._cnf.read_text(encoding="utf-8", errors="surrogateescape")
        text, names = mycnf.for_replay(text)
        (self._scratch / "server.cnf").write_text(text, encoding="utf-8", errors="surrogateescape")
        if names:
            self._say(f"takes from {self._cnf}: {', '.join(names)}")
        return names

    def _answer(self, process: subprocess.Popen[bytes], server: Server, log: Path) -> None:
        while process.poll() is None:
            try:
                server.poll()
                return
            except (OSError, ValueError, pymysql.MySQLError):
                server.close()
            time.sleep(_POLL_SECONDS)
        raise StepError(_words("mariadbd", process.returncode, log))

    def _first_view(self, process: subprocess.Popen[bytes], server: Server, log: Path) -> str:
        """Wait until the server is the primary component of its own, then stop it in order."""
        began = beat = time.monotonic()
        while process.poll() is None:
            try:
                status = server.poll()
                if status.serves:
                    server.shut_down()
                    return status.cluster_state_uuid
            except (OSError, ValueError, pymysql.MySQLError):
                server.close()
            if time.monotonic() - beat >= BEAT_SECONDS:
                beat = time.monotonic()
                self._say(f"starts the data as a cluster of its own: {beat - began:.0f} s")
            time.sleep(_POLL_SECONDS)
        raise StepError(_words("mariadbd", process.returncode, log))

    def _offline(self, data: Path, layout: Sequence[str]) -> list[str]:
        return [
            "--no-defaults",
            f"--datadir={data}",
            f"--tmpdir={self._scratch}",
            f"--pid-file={self._scratch}/server.pid",
            "--skip-networking",
            "--skip-log-bin",
            "--skip-log-error",
            "--skip-slave-start",
            "--event-scheduler=OFF",
            *layout,
        ]

    def _backup(self, arguments: list[str], step: str, more: Callable[[], str]) -> None:
        command = ["mariadb-backup", "--no-defaults", f"--tmpdir={self._scratch}", *arguments]
        words = self._run(command, step, more)
        if "completed OK!" not in words[-1000:]:
            raise StepError(f"mariadb-backup {arguments[0]} did not complete: {datadir.last_words(words)}")

    def _run(self, arguments: list[str], step: str, more: Callable[[], str], text: str = "") -> str:
        """Run a program to its end and return the end of what it printed; raises StepError where it fails."""
        log = self._scratch / "step.log"
        self._say(step)
        with log.open("wb") as out:
            process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=out, stderr=out, cwd=self._scratch)
        try:
            _feed(process, text)
            self._await(process, step, more)
        finally:
            _end(process)
        if process.returncode:
            raise StepError(_words(" ".join(arguments[:1]), process.returncode, log))
        return _tail(log)

    def _await(self, process: subprocess.Popen[bytes], step: str, more: Callable[[], str]) -> None:
        began = time.monotonic()
        while True:
            try:
                process.wait(BEAT_SECONDS)
            except subprocess.TimeoutExpired:
                self._say(f"{step}: {time.monotonic() - began:.0f} s{more()}")
            else:
                return


def _shut_down(process: subprocess.Popen[bytes], server: Server) -> None:
    """Tell a server to stop; one that has died meanwhile is found by its exit code. Raises StepError."""
    try:
        server.shut_down()
    except (OSError, ValueError, pymysql.MySQLError) as error:
        try:
            process.wait(BEAT_SECONDS)
        except subprocess.TimeoutExpired:
            raise StepError(f"mariadbd cannot be told to stop: {error}") from None


def tool_version() -> str:
    """What `mariadb-backup --version` prints."""
    done = subprocess.run(["mariadb-backup", "--version"], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def read_layout(backup: Path) -> dict[str, str]:
    """How the backup's server laid out its files, where that is not the usual way: option and value."""
    try:
        text = (backup / "backup-my.cnf").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    found = dict(re.findall(r"^(\w+)=(.*?)[ \t]*$", text, re.MULTILINE))
    return {name: found[name] for name in _LAYOUT if name in found and found[name] != _USUAL[name]}


def size(path: Path, without: Sequence[Path] = ()) -> int:
    """Bytes of the files in a directory, also while it changes; without: directories in it that do not count."""
    total = 0
    for place, directories, names in os.walk(path):
        directories[:] = [name for name in directories if Path(place, name) not in without]
        for name in names:
            try:
                total += Path(place, name).lstat().st_size
            except FileNotFoundError:
                continue
    return total


def _provider() -> str:
    found = next((path for path in _PROVIDERS if Path(path).exists()), None)
    if found is None:
        raise StepError(f"this image has no Galera provider; looked for {', '.join(_PROVIDERS)}")
    return found


def _memory() -> int:
    """Bytes for the buffer pool of a prepare: a third of what the container may use, 128 MiB to 8 GiB."""
    try:
        limit = int(_MEMORY_LIMIT.read_text())
    except (OSError, ValueError):
        return 512 * 2**20
    return max(128 * 2**20, min(limit // 3, 8 * 2**30))


def _feed(process: subprocess.Popen[bytes], text: str) -> None:
    if process.stdin is None:
        return
    try:
        process.stdin.write(text.encode())
        process.stdin.close()
    except BrokenPipeError:
        # It ended without reading; its exit code tells.
        return


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    return log.read_bytes()[-16384:].decode("utf-8", "replace")


def _words(program: str, code: int | None, log: Path) -> str:
    return f"{program} ended with {code}: {datadir.last_words(_tail(log))}"
