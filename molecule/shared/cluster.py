# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verifications of all scenarios ask: the inventory, kubectl, pods as testinfra hosts, SQL from a client."""

from __future__ import annotations

import ast
import configparser
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import testinfra

_CLIENT = ["--batch", "--skip-column-names"]


def inventory(directory: Path) -> dict[str, Any]:
    """Return the [all:vars] of a scenario's galera.conf, typed as Ansible types them."""
    parser = configparser.ConfigParser(delimiters=["="], interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string((directory / "galera.conf").read_text().partition("[template_target]")[0])
    return {name: _typed(value) for name, value in parser["all:vars"].items()}


def _typed(value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def kubectl(*args: str, stdin: str | None = None) -> str:
    """Run kubectl against KUBECONFIG and return what it printed; fails with its error text."""
    done = subprocess.run(["kubectl", *args], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


class Cluster:
    """A cluster under test, from the inventory of its scenario."""

    def __init__(self, directory: Path) -> None:
        """Read the inventory of the scenario in this directory."""
        self.vars = inventory(directory)
        self.name: str = self.vars["galera_cluster_name"]
        self.namespace: str = self.vars["galera_cluster_namespace"]
        self.size: int = int(self.vars["galera_cluster_size"])
        self.nodes = [f"{self.name}-galera-{ordinal}" for ordinal in range(self.size)]
        self.proxy = f"{self.name}-galera-haproxy.{self.namespace}"

    def host(self, pod: str, container: str) -> Any:
        """Return a testinfra host inside a container of the cluster."""
        spec = f"kubectl://{pod}?container={container}&namespace={self.namespace}&kubeconfig={os.environ['KUBECONFIG']}"
        return testinfra.get_host(spec)

    def get(self, *args: str) -> dict[str, Any]:
        """Return `kubectl get <args>` in the cluster's namespace as an object."""
        loaded: dict[str, Any] = json.loads(kubectl("-n", self.namespace, "get", *args, "-o", "json"))
        return loaded

    def sql(self, statement: str, *, user: str, password: str, port: int = 3306) -> list[list[str]]:
        """Run SQL from the client through HAProxy; returns rows of texts."""
        command = ["mariadb", *_CLIENT, "--connect-timeout=5", "-h", self.proxy, "-P", str(port), "-u", user]
        return _rows(["-n", "molecule-client", f"deployment/client-{self.namespace}"], password, command, statement)

    def node_sql(self, pod: str, statement: str, *, password: str) -> list[list[str]]:
        """Run SQL as root inside the pod of a node; returns rows of texts."""
        return _rows(
            ["-n", self.namespace, "-c", "mariadb", pod], password, ["mariadb", *_CLIENT, "-u", "root"], statement
        )


def _rows(pod: list[str], password: str, command: list[str], statement: str) -> list[list[str]]:
    out = kubectl("exec", "-i", *pod, "--", "env", f"MYSQL_PWD={password}", *command, stdin=statement)
    return [line.split("\t") for line in out.splitlines()]
