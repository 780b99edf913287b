# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of backups share: an S3 server in the cluster, a cluster's nodes and what its agents publish."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import objects
from objects import AGENT, BUCKET, KEYS
from tools import get, kubectl, run

SHARED_CLASS = "e2e-shared"
# Volumes of it: for the backups, and for a restore to work in
SHARED = ("e2e-shared-0", "e2e-shared-1")


def until(what: str, find: Callable[[], Any], seconds: float = 240) -> Any:
    """Wait until find returns something; fails with what it waited for."""
    end = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)
    return found


def inventory_text(name: str, namespace: str) -> str:
    """An inventory: three small nodes with backups to the S3 server of the namespace."""
    return f"""[all:vars]
galera_cluster_name={name}
galera_cluster_namespace={namespace}
galera_cluster_size=3
galera_cluster_docker_image=localhost/stateful-galera/mariadb:11.8
galera_cluster_haproxy_docker_image=localhost/stateful-galera/haproxy:3
galera_cluster_backup_agent_image={AGENT}
galera_cluster_pod_security_enabled=true
galera_cluster_volume_size=1Gi
galera_cluster_resources={{"requests": {{"cpu": "50m", "memory": "256Mi"}}, "limits": {{"memory": "768Mi"}}}}
galera_cluster_agent_resources={{"requests": {{"cpu": "10m", "memory": "64Mi"}}, "limits": {{"memory": "512Mi"}}}}
galera_cluster_backup_schedule="0 0 1 1 *"
galera_cluster_backup_deadline=10m
galera_cluster_backup_binlog_interval=6s
galera_cluster_backup_s3_bucket={BUCKET}
galera_cluster_backup_s3_prefix={name}
galera_cluster_backup_s3_endpoint="http://s3.{namespace}:7070"
galera_cluster_backup_s3_region=us-east-1
galera_cluster_backup_secret=backup-keys
galera_mysql_root_password="r00t"
galera_mysql_database=shop
galera_mysql_user=app
galera_mysql_password=app

[template_target]
localhost
"""


def play(path: str, playbook: str, *flags: str, **variables: str) -> str:
    """Run a playbook; returns its output."""
    given = [word for item in variables.items() for word in ("-e", "=".join(item))]
    return run("ansible-playbook", "-i", path, f"stateful.galera.{playbook}", *flags, *given)


def share_volumes(namespace: str) -> None:
    """Two volumes of the class SHARED_CLASS for claims of a namespace that want ReadWriteMany, on one machine.

    They are directories on the volume of another claim: the local Kubernetes makes none that several machines share.
    """
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "carrier"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    mount = {"name": "data", "mountPath": "/data"}
    carrier = objects.pod("carrier", [mount], [{"name": "data", "persistentVolumeClaim": {"claimName": "carrier"}}])
    objects.apply(partial(kubectl, "-n", namespace), claim, carrier)
    kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/carrier", "--timeout=120s")
    kubectl("-n", namespace, "exec", "carrier", "--", "mkdir", "-m", "777", *(f"/data/{one}" for one in SHARED))
    carried = get("persistentvolume", get("-n", namespace, "persistentvolumeclaim", "carrier")["spec"]["volumeName"])[
        "spec"
    ]
    volumes = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": one},
            "spec": {
                "storageClassName": SHARED_CLASS,
                "accessModes": ["ReadWriteMany"],
                "capacity": {"storage": "1Gi"},
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": f"{carried['hostPath']['path']}/{one}"},
                "nodeAffinity": carried["nodeAffinity"],
            },
        }
        for one in SHARED
    ]
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": SHARED_CLASS}}
    objects.apply(kubectl, {**kind, "provisioner": "kubernetes.io/no-provisioner"}, *volumes)


def remove_shared_volumes() -> None:
    """Remove the class and the volumes, once no claim needs them."""
    kubectl("delete", "storageclass", SHARED_CLASS, "--ignore-not-found")
    kubectl("delete", "persistentvolume", *SHARED, "--ignore-not-found")


class Backups:
    """One cluster in a namespace; its database is shop, the password of root is r00t."""

    def __init__(self, namespace: str, name: str) -> None:
        self.namespace, self.name = namespace, name

    def do(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return kubectl("-n", self.namespace, *arguments, stdin=stdin)

    def sql(self, statement: str, node: int = 0) -> str:
        """Run SQL on a node; returns its rows."""
        client = ["env", "MYSQL_PWD=r00t", "mariadb", "-N", "-h", "127.0.0.1", "-u", "root"]
        command = ["exec", "-i", f"{self.name}-galera-{node}", "-c", "mariadb", "--", *client]
        return self.do(*command, stdin=statement).strip()

    def row(self, number: int) -> str:
        """Add a row; returns the server's GTID position after it."""
        return self.sql(f"INSERT INTO shop.orders VALUES ({number}); SELECT @@last_gtid")

    def make_store(self) -> dict[str, str]:
        """Start an S3 server with an empty bucket; returns its keys and an age key, as in the Secret of backups."""
        objects.serve_s3(self.do)
        return {**KEYS, "age-identity": self.do("exec", "s3", "--", "bash", "-c", "age-keygen 2>&-")}

    def _board(self) -> dict[str, str]:
        found = json.loads(self.do("get", "configmap", f"{self.name}-galera-backup-state", "-o", "json"))
        return found.get("data") or {}

    def published(self) -> dict[str, Any]:
        """What GET /backups tells."""
        return json.loads(self._board().get("catalog") or "{}")

    def target(self) -> dict[str, Any]:
        """The only target."""
        (found,) = (self.published().get("catalog") or {}).get("targets") or [{}]
        return found

    def patch(self, name: str, **data: str) -> None:
        """Change a ConfigMap."""
        self.do("patch", "configmap", name, "--type=merge", "-p", json.dumps({"data": data}))

    def ask(self, name: str, **fields: str) -> None:
        """Ask the agents for something."""
        self.patch(f"{self.name}-galera-backup-state", request=json.dumps({"id": name, **fields}))

    def answer(self, name: str) -> dict[str, Any] | None:
        """What came of it, None before its end."""
        result = json.loads(self._board().get("result") or "{}")
        done = result.get("id") == name and result.get("state") != "running"
        return result if done else None

    def backup(self, name: str, kind: str) -> str:
        """Have a backup taken on demand; returns its name."""
        self.ask(name, action="backup", kind=kind)
        result = until(f"backup {name}", lambda: self.answer(name))
        assert result["state"] == "succeeded", result
        return str(result["backup"])

    def leader(self) -> str:
        """Who takes the backups, empty where nobody does."""
        found = json.loads(self.do("get", "leases", "-o", "json"))["items"]
        holders = [
            one["spec"].get("holderIdentity", "") for one in found if one["metadata"]["name"].endswith("-backup")
        ]
        return holders[0] if holders else ""

    def archived(self, gtid: str) -> None:
        """Wait until a transaction is archived."""
        sequence = int(gtid.rpartition("-")[2])
        what = f"the archive of {gtid}"
        until(what, lambda: (self.published().get("archive") or {}).get("last", 0) >= sequence, 120)
