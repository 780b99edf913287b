# SPDX-License-Identifier: GPL-3.0-or-later
"""The trial restore of a backup: into a server that is thrown away, where each table is checked, counted and summed.

A verdict is only what was found out of the backup itself. Whatever else ends a trial (the target, the volume, the key,
the image) leaves what was said of the backup before.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .. import offline, sql
from ..chain import LATEST, Refused
from ..place import locked, require_space
from . import catalog, selection, server
from .binlog import Query
from .manifest import Verification, verification_key
from .pipe import StreamError
from .store import Store, StoreError
from .stream import CorruptError
from .streams import Streams

_WORK = "galera-verify-"
# Of so many tables, the largest first, a checksum is made: that reads every row through the storage engine.
CHECKSUMS = 20
_TABLES = """SELECT table_schema, table_name FROM information_schema.tables
 WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('information_schema', 'performance_schema', 'sys')
 ORDER BY data_length DESC, table_schema, table_name"""
# Words of programs that ran out of what this place should give them, or that somebody ended
_SURROUNDINGS = re.compile(
    r"(Errcode:|errno:|error number) (5|12|24|28|30|122)\b|No space left|[Dd]isk (is )?full|[Dd]isk quota"
    r"|Cannot allocate memory|[Oo]ut of memory|Too many open files|Read-only file system|Input/output error"
    r"|Permission denied|cannot be started|within its deadline|was cancelled|ended with -(1|2|9|15)\b"
)
# With less than that free, in bytes, the volume is the cause whatever the words are.
_FULL = 64 * 2**20
_UNCHECKED = "The storage engine for the table doesn't support check"


class NoVerdictError(Exception):
    """The trial did not come to its end, which says nothing of the backup; the text names both."""


@dataclass(frozen=True)
class Tables:
    """What the check of a server found. problems: one sentence for each table that is not right."""

    tables: int
    rows: int
    problems: tuple[str, ...]


def verify(
    stores: Sequence[Store],
    name: str,
    work: Path,
    identity: Path,
    say: Callable[[str], None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Verification:
    """Restore a backup (`latest`, or its name) below work, check it and put the result beside its manifest.

    Raises Refused where no such backup is there, ChainError where it is whole in no target, StoreError where no target
    can be read or take the result, NoVerdictError where something else than the backup ended the trial: then nothing is
    put beside it.
    """
    catalogs = _read(stores, say)
    chosen = _chosen([one for _, one in catalogs], name, say)
    store = next(store for store, _ in catalogs if store.label == chosen[-1].store)
    manifest = chosen[-1].manifest
    started = now().replace(microsecond=0)
    _clean(work)
    place = Path(tempfile.mkdtemp(prefix=_WORK, dir=work))
    try:
        with locked(place, "lock"):
            found, problem = _try(Streams(store, chosen, [], None, identity, say), place, say), ""
    except (Refused, StoreError, StreamError, offline.StepError, server.ServerError, OSError) as error:
        if not _of_the_backup(error, place):
            raise NoVerdictError(f"{manifest.name} was not verified, and keeps what was said of it: {error}") from error
        found, problem = Tables(0, 0, ()), str(error)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    problem = problem or "; ".join(found.problems[:10])
    result = Verification(
        name=manifest.name,
        digest=manifest.digest,
        state="failed" if problem else "passed",
        started=started,
        finished=now().replace(microsecond=0),
        server_version=manifest.server_version,
        message=problem or f"{found.tables} tables with {found.rows} rows are right",
        tables=found.tables,
        rows=found.rows,
    )
    store.put(verification_key(result.name), result.to_json())
    return result


def check_tables(query: Query) -> Tables:
    """Check every table of a server, count its rows, and sum up the largest ones. Raises ServerError."""
    problems: list[str] = []
    rows = 0
    tables = [f"{sql.identifier(str(schema))}.{sql.identifier(str(table))}" for schema, table in query(_TABLES)]
    for number, table in enumerate(tables):
        try:
            problems += [
                f"{table}: {row[3]}"
                for row in query(f"CHECK TABLE {table} EXTENDED")
                if row[2] in ("error", "warning") or (row[2] == "status" and row[3] not in ("OK", _UNCHECKED))
            ]
            rows += int(query(f"SELECT COUNT(*) FROM {table}")[0][0])
            if number < CHECKSUMS and query(f"CHECKSUM TABLE {table} EXTENDED")[0][1] is None:
                problems.append(f"{table}: it has no checksum")
        except server.ServerError as error:
            problems.append(f"{table}: {error}")
    return Tables(len(tables), rows, tuple(problems))


def _try(source: Streams, place: Path, say: Callable[[str], None]) -> Tables:
    data = place / "data"
    with tempfile.TemporaryDirectory() as scratch:
        # An option of the nodes with which this server does not start would be held against the backup
        tools = offline.Tools(Path(scratch), say, cnf=None)
        source.check(offline.tool_version())
        require_space(place.parent, source.space()[1])
        layout = source.build(data, place, tools)
        options = [f"--{name}={value}" for name, value in layout.items()]
        with tools.serving(data, options) as socket, server.connection(socket, timeout=None) as query:
            say("checks the tables")
            return check_tables(query)


def _clean(work: Path) -> None:
    """Remove what killed runs left; a run that is still going on holds the lock of its own."""
    for path in (one for one in work.glob(f"{_WORK}*") if one.is_dir()):
        try:
            with locked(path, "lock"):
                shutil.rmtree(path, ignore_errors=True)
        except Refused:
            continue


def _of_the_backup(error: Exception, place: Path) -> bool:
    """Whether the backup is the cause: it has other bytes than its manifest says, or no data can be made of them."""
    if isinstance(error, CorruptError):
        return True
    if not isinstance(error, StreamError | offline.StepError):
        return False
    free = min(shutil.disk_usage(one).free for one in (place, tempfile.gettempdir()))
    return _SURROUNDINGS.search(str(error)) is None and free >= _FULL


def _read(stores: Sequence[Store], say: Callable[[str], None]) -> list[tuple[Store, catalog.Catalog]]:
    """The targets that can be read, with what they hold. Raises StoreError where none can."""
    found, problems = [], []
    for store in stores:
        try:
            found.append((store, catalog.read(store)))
        except StoreError as error:
            problems.append(str(error))
            say(f"leaves out a target: {error}")
    if not found:
        raise StoreError("; ".join(problems))
    return found


def _chosen(catalogs: Sequence[catalog.Catalog], name: str, say: Callable[[str], None]) -> selection.Chosen:
    """The chain of a backup; one that failed before is tried again.

    Raises Refused where there is none, ChainError where it is whole in no target.
    """
    if name == LATEST:
        for found in dict.fromkeys(name for name, _ in selection.candidates(catalogs, LATEST, LATEST)):
            for one in (one for one in catalogs if found in one.by_name or found in one.broken):
                try:
                    return one.chain(found)
                except catalog.ChainError as error:
                    say(f"cannot verify the newest backup: {error}")
        raise Refused("there is no backup to verify")
    why: catalog.ChainError | None = None
    for one in (one for one in catalogs if name in (*one.by_name, *one.broken, *one.incomplete)):
        try:
            return one.chain(name)
        except catalog.ChainError as error:
            why = error
    there = selection.some({found for one in catalogs for found in (*one.by_name, *one.broken)})
    raise why or Refused(f"galera_backup_verify is '{name}', which is not there; allowed: {there}")
