# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.stateful.galera.plugins.plugin_utils._inventory import check

ROOT = Path(__file__).resolve().parents[4]
SPEC = yaml.safe_load((ROOT / "roles/galera/meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
NAME = {"galera_cluster_name": "demo"}
SECRET = "Fender2000"
LABEL = "a DNS label (a-z, 0-9 and -, from a letter to a letter or digit) of at most 32 characters"
NAMESPACE = "a DNS label (a-z, 0-9 and -) of at most 63 characters, and no namespace of Kubernetes itself"
SIZE = "a whole number of nodes from 1 to 99"
STORAGE = "a size with a unit of Kubernetes (Mi, Gi, Ti, M, G or T), such as 10Gi, and at least 512Mi"
IMAGE = "an image reference with its tag, such as registry.example.com/mariadb:11.8"
PORT = "a port from 30000 to 32767 (galera_cluster_nodeport_range)"
PORTAL = "a host name or an address with its port, such as 192.168.100.40:3260"
TARGET = "the name of an iSCSI target, such as iqn.2018-04.com.example:target0 (or one that begins with eui. or naa.)"
DIRECTORY = "an absolute path without .., such as /data/galera"
CRON = "a cron expression of five fields in UTC, such as 0 1 * * *"
KUBERNETES_CRON = f"{CRON}, that Kubernetes reads, for which Sunday is 0 or sun and begins the week"
INTERVAL = "a time with its unit (m, h or d) from 1m to 30d, such as 60m or 1h"
CERTIFICATES = "whole certificates in PEM (-----BEGIN CERTIFICATE-----...) and nothing else"
CUT_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIBbzCCARWgAwIB\n-----END CERTIFICATE-----\n"
KEY_FILE = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\n"
MOMENT = "latest, or a time with its zone, such as 2026-11-21T14:30:00Z or 2026-11-21T15:30:00+01:00"
DATABASE = "a database name of at most 64 letters, digits, _ $ and -, and none of "
DATABASE += "information_schema, mysql, performance_schema, sys"
USER = "a user name of at most 80 letters, digits, _ . @ $ and -, and none of mariadb.sys, mysql, root, xtrabackup"
CLASS = "the name of a StorageClass (a-z, 0-9, - and .)"
QUOTE_NUMBER = "; it was read as a number, so write it in quotes"
COMMENT = "; a comment must stand on a line of its own, here it became part of the value"


def errors(variables: dict[str, Any]) -> list[str]:
    return check(NAME | variables, SPEC)[0]


def lun(
    owner: str, number: Any = 1, portal: str = "192.168.100.40:3260", iqn: str = "iqn.2018-04.x:y"
) -> dict[str, Any]:
    prefix = f"galera_cluster_{owner}_iscsi_"
    return {f"{prefix}targetportal": portal, f"{prefix}iqn": iqn, f"{prefix}lun": number}


LUNS = lun("seed", 0) | lun("node1", 1) | lun("node2", 2) | lun("node3", 3)
LOCAL = {
    "galera_cluster_local_volume_path": "/data",
    "galera_cluster_seed_local_node": "w1",
    "galera_cluster_node1_local_node": "w1",
    "galera_cluster_node2_local_node": "w2",
    "galera_cluster_node3_local_node": "w3",
}

# variable, value as an inventory gives it, value as the message shows it, what must be
BAD: list[tuple[str, Any, str, str]] = [
    ("galera_cluster_name", "Demo", '"Demo"', LABEL),
    ("galera_cluster_name", "1demo", '"1demo"', LABEL),
    ("galera_cluster_name", "demo-", '"demo-"', LABEL),
    ("galera_cluster_name", "de_mo", '"de_mo"', LABEL),
    ("galera_cluster_name", "a.b", '"a.b"', LABEL),
    ("galera_cluster_name", "a" * 33, f'"{"a" * 33}"', LABEL),
    ("galera_cluster_name", "demo\n", '"demo\\n"', LABEL),
    ("galera_cluster_name", "", '""', LABEL),
    ("galera_cluster_name", None, "null", LABEL),
    ("galera_cluster_name", 12, "12", LABEL + QUOTE_NUMBER),
    ("galera_cluster_name", True, "true", LABEL + "; it was read as true or false, so write it in quotes"),
    ("galera_cluster_namespace", "Web", '"Web"', NAMESPACE),
    ("galera_cluster_namespace", "a" * 64, f'"{"a" * 64}"', NAMESPACE),
    ("galera_cluster_namespace", "kube-system", '"kube-system"', NAMESPACE),
    ("galera_cluster_namespace", "web # production", '"web # production"', NAMESPACE + COMMENT),
    ("galera_cluster_size", 0, "0", SIZE),
    ("galera_cluster_size", -3, "-3", SIZE),
    ("galera_cluster_size", 100, "100", SIZE),
    ("galera_cluster_size", 2.5, "2.5", SIZE),
    ("galera_cluster_size", "2.5", '"2.5"', SIZE),
    ("galera_cluster_size", "three", '"three"', SIZE),
    ("galera_cluster_size", "3 nodes # all", '"3 nodes # all"', SIZE + COMMENT),
    ("galera_cluster_size", True, "true", SIZE),
    ("galera_cluster_size", "", '""', SIZE),
    ("galera_cluster_size", None, "null", SIZE),
    (
        "galera_cluster_dns_domain",
        "cluster.local.",
        '"cluster.local."',
        "a DNS domain without a dot at its end, such as cluster.local",
    ),
    ("galera_cluster_wait_timeout", 0, "0", "a whole number of seconds from 1 to 86400"),
    ("galera_cluster_wait_timeout", "15m", '"15m"', "a whole number of seconds from 1 to 86400"),
    ("galera_cluster_pod_security_enabled", "perhaps", '"perhaps"', "true or false"),
    ("galera_cluster_network_policy_enabled", 2, "2", "true or false"),
    ("galera_cluster_network_policy_enabled", None, "null", "true or false"),
    (
        "galera_cluster_kubeconfig",
        True,
        "true",
        "text of one line; it was read as true or false, so write it in quotes",
    ),
    ("galera_cluster_docker_image", 11.8, "11.8", IMAGE + QUOTE_NUMBER),
    ("galera_cluster_docker_image", "11.8", '"11.8"', IMAGE),
    ("galera_cluster_docker_image", "MariaDB:11.8", '"MariaDB:11.8"', IMAGE),
    ("galera_cluster_docker_image", "mariadb:", '"mariadb:"', IMAGE),
    ("galera_cluster_docker_image", "mariadb: 11.8", '"mariadb: 11.8"', IMAGE),
    ("galera_cluster_docker_image", "http://x/mariadb:11.8", '"http://x/mariadb:11.8"', IMAGE),
    ("galera_cluster_docker_image", "mariadb:11.8 ; ours", '"mariadb:11.8 ; ours"', IMAGE + COMMENT),
    ("galera_cluster_docker_image", "", '""', IMAGE),
    ("galera_cluster_haproxy_docker_image", 3, "3", IMAGE + QUOTE_NUMBER),
    ("galera_cluster_backup_agent_image", None, "null", IMAGE),
    ("galera_cluster_image_pull_policy", "always", '"always"', "one of Always, IfNotPresent, Never"),
    ("galera_cluster_image_pull_secrets", 3, "3", 'a list of names of Secrets, such as ["registry"]'),
    ("galera_cluster_haproxy_replicas", 0, "0", "a whole number of pods from 1 to 99"),
    ("galera_cluster_haproxy_mode", "leader", '"leader"', "one of balanced, single_writer"),
    ("galera_cluster_priority_class", "Data Base", '"Data Base"', "the name of a PriorityClass (a-z, 0-9, - and .)"),
    ("galera_cluster_volume_size", 10, "10", STORAGE + QUOTE_NUMBER),
    ("galera_cluster_volume_size", "10", '"10"', STORAGE),
    ("galera_cluster_volume_size", "10GB", '"10GB"', STORAGE),
    ("galera_cluster_volume_size", "10gi", '"10gi"', STORAGE),
    ("galera_cluster_volume_size", "ten", '"ten"', STORAGE),
    ("galera_cluster_volume_size", "0Gi", '"0Gi"', STORAGE),
    ("galera_cluster_volume_size", "-5Gi", '"-5Gi"', STORAGE),
    ("galera_cluster_volume_size", "500m", '"500m"', STORAGE),
    ("galera_cluster_volume_size", "10Gi # thin", '"10Gi # thin"', STORAGE + COMMENT),
    ("galera_cluster_volume_size", "", '""', STORAGE),
    ("galera_cluster_seed_volume_size", "10GiB", '"10GiB"', STORAGE),
    ("galera_cluster_backup_volume_size", 50, "50", STORAGE + QUOTE_NUMBER),
    ("galera_cluster_backup_log_volume_size", "50 Gi", '"50 Gi"', STORAGE),
    ("galera_cluster_storage_class", "Fast", '"Fast"', CLASS),
    ("galera_cluster_storage_class", None, "null", CLASS),
    ("galera_vsphere_storage_class", True, "true", CLASS + "; it was read as true or false, so write it in quotes"),
    ("galera_cluster_backup_storage_class", "a b", '"a b"', CLASS),
    ("galera_cluster_seed_iscsi_targetportal", "192.168.100.40:99999", '"192.168.100.40:99999"', PORTAL),
    ("galera_cluster_seed_iscsi_targetportal", "192.168.100.400:3260", '"192.168.100.400:3260"', PORTAL),
    ("galera_cluster_node2_iscsi_targetportal", "fd00::1", '"fd00::1"', PORTAL),
    ("galera_cluster_node2_iscsi_targetportal", "[x]:3260", '"[x]:3260"', PORTAL),
    ("galera_cluster_node12_iscsi_targetportal", 3260, "3260", PORTAL + QUOTE_NUMBER),
    ("galera_cluster_node1_iscsi_iqn", "server.galera", '"server.galera"', TARGET),
    ("galera_cluster_node1_iscsi_iqn", "iqn.18-4.x:y", '"iqn.18-4.x:y"', TARGET),
    ("galera_cluster_node1_iscsi_iqn", "eui.12", '"eui.12"', TARGET),
    ("galera_cluster_node1_iscsi_lun", 256, "256", "the number of a LUN from 0 to 255"),
    ("galera_cluster_node1_iscsi_lun", "one", '"one"', "the number of a LUN from 0 to 255"),
    ("galera_cluster_local_volume_path", "data", '"data"', DIRECTORY),
    ("galera_cluster_local_volume_path", "/", '"/"', DIRECTORY),
    ("galera_cluster_local_volume_path", "/data/../etc", '"/data/../etc"', DIRECTORY),
    ("galera_cluster_node3_local_node", "W 1", '"W 1"', "the name of a Kubernetes node (a-z, 0-9, - and .)"),
    ("galera_cluster_backup_enabled", "maybe", '"maybe"', "true or false"),
    ("galera_cluster_backup_nfs_server", "nfs:/backups", '"nfs:/backups"', "a host name or an IP address"),
    ("galera_cluster_backup_nfs_server", "192.168.100.400", '"192.168.100.400"', "a host name or an IP address"),
    ("galera_cluster_backup_nfs_server", 192.168, "192.168", "a host name or an IP address" + QUOTE_NUMBER),
    ("galera_cluster_backup_path", "backups", '"backups"', DIRECTORY),
    ("galera_cluster_backup_path", "/backups # nfs", '"/backups # nfs"', DIRECTORY + COMMENT),
    ("galera_cluster_backup_retention_days", 0, "0", "a whole number of days from 1 to 36500"),
    ("galera_cluster_backup_retention_days", "7d", '"7d"', "a whole number of days from 1 to 36500"),
    ("galera_cluster_backup_incremental_interval", 60, "60", INTERVAL + QUOTE_NUMBER),
    ("galera_cluster_backup_incremental_interval", "60", '"60"', INTERVAL),
    ("galera_cluster_backup_incremental_interval", "hourly", '"hourly"', INTERVAL),
    ("galera_cluster_backup_incremental_interval", "0m", '"0m"', INTERVAL),
    ("galera_cluster_backup_incremental_interval", "30s", '"30s"', INTERVAL),
    ("galera_cluster_backup_schedule", "0 1 * *", '"0 1 * *"', CRON),
    ("galera_cluster_backup_schedule", "daily", '"daily"', CRON),
    ("galera_cluster_backup_verify_schedule", "60 1 * * *", '"60 1 * * *"', KUBERNETES_CRON),
    ("galera_cluster_backup_verify_schedule", "0 5 * * 7", '"0 5 * * 7"', KUBERNETES_CRON),
    ("galera_cluster_backup_binlog_interval", "2h", '"2h"', "a time with its unit from 1s to 1h, such as 30s, or none"),
    ("galera_cluster_backup_deadline", "30s", '"30s"', "a time with its unit (m, h or d) from 1m to 7d, such as 6h"),
    ("galera_cluster_backup_retention_keep_last", 0, "0", "a whole number of backups from 1 to 10000"),
    ("galera_cluster_backup_bandwidth", "1Ki", '"1Ki"', "an amount a second with its unit, such as 50Mi, from 64Ki"),
    ("galera_cluster_backup_s3_bucket", "A_b", '"A_b"', "the name of a bucket (3 to 63 of a-z, 0-9, . and -)"),
    (
        "galera_cluster_backup_s3_prefix",
        "/web/",
        '"/web/"',
        "names of letters, digits, . _ = and - with / between them",
    ),
    ("galera_cluster_backup_s3_sse", "kms", '"kms"', "one of AES256, aws:kms"),
    ("galera_cluster_backup_s3_ca", "ca.pem", '"ca.pem"', CERTIFICATES),
    ("galera_cluster_backup_s3_ca", CUT_CERTIFICATE, json.dumps(CUT_CERTIFICATE), CERTIFICATES),
    # who confuses the two files does not have a key in the log of AWX
    ("galera_cluster_backup_s3_ca", KEY_FILE, "a private key (not shown)", CERTIFICATES),
    ("galera_restore_time", "2026-11-21 14:30", '"2026-11-21 14:30"', MOMENT),
    ("galera_restore_time", "2026-02-30T10:00:00Z", '"2026-02-30T10:00:00Z"', MOMENT),
    # without quotes, as YAML reads them
    (
        "galera_restore_time",
        yaml.safe_load("2026-11-21 14:30:00"),
        '"2026-11-21 14:30:00"',
        MOMENT + "; it was read as a time, so write it in quotes",
    ),
    (
        "galera_restore_time",
        yaml.safe_load("2026-11-21"),
        '"2026-11-21"',
        MOMENT + "; it was read as a time, so write it in quotes",
    ),
    ("galera_restore_gtid", "4711", '"4711"', "a GTID, such as 1-1-4711"),
    ("galera_cluster_backup_user", "ro'ot", '"ro\'ot"', "a user name of at most 80 letters, digits, _ . @ $ and -"),
    ("galera_mysql_database", "my`db", '"my`db"', DATABASE),
    ("galera_mysql_database", "a/b", '"a/b"', DATABASE),
    ("galera_mysql_database", "a" * 65, f'"{"a" * 65}"', DATABASE),
    ("galera_mysql_database", "mysql", '"mysql"', DATABASE),
    ("galera_mysql_database", "SYS", '"SYS"', DATABASE),
    ("galera_mysql_database", 2024, "2024", DATABASE + QUOTE_NUMBER),
    ("galera_mysql_user", "root", '"root"', USER),
    ("galera_mysql_user", "mysql", '"mysql"', USER),
    ("galera_mysql_user", "mariadb.sys", '"mariadb.sys"', USER),
    ("galera_mysql_user", "xtrabackup", '"xtrabackup"', USER),
    ("galera_mysql_user", "a" * 81, f'"{"a" * 81}"', USER),
    ("galera_mysql_user", "o'neill", '"o\'neill"', USER),
    ("galera_mysql_user", None, "null", USER),
    ("galera_cluster_external_access", "nodePort", '"nodePort"', "one of none, nodeport, load_balancer"),
    ("galera_cluster_external_access", None, "null", "one of none, nodeport, load_balancer"),
    ("galera_cluster_nodeport", 80, "80", PORT),
    ("galera_cluster_nodeport", 32768, "32768", PORT),
    ("galera_cluster_nodeport", "http", '"http"', "a port in galera_cluster_nodeport_range"),
    ("galera_cluster_nodeport_range", "30000", '"30000"', "two ports with - between them, such as 30000-32767"),
    ("galera_cluster_nodeport_range", "2-1", '"2-1"', "two ports with - between them, such as 30000-32767"),
    ("galera_teardown_volumes", "remove", '"remove"', "one of keep, delete"),
    ("galera_teardown_confirm", True, "true", "text of one line; it was read as true or false, so write it in quotes"),
]


@pytest.mark.parametrize(("name", "value", "shown", "allowed"), BAD)
def test_a_wrong_value_is_named_with_what_must_be(name: str, value: Any, shown: str, allowed: str) -> None:
    found = [line for line in errors({name: value}) if line.startswith(f"{name} ")]
    assert found == [f"{name} is {shown}, but must be {allowed}."]


UNKNOWN = [
    ("galera_cluster_nodport", "did you mean galera_cluster_nodeport?"),
    ("galera_cluster_volumesize", "did you mean galera_cluster_volume_size?"),
    ("galera_mysql_pasword", "did you mean galera_mysql_password?"),
    ("galera_Cluster_size", "did you mean galera_cluster_size?"),
    ("galera_cluster_node0_iscsi_lun", "did you mean galera_cluster_node9_iscsi_lun?"),
    ("galera_cluster_node01_iscsi_lun", "did you mean galera_cluster_node1_iscsi_lun?"),
    ("galera_quite_another_thing", "docs/inventory.md lists those that are."),
]


@pytest.mark.parametrize(("name", "hint"), UNKNOWN)
def test_an_unknown_variable_is_an_error_with_the_nearest_name(name: str, hint: str) -> None:
    assert errors({name: SECRET}) == [f"{name} is not a variable of this collection: {hint}"]


def test_the_name_of_the_cluster_is_required() -> None:
    assert check({}, SPEC)[0] == [f"galera_cluster_name is missing: it must be {LABEL}."]


@pytest.mark.parametrize("name", [name for name in SPEC if name.endswith("password")])
@pytest.mark.parametrize(
    ("value", "kind", "hint"),
    [
        (271828.0, "a number", "; it was read as a number, so write it in quotes"),
        (True, "true or false", "; it was read as true or false, so write it in quotes"),
        (["Fender2000"], "a list", "; it was read as a list, so write it in quotes"),
        ({"a": "Fender2000"}, "a dictionary", "; it was read as a dictionary, so write it in quotes"),
        (None, "empty", ""),
        ("Fender2000\n # x", "text", ""),
        ("Fender2000" * 30, "text", ""),
    ],
)
def test_the_value_of_a_password_is_never_shown(name: str, value: Any, kind: str, hint: str) -> None:
    [line] = errors({name: value, "galera_mysql_user": "app", "galera_mysql_database": "app"})
    assert line == f"{name} is {kind} (not shown), but must be text of one line with at most 256 characters{hint}."


def test_every_password_is_marked_as_secret() -> None:
    secret = re.compile("password|_access_key|age_identity")
    assert {name for name in SPEC if secret.search(name)} == {name for name in SPEC if SPEC[name].get("no_log")}


def test_all_problems_are_told_at_once_sorted_by_variable() -> None:
    found = check(
        {
            "galera_mysql_user": "root",
            "galera_cluster_size": "three",
            "galera_cluster_backup_path": "/b",
            "galera_cluster_nam": "demo",
            "galera_cluster_nodeport": 80,
        },
        SPEC,
    )[0]
    assert [line.split(" ")[0] for line in found] == [
        "galera_cluster_backup_nfs_server",
        "galera_cluster_nam",
        "galera_cluster_name",
        "galera_cluster_nodeport",
        "galera_cluster_size",
        "galera_mysql_user",
    ]


GOOD: list[dict[str, Any]] = [
    {},
    {"other_variable": "anything", "__galera_name": None, "galera": 1},
    {"galera_cluster_name": "a" * 32},
    {"galera_cluster_name": "a" * 31, "galera_cluster_backup_s3_bucket": "backups"},
    {"galera_cluster_size": "3", "galera_cluster_wait_timeout": "60"},
    {"galera_cluster_storage_class": "", "galera_mysql_password": "", "galera_cluster_nodeport": ""},
    {"galera_cluster_storage_class": "fast.example"},
    {"galera_cluster_network_policy_enabled": "false", "galera_cluster_pod_security_enabled": "true"},
    {"galera_cluster_docker_image": "localhost:5000/team/mariadb:11.8"},
    {"galera_cluster_docker_image": "registry.example.com/mariadb@sha256:" + "0" * 64},
    {"galera_cluster_volume_size": "1.5Ti", "galera_cluster_seed_volume_size": "512Mi"},
    LUNS,
    LUNS | lun("node4", 4) | lun("node5", 5),
    LUNS | lun("node3", 2, iqn="iqn.2018-04.x:z"),
    LUNS | lun("node3", 2, portal="192.168.100.41:3260"),
    LUNS | lun("node4", 0, iqn="eui.0123456789abcdef") | lun("node5", 0, iqn="naa." + "0" * 32),
    {"galera_cluster_size": 11} | lun("seed", 0) | {k: v for n in range(1, 12) for k, v in lun(f"node{n}", n).items()},
    LOCAL,
    {"galera_cluster_backup_storage_class": "nfs", "galera_cluster_backup_enabled": True},
    {
        "galera_cluster_backup_enabled": "no",
        "galera_cluster_backup_nfs_server": "fd00::1",
        "galera_cluster_backup_path": "/data/shared backups/",
    },
    {"galera_cluster_backup_incremental_interval": "1d", "galera_cluster_backup_storage_class": "nfs"},
    {"galera_cluster_backup_retention_days": "7", "galera_cluster_backup_enabled": "no"},
    {"galera_cluster_external_access": "nodeport", "galera_cluster_nodeport": "30306"},
    {"galera_cluster_nodeport": 4000, "galera_cluster_nodeport_range": "1000-4000"},
    {"galera_cluster_priority_class": "system-node-critical"},
    {"galera_mysql_user": "app", "galera_mysql_database": "my-db_1$", "galera_mysql_password": "a'b\"c\\d #e;f"},
    {"galera_cluster_image_pull_secrets": "one, two"},
    {"galera_cluster_mycnf": '{"max_connections": 500}'},
    {"galera_cluster_volume_size": "2Gi", "galera_cluster_provider_options": {"gcache.size": "2047M"}},
    {"galera_cluster_provider_options": {"gcache.size": "large"}},
]


@pytest.mark.parametrize("variables", GOOD)
def test_right_variables_pass_without_a_word(variables: dict[str, Any]) -> None:
    assert check(NAME | variables, SPEC) == ([], [])


WARNINGS: list[tuple[dict[str, Any], str]] = [
    (
        {"galera_cluster_size": 1},
        "galera_cluster_size is 1: a cluster of fewer than 3 nodes stops serving when one node is lost.",
    ),
    (
        {"galera_cluster_size": "2"},
        "galera_cluster_size is 2: a cluster of fewer than 3 nodes stops serving when one node is lost.",
    ),
    ({"galera_cluster_size": 4}, "galera_cluster_size is 4: an even number survives no more lost nodes than 3."),
    (
        {"galera_mysql_user": "app"},
        "galera_mysql_database is missing: galera_mysql_user will have no rights on any database.",
    ),
    (
        {"galera_mysql_password": SECRET},
        "galera_mysql_user is missing: galera_mysql_password is not used without it.",
    ),
    (
        {"galera_cluster_docker_image": "registry.example.com:5000/mariadb"},
        'galera_cluster_docker_image is "registry.example.com:5000/mariadb", without a tag: which version it means '
        "may change.",
    ),
    (
        {"galera_cluster_backup_incremental_interval": "1d", "galera_cluster_backup_retention_days": "7"},
        "galera_cluster_backup_incremental_interval is given, but nothing says where backups go, so none are taken: "
        "give galera_cluster_backup_nfs_server with galera_cluster_backup_path, galera_cluster_backup_storage_class or "
        "galera_cluster_backup_s3_bucket, or galera_cluster_backup_enabled=false.",
    ),
]


@pytest.mark.parametrize(("variables", "warning"), WARNINGS)
def test_what_is_seldom_meant_is_a_warning(variables: dict[str, Any], warning: str) -> None:
    assert check(NAME | variables, SPEC) == ([], [warning])
