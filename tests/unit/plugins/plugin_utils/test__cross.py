# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that are right one by one, and contradict each other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test__inventory import LOCAL, LUNS, errors, lun

# variables, the whole message; together they are every way in which variables contradict each other
CONTRADICTIONS: list[tuple[dict[str, Any], list[str]]] = [
    (
        LUNS | {"galera_vsphere_storage_class": "thin"},
        [
            "galera_vsphere_storage_class and galera_cluster_seed_iscsi_iqn are both given, but the volumes must "
            "come from one source: leave one out."
        ],
    ),
    (
        {"galera_vsphere_storage_class": "thin", "galera_cluster_storage_class": "fast"},
        [
            "galera_cluster_storage_class and galera_vsphere_storage_class are both given, but the volumes must "
            "come from one source: leave one out."
        ],
    ),
    (
        LUNS | LOCAL,
        [
            "galera_cluster_seed_iscsi_iqn and galera_cluster_local_volume_path are both given, but the volumes "
            "must come from one source: leave one out."
        ],
    ),
    (
        LUNS | {"galera_cluster_node2_iscsi_lun": ""},
        ["galera_cluster_node2_iscsi_lun is missing: targetportal, iqn and lun must be given together."],
    ),
    (
        LUNS | {"galera_cluster_seed_iscsi_iqn": "", "galera_cluster_seed_iscsi_lun": ""},
        [
            "galera_cluster_seed_iscsi_iqn is missing: targetportal, iqn and lun must be given together.",
            "galera_cluster_seed_iscsi_lun is missing: targetportal, iqn and lun must be given together.",
        ],
    ),
    (
        LUNS | {"galera_cluster_node7_iscsi_lun": 7},
        [
            "galera_cluster_node7_iscsi_iqn is missing: targetportal, iqn and lun must be given together.",
            "galera_cluster_node7_iscsi_targetportal is missing: targetportal, iqn and lun must be given together.",
        ],
    ),
    (
        LUNS | {"galera_cluster_size": 5},
        [
            f"galera_cluster_{node}_iscsi_targetportal is missing, and so are iqn and lun: with iSCSI, the seed and "
            "every node up to galera_cluster_size must have a LUN."
            for node in ("node4", "node5")
        ],
    ),
    (
        lun("node1", 1) | lun("node2", 2) | lun("node3", 3),
        [
            "galera_cluster_seed_iscsi_targetportal is missing, and so are iqn and lun: with iSCSI, the seed and "
            "every node up to galera_cluster_size must have a LUN."
        ],
    ),
    (
        LUNS | {"galera_cluster_node3_iscsi_lun": "2"},
        [
            "galera_cluster_node3_iscsi_lun is 2, as galera_cluster_node2_iscsi_lun is on the same target "
            "(192.168.100.40:3260, iqn.2018-04.x:y), but the seed and each node must have a LUN of their own."
        ],
    ),
    (
        LUNS | lun("node1", 0, portal="192.168.100.40"),
        [
            "galera_cluster_node1_iscsi_lun is 0, as galera_cluster_seed_iscsi_lun is on the same target "
            "(192.168.100.40, iqn.2018-04.x:y), but the seed and each node must have a LUN of their own."
        ],
    ),
    # a LUN that cannot be read is told once, not as missing too
    (
        LUNS | {"galera_cluster_node1_iscsi_lun": "one"},
        ['galera_cluster_node1_iscsi_lun is "one", but must be the number of a LUN from 0 to 255.'],
    ),
    (
        {name: value for name, value in LOCAL.items() if name != "galera_cluster_node2_local_node"},
        [
            "galera_cluster_node2_local_node is missing: with local volumes, the seed and every node up to "
            "galera_cluster_size must name a Kubernetes node."
        ],
    ),
    (
        LOCAL | {"galera_cluster_local_volume_path": ""},
        ["galera_cluster_local_volume_path is missing: galera_cluster_seed_local_node must go with it."],
    ),
    (
        LOCAL | {"galera_cluster_node3_local_node": "w2"},
        [
            'galera_cluster_node3_local_node is "w2", as galera_cluster_node2_local_node is, but each node must '
            "have a Kubernetes "
            "node of its own."
        ],
    ),
    (
        {"galera_cluster_backup_nfs_server": "nfs"},
        ["galera_cluster_backup_path is missing: galera_cluster_backup_nfs_server must go with it."],
    ),
    (
        {"galera_cluster_backup_s3_prefix": "a"},
        ["galera_cluster_backup_s3_bucket is missing: galera_cluster_backup_s3_prefix must go with it."],
    ),
    (
        {"galera_cluster_backup_storage_class": "nfs", "galera_restore_s3_prefix": "web/tier1"},
        ["galera_cluster_backup_s3_bucket is missing: galera_restore_s3_prefix must go with it."],
    ),
    (
        {"galera_restore_gtid": "1-1-1", "galera_restore_time": "latest"},
        [
            "galera_restore_time and galera_restore_gtid are both given, but a restore must go to one point: leave one "
            "out."
        ],
    ),
    (
        {"galera_cluster_backup_s3_bucket": "abc", "galera_cluster_backup_s3_access_key_id": "a"},
        [
            "galera_cluster_backup_s3_secret_access_key is missing: galera_cluster_backup_s3_access_key_id must go "
            "with it."
        ],
    ),
    (
        {
            "galera_cluster_backup_secret": "keys",
            "galera_cluster_backup_age_identity": "AGE-SECRET-KEY-1"
            "GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX",
        },
        [
            "galera_cluster_backup_secret is given beside galera_cluster_backup_age_identity, but the keys must come "
            "from one place: leave one out."
        ],
    ),
    (
        {"galera_cluster_backup_s3_bucket": "abc", "galera_cluster_mycnf": {"log-bin": "OFF"}},
        [
            'galera_cluster_mycnf.log_bin is "OFF", but must be on while binary logs are archived '
            "(galera_cluster_backup_binlog_interval=none ends that)."
        ],
    ),
    *(
        (
            {"galera_cluster_backup_s3_bucket": "abc", "galera_cluster_mycnf": {option: value}},
            [f"galera_cluster_mycnf.{option} is {says}(galera_cluster_backup_binlog_interval=none ends that){end}."],
        )
        for option, value, says, end in (
            ("skip_log_slave_updates", 1, "not allowed while binary logs are archived ", ""),
            ("loose_log_slave_updates", False, "false, but must be on while binary logs are archived ", ""),
            ("loose_skip_log_bin", 1, "not allowed while binary logs are archived ", ""),
            ("wsrep_gtid_mo", 0, "0, but must be on while binary logs are archived ", ""),
            (
                "loose_sync_binlog",
                0,
                "0, but must be 1 while binary logs are archived ",
                ": with a binary log a transaction is acknowledged when it stands there",
            ),
        )
    ),
    (
        {"galera_cluster_backup_retention_rule": {"all_days": 7}},
        [
            "galera_cluster_backup_retention_rule.alternate_until_days is missing: all of all_days, "
            "alternate_until_days, weekly_until_days must be given.",
            "galera_cluster_backup_retention_rule.weekly_until_days is missing: all of all_days, "
            "alternate_until_days, weekly_until_days must be given.",
        ],
    ),
    (
        {"galera_cluster_backup_path": "/backups"},
        ["galera_cluster_backup_nfs_server is missing: galera_cluster_backup_path must go with it."],
    ),
    (
        {
            "galera_cluster_backup_storage_class": "nfs",
            "galera_cluster_backup_nfs_server": "nfs",
            "galera_cluster_backup_path": "/b",
        },
        [
            "galera_cluster_backup_storage_class is given beside galera_cluster_backup_nfs_server, but backups must "
            "go to one place: leave one out."
        ],
    ),
    (
        {"galera_cluster_backup_enabled": "yes"},
        [
            "galera_cluster_backup_enabled is true, but galera_cluster_backup_nfs_server with "
            "galera_cluster_backup_path, galera_cluster_backup_storage_class or galera_cluster_backup_s3_bucket must "
            "say where backups go."
        ],
    ),
    (
        {"galera_cluster_external_access": "nodeport"},
        [
            "galera_cluster_nodeport is missing: galera_cluster_external_access is nodeport, so it must be a port "
            "from 30000 to 32767."
        ],
    ),
    (
        {"galera_cluster_nodeport": 30306, "galera_cluster_nodeport_range": "31000-31999"},
        ["galera_cluster_nodeport is 30306, but must be a port from 31000 to 31999 (galera_cluster_nodeport_range)."],
    ),
    (
        {"galera_cluster_name": "a" * 32, "galera_cluster_backup_s3_bucket": "backups"},
        [
            f'galera_cluster_name is "{"a" * 32}", but must be of at most 31 characters where the inventory says where '
            "backups go: Kubernetes takes no longer name for the CronJob <name>-galera-backup-verify."
        ],
    ),
    (
        {"galera_cluster_priority_class_value": 0},
        ["galera_cluster_priority_class is missing: galera_cluster_priority_class_value must go with the name."],
    ),
    (
        {"galera_cluster_priority_class": "system-node-critical", "galera_cluster_priority_class_value": 5},
        [
            'galera_cluster_priority_class is "system-node-critical", but must be another name where '
            "galera_cluster_priority_class_value is given: Kubernetes reserves system- for classes of its own."
        ],
    ),
    *(
        (
            {"galera_cluster_volume_size": "2Gi", "galera_cluster_provider_options": {"gcache.size": size}},
            [
                f"galera_cluster_provider_options.gcache.size is {json.dumps(size)}, but must be less than "
                "galera_cluster_volume_size, which is 2147483648 bytes: the file of this size lies on the volume, "
                "beside the data."
            ],
        )
        for size in ("900T", "2G", "2g", "2048M", "2097152K", 2147483648, "2147483648")
    ),
    (
        {"galera_cluster_seed_volume_size": "1Gi", "galera_cluster_provider_options": {"gcache.size": "2G"}},
        [
            'galera_cluster_provider_options.gcache.size is "2G", but must be less than '
            "galera_cluster_seed_volume_size, which is 1073741824 bytes: the file of this size lies on the volume, "
            "beside the data."
        ],
    ),
    *(
        (
            {"galera_cluster_volume_size": "2Gi", "galera_cluster_mycnf": {name: size}},
            [
                f"galera_cluster_mycnf.innodb_log_file_size is {json.dumps(size)}, but must be less than "
                "galera_cluster_volume_size, which is 2147483648 bytes: the file of this size lies on the volume, "
                "beside the data."
            ],
        )
        for name, size in (("innodb_log_file_size", "2G"), ("innodb-log-file-size", 2147483648))
    ),
    ({"galera_cluster_volume_size": "2Gi", "galera_cluster_mycnf": {"innodb_log_file_size": "1G"}}, []),
]


@pytest.mark.parametrize(("variables", "expected"), CONTRADICTIONS)
def test_variables_that_contradict_each_other(variables: dict[str, Any], expected: list[str]) -> None:
    assert errors(variables) == expected
