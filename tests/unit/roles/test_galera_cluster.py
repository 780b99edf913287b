# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbook site tells in check mode, against an API server in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rendering import collection_environment
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes

INVENTORY = """[all:vars]
galera_cluster_name=demo
galera_cluster_namespace=db
[template_target]
localhost ansible_connection=local
"""


def test_check_mode_of_a_new_cluster_tells_the_changes_of_the_run(tmp_path: Path) -> None:
    """The objects are made, and the seed, which is not there yet, is removed at the end."""
    api = FakeKubernetes()
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    api.add({"kind": "StorageClass", "metadata": {"name": "std", "annotations": default}})
    for name in ("one", "two", "three"):
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        api.add({"kind": "Node", "metadata": {"name": name}, "spec": {}, "status": status})
    (tmp_path / "galera.conf").write_text(INVENTORY)
    (tmp_path / "ansible.cfg").touch()
    server = {"K8S_AUTH_HOST": api.host, "K8S_AUTH_API_KEY": "token-of-the-test", "K8S_AUTH_KUBECONFIG": ""}
    environment = os.environ | collection_environment() | {"ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")} | server
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "galera.conf", "stateful.galera.site"]
    try:
        done = subprocess.run(
            [*command, "--check"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
    finally:
        api.close()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=2 " in done.stdout
    assert api.writes() == []
