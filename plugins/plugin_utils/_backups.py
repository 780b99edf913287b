# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables about backups and restores that are right one by one and wrong together; see _cross.

Pure; private to the collection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.stateful.galera.plugins.plugin_utils import _convert, _mycnf
from ansible_collections.stateful.galera.plugins.plugin_utils._convert import show

Values = Mapping[str, Any]

_PREFIX = "galera_cluster_backup_"
_SECRET_KEYS = ("s3_access_key_id", "s3_secret_access_key", "age_identity")
_POINTS = ("galera_restore_time", "galera_restore_gtid", "galera_restore_before_gtid")
# Who gives one of these wants backups; the others have defaults
_WISHES = (
    "incremental_interval",
    "retention_days",
    "retention_keep_last",
    "retention_rule",
    "verify_schedule",
    "encryption_recipients",
)
# What the archive of binary logs rests on
_LOGGING = ("gtid_domain_id", "log_bin", "log_slave_updates", "sync_binlog", "wsrep_gtid_domain_id", "wsrep_gtid_mode")
_OFF = {"0", "off", "false", "no"}
# Of the 52 characters that the name of a CronJob may have, <name>-galera-backup-verify takes 21
_LONGEST_NAME = 31
# What a backup takes beside the agent itself
_LEAST_MEMORY = "384Mi"


def has_target(values: Values) -> bool:
    """Tell whether the inventory says where backups go."""
    names = ("nfs_server", "storage_class", "s3_bucket")
    return any(values.get(f"{_PREFIX}{name}") for name in names)


def bucket_given(values: Values) -> list[str]:
    """What belongs to a bucket is not given without one."""
    bucket = f"{_PREFIX}s3_bucket"
    if values.get(bucket) or values.get("galera_restore_s3_bucket"):
        return []
    names = (name for name in values if name.startswith((f"{_PREFIX}s3_", "galera_restore_s3_")))
    given = sorted(name for name in names if values[name] not in (None, ""))
    return [f"{bucket} is missing: {given[0]} must go with it."] if given else []


def s3_pairs(values: Values) -> list[str]:
    """Keys, object lock and the key of server-side encryption go together."""
    found = []
    for one, other in (
        ("s3_access_key_id", "s3_secret_access_key"),
        ("s3_object_lock_mode", "s3_object_lock_days"),
    ):
        for name, missing in ((one, other), (other, one)):
            if values.get(f"{_PREFIX}{name}") and not values.get(f"{_PREFIX}{missing}"):
                found.append(f"{_PREFIX}{missing} is missing: {_PREFIX}{name} must go with it.")
    if values.get(f"{_PREFIX}s3_sse_kms_key") and values.get(f"{_PREFIX}s3_sse") != "aws:kms":
        found.append(f"{_PREFIX}s3_sse_kms_key is given, but {_PREFIX}s3_sse must then be aws:kms.")
    return found


def one_secret(values: Values) -> list[str]:
    """Keys come from a Secret that exists, or from variables."""
    if not values.get(f"{_PREFIX}secret"):
        return []
    return [
        f"{_PREFIX}secret is given beside {_PREFIX}{name}, but the keys must come from one place: leave one out."
        for name in _SECRET_KEYS
        if values.get(f"{_PREFIX}{name}")
    ]


def one_point(values: Values) -> list[str]:
    """A restore goes to one point."""
    given = [name for name in _POINTS if values.get(name)]
    if len(given) < 2:
        return []
    return [f"{given[0]} and {given[1]} are both given, but a restore must go to one point: leave one out."]


def logs_binary(values: Values) -> list[str]:
    """Additions to my.cnf do not break what the archive of binary logs needs."""
    if not _archives(values):
        return []
    given = values.get("galera_cluster_mycnf") or {}
    needs = " while binary logs are archived (galera_cluster_backup_binlog_interval=none ends that)"
    found = []
    domains = {"wsrep_gtid_domain_id": "1", "gtid_domain_id": "0"}
    # in the order of my.cnf, where the last of two spellings counts
    for key in sorted(given, key=_mycnf.option_name):
        name, value = _mycnf.option_name(key), given[key]
        option, variable = _mycnf.meant(name, _LOGGING), f"galera_cluster_mycnf.{name}"
        if not option:
            continue
        if _mycnf.is_negated(name):
            found.append(f"{variable} is not allowed{needs}.")
        elif option in domains:
            domains[option] = str(value)
        elif option != "sync_binlog" and str(value).lower() in _OFF:
            found.append(f"{variable} is {show(value)}, but must be on{needs}.")
        elif option == "sync_binlog" and str(value) != "1":
            found.append(
                f"{variable} is {show(value)}, but must be 1{needs}: with a binary log a transaction is acknowledged "
                f"when it stands there."
            )
    if domains["wsrep_gtid_domain_id"] == domains["gtid_domain_id"]:
        found.append(
            f"galera_cluster_mycnf.wsrep_gtid_domain_id is {domains['wsrep_gtid_domain_id']}, as gtid_domain_id is, "
            f"but must be a domain of its own{needs}."
        )
    return found


def _archives(values: Values) -> bool:
    enabled = values.get(f"{_PREFIX}enabled", has_target(values))
    return bool(enabled) and values.get(f"{_PREFIX}binlog_interval") is not None


def name_fits(values: Values) -> list[str]:
    """The name of the cluster leaves room for that of the CronJob that verifies backups."""
    name = values.get("galera_cluster_name") or ""
    if not has_target(values) or len(name) <= _LONGEST_NAME:
        return []
    return [
        f"galera_cluster_name is {show(name)}, but must be of at most {_LONGEST_NAME} characters where the inventory "
        f"says where backups go: Kubernetes takes no longer name for the CronJob <name>-galera-backup-verify."
    ]


CHECKS: tuple[Callable[[Values], list[str]], ...] = (
    bucket_given,
    s3_pairs,
    one_secret,
    one_point,
    logs_binary,
    name_fits,
)


def warnings(values: Values) -> list[str]:
    """Return what works but is seldom meant, one line each."""
    found = []
    wishes = [name for name in _WISHES if values.get(f"{_PREFIX}{name}")]
    if wishes and not has_target(values) and values.get(f"{_PREFIX}enabled") is None:
        found.append(
            f"{_PREFIX}{wishes[0]} is given, but nothing says where backups go, so none are taken: give "
            f"{_PREFIX}nfs_server with {_PREFIX}path, {_PREFIX}storage_class or {_PREFIX}s3_bucket, or "
            f"{_PREFIX}enabled=false."
        )
    limit = ((values.get("galera_cluster_agent_resources") or {}).get("limits") or {}).get("memory")
    if (
        values.get(f"{_PREFIX}enabled", has_target(values))
        and limit is not None
        and _convert.as_quantity(limit) < _convert.as_quantity(_LEAST_MEMORY)
    ):
        found.append(
            f"galera_cluster_agent_resources.limits.memory is {show(limit)}: a backup may need {_LEAST_MEMORY} "
            "and more."
        )
    return found
