# SPDX-License-Identifier: GPL-3.0-or-later
"""A new cluster from the backups of a MariaDB that was none: the rendered Job, the seed and a node, applied by hand."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
NAMESPACE = "e2e-restore"
PASSWORD = "new;pass'word"
CLAIMS = {
    "/backups": "res-galera-backup-volume-claim",
    "/temp": "res-galera-backup-temp-volume-claim",
    "/target": "res-galera-seed-volume-claim",
    "/broken": "broken",
}
INVENTORY = f"""[all:vars]
galera_cluster_name=res
galera_cluster_namespace={NAMESPACE}
galera_cluster_size=1
galera_cluster_docker_image=localhost/stateful-galera/mariadb:11.8
galera_cluster_haproxy_docker_image=localhost/stateful-galera/haproxy:3
galera_cluster_backup_agent_image=localhost/stateful-galera/agent:1.0.0
galera_cluster_pod_security_enabled=true
galera_cluster_volume_size=1Gi
galera_cluster_backup_storage_class=standard
galera_cluster_resources={{"requests": {{"cpu": "50m", "memory": "384Mi"}}, "limits": {{"memory": "768Mi"}}}}
galera_mysql_root_password="r00t"
galera_mysql_database=shop
galera_mysql_user=app
galera_mysql_password="{PASSWORD}"
galera_xtrabackup_password=x

[template_target]
localhost
"""
# A server without Galera, a row for each of its backups; each waits for a checkpoint, so that LSNs differ.
SOURCE = r"""
set -euo pipefail
data=/tmp/data socket=/tmp/source.sock
mariadb-install-db --no-defaults --datadir=$data --skip-test-db --cross-bootstrap \
  --auth-root-authentication-method=socket --auth-root-socket-user=mysql >/dev/null
mariadbd --no-defaults --datadir=$data --socket=$socket --pid-file=/tmp/pid --skip-networking \
  --innodb-max-dirty-pages-pct=0 --innodb-max-dirty-pages-pct-lwm=0.001 &
q() { mariadb --no-defaults -S $socket -N -u mysql -e "$1"; }
checkpoint() { q "SHOW STATUS LIKE 'Innodb_lsn_last_checkpoint'" | cut -f2; }
row() {
  local before=$(checkpoint)
  q "INSERT INTO shop.orders VALUES ($1, '$2')"
  until [ "$(checkpoint)" -gt "$before" ]; do sleep 0.1; done
}
backup() {
  mariadb-backup --no-defaults --backup -S $socket -u mysql --datadir=$data --target-dir=/backups/"$@" 2>/dev/null
}
until q "SELECT 1" >/dev/null 2>&1; do sleep 0.1; done
q "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY, what TEXT);
   CREATE USER app@'%' IDENTIFIED BY 'old'; CREATE USER reader@'%' IDENTIFIED BY 'kept';
   GRANT SELECT ON shop.* TO reader@'%'"
row 1 full
backup full
row 2 first
backup first --incremental-basedir=/backups/full
row 3 second
backup second --incremental-basedir=/backups/first
mariadb-admin --no-defaults -S $socket -u mysql shutdown
wait
cp -r /backups/full /backups/second /broken/
mkdir -p /target/data.restore/torso /temp/galera-restore-killed/full
touch /tmp/done
exec tail -f /dev/null
"""


def run(*command: str, stdin: str = "", cwd: Path | None = None) -> str:
    """Run a command and return what it printed; fails with all of it."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def kubectl(*arguments: str, stdin: str = "") -> str:
    return run("kubectl", "-n", NAMESPACE, *arguments, stdin=stdin)


def apply(*objects: dict[str, Any]) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def in_source(script: str) -> str:
    return kubectl("exec", "source", "--", "bash", "-c", script)


def ask(pod: str, user: str, password: str, statement: str) -> list[list[str]]:
    """SQL through the network port of a pod; returns rows of texts."""
    client = [
        "env",
        f"MYSQL_PWD={password}",
        "mariadb",
        "--batch",
        "--skip-column-names",
        "-h",
        "127.0.0.1",
        "-u",
        user,
    ]
    out = kubectl("exec", "-i", pod, "-c", "mariadb", "--", *client, stdin=statement)
    return [line.split("\t") for line in out.splitlines()]


def run_job(job: dict[str, Any], outcome: str) -> str:
    """Apply a Job, wait for its outcome, remove it; returns its log."""
    name = job["metadata"]["name"]
    apply(job)
    kubectl("wait", f"--for=condition={outcome}", f"job/{name}", "--timeout=120s")
    log = kubectl("logs", f"job/{name}")
    kubectl("delete", "job", name, "--wait")
    return log


