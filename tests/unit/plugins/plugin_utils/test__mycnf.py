# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.plugin_utils import _mycnf

VALUES: list[tuple[Any, str]] = [
    (500, "500"),
    (0.5, "0.5"),
    (True, "ON"),
    (False, "OFF"),
    ("", ""),
    ("READ-COMMITTED", "READ-COMMITTED"),
    ('"gcache.size=1G; pc.recovery=no"', '"gcache.size=1G; pc.recovery=no"'),
    ("'# kept'", "'# kept'"),
    # the server takes # for a comment, \ for an escape and cuts blanks at the ends
    ("a#b", '"a#b"'),
    (r"a\b", r'"a\\b"'),
    ('say "x"', r'"say \"x\""'),
    (" a ", '" a "'),
]


@pytest.mark.parametrize(("value", "written"), VALUES)
def test_values_are_written_so_that_the_server_reads_them(value: Any, written: str) -> None:
    assert _mycnf.mycnf({"mariadb": {"option": value}}) == f"[mariadb]\noption = {written}\n"


@pytest.mark.parametrize("value", ["a\nb", "a\0b", None, ["a"], {"a": "b"}])
def test_a_value_that_is_no_option_value_is_refused_with_its_name(value: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^max_connections is .* but must be a number, a boolean or text in one line$"
    ):
        _mycnf.mycnf({"mariadb": {"max_connections": value}})


def test_the_text_does_not_depend_on_the_order_of_the_inventory() -> None:
    one = {"sst": {"b": 1}, "mariadb": {"z": 1, "a": 2}}
    other = {"mariadb": {"a": 2, "z": 1}, "sst": {"b": 1}}
    assert _mycnf.mycnf(one) == _mycnf.mycnf(other) == "[mariadb]\na = 2\nz = 1\n\n[sst]\nb = 1\n"


def test_of_two_spellings_of_an_option_the_later_counts() -> None:
    text = _mycnf.mycnf({"mariadb": {"max_connections": 100, "max-connections": 500}})
    assert text == "[mariadb]\nmax_connections = 500\n"


def test_provider_options_are_sorted() -> None:
    options = {"pc.recovery": False, "gcs.fc_limit": 16, "gcache.size": "1G"}
    assert _mycnf.provider_options(options) == "gcache.size=1G; gcs.fc_limit=16; pc.recovery=no"
    assert _mycnf.provider_options({}) == ""


@pytest.mark.parametrize("value", ["1G; pc.bootstrap=yes", 'a"b', "a b", "a\\b", None, ["a"]])
def test_a_provider_option_cannot_smuggle_in_another(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^gcache.size is .* but must be a number, a boolean or text without blanks"):
        _mycnf.provider_options({"gcache.size": value})


OWNED_AND_FREE = """
owned: datadir socket port pid_file pid-file bind-address user basedir log_error init_file skip_networking
owned: skip_grant_tables binlog_format innodb_autoinc_lock_mode default_storage_engine plugin_wsrep_provider
owned: wsrep_on wsrep-on wsrep_provider wsrep_provider_options wsrep_provider_gcache_size wsrep_cluster_address
owned: wsrep_cluster_name wsrep_new_cluster wsrep_recover wsrep_start_position wsrep_notify_cmd wsrep_node_name
owned: wsrep_node_incoming_address wsrep_sst_auth wsrep_sst_donor wsrep_sst_method
owned: loose_wsrep_on loose-datadir skip_wsrep_on log_basename loose_skip_networking
owned: wsrep-sst-meth wsrep_node_addr wsrep_pro loose-wsrep-cluster-addr datad skip_grant skip-net enable_pid loose_us
owned: wsrep_data maximum_port disable-wsrep-o autoset_wsrep_st
free: max_connections innodb_buffer_pool_size innodb_flush_log_at_trx_commit log_bin slow_query_log report_port userstat
free: skip_name_resolve wsrep_slave_threads wsrep_sync_wait wsrep_retry_autocommit wsrep_trx_fragment_size
free: wsrep_gtid_mode wsrep_debug innodb skip_innodb port_open_timeout user_variables init_connect log_warnings
free: loose_innodb_io_capacity skip_external_locking skip_show_database skip_slave_start wsrep_notify_cmds
free: default_tmp_storage_engine general_log slow_query_log_file table_open_cache tmpdir max_allowed_packet
"""
NAMES = [
    (kind, name)
    for kind, _, names in (line.partition(": ") for line in OWNED_AND_FREE.splitlines())
    for name in names.split()
]


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_options_that_the_collection_sets_are_owned(kind: str, name: str) -> None:
    assert bool(_mycnf.owned_option(name)) is (kind == "owned")


LOSING = ["innodb_data_home_dir", "loose-innodb-undo-dir", "aria_log_dir", "innodb_log_group", "skip_tc_heuristic"]


@pytest.mark.parametrize("name", LOSING)
def test_options_that_take_data_from_the_volume_are_known_by_any_of_their_names(name: str) -> None:
    assert _mycnf.loses_writes(name)


@pytest.mark.parametrize("name", ["innodb_log_file_size", "innodb_undo_tablespaces", "aria_log_file_size", "innodb"])
def test_options_that_keep_data_on_the_volume(name: str) -> None:
    assert not _mycnf.loses_writes(name)


@pytest.mark.parametrize(("name", "is_path"), [("log_bin", True), ("loose-log-bin-ind", True), ("log_error", False)])
def test_a_binary_log_in_another_directory(name: str, is_path: bool) -> None:
    assert _mycnf.is_binlog_path(name, "/tmp/binlog") is is_path
    assert not _mycnf.is_binlog_path(name, "binlog")


@pytest.mark.parametrize(
    ("name", "owned"),
    [
        ("base_dir", True),
        ("gmcast.listen_addr", True),
        ("ist.recv_addr", True),
        ("pc.bootstrap", True),
        ("pc.ignore_quorum", True),
        ("pc.ignore_sb", True),
        ("pc.npvo", True),
        ("pc.weight", True),
        ("pc.recovery", True),
        ("gcache.dir", True),
        ("gcache.size", False),
        ("gmcast.segment", False),
        ("gcs.fc_limit", False),
        ("evs.suspect_timeout", False),
    ],
)
def test_provider_options_that_the_collection_sets_are_owned(name: str, owned: bool) -> None:
    assert _mycnf.is_owned_provider_option(name) is owned
