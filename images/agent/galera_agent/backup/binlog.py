# SPDX-License-Identifier: GPL-3.0-or-later
"""The archiver: closes the binary log that is being written, and carries each closed one to the targets.

It needs `log_bin`, `log_slave_updates` and `wsrep_gtid_mode`: then each node logs each transaction under the same GTID,
and any node continues where another one left off.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from . import binlog_events, fork, segment, targets
from .binlog_events import transactions as _whole
from .manifest import StoredObject
from .pipe import Limit
from .programs import pack
from .segment import Segment, SegmentError, Tail, stem
from .settings import Settings
from .store import Store, Writer
from .stream import send

# So long a node that has just begun to lead may take to apply what the one before it has archived.
_LAG_SECONDS = 10
# So long the work in the targets has to come to an orderly end
_STOP_SECONDS = 1.0


class ArchiveError(Exception):
    """Nothing can be archived; the text says what has to change."""


class QueryError(Exception):
    """The local server does not do what it was asked; the text says why."""


class Query(Protocol):
    """Asks the local server; rows of texts and numbers."""

    def __call__(self, statement: str) -> Sequence[Sequence[Any]]:
        """Run one statement. Raises QueryError."""


@dataclass(frozen=True)
class Log:
    """One closed binary log file. before: the last sequence that was logged before it. runs: what is in it.

    closed: when it was closed, or a little before; None where only its transactions tell. torn: from which byte on it
    is no whole transaction, None where all of it is.
    """

    path: Path
    before: int
    runs: tuple[binlog_events.Run, ...]
    closed: datetime | None
    torn: int | None = None

    @property
    def first(self) -> int:
        """The sequence with which the file begins, whether it has anything of it or not.

        A list of GTIDs may name a transaction that was cut off in the file before, and is logged again in this one.
        """
        return min(self.before + 1, self.runs[0].first) if self.runs else self.before + 1

    @property
    def last(self) -> int:
        """The last sequence that was logged when the file ended."""
        return self.runs[-1].last if self.runs else self.before

    @property
    def whole(self) -> binlog_events.Run:
        """All of its sequences: a server leaves out none, so that what is missing was in no log, as that of a statement
        that failed on all nodes. Of a file with transactions.
        """
        earliest, latest = min(run.earliest for run in self.runs), max(run.latest for run in self.runs)
        return binlog_events.Run(self.first, self.last, earliest, latest)


@dataclass(frozen=True)
class Node:
    """What the archiver has to know of the local server."""

    pod: str
    uuid: str
    domain: int
    position: int
    version: str
    basename: Path


@dataclass(frozen=True)
class Outcome:
    """What one round did. gap: sequences that no closed log of this node holds any more, None where there are none."""

    last: int
    segments: int
    size: int
    gap: tuple[int, int] | None


@dataclass(frozen=True)
class _Carried:
    """What is the same for all segments of one target in one round. scratch: of its own; beat: see targets."""

    node: Node
    settings: Settings
    scratch: Path
    limit: Limit
    beat: targets.Beat


class _Beating:
    """A writer that says so when something was taken."""

    def __init__(self, writer: Writer, beat: targets.Beat) -> None:
        self._writer, self._beat = writer, beat

    def write(self, data: bytes) -> int:
        """See store.Writer."""
        written = self._writer.write(data)
        self._beat()
        return written


def inspect(query: Query, pod: str) -> Node:
    """Look at the server. Raises ArchiveError where it does not log as an archive needs it."""
    names = ("log_bin", "log_slave_updates", "wsrep_gtid_mode")
    values = "".join(f", @@GLOBAL.{name}" for name in names)
    (row,) = query(
        f"SELECT @@GLOBAL.wsrep_gtid_domain_id, @@GLOBAL.gtid_binlog_pos, VERSION(), @@log_bin_basename{values}"
    )
    if off := [name for name, value in zip(names, row[4:], strict=True) if not int(value)]:
        raise ArchiveError(f"{', '.join(off)} is OFF; the archive of binary logs needs it ON (galera_cluster_mycnf)")
    (state,) = query("SHOW GLOBAL STATUS LIKE 'wsrep_cluster_state_uuid'")
    domain = int(row[0])
    position = binlog_events.sequence_of(str(row[1]), domain)
    return Node(pod, str(state[1]), domain, position, str(row[2]), Path(str(row[3])))


def begin(query: Query) -> str | None:
    """Have the server log a transaction, where it logs GTIDs and has logged none; returns a sentence that says so.

    So it is after each full state transfer and after a restore: a backup would not tell which transactions it has, and
    nothing could be replayed on it. Raises QueryError.
    """
    options = "@@GLOBAL.log_bin, @@GLOBAL.wsrep_gtid_mode, @@GLOBAL.wsrep_gtid_domain_id, @@GLOBAL.gtid_binlog_pos"
    ((logs, numbers, domain, position),) = query(f"SELECT {options}")
    if not int(logs) or not int(numbers) or int(domain) in binlog_events.sequences(str(position)):
        return None
    # Replicated and logged, and changes nothing but the cache of client addresses.
    query("FLUSH HOSTS")
    return "this server has logged no transaction yet, so it logs an empty one"


def archive(
    query: Query,
    node: Node,
    stores: Sequence[Store],
    settings: Settings,
    scratch: Path,
    limit: Limit,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    say: Callable[[str], None] = lambda text: None,
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, Outcome | str]:
    """One round, for each target by its label: what was done, or why it failed.

    Raises ArchiveError, StreamError, OSError or binlog_events.BinlogError where this node's logs cannot be read.
    """
    found, failed = targets.together(stores, lambda store, _: _tail(store, node.uuid), targets.OWNER_SECONDS)
    results: dict[str, Outcome | str] = {label: str(error) for label, error in failed.items()}
    results |= {label: one for label, one in found.items() if isinstance(one, str)}
    tails = {label: one for label, one in found.items() if not isinstance(one, str)}
    node = _caught_up(query, node, max((one.last for one in tails.values() if one), default=0), pause)
    for label, tail in list(tails.items()):
        if tail is not None and node.position < tail.last:
            results[label] = (
                f"transaction {tail.last} is archived, and {node.pod} has come only to {node.position}: "
                "it lags behind, or the cluster has gone back behind what is archived"
            )
            del tails[label]
    if not tails:
        return results
    oldest = min(-1 if tail is None else tail.last for tail in tails.values())
    if node.position <= oldest:
        return results | {label: Outcome(tail.last if tail else 0, 0, 0, None) for label, tail in tails.items()}
    # Before the file is closed: what is committed in between may be in the next one.
    moment = now()
    closed_at = moment if _applied_all(query) else None
    query("FLUSH LOCAL BINARY LOGS")
    logs = closed_logs(query, node, oldest, closed_at)
    for log in (one for one in logs if one.torn is not None and one.last > oldest):
        say(f"{log.path.name} ends within a transaction, at byte {log.torn}: what comes before is archived")

    def carry(store: Store, beat: targets.Beat) -> Outcome | str:
        tail = tails[store.label]
        try:
            _check_fork(store, tail, logs, node)
            with tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as own:
                to = _Carried(node, settings, Path(own), limit, beat)
                return _carry(store, None if tail is None else tail.last, logs, to)
        except ArchiveError as error:
            return str(error)

    wanted = [store for store in stores if store.label in tails]
    try:
        done, failed = targets.together(wanted, carry, targets.ARCHIVE_SECONDS)
    except SystemExit:
        # Time for the threads to take back what is half done
        limit.cancel("it was stopped")
        time.sleep(_STOP_SECONDS)
        raise
    return results | done | {label: str(error) for label, error in failed.items()}


def closed_logs(query: Query, node: Node, after: int, closed: datetime | None) -> list[Log]:
    """The closed logs that hold what came after a sequence, and that one, oldest first. closed: when the last one was.

    Raises binlog_events.BinlogError, OSError.
    """
    names = [str(row[0]) for row in query("SHOW BINARY LOGS")][:-1]
    found: list[Log] = []
    for name in reversed(names):
        path = node.basename.with_name(name)
        try:
            created = binlog_events.read_created(path)
            start = binlog_events.read_start(path)
            groups = binlog_events.Groups(path)
            runs = tuple(binlog_events.runs((one for one in groups if one.whole), node.domain))
        except FileNotFoundError:
            # The server has purged it since: what is missing then shows as a gap.
            break
        except binlog_events.EmptyError:
            # The server was killed when it had just begun the file.
            continue
        except binlog_events.BinlogError:
            if found and found[0].before <= after:
                # Nothing of it is wanted.
                break
            raise
        # A server that got its data without a binary log has an empty list, and nothing of what was logged before.
        before = start.get(node.domain, runs[0].first - 1 if runs else 0)
        found.insert(0, Log(path, before, runs, closed, groups.torn))
        # Only the last file was closed just now. A file that was closed earlier had ended when the next one was begun.
        closed = created
        if before < after or before == 0 <= after:
            break
    return found


def missing(tail: int | None, logs: Sequence[Log]) -> tuple[int, int] | None:
    """The first sequences after what is archived that these logs do not hold, None where they hold all."""
    last = tail
    for log in logs:
        if last is None and not log.last:
            # A server with data from elsewhere that had logged nothing yet: what it logs next may have any number.
            continue
        if last is not None and log.first > last + 1:
            return last + 1, log.first - 1
        last = log.last if last is None else max(last, log.last)
    return None


def _tail(store: Store, uuid: str) -> Tail | str | None:
    """The end of a cluster's archive; a text says why nothing may be added. Raises StoreError."""
    try:
        tail, known = segment.tail(store, uuid), fork.read(store, uuid)
    except SegmentError as error:
        return str(error)
    if known is not None and tail is not None:
        return str(known)
    if known is not None:
        # All of the history that was left has expired, so the archive begins anew.
        store.delete(fork.key_of(uuid))
    return tail