def claim(name: str) -> dict[str, Any]:
    """A claim that the local Kubernetes can serve, where NFS would stand."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def source_pod() -> dict[str, Any]:
    container = {
        "name": "mariadb",
        "image": "localhost/stateful-galera/mariadb:11.8",
        "imagePullPolicy": "IfNotPresent",
        "command": ["bash", "-c", SOURCE],
        "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/done"]}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": path[1:], "mountPath": path} for path in CLAIMS],
    }
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 999,
            "runAsGroup": 999,
            "fsGroup": 999,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": path[1:], "persistentVolumeClaim": {"claimName": name}} for path, name in CLAIMS.items()],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "source"}, "spec": spec}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The rendered files, in a namespace with the volumes applied and a source that has made its backups."""
    folder = tmp_path_factory.mktemp("restore")
    (folder / "galera.conf").write_text(INVENTORY)
    run("ansible-playbook", "-i", str(folder / "galera.conf"), "stateful.galera.render", cwd=PROJECT)
    run("kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")
    try:
        run("kubectl", "apply", "-f", str(folder / "galera-1-namespace.yml"))
        documents = list(yaml.safe_load_all((folder / "galera-1-volumes.yml").read_text()))
        apply(*(claim(name) for name in CLAIMS.values() if "seed" not in name))
        apply(*(one for one in documents if one["metadata"]["name"] not in CLAIMS.values() or _is_seed(one)))
        apply(source_pod())
        kubectl("wait", "--for=condition=Ready", "pod/source", "--timeout=120s")
        yield folder
    finally:
        run("kubectl", "delete", "namespace", NAMESPACE, "--wait=false")


def _is_seed(document: dict[str, Any]) -> bool:
    return str(document["metadata"]["name"]) == CLAIMS["/target"]


@pytest.fixture(scope="module")
def job(rendered: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((rendered / "galera-1-restore-job.yml").read_text())
    return loaded


def test_a_broken_chain_is_refused_and_the_volume_stays_as_it_was(job: dict[str, Any]) -> None:
    broken = json.loads(json.dumps(job).replace(CLAIMS["/backups"], CLAIMS["/broken"]))
    broken["metadata"]["name"] = "broken"
    missing = in_source("sed -n 's/^from_lsn = //p' /broken/second/mariadb_backup_checkpoints").strip()
    before = in_source("find /target /temp")
    log = run_job(broken, "Failed")
    assert f"the chain of full is broken: increment second begins at LSN {missing}, and no backup ends there" in log
    assert in_source("find /target /temp") == before


def test_the_seed_of_a_new_cluster_starts_from_the_last_increment(rendered: Path, job: dict[str, Any]) -> None:
    store = "cd /backups && find . -type f -exec sha256sum {} + | sort"
    before = in_source(store)
    assert "restored full + first + second into /target/data" in run_job(job, "Complete")
    assert "full + first + second was restored already" in run_job(job, "Complete")
    assert in_source(store) == before
    assert in_source("ls -A /target /temp").split() == ["/target:", "data", "/temp:"]

    kubectl("delete", "pod", "source", "--wait")
    kubectl("apply", "-f", str(rendered / "galera-1-seed.yml"))
    kubectl("rollout", "status", "statefulset/res-galera-seed", "--timeout=120s")
    kubectl("apply", "-f", str(rendered / "galera-1-nodes.yml"))
    kubectl("rollout", "status", "statefulset/res-galera", "--timeout=120s")
    kubectl("delete", "-f", str(rendered / "galera-1-seed.yml"), "--wait")

    node, orders = "res-galera-0", [["1", "full"], ["2", "first"], ["3", "second"]]
    assert ask(node, "app", PASSWORD, "SELECT * FROM shop.orders ORDER BY id") == orders
    assert ask(node, "reader", "kept", "SELECT * FROM shop.orders ORDER BY id") == orders
    assert ask(
        node, "app", PASSWORD, "INSERT INTO shop.orders VALUES (4, 'new'); SELECT COUNT(*) FROM shop.orders"
    ) == [["4"]]
    record = json.loads(kubectl("get", "configmap", "res-galera-state", "-o", "jsonpath={.data.cluster}"))
    assert ask(node, "root", "r00t", "SHOW STATUS LIKE 'wsrep_cluster_state_uuid'")[0][1] == record["uuid"]
