# SPDX-License-Identifier: GPL-3.0-or-later
"""The action stateful.galera.validate: checks the inventory variables of a cluster in the process of the play."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail, AnsibleError, AnsibleValueOmittedError
from ansible.plugins.action import ActionBase
from ansible_collections.stateful.galera.plugins.module_utils._errors import and_list
from ansible_collections.stateful.galera.plugins.plugin_utils._convert import show
from ansible_collections.stateful.galera.plugins.plugin_utils._inventory import PREFIX, check

_IDENTITY = (
    "galera_cluster_name",
    "galera_cluster_namespace",
    "galera_cluster_kubeconfig",
    "galera_cluster_context",
)
_ROLES = Path(__file__).parents[2] / "roles"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _read(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_bytes(), Loader=_LOADER) or {}  # a safe loader either way


def read_options(path: Path) -> dict[str, Any]:
    """Return the options of all entry points of an argument spec file, by name. Raises OSError and YAMLError."""
    specs = _read(path)["argument_specs"].values()
    return {name: option for spec in specs for name, option in spec.get("options", {}).items()}


def read_spec(roles: Path = _ROLES) -> tuple[dict[str, Any], set[str]]:
    """Return the options that are checked, and the names of the variables of other roles that are not.

    Checked are all of the role galera, and those of others that are true or false or a path: a role at the end of
    a play must not find out then that one is none.
    """
    options = read_options(roles / "galera" / "meta" / "argument_specs.yml")
    others: dict[str, Any] = {}
    for path in roles.glob("galera_*/meta/argument_specs.yml"):
        others |= read_options(path)
    options = {name: option for name, option in others.items() if option.get("type") in ("bool", "path")} | options
    names = {name for path in roles.glob("galera_*/defaults/main.yml") for name in _read(path)}
    return options, (names | set(others)) - set(options)


def unwritable(values: Mapping[str, Any]) -> list[str]:
    """Return a line where the file of the status, which is written at the end of a play, cannot be."""
    path = values.get("galera_status_output")
    if not path or not isinstance(path, str):
        return []
    file = Path(path).expanduser()
    if not file.parent.is_dir():
        lacks = f"there is no folder {file.parent}"
    elif file.is_dir() or path.endswith("/"):
        lacks = "this is a folder"
    elif not os.access(file.parent, os.W_OK):
        lacks = f"nothing may be written into {file.parent}"
    else:
        return []
    return [f"galera_status_output is {show(path)}, but must be a file in a folder that exists: {lacks}."]


def _identity(values: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, str]:
    """Return what tells one cluster from another, by variable."""
    found = {name: values.get(name) or options.get(name, {}).get("default") or "" for name in _IDENTITY}
    path = str(found["galera_cluster_kubeconfig"])
    found["galera_cluster_kubeconfig"] = os.path.realpath(os.path.expanduser(path)) if path else ""
    return {name: str(value) for name, value in found.items()}


class ActionModule(ActionBase):
    """Checks variables; runs no module and needs no connection."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what is wrong with the variables as one message, one line a problem, or that nothing is."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        try:
            options, others = read_spec()
        except (OSError, yaml.YAMLError) as error:
            raise AnsibleActionFail(f"cannot read the list of variables of the collection: {error}") from error
        names = [name for name in task_vars or {} if name.startswith(PREFIX) and name not in others]
        values, broken = self._templated(names, options, task_vars or {})
        found, warnings = check(values, options)
        errors = [*broken.values(), *(line for line in found if line.split(" ")[0] not in broken)]
        errors += unwritable(values)
        errors += self._twins(values, options, task_vars or {})
        result.update(changed=False, warnings=warnings)
        if errors:
            result.update(failed=True, msg="\n".join(sorted(errors)))
        return result

    @staticmethod
    def _twins(values: Mapping[str, Any], options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> list[str]:
        """Return a line where other hosts of the play mean the same cluster: their runs do not hold each other off."""
        host = task_vars.get("inventory_hostname")
        mine = _identity(values, options)
        if not mine["galera_cluster_name"]:
            return []
        twins = []
        for other in task_vars.get("ansible_play_hosts_all") or []:
            if other == host:
                continue
            try:
                same = _identity(task_vars["hostvars"][other], options) == mine
            except AnsibleError:
                continue  # that host's own check tells it
            twins += [other] if same else []
        if not twins:
            return []
        hosts = and_list(sorted(map(str, [host, *twins])))
        return [
            f"galera_cluster_name is {show(mine['galera_cluster_name'])} and galera_cluster_namespace "
            f"{show(mine['galera_cluster_namespace'])} for the hosts {hosts}, but each host of an inventory must mean "
            f"a cluster of its own: give them different names, namespaces, galera_cluster_context or "
            f"galera_cluster_kubeconfig, or leave one out."
        ]

    def _templated(
        self, names: list[str], options: Mapping[str, Any], task_vars: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the values of the variables, and a line for each whose template cannot be evaluated, both by name."""
        values: dict[str, Any] = {}
        broken: dict[str, str] = {}
        for name in names:
            try:
                values[name] = self._templar.template(task_vars[name])
            except AnsibleValueOmittedError:
                continue
            except AnsibleError as error:
                reason = str(error).splitlines()[0].rstrip(".")
                if options.get(name, {}).get("no_log"):
                    # the reason quotes words of the template, which may be the password itself
                    reason = "its template is wrong; {{, {% and {# in a password must stand in {% raw %}...{% endraw %}"
                broken[name] = f"{name} cannot be evaluated: {reason}."
        return values, broken
