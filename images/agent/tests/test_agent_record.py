# SPDX-License-Identifier: GPL-3.0-or-later
"""The record: written once for the cluster, and for each pod only what has reached its disk."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from agent_fakes import Clock, FakeKube
from galera_agent.kube import ApiError
from galera_agent.members import Consent, Offer, Record
from galera_agent.record import EVERY_SECONDS, SETTLED_SECONDS, Recorder, consent_of, parse
from galera_agent.wsrep import Status
from galera_agent.wsrep import parse as parse_rows

A = "aaaaaaaa-0000-4000-8000-00000000000a"
B = "bbbbbbbb-0000-4000-8000-00000000000b"


def status(seqno: int, uuid: str = A, state: str = "Synced") -> Status:
    rows = {"wsrep_cluster_state_uuid": uuid, "wsrep_last_committed": str(seqno), "wsrep_local_state_comment": state}
    return parse_rows(rows)


def entry(uuid: str, **more: object) -> str:
    return json.dumps({"uuid": uuid, "time": "2026-11-21T07:00:00Z", **more})


@pytest.mark.parametrize(
    ("data", "record"),
    [
        ({}, None),
        ({"n-0": entry(A, seqno=4)}, None),
        ({"cluster": entry(A)}, Record(A)),
        (
            {"cluster": entry(A), "n-1": entry(A, seqno=7), "n-0": entry(A, seqno=4)},
            Record(A, (("n-0", 4), ("n-1", 7))),
        ),
        ({"cluster": entry(A), "n-0": entry(B, seqno=4)}, Record(A)),
    ],
)
def test_parse(data: dict[str, str], record: Record | None) -> None:
    assert parse(data) == record


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"x"', '{"uuid": "x", "seqno": "many"}'])
@pytest.mark.parametrize("key", ["cluster", "n-0"])
def test_a_broken_record_is_not_taken_for_none(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"unreadable entry '{key}'"):
        parse({"cluster": entry(A), key: text})


@pytest.fixture
def recorder(kube: FakeKube, clock: Clock) -> Recorder:
    kube.make_map("state")
    return Recorder(kube, "state", "n-0", clock)


def test_the_cluster_is_written_once(kube: FakeKube, recorder: Recorder, clock: Clock) -> None:
    assert recorder.update(status(1)) is None
    assert recorder.update(status(1)) is None
    assert [list(patch) for patch in kube.patches] == [["cluster"]]
    assert json.loads(kube.maps["state"]["data"]["cluster"])["uuid"] == A
    assert Recorder(kube, "state", "n-1", clock).update(status(1)) is None
    assert len(kube.patches) == 1


def test_another_cluster_never_overwrites_it(kube: FakeKube, recorder: Recorder) -> None:
    recorder.update(status(1))
    before = json.dumps(kube.maps)
    assert f"the running cluster is {B}" in str(recorder.update(status(9, B)))
    assert json.dumps(kube.maps) == before


def test_two_writers_at_once_do_not_overwrite_each_other(kube: FakeKube, clock: Clock) -> None:
    kube.make_map("state")
    stale = kube.config_map("state")
    Recorder(kube, "state", "n-0", clock).update(status(1))
    late = Recorder(kube, "state", "n-1", clock)
    fresh, kube.config_map = kube.config_map, lambda name: stale
    with pytest.raises(ApiError, match="modified"):
        late.update(status(1, B))
    kube.config_map = fresh
    assert json.loads(kube.maps["state"]["data"]["cluster"])["uuid"] == A


def test_without_its_map_it_says_so(kube: FakeKube, clock: Clock) -> None:
    with pytest.raises(ApiError, match="ConfigMap state does not exist"):
        Recorder(kube, "state", "n-0", clock).update(status(1))


def test_no_uuid_is_no_record(kube: FakeKube, recorder: Recorder) -> None:
    assert recorder.update(status(1, "")) is None
    assert kube.patches == []


def _written(kube: FakeKube) -> list[int]:
    return [json.loads(patch["n-0"])["seqno"] for patch in kube.patches if "n-0" in patch]


def test_only_what_has_reached_the_disk_is_recorded(kube: FakeKube, recorder: Recorder, clock: Clock) -> None:
    for seqno in range(20):
        recorder.update(status(seqno))
        clock.now += 0.5
    assert _written(kube)[0] == 0
    clock.now += SETTLED_SECONDS
    recorder.update(replace(status(99), local_state_comment="Donor/Desynced"))
    assert _written(kube)[-1] == 19


def test_a_moving_seqno_is_written_once_a_minute(kube: FakeKube, recorder: Recorder, clock: Clock) -> None:
    start = clock.now
    for tenth in range(int(10 * (EVERY_SECONDS * 2 + 10))):
        clock.now = start + tenth / 10
        recorder.update(status(tenth))
    assert len(_written(kube)) == 3
    assert sorted(_written(kube)) == _written(kube)


def test_an_idle_cluster_writes_nothing(kube: FakeKube, recorder: Recorder, clock: Clock) -> None:
    for _ in range(1000):
        recorder.update(status(5))
        clock.now += 1
    assert _written(kube) == [5]


OFFER = Offer("n-0", A, 9, ("n-2",), 3, (("n-0", f"{A}:9"), ("n-1", "empty")))
CONSENT = Consent(OFFER, "2026-11-21T09:00:00Z")
GIVEN = json.dumps({**OFFER.as_dict(), "time": CONSENT.time})


def test_a_consent_is_read_as_it_was_offered() -> None:
    assert consent_of({"consent": GIVEN}) == CONSENT
    assert consent_of({}) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 2}', GIVEN.replace('"seqno": 9', '"seqno": "x"')])
def test_an_unreadable_consent_is_not_taken_for_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"consent|Expecting|invalid literal"):
        consent_of({"consent": text})


def test_a_consent_becomes_the_record_in_one_step(kube: FakeKube, recorder: Recorder) -> None:
    data = {"cluster": entry(A), "n-0": entry(A, seqno=8), "n-1": entry(A, seqno=12), "n-2": entry(A, seqno=7)}
    kube.make_map("state", {**data, "consent": GIVEN})
    assert recorder.use(CONSENT)
    assert len(kube.patches) == 1
    after = kube.maps["state"]["data"]
    assert "consent" not in after
    assert parse(after) == Record(A, (("n-0", 8),), (("n-2", 9),))
    assert not recorder.use(CONSENT), "a consent counts once"


def test_a_consent_that_was_changed_is_not_used(kube: FakeKube, recorder: Recorder) -> None:
    kube.make_map("state", {"cluster": entry(A), "consent": GIVEN.replace("09:00", "10:00")})
    assert not recorder.use(CONSENT)
    assert kube.patches == []


def test_a_consent_that_nobody_needed_goes_when_the_cluster_stands(kube: FakeKube, recorder: Recorder) -> None:
    kube.make_map("state", {"cluster": entry(A), "consent": GIVEN})
    recorder.update(status(5))
    assert "consent" not in kube.maps["state"]["data"]
    assert recorder.known == Record(A)


def test_who_comes_back_counts_again(kube: FakeKube, recorder: Recorder) -> None:
    kube.make_map("state", {"cluster": entry(A)})
    recorder.give_up(9)
    assert parse(kube.maps["state"]["data"]) == Record(A, (), (("n-0", 9),))
    recorder.come_back()
    assert kube.maps["state"]["data"] == {"cluster": entry(A)}


def test_an_emptied_volume_is_forgotten(kube: FakeKube, recorder: Recorder) -> None:
    kube.make_map("state", {"cluster": entry(A), "n-0": entry(A, seqno=4), "n-1": entry(A, seqno=4)})
    recorder.forget_volume()
    assert parse(kube.maps["state"]["data"]) == Record(A, (("n-1", 4),))


@pytest.mark.parametrize("text", ["", "[]", '{"n-0": 7}', '{"n-0": {}}'])
def test_an_unreadable_list_of_those_given_up_is_not_taken_for_none(text: str) -> None:
    with pytest.raises(ValueError, match="unreadable entry 'given_up'"):
        parse({"cluster": entry(A), "given_up": text})


def test_what_others_wrote_is_read_again(kube: FakeKube, recorder: Recorder, clock: Clock) -> None:
    recorder.update(status(5))
    kube.patch_config_map("state", {"given_up": json.dumps({"n-2": {"seqno": 4}})})
    clock.now += EVERY_SECONDS - 1
    recorder.update(status(5))
    assert recorder.known == Record(A)
    clock.now += 1
    recorder.update(status(5))
    assert recorder.known == Record(A, recorder.known.seqnos, (("n-2", 4),))


def test_a_record_that_is_lost_is_written_anew(kube: FakeKube, recorder: Recorder, clock: Clock) -> None:
    recorder.update(status(5))
    kube.make_map("state")
    clock.now += EVERY_SECONDS
    recorder.update(status(5))
    assert parse(kube.maps["state"]["data"]) == Record(A, parse(kube.maps["state"]["data"]).seqnos)


def test_a_record_that_is_lost_has_each_pod_again_though_nobody_writes(
    kube: FakeKube, recorder: Recorder, clock: Clock
) -> None:
    """Without its entry nobody would notice that its volume was emptied."""
    for _ in range(3):
        recorder.update(status(5))
        clock.now += SETTLED_SECONDS
    assert _written(kube) == [5]
    kube.make_map("state", {"cluster": entry(A)})
    clock.now += EVERY_SECONDS
    recorder.update(status(5))
    assert parse(kube.maps["state"]["data"]) == Record(A, (("n-0", 5),))


def test_a_record_that_is_lost_keeps_who_was_given_up(kube: FakeKube, recorder: Recorder, clock: Clock) -> None:
    """Such a volume would else join as soon as the cluster's seqno has passed its own."""
    kube.make_map("state", {"cluster": entry(A), "given_up": json.dumps({"n-2": {"seqno": 4}})})
    recorder.update(status(5))
    kube.make_map("state")
    clock.now += EVERY_SECONDS
    recorder.update(status(5))
    assert recorder.known == Record(A, (), (("n-2", 4),))
    assert getattr(parse(kube.maps["state"]["data"]), "given_up", None) == (("n-2", 4),)


def test_a_volume_that_was_filled_anew_is_recorded_at_once(kube: FakeKube, recorder: Recorder, clock: Clock) -> None:
    for _ in range(2):
        recorder.update(status(5))
        clock.now += SETTLED_SECONDS
    recorder.update(status(5))
    assert "n-0" in kube.maps["state"]["data"]
    recorder.begin()
    recorder.forget_volume()
    assert "n-0" not in kube.maps["state"]["data"]
    for _ in range(3):
        recorder.update(status(5))
        clock.now += SETTLED_SECONDS
    assert "n-0" in kube.maps["state"]["data"]
