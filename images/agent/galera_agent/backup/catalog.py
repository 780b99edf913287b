# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store holds, from the store alone: backups, their chains, and whose they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import groupby

from .document import Document, parse, text, time, to_time, whole
from .manifest import Manifest, ManifestError, Verification, manifest_key, parse_name, verification_key
from .store import BACKUPS, BINLOGS, MANIFEST, OWNER, VERIFICATION, Entry, MissingError, Store, StoreError, is_key

FORMAT = 1
# Clocks that differ by less are right
CLOCK_STEP = timedelta(hours=1)
_READERS = 8


class ChainError(Exception):
    """The backup cannot be restored; the text names the link that is missing or does not fit."""


class OwnerError(StoreError):
    """The store belongs to another cluster, or does not say whose it is."""


class PastError(OwnerError):
    """The store is of what this cluster was before a restore, which tells the store of it at its end: see adopt()."""


@dataclass(frozen=True)
class Owner:
    """The cluster whose backups a store holds. uuid: of the Galera state. created: when the store was taken."""

    cluster: str
    namespace: str
    uuid: str
    created: datetime

    def __str__(self) -> str:
        return f"cluster {self.cluster} of namespace {self.namespace} (uuid {self.uuid})"

    def to_json(self) -> bytes:
        """The contents of owner.json."""
        fields = {**vars(self), "created": to_time(self.created)}
        return json.dumps({"format": FORMAT, **fields}, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Owner:
        """Read owner.json. Raises ValueError with everything that is wrong."""
        problems: list[str] = []
        document = Document(parse(data), problems)
        document.take("format", whole(FORMAT, FORMAT), str(FORMAT), FORMAT)
        owner = cls(
            cluster=document.take("cluster", text(), "a name", ""),
            namespace=document.take("namespace", text(), "a name", ""),
            uuid=document.take("uuid", text("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "a uuid", ""),
            created=document.take("created", time, "a time", datetime.fromtimestamp(0, UTC)),
        )
        document.end()
        if problems:
            raise ValueError("; ".join(problems))
        return owner


@dataclass(frozen=True)
class Backup:
    """A complete backup of one store, and what its last verification said.

    written: when its manifest was, by the store's clock; None where that is not known.
    """

    manifest: Manifest
    verification: Verification | None
    store: str
    written: datetime | None = None

    @property
    def name(self) -> str:
        """The name, which sorts by time."""
        return self.manifest.name

    @property
    def began(self) -> datetime:
        """When it was begun; by the store's clock where that of the node was more than an hour ahead of it.

        A manifest is written right after its backup has ended. One that was copied later proves nothing.
        """
        ahead = timedelta(0) if self.written is None else self.manifest.finished - self.written
        return self.manifest.started - ahead if ahead > CLOCK_STEP else self.manifest.started

    @property
    def verified(self) -> bool | None:
        """Whether its last trial restore succeeded; None where there was none of this very backup."""
        if self.verification is None or self.verification.digest != self.manifest.digest:
            return None
        return self.verification.state == "passed"


@dataclass(frozen=True)
class Catalog:
    """One store's contents.

    backups: complete ones, sorted by name. incomplete: names of those without a manifest, in the making or left behind.
    broken: names of those whose manifest cannot be used. problems: one sentence for each thing that is not as it
    should be; nothing of it is ever deleted by itself. owner: None where the store has none yet, or an unusable one.
    read: when, None where that is not known.
    """

    store: str
    backups: tuple[Backup, ...] = ()
    incomplete: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    owner: Owner | None = None
    read: datetime | None = None

    @cached_property
    def by_name(self) -> dict[str, Backup]:
        """The complete backups by their names."""
        return {backup.name: backup for backup in self.backups}

    def chain(self, name: str) -> list[Backup]:
        """The full backup and the increments up to this one, in the order of their restore.

        Raises ChainError unless every link is there and fits.
        """
        links = [self._find(name, name)]
        while links[0].manifest.parent is not None:
            child, parent = links[0], self._find(links[0].manifest.parent, links[0].name)
            _check_link(child.manifest, parent.manifest)
            links.insert(0, parent)
        return links

    def problem_of(self, name: str) -> str:
        """Why a backup cannot be restored: its chain, or a verification that failed. Empty where it can."""
        return self._link_problems[name] if name in self.by_name else self._absent(name)

    @cached_property
    def _link_problems(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for backup in self.backups:
            parent = backup.manifest.parent
            try:
                if parent is not None:
                    _check_link(backup.manifest, self._find(parent, backup.name).manifest)
            except ChainError as error:
                found[backup.name] = str(error)
                continue
            failed = f"the verification of {backup.name} failed" if backup.verified is False else ""
            # parents have older names, so they were seen before
            found[backup.name] = failed or (found[parent] if parent is not None else "")
        return found

    def _find(self, name: str, child: str) -> Backup:
        if name not in self.by_name:
            raise ChainError(self._absent(name, "" if name == child else f", which {child} is an increment of,"))
        return self.by_name[name]

    def _absent(self, name: str, needed: str = "") -> str:
        why, reason = "is not there", ""
        if name in self.broken:
            why = "cannot be used"
            reason = next((f": {one}" for one in self.problems if one.startswith(f"{BACKUPS}{name}/")), "")
        elif name in self.incomplete:
            why = "is incomplete, it has no manifest"
        return f"backup {name}{needed} {why} in {self.store}{reason}"


def read(store: Store, known: Iterable[Catalog] = ()) -> Catalog:
    """Read a whole store. Raises StoreError where it cannot be read; what is wrong in it is a problem, no error.

    known: catalogs that the caller has just read; the manifests in that of this store, which nobody rewrites, are not
    read again.
    """
    manifests = {backup.name: backup.manifest for one in known if one.store == store.label for backup in one.backups}
    store.check()
    owner, problems = _owner(store)
    problems += _foreign(store)
    sizes: dict[str, dict[str, int]] = {}
    written: dict[str, datetime] = {}
    for entry in store.list(BACKUPS):
        _sort(entry, sizes, problems)
        written[entry.key] = entry.modified
    with ThreadPoolExecutor(_READERS) as pool:
        names = [name for name, files in sizes.items() if MANIFEST in files]
        found = list(pool.map(lambda name: _backup(store, name, sizes[name], manifests.get(name), written), names))
    for _, said in found:
        problems += said
    backups = _by_clocks([backup for backup, _ in found if backup])
    return Catalog(
        store=store.label,
        backups=tuple(backups.values()),
        incomplete=tuple(name for name, files in sizes.items() if MANIFEST not in files),
        broken=tuple(name for name in names if name not in backups),
        problems=tuple(problems),
        owner=owner,
        read=datetime.now(UTC),
    )


def _by_clocks(found: Sequence[Backup]) -> dict[str, Backup]:
    """Backups by their names; without what the store's clock said of those before which it has gone back.

    A history has its backups in the order of its seqnos.
    """
    backups = {one.name: one for one in found}
    latest: dict[str, datetime] = {}
    in_order = sorted(found, key=lambda one: (one.manifest.uuid, one.manifest.seqno))
    for (uuid, _), same in groupby(in_order, key=lambda one: (one.manifest.uuid, one.manifest.seqno)):
        before = latest.get(uuid)
        for one in same:
            if one.written is None:
                continue
            if before is not None and one.written < before - CLOCK_STEP:
                backups[one.name] = replace(one, written=None)
            latest[uuid] = max(one.written, latest.get(uuid, one.written))
    return backups


def check_owner(store: Store, mine: Owner) -> None:
    """Raise OwnerError unless the store is this cluster's. Writes nothing."""
    try:
        theirs = Owner.from_json(store.get(OWNER))
    except MissingError:
        raise OwnerError(f"{store.label} has no {OWNER}: it was emptied, or is another place than before") from None
    except ValueError as error:
        raise OwnerError(
            f"{store.label} has an {OWNER} that cannot be used: {error}; remove it if there is nothing else"
        ) from None
    if (theirs.cluster, theirs.namespace, theirs.uuid) != (mine.cluster, mine.namespace, mine.uuid):
        said = f"{store.label} holds the backups of {theirs}, not of {mine}; "
        if (theirs.cluster, theirs.namespace) == (mine.cluster, mine.namespace):
            raise PastError(f"{said}a restore tells it at its end; one made anew needs a volume or prefix of its own")
        raise OwnerError(f"{said}give each cluster a volume or prefix of its own")


def may_claim(store: Store, mine: Owner) -> bool:
    """Whether a store is this cluster's already; False where it is empty. Writes nothing.

    Raises OwnerError where it is another's, or holds things of nobody.
    """
    try:
        store.get(OWNER)
    except MissingError:
        store.check()
        if orphans := [name for name in store.children("") if name in (BACKUPS, BINLOGS)]:
            raise OwnerError(
                f"{store.label} holds {', '.join(orphans)} and no {OWNER}: whose they are is unknown; "
                f"bring {OWNER} back, or name an empty volume or prefix"
            ) from None
        return False
    check_owner(store, mine)
    return True


def claim(store: Store, mine: Owner) -> None:
    """Take an empty store for this cluster. Raises OwnerError where it is another's, or holds things of nobody."""
    if not may_claim(store, mine):
        store.create(OWNER, mine.to_json())
        check_owner(store, mine)


def adopt(store: Store, mine: Owner) -> str:
    """Go on with a store after a restore in place: the cluster of the same name has another uuid now.

    Returns what was done. Raises OwnerError where the store is that of another name or namespace.
    """
    owner, problems = _owner(store)
    if problems:
        raise OwnerError(f"{store.label}: {problems[0]}")
    if owner is None:
        claim(store, mine)
        return "it was empty, and is this cluster's now"
    if (owner.cluster, owner.namespace) != (mine.cluster, mine.namespace):
        raise OwnerError(f"{store.label} belongs to {owner}; only its own cluster can go on with it")
    if owner.uuid == mine.uuid:
        return "it is this cluster's already"
    store.put(OWNER, mine.to_json())
    return f"it was that of uuid {owner.uuid}, and is that of {mine.uuid} now"


def _check_link(child: Manifest, parent: Manifest) -> None:
    """Raise ChainError unless the child is an increment of this very parent."""
    differences = (
        ("digest", child.parent_digest, parent.digest),
        ("uuid", child.uuid, parent.uuid),
        ("LSN base", child.base, parent.base),
        ("LSN", child.lsn_from, parent.lsn_to),
    )
    for what, wanted, found in differences:
        if wanted != found:
            raise ChainError(
                f"backup {child.name} does not fit its parent {parent.name}: "
                f"it continues {what} {wanted}, the parent has {found}"
            )


def _owner(store: Store) -> tuple[Owner | None, list[str]]:
    try:
        return Owner.from_json(store.get(OWNER)), []
    except MissingError:
        return None, []
    except ValueError as error:
        return None, [f"{OWNER} cannot be used: {error}"]


def _foreign(store: Store) -> list[str]:
    known = (OWNER, BACKUPS, BINLOGS)
    return [f"{name} is not ours" for name in store.children("") if name not in known]


def _sort(entry: Entry, sizes: dict[str, dict[str, int]], problems: list[str]) -> None:
    """Put an object to its backup: name -> file -> size."""
    name, _, file = entry.key.removeprefix(BACKUPS).partition("/")
    if parse_name(name) is None or not file or not is_key(entry.key):
        problems.append(f"{entry.key} is not ours")
    else:
        sizes.setdefault(name, {})[file] = entry.size


def _backup(
    store: Store, name: str, files: dict[str, int], manifest: Manifest | None, written: Mapping[str, datetime]
) -> tuple[Backup | None, list[str]]:
    """Read a backup's manifest, unless it is given, and verification; None where the manifest cannot be used.

    written: when each object was, by its key.
    """
    try:
        manifest = manifest or Manifest.from_json(store.get(manifest_key(name)))
    except MissingError:
        # expired while we were reading
        return None, []
    except ManifestError as error:
        return None, [f"{manifest_key(name)} cannot be used: {error}"]
    if manifest.name != name:
        return None, [f"{manifest_key(name)} is the manifest of {manifest.name}"]
    wrong = _missing(manifest, files)
    if wrong:
        return None, wrong
    verification, problems = _verification(store, name, files)
    return Backup(manifest, verification, store.label, written[manifest.key]), problems + _surplus(manifest, files)


def _missing(manifest: Manifest, files: dict[str, int]) -> list[str]:
    """Objects of a manifest that are not there or have another size: the backup is not whole."""
    found = []
    for one in manifest.objects:
        size = files.get(one.key.removeprefix(f"{BACKUPS}{manifest.name}/"))
        if size is None:
            found.append(f"{one.key} is missing: backup {manifest.name} is not whole")
        elif size != one.size:
            found.append(f"{one.key} has {size} bytes, not {one.size}: backup {manifest.name} is not whole")
    return found


def _verification(store: Store, name: str, files: Iterable[str]) -> tuple[Verification | None, list[str]]:
    if VERIFICATION not in files:
        return None, []
    try:
        found = Verification.from_json(store.get(verification_key(name)))
    except MissingError:
        return None, []
    except ManifestError as error:
        return None, [f"{verification_key(name)} cannot be used: {error}"]
    return found, []


def _surplus(manifest: Manifest, files: Iterable[str]) -> list[str]:
    known = {MANIFEST, VERIFICATION} | {one.key.removeprefix(f"{BACKUPS}{manifest.name}/") for one in manifest.objects}
    return [f"{BACKUPS}{manifest.name}/{file} is not in the manifest" for file in files if file not in known]
