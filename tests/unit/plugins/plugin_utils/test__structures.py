# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.plugin_utils._structures import STRUCTURES

RESOURCES, AGENT = "galera_cluster_resources", "galera_cluster_agent_resources"
SELECTOR, TOLERATIONS = "galera_cluster_node_selector", "galera_cluster_tolerations"
MYCNF, PROVIDER = "galera_cluster_mycnf", "galera_cluster_provider_options"
LABEL_VALUE = "a label value (text of at most 63 letters, digits, - _ and .; true and numbers in quotes)"
KEY = "a Kubernetes key, such as topology.kubernetes.io/zone"
LOSES = "is not allowed: acknowledged writes would be lost with it."
OWNED = "is not allowed: the collection sets this option itself."

BAD: list[tuple[str, Any, str]] = [
    *(
        (MYCNF, {option: "/tmp"}, f"{MYCNF}.{option} {LOSES}")
        for option in ("innodb_log_group_home_dir", "innodb-data-home-dir", "loose_innodb_undo_directory")
    ),
    (
        MYCNF,
        {"log-bin": "/tmp/x"},
        f'{MYCNF}.log-bin is "/tmp/x", but must be a name without /: the log stays in the data directory.',
    ),
    (MYCNF, {"tc_heuristic_recover": "ROLLBACK"}, f"{MYCNF}.tc_heuristic_recover {LOSES}"),
    (MYCNF, {"aria_log_dir_path": "/tmp"}, f"{MYCNF}.aria_log_dir_path {LOSES}"),
    (RESOURCES, {"memory": "1Gi"}, f"{RESOURCES}.memory is not known: allowed are requests and limits."),
    (
        RESOURCES,
        {"limits": "1Gi"},
        f'{RESOURCES}.limits is "1Gi", but must be a dictionary of cpu, memory, ephemeral-storage.',
    ),
    (
        RESOURCES,
        {"limits": {"storage": "1Gi"}},
        f"{RESOURCES}.limits.storage is not known: allowed are cpu, memory, ephemeral-storage.",
    ),
    (
        RESOURCES,
        {"limits": {"memory": "255Mi"}},
        f'{RESOURCES}.limits.memory is "255Mi", but must be a Kubernetes quantity of at least 256Mi.',
    ),
    (
        RESOURCES,
        {"requests": {"memory": "512m"}},
        f'{RESOURCES}.requests.memory is "512m", but must be a Kubernetes quantity of at least 256Mi.',
    ),
    (
        RESOURCES,
        {"requests": {"memory": "1GB"}},
        f'{RESOURCES}.requests.memory is "1GB", but must be a Kubernetes quantity of at least 256Mi.',
    ),
    (
        RESOURCES,
        {"requests": {"cpu": None}},
        f"{RESOURCES}.requests.cpu is null, but must be a Kubernetes quantity of at least 1m.",
    ),
    (
        RESOURCES,
        {"requests": {"cpu": 0}},
        f"{RESOURCES}.requests.cpu is 0, but must be a Kubernetes quantity of at least 1m.",
    ),
    (
        RESOURCES,
        {"requests": {"memory": "2Gi"}, "limits": {"memory": "1024Mi"}},
        f'{RESOURCES}.requests.memory is "2Gi", but must be at most the limit "1024Mi".',
    ),
    (
        AGENT,
        {"limits": {"memory": "32Mi"}},
        f'{AGENT}.limits.memory is "32Mi", but must be a Kubernetes quantity of at least 48Mi.',
    ),
    (SELECTOR, {"disk": True}, f"{SELECTOR}.disk is true, but must be {LABEL_VALUE}."),
    (SELECTOR, {"disk": 1}, f"{SELECTOR}.disk is 1, but must be {LABEL_VALUE}."),
    (SELECTOR, {"disk": "a b"}, f'{SELECTOR}.disk is "a b", but must be {LABEL_VALUE}.'),
    (SELECTOR, {"a b": "x"}, f'{SELECTOR} has the key "a b", but a key must be {KEY}.'),
    (TOLERATIONS, ["dedicated"], f'{TOLERATIONS}[0] is "dedicated", but must be a dictionary.'),
    (
        TOLERATIONS,
        [{"key": "a", "taint": "b"}],
        f"{TOLERATIONS}[0].taint is not known: allowed are key, operator, value, effect, tolerationSeconds.",
    ),
    (
        TOLERATIONS,
        [{"key": "a"}, {"key": "a", "operator": "In"}],
        f'{TOLERATIONS}[1].operator is "In", but must be Exists or Equal.',
    ),
    (
        TOLERATIONS,
        [{"effect": "NoSchedule"}],
        f"{TOLERATIONS}[0].key is missing: without a key, operator must be Exists.",
    ),
    (
        TOLERATIONS,
        [{"key": "a", "operator": "Exists", "value": "b"}],
        f'{TOLERATIONS}[0].value is "b", but must be left out with the operator Exists.',
    ),
    (
        TOLERATIONS,
        [{"key": "a", "value": True}],
        f"{TOLERATIONS}[0].value is true, but must be text (true and numbers in quotes).",
    ),
    (
        TOLERATIONS,
        [{"key": "a", "effect": "NoStart"}],
        f'{TOLERATIONS}[0].effect is "NoStart", but must be NoSchedule, PreferNoSchedule or NoExecute.',
    ),
    (
        TOLERATIONS,
        [{"key": "a", "tolerationSeconds": "60"}],
        f'{TOLERATIONS}[0].tolerationSeconds is "60", but must be a whole number of seconds.',
    ),
    (
        "galera_cluster_image_pull_secrets",
        ["ok", "Not Ok"],
        'galera_cluster_image_pull_secrets[1] is "Not Ok", but must be the name of a Kubernetes object (a-z, 0-9, - '
        "and .).",
    ),
    (
        "galera_cluster_service_annotations",
        {"a/b": True},
        "galera_cluster_service_annotations.a/b is true, but must be text (true and numbers in quotes).",
    ),
    (
        "galera_cluster_external_lb_annotations",
        {"/b": "x"},
        f'galera_cluster_external_lb_annotations has the key "/b", but a key must be {KEY}.',
    ),
    (
        "galera_cluster_external_source_ranges",
        ["10.0.0.0/8", "10.0.0.1"],
        'galera_cluster_external_source_ranges[1] is "10.0.0.1", but must be a network in CIDR notation, such as '
        "10.0.0.0/8.",
    ),
    (
        "galera_cluster_external_source_ranges",
        ["10.0.0.0/33"],
        'galera_cluster_external_source_ranges[0] is "10.0.0.0/33", but must be a network in CIDR notation, such as '
        "10.0.0.0/8.",
    ),
    (
        MYCNF,
        {"Max Connections": 1},
        f'{MYCNF} has the option "Max Connections", but a name must be of a-z, 0-9, _ and -.',
    ),
    (MYCNF, {"datadir": "/x"}, f"{MYCNF}.datadir {OWNED}"),
    (MYCNF, {"wsrep-node-name": "x"}, f"{MYCNF}.wsrep-node-name {OWNED}"),
    (MYCNF, {"wsrep_sst_donor": "x"}, f"{MYCNF}.wsrep_sst_donor {OWNED}"),
    (MYCNF, {"loose_wsrep_on": 0}, f"{MYCNF}.loose_wsrep_on {OWNED}"),
    (
        MYCNF,
        {"loose-wsrep-cluster-addr": "gcomm://"},
        f"{MYCNF}.loose-wsrep-cluster-addr is not allowed: MariaDB takes it for wsrep_cluster_address, which the "
        "collection sets itself.",
    ),
    (
        MYCNF,
        {"wsrep_provider_options": "gcache.size=2G"},
        f"{MYCNF}.wsrep_provider_options is not allowed: give galera_cluster_provider_options instead.",
    ),
    (MYCNF, {"sql_mode": None}, f"{MYCNF}.sql_mode is null, but must be a number, true, false or text of one line."),
    (MYCNF, {"sql_mode": ["A"]}, f'{MYCNF}.sql_mode is ["A"], but must be a number, true, false or text of one line.'),
    (
        MYCNF,
        {"init_connect": "a\ndatadir=/x"},
        f'{MYCNF}.init_connect is "a\\ndatadir=/x", but must be a number, true, false or text of one line.',
    ),
    (
        PROVIDER,
        {"gcache size": 1},
        f'{PROVIDER} has the option "gcache size", but a name must be one of the provider\'s, such as gcache.size.',
    ),
    (PROVIDER, {"pc.bootstrap": True}, f"{PROVIDER}.pc.bootstrap {OWNED}"),
    (
        PROVIDER,
        {"gcache.size": "2G; pc.bootstrap=1"},
        f'{PROVIDER}.gcache.size is "2G; pc.bootstrap=1", but must be a number, true, false or text without blanks, '
        "quotes, "
        "; and =.",
    ),
    (
        PROVIDER,
        {"gcache.size": ""},
        f'{PROVIDER}.gcache.size is "", but must be a number, true, false or text without blanks, quotes, ; and =.',
    ),
]
GOOD: list[tuple[str, Any]] = [
    (RESOURCES, {}),
    (
        RESOURCES,
        {"requests": {"cpu": 1, "memory": "512Mi", "ephemeral-storage": "1Gi"}, "limits": {"memory": 1073741824}},
    ),
    (RESOURCES, {"requests": {"memory": "1Gi"}, "limits": {"memory": "1024Mi"}}),
    (AGENT, {"limits": {"memory": "48Mi"}}),
    (SELECTOR, {"topology.kubernetes.io/zone": "a", "disk": ""}),
    (TOLERATIONS, [{"operator": "Exists"}, {"key": "a.b/c", "operator": "Equal", "value": "x", "effect": "NoExecute"}]),
    ("galera_cluster_service_annotations", {"example.com/owner": "the team: a, b"}),
    ("galera_cluster_external_source_ranges", ["10.0.0.0/8", "10.1.2.3/16", "fd00::/8"]),
    (MYCNF, {"max-connections": 500, "sql_mode": "", "slow_query_log": True, "wsrep_sync_wait": 7}),
    (PROVIDER, {"gcache.size": "2G", "gcs.fc_limit": 16, "gcs.fc_factor": 0.9, "evs.suspect_timeout": "PT5S"}),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_a_wrong_part_is_named_with_what_must_be(name: str, value: Any, message: str) -> None:
    assert STRUCTURES[name].check(name, value) == [message]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_right_parts_pass(name: str, value: Any) -> None:
    assert STRUCTURES[name].check(name, value) == []


def test_all_wrong_parts_are_told() -> None:
    value = {"limits": {"memory": "1"}, "requests": {"cpu": "x", "gpu": 1}}
    assert len(STRUCTURES[RESOURCES].check(RESOURCES, value)) == 3