def _caught_up(query: Query, node: Node, last: int, pause: Callable[[float], None]) -> Node:
    """The node once it has come to a sequence, or as it is after a while: a new leader may have some left to apply."""
    for _ in range(_LAG_SECONDS):
        if node.position >= last:
            break
        pause(1)
        node = inspect(query, node.pod)
    return node


def _check_fork(store: Store, tail: Tail | None, logs: Sequence[Log], node: Node) -> None:
    """Keep in mind where the cluster has gone back behind what is archived.

    Raises ArchiveError then, or StoreError.
    """
    if tail is None:
        return
    try:
        end = Segment.from_json(store.get(tail.key))
    except SegmentError:
        # It is told as a problem of the store, and nothing can be learned from it.
        return
    logged = (one for log in logs if any(run.first <= tail.last for run in log.runs) for one in _whole(log.path))
    if (found := fork.find(logged, end, tail.written, node.pod, fork.Archived(store, node.uuid))) is not None:
        store.put(fork.key_of(node.uuid), found.to_json())
        raise ArchiveError(str(found))


def _carry(store: Store, tail: int | None, logs: Sequence[Log], to: _Carried) -> Outcome:
    wanted = [log for log in logs if tail is None or log.last > tail]
    count = size = 0
    last = tail or 0
    for log in wanted:
        if log.runs and log.last > last:
            size += _store(store, log, log.whole, to)
            count, last = count + 1, log.last
    return Outcome(last, count, size, missing(tail, wanted))


