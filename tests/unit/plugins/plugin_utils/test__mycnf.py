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
owned: loose_wsrep_on loose-datadir skip_wsrep_on
free: max_connections innodb_buffer_pool_size innodb_flush_log_at_trx_commit log_bin slow_query_log report_port userstat
free: skip_name_resolve wsrep_slave_threads wsrep_sync_wait wsrep_retry_autocommit wsrep_trx_fragment_size
free: wsrep_gtid_mode wsrep_debug
"""
NAMES = [
    (kind, name)
    for kind, _, names in (line.partition(": ") for line in OWNED_AND_FREE.splitlines())
    for name in names.split()
]


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_options_that_the_collection_sets_are_owned(kind: str, name: str) -> None:
    assert _mycnf.is_owned_option(name) is (kind == "owned")


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
