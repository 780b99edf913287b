# SPDX-License-Identifier: GPL-3.0-or-later
"""The public variables: spec, defaults, documentation and example inventories say the same."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager
from ansible_collections.stateful.galera.plugins.plugin_utils._formats import FORMATS, VOLUME_FORMATS
from ansible_collections.stateful.galera.plugins.plugin_utils._inventory import check
from ansible_collections.stateful.galera.plugins.plugin_utils._structures import STRUCTURES

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "galera"
OPTIONS: dict[str, Any] = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"][
    "options"
]
DEFAULTS_TEXT = (ROLE / "defaults/main.yml").read_text()
DEFAULTS: dict[str, Any] = yaml.safe_load(DEFAULTS_TEXT)
# The variables of inventories that are older than the collection; they keep their names for ever
OLDER = {
    "galera_cluster_name",
    "galera_cluster_namespace",
    "galera_cluster_docker_image",
    "galera_cluster_haproxy_docker_image",
    "galera_cluster_backup_agent_image",
    "galera_cluster_nodeport",
    "galera_target_datastore",
    "galera_vsphere_storage_class",
    "galera_cluster_volume_size",
    "galera_cluster_backup_volume_size",
    "galera_cluster_backup_log_volume_size",
    "galera_cluster_backup_nfs_server",
    "galera_cluster_backup_path",
    "galera_cluster_backup_retention_days",
    "galera_cluster_backup_incremental_interval",
    "galera_xtrabackup_password",
    "galera_mysql_user",
    "galera_mysql_password",
    "galera_mysql_root_password",
    "galera_mysql_database",
    "galera_cluster_backup_user",
    *(
        f"galera_cluster_{owner}_iscsi_{part}"
        for owner in ("seed", "node1", "node2", "node3")
        for part in ("targetportal", "iqn", "lun")
    ),
}


def test_defaults_are_those_of_the_spec() -> None:
    assert {name: option["default"] for name, option in OPTIONS.items() if "default" in option} == DEFAULTS


def test_defaults_tell_of_every_variable() -> None:
    """A variable without default stands there commented out; nodes after the first are told of together."""
    told = set(re.findall(r"^(?:# )?(galera_\w+):", DEFAULTS_TEXT, flags=re.MULTILINE))
    assert told == {name for name in OPTIONS if not re.match(r"galera_cluster_node[2-9]_", name)}


def test_defaults_pass_the_spec_and_the_check() -> None:
    variables = DEFAULTS | {"galera_cluster_name": "demo"}
    assert ArgumentSpecValidator(OPTIONS).validate(variables).error_messages == []
    assert check(variables, OPTIONS) == ([], [])


@pytest.mark.parametrize("name", OPTIONS)
def test_every_variable_is_described_in_sentences(name: str) -> None:
    description = OPTIONS[name]["description"]
    for paragraph in [description] if isinstance(description, str) else description:
        assert re.match(r"[A-Z0-9]", paragraph)
        assert paragraph.endswith(".")


def test_descriptions_name_variables_that_exist() -> None:
    named = set(re.findall(r"O\((\w+)[)=]", (ROLE / "meta/argument_specs.yml").read_text()))
    assert named
    assert named <= set(OPTIONS)


def test_every_format_belongs_to_a_variable_and_every_text_has_one() -> None:
    volumes = {f"galera_cluster_{owner}_{part}" for owner in ("seed", "node9") for part in VOLUME_FORMATS}
    assert set(FORMATS) | set(STRUCTURES) | volumes <= set(OPTIONS)
    free = {
        name
        for name, option in OPTIONS.items()
        if option["type"] != "bool"
        and "choices" not in option
        and not re.search("_(seed|node[1-9])_(iscsi|local)_", name)
    }
    assert free == set(FORMATS) | set(STRUCTURES)


def test_the_page_of_variables_is_up_to_date() -> None:
    generator = runpy.run_path(str(ROOT / "docs" / "generate_inventory.py"))
    page = generator["page"]((ROLE / "meta/argument_specs.yml").read_text())
    assert (ROOT / "docs" / "inventory.md").read_text() == page, "run docs/generate_inventory.py"


def test_the_page_has_every_variable() -> None:
    told = set(re.findall(r"^### `(.+)`$", (ROOT / "docs/inventory.md").read_text(), flags=re.MULTILINE))
    assert told == {re.sub("_node[1-9]_", "_node<N>_", name) for name in OPTIONS}


def variables(path: str) -> dict[str, dict[str, Any]]:
    """Return the galera_ variables of each host of an inventory, typed as Ansible reads them and with templates as "
    "they are."""
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(ROOT / "inventories" / path)])
    manager = VariableManager(loader=loader, inventory=inventory)
    return {
        host.name: {
            name: str(value).replace("{{ inventory_hostname }}", host.name) if isinstance(value, str) else value
            for name, value in manager.get_vars(host=host, include_hostvars=False).items()
            if name.startswith("galera_")
        }
        for host in inventory.get_hosts()
    }


EXAMPLES = {
    "local/galera.conf": {"localhost"},
    "examples/pks/galera.conf": {"localhost"},
    "examples/coreos/galera.conf": {"localhost"},
    "examples/fleet/galera.conf": {"orders", "billing", "sessions"},
}


@pytest.mark.parametrize(("path", "hosts"), EXAMPLES.items())
def test_example_inventories_are_right(path: str, hosts: set[str]) -> None:
    found = variables(path)
    assert set(found) == hosts
    for values in found.values():
        assert check(values, OPTIONS) == ([], [])


def test_every_inventory_is_tested() -> None:
    folder = ROOT / "inventories"
    assert {str(path.relative_to(folder)) for path in folder.rglob("galera.conf")} == set(EXAMPLES)


def test_the_examples_have_every_older_variable() -> None:
    told = {
        name for path in ("examples/pks", "examples/coreos") for name in variables(f"{path}/galera.conf")["localhost"]
    }
    assert told == OLDER
    assert set(OPTIONS) >= OLDER


def test_a_typical_host_of_the_fleet_has_what_it_sets_and_what_all_share() -> None:
    orders = variables("examples/fleet/galera.conf")["orders"]
    assert (orders["galera_cluster_name"], orders["galera_cluster_size"]) == ("orders", 5)
    assert orders["galera_cluster_storage_class"] == "fast"


def test_no_role_changes_a_variable_of_another_one() -> None:
    """But for those that are empty until there is a restore."""
    homes: dict[str, set[str]] = {}
    for path in sorted((ROOT / "roles").glob("*/*/main.yml")):
        if path.parent.name in ("vars", "defaults"):
            for name in yaml.safe_load(path.read_text()) or {}:
                homes.setdefault(name, set()).add(path.parts[-3])
    twice = {name: roles for name, roles in homes.items() if len(roles) > 1}
    both = {"galera", "galera_restore"}
    assert twice == {"__galera_restore_identity": both, "__galera_restore_uuid": both}
