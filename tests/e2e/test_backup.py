# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of clusters that site made, to a real S3 server; restores to every point, to a new cluster, and in place."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backups import SHARED_CLASS, Backups, inventory_text, play, remove_shared_volumes, share_volumes, until
from objects import BUCKET, apply, pod, start_s3, stop_s3
from processes import kill
from rendering import start_render
from tools import changed, get, kubectl, remove_namespaces

NAMESPACE = "e2e-backup"
NEW_NAMESPACE = "e2e-backup-new"
AGENT_BACKUP = ("python3", "-m", "galera_agent", "backup")
INVENTORY = inventory_text("bak", NAMESPACE)
# Another name, namespace, size and password, a prefix of its own, and a second target
NEW_INVENTORY = (
    INVENTORY.replace("name=bak", f"name=new\ngalera_cluster_backup_storage_class={SHARED_CLASS}")
    .replace(f"namespace={NAMESPACE}", f"namespace={NEW_NAMESPACE}")
    .replace("size=3", "size=1")
    .replace("prefix=bak", "prefix=new")
    .replace("r00t", "other")
    .replace("volume_size=1Gi", "volume_size=1Gi\ngalera_cluster_backup_volume_size=1Gi")
)
RECIPIENTS = "galera_cluster_backup_encryption_recipients"
MOUNTS = [
    {"name": "backup-settings", "mountPath": "/etc/galera/backup", "readOnly": True},
    {"name": "backup-secret", "mountPath": "/etc/galera/backup-secret", "readOnly": True},
    {"name": "config", "mountPath": "/etc/galera/config", "readOnly": True},
]
VOLUMES = [
    {"name": "backup-settings", "configMap": {"name": "bak-galera-backup"}},
    {"name": "backup-secret", "secret": {"secretName": "backup-keys", "defaultMode": 288}},
    {"name": "config", "configMap": {"name": "bak-galera-config"}},
]
# What the restored data hold, asked on a server that nobody else can reach.
LOOK = """
import sys, tempfile
from pathlib import Path
from galera_agent import offline
from galera_agent.backup import server
with tempfile.TemporaryDirectory() as scratch:
    tools = offline.Tools(Path(scratch), lambda _: None)
    with tools.serving(Path("/target/data"), []) as socket, server.connection(socket) as query:
        print(",".join(str(row[0]) for row in query("SELECT id FROM shop.orders ORDER BY id")))
"""
# One byte in the middle of an object becomes another one.
FLIP = """
import sys
path = sys.argv[1]
with open(path, "r+b") as file:
    file.seek(0, 2)
    middle = file.tell() // 2
    file.seek(middle)
    byte = file.read(1)[0]
    file.seek(middle)
    file.write(bytes([byte ^ 1]))
"""


BAK = Backups(NAMESPACE, "bak")
do, sql, row, published, target = BAK.do, BAK.sql, BAK.row, BAK.published, BAK.target
patch, ask, answer, backup, leader, archived = BAK.patch, BAK.ask, BAK.answer, BAK.backup, BAK.leader, BAK.archived


def restore(**env: str) -> tuple[int, str]:
    """Restore into the empty target of the restore pod; returns exit code and output."""
    do("exec", "restore", "--", "bash", "-c", "rm -rf /target/* /temp/*")
    words = [f"{name}={value}" for name, value in env.items()]
    command = f"env {' '.join(words)} python3 -m galera_agent restore 2>&1; code=$?; echo; echo $code"
    *lines, code = do("exec", "restore", "--", "bash", "-c", command).strip().splitlines()
    return int(code), "\n".join(lines)


def restored(**env: str) -> str:
    """The rows after a restore, as a text."""
    code, text = restore(**env)
    assert code == 0, text
    return do("exec", "-i", "restore", "--", "python3", "-", stdin=LOOK).strip()


def inventory(folder: Path, name: str, text: str, keys: dict[str, str]) -> str:
    """Make a namespace with the Secret, and the inventory of a cluster in it; returns the inventory's path."""
    namespace = NAMESPACE if name == "bak" else NEW_NAMESPACE
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "backup-keys"}, "stringData": keys}
    kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(secret))
    path = folder / name / "galera.conf"
    path.parent.mkdir()
    path.write_text(text)
    write_recipient(path, keys["age-identity"])
    return str(path)


