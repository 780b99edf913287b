# SPDX-License-Identifier: GPL-3.0-or-later
"""One holder at a time, and a dead one is replaced only after it was watched for the whole duration."""

from __future__ import annotations

import pytest
from agent_fakes import Clock, FakeKube
from galera_agent.kube import ApiError
from galera_agent.lease import DURATION_SECONDS, BootstrapLease


def _pair(kube: FakeKube, clock: Clock) -> tuple[BootstrapLease, BootstrapLease]:
    return BootstrapLease(kube, "l", "n-0", clock), BootstrapLease(kube, "l", "n-1", clock)


def test_the_first_one_takes_it(kube: FakeKube, clock: Clock) -> None:
    one, two = _pair(kube, clock)
    assert (one.read(), two.read()) == (None, None)
    assert one.take()
    assert one.held
    seen = two.read()
    assert seen is not None
    assert (seen.holder, seen.expired, two.held) == ("n-0", False, False)
    assert seen.since.endswith("Z")


def test_two_that_saw_none_do_not_both_get_it(kube: FakeKube, clock: Clock) -> None:
    one, two = _pair(kube, clock)
    one.read(), two.read()
    assert [one.take(), two.take()] == [True, False]
    assert (one.held, two.held) == (True, False)


def test_two_that_saw_an_empty_one_do_not_both_get_it(kube: FakeKube, clock: Clock) -> None:
    one, two = _pair(kube, clock)
    one.read(), one.take()
    one.give_back()
    one.read(), two.read()
    assert [two.take(), one.take()] == [True, False]


def test_a_holder_that_renews_never_expires(kube: FakeKube, clock: Clock) -> None:
    one, two = _pair(kube, clock)
    one.read(), one.take()
    since = kube.leases["l"]["spec"]["acquireTime"]
    for round_ in range(10):
        clock.now += DURATION_SECONDS - 1
        seen = two.read()
        assert seen is not None
        assert not seen.expired, round_
        one.read()
        assert one.take()
    assert kube.leases["l"]["spec"]["acquireTime"] == since


def test_a_holder_that_stands_still_expires_by_the_watchers_clock(kube: FakeKube, clock: Clock) -> None:
    one, two = _pair(kube, clock)
    one.read(), one.take()
    two.read()
    clock.now += DURATION_SECONDS
    seen = two.read()
    assert seen is not None
    assert not seen.expired
    clock.now += 1
    seen = two.read()
    assert seen is not None
    assert seen.expired
    assert two.take()
    one.read()
    assert not one.held


def test_a_lease_that_nobody_could_read_was_not_watched(kube: FakeKube, clock: Clock) -> None:
    """While the API server is away its holder cannot renew it, and does so when it is back."""
    one, two = _pair(kube, clock)
    one.read(), one.take()
    two.read()
    kube.down = True
    for _ in range(10):
        clock.now += DURATION_SECONDS
        with pytest.raises(ApiError):
            two.read()
    kube.down = False
    expired = []
    for _ in range(DURATION_SECONDS + 2):
        seen = two.read()
        assert seen is not None
        expired.append(seen.expired)
        clock.now += 1
    assert expired == [False] * (DURATION_SECONDS + 1) + [True]


def test_an_old_lease_is_not_expired_at_first_sight(kube: FakeKube, clock: Clock) -> None:
    """Its times were written by another machine, whose clock may be wrong by any amount."""
    kube.create_lease("l", {"holderIdentity": "n-0", "leaseDurationSeconds": 15, "renewTime": "1999-01-01T00:00:00Z"})
    clock.now += 1_000_000
    seen = BootstrapLease(kube, "l", "n-1", clock).read()
    assert seen is not None
    assert (seen.holder, seen.expired) == ("n-0", False)


def test_a_restarted_holder_finds_itself(kube: FakeKube, clock: Clock) -> None:
    one, _ = _pair(kube, clock)
    one.read(), one.take()
    again = BootstrapLease(kube, "l", "n-0", clock)
    again.read()
    assert again.held


def test_giving_back_is_only_for_the_holder(kube: FakeKube, clock: Clock) -> None:
    one, two = _pair(kube, clock)
    one.read(), one.take()
    two.give_back()
    assert kube.leases["l"]["spec"]["holderIdentity"] == "n-0"
    one.give_back()
    assert kube.leases["l"]["spec"]["holderIdentity"] == ""
    assert not one.held


def test_without_the_api_server_nothing_is_held(kube: FakeKube, clock: Clock) -> None:
    one, _ = _pair(kube, clock)
    one.read(), one.take()
    kube.down = True
    with pytest.raises(ApiError):
        one.take()
    assert not one.held
