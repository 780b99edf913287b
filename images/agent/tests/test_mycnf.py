# SPDX-License-Identifier: GPL-3.0-or-later
"""Which options of the nodes a server that replays has."""

from __future__ import annotations

import pytest
from galera_agent.mycnf import for_replay


@pytest.mark.parametrize(
    "line",
    [
        "old_mode = ",
        "lower-case-table-names=1",
        "innodb_ft_min_token_size = 1",
        "ft_min_word_len = 2",
        "innodb_default_row_format = compact",
        "loose_innodb_compression_algorithm = lz4",
        "default_time_zone = '+02:00'",
        "skip_explicit_defaults_for_timestamp",
        "default_storage_engine = Aria",
        "storage-engine = Aria",
        # The server takes the beginning of a name.
        "lower_case_table = 1",
        "old",
    ],
)
def test_what_changes_what_statements_do_is_taken(line: str) -> None:
    name, equals, value = line.partition("=")
    text, names = for_replay(f"# nodes\n[mariadb]\n  {line}\n\n[sst]\nsockopt = x\n")
    assert names == [name.strip().replace("-", "_")]
    written = f"{names[0]} = {value.strip()}" if equals else names[0]
    assert text == f"[mariadb]\n{written}\n[sst]\n"


@pytest.mark.parametrize(
    "line",
    [
        "datadir = /var/lib/mysql/data",
        "socket = /run/mysqld/mysqld.sock",
        "tmpdir = /elsewhere",
        "port = 3307",
        "bind_address = 0.0.0.0",
        "log_bin = binlog",
        "loose-general-log = 1",
        "wsrep_on = 1",
        'wsrep_provider_options = "gcache.size=1G"',
        "innodb_buffer_pool_size = 64G",
        "innodb_ft_total_cache_size = 1600000000",
        "innodb = ON",
        "innodb_strict_mode = ON",
        "max_allowed_packet = 1M",
        "max_statement_time = 10",
        "wait_timeout = 10",
        "read_only = 1",
        "autocommit = 0",
        "event_scheduler = ON",
        "server_id = 7",
        "ssl_cert = /etc/ssl/node.pem",
        "ft_stopword_file = /etc/mysql/words",
        "strict_password_validation = ON",
        "!includedir /etc/mysql/conf.d",
        "; old_mode = ",
    ],
)
def test_what_is_the_nodes_own_or_ends_a_replay_is_not(line: str) -> None:
    assert for_replay(f"[mariadb]\n{line}\n") == ("[mariadb]\n", [])


def test_plugins_that_accounts_and_tables_need_are_loaded() -> None:
    """And none that writes a log of its own, or judges passwords."""
    text, names = for_replay(
        "plugin-load-add = auth_ed25519\n"
        "plugin_load_add = server_audit.so\n"
        'plugin_load = "ed25519=auth_ed25519.so;simple_password_check;provider_lz4.so"\n'
        "plugin_maturity = beta\n"
    )
    assert text.splitlines() == [
        "plugin_load_add = auth_ed25519",
        "plugin_load = ed25519=auth_ed25519.so;provider_lz4.so",
        "plugin_maturity = beta",
    ]
    assert names == ["plugin_load_add", "plugin_load", "plugin_maturity"]


def test_libraries_are_told_apart_by_both_of_their_marks() -> None:
    text, _ = for_replay("plugin_load_add = auth_ed25519:server_audit;ha_sphinx.so\n")
    assert text == "plugin_load_add = auth_ed25519;ha_sphinx.so\n"
