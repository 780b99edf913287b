# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on a cluster that serves: other settings, rolling restart, two runs at once, status without a node."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_door import api_door
from rendering import ROOT, collection_environment
from tools import BIN, changed, get, kubectl, remove_namespaces, run

NAMESPACE, NAME = "e2e-operations", "op"
NODES = [f"{NAME}-galera-{ordinal}" for ordinal in range(3)]
IN = ("-n", NAMESPACE)
VALUES = {
    "galera_cluster_name": NAME,
    "galera_cluster_namespace": NAMESPACE,
    "galera_cluster_volume_size": "1Gi",
    "galera_cluster_resources": {"requests": {"cpu": "50m", "memory": "300Mi"}, "limits": {"memory": "768Mi"}},
    "galera_mysql_root_password": "r00t",
    "galera_mysql_database": "appdb",
    "galera_mysql_user": "app",
    "galera_mysql_password": "app",
}
# One row a statement through the writer's port, each printed once it is acknowledged; a lost connection is tried again
WRITER = """
ask() {{ mariadb --connect-timeout=2 -h {host} -P 3307 -u app -papp appdb -e "$1" 2>/dev/null; }}
n=0
until ask 'CREATE TABLE IF NOT EXISTS journal (n INT PRIMARY KEY)'; do sleep 0.1; done
while true; do
    n=$((n + 1))
    until ask "INSERT IGNORE INTO journal VALUES ($n)"; do sleep 0.1; done
    echo "acknowledged $n"
done
"""


def images() -> dict[str, Any]:
    """Return the images of the local inventory."""
    lines = (ROOT / "inventories" / "local" / "galera.conf").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "_image=" in line)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operations")


def inventory(folder: Path, **change: Any) -> str:
    """Write the inventory, with other values if they are given; return its path."""
    path = folder / "galera.conf"
    values = {**VALUES, **images(), **change}
    lines = [f"{name}={value!r}" if isinstance(value, dict) else f"{name}={value}" for name, value in values.items()]
    path.write_text("\n".join(["[all:vars]", *lines, "", "[template_target]", "localhost", ""]))
    return str(path)


def play(folder: Path, name: str = "site", *more: str, environment: dict[str, str] | None = None, **change: Any) -> str:
    """Run a playbook to its good end and return its output."""
    path = inventory(folder, **change)
    everything = {**collection_environment(), **(environment or {})}
    return run("ansible-playbook", "-i", path, f"stateful.galera.{name}", *more, environment=everything)


def start(folder: Path, name: str = "site", *more: str, **change: Any) -> subprocess.Popen[str]:
    """Start a playbook."""
    return subprocess.Popen(
        [str(BIN / "ansible-playbook"), "-i", inventory(folder, **change), f"stateful.galera.{name}", *more],
        cwd=ROOT,
        env=collection_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def refused(process: subprocess.Popen[str]) -> str:
    """Return the message of a run that failed, on one line."""
    output = process.communicate()[0]
    assert process.returncode != 0, output
    return " ".join(output[output.index("fatal: ") :].split()).replace("''", "'")


def until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.2)


def uids() -> dict[str, str]:
    """Return the uid of each node's pod."""
    pods = get(*IN, "pods", "-l", "app.kubernetes.io/component=node")["items"]
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}


def sql(pod: str, statement: str) -> str:
    """Run SQL as root on one node."""
    command = ["exec", "-i", *IN, pod, "-c", "mariadb", "--", "mariadb", "-N", "-u", "root", "-pr00t"]
    return kubectl(*command, stdin=statement).strip()


