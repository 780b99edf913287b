# SPDX-License-Identifier: GPL-3.0-or-later
"""A real cluster loses all its servers, then all its pods and one volume: what it does by itself, and with consent."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rendering import ROOT, collection_environment
from tools import BIN, changed, get, kubectl, remove_namespaces, run

NAMESPACE = "e2e-recovery"
NODES = [f"saved-galera-{ordinal}" for ordinal in range(3)]
INVENTORY = f"""[all:vars]
galera_cluster_name=saved
galera_cluster_namespace={NAMESPACE}
galera_cluster_size=3
galera_cluster_docker_image=localhost/stateful-galera/mariadb:11.8
galera_cluster_haproxy_docker_image=localhost/stateful-galera/haproxy:3
galera_cluster_backup_agent_image=localhost/stateful-galera/agent:1.0.0
galera_cluster_volume_size=1Gi
galera_cluster_resources={{"requests": {{"cpu": "50m", "memory": "384Mi"}}, "limits": {{"memory": "768Mi"}}}}
galera_mysql_database=appdb
galera_mysql_user=app

[template_target]
localhost
"""


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster of three with two rows."""
    path = tmp_path_factory.mktemp("recovery") / "galera.conf"
    path.write_text(INVENTORY)
    remove_namespaces(NAMESPACE)
    run("ansible-playbook", "-i", str(path), "site.yml")
    sql(NODES[0], "CREATE TABLE appdb.t (a INT PRIMARY KEY); INSERT INTO appdb.t VALUES (1), (2)")
    yield path
    remove_namespaces(NAMESPACE)


def sql(pod: str, text: str) -> str:
    """Run SQL on one node as the account that its socket proves."""
    login = '-u root -p"$(cat /etc/galera/secret/root-password)"'
    return inside(pod, f"mariadb -S /run/mysqld/mysqld.sock {login} -Ne '{text}'")


def inside(pod: str, command: str, container: str = "agent") -> str:
    return kubectl("-n", NAMESPACE, "exec", pod, "-c", container, "--", "bash", "-c", command).strip()


def await_(what: str, holds: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until a condition holds; a pod that is not there yet counts as one where it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except AssertionError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds:g} s: {what}")


def ready() -> int:
    return int(get("statefulset", "saved-galera", "-n", NAMESPACE)["status"].get("readyReplicas", 0))


def recover(path: Path, *arguments: str) -> tuple[int, str]:
    """Run the recover playbook: its exit code and output."""
    command = [str(BIN / "ansible-playbook"), "-i", str(path), "playbooks/recover.yml", *arguments]
    done = subprocess.run(command, env=collection_environment(), capture_output=True, text=True, check=False, cwd=ROOT)
    return done.returncode, done.stdout + done.stderr


def test_all_servers_killed_at_once_come_back_by_themselves(inventory: Path) -> None:
    """Caches and views are torn as well, and Galera's note of its state is gone: nothing of them is needed."""
    code, text = recover(inventory, "-e", "galera_recover_confirm=saved")
    assert (code, "there is nothing to recover" in text) == (2, True)
    uuid = (
        'SELECT variable_value FROM information_schema.global_status WHERE variable_name = "wsrep_cluster_state_uuid"'
    )
    before = sql(NODES[0], uuid)
    harm = (
        "cd /var/lib/mysql/data; rm grastate.dat; printf x >gvwstate.dat; "
        "printf x | dd of=galera.cache conv=notrunc 2>/dev/null;"
    )
    kill = ["bash", "-c", f"{harm} kill -9 $(cat /run/mysqld/mysqld.pid)"]
    killers = [
        subprocess.Popen(["kubectl", "-n", NAMESPACE, "exec", pod, "-c", "mariadb", "--", *kill]) for pod in NODES
    ]
    assert [killer.wait(timeout=60) for killer in killers] == [0, 0, 0]
    await_("no node ready", lambda: ready() < 3, 30)
    await_("three nodes ready", lambda: ready() == 3)
    assert [sql(pod, "SELECT COUNT(*) FROM appdb.t") for pod in NODES] == ["2"] * 3
    assert [sql(pod, uuid) for pod in NODES] == [before] * 3


def test_a_server_that_does_not_end_is_killed_by_a_word_of_the_agent(inventory: Path) -> None:
    """A frozen one stands for it: it starts again in place, in the same container."""
    pid, containers = "cat /run/mysqld/mysqld.pid", "jsonpath={.status.containerStatuses[*].containerID}"
    look = ("-n", NAMESPACE, "get", "pod", NODES[1], "-o", containers)
    before = inside(NODES[1], pid), kubectl(*look)
    inside(NODES[1], f"kill -STOP $({pid})", "mariadb")
    inside(NODES[1], "timeout 10 bash -c 'echo now >/run/mysqld/kill'")
    await_("another server", lambda: inside(NODES[1], pid) not in ("", before[0]))
    await_("three nodes ready", lambda: ready() == 3)
    assert kubectl(*look) == before[1]


