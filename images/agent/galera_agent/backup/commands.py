# SPDX-License-Identifier: GPL-3.0-or-later
"""`python3 -m galera_agent backup ...`: what the agent's child processes do, and people by hand.

Each command prints one JSON object for a line: `{"type": "begin", ...}` when work begins, perhaps some of `{"type":
"progress", ...}`, `{"type": "end", "state": "succeeded" | "failed" | "nothing", ...}` at its end. What it says
meanwhile goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import settings as agent_settings
from ..chain import Refused
from ..offline import StepError, tool_version
from ..peers import Peers
from ..settings import SettingsError
from . import (
    base,
    binlog,
    catalog,
    fill,
    plan,
    removal,
    retention,
    runner,
    server,
    settings,
    streams,
    summary,
    targets,
    verify,
)
from .binlog_events import BinlogError
from .catalog import Catalog, ChainError, Owner, OwnerError, PastError
from .document import to_time
from .pipe import Limit, StreamError
from .segment import SegmentError
from .settings import KEEP_ALL, Retention, Settings
from .store import Store, StoreError, open_stores
from .terms import Terms

_KNOWN = (
    SettingsError,
    StoreError,
    StreamError,
    server.ServerError,
    runner.BackupError,
    binlog.ArchiveError,
    BinlogError,
    ChainError,
    SegmentError,
    Refused,
    StepError,
    verify.NoVerdictError,
    OSError,
)
Report = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line below `backup`."""
    commands = parser.add_subparsers(dest="backup_command", required=True, metavar="command")
    tick = commands.add_parser("tick", help="take the backup that is due, if one is, and let old ones expire")
    tick.add_argument("--kind", choices=("auto", "full", "incremental"), help="take one now, whatever is due")
    tick.add_argument("--failures", type=int, default=0, help="how many backups in a row failed")
    tick.add_argument("--failed-at", type=float, default=None, help="when the last one ended, in seconds since 1970")
    tick.add_argument("--failed-in", action="append", default=[], help="a target that did not get that backup")
    carry = commands.add_parser("archive", help="close the binary log and archive what the targets lack")
    for one in (tick, carry):
        one.add_argument("--silent", action="append", default=[], help="a target that another process still waits for")
    commands.add_parser("list", help="print what the targets hold, and what can be restored")
    commands.add_parser("expire", help="print what would expire; deletes nothing")
    adopt = commands.add_parser("adopt", help="go on with the targets as another Galera cluster of the same name")
    adopt.add_argument("--uuid", required=True, help="of the cluster that was restored")
    make = commands.add_parser("fill", help="make the data directory of a node that joins the running cluster by IST")
    make.add_argument("--uuid", required=True, help="of the running cluster")
    make.add_argument("--cached", required=True, type=int, help="the lowest seqno that a donor has in its gcache")
    make.add_argument("--vouched", action="append", default=[], help="a backup that the cluster's data continue")
    check = commands.add_parser("verify", help="restore a backup into a throw-away server and check its tables")
    check.add_argument("name", nargs="?", default="latest", help="a backup's name; latest by default")
    check.add_argument("--work", type=Path, default=Path("/temp"), help="an empty place with room for the data")


