# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups a store holds, and which of them, in which order, make a data directory. Reads, never writes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

LATEST, NONE = "latest", "none"
FULL, INCREMENTAL = "full-backuped", "incremental"

_CHECKPOINTS = ("mariadb_backup_checkpoints", "xtrabackup_checkpoints")
_INFO = ("mariadb_backup_info", "xtrabackup_info")
_GALERA = ("mariadb_backup_galera_info", "xtrabackup_galera_info")
# What mariadb-backup writes before the two files above, and no database directory holds.
_TRACES = ("ibdata1", "ibdata1.delta", "backup-my.cnf", "ib_logfile0")
_ZERO = "00000000-0000-0000-0000-000000000000"


class Refused(Exception):  # noqa: N818 - it is a decision, not a failure
    """Nothing is restored, and trying again changes nothing; the text says why in one sentence."""


@dataclass(frozen=True)
class Backup:
    """One finished directory of mariadb-backup.

    name: its path below the store. uuid: its own, as mariadb-backup gave it. from_lsn to to_lsn: the changes of pages
    that it holds; its redo log goes on to last_lsn. start, end: of the server's clock, `2026-11-21 07:36:47`.
    base: the directory that was named when it was made, "" for a full one. cluster: uuid of the Galera cluster, None
    where it was not told. problem: why it cannot be restored, "" where it can.
    """

    name: str
    path: Path
    uuid: str
    kind: str
    from_lsn: int
    to_lsn: int
    last_lsn: int
    start: str
    end: str
    server: str
    base: str = ""
    cluster: str | None = None
    problem: str = ""

    @property
    def order(self) -> tuple[int, str]:
        """Grows along a chain, also where the server was so idle that to_lsn does not."""
        return self.last_lsn, self.end


@dataclass(frozen=True)
class Torso:
    """A directory in which mariadb-backup did not end, or is at work. why: what is missing. full: no increment."""

    name: str
    why: str
    full: bool


@dataclass(frozen=True)
class Store:
    """All backups and all torsos. other: names in the store that are neither."""

    backups: tuple[Backup, ...]
    incomplete: tuple[Torso, ...] = ()
    other: tuple[str, ...] = ()

    @property
    def fulls(self) -> list[Backup]:
        """The full backups, oldest first."""
        return sorted((one for one in self.backups if one.kind != INCREMENTAL), key=lambda one: (one.end, one.to_lsn))

    @property
    def increments(self) -> list[Backup]:
        """The increments, in the order of their LSNs."""
        return sorted((one for one in self.backups if one.kind == INCREMENTAL), key=lambda one: one.order)


def read_store(root: Path) -> Store:
    """Look at the directories of a store and at those inside them.

    Raises OSError where one cannot be read.
    """
    backups: list[Backup] = []
    incomplete: list[Torso] = []
    other: list[str] = []
    for top in sorted(one for one in root.iterdir() if one.name != "lost+found"):
        found = [one for one in (top, *_inside(top)) if one.is_dir() and _is_backup(one)]
        if not found:
            other.append(top.name)
        for path in found:
            name = str(path.relative_to(root))
            backup = read_backup(path, name)
            if isinstance(backup, str):
                incomplete.append(Torso(name, backup, (path / "ibdata1").exists()))
            else:
                backups.append(backup)
    return Store(tuple(backups), tuple(incomplete), tuple(other))


def nested(path: Path) -> list[Path]:
    """Directories inside a backup that are backups of their own and no databases of it."""
    return [one for one in _inside(path) if _is_backup(one)]


def read_backup(path: Path, name: str) -> Backup | str:
    """Read one directory; a text where it is incomplete, which says what is missing."""
    points, info = _fields(path, _CHECKPOINTS), _fields(path, _INFO)
    if points is None:
        return f"it has no {_CHECKPOINTS[0]}"
    if info is None:
        return f"it has no {_INFO[0]}"
    lsns = [points.get(key, "") for key in ("from_lsn", "to_lsn", "last_lsn")]
    missing = [key for key in ("uuid", "start_time", "end_time", "server_version") if not info.get(key)]
    if not all(lsn.isdigit() for lsn in lsns) or missing:
        return f"its {_CHECKPOINTS[0]} or {_INFO[0]} is cut short"
    first, to, last = map(int, lsns)
    kind = points.get("backup_type", "")
    base = re.search(r"--incremental-basedir[= ](\S+)", info.get("tool_command", ""))
    return Backup(
        name=name,
        path=path,
        uuid=info["uuid"],
        kind=kind,
        from_lsn=first,
        to_lsn=to,
        last_lsn=last,
        start=info["start_time"],
        end=info["end_time"],
        server=info["server_version"],
        base=base.group(1).rstrip("/") if base else "",
        cluster=_cluster(path),
        problem=_problem(kind, info),
    )