class Watch:
    """Follows, as the API server tells every change, which nodes are away: stopped, and not Ready since.

    A node that gives what another one missed is not Ready either for a moment; it is not away.
    """

    def __enter__(self) -> Watch:
        """Begin."""
        form = (
            "jsonpath={.metadata.name}|{.metadata.uid}|{.metadata.deletionTimestamp}|"
            "{.status.conditions[?(@.type=='Ready')].status}{'\\n'}"
        )
        selector = "app.kubernetes.io/component=node"
        command = ["kubectl", *IN, "get", "pods", "-l", selector, "--watch", "-o", form]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._uids = uids()
        self.away: set[str] = set()
        self.most = 0
        self.order: list[str] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def _read(self) -> None:
        for line in self._process.stdout or ():
            name, uid, leaving, ready = line.strip().split("|")
            if leaving and name not in self.away:
                self.order.append(name)
                self.away.add(name)
            elif name in self.away and uid != self._uids[name] and ready == "True" and not leaving:
                self._uids[name] = uid
                self.away.discard(name)
            self.most = max(self.most, len(self.away))

    def __exit__(self, *_: object) -> None:
        """End."""
        self._process.terminate()
        self._process.wait()
        self._thread.join()


@pytest.fixture(scope="module", autouse=True)
def cluster(folder: Path) -> Iterator[None]:
    remove_namespaces(NAMESPACE)
    play(folder)
    yield
    remove_namespaces(NAMESPACE)


@pytest.fixture
def writer() -> Iterator[Callable[[], int]]:
    """A client that writes row after row; yields how many were acknowledged."""
    container = {
        "name": "writer",
        "image": images()["galera_cluster_docker_image"],
        "command": ["bash", "-c", WRITER.format(host=f"{NAME}-galera-haproxy")],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "writer", "namespace": NAMESPACE},
        "spec": {"terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False, "containers": [container]},
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(pod))

    def acknowledged() -> int:
        done = subprocess.run(
            ["kubectl", *IN, "logs", "writer", "--tail=1"], capture_output=True, text=True, check=False
        )
        return int(done.stdout.split()[-1]) if done.stdout.startswith("acknowledged") else 0

    until(lambda: acknowledged() > 0, "the first acknowledged row")
    yield acknowledged
    kubectl(*IN, "delete", "pod", "writer", "--ignore-not-found")


def test_changed_value_reaches_the_nodes_one_by_one_although_the_api_server_is_away_for_a_while(
    folder: Path, tmp_path: Path, writer: Callable[[], int]
) -> None:
    mycnf = {"max_connections": 123}
    with api_door(Path(os.environ["KUBECONFIG"]), tmp_path) as (door, kubeconfig), Watch() as watch:

        def away() -> None:
            until(lambda: watch.order == NODES[2:], "the first node to be stopped")
            door.shut()
            try:
                until(lambda: not watch.away, "the node to be back")
            finally:
                door.open()

        shutting = threading.Thread(target=away)
        shutting.start()
        output = play(
            folder, "site", f"--extra-vars=galera_cluster_kubeconfig={kubeconfig}", galera_cluster_mycnf=mycnf
        )
        shutting.join()
    assert changed(output) == 2
    assert watch.most == 1, "two nodes were away at a time"
    assert watch.order == NODES[::-1]
    assert {sql(node, "SELECT @@max_connections") for node in NODES} == {"123"}
    reached = writer()
    rows = int(sql(NODES[1], f"SET SESSION wsrep_sync_wait=1; SELECT COUNT(*) FROM appdb.journal WHERE n <= {reached}"))
    assert rows == reached > 0
    assert changed(play(folder, galera_cluster_mycnf=mycnf)) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"galera_cluster_mycnf": {"max_connections": 123, "innodb_io_capacity": "12x"}},
            "galera_cluster_mycnf: innodb_io_capacity=12x: MariaDB (localhost/stateful-galera/mariadb:11.8) does not "
            "start with it: Unknown suffix 'x' used for variable 'innodb-io-capacity'",
        ),
        (
            {"galera_cluster_mycnf": {"max_connections": 123}, "galera_cluster_provider_options": {"gcs.fc_limt": 16}},
            "galera_cluster_provider_options: gcs.fc_limt=16: MariaDB (localhost/stateful-galera/mariadb:11.8) does "
            "not start with it: WSREP: Unrecognized parameter 'gcs.fc_limt'",
        ),
    ],
)
def test_value_that_mariadb_refuses_touches_no_node(folder: Path, change: dict[str, Any], said: str) -> None:
    pods = uids()
    version = get(*IN, "configmap", f"{NAME}-galera-config")["metadata"]["resourceVersion"]
    message = refused(start(folder, **change))
    assert said in message
    assert "Nothing was changed." in message
    assert uids() == pods
    assert get(*IN, "configmap", f"{NAME}-galera-config")["metadata"]["resourceVersion"] == version
    assert f"{NAME}-galera-config-check" not in kubectl(*IN, "get", "pods", "-o", "name")
    assert "galera-site" not in kubectl(*IN, "get", "leases", "-o", "name")


