# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""One run at a time changes a cluster: the Lease <name>-galera-site.

How a module that changes something uses it:

    lease = SiteLease(client, names)
    lease.adopt()              # at the start: a run that holds it already goes on holding it
    ...                        # look, decide; nothing to do: end here
    lease.take()               # before the first write; raises HeldError with the sentence for the user
    sight = waiter.look()      # look again: what was seen before may be another run's past
    ...
    lease.check()              # before each further write of a long module; raises when the Lease was lost
    ...
    lease.leave(keep=False)    # at the end; also in a `finally`, where the failure of the module is the end of the play

The holder is the ansible-playbook above the module (see _holder), so the modules of one play share the Lease: each
adopts it, and a thread renews it while the module works. `keep` leaves it to the tasks that follow, if the play
outlives the module. A holder that is known to be dead is replaced at once; any other only after its Lease was watched
standing still for its whole duration, because the clocks of two machines are never compared for short times.
"""

from __future__ import annotations

import datetime
import threading
import time
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils import _holder
from ansible_collections.stateful.galera.plugins.module_utils._errors import ApiError, GaleraError, UnreachableError
from ansible_collections.stateful.galera.plugins.module_utils._kinds import INSTANCE_LABEL, KINDS

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Manifest
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Names

DURATION_SECONDS = 15
RENEW_SECONDS = 5.0
_LOOK_SECONDS = 0.5
_ATTEMPTS = 3
# a long Lease that ended that long ago need not be watched to its end, where nobody renews it
_FORGOTTEN_SECONDS = 3600.0
_LEASE = KINDS["Lease"]


class HeldError(GaleraError):
    """Another run holds the Lease and lives, or may live."""


class NoNamespaceError(GaleraError):
    """There is no namespace that the Lease could be in, and so nothing to guard."""


class SiteLease:
    """The Lease of one cluster in the name of this run.

    duration: seconds after the last renewal for which the Lease holds; longer only for tasks that cannot renew it.
    """

    def __init__(
        self,
        client: Client,
        names: Names,
        duration: int = DURATION_SECONDS,
        holder: tuple[_holder.Holder, bool] | None = None,
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._names, self._duration = client, names, duration
        found: tuple[_holder.Holder, bool] = holder or _holder.current()
        self._holder, self._outlives = found
        self._clock, self._sleep = clock, sleep
        self._path = _LEASE.path(names.namespace, names.site_lease)
        self._live: Manifest | None = None
        self._lost = ""
        self._renewed = clock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> bool:
        return self._live is not None

    def adopt(self) -> bool:
        """Go on holding the Lease if this run holds it already; who may not read it has not taken it."""
        try:
            live = self._client.get(_LEASE, self._names.site_lease, self._names.namespace)
        except ApiError as error:
            if error.status != 403:
                raise
            return False
        return live is not None and _identity(live) == str(self._holder) and self._write(live)

    def take(self) -> None:
        """Hold the Lease. Raises HeldError when another run holds it, GaleraError when it cannot be had."""
        seen: tuple[str, str] | None = None
        since = self._clock()
        while not self.held:
            live = self._client.get(_LEASE, self._names.site_lease, self._names.namespace)
            if live is None or self._is_free(live):
                self._write(live)
                continue
            mark = (str(live["metadata"].get("uid")), str(live["spec"].get("renewTime")))
            if seen is None:
                seen, since = mark, self._clock()
            watched = self._clock() - since
            # one that ended long ago by our clock is renewed all the same where the other clock is wrong
            patience = DURATION_SECONDS if _forgotten(live) else _duration(live)
            if mark != seen or (watched >= DURATION_SECONDS and patience > DURATION_SECONDS):
                raise HeldError(held_sentence(live, self._names))
            if watched >= patience:
                self._write(live)
            else:
                self._sleep(_LOOK_SECONDS)

    def check(self) -> None:
        """Raises GaleraError when the Lease was lost: from then on another run may be at work.

        One that was not renewed for its duration may be another run's by now, which the thread that renews it need not
        have noticed: it may still wait for the answer of a server that was away.
        """
        left = _ATTEMPTS
        while self.held and not self._lost and self._is_overdue():
            if not left:
                raise GaleraError(f"The Lease {self._names.site_lease} of this run cannot be renewed: run again.")
            left -= 1
            # The thread, whose answer has come just now, may renew it between these two requests.
            if self._find_again(self._client.get(_LEASE, self._names.site_lease, self._names.namespace)):
                self.renew()
        if self._lost:
            raise GaleraError(f"{self._lost} This run stops here; run again when the other one has ended.")

    def leave(self, keep: bool = False) -> None:
        """Stop renewing; give the Lease back unless it is to be kept for the tasks of this play that follow."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        live, self._live = self._live, None
        if live is None or self._lost or (keep and self._outlives):
            return
        preconditions = {key: live["metadata"][key] for key in ("uid", "resourceVersion")}
        try:
            self._client.fetch("DELETE", self._path, body={"preconditions": preconditions})
        except UnreachableError:
            return  # it expires

    def _is_overdue(self) -> bool:
        return self._clock() - self._renewed >= self._duration

    def _is_free(self, live: Manifest) -> bool:
        identity = _identity(live)
        if identity in ("", str(self._holder)):
            return True
        holder = _holder.Holder.parse(identity)
        return holder is not None and holder.is_dead()

    def _write(self, live: Manifest | None) -> bool:
        """Create the Lease or put our name on the one that was read; False where another was faster."""
        before = (live or {}).get("spec") or {}
        own = before.get("holderIdentity") == str(self._holder)
        spec = {
            "holderIdentity": str(self._holder),
            "leaseDurationSeconds": self._duration,
            "acquireTime": before.get("acquireTime") if own else _now(),
            "renewTime": _now(),
        }
        before_request = self._clock()
        try:
            if live is None:
                metadata = {
                    "name": self._names.site_lease,
                    "namespace": self._names.namespace,
                    "labels": {INSTANCE_LABEL: self._names.name},
                }
                manifest = {"apiVersion": _LEASE.api_version, "kind": _LEASE.kind, "metadata": metadata, "spec": spec}
                self._live = self._client.create(_LEASE, manifest, self._names.namespace)
            else:
                answer = self._client.ask("PUT", self._path, body={**live, "spec": spec}, conflicts_pass=False)
                self._live = answer.json()
        except ApiError as error:
            if live is None and error.status == 404:
                raise NoNamespaceError(f"The namespace {self._names.namespace} does not exist.") from error
            if error.status in (404, 409):
                return False
            raise GaleraError(f"The Lease {self._names.site_lease} cannot be taken: {error}.") from error
        self._renewed = before_request
        self._start_renewing()
        return True

    def _start_renewing(self) -> None:
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._renew_for_ever, name="site-lease", daemon=True)
            self._thread.start()

    def _renew_for_ever(self) -> None:
        pause = RENEW_SECONDS
        while not self._stop.wait(pause):
            pause = RENEW_SECONDS if self.renew() else 1.0
            if self._lost:
                return

    def renew(self) -> bool:
        """Renew once, without patience; False where the API server did not do it. A loss is noted for check()."""
        live, before_request = self._live, self._clock()
        if live is None:
            return False
        try:
            answer = self._client.fetch("PUT", self._path, body={**live, "spec": {**live["spec"], "renewTime": _now()}})
            if answer.status in (404, 409):
                answer = self._client.fetch("GET", self._path)
                if answer.status >= 400 and answer.status != 404:
                    return False
                return self._find_again(answer.json() if answer.status == 200 else None)
            if answer.status < 400:
                self._live, self._renewed = answer.json(), before_request
        except GaleraError:
            return False
        return answer.status < 400

    def _find_again(self, live: Manifest | None) -> bool:
        """Whether the Lease as it is now is still ours (an answer of ours was lost); else it is lost."""
        if live is not None and _identity(live) == str(self._holder):
            self._live = live
            return True
        by = f" to {_holder.describe(_identity(live))}" if live is not None else ": somebody deleted it"
        self._lost = f"The Lease {self._names.site_lease} of this run was lost{by}, after the API server was away."
        return False


