# SPDX-License-Identifier: GPL-3.0-or-later
"""What each variable with a single value may look like, beyond its type.

FORMATS is the table: variable, the words that complete "must be ...", and the function that reads the value.
Pure; private to the collection.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.stateful.galera.plugins.plugin_utils import _convert

# The name is also wsrep_cluster_name: nodes of a group whose name has more characters never find each other. Those that
# Kubernetes derives from it, <name>-galera-seed-volume-claim the longest, stay below their limit of 63.
LONGEST_NAME = 32
# The agent and the manifests count with two digits
LARGEST_SIZE = 99
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN = rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*"
_HOST = r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
_IMAGE_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = (
    rf"(?=[^:@]*[a-z])(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?/)?{_IMAGE_PART}(?:/{_IMAGE_PART})*"
    r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?P<digest>@[A-Za-z0-9_+.-]+:[0-9a-fA-F]{32,})?"
)
_TARGET = r"iqn\.[0-9]{4}-[0-9]{2}\.[A-Za-z0-9.-]+:[^,;*&$|\s]+|eui\.[A-Za-z0-9]{16}|naa\.[A-Za-z0-9]{32}"
_RESERVED_DATABASES = {"mysql", "information_schema", "performance_schema", "sys"}
_RESERVED_USERS = {"root", "mysql", "mariadb.sys", "xtrabackup"}
_SYSTEM_NAMESPACES = {"kube-system", "kube-public", "kube-node-lease"}


@dataclass(frozen=True)
class Format:
    """allowed completes "must be ..."; read returns the converted value or raises ValueError."""

    allowed: str
    read: Callable[[Any], Any]


def text(pattern: str, allowed: str, reserved: set[str] | None = None) -> Format:
    """Return the format of text that the whole pattern fits and that is none of the reserved words in any case."""

    def read(value: Any) -> str:
        found = _convert.as_str(value)
        if re.fullmatch(pattern, found) is None or found.lower() in (reserved or ()):
            raise ValueError(allowed)
        return found

    return Format(allowed, read)


def number(low: int, high: int | None, what: str) -> Format:
    """Return the format of a whole number from low to high."""

    def read(value: Any) -> int:
        found = _convert.as_int(value)
        if found < low or (high is not None and found > high):
            raise ValueError(value)
        return found

    return Format(f"{what} of {low} or more" if high is None else f"{what} from {low} to {high}", read)


def storage(least: str) -> Format:
    """Return the format of a quantity with its unit, at least the given one."""

    def read(value: Any) -> int:
        if not re.search(r"[A-Za-z]", _convert.as_str(value)) or _convert.as_quantity(value) < _convert.as_quantity(
            least
        ):
            raise ValueError(value)
        return _convert.memory_bytes(value)

    return Format(f"a size with a unit of Kubernetes (Mi, Gi, Ti, M, G or T), such as 10Gi, and at least {least}", read)


def _duration(value: Any) -> int:
    """Return the seconds of a time of at least a minute."""
    seconds = _convert.as_duration(value)
    if seconds < 60:
        raise ValueError(value)
    return seconds


def _directory(value: Any) -> str:
    """Return an absolute path other than / that does not climb."""
    path = _convert.as_str(value)
    if not re.fullmatch(r"(?:/[^/\x00-\x1f]+)+/?", path) or ".." in path.split("/") or re.search(r"\s[#;]", path):
        raise ValueError(value)
    return path


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _host(value: Any) -> str:
    """Return a host name or an IP address."""
    host = _convert.as_str(value)
    dotted_number = re.fullmatch(r"[0-9.]+", host) is not None
    if not _is_address(host) and (dotted_number or re.fullmatch(_HOST, host) is None):
        raise ValueError(value)
    return host


def _portal(value: Any) -> str:
    """Return a host name or an address with an optional port; an IPv6 address is in brackets."""
    match = re.fullmatch(
        r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?", _convert.as_str(value)
    )
    if match is None or not 1 <= int(match["port"] or 3260) <= 65535:
        raise ValueError(value)
    if match["six"] and not _is_address(match["six"]):
        raise ValueError(value)
    if match["host"]:
        _host(match["host"])
    return str(value)


def _port_range(value: Any) -> tuple[int, int]:
    """Return (30000, 32767) for "30000-32767"."""
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", _convert.as_str(value))
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= 65535:
        raise ValueError(value)
    return int(match[1]), int(match[2])


def has_tag(image: str) -> bool:
    """Tell whether an image reference says which version it means, by tag or digest."""
    match = re.fullmatch(_IMAGE, image)
    return match is not None and bool(match["tag"] or match["digest"])


_SIZE = storage("512Mi")
_CLASS = text(_SUBDOMAIN, "the name of a StorageClass (a-z, 0-9, - and .)")
_IMAGE_FORMAT = text(_IMAGE, "an image reference with its tag, such as registry.example.com/mariadb:11.8")
_PASSWORD = text(r"[^\x00-\x1f\x7f]{1,256}", "text of one line with at most 256 characters")
_NODE = text(_SUBDOMAIN, "the name of a Kubernetes node (a-z, 0-9, - and .)")
_ONE_LINE = text(r"[^\x00-\x1f\x7f]+", "text of one line")
_DIRECTORY = Format("an absolute path without .., such as /data/galera", _directory)

FORMATS: dict[str, Format] = {
    "galera_cluster_name": text(
        rf"[a-z](?:[a-z0-9-]{{0,{LONGEST_NAME - 2}}}[a-z0-9])?",
        f"a DNS label (a-z, 0-9 and -, from a letter to a letter or digit) of at most {LONGEST_NAME} characters",
    ),
    "galera_cluster_namespace": text(
        _LABEL,
        "a DNS label (a-z, 0-9 and -) of at most 63 characters, and no namespace of Kubernetes itself",
        _SYSTEM_NAMESPACES,
    ),
    "galera_cluster_size": number(1, LARGEST_SIZE, "a whole number of nodes"),
    "galera_cluster_dns_domain": text(_SUBDOMAIN, "a DNS domain without a dot at its end, such as cluster.local"),
    "galera_cluster_wait_timeout": number(1, 86400, "a whole number of seconds"),
    "galera_cluster_kubeconfig": _ONE_LINE,
    "galera_cluster_context": _ONE_LINE,
    "galera_cluster_render_dir": _ONE_LINE,
    "galera_cluster_docker_image": _IMAGE_FORMAT,
    "galera_cluster_haproxy_docker_image": _IMAGE_FORMAT,
    "galera_cluster_backup_agent_image": _IMAGE_FORMAT,
    "galera_cluster_haproxy_replicas": number(1, 99, "a whole number of pods"),
    "galera_cluster_priority_class": text(_SUBDOMAIN, "the name of a PriorityClass (a-z, 0-9, - and .)"),
    "galera_cluster_priority_class_value": number(-2147483648, 1000000000, "a whole number"),
    "galera_cluster_volume_size": _SIZE,
    "galera_cluster_seed_volume_size": _SIZE,
    "galera_cluster_storage_class": _CLASS,
    "galera_vsphere_storage_class": _CLASS,
    "galera_target_datastore": _ONE_LINE,
    "galera_cluster_local_volume_path": _DIRECTORY,
    "galera_cluster_backup_nfs_server": Format("a host name or an IP address", _host),
    "galera_cluster_backup_path": _DIRECTORY,
    "galera_cluster_backup_storage_class": _CLASS,
    "galera_cluster_backup_volume_size": _SIZE,
    "galera_cluster_backup_log_volume_size": _SIZE,
    "galera_cluster_backup_retention_days": number(1, 36500, "a whole number of days"),
    "galera_cluster_backup_incremental_interval": Format(
        "a time with its unit (m, h or d), such as 60m or 1h, and at least 1m", _duration
    ),
    "galera_cluster_backup_user": text(
        r"[A-Za-z0-9_.@$-]{1,80}", "a user name of at most 80 letters, digits, _ . @ $ and -"
    ),
    "galera_xtrabackup_password": _PASSWORD,
    "galera_mysql_database": text(
        r"[A-Za-z0-9_$-]{1,64}",
        "a database name of at most 64 letters, digits, _ $ and -, and none of "
        + ", ".join(sorted(_RESERVED_DATABASES)),
        _RESERVED_DATABASES,
    ),
    "galera_mysql_user": text(
        r"[A-Za-z0-9_.@$-]{1,80}",
        "a user name of at most 80 letters, digits, _ . @ $ and -, and none of " + ", ".join(sorted(_RESERVED_USERS)),
        _RESERVED_USERS,
    ),
    "galera_mysql_password": _PASSWORD,
    "galera_mysql_root_password": _PASSWORD,
    # The range is that of another variable, so it is checked with both
    "galera_cluster_nodeport": Format("a port in galera_cluster_nodeport_range", _convert.as_int),
    "galera_cluster_nodeport_range": Format("two ports with - between them, such as 30000-32767", _port_range),
    "galera_teardown_confirm": _ONE_LINE,
    "galera_purge_volumes_confirm": _ONE_LINE,
    "galera_recover_confirm": _ONE_LINE,
}
# The same for the seed and every node; the name is what follows galera_cluster_seed_ or galera_cluster_node<N>_
VOLUME_FORMATS: dict[str, Format] = {
    "iscsi_targetportal": Format("a host name or an address with its port, such as 192.168.100.40:3260", _portal),
    "iscsi_iqn": text(
        _TARGET,
        "the name of an iSCSI target, such as iqn.2018-04.com.example:target0 (or one that begins with eui. or naa.)",
    ),
    "iscsi_lun": number(0, 255, "the number of a LUN"),
    "local_node": _NODE,
}


def format_of(name: str) -> Format | None:
    """Return the format of a variable, or None where its type says all."""
    match = re.fullmatch(
        r"galera_cluster_(?:seed|node[1-9][0-9]*)_(iscsi_targetportal|iscsi_iqn|iscsi_lun|local_node)", name
    )
    return VOLUME_FORMATS[match[1]] if match else FORMATS.get(name)