def test_second_run_is_told_who_is_at_work_and_a_restart_is_made_once(folder: Path) -> None:
    before, mycnf = uids(), {"max_connections": 123}
    with Watch() as watch:
        first = start(
            folder, "rolling_restart", "--extra-vars=galera_rolling_restart_id=once", galera_cluster_mycnf=mycnf
        )
        until(
            lambda: f"{NAME}-galera-site" in kubectl(*IN, "get", "leases", "-o", "name"), "the Lease of the first run"
        )
        second = refused(start(folder, galera_cluster_mycnf={"max_connections": 124}))
        output = first.communicate()[0]
    assert first.returncode == 0, output
    assert f"Another run is changing the cluster {NAMESPACE}/{NAME}: " in second
    assert f"(process {first.pid}) has held the Lease {NAME}-galera-site since 2" in second
    assert not before.items() & uids().items()
    assert watch.most == 1, "two nodes were away at a time"
    assert watch.order == NODES[::-1]
    assert (
        changed(play(folder, "rolling_restart", "-e", "galera_rolling_restart_id=once", galera_cluster_mycnf=mycnf))
        == 0
    )
    assert changed(play(folder, galera_cluster_mycnf=mycnf)) == 0


def test_second_eviction_is_blocked(folder: Path) -> None:
    def evict(pod: str) -> str:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
        command = ["kubectl", "create", "--raw", path, "-f", "-"]
        done = subprocess.run(command, input=json.dumps(body), capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert "Success" in evict(NODES[2])
    assert "Cannot evict pod as it would violate the pod's disruption budget" in evict(NODES[1])
    play(folder, galera_cluster_mycnf={"max_connections": 123})


def test_status_with_a_node_away_says_why_and_what_to_do(folder: Path, tmp_path: Path) -> None:
    # no room for another pod: the node stays away until the quota is gone
    kubectl(*IN, "create", "quota", "full", "--hard=pods=1")
    kubectl(*IN, "delete", "pod", NODES[2])
    told = f"The StatefulSet {NAME}-galera cannot make its pods"
    until(lambda: "exceeded quota" in kubectl(*IN, "get", "events"), "the Event that tells of it")
    report = tmp_path / "status.json"
    message = refused(start(folder, "status", f"--extra-vars=galera_status_output={report}"))
    kubectl(*IN, "delete", "quota", "full")
    assert f"degraded: The cluster works, but only 2 of 3 nodes are Synced: {NODES[2]} has no pod" in message
    assert told in message
    seen = json.loads(report.read_text())
    assert (seen["verdict"], seen["size"], seen["writer"]) == ("degraded", 2, NODES[0])
    assert seen["next_step"].startswith(f"Mend this: {told}")
    rows = {row["name"]: row for row in seen["nodes"]}
    assert (rows[NODES[2]]["pod_phase"], rows[NODES[2]]["claim_phase"]) == ("Absent", "Bound")
    assert None not in {rows[node]["cluster_conf_id"] for node in NODES[:2]}
    play(folder, galera_cluster_mycnf={"max_connections": 123})
