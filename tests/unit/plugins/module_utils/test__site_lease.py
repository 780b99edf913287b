# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _holder, _site_lease
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._observe import Names
from ansible_collections.stateful.galera.plugins.module_utils._site_lease import HeldError, SiteLease
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes

NAMES = Names("demo", "db")
ME, _ = _holder.current()
OTHER = dataclasses.replace(ME, host="awx", boot="00-1")


class Clock:
    """A clock that goes on only while someone sleeps; `then` is called at each sleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.then: Any = lambda: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.then()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _lease(
    api: FakeKubernetes, clock: Clock, holder: _holder.Holder = ME, outlives: bool = True, duration: int = 15
) -> SiteLease:
    api.objects.setdefault(("Namespace", "", "db"), {"kind": "Namespace", "metadata": {"name": "db"}})
    client = Client(api.auth, retry_timeout=0)
    return SiteLease(client, NAMES, duration, holder=(holder, outlives), clock=clock, sleep=clock.sleep)


def _live(api: FakeKubernetes) -> dict[str, Any] | None:
    return api.get("Lease", "demo-galera-site")


def _renewed(seconds_ago: float) -> str:
    moment = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds_ago)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _hold(api: FakeKubernetes, holder: object, renewed: str | None = None, duration: int = 15) -> dict[str, Any]:
    spec = {
        "holderIdentity": str(holder),
        "leaseDurationSeconds": duration,
        "acquireTime": "2026-11-21T07:00:00.000000Z",
        "renewTime": renewed or _renewed(3),
    }
    return api.add({"kind": "Lease", "metadata": {"name": "demo-galera-site", "namespace": "db"}, "spec": spec})


def test_taken_and_given_back(api: FakeKubernetes, clock: Clock) -> None:
    lease = _lease(api, clock)
    lease.take()
    live = _live(api)
    assert live is not None
    assert live["spec"]["holderIdentity"] == str(ME)
    assert lease.held
    lease.check()
    lease.leave()
    assert (_live(api), lease.held, clock.now) == (None, False, 1000.0)


def test_kept_for_the_tasks_that_follow(api: FakeKubernetes, clock: Clock) -> None:
    first, second = _lease(api, clock), _lease(api, clock)
    first.take()
    first.leave(keep=True)
    since = (_live(api) or {})["spec"]["acquireTime"]
    assert second.adopt()
    assert (_live(api) or {})["spec"]["acquireTime"] == since
    second.leave()
    assert _live(api) is None


def test_not_kept_by_a_process_that_stands_for_itself(api: FakeKubernetes, clock: Clock) -> None:
    lease = _lease(api, clock, outlives=False)
    lease.take()
    lease.leave(keep=True)
    assert _live(api) is None


def test_nothing_to_adopt(api: FakeKubernetes, clock: Clock) -> None:
    assert not _lease(api, clock).adopt()
    _hold(api, OTHER)
    assert not _lease(api, clock).adopt()


def test_run_that_renews_is_named(api: FakeKubernetes, clock: Clock) -> None:
    live = _hold(api, OTHER)
    clock.then = lambda: live["spec"].update(renewTime=_renewed(0)) if clock.now >= 1004 else None
    with pytest.raises(HeldError) as error:
        _lease(api, clock).take()
    said = str(error.value)
    assert said.startswith(
        f"Another run is changing the cluster db/demo: {ME.user}@awx (process {ME.pid}) has held the Lease "
        f"demo-galera-site since 2026-11-21T07:00:00Z and renewed it at 20"
    )
    assert said.endswith("Nothing was changed.")
    assert clock.now < 1006
    assert (_live(api) or {})["spec"]["holderIdentity"] == str(OTHER)


def test_lease_that_stands_still_is_taken_over_after_its_duration(api: FakeKubernetes, clock: Clock) -> None:
    _hold(api, OTHER)
    lease = _lease(api, clock)
    lease.take()
    assert 1015 <= clock.now <= 1016
    assert (_live(api) or {})["spec"]["holderIdentity"] == str(ME)
    lease.leave()


@pytest.mark.parametrize(
    ("holder", "renewed"),
    [
        (dataclasses.replace(ME, started=ME.started - 1), _renewed(1)),
        (ME, _renewed(60)),
        ("", _renewed(1)),
    ],
    ids=["dead on this machine", "our own", "nobody"],
)
def test_taken_over_at_once(api: FakeKubernetes, clock: Clock, holder: object, renewed: str) -> None:
    _hold(api, holder, renewed)
    lease = _lease(api, clock)
    lease.take()
    assert clock.now == 1000.0
    lease.leave()


@pytest.mark.parametrize("duration", [15, 900])
def test_lease_that_ended_long_ago_is_watched_for_a_while(api: FakeKubernetes, clock: Clock, duration: int) -> None:
    _hold(api, OTHER, _renewed(7200), duration)
    lease = _lease(api, clock)
    lease.take()
    assert 1015 <= clock.now <= 1016
    assert (_live(api) or {})["spec"]["holderIdentity"] == str(ME)
    lease.leave()


def test_run_whose_clock_is_hours_behind_is_not_taken_for_dead(api: FakeKubernetes, clock: Clock) -> None:
    """Such as on a machine that slept; it renews its Lease nevertheless."""
    live = _hold(api, OTHER, _renewed(7200))
    clock.then = lambda: live["spec"].update(renewTime=_renewed(7190)) if clock.now >= 1004 else None
    with pytest.raises(HeldError):
        _lease(api, clock).take()
    assert (_live(api) or {})["spec"]["holderIdentity"] == str(OTHER)


def test_long_lease_is_not_watched_to_its_end(api: FakeKubernetes, clock: Clock) -> None:
    _hold(api, OTHER, duration=900)
    with pytest.raises(HeldError):
        _lease(api, clock).take()
    assert 1015 <= clock.now <= 1016


def test_of_two_that_find_it_free_one_has_it(api: FakeKubernetes, clock: Clock) -> None:
    other = _lease(api, clock, OTHER)
    path = "/apis/coordination.k8s.io/v1/namespaces/db/leases"

    def faster(method: str, where: str) -> None:
        if method == "POST" and where == path and _live(api) is None:
            _hold(api, OTHER)

    api.before = faster
    clock.then = lambda: (_live(api) or {})["spec"].update(renewTime=_renewed(0))
    with pytest.raises(HeldError):
        _lease(api, clock).take()
    assert not other.held


def test_renewal_goes_on_after_a_lost_answer(api: FakeKubernetes, clock: Clock) -> None:
    lease = _lease(api, clock)
    lease.take()
    live = _live(api)
    assert live is not None
    # a renewal of ours reached the server, its answer did not reach us
    live["metadata"]["resourceVersion"] = "later"
    assert lease.renew()
    assert lease.renew()
    lease.check()
    lease.leave()


@pytest.mark.parametrize(
    ("thief", "by"),
    [(OTHER, f" to {ME.user}@awx (process {ME.pid})"), (None, ": somebody")],
    ids=["taken", "deleted"],
)
def test_loss_stops_the_run_and_leaves_the_other_ones_lease(
    api: FakeKubernetes, clock: Clock, thief: object, by: str
) -> None:
    lease = _lease(api, clock)
    lease.take()
    if thief is None:
        del api.objects["Lease", "db", "demo-galera-site"]
    else:
        _hold(api, thief)["metadata"]["resourceVersion"] = "later"
    assert not lease.renew()
    with pytest.raises(GaleraError, match=r"^The Lease demo-galera-site of this run was lost") as error:
        lease.check()
    assert by in str(error.value)
    lease.leave()
    assert (_live(api) is None) == (thief is None)


@pytest.mark.parametrize("taken", [True, False])
def test_a_lease_that_was_not_renewed_in_time_is_asked_for_before_it_is_relied_on(
    api: FakeKubernetes, clock: Clock, taken: bool
) -> None:
    """The API server was away, and the thread that renews still waits for an answer: nobody has noted a loss."""
    lease = _lease(api, clock)
    lease.take()
    clock.now += 14.0
    if taken:
        _hold(api, OTHER)["metadata"]["resourceVersion"] = "later"
    lease.check()  # it cannot be another run's yet
    clock.now += 1.0
    before = (_live(api) or {})["spec"]["renewTime"]
    if taken:
        with pytest.raises(GaleraError, match=r"^The Lease demo-galera-site of this run was lost to .*run again"):
            lease.check()
    else:
        lease.check()
        assert (_live(api) or {})["spec"]["renewTime"] > before
        api.requests.clear()
        lease.check()
        assert api.requests == []
    lease.leave()
    assert (_live(api) is not None) == taken


def test_a_lease_that_its_thread_renews_just_then_is_no_loss(api: FakeKubernetes, clock: Clock) -> None:
    """An answer that the thread waited for comes between the two requests with which the run asks for the Lease."""
    lease = _lease(api, clock)
    lease.take()
    clock.now += 20.0
    met: list[str] = []

    def renewed(method: str, where: str) -> None:
        live = _live(api)
        if method == "PUT" and not met and live is not None:
            met.append(where)
            live["metadata"]["resourceVersion"] = "later"

    api.before = renewed
    lease.check()
    assert (len(met), lease.held) == (1, True)
    lease.leave()
    assert _live(api) is None


def test_a_lease_that_cannot_be_renewed_in_time_stops_the_run(api: FakeKubernetes, clock: Clock) -> None:
    lease = _lease(api, clock)
    lease.take()
    clock.now += 20.0
    api.denied.add(("update", "leases"))
    with pytest.raises(GaleraError, match=r"^The Lease demo-galera-site of this run cannot be renewed: run again\.$"):
        lease.check()


def test_facts(api: FakeKubernetes) -> None:
    assert _site_lease.facts(None) is None
    assert _site_lease.facts(_hold(api, "")) is None
    seen = _site_lease.facts(_hold(api, OTHER, "2026-11-21T07:00:05.123456Z"))
    assert seen is not None
    assert (seen["holder"], seen["since"]) == (f"{ME.user}@awx (process {ME.pid})", "2026-11-21T07:00:00Z")
    assert (seen["renewed"], seen["expires"]) == ("2026-11-21T07:00:05Z", "2026-11-21T07:00:20Z")
    pod = _site_lease.facts(_hold(api, "demo-galera-0"))
    assert pod is not None
    assert (pod["holder"], pod["dead"]) == ("demo-galera-0", False)
