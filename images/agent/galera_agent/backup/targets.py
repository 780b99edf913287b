# SPDX-License-Identifier: GPL-3.0-or-later
"""Several targets at once, so that one that does not answer holds up no other.

A hard NFS mount whose server is away answers nothing at all, without end; a bucket behind a firewall after minutes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import Any, TypeVar, cast

from . import catalog
from .catalog import Catalog, Owner
from .store import SilentError, Store, StoreError

# So long others wait for a target: for whose it is, and for all that it holds
OWNER_SECONDS, CATALOG_SECONDS = 10.0, 300.0
# So long others wait for one that is archived to, when it takes nothing
ARCHIVE_SECONDS = 120.0
# The same for a backup, of which steps are larger: 64 MiB come to a disk, 16 MiB and more into a bucket. As longer ones
# the redo log of a busy server does not hold what is written meanwhile, and the backup fails in the other one as well.
BACKUP_SECONDS = 300.0
# A node that is to be filled joins by SST where no backup is found within rejoin.LOOK_SECONDS
FILL_SECONDS = 40.0
# Labels of those that this process has given up: a thread of it may wait for them without end
GIVEN_UP: set[str] = set()
_T = TypeVar("_T")
# Says that the work goes on
Beat = Callable[[], None]


def ours(
    stores: Sequence[Store], owner: Owner, ask: Callable[[Store, Owner], object], seconds: float | None = None
) -> tuple[list[Store], dict[str, StoreError]]:
    """The targets that are this cluster's, and why others are not, by label. ask: catalog.claim, or may_claim."""
    found, why = together(stores, lambda store, _: ask(store, owner), seconds or OWNER_SECONDS)
    return [store for store in stores if store.label in found], why


def read(
    stores: Sequence[Store], seconds: float | None = None, *, others: bool = False
) -> tuple[list[Catalog], dict[str, str]]:
    """The catalogs of the targets that can be read, and why others cannot. One that is empty has an empty catalog.

    seconds: that it may take in all, where others are waited for; None: as long as each goes on. others: there are
    targets that have answered already, so that these are not waited for without end.
    """

    def look(store: Store, beat: Beat) -> Catalog:
        return catalog.read(store if seconds else heard(store, beat))

    found, why = together(stores, look, seconds or CATALOG_SECONDS, others=others)
    return list(found.values()), {label: str(error) for label, error in why.items()}


def together(
    stores: Sequence[Store], work: Callable[[Store, Beat], _T], seconds: float, *, others: bool = False
) -> tuple[dict[str, _T], dict[str, StoreError]]:
    """Do some work in all targets; returns what came of it and what failed, by label, in the order of the targets.

    As soon as it is done in one of them, or was in others, the rest has so many seconds: from the beginning, or from
    the last time that its work called what it gets for that. Raises what work raises that is no StoreError.
    """
    beats = {store.label: time.monotonic() for store in stores}
    futures = {store.label: _begin(work, store, partial(_beat, beats, store.label)) for store in stores}

    def patience() -> float:
        """Seconds for which one that is not done may still say nothing."""
        left = [beats[label] for label, future in futures.items() if not future.done()]
        return max(left, default=0.0) + seconds - time.monotonic()

    done, waiting = wait(futures.values(), timeout=seconds)
    while waiting and not others and all(one.exception() for one in done):
        more, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        done |= more
    while waiting and (left := patience()) > 0:
        more, waiting = wait(waiting, timeout=left)
        done |= more
    found: dict[str, _T] = {}
    why: dict[str, StoreError] = {}
    for label, future in futures.items():
        try:
            if future in done:
                found[label] = future.result()
            else:
                GIVEN_UP.add(label)
                why[label] = SilentError(f"{label} has not answered within {seconds:g} s")
        except StoreError as error:
            why[label] = error
    return found, why


def heard(store: Store, beat: Beat) -> Store:
    """The store, of which each answer says that the work goes on."""
    return cast(Store, _Heard(store, beat))


class _Heard:
    def __init__(self, store: Store, beat: Beat) -> None:
        self._store, self._beat = store, beat

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return partial(self._call, found) if callable(found) else found

    def _call(self, found: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        answer = found(*arguments, **named)
        self._beat()
        return self._each(answer) if isinstance(answer, Generator) else answer

    def _each(self, answers: Iterator[Any]) -> Iterator[Any]:
        for one in answers:
            self._beat()
            yield one


def _beat(beats: dict[str, float], label: str) -> None:
    beats[label] = time.monotonic()


def _begin(work: Callable[[Store, Beat], _T], store: Store, beat: Beat) -> Future[_T]:
    """Begin in a thread that does not keep the process from ending."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(work(store, beat))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=f"target {store.label}", daemon=True).start()
    return future
