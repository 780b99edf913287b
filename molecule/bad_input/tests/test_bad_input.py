# SPDX-License-Identifier: GPL-3.0-or-later
"""Each wrong input: one clear sentence, exit code not zero, and nothing made in Kubernetes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests"))

from cluster import inventory, kubectl
from objects import remove_namespaces

SCENARIO = Path(__file__).resolve().parents[1]
ISCSI = {
    f"galera_cluster_{owner}_iscsi_{key}": value
    for lun, owner in enumerate(["seed", "node1", "node2", "node3"])
    for key, value in [("targetportal", "192.0.2.4:3260"), ("iqn", "iqn.2018-04.org.example:a"), ("lun", str(lun))]
}

# name: (changed variables; None removes one), what the message must say
BEFORE_ANYTHING: dict[str, tuple[dict[str, str | None], list[str]]] = {
    "unknown variable": ({"galera_cluster_sise": "3"}, ["galera_cluster_sise", "galera_cluster_size"]),
    "no name": ({"galera_cluster_name": None}, ["galera_cluster_name"]),
    "size 0": ({"galera_cluster_size": "0"}, ["galera_cluster_size", "0"]),
    "size 2.5": ({"galera_cluster_size": "2.5"}, ["galera_cluster_size", "2.5"]),
    "size three": ({"galera_cluster_size": "three"}, ["galera_cluster_size", "three"]),
    "same LUN twice": (ISCSI | {"galera_cluster_node2_iscsi_lun": "1"}, ["node1", "node2", "lun"]),
    "half of the LUNs": ({k: v for k, v in ISCSI.items() if "node3" not in k}, ["node3"]),
    "size without a unit that Kubernetes knows": (
        {"galera_cluster_volume_size": "10GB"},
        ["galera_cluster_volume_size", "10GB", "Gi"],
    ),
    "name that is no DNS label": ({"galera_cluster_name": "My_DB"}, ["galera_cluster_name", "My_DB"]),
    "half of the NFS share": ({"galera_cluster_backup_nfs_server": "192.0.2.7"}, ["galera_cluster_backup_path"]),
    "node port out of range": ({"galera_cluster_nodeport": "3306"}, ["galera_cluster_nodeport", "3306", "30000"]),
    "storage class that does not exist": ({"galera_cluster_storage_class": "gold"}, ["gold", "standard"]),
    "too few Kubernetes nodes": ({"galera_cluster_size": "7"}, ["7", "5"]),
    "node selector that nothing has": ({"galera_cluster_node_selector": '{"disk": "ssd"}'}, ["disk"]),
    "setting that is the collection's": (
        {"galera_cluster_mycnf": '{"datadir": "/x"}'},
        ["galera_cluster_mycnf", "datadir"],
    ),
}


def site(folder: Path, changes: dict[str, str | None], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run site with the scenario's inventory and these changes."""
    return play("site", folder, changes, **environment)


