# SPDX-License-Identifier: GPL-3.0-or-later
"""What the manifest tells the agent, read from the environment once at its start."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]*")
_T = TypeVar("_T")


class SettingsError(ValueError):
    """The environment is not usable; the text names every variable, its value and what is allowed."""


@dataclass(frozen=True)
class Settings:
    """The agent's settings; names are those of the environment without `GALERA_`."""

    pod: str
    namespace: str
    pod_ip: str
    cluster: str
    role: str
    node_service: str
    http_port: int
    cnf: Path
    datadir: Path
    rundir: Path
    secrets: Path
    database: str
    user: str

    @property
    def node_set(self) -> str:
        """Name of the StatefulSet of the nodes."""
        return f"{self.cluster}-galera"

    @property
    def seed_set(self) -> str:
        """Name of the StatefulSet of the seed."""
        return f"{self.cluster}-galera-seed"

    @property
    def seed_pod(self) -> str:
        """Name of the seed's only pod."""
        return f"{self.seed_set}-0"

    @property
    def state_map(self) -> str:
        """Name of the ConfigMap that outlives the pods."""
        return f"{self.cluster}-galera-state"

    @property
    def lease(self) -> str:
        """Name of the bootstrapper's Lease."""
        return f"{self.cluster}-galera-bootstrap"

    @property
    def socket(self) -> Path:
        """The server's socket."""
        return self.rundir / "mysqld.sock"

    def node_pod(self, ordinal: int) -> str:
        """Name of the node pod with this ordinal."""
        return f"{self.node_set}-{ordinal}"

    def address(self, pod: str) -> str:
        """DNS name of a pod; the cluster's domain comes from the resolver's search list."""
        return f"{pod}.{self.node_service}.{self.namespace}.svc"


def from_env(env: Mapping[str, str]) -> Settings:
    """Read and check the environment.

    Raises SettingsError with one line for each wrong or missing variable.
    """
    problems: list[str] = []

    def take(name: str, convert: Callable[[str], _T], allowed: str, fallback: _T) -> _T:
        value = env.get(name)
        if value is None:
            problems.append(f"{name} is not set; allowed: {allowed}")
            return fallback
        try:
            return convert(value)
        except ValueError:
            problems.append(f"{name} is '{value}'; allowed: {allowed}")
            return fallback

    label, path = "a DNS label (a-z, 0-9 and -, at most 63 characters)", "an absolute path"
    settings = Settings(
        pod=take("POD_NAME", _name, "a pod name", ""),
        namespace=take("POD_NAMESPACE", _label, label, ""),
        pod_ip=take("POD_IP", _ip, "an IP address", ""),
        cluster=take("GALERA_CLUSTER_NAME", _label, label, ""),
        role=take("GALERA_ROLE", _role, "node, seed", ""),
        node_service=take("GALERA_NODE_SERVICE", _label, label, ""),
        http_port=take("GALERA_HTTP_PORT", _between(1, 65535), "a port from 1 to 65535", 0),
        cnf=take("GALERA_CNF", _path, path, Path()),
        datadir=take("GALERA_DATADIR", _path, path, Path()),
        rundir=take("GALERA_RUNDIR", _path, path, Path()),
        secrets=take("GALERA_SECRETS", _path, path, Path()),
        database=take("GALERA_MYSQL_DATABASE", _sql_name(64), "at most 64 printable characters, or empty", ""),
        user=take("GALERA_MYSQL_USER", _sql_name(128), "at most 128 printable characters, or empty", ""),
    )
    problems += [] if problems else _contradictions(settings)
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def _contradictions(settings: Settings) -> list[str]:
    """Values that are right alone and wrong together."""
    stem = settings.seed_set if settings.role == "seed" else settings.node_set
    if re.fullmatch(rf"{re.escape(stem)}-(0|[1-9][0-9]*)", settings.pod):
        return []
    return [f"POD_NAME is '{settings.pod}'; allowed for role {settings.role}: {stem}-<number>"]


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?", value):
        raise ValueError(value)
    return value


def _label(value: str) -> str:
    if not _LABEL.fullmatch(value):
        raise ValueError(value)
    return value


def _ip(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _role(value: str) -> str:
    if value not in ("node", "seed"):
        raise ValueError(value)
    return value


def _path(value: str) -> Path:
    if not value.startswith("/"):
        raise ValueError(value)
    return Path(value)


def _between(low: int, high: int) -> Callable[[str], int]:
    def convert(value: str) -> int:
        if not re.fullmatch(r"[0-9]+", value) or not low <= int(value) <= high:
            raise ValueError(value)
        return int(value)

    return convert


def _sql_name(longest: int) -> Callable[[str], str]:
    def convert(value: str) -> str:
        if len(value) > longest or not _PRINTABLE.fullmatch(value):
            raise ValueError(value)
        return value

    return convert
