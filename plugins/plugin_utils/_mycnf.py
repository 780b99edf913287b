# SPDX-License-Identifier: GPL-3.0-or-later
"""Option files of MariaDB and options of the Galera provider.

They are written sorted, so that the order in an inventory restarts no node. Pure; private to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# The agent, the manifests and the other nodes rely on these
_OWNED = re.compile(
    r"datadir|socket|port|bind_address|pid_file|user|basedir|log_error|init_file|skip_networking|skip_grant(_tables)?"
    r"|binlog_format|innodb_autoinc_lock_mode|default_storage_engine"
    r"|wsrep_provider(_\w+)?|plugin_wsrep_provider"
    r"|wsrep_(on|cluster_address|cluster_name|new_cluster|recover|start_position|notify_cmd|data_home_dir)"
    r"|wsrep_node_\w+|wsrep_sst_\w+"
)
# With these a server loses what it has acknowledged: its files away from the volume, prepared transactions dropped
_LOSING = re.compile(r"innodb_(data_home_dir|log_group_home_dir|undo_directory)|aria_log_dir_path|tc_heuristic_recover")
_BINLOG = re.compile(r"log_bin(_index)?")
# Per-node addresses and paths, everything by which a node could come up on its own guess, and what moves the majority
_OWNED_PROVIDER = re.compile(
    r"base_(dir|host|port)|gcache\.(dir|name|recover)|gmcast\.(listen_addr|group|peer_addr)|ist\.recv_(addr|bind)"
    r"|pc\.(bootstrap|recovery|ignore_sb|ignore_quorum|npvo|weight|wait_prim|wait_restored_prim_timeout)"
)
_MODIFIERS = re.compile(r"^(loose|skip|enable|disable|maximum|autoset)_")


def option_name(name: str) -> str:
    """Return the name of a my.cnf option as the server compares it: dashes and underscores are the same."""
    return name.replace("-", "_")


def is_owned_option(name: str) -> bool:
    """Tell whether a my.cnf option is one that the collection sets, also behind a modifier such as loose_."""
    return _matches(_OWNED, name)


def loses_writes(name: str) -> bool:
    """Tell whether a my.cnf option takes data from the volume of the node, also behind a modifier such as loose_."""
    return _matches(_LOSING, name)


def is_binlog_path(name: str, value: Any) -> bool:
    """Tell whether an option puts the binary log into another directory than the data."""
    return _matches(_BINLOG, name) and "/" in str(value)


def _matches(options: re.Pattern[str], name: str) -> bool:
    plain = option_name(name)
    return bool(options.fullmatch(plain) or options.fullmatch(_MODIFIERS.sub("", plain)))


def is_owned_provider_option(name: str) -> bool:
    """Tell whether an option of the Galera provider is one that the collection sets."""
    return bool(_OWNED_PROVIDER.fullmatch(name))


def mycnf(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of an option file.

    sections: {"mariadb": {"max_connections": 500, ...}, ...}. Sections and options are sorted; of two spellings of one
    option the later counts. Booleans become ON and OFF. Text in quotes is written as it is, other text so that the
    server reads what was given.
    """
    blocks = []
    for section in sorted(sections):
        options = {option_name(name): value for name, value in sections[section].items()}
        lines = [f"{name} = {_option_value(name, options[name])}" for name in sorted(options)]
        blocks.append("\n".join([f"[{section}]", *lines]) + "\n")
    return "\n".join(blocks)


def _option_value(name: str, value: Any) -> str:
    """Return the value as it stands in an option file. Anything but text, numbers and booleans is a ValueError."""
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    if isinstance(value, (int, float)):
        return str(value)
    if not isinstance(value, str) or re.search(r"[\x00-\x1f]", value):
        raise ValueError(f"{name} is {value!r}, but must be a number, a boolean or text in one line")
    if re.fullmatch(r"\"[^\"]*\"|'[^']*'", value):
        return str(value)
    if re.search(r"[#\\\"']|^\s|\s$", value):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def provider_options(options: Mapping[str, Any]) -> str:
    """Return {"gcs.fc_limit": 16, "gcache.size": "1G"} as "gcache.size=1G; gcs.fc_limit=16", booleans as yes and no."""
    return "; ".join(f"{name}={_provider_value(name, options[name])}" for name in sorted(options))


def _provider_value(name: str, value: Any) -> str:
    """Return the value as the provider reads it. What would end the option or its quotes is a ValueError."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, (str, int, float)) or re.search(r"[;=\"'\\\s]", str(value)):
        raise ValueError(
            f"{name} is {value!r}, but must be a number, a boolean or text without blanks, quotes, ; and ="
        )
    return str(value)