def held_sentence(live: Manifest, names: Names) -> str:
    """Who holds the Lease, since when, and what to do."""
    spec = live["spec"]
    return (
        f"Another run is changing the cluster {names.namespace}/{names.name}: {_holder.describe(_identity(live))} has "
        f"held the Lease {names.site_lease} since {_second(spec.get('acquireTime'))} and renewed it at "
        f"{_second(spec.get('renewTime'))}; it expires at {_expiry(live)} unless it is renewed again. "
        f"Run again when that run has ended. Nothing was changed."
    )


def facts(live: Manifest | None) -> dict[str, t.Any] | None:
    """The Lease as `status` tells it: holder, since, renewed, expires; None when nobody holds it."""
    if live is None or not _identity(live):
        return None
    spec, holder = live["spec"], _holder.Holder.parse(_identity(live))
    return {
        "holder": _holder.describe(_identity(live)),
        "since": _second(spec.get("acquireTime")),
        "renewed": _second(spec.get("renewTime")),
        "expires": _expiry(live),
        "dead": (holder is not None and holder.is_dead()) or _forgotten(live),
    }


def _identity(live: Manifest) -> str:
    return str((live.get("spec") or {}).get("holderIdentity") or "")


def _duration(live: Manifest) -> float:
    return float(live["spec"].get("leaseDurationSeconds") or DURATION_SECONDS)


def _renewed(live: Manifest) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(str(live["spec"]["renewTime"]).replace("Z", "+00:00"))
    except (KeyError, ValueError):
        return None


def _forgotten(live: Manifest) -> bool:
    renewed = _renewed(live)
    if renewed is None:
        return False
    age = datetime.datetime.now(datetime.UTC) - renewed
    return age.total_seconds() > _duration(live) + _FORGOTTEN_SECONDS


def _expiry(live: Manifest) -> str:
    renewed = _renewed(live)
    if renewed is None:
        return "an unknown time"
    return f"{renewed + datetime.timedelta(seconds=_duration(live)):%Y-%m-%dT%H:%M:%SZ}"


def _second(moment: t.Any) -> str:
    """A time without its fraction."""
    return f"{str(moment).partition('.')[0].removesuffix('Z')}Z" if moment else "an unknown time"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
