# SPDX-License-Identifier: GPL-3.0-or-later
"""A node with an empty volume: when it is filled from a backup first, and that it joins by SST in every other case."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_fakes import Clock, FakeChild, FakeKube
from agent_rig import NO_SEED, PRIMARY, A, B, Rig, fill, no_answer, peer, words
from backup_samples import settings_json
from galera_agent import datadir
from galera_agent import rejoin as module
from galera_agent.datadir import Evidence
from galera_agent.members import Member, Record
from galera_agent.rejoin import MARK, Rejoin
from galera_agent.settings import Settings

B1, B2 = "20261120T010000Z-full", "20261121T010000Z-full"
SERVES = replace(PRIMARY, evidence=Evidence("present", A, 900), cached=150, vouches=(B1, B2), size=2)
ALSO = replace(SERVES, pod="n-galera-2", ordinal=2, cached=180)
RECOVERED = f"recovered\n0\n2026-11-21  7:07:18 0 [Note] WSREP: Recovered position: {A}:200,1-1-190\n"


class Work(FakeChild):
    """A child process that does what a test says; one that does not obey goes on when it is stopped."""

    obeys = True

    def stop(self) -> None:
        super().stop()
        if self.obeys:
            self.ends("failed", message="the process was stopped")

    def ends(self, state: str, **more: Any) -> None:
        self.end = self.end or {"type": "end", "command": "fill", "state": state, **more}


class Bench:
    """Node 0 of three with an empty volume, and backups."""

    def __init__(self, rig: Rig, settings: Settings, clock: Clock, file: Path) -> None:
        self.rig, self.data, self.clock, self.file = rig, settings.datadir, clock, file
        self.works: list[Work] = []
        self.write(rejoin_from_backup=True)
        rig.world.peers = (SERVES, ALSO, NO_SEED)
        self.renew()

    def renew(self) -> None:
        """A new agent in the same pod."""
        control = self.rig.control
        control._rejoin = Rejoin(
            self.rig.settings, control._tell, self.rig.lines.append, start=self.start, file=self.file, clock=self.clock
        )

    def write(self, **changes: Any) -> None:
        self.file.write_text(settings_json(**changes))

    def start(self, command: Sequence[str]) -> Work:
        self.works.append(Work(command, self.clock()))
        return self.works[-1]

    def begin(self) -> tuple[socket.socket, Work]:
        """Have a database container ask, and the filling begin."""
        waiting = self.rig.send("start\n")
        self.rig.rounds(1)
        assert no_answer(waiting)
        waiting.settimeout(10)
        return waiting, self.works[-1]

    def makes(self, work: Work, backup: str = B2, seqno: int = 200) -> None:
        """The process has made a data directory."""
        made = datadir.being_made(self.data)
        made.mkdir()
        fill(made)
        work.ends("succeeded", backup=backup, seqno=seqno)

    @property
    def events(self) -> list[tuple[str, str, str]]:
        return [(one["reason"], one["type"], one["message"]) for one in self.rig.kube.events]

    def sst(self, waiting: socket.socket, text: str, kind: str = "Warning") -> None:
        """It joins without data, says why, and has left nothing."""
        found = words(waiting)
        assert found[0] == "exec"
        assert not [one for one in found if "start_position" in one]
        (told,) = [one for one in self.events if one[0] == "GaleraNotFilled"]
        assert told[1] == kind
        assert text in told[2]
        assert told[2].endswith("joins by SST")
        assert any(text in line for line in self.rig.lines)
        assert os.listdir(self.data.parent / "data") == []
        assert not datadir.being_made(self.data).exists()


@pytest.fixture
def bench(rig: Rig, settings: Settings, clock: Clock, tmp_path: Path) -> Bench:
    return Bench(rig, settings, clock, tmp_path / "backup.json")


def test_it_is_filled_and_joins_from_the_backups_position(bench: Bench) -> None:
    rig = bench.rig
    rig.kube.make_map(rig.settings.state_map, {"cluster": json.dumps({"uuid": A}), "n-galera-0": _reached(500)})
    waiting, work = bench.begin()
    assert work.words == ("fill", "--uuid", A, "--cached", "150", "--vouched", B1, "--vouched", B2)
    assert rig.reason == "filling: looks for a backup to fill the volume from"
    work.last = {"type": "progress", "backup": B2, "message": "40 % of 12.0 MiB are unpacked"}
    rig.rounds(3)
    assert rig.reason == f"filling: fills the volume from {B2}: 40 % of 12.0 MiB are unpacked"
    assert (rig.state.now.evidence, rig.state.dead()) == (Evidence("empty"), None)
    assert "n-galera-0" not in rig.kube.maps[rig.settings.state_map]["data"], "it would hold up an election"
    bench.makes(work)
    rig.rounds(1)
    assert words(waiting) == ["recover"]
    assert sorted(os.listdir(bench.data)) == ["ibdata1", "mysql"]
    waiting = rig.send(RECOVERED)
    rig.rounds(1)
    assert f"--wsrep_start_position={A}:200" in words(waiting)
    assert ("GaleraFilled", "Normal", f"the volume was filled from {B2}, to {A}:200: joins by IST") in bench.events
    assert len(bench.works) == 1


def _reached(seqno: int) -> str:
    return json.dumps({"uuid": A, "seqno": seqno, "time": "t"})


@pytest.mark.parametrize(
    ("peers", "text"),
    [
        ((replace(SERVES, cached=None), replace(ALSO, cached=None)), "do not tell which write-sets they have cached"),
        ((SERVES, replace(ALSO, vouches=())), "of no backup is known that the data of n-galera-1, n-galera-2 are"),
        ((SERVES, replace(ALSO, vouches=("other",))), "of no backup is known"),
    ],
)
def test_without_evidence_it_is_not_begun(bench: Bench, peers: tuple[Member, ...], text: str) -> None:
    bench.rig.world.peers = (*peers, NO_SEED)
    waiting = bench.rig.send("start\n")
    bench.rig.rounds(1)
    bench.sst(waiting, text, "Normal")
    assert bench.works == []


def test_one_donor_that_tells_what_it_has_is_enough(bench: Bench) -> None:
    bench.rig.world.peers = (replace(SERVES, cached=None), ALSO, NO_SEED)
    assert bench.begin()[1].words[3:5] == ("--cached", "180")


def test_a_volume_that_was_given_up_is_not_filled(bench: Bench) -> None:
    """Filled beyond the position from which the cluster was continued, it would be refused as another history."""
    given_up = json.dumps({"n-galera-0": {"seqno": 7, "time": "t"}})
    state = {"cluster": json.dumps({"uuid": A}), "given_up": given_up}
    bench.rig.kube.make_map(bench.rig.settings.state_map, state)
    waiting = bench.rig.send("start\n")
    bench.rig.rounds(1)
    bench.sst(waiting, "this pod was given up", "Normal")


def test_what_lies_in_the_data_directory_stays(bench: Bench) -> None:
    (bench.data / "error.log").write_text("precious")
    waiting = bench.rig.send("start\n")
    bench.rig.rounds(1)
    assert words(waiting)[0] == "exec"
    assert bench.works == []
    assert (bench.data / "error.log").read_text() == "precious"
    assert "the data directory is not empty, it holds error.log" in bench.events[0][2]


@pytest.mark.parametrize("case", ["off", "older file", "no backups", "seed"])
def test_where_it_is_not_wanted_nothing_is_said(bench: Bench, case: str) -> None:
    rig = bench.rig
    if case == "off":
        bench.write(rejoin_from_backup=False)
    elif case == "older file":
        bench.write()
    elif case == "no backups":
        bench.file.unlink()
    else:
        rig.settings = rig.control._settings = replace(rig.settings, role="seed", pod="n-galera-seed-0")
        bench.renew()
    waiting = rig.send("start\n")
    rig.rounds(1)
    assert words(waiting)[0] == "exec"
    assert (bench.works, [one[0] for one in bench.events]) == ([], ["GaleraJoined"])


def test_settings_that_cannot_be_read(bench: Bench) -> None:
    bench.write(size=0)
    waiting = bench.rig.send("start\n")
    bench.rig.rounds(1)
    bench.sst(waiting, "size is 0; allowed")


@pytest.mark.parametrize("data", ["partial", "present"])
def test_only_an_empty_volume_is_filled(bench: Bench, data: str) -> None:
    (bench.data / "mysql").mkdir()
    if data == "present":
        (bench.data / "ibdata1").mkdir()
    waiting = bench.rig.send(RECOVERED if data == "present" else "start\n")
    bench.rig.rounds(1)
    assert words(waiting)[0] == "exec"
    assert (bench.works, [one[0] for one in bench.events]) == ([], ["GaleraJoined"])
    assert (bench.data / "mysql").exists()


@pytest.mark.parametrize(("state", "kind"), [("nothing", "Normal"), ("failed", "Warning")])
def test_a_filling_that_fails_ends_in_a_full_transfer_at_once(bench: Bench, state: str, kind: str) -> None:
    waiting, work = bench.begin()
    datadir.being_made(bench.data).mkdir()
    work.ends(state, message="s3://backups is out of reach")
    bench.rig.rounds(1)
    bench.sst(waiting, "s3://backups is out of reach", kind)
    # and not again in this pod, also not after a restart of container and agent
    for renew in (lambda: None, bench.renew):
        renew()
        waiting = bench.rig.send("start\n")
        bench.rig.rounds(1)
        assert words(waiting)[0] == "exec"
    assert len(bench.works) == 1


def test_an_agent_that_ended_in_the_middle_does_not_try_again(bench: Bench) -> None:
    bench.begin()
    assert (bench.rig.settings.rundir / MARK).exists()
    datadir.being_made(bench.data).mkdir()
    bench.renew()
    waiting = bench.rig.send("start\n")
    bench.rig.rounds(1)
    assert words(waiting)[0] == "exec"
    assert not datadir.being_made(bench.data).exists(), "it is in the way of the state transfer"


def test_it_ends_with_the_database_container(bench: Bench) -> None:
    waiting, work = bench.begin()
    work.obeys = False
    datadir.being_made(bench.data).mkdir()
    waiting.close()
    bench.rig.rounds(3)
    assert work.stopped >= 2
    assert datadir.being_made(bench.data).exists(), "something still writes there"
    work.ends("failed", message="the process was stopped")
    bench.rig.rounds(1)
    assert not datadir.being_made(bench.data).exists()
    assert bench.rig.reason.startswith("stopped: ")
    waiting = bench.rig.send("start\n")
    bench.rig.rounds(1)
    assert words(waiting)[0] == "exec"
    assert len(bench.works) == 1


def test_a_container_that_starts_anew_waits_until_the_old_work_has_ended(bench: Bench) -> None:
    waiting, work = bench.begin()
    work.obeys = False
    waiting.close()
    bench.rig.rounds(1)
    waiting = bench.rig.send("start\n")
    bench.rig.rounds(2)
    assert no_answer(waiting)
    assert bench.rig.reason == "filling: ends the filling of the volume: the database container ended"
    work.ends("failed", message="the process was stopped")
    bench.rig.rounds(1)
    waiting.settimeout(10)
    bench.sst(waiting, "the database container ended")


@pytest.mark.parametrize(
    ("said", "seconds", "text"),
    [
        (None, module.LOOK_SECONDS, "no backup was found within 60 s"),
        ({"backup": B2, "message": "begins"}, 21600, "it did not end within its deadline of 21600 s"),
    ],
)
def test_it_has_a_deadline(bench: Bench, said: dict[str, Any] | None, seconds: float, text: str) -> None:
    waiting, work = bench.begin()
    work.last = said
    bench.clock.now += seconds
    bench.rig.rounds(1)
    assert work.stopped == 0
    bench.clock.now += 1
    bench.rig.rounds(1)
    bench.sst(waiting, text)


def test_a_process_that_cannot_be_killed_is_not_waited_for(bench: Bench) -> None:
    """It hangs at a file system that does not answer."""
    waiting, work = bench.begin()
    work.obeys = False
    bench.clock.now += module.LOOK_SECONDS + 1
    bench.rig.rounds(1)
    assert no_answer(waiting)
    bench.clock.now += module.KILLED_SECONDS
    bench.rig.rounds(1)
    waiting.settimeout(10)
    bench.sst(waiting, "no backup was found within 60 s")


def test_it_waits_for_a_primary_component_that_went_away_meanwhile(bench: Bench) -> None:
    waiting, work = bench.begin()
    down = tuple(peer(ordinal, Evidence("present", A, 900)) for ordinal in (1, 2))
    bench.rig.world.peers = (*down, NO_SEED)
    bench.rig.rounds(1)
    assert bench.rig.reason.startswith("filling: looks for a backup to fill the volume from; waits for ")
    bench.makes(work)
    bench.rig.rounds(1)
    assert no_answer(waiting)
    assert os.listdir(bench.data) == []
    assert bench.rig.state.now.evidence == Evidence("empty"), "it must win no election"
    bench.clock.now += 2 * module.VOUCH_SECONDS
    bench.rig.rounds(1)
    assert no_answer(waiting)
    bench.rig.world.peers = (SERVES, ALSO, NO_SEED)
    bench.rig.rounds(1)
    waiting.settimeout(10)
    assert words(waiting) == ["recover"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"vouches": (B1,)}, f"backup {B2} is not known to all who serve"),
        ({"cached": 202}, f"backup {B2} ends at seqno 200, and what the donors have cached begins at 202"),
        ({"primary": B, "evidence": Evidence("present", B, 900)}, f"the running cluster has {B}"),
    ],
)
def test_a_cluster_that_is_another_at_the_end_gets_nothing_of_it(
    bench: Bench, change: dict[str, Any], text: str
) -> None:
    """As long as the work took, the cluster may have been continued from before the backup."""
    waiting, work = bench.begin()
    bench.makes(work)
    bench.rig.world.peers = (replace(SERVES, **change), replace(ALSO, **change), NO_SEED)
    bench.rig.rounds(2)
    assert no_answer(waiting)
    assert text in bench.rig.reason
    bench.clock.now += module.VOUCH_SECONDS
    bench.rig.rounds(1)
    waiting.settimeout(10)
    bench.sst(waiting, text)


def test_a_member_that_has_just_started_has_time_to_learn(bench: Bench) -> None:
    waiting, work = bench.begin()
    bench.makes(work)
    bench.rig.world.peers = (SERVES, replace(ALSO, vouches=()), NO_SEED)
    bench.rig.rounds(1)
    assert no_answer(waiting)
    bench.rig.world.peers = (SERVES, ALSO, NO_SEED)
    bench.rig.rounds(1)
    waiting.settimeout(10)
    assert words(waiting) == ["recover"]


def test_data_that_appeared_meanwhile_stay(bench: Bench) -> None:
    waiting, work = bench.begin()
    (bench.data / "mysql").mkdir()
    bench.makes(work)
    bench.rig.rounds(1)
    assert words(waiting)[0] == "exec"
    assert os.listdir(bench.data) == ["mysql"]
    assert f"{B2} cannot be put in its place" in bench.events[0][2]


@pytest.mark.parametrize(
    "recovered",
    [
        RECOVERED.replace(":200", ":199"),
        RECOVERED.replace(A, B),
        "recovered\n1\n[ERROR] mariadbd: unknown option\n",
    ],
)
def test_what_mariadbd_does_not_find_as_it_was_made_is_taken_away_again(bench: Bench, recovered: str) -> None:
    waiting, work = bench.begin()
    bench.makes(work)
    bench.rig.rounds(1)
    assert words(waiting) == ["recover"]
    waiting = bench.rig.send(recovered)
    bench.rig.rounds(1)
    bench.sst(waiting, f"in what was made of {B2}, not 200")


def test_data_of_the_same_pod_later_are_never_taken_away(bench: Bench) -> None:
    waiting, work = bench.begin()
    bench.makes(work)
    bench.rig.rounds(1)
    assert words(waiting) == ["recover"]
    for text in (RECOVERED, "recovered\n1\n[ERROR] disk full\n"):
        waiting = bench.rig.send(text)
        bench.rig.rounds(1)
        assert (bench.data / "ibdata1").exists()
    assert no_answer(waiting)


def test_no_room_for_the_mark_means_a_full_transfer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "touch", full)
    waiting = bench.rig.send("start\n")
    bench.rig.rounds(1)
    bench.sst(waiting, "No space left on device")


def test_without_the_api_server_it_is_filled_as_well(bench: Bench, kube: FakeKube) -> None:
    kube.down = True
    bench.rig.world.peers = (replace(SERVES, record=Record(A)), ALSO, NO_SEED)
    waiting, work = bench.begin()
    bench.makes(work)
    bench.rig.rounds(1)
    assert words(waiting) == ["recover"]