def write_recipient(path: Path, identity: str) -> None:
    """Have backups encrypted for an identity that age-keygen made."""
    (recipient,) = [line.split()[-1] for line in identity.splitlines() if "public key" in line]
    old = [line for line in path.read_text().splitlines() if not line.startswith(RECIPIENTS)]
    place = old.index("[template_target]")
    path.write_text("\n".join([*old[:place], f'{RECIPIENTS}=["{recipient}"]', "", *old[place:], ""]))


def refused(path: str, playbook: str, **variables: str) -> str:
    """Run a playbook that fails; returns its output on one line."""
    with pytest.raises(AssertionError) as caught:
        play(path, playbook, **variables)
    return " ".join(str(caught.value).split())


def metrics() -> str:
    """What the agent of the first node tells Prometheus."""
    return kubectl("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/bak-galera-0:9200/proxy/metrics")


def new_sql(statement: str) -> str:
    """SQL on the node of the new cluster."""
    client = ["env", "MYSQL_PWD=other", "mariadb", "-N", "-h", "127.0.0.1", "-u", "root"]
    command = ["-n", NEW_NAMESPACE, "exec", "-i", "new-galera-0", "-c", "mariadb", "--", *client]
    return kubectl(*command, stdin=statement).replace("\n", ",").strip(",")


