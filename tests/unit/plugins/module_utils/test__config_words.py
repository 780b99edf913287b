# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _config_words
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, Document
from ansible_collections.stateful.galera.plugins.module_utils._observe import Names

NAMES = Names("demo", "db")
SET, CONFIG = ("StatefulSet", "demo-galera"), ("ConfigMap", "demo-galera-config")
BEFORE = '[mariadb]\nmax_connections = 100\nwsrep_provider_options = "gcache.size=1G; gcs.fc_limit=16"\n'
# as 11.8 wrote them
UNKNOWN = """2026-11-21 13:48:40 0 [Warning] Could not open mysql.plugin table: "x". Some options may be missing
2026-11-21 13:48:40 0 [ERROR] /usr/sbin/mariadbd: unknown variable 'max_conections=3'
2026-11-21 13:48:40 0 [ERROR] Aborting"""
SUFFIX = "2026-11-21 13:48:49 0 [ERROR] Unknown suffix 'x' used for variable 'innodb-io-capacity' (value '12x')"
PROVIDER = """2026-11-21 13:48:57 0 [ERROR] WSREP: Failed to parse parameter 'gcs.fc_limit': Invalid value 'abc'
2026-11-21 13:48:57 0 [ERROR] WSREP: wsrep::init() failed: 7, must shutdown
2026-11-21 13:48:57 0 [ERROR] Aborting"""
ADJUSTED = """galera check: started
2026-11-21 13:50:01 0 [Warning] option 'innodb-io-capacity': unsigned value 50 adjusted to 100
2026-11-21 13:50:01 0 [Warning] option 'old-one': unsigned value 50 adjusted to 100
2026-11-21 13:50:01 0 [Warning] CONNECT storage engine is missing"""


def _set(image: str = "mariadb:11.8", memory: str = "1Gi", checksum: str = "1") -> dict[str, Any]:
    container = {"name": "mariadb", "image": image, "resources": {"limits": {"memory": memory}}}
    template = {
        "metadata": {"annotations": {"stateful.galera/config-checksum": checksum}},
        "spec": {"containers": [container]},
    }
    return {"metadata": {"name": "demo-galera", "uid": "1"}, "spec": {"template": template}}


def _config(text: str) -> dict[str, Any]:
    return {"metadata": {"name": "demo-galera-config"}, "data": {"galera.cnf": text}}


def _wish(text: str = BEFORE, live_set: Any = None, **wanted: Any) -> _config_words.Wish | None:
    live = {SET: live_set or _set(), CONFIG: _config(BEFORE)}
    changes = [Document("nodes", KINDS["StatefulSet"], _set(**wanted))]
    if text != BEFORE:
        changes.append(Document("volumes", KINDS["ConfigMap"], _config(text)))
    return _config_words.find_wish(NAMES, live, changes)


@pytest.mark.parametrize(
    ("wanted", "tried"),
    [
        ({}, False),
        ({"text": BEFORE.replace("100", "200")}, True),
        ({"image": "mariadb:12"}, True),
        ({"memory": "2Gi"}, True),
        # an earlier run was killed between ConfigMap and StatefulSet
        ({"checksum": "2"}, True),
    ],
)
def test_what_is_tried(wanted: dict[str, Any], tried: bool) -> None:
    assert (_wish(**wanted) is not None) is tried


def test_nodes_that_are_not_there_are_tried_only_when_asked_for() -> None:
    changes = [
        Document("nodes", KINDS["StatefulSet"], _set()),
        Document("volumes", KINDS["ConfigMap"], _config(BEFORE)),
    ]
    assert _config_words.find_wish(NAMES, {}, changes) is None
    wish = _config_words.find_wish(NAMES, {}, changes, new=True)
    assert wish is not None
    assert _config_words.blame(wish, "gcs.fc_limit is bad").startswith(
        "galera_cluster_provider_options: gcs.fc_limit=16: MariaDB (mariadb:11.8) does not start with it"
    )
    assert _config_words.blame(wish, "x").startswith("The configuration of the nodes: MariaDB")


def test_other_changes_are_not_tried() -> None:
    changes = [Document("nodes", KINDS["Service"], {"metadata": {"name": "x"}})]
    live = {SET: _set(), CONFIG: _config(BEFORE)}
    assert _config_words.find_wish(NAMES, live, changes) is None


