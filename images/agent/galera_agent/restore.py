# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore a backup into an empty volume, from which a seed starts a new cluster.

Everything that can be known before is checked before the first byte is written. The data directory appears by one
rename, with a marker in it: a killed run leaves nothing that looks like data, and the next one begins again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import chain, datadir, offline, place, sql
from .backup import settings as backup_settings
from .backup import streams
from .backup.pipe import StreamError
from .backup.recovery import Target, TargetError, parse_target
from .backup.store import OWNER, StoreError
from .backup.stream import NO_ROOM, CorruptError
from .chain import Refused
from .settings import SettingsError
from .sources import Directories, Source, beside

MARKER = "galera_restored.json"
_WORK = "galera-restore-"
# Galera writes them when a server starts; a restore removes those of its own steps
_STARTED = ("grastate.dat", "gvwstate.dat", "galera.cache")
_OURS = ("root", "mysql", "xtrabackup", "mariadb.sys")


@dataclass(frozen=True)
class Plan:
    """What is wanted and where things are.

    target_point: where to stop after the last backup, None at its end. fallback: an older backup may stand for one that
    is missing or damaged. identity: of this restore, the same when it is run again; empty by hand. settings: of the
    backups' targets; without that file the store is a mounted volume.
    """

    backup: str = chain.LATEST
    increment: str = chain.LATEST
    target_point: Target | None = None
    fallback: bool = False
    settings: Path = backup_settings.FILE
    keys: Path = backup_settings.SECRETS
    store: Path = Path("/backups")
    temp: Path = Path("/temp")
    target: Path = Path("/target")
    secrets: Path = Path("/etc/galera/secret")
    database: str = ""
    user: str = ""
    identity: str = ""

    @property
    def data(self) -> Path:
        """The data directory that is made."""
        return self.target / "data"

    @property
    def fresh(self) -> Path:
        """The same before it is finished."""
        return self.target / "data.restore"