@pytest.fixture(scope="module")
def inventories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Two namespaces, a store for both, and the inventory of a cluster in each; paths by name of the cluster."""
    folder = tmp_path_factory.mktemp("backup")
    remove_namespaces(NAMESPACE, NEW_NAMESPACE)
    remove_shared_volumes()
    try:
        for name in (NAMESPACE, NEW_NAMESPACE):
            kubectl("create", "namespace", name)
        keys = BAK.make_store()
        share_volumes(NEW_NAMESPACE)
        texts = {"bak": INVENTORY, "new": NEW_INVENTORY}
        yield {name: inventory(folder, name, text, keys) for name, text in texts.items()}
    finally:
        remove_namespaces(NAMESPACE, NEW_NAMESPACE)
        remove_shared_volumes()


@pytest.fixture(scope="module")
def cluster(inventories: dict[str, str]) -> None:
    """Three nodes with a table, and a pod in which to restore."""
    play(inventories["bak"], "site")
    places = [{"name": name, "mountPath": f"/{name}"} for name in ("temp", "target")]
    volumes = VOLUMES + [{"name": one["name"], "emptyDir": {}} for one in places]
    apply(do, pod("restore", [*MOUNTS, *places], volumes))
    sql("CREATE TABLE shop.orders (id INT PRIMARY KEY)")
    do("wait", "--for=condition=Ready", "pod/restore", "--timeout=120s")


@pytest.fixture(scope="module")
def chain(cluster: None) -> dict[str, str]:
    """A full backup of the last node, made by itself, and two increments; a row before each. Names by label."""
    until("a leader", lambda: leader() == "bak-galera-2")
    until("the first full backup", lambda: target().get("backups"))
    row(1)
    found = {"full": backup("full", "full")}
    for number, label in ((2, "first"), (3, "second")):
        row(number)
        found[label] = backup(label, "incremental")
    return found


def test_a_chain_is_restored_to_each_of_its_points(chain: dict[str, str]) -> None:
    assert restored(SOURCE_BACKUP=chain["full"], SOURCE_INCREMENT="none") == "1"
    assert restored(SOURCE_BACKUP=chain["first"]) == "1,2"
    assert restored(SOURCE_BACKUP=chain["second"]) == "1,2,3"


def test_the_leader_is_killed_in_the_middle_of_a_backup(chain: dict[str, str]) -> None:
    before = {one["name"] for one in target()["backups"]}
    current = json.loads(do("get", "configmap", "bak-galera-backup", "-o", "json"))["data"]["backup.json"]
    patch("bak-galera-backup", **{"backup.json": json.dumps({**json.loads(current), "bandwidth_bytes": 1 << 20})})
    look = ["exec", "bak-galera-2", "-c", "agent", "--", "cat", "/etc/galera/backup/backup.json"]
    until("slow settings in the pod", lambda: "1048576" in do(*look))
    ask("cut", action="backup", kind="full")
    until("the backup's begin", lambda: (published().get("running") or {}).get("command") == "tick")
    patch("bak-galera-backup", **{"backup.json": current})
    killed = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    # The pod does not come back before another one leads
    do("create", "quota", "none", "--hard=pods=0")
    try:
        do("delete", "pod", "bak-galera-2", "--grace-period=0", "--force")
        until("another leader", lambda: leader() == "bak-galera-1")
    finally:
        do("delete", "quota", "none")
    result = until("the backup, by who leads then", lambda: answer("cut"), 400)
    assert result["state"] == "succeeded", result
    after = target()
    # All nodes must be there for a backup; whether the killed one leads again by then is open
    (made,) = [one for one in after["backups"] if one["name"] not in before]
    assert made["kind"] == "full"
    assert made["node"] in ("bak-galera-1", "bak-galera-2")
    assert made["name"] > killed
    assert after["problems"] == []


def test_points_in_time_and_transactions(chain: dict[str, str]) -> None:
    # Every later point goes over these: what was done in part, and what only the admin of a role may do
    sql("CREATE TABLE shop.spare (id INT); CREATE ROLE clerk; CREATE USER anna; GRANT clerk TO anna")
    for partly in ("DROP TABLE shop.spare, shop.missing", "CREATE USER anna, berta"):
        with pytest.raises(AssertionError, match=r"ERROR (1051|1396)"):
            sql(partly)
    row(4)
    moment = sql("SELECT DATE_FORMAT(UTC_TIMESTAMP(), '%Y-%m-%dT%H:%i:%sZ')")
    until("the next second", lambda: sql("SELECT DATE_FORMAT(UTC_TIMESTAMP(), '%Y-%m-%dT%H:%i:%sZ')") > moment)
    fifth = row(5)
    mistake = sql("DELETE FROM shop.orders; SELECT @@last_gtid")
    archived(mistake)
    assert restored(SOURCE_TIME=moment) == "1,2,3,4"
    assert restored(SOURCE_GTID=fifth) == "1,2,3,4,5"
    assert restored(SOURCE_BEFORE_GTID=mistake) == "1,2,3,4,5"
    assert restored(SOURCE_BACKUP=chain["full"], SOURCE_INCREMENT="none", SOURCE_BEFORE_GTID=mistake) == "1,2,3,4,5"
    assert restored(SOURCE_TIME="latest") == ""
    code, text = restore(SOURCE_TIME="2000-01-01T00:00:00Z")
    assert code == 2
    assert "the nearest that can be restored are" in text


def test_a_trial_restore_lands_beside_the_manifest(chain: dict[str, str]) -> None:
    do("exec", "restore", "--", "bash", "-c", "rm -rf /temp/*")
    *_, end = do("exec", "restore", "--", *AGENT_BACKUP, "verify", chain["second"], "--work", "/temp").splitlines()
    assert json.loads(end)["state"] == "succeeded", end
    (found,) = json.loads(do("exec", "restore", "--", *AGENT_BACKUP, "list"))["catalog"]["targets"]
    assert {one["name"]: one["verified"] for one in found["backups"]}[chain["second"]] is True


def test_a_damaged_backup_is_found_before_there_are_data(chain: dict[str, str]) -> None:
    look = f"ls /data/root/{BUCKET}/bak/backups/{chain['first']}/backup.*"
    found = do("exec", "s3", "--", "bash", "-c", look).strip()
    do("exec", "-i", "s3", "--", "python3", "-", found, stdin=FLIP)
    code, text = restore(SOURCE_BACKUP=chain["second"])
    assert code == 1
    assert "its manifest says" in text or "age ended with" in text
    assert do("exec", "restore", "--", "ls", "-A", "/target").strip() == ""
    do("exec", "-i", "s3", "--", "python3", "-", found, stdin=FLIP)
    assert restored(SOURCE_BACKUP=chain["second"]) == "1,2,3"


def test_the_playbooks_take_list_and_verify_backups(chain: dict[str, str], inventories: dict[str, str]) -> None:
    path = inventories["bak"]
    before = {one["name"] for one in target()["backups"]}
    assert changed(play(path, "backup", galera_backup_kind="full")) == 1
    (made,) = {one["name"] for one in target()["backups"]} - before
    assert f"{made} passed" in " ".join(play(path, "backup_verify", galera_backup_verify=made).split())
    until("no volume of the trial", lambda: "verify" not in do("get", "persistentvolumeclaims", "-o", "name"), 60)
    assert re.search(rf"{made} .* 1 +yes ", play(path, "backup_info"))
    assert f"{made} in s3://{BUCKET}/bak was restored on trial and found right" in do("get", "events")
    # as docs/backup.md says it; the newest backup, which is the one just made
    do("create", "job", "--from=cronjob/bak-galera-backup-verify", "check")
    do("wait", "--for=condition=Complete", "job/check", "--timeout=180s")
    assert f"{made} passed" in do("logs", "job/check", "--all-containers")
    for source in ("false", "true"):
        listed = play(path, "backup_info", galera_backup_info_job=source)
        assert all(name in listed for name in (*before, made))
        assert "any time from" in listed
    assert re.search(rf"{made} .* 1 +yes ", play(path, "backup_info", galera_backup_info_job="true"))
    assert changed(play(path, "site")) == 0


def test_a_store_that_fails_fails_the_backup_and_harms_none(chain: dict[str, str], inventories: dict[str, str]) -> None:
    path, before = inventories["bak"], [one["name"] for one in target()["backups"]]
    faults: dict[str, dict[str, str] | None] = {
        "http://s3.e2e-backup:7070 is not reachable": None,
        "the credentials are not valid there (SignatureDoesNotMatch)": {"secret": "another"},
        "does not take": {"place": "/small"},
    }
    fill = f"mkdir -p /small/root/{BUCKET} /small/meta; cat /dev/zero >/small/full || true"
    do("exec", "s3", "--", "bash", "-c", fill)
    try:
        for words, server in faults.items():
            stop_s3(do)
            if server is not None:
                start_s3(do, **server)
            text = refused(path, "backup", galera_backup_kind="full")
            assert "s3://backups/bak" in text
            assert words in text
            until("the failure among the metrics", lambda: "galera_backup_last_run_failed 1" in metrics(), 30)
    finally:
        stop_s3(do)
        start_s3(do)
    play(path, "backup", galera_backup_kind="full")
    after = target()
    assert [one["name"] for one in after["backups"]][:-1] == before
    assert after["problems"] == after["incomplete"] == []
    until("the success among the metrics", lambda: "galera_backup_last_run_failed 0" in metrics(), 30)


def test_what_cannot_be_restored_is_refused(chain: dict[str, str], inventories: dict[str, str]) -> None:
    source = {"galera_restore_s3_prefix": "bak"}
    text = refused(inventories["new"], "restore", **source, galera_restore_backup="20200101T000000Z-full")
    assert "20200101T000000Z-full" in text
    text = refused(inventories["new"], "restore", **source, galera_restore_time="2000-01-01T00:00:00Z")
    assert "the nearest that can be restored are" in text
    text = refused(inventories["bak"], "restore", galera_restore_backup=chain["full"])
    assert "cluster bak has data (a record, data-bak-galera-0" in text
    assert "Nothing was changed" in text


def test_a_new_cluster_is_restored_and_then_once_more_in_place(
    chain: dict[str, str], inventories: dict[str, str]
) -> None:
    path, rows = inventories["new"], "SELECT id FROM shop.orders ORDER BY id"
    source = {"galera_restore_s3_prefix": "bak", "galera_restore_backup": chain["full"]}
    first = {**source, "galera_restore_increment": "none"}
    assert "100 % of" in play(path, "restore", **first)
    assert new_sql(rows) == "1"
    assert changed(play(path, "restore", **first)) == 0

    in_place = {**source, "galera_restore_increment": chain["second"], "galera_restore_confirm": "new"}
    shown = " ".join(play(path, "restore", "--check", **in_place).split())
    assert "Would stop new, set the data of data-new-galera-0 aside, and start it from the restored data." in shown
    assert new_sql(rows) == "1"
    options = [part for name, value in in_place.items() for part in ("-e", f"{name}={value}")]
    killed = start_render(Path(path), *options, playbook="stateful.galera.restore")
    servers = ["-n", NEW_NAMESPACE, "get", "statefulset", "-o", "name"]
    until("the end of the old servers", lambda: "new-galera" not in kubectl(*servers))
    kill(killed)
    for playbook, more in (("site", {}), ("restore", {"galera_restore_id": "another"}), ("restore_undo", {})):
        assert "has not come to its end: run it again first" in refused(path, playbook, **{**in_place, **more})
    play(path, "restore", **in_place)
    assert new_sql(rows) == "1,2,3"
    assert changed(play(path, "restore", **in_place)) == 0
    look = ["-n", NEW_NAMESPACE, "exec", "new-galera-0", "-c", "mariadb", "--", "ls", "/var/lib/mysql"]
    assert "data.before-" in kubectl(*look)
    # the stores go on with the restored cluster
    play(path, "backup", galera_backup_kind="full")


def test_a_restore_in_place_is_undone(chain: dict[str, str], inventories: dict[str, str]) -> None:
    path, rows = inventories["new"], "SELECT id FROM shop.orders ORDER BY id"
    confirm = {"galera_restore_confirm": "new"}
    in_cluster = ("-n", NEW_NAMESPACE)
    new_sql("INSERT INTO shop.orders VALUES (50)")
    assert 'galera_restore_confirm is ""' in refused(path, "restore_undo")
    checked = play(path, "restore_undo", "--check", **confirm)
    assert "Would stop new, put data.before-" in " ".join(checked.split())
    assert changed(checked) == 1
    assert new_sql(rows) == "1,2,3,50"

    def record() -> dict[str, Any]:
        found = get(*in_cluster, "configmap", "new-galera-state")
        return json.loads(found["metadata"]["annotations"]["stateful.galera/restore"])

    killed = start_render(Path(path), "-e", "galera_restore_confirm=new", playbook="stateful.galera.restore_undo")
    until("the begin", lambda: record().get("undo") == "begun")
    kill(killed)
    for playbook, more in (("site", {}), ("restore", {"galera_restore_id": "another"}), ("restore_release", {})):
        assert "has not come to its end: run it again first" in refused(path, playbook, **confirm, **more)
    play(path, "restore_undo", **confirm)
    assert new_sql(rows) == "1"
    assert changed(play(path, "restore_undo")) == 0
    assert changed(play(path, "site")) == 0
    look = [*in_cluster, "exec", "new-galera-0", "-c", "mariadb", "--", "ls", "/var/lib/mysql"]
    undone = f"data.undone-{record()['undone']}"
    assert kubectl(*look).split() == ["data", undone]
    # the stores go on with the old cluster: an increment follows on its backups
    assert "incremental" in play(path, "backup", galera_backup_kind="incremental")
    assert changed(play(path, "restore_release", **confirm)) == 1
    assert kubectl(*look).split() == ["data"]
    assert changed(play(path, "restore_release", **confirm)) == 0


def test_both_targets_have_a_backup_and_the_volume_is_enough(
    chain: dict[str, str], inventories: dict[str, str]
) -> None:
    path, new = inventories["new"], Backups(NEW_NAMESPACE, "new")

    def held() -> list[set[str]]:
        return [{one["name"] for one in target["backups"]} for target in new.published()["catalog"]["targets"]]

    before = held()
    new_sql("INSERT INTO shop.orders VALUES (40)")
    play(path, "backup", galera_backup_kind="incremental")
    after = held()
    assert len(after) == 2
    (made,) = (after[0] & after[1]) - before[0]
    assert made.endswith("incremental")
    new_sql("DELETE FROM shop.orders")
    do("exec", "s3", "--", "rm", "-r", f"/data/root/{BUCKET}/new/backups/{made}")
    text = play(path, "restore", galera_restore_confirm="new", galera_restore_increment=made)
    assert re.search(rf"unpacks {made}: .* of volume /backups", text)
    assert new_sql("SELECT id FROM shop.orders ORDER BY id") == "1,40"


def test_after_a_lost_key_a_new_one_counts(chain: dict[str, str], inventories: dict[str, str]) -> None:
    """As docs/backup.md says it."""
    path, old = inventories["bak"], target()["backups"][-1]["name"]
    identity = do("exec", "s3", "--", "bash", "-c", "age-keygen 2>&-")
    write_recipient(Path(path), identity)
    do("patch", "secret", "backup-keys", "--type=merge", "-p", json.dumps({"stringData": {"age-identity": identity}}))
    play(path, "site")
    play(path, "backup", galera_backup_kind="full")
    made = target()["backups"][-1]["name"]
    assert f"{made} passed" in " ".join(play(path, "backup_verify", galera_backup_verify=made).split())
    text = refused(path, "backup_verify", galera_backup_verify=old)
    assert re.search(r"the key \S+ is that of age1\w+, and the backup is encrypted for age1", text)


def test_after_a_lost_bucket_backups_begin_anew(chain: dict[str, str], inventories: dict[str, str]) -> None:
    """As docs/backup.md says it."""
    path, lost = inventories["bak"], {one["name"] for one in target()["backups"]}
    do("exec", "s3", "--", "bash", "-c", f"rm -r /data/root/{BUCKET} /data/meta/{BUCKET}; mkdir /data/root/{BUCKET}")
    play(path, "backup")
    (made,) = target()["backups"]
    assert made["name"] not in lost
    assert made["kind"] == "full"
    assert f"{made['name']} passed" in " ".join(play(path, "backup_verify", galera_backup_verify=made["name"]).split())