def choose(store: Store, backup: str, increment: str) -> tuple[Backup, ...]:
    """The full backup and the increments to apply to it, in order.

    backup: `latest` or a name. increment: `latest`, `none` or a name. Raises Refused.
    """
    full = _choose_full(store, backup)
    if increment == NONE:
        chosen: tuple[Backup, ...] = (full,)
    elif increment == LATEST:
        chosen = _longest(store, full)
    else:
        chosen = _up_to(store, full, increment)
    for one in chosen:
        if one.problem:
            raise Refused(f"backup {one.name} {one.problem}")
    return chosen


def sound(store: Store) -> Store:
    """Only what can be restored: no torsos, and nothing of which the chain is broken or cannot be restored."""
    lines = [(one, _line(store, one)) for one in store.backups]
    good = [one for one, line in lines if line[0].kind != INCREMENTAL and not any(link.problem for link in line)]
    return Store(tuple(good), (), store.other)


def check_versions(chain: Iterable[Backup], tool: str) -> None:
    """Refuse backups of a server newer than the tool; tool is what `mariadb-backup --version` prints."""
    mine = series(tool.partition("MariaDB server")[2])
    if mine is None:
        raise Refused(f"mariadb-backup does not tell its version: it printed '{tool.strip()[:200]}'")
    for one in chain:
        theirs = series(one.server)
        if theirs is None or "mariadb" not in one.server.lower():
            raise Refused(f"backup {one.name} is of server '{one.server}'; allowed: MariaDB {_dotted(mine)} or older")
        if theirs > mine:
            raise Refused(
                f"backup {one.name} is of MariaDB {one.server}, this image has MariaDB {_dotted(mine)}; "
                f"allowed: an image of MariaDB {_dotted(theirs)} or newer"
            )


def _choose_full(store: Store, wanted: str) -> Backup:
    fulls = store.fulls
    if wanted == LATEST:
        if store.incomplete:
            raise Refused(_incomplete(store.incomplete, "SOURCE_BACKUP"))
        if not fulls:
            there = [one.name for one in store.increments] + list(store.other)
            raise Refused(f"no full backup was found in the backup volume; it holds: {_list(there)}")
        return fulls[-1]
    _require_complete(store, wanted)
    found = [one for one in fulls if one.name == wanted] or [one for one in fulls if wanted in Path(one.name).parts]
    if len(found) != 1:
        what = f"fits {_names(found)}" if found else "is not there"
        known = _names(fulls) if fulls else f"no full backup; the volume holds: {_list(store.other)}"
        raise Refused(f"SOURCE_BACKUP is '{wanted}', which {what}; allowed: {LATEST}, {known}")
    return found[0]


def _longest(store: Store, full: Backup) -> tuple[Backup, ...]:
    """Up to the newest increment; refuses where one that may belong here cannot be placed."""
    if doubtful := [one for one in store.incomplete if not one.full]:
        raise Refused(_incomplete(doubtful, "SOURCE_INCREMENT"))
    best: tuple[Backup, ...] = (full,)
    for one in store.increments:
        line = _line(store, one)
        if line[0].kind == INCREMENTAL and _belongs(store, line[0], full):
            raise Refused(_broken(store, line[0], full))
        if line[0] == full:
            best = line
    return best


def _up_to(store: Store, full: Backup, wanted: str) -> tuple[Backup, ...]:
    _require_complete(store, wanted)
    lines = [_line(store, one) for one in store.increments]
    fitting = [line for line in lines if line[-1].name == wanted] or [
        line for line in lines if Path(line[-1].name).name == wanted
    ]
    own = [line for line in fitting if line[0] == full]
    if len(own) == 1:
        return own[0]
    if not fitting or own:
        known = _names(line[-1] for line in lines if line[0] == full)
        what = f"fits {_names(line[-1] for line in own)}" if own else "is not there"
        raise Refused(f"SOURCE_INCREMENT is '{wanted}', which {what}; allowed with {full.name}: latest, none, {known}")
    first = fitting[0][0]
    if first.kind == INCREMENTAL:
        raise Refused(_broken(store, first, full))
    raise Refused(f"increment {wanted} belongs to the full backup {first.name}, not to {full.name}")


