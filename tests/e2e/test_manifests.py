# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server takes every document of every inventory: its schema, admission and pod security say nothing."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from rendering import INVENTORIES, Manifests, copy_inventory, finish, start_render
from tools import get, kubectl, remove_namespaces

PREFIX = "e2e-manifests-"
NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata:
  name: {name}
  labels: {{pod-security.kubernetes.io/warn: restricted}}
"""
POD = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: sharp, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: sharp}}}}
  template:
    metadata: {{labels: {{app: sharp}}}}
    spec:
      containers:
        - {{name: sharp, image: scratch, {field}}}
"""
# A field of its container, the exit code of kubectl, and what it says
WRONG = {
    "imagePullPolice: Always": (1, "field not declared in schema"),
    "imagePullPolicy: Sometimes": (1, "Unsupported value"),
    "ports: [{containerPort: http}]": (1, "expected numeric"),
    "imagePullPolicy: Always": (0, "would violate PodSecurity"),
}


def _dry_run(text: str) -> tuple[int, str, str]:
    """Let the API server do all but keep some documents; returns the exit code, the objects, errors and warnings."""
    command = ["kubectl", "apply", "--server-side", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def _free_node_port() -> int:
    taken = {port.get("nodePort") for item in get("services", "-A")["items"] for port in item["spec"]["ports"]}
    return next(port for port in range(32767, 30000, -1) if port not in taken)


def _make_namespaces(*names: str) -> None:
    kubectl("apply", "--server-side", "-f", "-", stdin="---".join(NAMESPACE.format(name=name) for name in names))


@pytest.fixture(params=INVENTORIES)
def clusters(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Manifests]]:
    """The manifests of an inventory by cluster, rendered for namespaces that exist while the test runs."""
    inventory = copy_inventory(INVENTORIES[request.param], tmp_path / "inventory")
    overrides = [
        f"galera_cluster_namespace={PREFIX}{{{{ galera_cluster_name }}}}",
        f"galera_cluster_render_dir={tmp_path}/rendered/{{{{ galera_cluster_name }}}}",
    ]
    finish(start_render(inventory, *(part for override in overrides for part in ("-e", override))))
    found = {path.name: Manifests(path) for path in (tmp_path / "rendered").iterdir()}
    namespaces = [PREFIX + cluster for cluster in found]
    _make_namespaces(*namespaces)
    yield found
    remove_namespaces(*namespaces)


def test_every_document_is_accepted(clusters: dict[str, Manifests]) -> None:
    port = _free_node_port()
    for cluster, manifests in clusters.items():
        texts = [text for texts in manifests.texts.values() for text in texts]
        # the port of the example may be taken by a cluster that runs
        code, objects, told = _dry_run(re.sub(r"nodePort: \d+", f"nodePort: {port}", "---\n".join(texts)))
        assert (code, told) == (0, ""), cluster
        assert len(objects.splitlines()) == len(texts) > 20, cluster


def test_the_api_server_tells_what_is_wrong() -> None:
    """So that a silent answer above means something."""
    namespace = f"{PREFIX}sharp"
    _make_namespaces(namespace)
    answers = {field: _dry_run(POD.format(namespace=namespace, field=field)) for field in WRONG}
    remove_namespaces(namespace)
    for field, (code, told) in WRONG.items():
        assert answers[field][0] == code, field
        assert re.search(told, answers[field][2]), answers[field][2]