def _store(store: Store, log: Log, run: binlog_events.Run, to: _Carried) -> int:
    """Write one segment and then its document; returns its bytes."""
    node, settings = to.node, to.settings
    closed = log.closed or run.latest
    suffix = ".zst.age" if settings.recipients else ".zst"
    key = stem(node.uuid, run.first, run.last, closed, node.pod, log.path.name) + suffix
    with store.writer(key) as writer, _content(log, to.scratch) as source:
        stages = pack(settings.zstd_level, settings.recipients)
        sent = send(stages, _Beating(writer, to.beat), to.scratch, to.limit, source=source)
        writer.commit()
    to.beat()
    document = Segment(
        uuid=node.uuid,
        domain=node.domain,
        first=run.first,
        last=run.last,
        earliest=run.earliest,
        latest=run.latest,
        closed=closed,
        pod=node.pod,
        file=log.path.name,
        server_version=node.version,
        data_bytes=log.path.stat().st_size if log.torn is None else log.torn,
        encryption="age" if settings.recipients else None,
        recipients=settings.recipients,
        object=StoredObject(key, sent.size, sent.sha256),
    )
    store.put(document.key, document.to_json())
    return sent.size


@contextmanager
def _content(log: Log, scratch: Path) -> Iterator[BinaryIO]:
    """A file up to its last whole transaction."""
    if log.torn is None:
        with log.path.open("rb") as file:
            yield file
        return
    with log.path.open("rb") as file, tempfile.TemporaryFile(dir=scratch) as copy:
        shutil.copyfileobj(file, copy)
        copy.truncate(log.torn)
        copy.seek(0)
        yield copy


def _applied_all(query: Query) -> bool:
    """Whether this server has applied, and so logged, all that others have committed until now."""
    query("SET SESSION wsrep_sync_wait = 1")
    try:
        query("SELECT 1 FROM DUAL")
    except QueryError:
        # It did not come so far within repl.causal_read_timeout.
        return False
    finally:
        query("SET SESSION wsrep_sync_wait = 0")
    return True
