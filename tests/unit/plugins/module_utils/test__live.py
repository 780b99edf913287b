# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _live
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, Document
from ansible_collections.stateful.galera.plugins.module_utils._observe import Names

NAMES = Names("demo", "db")
MADE = "with which the data of this cluster were made: MariaDB cannot use them with another value."


def _config(text: str) -> dict[str, Any]:
    return {"metadata": {"name": "demo-galera-config"}, "data": {"galera.cnf": f"[mariadb]\n{text}\n"}}


def _set(database: str = "", user: str = "", **status: int) -> dict[str, Any]:
    env = [{"name": "GALERA_MYSQL_DATABASE", "value": database}, {"name": "GALERA_MYSQL_USER", "value": user}]
    spec = {"initContainers": [{"name": "agent", "env": [{"name": "POD_NAME", "valueFrom": {}}, *env]}]}
    return {
        "metadata": {"name": "demo-galera"},
        "spec": {"replicas": 2, "template": {"spec": spec}},
        "status": {"readyReplicas": 2, "updatedReplicas": 2, **status},
    }


def _find(before: str, after: str, nodes: Any = None, wanted: Any = None, record: str = "{}") -> tuple[list[str], ...]:
    live = {
        ("ConfigMap", "demo-galera-config"): _config(before),
        ("ConfigMap", "demo-galera-state"): {"data": {"cluster": record}},
        ("StatefulSet", "demo-galera"): nodes or _set(),
    }
    changes = [Document("volumes", KINDS["ConfigMap"], _config(after))]
    changes += [Document("nodes", KINDS["StatefulSet"], wanted)] if wanted else []
    return _live.find(NAMES, live, changes)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("", "innodb_page_size = 8k", f"innodb_page_size=8k differs from the 16384 {MADE} Set innodb_page_size=16384;"),
        ("innodb_page_size = 8k", "", f"innodb_page_size is left out, which means 16384, differs from the 8k {MADE}"),
        ("innodb_page_size = 8k", "innodb_page_size = 4096", f"innodb_page_size=4096 differs from the 8k {MADE}"),
        ("", "loose_innodb-page-size = 8k", f"innodb_page_size=8k differs from the 16384 {MADE}"),
        ("", "lower_case_table_names = 1", f"lower_case_table_names=1 differs from the 0 {MADE}"),
        (
            "",
            'innodb_data_file_path = "i:10M"',
            f"innodb_data_file_path=i:10M differs from the ibdata1:12M:autoextend {MADE}",
        ),
    ],
)
def test_what_the_data_were_made_with_cannot_change(before: str, after: str, said: str) -> None:
    (problem,) = _find(before, after)[0]
    assert problem.startswith(f"galera_cluster_mycnf: {said}")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "innodb_page_size = 16K"),
        ("innodb_page_size = 8192", "innodb_page_size = 8k"),
        ("", "innodb_undo_tablespaces = 3"),
        ("innodb_data_file_path = i:10M", "innodb_data_file_path = 'i:10M'"),
    ],
)
def test_what_means_the_same_or_may_change(before: str, after: str) -> None:
    assert _find(before, after) == ([], [])


@pytest.mark.parametrize("status", [{"readyReplicas": 1}, {"updatedReplicas": 1}])
def test_a_value_with_which_a_node_does_not_serve_can_be_put_back(status: dict[str, int]) -> None:
    assert _find("innodb_page_size = 8k", "", _set(**status)) == ([], [])


def test_a_cluster_without_a_record_has_no_data() -> None:
    assert _find("", "innodb_page_size = 8k", _set(), _set("a"), record="") == ([], [])


def test_database_and_user_of_the_first_start() -> None:
    problems, (database, user) = _find("", "", _set("shop", "a$$b"), _set("store", "a$$c"))
    assert problems == []
    assert database == (
        "galera_mysql_database is now 'store' and was 'shop': it is read only when a cluster is made, so nothing is "
        "created or changed in the database of this one, although its nodes restart. Use CREATE DATABASE as root, or "
        "put the old value back."
    )
    assert user.startswith("galera_mysql_user is now 'a$c' and was 'a$b': ")
    assert "Use CREATE USER and GRANT as root" in user


def test_a_name_that_is_only_written_anew_is_the_same() -> None:
    assert _find("", "", _set("a$b"), _set("a$$b")) == ([], [])
