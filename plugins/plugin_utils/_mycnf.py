# SPDX-License-Identifier: GPL-3.0-or-later
"""Option files of MariaDB and options of the Galera provider.

They are written sorted, so that the order in an inventory restarts no node. Pure; private to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# The agent, the manifests and the other nodes rely on these; what ends with _ stands for all that begin with it
_OWNED = (
    "basedir",
    "bind_address",
    "binlog_format",
    "datadir",
    "default_storage_engine",
    "init_file",
    "innodb_autoinc_lock_mode",
    "log_basename",
    "log_error",
    "pid_file",
    "plugin_wsrep_provider",
    "port",
    "skip_grant_tables",
    "skip_networking",
    "socket",
    "user",
    "wsrep_cluster_address",
    "wsrep_cluster_name",
    "wsrep_data_home_dir",
    "wsrep_new_cluster",
    "wsrep_node_",
    "wsrep_notify_cmd",
    "wsrep_on",
    "wsrep_provider",
    "wsrep_provider_",
    "wsrep_recover",
    "wsrep_sst_",
    "wsrep_start_position",
)
# With these a server loses what it has acknowledged: its files away from the volume, prepared transactions dropped
_LOSING = (
    "aria_log_dir_path",
    "innodb_data_home_dir",
    "innodb_log_group_home_dir",
    "innodb_undo_directory",
    "tc_heuristic_recover",
)
_BINLOG = ("log_bin", "log_bin_index")
# Options of the server that begin as one of the above does, and are none of them
_WHOLE = frozenset({"aria", "innodb", "wsrep"})
# Per-node addresses and paths, everything by which a node could come up on its own guess, and what moves the majority
_OWNED_PROVIDER = re.compile(
    r"base_(dir|host|port)|gcache\.(dir|name|recover)|gmcast\.(listen_addr|group|peer_addr)|ist\.recv_(addr|bind)"
    r"|pc\.(bootstrap|recovery|ignore_sb|ignore_quorum|npvo|weight|wait_prim|wait_restored_prim_timeout)"
)
_MODIFIERS = re.compile(r"^(loose|skip|enable|disable|maximum|autoset)_")


def option_name(name: str) -> str:
    """Return the name of a my.cnf option as the server compares it: dashes and underscores are the same."""
    return name.replace("-", "_")


def meant(name: str, options: Iterable[str]) -> str:
    """Return which of the options a name in my.cnf stands for, "" for none.

    The server takes modifiers before it, such as loose_, also several, and the beginning of a name for the whole.
    options: names; one that ends with _ stands for all that begin with it.
    """
    plain, known = option_name(name), sorted(options)
    while plain not in _WHOLE:
        for option in known:
            if option.startswith(plain) or (option.endswith("_") and plain.startswith(option)):
                return plain if option.endswith("_") else option
        rest = _MODIFIERS.sub("", plain)
        if rest == plain:
            break
        plain = rest
    return ""


def is_negated(name: str) -> bool:
    """Tell whether a modifier of the name turns the option off: skip_log_bin, loose_disable_log_bin."""
    return bool(re.match(r"(?:(?:loose|enable|maximum|autoset)_)*(?:skip|disable)_", option_name(name)))


def owned_option(name: str) -> str:
    """Return the option that a name in my.cnf stands for if the collection sets it, else ""."""
    return meant(name, _OWNED)


def loses_writes(name: str) -> bool:
    """Tell whether a my.cnf option takes data from the volume of the node."""
    return bool(meant(name, _LOSING))


def is_binlog_path(name: str, value: Any) -> bool:
    """Tell whether an option puts the binary log into another directory than the data."""
    return "/" in str(value) and bool(meant(name, _BINLOG))


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