def play(
    name: str, folder: Path, changes: dict[str, str | None], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the collection with the scenario's inventory and these changes."""
    text = (SCENARIO / "galera.conf").read_text()
    lines = [line for line in text.splitlines() if line.partition("=")[0] not in changes]
    at = lines.index("[template_target]")
    lines[at:at] = [f"{name}={value}" for name, value in changes.items() if value is not None]
    path = folder / "galera.conf"
    path.write_text("\n".join(lines) + "\n")
    command = ["ansible-playbook", "-i", str(path), f"stateful.galera.{name}"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, **streams, text=True, check=False, env={**os.environ, **environment})


@pytest.fixture
def namespace() -> Iterator[str]:
    """The scenario's namespace, for cases that are found only once something runs; removed after the case."""
    name: str = inventory(SCENARIO)["galera_cluster_namespace"]
    yield name
    remove_namespaces(kubectl, name)


def namespace_exists() -> bool:
    """Tell whether the scenario's namespace was made."""
    name = inventory(SCENARIO)["galera_cluster_namespace"]
    return bool(kubectl("get", "namespace", name, "--ignore-not-found", "-o", "name"))


@pytest.mark.parametrize("case", BEFORE_ANYTHING)
def test_refused_before_anything_is_made(case: str, tmp_path: Path) -> None:
    changes, words = BEFORE_ANYTHING[case]
    done = site(tmp_path, changes)
    assert done.returncode != 0
    message = " ".join(done.stdout[done.stdout.index("fatal: ") :].split())  # the YAML output folds long lines
    assert [word for word in words if word not in message] == []
    assert "Traceback" not in done.stdout
    assert not namespace_exists()


def test_no_api_server(tmp_path: Path) -> None:
    config = kubectl("config", "view", "--raw", "--minify")
    server = kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    path = tmp_path / "kubeconfig"
    path.write_text(config.replace(server, "https://127.0.0.1:9"))
    done = site(tmp_path, {}, KUBECONFIG=str(path))
    assert done.returncode != 0
    assert "127.0.0.1:9" in done.stdout
    assert "Traceback" not in done.stdout


def test_no_rights(tmp_path: Path) -> None:
    kubectl(
        "apply",
        "-f",
        "-",
        stdin="apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: molecule-nobody, namespace: default}\n",
    )
    token = kubectl("-n", "default", "create", "token", "molecule-nobody").strip()
    path = tmp_path / "kubeconfig"
    path.write_text(kubectl("config", "view", "--raw", "--minify"))
    user = kubectl("config", "view", "--minify", "-o", "jsonpath={.contexts[0].context.user}")
    environment = {"KUBECONFIG": str(path)}
    subprocess.run(
        ["kubectl", "config", "unset", f"users.{user}"],
        check=True,
        env={**os.environ, **environment},
        capture_output=True,
    )
    set_token = ["kubectl", "config", "set-credentials", user, f"--token={token}"]
    subprocess.run(set_token, check=True, env={**os.environ, **environment}, capture_output=True)
    done = site(tmp_path, {}, **environment)
    assert done.returncode != 0
    assert "create" in done.stdout
    assert "statefulsets.apps" in done.stdout
    assert not namespace_exists()


def test_node_port_of_another_service(tmp_path: Path) -> None:
    taken = "apiVersion: v1\nkind: Service\nmetadata: {name: molecule-taken, namespace: default}\n"
    taken += "spec: {type: NodePort, selector: {a: b}, ports: [{port: 1, nodePort: 30777}]}\n"
    kubectl("apply", "-f", "-", stdin=taken)
    changes = {"galera_cluster_nodeport": "30777", "galera_cluster_external_access": "nodeport"}
    try:
        done = site(tmp_path, changes)
    finally:
        kubectl("-n", "default", "delete", "service", "molecule-taken")
    assert done.returncode != 0
    assert "30777" in done.stdout
    assert "molecule-taken" in done.stdout
    assert not namespace_exists()


def test_image_that_cannot_be_pulled(tmp_path: Path, namespace: str) -> None:
    image = "localhost:9/no/such-image:1"
    done = site(tmp_path, {"galera_cluster_docker_image": image, "galera_cluster_wait_timeout": "600"})
    assert done.returncode != 0
    message = " ".join(done.stdout[done.stdout.index("fatal: ") :].split())
    assert image in message
    assert "pull" in message.lower()
    assert "of no use" in message, "the play waited for its time-out instead of telling the reason"
    assert namespace in kubectl("get", "namespaces", "-o", "name")


def test_volume_that_holds_another_clusters_data(tmp_path: Path, namespace: str) -> None:
    one = {
        "galera_cluster_size": "1",
        "galera_cluster_haproxy_replicas": "1",
        "galera_cluster_render_dir": str(tmp_path),
    }
    stop = {**one, "galera_teardown_confirm": "mol"}
    first = site(tmp_path, one)
    assert first.returncode == 0, first.stdout
    old = json.loads(kubectl("-n", namespace, "get", "cm", "mol-galera-state", "-o", "jsonpath={.data.cluster}"))[
        "uuid"
    ]
    torn = play("teardown", tmp_path, stop)
    assert torn.returncode == 0, torn.stdout
    # another cluster takes the name: its seed starts by hand on an empty volume, and no record tells of the first
    kubectl("-n", namespace, "delete", "configmap", "mol-galera-state")
    rendered = play("render", tmp_path, one)
    assert rendered.returncode == 0, rendered.stdout
    kubectl("apply", "-f", f"{tmp_path}/galera-1-volumes.yml", "-f", f"{tmp_path}/galera-1-seed.yml")
    kubectl("-n", namespace, "wait", "--for=create", "pod/mol-galera-seed-0", "--timeout=60s")
    kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/mol-galera-seed-0", "--timeout=120s")
    # its agent writes the record a moment after it has become ready
    kubectl("-n", namespace, "wait", "--for=jsonpath={.data.cluster}", "cm/mol-galera-state", "--timeout=60s")
    new = json.loads(kubectl("-n", namespace, "get", "cm", "mol-galera-state", "-o", "jsonpath={.data.cluster}"))[
        "uuid"
    ]
    assert new != old
    refused = site(tmp_path, one)
    assert refused.returncode != 0
    message = " ".join(refused.stdout[refused.stdout.index("fatal: ") :].split())
    assert old in message
    assert new in message
    # nothing was lost: with the foreign seed gone, the node's data is still the old cluster's
    kubectl("-n", namespace, "delete", "statefulset", "mol-galera-seed")
    kubectl("-n", namespace, "delete", "configmap", "mol-galera-state")
    kubectl("-n", namespace, "delete", "pvc", "mol-galera-seed-volume-claim")
    again = site(tmp_path, one)
    assert again.returncode == 0, again.stdout
    back = json.loads(kubectl("-n", namespace, "get", "cm", "mol-galera-state", "-o", "jsonpath={.data.cluster}"))[
        "uuid"
    ]
    assert back == old
