# SPDX-License-Identifier: GPL-3.0-or-later
"""What each variable with a single value may look like, beyond its type.

FORMATS is the table: variable, the words that complete "must be ...", and the function that reads the value.
Pure; private to the collection.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.stateful.galera.plugins.plugin_utils import _age, _convert, _cron

# The name is also wsrep_cluster_name: nodes of a group whose name has more characters never find each other. Those that
# Kubernetes derives from it, <name>-galera-seed-volume-claim the longest, stay below their limit of 63.
LONGEST_NAME = 32
# The agent and the manifests count with two digits
LARGEST_SIZE = 99
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN = rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*"
_HOST = r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
_MOMENT = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
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


def _within(low: int, high: int) -> Callable[[Any], int]:
    """Return what reads a time of so many seconds."""

    def read(value: Any) -> int:
        seconds = _convert.as_duration(value)
        if not low <= seconds <= high:
            raise ValueError(value)
        return seconds

    return read


def _binlog_interval(value: Any) -> int | None:
    """Return the seconds of a time from a second to an hour, None for none."""
    return None if value == "none" else _within(1, 3600)(value)


def _cron_expression(is_one: Callable[[str], bool]) -> Callable[[Any], str]:
    """Return what reads a cron expression."""

    def read(value: Any) -> str:
        found = _convert.as_str(value)
        if not is_one(found):
            raise ValueError(value)
        return found

    return read


def _moment(value: Any) -> str:
    """Return the text of a time with its zone, or latest. YAML reads a time without quotes as a datetime."""
    found = str(value) if isinstance(value, datetime.datetime) else _convert.as_str(value)
    if found == "latest":
        return found
    if re.fullmatch(_MOMENT, found, re.ASCII) is None:
        raise ValueError(value)
    try:
        datetime.datetime.fromisoformat(found).astimezone(datetime.UTC)
    except OverflowError:
        raise ValueError(value) from None
    return found


def _bandwidth(value: Any) -> int:
    """Return the bytes a second."""
    found = _convert.memory_bytes(_convert.as_str(value))
    if found < 65536:
        raise ValueError(value)
    return found


def _certificates(value: Any) -> str:
    """Return the text of certificates that can be read: one that was cut would be found when the first backup fails."""
    found = _convert.as_str(value)
    pattern = r"(?:-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+"
    if re.fullmatch(pattern, found.strip()) is None:
        raise ValueError("no certificates")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found)
    except ssl.SSLError as error:
        raise ValueError(str(error)) from None
    return found


def _directory(value: Any) -> str:
    """Return an absolute path other than / that does not climb."""
    path = _convert.as_str(value)
    if not re.fullmatch(r"(?:/[^/\x00-\x1f]+)+/?", path) or ".." in path.split("/") or re.search(r"\s[#;]", path):
        raise ValueError(value)
    return path


def _identity(value: Any) -> str:
    """Return a private key of age."""
    found = _convert.as_str(value)
    if not _age.is_identity(found):
        raise ValueError("no identity")
    return found


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


def _endpoint(value: Any) -> str:
    """Return the address of an S3 server."""
    found = _convert.as_str(value)
    match = re.fullmatch(r"https?://(?:\[(?P<six>[^\[\]]*)\]|(?P<host>[^:/\[\]]*))(?::(?P<port>[0-9]{1,5}))?/?", found)
    if match is None or not 1 <= int(match["port"] or 443) <= 65535:
        raise ValueError(value)
    if match["six"] is not None:
        ipaddress.IPv6Address(match["six"])
        # one of an interface: fe80::1%eth0
        if "%" in match["six"]:
            raise ValueError(value)
    else:
        host = _host(match["host"].removesuffix("."))
        if any(len(label) > 63 for label in host.split(".")):
            raise ValueError(value)
    return found


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
_CRON = "a cron expression of five fields in UTC, such as 0 1 * * *"
_BUCKET = text(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of a bucket (3 to 63 of a-z, 0-9, . and -)")
_PREFIX = text(
    r"[A-Za-z0-9][A-Za-z0-9._=-]*(/[A-Za-z0-9][A-Za-z0-9._=-]*)*",
    "names of letters, digits, . _ = and - with / between them",
)
_GTID = text(r"[0-9]+-[0-9]+-[0-9]+", "a GTID, such as 1-1-4711")
# Directories of mariadb-backup may lie in one another, as mon/full: the agent names them by their path
_BACKUP_NAME = r"[A-Za-z0-9][A-Za-z0-9._:+-]*(/[A-Za-z0-9][A-Za-z0-9._:+-]*)?"
_ONE_NAME = text(_SUBDOMAIN, "the name of a Kubernetes object (a-z, 0-9, - and .)")
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
        "a time with its unit (m, h or d) from 1m to 30d, such as 60m or 1h", _within(60, 2592000)
    ),
    "galera_cluster_backup_schedule": Format(_CRON, _cron_expression(_cron.is_cron)),
    "galera_cluster_backup_max_chain": number(1, 1000, "a whole number of increments"),
    "galera_cluster_backup_retention_keep_last": number(1, 10000, "a whole number of backups"),
    "galera_cluster_backup_binlog_interval": Format(
        "a time with its unit from 1s to 1h, such as 30s, or none", _binlog_interval
    ),
    "galera_cluster_backup_verify_schedule": Format(
        f"{_CRON}, that Kubernetes reads, for which Sunday is 0 or sun and begins the week",
        _cron_expression(_cron.is_kubernetes_cron),
    ),
    "galera_cluster_backup_deadline": Format(
        "a time with its unit (m, h or d) from 1m to 7d, such as 6h", _within(60, 604800)
    ),
    "galera_cluster_backup_bandwidth": Format("an amount a second with its unit, such as 50Mi, from 64Ki", _bandwidth),
    "galera_cluster_backup_secret": _ONE_NAME,
    "galera_cluster_backup_age_identity": Format(
        "an age identity, AGE-SECRET-KEY-1... with a checksum at its end", _identity
    ),
    "galera_cluster_backup_s3_bucket": _BUCKET,
    "galera_cluster_backup_s3_prefix": _PREFIX,
    "galera_cluster_backup_s3_endpoint": Format(
        "https://host[:port] or http://host[:port], without a path, with a host name (letters, digits, - and .), an "
        "IPv4 address or an IPv6 address in brackets, and a port from 1 to 65535",
        _endpoint,
    ),
    "galera_cluster_backup_s3_region": text(r"[a-z0-9-]+", "the name of a region, such as eu-central-1"),
    "galera_cluster_backup_s3_ca": Format(
        "whole certificates in PEM (-----BEGIN CERTIFICATE-----...) and nothing else", _certificates
    ),
    "galera_cluster_backup_s3_sse_kms_key": text(r"\S+", "the id of a key"),
    "galera_cluster_backup_s3_object_lock_days": number(1, 36500, "a whole number of days"),
    "galera_cluster_backup_s3_access_key_id": text(r"[\x21-\x7e]{1,256}", "text of one line without blanks"),
    "galera_cluster_backup_s3_secret_access_key": text(r"[\x21-\x7e]{1,256}", "text of one line without blanks"),
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
    "galera_restore_backup": text(_BACKUP_NAME, "latest or the name of a full backup, as backup_info lists them"),
    "galera_restore_increment": text(
        _BACKUP_NAME, "latest, none or the name of an increment, as backup_info lists them"
    ),
    "galera_restore_id": _ONE_LINE,
    "galera_restore_time": Format(
        "latest, or a time with its zone, such as 2026-11-21T14:30:00Z or 2026-11-21T15:30:00+01:00", _moment
    ),
    "galera_restore_gtid": _GTID,
    "galera_restore_before_gtid": _GTID,
    "galera_restore_s3_bucket": _BUCKET,
    "galera_restore_s3_prefix": _PREFIX,
    "galera_restore_claim": _ONE_NAME,
    "galera_restore_confirm": _ONE_LINE,
    "galera_backup_verify": text(r"[A-Za-z0-9][A-Za-z0-9-]*", "latest or the name of a backup"),
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
