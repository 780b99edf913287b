# SPDX-License-Identifier: GPL-3.0-or-later
"""What variables with many values (resources, labels, tolerations, options) may hold.

Each check returns one line a problem, beginning with variable and key: galera_cluster_resources.limits.memory is ...
Pure; private to the collection.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.stateful.galera.plugins.plugin_utils import _age, _mycnf
from ansible_collections.stateful.galera.plugins.plugin_utils._convert import as_quantity, show

_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_NAME_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_SUBDOMAIN = r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
_KEY = re.compile(rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_NAME_PART}")
_KEY_ALLOWED = "a Kubernetes key, such as topology.kubernetes.io/zone"


def problem(path: str, value: Any, allowed: str) -> str:
    """Return the line that tells what is wrong with one value."""
    return f"{path} is {show(value)}, but must be {allowed}."


def check_resources(name: str, value: Mapping[str, Any], least_memory: str) -> list[str]:
    """Check requests and limits of one container; its memory must be at least least_memory."""
    found = []
    for kind, amounts in value.items():
        if kind not in ("requests", "limits"):
            found.append(f"{name}.{kind} is not known: allowed are requests and limits.")
        elif not isinstance(amounts, Mapping):
            found.append(problem(f"{name}.{kind}", amounts, f"a dictionary of {', '.join(_RESOURCES)}"))
        else:
            found += _amounts(f"{name}.{kind}", amounts, least_memory)
    return found or _requests_within_limits(name, value)


def _amounts(path: str, amounts: Mapping[str, Any], least_memory: str) -> list[str]:
    """Check the quantities of requests or of limits."""
    found = []
    for key, amount in amounts.items():
        least = least_memory if key == "memory" else "1m" if key == "cpu" else "1Mi"
        if key not in _RESOURCES:
            found.append(f"{path}.{key} is not known: allowed are {', '.join(_RESOURCES)}.")
        elif not _at_least(amount, least):
            found.append(problem(f"{path}.{key}", amount, f"a Kubernetes quantity of at least {least}"))
    return found


def _at_least(amount: Any, least: str) -> bool:
    try:
        return as_quantity(amount) >= as_quantity(least)
    except ValueError:
        return False


def _requests_within_limits(name: str, value: Mapping[str, Any]) -> list[str]:
    """Check that nothing more is requested than the limit allows."""
    requests, limits = value.get("requests", {}), value.get("limits", {})
    return [
        problem(f"{name}.requests.{key}", requests[key], f"at most the limit {show(limits[key])}")
        for key in _RESOURCES
        if key in requests and key in limits and as_quantity(requests[key]) > as_quantity(limits[key])
    ]


def check_labels(name: str, value: Mapping[str, Any]) -> list[str]:
    """Check a node selector: Kubernetes label keys and values, the values text."""
    found = _keys(name, value)
    for key, item in value.items():
        if not isinstance(item, str) or (item and re.fullmatch(_NAME_PART, item) is None):
            allowed = "a label value (text of at most 63 letters, digits, - _ and .; true and numbers in quotes)"
            found.append(problem(f"{name}.{key}", item, allowed))
    return found


def check_annotations(name: str, value: Mapping[str, Any]) -> list[str]:
    """Check annotations: Kubernetes keys, and any text as value."""
    texts = [
        problem(f"{name}.{key}", item, "text (true and numbers in quotes)")
        for key, item in value.items()
        if not isinstance(item, str)
    ]
    return _keys(name, value) + texts


def _keys(name: str, value: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} has the key {show(key)}, but a key must be {_KEY_ALLOWED}." for key in value if not _KEY.fullmatch(key)
    ]


def check_tolerations(name: str, value: list[Any]) -> list[str]:
    """Check tolerations as the Kubernetes API does."""
    found = []
    for index, item in enumerate(value):
        path = f"{name}[{index}]"
        found += _toleration(path, item) if isinstance(item, Mapping) else [problem(path, item, "a dictionary")]
    return found


def _toleration(path: str, item: Mapping[str, Any]) -> list[str]:
    """Check one toleration."""
    allowed: dict[str, tuple[Callable[[Any], bool], str]] = {
        "key": (lambda v: isinstance(v, str) and (not v or _KEY.fullmatch(v) is not None), _KEY_ALLOWED),
        "operator": (lambda v: v in ("Exists", "Equal"), "Exists or Equal"),
        "value": (lambda v: isinstance(v, str), "text (true and numbers in quotes)"),
        "effect": (
            lambda v: v in ("NoSchedule", "PreferNoSchedule", "NoExecute"),
            "NoSchedule, PreferNoSchedule or NoExecute",
        ),
        "tolerationSeconds": (lambda v: isinstance(v, int) and not isinstance(v, bool), "a whole number of seconds"),
    }
    found = [f"{path}.{key} is not known: allowed are {', '.join(allowed)}." for key in item if key not in allowed]
    found += [
        problem(f"{path}.{key}", item[key], words)
        for key, (fits, words) in allowed.items()
        if key in item and not fits(item[key])
    ]
    if not item.get("key") and item.get("operator") != "Exists":
        found.append(f"{path}.key is missing: without a key, operator must be Exists.")
    if item.get("operator") == "Exists" and item.get("value"):
        found.append(problem(f"{path}.value", item["value"], "left out with the operator Exists"))
    return found


def check_names(name: str, value: list[Any]) -> list[str]:
    """Check a list of names of Kubernetes objects."""
    allowed = "the name of a Kubernetes object (a-z, 0-9, - and .)"
    return [
        problem(f"{name}[{index}]", item, allowed)
        for index, item in enumerate(value)
        if not isinstance(item, str) or re.fullmatch(_SUBDOMAIN, item) is None
    ]


def check_networks(name: str, value: list[Any]) -> list[str]:
    """Check a list of networks."""
    allowed = "a network in CIDR notation, such as 10.0.0.0/8"
    return [problem(f"{name}[{index}]", item, allowed) for index, item in enumerate(value) if not _is_network(item)]


def _is_network(item: Any) -> bool:
    if not isinstance(item, str) or "/" not in item:
        return False
    try:
        ipaddress.ip_network(item, strict=False)
    except ValueError:
        return False
    return True


def check_mycnf(name: str, value: Mapping[str, Any]) -> list[str]:
    """Check additions to my.cnf: names of options that are not the collection's, and values on one line."""
    found = []
    for key, item in value.items():
        if re.fullmatch(r"[a-z][a-z0-9_-]*", key) is None:
            found.append(f"{name} has the option {show(key)}, but a name must be of a-z, 0-9, _ and -.")
        elif _mycnf.option_name(key).endswith("wsrep_provider_options"):
            found.append(f"{name}.{key} is not allowed: give galera_cluster_provider_options instead.")
        elif owned := _mycnf.owned_option(key):
            named = owned in _mycnf.option_name(key)
            whose = (
                "the collection sets this option"
                if named
                else f"MariaDB takes it for {owned}, which the collection sets"
            )
            found.append(f"{name}.{key} is not allowed: {whose} itself.")
        elif _mycnf.loses_writes(key):
            found.append(f"{name}.{key} is not allowed: acknowledged writes would be lost with it.")
        elif not isinstance(item, (str, int, float)) or (isinstance(item, str) and re.search(r"[\x00-\x1f]", item)):
            found.append(problem(f"{name}.{key}", item, "a number, true, false or text of one line"))
        elif _mycnf.is_binlog_path(key, item):
            # with it the transactions that were only prepared when a server was killed
            found.append(problem(f"{name}.{key}", item, "a name without /: the log stays in the data directory"))
    return found