def command(env: Mapping[str, str], log: Callable[[str], None]) -> int:
    """Restore as the environment says. Returns 0, 2 where trying again changes nothing, 1 for any other failure."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        log(restore(plan_of(env), log, offline.tool_version()))
    except (Refused, TargetError, SettingsError, sql.SecretError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    except (offline.StepError, StreamError, StoreError, OSError) as error:
        print(f"failed: {error}", file=sys.stderr)
        # Without room the next try would end in the same way, after as many hours
        return 2 if NO_ROOM.search(str(error)) else 1
    return 0


def plan_of(env: Mapping[str, str]) -> Plan:
    """Read the environment. Raises TargetError, Refused."""
    fallback = env.get("SOURCE_FALLBACK") or "false"
    if fallback not in ("true", "false"):
        raise Refused(f"SOURCE_FALLBACK is '{fallback}'; allowed: true, false")
    return Plan(
        backup=env.get("SOURCE_BACKUP") or chain.LATEST,
        increment=env.get("SOURCE_INCREMENT") or chain.LATEST,
        target_point=parse_target(
            env.get("SOURCE_TIME", ""), env.get("SOURCE_GTID", ""), env.get("SOURCE_BEFORE_GTID", "")
        ),
        fallback=fallback == "true",
        database=env.get("GALERA_MYSQL_DATABASE", ""),
        user=env.get("GALERA_MYSQL_USER", ""),
        identity=env.get("RESTORE_IDENTITY", ""),
    )


def sources(plan: Plan, log: Callable[[str], None]) -> Iterator[Source]:
    """What may be restored, the best first. The first one counts unless it turns out to be damaged."""
    if plan.settings.exists() or (plan.store / OWNER).exists():
        yield from streams.sources(plan, log)
        return
    if plan.target_point is not None:
        raise Refused(f"{plan.store} holds no archive of binary logs; a time or a GTID cannot be restored from it")
    store = chain.read_store(plan.store)
    try:
        chosen = chain.choose(store, plan.backup, plan.increment)
    except Refused as error:
        if not plan.fallback:
            raise
        try:
            chosen = chain.choose(chain.sound(store), plan.backup, plan.increment)
        except Refused:
            raise error from None
        log(f"falls back: {error}")
    yield Directories(chosen, log)


def restore(
    plan: Plan,
    log: Callable[[str], None],
    version: str,
    tools: Callable[[Path, Callable[[str], None]], offline.Tools] = offline.Tools,
) -> str:
    """Restore; returns the sentence that says what was done.

    Raises Refused or SecretError before anything was written, StepError or OSError where a step failed.
    """
    candidates = sources(plan, log)
    source = next(candidates)
    with place.locked(plan.target):
        while True:
            try:
                return _restore(plan, source, log, version, tools)
            except CorruptError as error:
                try:
                    another = next(candidates, None)
                except (Refused, StoreError) as none:
                    raise type(none)(f"{error}; {none}") from None
                if another is None:
                    raise
                log(f"{error}; falls back to {_titles(another)}, of {another.until}")
                source = another


def _restore(
    plan: Plan,
    source: Source,
    log: Callable[[str], None],
    version: str,
    tools: Callable[[Path, Callable[[str], None]], offline.Tools],
) -> str:
    if (done := _finished(plan, source, log)) is not None:
        return done
    source.check(version)
    statements = account_sql(plan)
    _clean(plan)
    if (plan.data / MARKER).exists():
        plan.data.rename(plan.fresh)
        _remove_unfinished(plan)
    _require_space(plan, source)
    log(f"restores {_titles(source)}: backed up until {source.until}")
    work = Path(tempfile.mkdtemp(prefix=_WORK, dir=plan.temp))
    try:
        # Sockets and logs not on the temporary volume: that may be a network file system.
        with place.locked(work, "lock"), tempfile.TemporaryDirectory() as scratch:
            uuid = _build(plan, source, work, statements, tools(Path(scratch), log), log)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        _remove_unfinished(plan)
    warning = f"; WARNING: {source.warning}" if source.warning else ""
    return f"restored {_titles(source)} into {plan.data}, as the new cluster {uuid}: the seed can start{warning}"


def account_sql(plan: Plan) -> str:
    """The statements that give our accounts the rights and the inventory's passwords; others stay as they are.

    Raises SecretError where the Secret is mounted and a password that is needed is not in it.
    """
    lines = [
        "SET SESSION sql_mode='';",
        "FLUSH PRIVILEGES;",
        "CREATE OR REPLACE USER mysql@localhost IDENTIFIED VIA unix_socket;",
        f"GRANT {sql.SST_GRANTS} ON *.* TO mysql@localhost;",
    ]
    if plan.secrets.is_dir():
        root = _password(plan, "root-password")
        for account in ("root@'localhost'", "root@'%'"):
            lines += _account(account, root, "ALL PRIVILEGES ON *.*", " WITH GRANT OPTION")
        # Older servers have made these; for who comes from there they count before root@'%'
        lines += [_unlock(account, root, " IF EXISTS") for account in ("root@'127.0.0.1'", "root@'::1'")]
        if sql.read_secret(plan.secrets, "xtrabackup-password"):
            backup = _password(plan, "xtrabackup-password")
            lines += _account("xtrabackup@'localhost'", backup, f"{sql.BACKUP_GRANTS} ON *.*")
        if plan.database:
            lines.append(f"CREATE DATABASE IF NOT EXISTS {sql.identifier(plan.database)};")
        if plan.user in _OURS:
            raise sql.SecretError(f"GALERA_MYSQL_USER is '{plan.user}'; allowed: any name but {', '.join(_OURS)}")
        if plan.user:
            grant = f"ALL PRIVILEGES ON {sql.grant_pattern(plan.database)}.*" if plan.database else ""
            lines += _account(f"{sql.string(plan.user)}@'%'", _password(plan, "user-password"), grant)
    return "\n".join([*lines, "FLUSH PRIVILEGES;"]) + "\n"


def _account(account: str, password: str, grant: str, option: str = "") -> list[str]:
    lines = [f"CREATE USER IF NOT EXISTS {account};", _unlock(account, password)]
    return [*lines, f"GRANT {grant} TO {account}{option};"] if grant else lines


def _unlock(account: str, password: str, condition: str = "") -> str:
    hashed = sql.string(sql.password_hash(password))
    return f"ALTER USER{condition} {account} IDENTIFIED BY PASSWORD {hashed} ACCOUNT UNLOCK;"


def _password(plan: Plan, key: str) -> str:
    value = sql.read_secret(plan.secrets, key)
    if not value:
        what = "not there" if value is None else "empty"
        raise sql.SecretError(f"the Secret's key {key} is {what}; allowed: a password")
    return value


def _build(
    plan: Plan,
    source: Source,
    work: Path,
    statements: str,
    tools: offline.Tools,
    log: Callable[[str], None],
) -> str:
    """All steps from the copy to the rename; returns the uuid of the new cluster."""
    layout = source.build(plan.fresh, work, tools)
    for name, value in layout.items():
        log(f"the seed starts only with {name}={value}, as in the backup: set it in galera_cluster_mycnf")
    if datadir.inspect(plan.fresh) != "present":
        raise offline.StepError(f"{plan.fresh} holds no whole data directory after it was moved there")
    options = [f"--{name}={value}" for name, value in layout.items()]
    if source.replay(plan.fresh, options, tools):
        statements = offline.RIGHTS_BACK + statements
    if events := tools.settle(plan.fresh, options, statements):
        log(f"enabled {len(events)} events that the backup's node left to another one: {_some(events)}")
    uuid = tools.new_cluster(plan.fresh, options)
    place.strip(plan.fresh)
    _write_marker(plan, source, uuid)
    place.sync(plan.fresh)
    plan.fresh.rename(plan.data)
    place.sync(plan.target)
    return uuid


def _finished(plan: Plan, source: Source, log: Callable[[str], None]) -> str | None:
    """The sentence to end with where this very restore is in place; None where there is room for it, else Refused.

    What another restore of the playbook has left, and no server was started from, is no hindrance: the same is taken as
    it is, anything else may be removed.
    """
    try:
        names = sorted(os.listdir(plan.data))
    except FileNotFoundError:
        return None
    if not names:
        return None
    try:
        marker = json.loads((plan.data / MARKER).read_text(encoding="utf-8"))
        same = marker["backups"] == source.identity
        there = " + ".join(str(name) for name, _ in marker["backups"])
        theirs = str(marker.get("restore") or "")
    except (OSError, ValueError, KeyError, TypeError):
        raise Refused(f"{plan.data} is not empty, it holds {_some(names)}; nothing was changed") from None
    done = f"was restored already, at {marker.get('time')}, as the new cluster {marker.get('cluster')}"
    if plan.identity and theirs == plan.identity and not same:
        # The newest of then: what was archived while the run was away would make it another restore each time
        now = f"{_titles(source)}, which is the choice of now, is not it"
        return f"{there} {done}, by this restore; {now}; nothing was changed"
    # By hand nobody tells whether it is the same restore, run again
    another = plan.identity not in ("", theirs)
    used = another and _was_started(plan.data)
    if same and not used:
        return f"{_titles(source)} {done}; nothing was changed"
    if another and theirs and not used:
        log(f"replaces the restored {there}, which another restore left and no server was started from")
        return None
    # What a server has written since is in no backup, and would pass for what was restored
    found = "from which a server was started since" if same else f"not {_titles(source)}"
    raise Refused(
        f"{plan.data} is not empty, it holds the restored {there}, {found}; run the restore again "
        "with the variables that it was begun with, or delete the claim of this volume (of the seed, "
        "<name>-galera-seed-volume-claim) to restore anew; where its data stay without the claim, wipe it as well; "
        "nothing was changed"
    )


def _was_started(data: Path) -> bool:
    return any((data / name).exists() for name in _STARTED) or datadir.locked_file(data) is not None


def _write_marker(plan: Plan, source: Source, uuid: str) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    marker = {"backups": source.identity, "cluster": uuid, "time": now, "restore": plan.identity}
    (plan.fresh / MARKER).write_text(json.dumps(marker) + "\n", encoding="utf-8")


def _clean(plan: Plan) -> None:
    """Remove what killed runs left; the work of a run that is still going on has its lock held."""
    _remove_unfinished(plan)
    for path in (one for one in plan.temp.glob(f"{_WORK}*") if one.is_dir()):
        try:
            with place.locked(path, "lock"):
                shutil.rmtree(path)
        except Refused:
            continue


def _remove_unfinished(plan: Plan) -> None:
    for path in (plan.fresh, beside(plan.fresh)):
        shutil.rmtree(path, ignore_errors=True)


def _require_space(plan: Plan, source: Source) -> None:
    needs = dict(zip((plan.temp, plan.target), source.space(), strict=True))
    if plan.temp.stat().st_dev == plan.target.stat().st_dev:
        both = needs[plan.temp] + needs[plan.target]
        needs = dict.fromkeys(needs, both)
    for directory, need in needs.items():
        place.require_space(directory, need)


def _titles(source: Source) -> str:
    return " + ".join(name for name, _ in source.identity)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
