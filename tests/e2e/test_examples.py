# SPDX-License-Identifier: GPL-3.0-or-later
"""Both example inventories run, from site to purge, on volumes that this machine has in place of theirs.

What is put in the place of what: the images are those built here; the vSphere class is the local default class; each
iSCSI LUN is a directory on the Kubernetes node that mounts it. No NFS server can be mounted here: volumes and claims
of the backup are made and bound as the inventory says, and the pods go without (galera_cluster_backup_enabled=false).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rendering import ROOT
from tools import changed, get, kubectl, remove_namespaces, run

PASSWORD = "Fender2000"
DIRECTORY = "/var/lib/e2e-coreos"
OWNERS = ["seed", "node1", "node2", "node3"]
WORKERS = [f"stateful-galera-worker{number}" for number in ("", "2", "3")]
LOCAL = dict(
    line.split("=", 1)
    for line in (ROOT / "inventories" / "local" / "galera.conf").read_text().splitlines()
    if line.startswith("galera_cluster_") and "image" in line
)
SMALL = {
    **LOCAL,
    "galera_cluster_resources": {"requests": {"cpu": "20m", "memory": "256Mi"}, "limits": {"memory": "768Mi"}},
    "galera_cluster_agent_resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}},
    "galera_cluster_haproxy_resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
    "galera_cluster_volume_size": "1Gi",
    "galera_cluster_backup_volume_size": "1Gi",
    "galera_cluster_backup_enabled": False,
}
PKS: dict[str, Any] = {
    **SMALL,
    "galera_cluster_name": "pks",
    "galera_cluster_namespace": "e2e-pks",
    "galera_vsphere_storage_class": "standard",
}
COREOS: dict[str, Any] = {
    **SMALL,
    "galera_cluster_name": "coreos",
    "galera_cluster_namespace": "e2e-coreos",
    "galera_cluster_backup_log_volume_size": "1Gi",
    **{f"galera_cluster_{owner}_iscsi_{part}": "" for owner in OWNERS for part in ("targetportal", "iqn", "lun")},
    "galera_cluster_local_volume_path": DIRECTORY,
    "galera_cluster_seed_local_node": WORKERS[0],
    **{f"galera_cluster_node{number}_local_node": worker for number, worker in enumerate(WORKERS, start=1)},
}


class Example:
    """A cluster from an example inventory."""

    def __init__(self, folder: str, variables: dict[str, Any], tmp_path: Path) -> None:
        """Write the variables that replace those of the inventory to a file below tmp_path."""
        self.name, self.namespace = variables["galera_cluster_name"], variables["galera_cluster_namespace"]
        self.claims = [f"data-{self.name}-galera-{ordinal}" for ordinal in range(3)]
        overrides = tmp_path / "overrides.json"
        overrides.write_text(json.dumps(variables))
        inventory = ROOT / "inventories" / "examples" / folder / "galera.conf"
        self.arguments = ["-i", str(inventory), "-e", f"@{overrides}"]

    def play(self, playbook: str, **extra: str) -> str:
        """Run a playbook of the collection and return its output."""
        given = [part for name, value in extra.items() for part in ("-e", f"{name}={value}")]
        return run("ansible-playbook", *self.arguments, f"stateful.galera.{playbook}", *given)

    def sql(self, statement: str, ordinal: int = 0) -> str:
        """Run SQL as root in the pod of a node."""
        pod = f"{self.name}-galera-{ordinal}"
        client = ["env", f"MYSQL_PWD={PASSWORD}", "mariadb", "--batch", "--skip-column-names", "--user=root"]
        return kubectl("-n", self.namespace, "exec", "-i", pod, "-c", "mariadb", "--", *client, stdin=statement).strip()

    def uuid(self) -> str:
        """Return the uuid of the cluster as its nodes have it, which the record must have as well."""
        uuids = {self.sql("SHOW STATUS LIKE 'wsrep_cluster_state_uuid'", ordinal).split()[1] for ordinal in range(3)}
        record = get("-n", self.namespace, "configmap", f"{self.name}-galera-state")["data"]["cluster"]
        assert uuids == {json.loads(record)["uuid"]}
        return uuids.pop()

    def existing(self, kinds: str) -> set[str]:
        """Return the objects of these kinds in the namespace that belong to the cluster."""
        label = f"app.kubernetes.io/instance={self.name}"
        found = get("-n", self.namespace, kinds, "-l", label)["items"]
        return {f"{item['kind']}/{item['metadata']['name']}" for item in found}


def _helper(namespace: str, name: str, command: str, **spec: Any) -> str:
    """Run a shell command as root in a pod of its own, with the spec's volume at /volume; return what it printed."""
    container = {
        "name": "helper",
        "image": LOCAL["galera_cluster_docker_image"],
        "command": ["/bin/sh", "-ec", command],
        "volumeMounts": [{"name": "volume", "mountPath": "/volume"}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    ended = ["wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=300s"]
    kubectl("-n", namespace, *ended)
    output = kubectl("-n", namespace, "logs", name)
    kubectl("-n", namespace, "delete", "pod", name)
    return output


def _on_workers(command: str) -> None:
    """Run a shell command on the Kubernetes nodes that have the local volumes, with their /var/lib at /volume."""
    kubectl("create", "namespace", "e2e-directories")
    for worker in WORKERS:
        volume = {"name": "volume", "hostPath": {"path": "/var/lib"}}
        _helper("e2e-directories", worker, command, nodeName=worker, volumes=[volume])
    remove_namespaces("e2e-directories")


@pytest.fixture
def pks(tmp_path: Path) -> Iterator[Example]:
    """The inventory with a storage class."""
    remove_namespaces("e2e-pks")
    yield Example("pks", PKS, tmp_path)
    remove_namespaces("e2e-pks")


@pytest.fixture
def coreos(tmp_path: Path) -> Iterator[Example]:
    """The inventory with a volume for each node; as LUNs do, the directories exist before the cluster, empty."""
    remove_namespaces("e2e-coreos", "e2e-directories")
    folder = DIRECTORY.replace("/var/lib", "/volume")
    _on_workers(f"rm -rf {folder}; mkdir {folder}; cd {folder}; mkdir {' '.join(OWNERS)}")
    yield Example("coreos", COREOS, tmp_path)
    remove_namespaces("e2e-coreos")
    _on_workers(f"rm -rf {folder}")


def _run_from_site_to_purge(example: Example) -> None:
    assert changed(example.play("site")) > 0
    assert "healthy" in example.play("status")
    assert changed(example.play("site")) == 0
    assert {f"PersistentVolumeClaim/{claim}" for claim in example.claims} <= example.existing("pvc")
    example.sql("CREATE TABLE drupaldb.kept (id INT PRIMARY KEY); INSERT INTO drupaldb.kept VALUES (7)")
    before = example.uuid()

    example.play("teardown", galera_teardown_confirm=example.name)
    assert example.existing("pods,statefulsets,deployments,services") == set()
    example.play("site")
    assert [example.sql("SELECT id FROM drupaldb.kept", ordinal) for ordinal in range(3)] == ["7"] * 3
    assert example.uuid() == before

    example.play("teardown", galera_teardown_confirm=example.name)
    example.play("purge_volumes", galera_purge_volumes_confirm=example.name)
    for claim in example.claims:
        volume = {"name": "volume", "persistentVolumeClaim": {"claimName": claim}}
        assert _helper(example.namespace, f"look-{claim}", "ls -A /volume", volumes=[volume]) in ("", "lost+found\n")
    assert example.existing("secrets,configmaps") == set()


def _backup_claims_are_bound(example: Example) -> None:
    claims = {claim["metadata"]["name"]: claim for claim in get("-n", example.namespace, "pvc")["items"]}
    for part in ("backup", "backup-temp"):
        claim = claims[f"{example.name}-galera-{part}-volume-claim"]
        assert claim["status"]["phase"] == "Bound"
        volume = get("persistentvolume", claim["spec"]["volumeName"])["spec"]
        assert set(volume["nfs"]) >= {"server", "path"}


def test_pks(pks: Example) -> None:
    _run_from_site_to_purge(pks)
    _backup_claims_are_bound(pks)


def test_coreos(coreos: Example) -> None:
    _run_from_site_to_purge(coreos)
    _backup_claims_are_bound(coreos)
    bound = {
        claim["metadata"]["name"]: claim["spec"]["volumeName"] for claim in get("-n", "e2e-coreos", "pvc")["items"]
    }
    for number, claim in enumerate(coreos.claims, start=1):
        assert bound[claim] == f"e2e-coreos-coreos-galera-node{number}-volume"
