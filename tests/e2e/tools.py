# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests on the local Kubernetes share: kubectl, and playbooks of this checkout."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import objects
from rendering import ROOT, collection_environment

BIN = Path(sys.executable).parent


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Run kubectl against KUBECONFIG and return what it printed; fails with its error text."""
    done = subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def get(*arguments: str) -> dict[str, Any]:
    """Return `kubectl get <arguments>` as an object."""
    found: dict[str, Any] = json.loads(kubectl("get", *arguments, "-o", "json"))
    return found


def remove_namespaces(*names: str) -> None:
    """Remove namespaces, and the volumes made by hand that were bound to claims in them."""
    objects.remove_namespaces(kubectl, *names)
    for volume in get("persistentvolumes")["items"]:
        if volume["spec"].get("claimRef", {}).get("namespace") in names:
            kubectl("delete", "persistentvolume", volume["metadata"]["name"], "--ignore-not-found", "--wait=false")


def run(*command: str, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    """Run a program of the Python environment and return its output, both streams; fails with the output."""
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=cwd,
        env=environment or collection_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def changed(output: str) -> int:
    """Return how many tasks of a play changed something, from the recap of its one host."""
    (count,) = re.findall(r"^\S+ +: ok=\d+ +changed=(\d+) ", output, flags=re.MULTILINE)
    return int(count)