@pytest.mark.parametrize(
    ("text", "log", "said"),
    [
        (
            f"{BEFORE}max_conections = 3\n",
            UNKNOWN,
            "galera_cluster_mycnf: max_conections=3: MariaDB (mariadb:11.8) does not start with it: "
            "unknown variable 'max_conections=3'.",
        ),
        (
            f"{BEFORE}innodb_io_capacity = 12x\nback_log = 5\n",
            SUFFIX,
            "galera_cluster_mycnf: innodb_io_capacity=12x: MariaDB (mariadb:11.8) does not start with it: "
            "Unknown suffix 'x' used for variable 'innodb-io-capacity' (value '12x').",
        ),
        (
            BEFORE.replace("fc_limit=16", "fc_limit=abc"),
            PROVIDER,
            "galera_cluster_provider_options: gcs.fc_limit=abc: MariaDB (mariadb:11.8) does not start with it: "
            "WSREP: Failed to parse parameter 'gcs.fc_limit': Invalid value 'abc' WSREP: wsrep::init() failed: 7, "
            "must shutdown.",
        ),
        (
            BEFORE.replace("100", "200"),
            "2026-11-21 13:50:01 0 [ERROR] Something else",
            "galera_cluster_mycnf: max_connections=200: MariaDB (mariadb:11.8) does not start with it: Something else.",
        ),
    ],
)
def test_the_variable_its_value_and_the_servers_words(text: str, log: str, said: str) -> None:
    wish = _wish(text)
    assert wish is not None
    reason = _config_words.reason_in({"status": {"phase": "Failed"}}, log)
    assert _config_words.blame(wish, reason) == said


def test_image_and_resources_are_blamed_where_no_option_is_named() -> None:
    wish = _wish(image="mariadb:99", memory="300Mi")
    assert wish is not None
    said = _config_words.blame(wish, "x")
    assert said.startswith('galera_cluster_docker_image=mariadb:99 and galera_cluster_resources={"limits": {"memory"')


@pytest.mark.parametrize(
    ("status", "log", "said"),
    [
        ({"phase": "Succeeded"}, "galera check: started", ""),
        ({"phase": "Succeeded"}, "last\nwords", "last words"),
        ({"phase": "Failed"}, "", "it said nothing"),
        (
            {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled"}}}]},
            "",
            "it was killed because it needs more memory than its limit",
        ),
        ({"phase": "Failed", "reason": "DeadlineExceeded"}, "a\nb", "it was not ready in time; its last words: a b"),
    ],
)
def test_reason(status: dict[str, Any], log: str, said: str) -> None:
    assert _config_words.reason_in({"status": status}, log) == said


def test_only_news_are_warned_of() -> None:
    wish = _wish(f"{BEFORE}innodb_io_capacity = 50\n")
    assert wish is not None
    assert _config_words.warnings_in(wish, ADJUSTED) == [
        "MariaDB takes the wanted configuration, but says: "
        "option 'innodb-io-capacity': unsigned value 50 adjusted to 100"
    ]


@pytest.mark.parametrize(("size", "tried"), [("1G", "33554432"), ("2X", "2X")])
def test_large_cache_is_not_made_and_a_wrong_size_is_found(size: str, tried: str) -> None:
    wish = _wish(BEFORE.replace("gcache.size=1G", f"gcache.size={size}").replace("100", "101"))
    assert wish is not None
    assert f"gcache.size={tried}; gcs.fc_limit=16" in wish.check_text


@pytest.mark.parametrize(
    ("size", "tried"),
    [
        ("1073741824", "100663296"),
        ("512m", "100663296"),
        ("4G", "100663296"),
        ("100663296", "100663296"),
        ("64M", "64M"),
        ("1048576", "1048576"),
        ("1X", "1X"),
    ],
)
def test_large_redo_log_is_not_made(size: str, tried: str) -> None:
    """It would fill the machine, or pass the container's limit of ephemeral-storage, and the pod be evicted."""
    wish = _wish(f"{BEFORE}innodb_log_file_size = {size}\n")
    assert wish is not None
    assert f"innodb_log_file_size = {tried}\n" in wish.check_text
    assert wish.changed_options["innodb_log_file_size"] == size, "what is blamed is what was given"