def test_a_volume_lost_in_a_crash_needs_consent(inventory: Path) -> None:
    kubectl("-n", NAMESPACE, "delete", "pvc", f"data-{NODES[2]}", "--wait=false")
    kubectl("-n", NAMESPACE, "delete", "pod", *NODES, "--force", "--grace-period=0")
    named = f"{NODES[2]} (its volume is empty, but it held this cluster up to seqno"

    def is_named() -> bool:
        conditions = [each for pod in NODES[:2] for each in get("pod", pod, "-n", NAMESPACE)["status"]["conditions"]]
        if any("anti-affinity" in each.get("message", "") for each in conditions):
            # The new volume took the machine of another one's: what status.yml advises then
            kubectl("-n", NAMESPACE, "delete", "pvc", f"data-{NODES[2]}", "--wait=false")
            kubectl("-n", NAMESPACE, "delete", "pod", NODES[2], "--force", "--grace-period=0")
        return named in status(NODES[0]) and named in status(NODES[1])

    await_("the agent names the lost volume", is_named)
    before = get("configmap", "saved-galera-state", "-n", NAMESPACE)["data"]
    for arguments in ((), ("-e", "galera_recover_confirm=other"), ("-e", "galera_recover_confirm=saved", "--check")):
        code, text = recover(inventory, *arguments)
        assert (code, f"without {NODES[2]}" in text) == (0 if "--check" in arguments else 2, True), text
    assert get("configmap", "saved-galera-state", "-n", NAMESPACE)["data"] == before
    code, text = recover(inventory, "-e", "galera_recover_confirm=saved")
    assert (code, changed(text)) == (0, 1), text
    await_("the emptied node has joined", lambda: ready() == 3)
    assert [sql(pod, "SELECT COUNT(*) FROM appdb.t") for pod in NODES] == ["2"] * 3
    assert not {"consent", "given_up"} & set(get("configmap", "saved-galera-state", "-n", NAMESPACE)["data"])


def test_a_majority_lost_for_good_needs_consent(inventory: Path) -> None:
    """The server that is left runs, outside of a primary component: it offers to go on, and does with consent."""
    named = ("-n", NAMESPACE, "patch", "statefulset", "saved-galera")
    nowhere = {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}
    nowhere["template"] = {"spec": {"nodeSelector": {"no-such-machine": "1"}}}
    kubectl(*named, "--type=merge", "-p", json.dumps({"spec": nowhere}))
    for pod in NODES[1:]:
        inside(pod, "kill -9 $(cat /run/mysqld/mysqld.pid)", "mariadb")
    kubectl("-n", NAMESPACE, "delete", "pod", *NODES[1:], "--force", "--grace-period=0")
    await_("the one that is left says for whom it waits", lambda: f"waits for {NODES[1]}" in status(NODES[0]))
    code, text = recover(inventory)
    assert (code, f"{NODES[0]} bootstraps the cluster" in text, "without" in text) == (2, True, True), text
    code, text = recover(inventory, "-e", "galera_recover_confirm=saved")
    assert (code, changed(text)) == (0, 1), text
    assert sql(NODES[0], "SELECT COUNT(*) FROM appdb.t") == "2"
    kubectl(*named, "--type=json", "-p", '[{"op": "remove", "path": "/spec/template/spec/nodeSelector"}]')
    kubectl("-n", NAMESPACE, "delete", "pod", *NODES[1:], "--force", "--grace-period=0")
    await_("the others have joined", lambda: ready() == 3)


def test_a_volume_of_another_history_stays_outside(inventory: Path) -> None:
    """As if the cluster had been continued without this node from its first write-set."""
    given_up = json.dumps({"data": {"given_up": json.dumps({NODES[1]: {"seqno": 1, "time": "t"}})}})
    kubectl("-n", NAMESPACE, "patch", "configmap", "saved-galera-state", "--type=merge", "-p", given_up)
    kubectl("-n", NAMESPACE, "delete", "pod", NODES[1])
    await_("the node refuses", lambda: "continued without this volume from seqno 1" in status(NODES[1]))
    assert inside(NODES[1], "ls /var/lib/mysql/data/ibdata1")
    code, text = recover(inventory)
    assert (code, changed(text)) == (0, 0), text
    assert ready() == 2


def status(pod: str) -> str:
    """What an agent says it does."""
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9200/status').read().decode())"
    return str(json.loads(inside(pod, f'python3 -c "{ask}"'))["reason"])
