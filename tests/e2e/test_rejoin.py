# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that lost its volume comes back from a backup and by IST; a donor sends everything only where it must."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from backups import Backups, inventory_text, play, until
from objects import BUCKET, apply
from tools import kubectl, remove_namespaces

NAMESPACE = "e2e-rejoin"
REJ = Backups(NAMESPACE, "rej")
NODES = range(3)
# Enough for several binary log events and pages of the table in each backup of the chain
FILL = "INSERT INTO shop.orders SELECT seq, REPEAT('x', 500) FROM shop.seq_{}_to_{}"


def uid(node: int) -> str:
    """The uid of a node's pod, empty where there is none."""
    found = json.loads(REJ.do("get", "pods", "-o", "json"))["items"]
    return next((one["metadata"]["uid"] for one in found if one["metadata"]["name"] == f"rej-galera-{node}"), "")


def events(node: int) -> dict[str, str]:
    """Reasons and messages of the Events of a node's pod that is there now."""
    found = json.loads(REJ.do("get", "events", "-o", "json"))["items"]
    return {one["reason"]: one["message"] for one in found if one["involvedObject"].get("uid") == uid(node)}


def given(node: int) -> list[str]:
    """The state transfers that a node gave since its server's container began; --bypass in one: only IST."""
    lines = REJ.do("logs", f"rej-galera-{node}", "-c", "mariadb").splitlines()
    return [line for line in lines if "Initiating SST/IST transfer on DONOR side" in line]


def lose(node: int) -> None:
    """Take a node's pod and volume away, and wait until a new one is Ready."""
    before, pod = uid(node), f"rej-galera-{node}"
    REJ.do("delete", "pvc", f"data-{pod}", "--wait=false")
    REJ.do("delete", "pod", pod)
    until(f"a new {pod}", lambda: uid(node) not in ("", before))
    REJ.do("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=300s")


def everywhere(statement: str) -> set[str]:
    """What the nodes answer, each when it has applied what was committed before."""
    return {REJ.sql(f"SET SESSION wsrep_sync_wait=1; {statement}", node) for node in NODES}


def intervals(node: int) -> list[dict[str, Any]]:
    """What can be restored without a hole, as a node's agent reads it from the store."""
    command = ["python3", "-m", "galera_agent", "backup", "list"]
    listed = json.loads(REJ.do("exec", f"rej-galera-{node}", "-c", "agent", "--", *command))
    (target,) = listed["catalog"]["targets"]
    return list(target["intervals"])


def vouched(backup: str) -> bool:
    """Whether the agents of all nodes know that their data are a continuation of a backup."""
    ask = "import json, urllib.request as u; print(json.load(u.urlopen('http://127.0.0.1:9200/status'))['vouches'])"
    return all(
        backup in REJ.do("exec", f"rej-galera-{node}", "-c", "agent", "--", "python3", "-c", ask) for node in NODES
    )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Three nodes with a table, and backups that are not encrypted: nodes have no key."""
    path = tmp_path_factory.mktemp("rejoin") / "galera.conf"
    remove_namespaces(NAMESPACE)
    try:
        kubectl("create", "namespace", NAMESPACE)
        keys = REJ.make_store()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "backup-keys"}, "stringData": keys}
        apply(REJ.do, secret)
        path.write_text(inventory_text("rej", NAMESPACE))
        play(str(path), "site")
        REJ.sql("CREATE TABLE shop.orders (id INT PRIMARY KEY, text VARCHAR(500))")
        yield
    finally:
        remove_namespaces(NAMESPACE)


@pytest.fixture(scope="module")
def chain(cluster: None) -> str:
    """A full backup and an increment, and rows before, between and after; the increment's name."""
    until("the first full backup", lambda: REJ.target().get("backups"))
    REJ.sql(FILL.format(1, 1000))
    REJ.backup("full", "full")
    REJ.sql(FILL.format(1001, 2000))
    name = REJ.backup("increment", "incremental")
    REJ.sql(FILL.format(2001, 3000) + "; CREATE TABLE shop.late (id INT PRIMARY KEY); INSERT INTO shop.late VALUES (1)")
    until(f"all nodes to vouch for {name}", lambda: vouched(name), 60)
    return name


# The last node took the backups: that their data are a continuation of them is what the others have learned from it.
@pytest.mark.parametrize("node", [0, 2])
def test_a_lost_volume_is_filled_from_the_backup(chain: str, node: int) -> None:
    others = [one for one in NODES if one != node]
    before = {one: given(one) for one in others}
    lose(node)
    said = events(node)
    assert f"the volume was filled from {chain}, to " in said.get("GaleraFilled", ""), said
    new = [line for one in others for line in given(one)[len(before[one]) :]]
    assert new, "no donor helped it"
    assert all("--bypass" in line for line in new), f"a donor sent all data: {new}"
    assert everywhere("SELECT COUNT(*) FROM shop.orders") == {"3000"}
    assert len(everywhere("CHECKSUM TABLE shop.orders, shop.late, mysql.global_priv EXTENDED")) == 1
    last = REJ.sql("INSERT INTO shop.late SELECT MAX(id) + 1 FROM shop.late; SELECT @@last_gtid", node)
    assert everywhere("SELECT @@gtid_binlog_pos") == {last}
    assert len(everywhere("SELECT @@gtid_binlog_state")) == 1
    # its own binary logs go on from those of the backup, so the archive has no hole when it leads
    (gtid,) = [one["gtid"] for one in REJ.target()["backups"] if one["name"] == chain]
    assert f"[{gtid}]" in REJ.sql("SHOW BINLOG EVENTS IN 'binlog.000001' LIMIT 3", node)
    until("the last node to lead", lambda: REJ.leader() == "rej-galera-2")
    sequence = int(last.rpartition("-")[2])
    found = until(f"the archive of {last}", lambda: [one for one in intervals(node) if one["last"] >= sequence], 60)
    assert intervals(node)[0]["backup"] == found[0]["backup"], "the archive has a hole"


def test_a_lost_volume_gets_all_data_when_the_store_is_away(chain: str) -> None:
    others = [0, 2]
    before = {one: given(one) for one in others}
    REJ.do("patch", "service", "s3", "-p", json.dumps({"spec": {"selector": {"app": "away"}}}))
    lose(1)
    said = events(1)
    assert f"s3://{BUCKET}/rej" in said.get("GaleraNotFilled", ""), said
    assert said["GaleraNotFilled"].endswith("joins by SST")
    assert "GaleraFilled" not in said
    new = [line for one in others for line in given(one)[len(before[one]) :]]
    assert any("--bypass" not in line for line in new), f"no donor sent all data: {new}"
    assert len(everywhere("CHECKSUM TABLE shop.orders, shop.late EXTENDED")) == 1
    assert len(everywhere("SELECT @@gtid_binlog_pos")) == 1
