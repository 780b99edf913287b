# SPDX-License-Identifier: GPL-3.0-or-later
"""The status role where the API server cannot be asked; tests/e2e/test_operations.py has it with one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml
from rendering import INVENTORIES, ROOT, collection_environment


def test_without_an_answer_of_the_api_server_the_json_says_so(tmp_path: Path) -> None:
    # port 1 of the loopback: nobody listens
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "away", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "away", "context": {"cluster": "away", "user": "nobody"}}],
        "users": [{"name": "nobody", "user": {}}],
        "current-context": "away",
    }
    kubeconfig, report = tmp_path / "kubeconfig", tmp_path / "status.json"
    kubeconfig.write_text(yaml.safe_dump(config))
    program = str(Path(sys.executable).parent / "ansible-playbook")
    command = [
        program,
        "-i",
        str(INVENTORIES["local"]),
        "stateful.galera.status",
        "-e",
        f"galera_status_output={report}",
    ]
    environment = {**collection_environment(), "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    seen = json.loads(report.read_text())
    assert (seen["name"], seen["verdict"], seen["nodes"]) == ("demo", "unknown", [])
    assert seen["reason"].startswith("The API server at https://127.0.0.1:1 does not answer")
    assert seen["reason"] in " ".join(done.stdout.split())
