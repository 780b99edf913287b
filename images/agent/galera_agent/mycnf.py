# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the cluster's my.cnf with which a server that replays does what a node has done. Pure."""

from __future__ import annotations

import re

# Named is what is taken, not what is left out: of all others many would end a replay (limits, waits, files and sockets
# that only a node has, read_only, autocommit, secure_timestamp), what is new would be among them, and one that is
# missing here leaves a statement as MariaDB means it. What ends with _ stands for all that begin with it.
_TAKEN = (
    "allow_suspicious_udfs",
    "block_encryption_mode",
    "character_set_collations",
    "character_set_filesystem",
    "character_set_server",
    "collation_server",
    "default_regex_flags",
    "default_storage_engine",
    "default_time_zone",
    "default_tmp_storage_engine",
    "default_week_format",
    "div_precision_increment",
    "enforce_storage_engine",
    "explicit_defaults_for_timestamp",
    "ft_",
    "group_concat_max_len",
    "innodb_compression_algorithm",
    "innodb_compression_default",
    "innodb_compression_level",
    "innodb_default_row_format",
    "innodb_file_per_table",
    "innodb_ft_",
    "lower_case_table_names",
    "max_heap_table_size",
    "max_recursive_iterations",
    "max_sort_length",
    "max_sp_recursion_depth",
    "mhnsw_default_",
    "mysql56_temporal_format",
    "old",
    "old_mode",
    "old_passwords",
    "plugin_load",
    "plugin_load_add",
    "plugin_maturity",
    "storage_engine",
    "sysdate_is_now",
)
# Of these some are memory, and one is a file.
_NOT_TAKEN = frozenset(
    ("ft_stopword_file", "innodb_ft_cache_size", "innodb_ft_total_cache_size", "innodb_ft_result_cache_limit")
)
# Accounts, tables and statements need these. Others write logs, listen, call out, judge passwords or want a key.
_PLUGINS = ("auth_", "func_", "ha_", "provider_", "type_")
_MODIFIERS = re.compile(r"^(loose|skip|enable|disable|maximum|autoset)_")


def for_replay(text: str) -> tuple[str, list[str]]:
    """Of the text of an option file the part that is taken, and the names of its options."""
    lines, names = [], []
    for line in (one.strip() for one in text.splitlines()):
        given, equals, value = line.partition("=")
        option = given.strip().replace("-", "_")
        if line.startswith("["):
            lines.append(line)
        elif name := _taken(option):
            if name.startswith("plugin_load"):
                value = _plugins(value)
                if not value:
                    continue
            lines.append(f"{option} = {value.strip()}" if equals else option)
            names.append(option)
    return "\n".join([*lines, ""]), names


def _taken(option: str) -> str:
    """Which of the above an option is, as the server reads it: behind modifiers, and by the beginning of its name."""
    while option and option not in ("innodb", "aria"):
        if option in _NOT_TAKEN:
            return ""
        for one in _TAKEN:
            if option == one or one.startswith(option) or (one.endswith("_") and option.startswith(one)):
                return one
        rest = _MODIFIERS.sub("", option)
        if rest == option:
            break
        option = rest
    return ""


def _plugins(value: str) -> str:
    """Of a list of libraries, each perhaps behind `name=`, those that are taken."""
    found = (one.strip() for one in re.split("[;:]", value.strip().strip("\"'")))
    return ";".join(one for one in found if one.rpartition("=")[2].startswith(_PLUGINS))