def check_provider_options(name: str, value: Mapping[str, Any]) -> list[str]:
    """Check options of the Galera provider."""
    found = []
    for key, item in value.items():
        if re.fullmatch(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*", key) is None:
            found.append(
                f"{name} has the option {show(key)}, but a name must be one of the provider's, such as gcache.size."
            )
        elif _mycnf.is_owned_provider_option(key):
            found.append(f"{name}.{key} is not allowed: the collection sets this option itself.")
        elif not isinstance(item, (str, int, float)) or re.search(r"[;=\"'\\\s]", str(item)) or item == "":
            found.append(
                problem(f"{name}.{key}", item, "a number, true, false or text without blanks, quotes, ; and =")
            )
    return found


_RULE = ("all_days", "alternate_until_days", "weekly_until_days")


def check_rule(name: str, value: Mapping[str, Any]) -> list[str]:
    """Check a rule of retention: three ages in days, each at least the one before."""
    found = [f"{name}.{key} is not known: allowed are {', '.join(_RULE)}." for key in value if key not in _RULE]
    if not value:
        return []
    found += [f"{name}.{key} is missing: all of {', '.join(_RULE)} must be given." for key in _RULE if key not in value]
    ages = [value[key] for key in _RULE if key in value]
    wrong = [
        problem(f"{name}.{key}", value[key], "a whole number of days from 1 to 36500")
        for key in _RULE
        if key in value and (not isinstance(value[key], int) or not 1 <= value[key] <= 36500 or value[key] is True)
    ]
    if not found and not wrong and ages != sorted(ages):
        wrong = [problem(name, value, "of ages that grow: all_days, then alternate_until_days, then weekly_until_days")]
    return found + wrong


def check_recipients(name: str, value: list[Any]) -> list[str]:
    """Check a list of public keys of age."""
    allowed = "a recipient of age, age1 and 58 more characters of which the last ones are a checksum"
    return [
        # Not shown: it opens all backups
        f"{name}[{index}] is a private key, but must be {allowed}: age-keygen -y tells it."
        if str(item).upper().startswith("AGE-SECRET-KEY-")
        else problem(f"{name}[{index}]", item, allowed)
        for index, item in enumerate(value)
        if not isinstance(item, str) or not _age.is_recipient(item)
    ]


@dataclass(frozen=True)
class Structure:
    """allowed completes "must be ..."; check takes the variable and its value and returns one line a problem."""

    allowed: str
    check: Callable[[str, Any], list[str]]


def _container(least_memory: str) -> Structure:
    """Return the structure of the resources of one container."""
    example = '{"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}'
    return Structure(
        f"a dictionary of requests and limits, such as {example}, with a memory of at least {least_memory}",
        lambda name, value: check_resources(name, value, least_memory),
    )


_ANNOTATIONS = Structure(
    'a dictionary of annotations, such as {"example.com/owner": "database team"}', check_annotations
)

STRUCTURES: dict[str, Structure] = {
    "galera_cluster_resources": _container("256Mi"),
    "galera_cluster_agent_resources": _container("48Mi"),
    "galera_cluster_haproxy_resources": _container("32Mi"),
    "galera_cluster_node_selector": Structure(
        'a dictionary of labels, such as {"topology.kubernetes.io/zone": "a"}', check_labels
    ),
    "galera_cluster_tolerations": Structure(
        'a list of tolerations, such as [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}]',
        check_tolerations,
    ),
    "galera_cluster_image_pull_secrets": Structure('a list of names of Secrets, such as ["registry"]', check_names),
    "galera_cluster_service_annotations": _ANNOTATIONS,
    "galera_cluster_external_lb_annotations": _ANNOTATIONS,
    "galera_cluster_external_source_ranges": Structure(
        'a list of networks in CIDR notation, such as ["10.0.0.0/8"]', check_networks
    ),
    "galera_cluster_service_account_annotations": _ANNOTATIONS,
    "galera_cluster_backup_retention_rule": Structure(
        'a dictionary of three ages in days, such as {"all_days": 7, "alternate_until_days": 30, '
        '"weekly_until_days": 365}',
        check_rule,
    ),
    "galera_cluster_backup_encryption_recipients": Structure(
        'a list of recipients of age, such as ["age1..."]', check_recipients
    ),
    "galera_cluster_mycnf": Structure('a dictionary of options, such as {"max_connections": 500}', check_mycnf),
    "galera_cluster_provider_options": Structure(
        'a dictionary of options, such as {"gcache.size": "2G"}', check_provider_options
    ),
}