def _line(store: Store, tip: Backup) -> tuple[Backup, ...]:
    """The chain that ends in tip. It begins with a full backup, or with the increment whose predecessor is missing."""
    line = [tip]
    while line[0].kind == INCREMENTAL and (parent := _parent(store, line[0])) is not None:
        line.insert(0, parent)
    return tuple(line)


def _parent(store: Store, one: Backup) -> Backup | None:
    """The backup that ends where this one begins.

    Several may: an idle server's LSN stands still, and those of two servers may be equal by chance. Then the one that
    was named when the increment was made is taken, else the nearest place, else the latest before it.
    """

    def preference(other: Backup) -> tuple[bool, bool, tuple[int, str]]:
        named = f"/{one.base}".endswith(f"/{other.name}")
        near = Path(other.name).parent == Path(one.name).parent or one.name.startswith(f"{other.name}/")
        return named, near, other.order

    fitting = [
        other
        for other in store.backups
        if other.to_lsn == one.from_lsn and other.order < one.order and _same_cluster(other, one)
    ]
    return max(fitting, key=preference, default=None)


def _belongs(store: Store, orphan: Backup, full: Backup) -> bool:
    """Whether an increment without predecessor was made on this full backup: it is the last one before it."""
    before = [one for one in store.fulls if one.end <= orphan.start and _same_cluster(one, orphan)]
    return bool(before) and before[-1] == full


def _broken(store: Store, first: Backup, full: Backup) -> str:
    ends = [one for one in (full, *store.increments) if one is not first and one.end <= first.start]
    found = ", ".join(f"{one.name} at {one.to_lsn}" for one in sorted(ends, key=lambda one: one.order)) or "none"
    return (
        f"the chain of {full.name} is broken: increment {first.name} begins at LSN {first.from_lsn}, and no backup "
        f"ends there (those before it end: {found}); bring the missing one back, or name a SOURCE_INCREMENT before it"
    )


def _require_complete(store: Store, wanted: str) -> None:
    for one in store.incomplete:
        if wanted in (one.name, Path(one.name).name):
            raise Refused(f"backup {one.name} is incomplete: {one.why}; nothing was restored")


def _incomplete(torsos: Iterable[Torso], variable: str) -> str:
    named = "; ".join(f"{one.name}: {one.why}" for one in torsos)
    return f"the latest is unknown, since the backup volume holds an incomplete backup ({named}); name a {variable}"


def _same_cluster(one: Backup, other: Backup) -> bool:
    return one.cluster is None or other.cluster is None or one.cluster == other.cluster


def _problem(kind: str, info: Mapping[str, str]) -> str:
    if kind not in (FULL, INCREMENTAL):
        return f"has the type '{kind}'; allowed: {FULL}, {INCREMENTAL} (a prepared one takes no increments)"
    if info.get("partial", "N") != "N":
        return "is partial, not of all databases; allowed: a backup of the whole server"
    if info.get("compressed", "N") != "N":
        return f"is compressed ({info['compressed']}); allowed: a backup that was decompressed"
    return ""


def _cluster(path: Path) -> str | None:
    text = next((text for name in _GALERA if (text := _text(path / name)) is not None), "")
    found = re.match(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)
    return found.group() if found and found.group() != _ZERO else None


def _fields(path: Path, names: Iterable[str]) -> dict[str, str] | None:
    """`key = value` lines of the first of these files that is there."""
    text = next((text for name in names if (text := _text(path / name)) is not None), None)
    return None if text is None else dict(re.findall(r"^(\w+) = (.*?)[ \t]*$", text, re.MULTILINE))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _inside(path: Path) -> list[Path]:
    return sorted(one for one in path.iterdir() if one.is_dir()) if path.is_dir() else []


def _is_backup(path: Path) -> bool:
    return any((path / name).exists() for name in (*_CHECKPOINTS, *_INFO, *_TRACES))


def series(version: str) -> tuple[int, int] | None:
    """Major and minor number of a version, None where it begins with none."""
    found = re.match(r"\s*(\d+)\.(\d+)", version)
    return (int(found.group(1)), int(found.group(2))) if found else None


def _dotted(series: tuple[int, int]) -> str:
    return f"{series[0]}.{series[1]}"


def _names(backups: Iterable[Backup]) -> str:
    return _list(one.name for one in backups)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
