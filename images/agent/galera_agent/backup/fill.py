# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a data directory of the newest backup from which a node can join the running cluster by IST.

It keeps the cluster's uuid and the backup's seqno, and is made beside its place: the agent moves it there (rejoin.py).
Whatever is in doubt is refused, since a donor can always send everything.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from .. import datadir, offline, place
from ..chain import LATEST, Refused, series
from ..datadir import Evidence
from . import base, selection
from .binlog_events import parse_gtid, sequence_of
from .catalog import Catalog
from .manifest import Manifest
from .pipe import Limit
from .store import Store
from .streams import Streams
from .terms import Terms

_GRASTATE = "# GALERA saved state\nversion: 2.1\nuuid:    {}\nseqno:   -1\nsafe_to_bootstrap: 0\n"
# Why the first backups do not fit, the newest first; older ones mostly do not for the same reason
_REASONS = 3


def choose(
    stores: Sequence[Store],
    catalogs: Sequence[Catalog],
    terms: Terms,
    version: str,
    open_chain: Callable[[Store, selection.Chosen], Streams],
) -> tuple[Manifest, Streams]:
    """The newest backup that fits, and its source. version: what mariadb-backup prints.

    Raises Refused where none fits.
    """
    reasons: list[str] = []
    for _, found in selection.candidates(catalogs, LATEST, LATEST):
        if isinstance(found, str):
            reasons.append(found)
            continue
        tip = found[-1]
        try:
            _require_fit(tip.manifest, terms, version)
            source = open_chain(next(one for one in stores if one.label == tip.store), found)
            source.check(version)
        except Refused as error:
            reasons.append(str(error))
        else:
            return tip.manifest, source
    raise Refused("no backup fits: " + ("; ".join(reasons[:_REASONS]) or "there is none"))


def fill(
    stores: Sequence[Store],
    catalogs: Sequence[Catalog],
    terms: Terms,
    data: Path,
    identity: Path,
    limit: Limit,
    say: Callable[[str], None],
    tell: Callable[[str, str], None],
    version: str,
    tools: Callable[[Path, Callable[[str], None]], offline.Tools] = offline.Tools,
) -> Manifest:
    """Make it in datadir.being_made(data), where nothing is left after a failure.

    tell: gets the name of the backup and how far the work is. Raises Refused where no backup fits, StreamError,
    StoreError, StepError or OSError where a step failed.
    """

    def open_chain(store: Store, chosen: selection.Chosen) -> Streams:
        return Streams(store, chosen, [], None, identity, say, limit, partial(tell, chosen[-1].name))

    manifest, source = choose(stores, catalogs, terms, version, open_chain)
    fresh = datadir.being_made(data)
    with place.locked(data.parent), tempfile.TemporaryDirectory() as scratch:
        datadir.sweep(data)
        place.require_space(data.parent, source.space()[1])
        tell(manifest.name, "begins")
        done = False
        try:
            work = tools(Path(scratch), say)
            layout = source.build(fresh, Path(scratch), work)
            _require_usual(fresh, layout)
            _require_position(work, fresh, manifest)
            _finish(fresh, manifest)
            done = True
        finally:
            if not done:
                datadir.sweep(data)
    return manifest


def _require_fit(manifest: Manifest, terms: Terms, version: str) -> None:
    """Raise Refused where a node could not join with a backup that is whole."""
    if refusal := terms.refusal(manifest.name, manifest.uuid, manifest.seqno):
        raise Refused(refusal)
    mine = series(version.partition("MariaDB server")[2])
    if mine is None or series(manifest.server_version) != mine:
        # An older one would lack what was upgraded in the system tables since.
        raise Refused(
            f"backup {manifest.name} is of MariaDB {manifest.server_version}, this image has {version.strip()[:100]}"
        )


def _require_usual(fresh: Path, layout: dict[str, str]) -> None:
    """Raise Refused where a server may need options, keys or places of the backup's server to find its tables."""
    if layout:
        found = ", ".join(f"{name}={value}" for name, value in layout.items())
        raise Refused(f"the backup's server has a layout of its own, {found}")
    text = (fresh / "backup-my.cnf").read_text(encoding="utf-8", errors="replace")
    options = dict(re.findall(r"^(\w+)=(.*?)[ \t]*$", text, re.MULTILINE))
    if options.get("innodb_undo_directory", ".").rstrip("/") not in ("", "."):
        raise Refused(f"the backup's server has its undo logs in {options['innodb_undo_directory']}")
    if others := sorted(name for name in options if not name.startswith("innodb_")):
        raise Refused(f"the backup's server needs {', '.join(others)} to read its tables")
    if links := sorted(fresh.rglob("*.isl")):
        raise Refused(f"table {links[0].relative_to(fresh).with_suffix('')} lies outside of the data directory")


def _require_position(tools: offline.Tools, fresh: Path, manifest: Manifest) -> None:
    """Raise StepError unless the data say of themselves what the manifest says of them."""
    if datadir.inspect(fresh) != "present":
        raise offline.StepError(f"{manifest.name} holds no whole data directory")
    found, gtid = tools.position(fresh)
    if found != Evidence("present", manifest.uuid, manifest.seqno):
        raise offline.StepError(
            f"the data of {manifest.name} are at {found.position or found.note or 'no position'}, its manifest says "
            f"{manifest.uuid}:{manifest.seqno}"
        )
    here = parse_gtid(gtid) if gtid else None
    if here is not None and here.sequence and here.sequence != sequence_of(manifest.gtid, here.domain):
        raise offline.StepError(f"the data of {manifest.name} are at GTID {gtid}, its manifest says '{manifest.gtid}'")


def _finish(fresh: Path, manifest: Manifest) -> None:
    """Leave what a server would that was killed at the backup's position, and nothing of another one."""
    place.strip(fresh)
    (fresh / base.FILE).unlink(missing_ok=True)
    # Galera takes a position only where this file names the same uuid; without a seqno InnoDB is asked for it.
    (fresh / "grastate.dat").write_text(_GRASTATE.format(manifest.uuid), encoding="ascii")
    if manifest.binlog is not None and manifest.gtid:
        # A server without a binary log takes from here what was logged before: the archive needs it.
        log = Path(manifest.binlog.file)
        (fresh / log.with_suffix(".state").name).write_text(
            "".join(f"{gtid}\n" for gtid in manifest.gtid.split(",")), encoding="ascii"
        )
    place.sync(fresh)
