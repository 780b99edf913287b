# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What cannot change, or changes nothing, once a cluster has data. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils._config_words import options, text_of

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Document, Manifest
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Names

# what the data directory is made with, and MariaDB's own value
_FROZEN = {
    "innodb_page_size": "16384",
    "innodb_data_file_path": "ibdata1:12M:autoextend",
    "lower_case_table_names": "0",
}
_FIRST_START = {
    "GALERA_MYSQL_DATABASE": ("galera_mysql_database", "CREATE DATABASE"),
    "GALERA_MYSQL_USER": ("galera_mysql_user", "CREATE USER and GRANT"),
}


def find(
    names: Names, live: t.Mapping[tuple[str, str], Manifest], changes: t.Sequence[Document]
) -> tuple[list[str], list[str]]:
    """Problems and warnings, none for a cluster that was never bootstrapped. live: the objects by kind and name."""
    nodes, config = ("StatefulSet", names.nodes), ("ConfigMap", names.config)
    record = ((live.get(("ConfigMap", names.state)) or {}).get("data") or {}).get("cluster")
    sent = {document.key: document.manifest for document in changes}
    if not record or nodes not in live:
        return [], []
    problems, warnings = [], []
    if config in sent and config in live and _all_run(live[nodes]):
        problems = frozen(text_of(live[config]), text_of(sent[config]))
    if nodes in sent:
        warnings = in_vain(live[nodes], sent[nodes])
    return problems, warnings


def frozen(live_text: str, text: str) -> list[str]:
    """Options of my.cnf with which no server starts on data that were made with other ones."""
    before, after = _plain(options(live_text)), _plain(options(text))
    problems = []
    for name, default in _FROZEN.items():
        old, new = before.get(name, default), after.get(name, default)
        if _meaning(old) != _meaning(new):
            given = f"={after[name]}" if name in after else f" is left out, which means {default},"
            problems.append(
                f"galera_cluster_mycnf: {name}{given} differs from the {old} with which the data of this cluster were "
                f"made: MariaDB cannot use them with another value. Set {name}={old}; for another value, make a new "
                f"cluster and load a dump into it."
            )
    return problems


def _all_run(nodes: Manifest) -> bool:
    """Whether each node serves in the live form: one that does not may be the very victim of the live my.cnf."""
    wanted, status = int(nodes["spec"].get("replicas", 1)), nodes.get("status") or {}
    return int(status.get("readyReplicas", 0)) >= wanted and int(status.get("updatedReplicas", wanted)) >= wanted


def _plain(found: t.Mapping[str, str]) -> dict[str, str]:
    return {re.sub("^loose_", "", name.replace("-", "_")): value.strip("\"'") for name, value in found.items()}


def _meaning(value: str) -> str | int:
    match = re.fullmatch(r"([0-9]+)([kmg]?)", value.lower())
    return value if match is None else int(match[1]) * 1024 ** " kmg".index(match[2] or " ")


def in_vain(live: Manifest, wanted: Manifest) -> list[str]:
    """Database and user of the first start, where another one is asked for."""
    before, after = _environment(live), _environment(wanted)
    warnings = []
    for key, (variable, statement) in _FIRST_START.items():
        old, new = before.get(key, ""), after.get(key, "")
        if old != new:
            warnings.append(
                f"{variable} is now {new!r} and was {old!r}: it is read only when a cluster is made, so nothing is "
                f"created or changed in the database of this one, although its nodes restart. Use {statement} as root, "
                f"or put the old value back."
            )
    return warnings


def _environment(stateful_set: Manifest) -> dict[str, str]:
    """Values of the agent's environment, as it gets them: Kubernetes makes $ of $$."""
    spec = (stateful_set["spec"].get("template") or {}).get("spec") or {}
    agent: Manifest = next((each for each in spec.get("initContainers") or [] if each.get("name") == "agent"), {})
    return {each["name"]: str(each.get("value") or "").replace("$$", "$") for each in agent.get("env") or []}