def command(arguments: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Run one command; returns the exit code: 0, or 1 where it failed."""
    # An orderly end, so that nothing half-done is left: the Lease may be lost, or the pod stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _step_back()
    work: dict[str, Callable[[argparse.Namespace, Mapping[str, str]], Report]] = {
        "tick": _tick,
        "archive": _archive,
        "list": _list,
        "expire": _expire,
        "adopt": _adopt,
        "fill": _fill,
        "verify": _verify,
    }
    try:
        report = work[arguments.backup_command](arguments, env)
    except _KNOWN as error:
        report = {"state": "failed", "message": str(error)}
    given_up = {"silent": sorted(targets.GIVEN_UP)} if targets.GIVEN_UP else {}
    _print({"type": "end", "command": arguments.backup_command, **given_up, **report})
    return 1 if report["state"] == "failed" else 0


def _tick(arguments: argparse.Namespace, env: Mapping[str, str]) -> Report:
    found = settings.load()
    agent = agent_settings.from_env(env)
    node = runner.Node(agent.pod, agent.socket, agent.datadir)
    stores = open_stores(found)
    asked, silent = _to_ask(stores, arguments.silent)
    catalogs, errors = targets.read(asked)
    errors |= silent
    if not catalogs:
        raise StoreError("; ".join(errors.values()))
    # Not before: a target that does not answer is waited for, and the node may leave the cluster meanwhile
    now = datetime.now(UTC)
    with server.connection(node.socket) as query:
        facts = server.facts(query)
        lsn = int(query("SHOW GLOBAL STATUS LIKE 'Innodb_lsn_current'")[0][1])
    away = set(errors)
    usable = [store for store in stores if store.label not in away]
    refused: set[str] = set()
    node_facts = _node_facts(found, agent, node, facts, lsn)
    if facts.uuid is not None:
        mine = Owner(found.cluster, found.namespace, facts.uuid, now)
        ours, why = targets.ours(usable, mine, catalog.may_claim, targets.CATALOG_SECONDS)
        # A restore tells the targets when its cluster is whole. Until then backups are suspended, and nothing is wrong.
        if node_facts.healthy and _all_past(why) and not ours:
            there = _describe(stores, catalogs, errors, found.retention)
            return {"state": "failed", "message": "; ".join(map(str, why.values())), "soon": True, "catalog": there}
        # Where none is ours the backup is tried, so that it fails when it is due, and after pauses.
        if ours:
            usable, refused = ours, {label for label, error in why.items() if isinstance(error, OwnerError)}
            errors |= {label: str(error) for label, error in why.items()}
            catalogs = [one for one in catalogs if one.store not in why]
    if arguments.kind is not None:
        turn = plan.Share(plan.on_demand(arguments.kind, now, catalogs, found, node_facts), catalogs)
    else:
        failed_at = None if arguments.failed_at is None else datetime.fromtimestamp(arguments.failed_at, UTC)
        last = plan.LastAttempt(failed_at, arguments.failures, frozenset(arguments.failed_in))
        turn = plan.share(now, catalogs, found, last, node_facts)
    due = turn.due
    if isinstance(due, plan.Nothing):
        return _nothing(due, stores, catalogs, errors, found.retention, asked=arguments.kind is not None)
    tried = [one.store for one in turn.catalogs]
    usable = [store for store in usable if store.label in tried]
    # One that comes and goes would else be new each time, and what it lacks a full backup in all
    absent = set(arguments.failed_in) & set(errors) - refused
    errors |= {label: f"{label} lacks backups, and is tried again later" for label in turn.waits}
    parent = due.parent.manifest if isinstance(due, plan.Incremental) else None
    start = {"kind": "incremental" if parent else "full", "reason": due.reason, "targets": tried}
    _print({"type": "begin", "command": "tick", **start})
    began = time.monotonic()
    with server.connection(node.socket) as query:
        if told := binlog.begin(query):
            _say(told)
        facts = server.facts(query)
    result = runner.run(found, usable, node, facts, parent, Limit(found.deadline_seconds), _say, catalogs=catalogs)
    owner = Owner(found.cluster, found.namespace, result.manifest.uuid, now)
    answering = [store for store in usable if store.label not in result.silent]
    problems_there, catalogs = removal.let_expire(answering, owner, found.retention, _say)
    errors |= {**problems_there, **result.failures}
    size, seconds = result.manifest.size / 2**20, time.monotonic() - began
    message = f"{result.manifest.name} ({due.reason}): {size:.1f} MiB in {seconds:.0f} s"
    if problems := [*errors.values(), *([result.parent_of_none] if result.parent_of_none else [])]:
        message += f"; but {'; '.join(problems)}"
    known = refused | away | result.silent | {one.store for one in catalogs}
    rest, unread = targets.read([store for store in stores if store.label not in known], others=True)
    return {
        "state": "failed" if refused else "succeeded",
        "backup": result.manifest.name,
        "not_in": sorted({*result.failures, *turn.waits, *refused, *absent}),
        # The patience with those goes on
        "soon": bool(turn.waits) or (bool(absent) and absent == set(arguments.failed_in)),
        "problems": problems,
        "message": message,
        "catalog": _describe(stores, [*catalogs, *rest], errors | unread, found.retention),
    }


def _archive(arguments: argparse.Namespace, env: Mapping[str, str]) -> Report:
    found = settings.load()
    agent = agent_settings.from_env(env)
    stores = open_stores(found)
    limit = Limit(found.deadline_seconds)
    folder = tempfile.TemporaryDirectory(prefix="galera-archive-", ignore_cleanup_errors=True)
    with server.connection(agent.socket) as query, folder as scratch:
        facts = server.facts(query)
        node = binlog.inspect(query, agent.pod)
        if facts.uuid is None:
            raise binlog.ArchiveError("the server is in no cluster")
        owner = Owner(found.cluster, found.namespace, facts.uuid, datetime.now(UTC))
        asked, silent = _to_ask(stores, arguments.silent)
        ours, why = targets.ours(asked, owner, catalog.claim)
        outcomes: dict[str, binlog.Outcome | str] = {**silent, **{label: str(error) for label, error in why.items()}}
        if ours:
            outcomes |= binlog.archive(query, node, ours, found, Path(scratch), limit, say=_say)
    refused = any(isinstance(error, OwnerError) for error in why.values())
    problems = [f"{label}: {one}" for label, one in outcomes.items() if isinstance(one, str)]
    done = {label: one for label, one in outcomes.items() if isinstance(one, binlog.Outcome)}
    gaps = [
        f"{label}: transactions {one.gap[0]} to {one.gap[1]} were never archived and are gone"
        for label, one in done.items()
        if one.gap is not None
    ]
    count, size = sum(one.segments for one in done.values()), sum(one.size for one in done.values())
    return {
        "state": "succeeded" if done and not refused else "failed",
        "message": "; ".join([*problems, *gaps]) or f"archived {count} segments, {size} bytes",
        "problems": [*problems, *gaps],
        "soon": _all_past(why) and not ours,
        "gaps": gaps,
        "segments": count,
        "last": min((one.last for one in done.values()), default=None),
    }


def _list(arguments: argparse.Namespace, env: Mapping[str, str]) -> Report:
    stores = _stores()
    rule = settings.load().retention if settings.FILE.exists() else KEEP_ALL
    document = _describe(stores, *targets.read(stores), rule)
    errors = [target["error"] for target in document["targets"] if target["error"]]
    state = "failed" if len(errors) == len(document["targets"]) else "succeeded"
    return {"state": state, "message": "; ".join(errors), "catalog": document}


def _expire(arguments: argparse.Namespace, env: Mapping[str, str]) -> Report:
    found = settings.load()
    catalogs, errors = targets.read(open_stores(found))
    decisions = {
        one.store: [vars(each) for each in retention.decide(one, datetime.now(UTC), found.retention)]
        for one in catalogs
    }
    message = "; ".join(["nothing was deleted", *errors.values()])
    return {"state": "succeeded" if catalogs else "failed", "message": message, "decisions": decisions}


def _adopt(arguments: argparse.Namespace, env: Mapping[str, str]) -> Report:
    found = settings.load()
    owner = Owner(found.cluster, found.namespace, arguments.uuid, datetime.now(UTC))
    done, failed = [], False
    for store in open_stores(found):
        try:
            done.append(f"{store.label}: {catalog.adopt(store, owner)}")
        except StoreError as error:
            failed = True
            done.append(str(error))
    return {"state": "failed" if failed else "succeeded", "message": "; ".join(done)}


def _fill(arguments: argparse.Namespace, env: Mapping[str, str]) -> Report:
    found = settings.load()
    agent = agent_settings.from_env(env)
    stores = open_stores(found)
    catalogs, errors = targets.read(stores, targets.FILL_SECONDS)
    if not catalogs:
        raise StoreError("; ".join(errors.values()))
    # A key that the inventory gives is among the cluster's passwords; one of a Secret of its own is on no node.
    keys = [folder / streams.IDENTITY for folder in (settings.SECRETS, agent.secrets)]

    def tell(backup: str, text: str) -> None:
        _print({"type": "progress", "command": "fill", "backup": backup, "message": text})

    try:
        done = fill.fill(
            stores,
            catalogs,
            Terms(arguments.uuid, arguments.cached, frozenset(arguments.vouched)),
            agent.datadir,
            next((key for key in keys if key.exists()), keys[0]),
            Limit(found.deadline_seconds),
            _say,
            tell,
            tool_version(),
        )
    except Refused as error:
        return {"state": "nothing", "message": "; ".join([str(error), *errors.values()])}
    return {"state": "succeeded", "backup": done.name, "seqno": done.seqno, "message": f"made of {done.name}"}


def _verify(arguments: argparse.Namespace, env: Mapping[str, str]) -> Report:
    if not arguments.work.is_dir():
        raise Refused(f"there is no volume {arguments.work} for a trial restore; allowed: a directory (--work)")
    stores = _stores()
    _print({"type": "begin", "command": "verify", "backup": arguments.name})
    result = verify.verify(stores, arguments.name, arguments.work, settings.SECRETS / streams.IDENTITY, _say)
    return {
        "state": "succeeded" if result.state == "passed" else "failed",
        "backup": result.name,
        "message": f"{result.name} {result.state}: {result.message}",
        "tables": result.tables,
        "rows": result.rows,
    }


def _nothing(
    due: plan.Nothing,
    stores: Sequence[Store],
    catalogs: Sequence[Catalog],
    errors: Mapping[str, str],
    rule: Retention,
    *,
    asked: bool,
) -> Report:
    return {
        "state": "failed" if asked and not due.suspended else "nothing",
        "message": due.reason,
        "suspended": due.suspended,
        "next": None if due.until is None else to_time(due.until),
        "problems": list(errors.values()),
        "catalog": _describe(stores, catalogs, errors, rule),
    }


def _to_ask(stores: Sequence[Store], silent: Sequence[str]) -> tuple[list[Store], dict[str, str]]:
    """The targets but those that are silent, and what to say of these: with each process that waits for one, and cannot
    be ended, there would be more."""
    why = {label: f"{label} does not answer: a process still waits for it" for label in silent}
    return [store for store in stores if store.label not in why], why


def _all_past(why: Mapping[str, Exception]) -> bool:
    """Whether targets are refused, and each only since a restore has not told it of its cluster yet."""
    return bool(why) and all(isinstance(error, PastError) for error in why.values())


def _node_facts(
    found: Settings, agent: agent_settings.Settings, node: runner.Node, facts: server.Facts, lsn: int
) -> plan.NodeFacts:
    why = facts.problem or server.degraded(agent, found.size, facts.size, Peers(agent.http_port))
    known = base.load(node.datadir, node.pod)
    return plan.NodeFacts(
        healthy=not why,
        why=why,
        uuid=facts.uuid or "",
        server_version=facts.version,
        lsn=lsn,
        backups=frozenset(known.backups if known else ()),
    )


def _stores() -> list[Store]:
    return streams.open_targets(settings.FILE, Path("/backups"))


def _describe(
    stores: Sequence[Store], catalogs: Sequence[Catalog], errors: Mapping[str, str], rule: Retention = KEEP_ALL
) -> Report:
    """The document of all targets; errors: by label, why one has no catalog. rule: tells what will expire."""
    by_label: dict[str, Catalog] = {one.store: one for one in catalogs}
    pairs = [(store, by_label.get(store.label) or errors[store.label]) for store in stores]
    return summary.describe(pairs, datetime.now(UTC), rule)


def _step_back() -> None:
    """Let the server go first, with processor and disk."""
    os.nice(10)
    with suppress(OSError):
        subprocess.run(["ionice", "-c", "2", "-n", "7", "-p", str(os.getpid())], check=False, capture_output=True)


def _say(text: str) -> None:
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), f"backup: {text}", file=sys.stderr, flush=True)


def _print(document: Report) -> None:
    print(json.dumps(document), flush=True)
