#!/usr/bin/python
# Copyright (c) stateful.galera maintainers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write into the ConfigMap in which a Galera cluster keeps its state."""

from __future__ import annotations

DOCUMENTATION = r"""
module: state
short_description: Write into the ConfigMap in which a Galera cluster keeps its state
version_added: 1.0.0
description:
  - Sets and removes annotations and keys of the ConfigMap C(<name>-galera-state), which holds the record of the cluster
    and of its restores, or of C(<name>-galera-backup-state), with O(of=backups). What is not named stays as it is.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - stateful.galera.attributes
  - stateful.galera.attributes.actiongroup_galera
  - stateful.galera.target
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows the annotations and keys that are set or removed.
  idempotent:
    support: full
options:
  of:
    description:
      - Whose state it is, that of the cluster or that of its backups.
    type: str
    choices: [cluster, backups]
    default: cluster
  annotations:
    description:
      - Texts by the names of annotations; null removes one.
    type: dict
    default: {}
  data:
    description:
      - Texts by keys of the ConfigMap; null removes one.
    type: dict
    default: {}
  required:
    description:
      - Whether to fail where the ConfigMap does not exist. Else nothing is done then.
    type: bool
    default: true
  held:
    description:
      - Whether this run must hold the Lease of the cluster, as M(stateful.galera.lease) takes it. With it nothing is
        written where the Lease has expired and another run has taken it.
    type: bool
    default: false
seealso:
  - module: stateful.galera.lease
  - module: stateful.galera.objects
author:
  - stateful.galera maintainers (@stateful)
"""

EXAMPLES = r"""
- name: Have the agents look at the targets of backups
  stateful.galera.state:
    name: tier1
    namespace: web
    of: backups
    data:
      look: "{{ now(utc=true).isoformat() }}"
"""

RETURN = r"""
data:
  description: The keys of the ConfigMap after it; in check mode as they would be.
  type: dict
  returned: success
  sample: {look: "2026-11-21T13:23:00.000000Z"}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stateful.galera.plugins.module_utils import _backups
from ansible_collections.stateful.galera.plugins.module_utils._argspec import argument_spec, run, target
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS
from ansible_collections.stateful.galera.plugins.module_utils._site_lease import SiteLease

STATE_SPEC: dict[str, t.Any] = {
    "of": {"type": "str", "choices": ["cluster", "backups"], "default": "cluster"},
    "annotations": {"type": "dict", "default": {}},
    "data": {"type": "dict", "default": {}},
    "required": {"type": "bool", "default": True},
    "held": {"type": "bool", "default": False},
}
_MAP = KINDS["ConfigMap"]


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Write what differs. Raises GaleraError."""
    names, params = target(module), module.params
    client = Client(params)
    name = names.state if params["of"] == "cluster" else _backups.state_name(names.name)
    wanted = {"annotations": _texts(params, "annotations"), "data": _texts(params, "data")}
    lease = SiteLease(client, names)
    try:
        if params["held"] and not module.check_mode and not lease.adopt():
            raise GaleraError(
                f"This run does not hold the Lease {names.site_lease} any more: another one may be changing the "
                f"cluster {names.namespace}/{names.name}. The ConfigMap {name} was not changed: run again."
            )
        live = client.get(_MAP, name, names.namespace)
        if live is None and not params["required"]:
            return {"changed": False, "data": {}}
        if live is None:
            raise GaleraError(f"There is no ConfigMap {name} in namespace {names.namespace}: nothing was changed.")
        before = {"annotations": live["metadata"].get("annotations") or {}, "data": live.get("data") or {}}
        changes = {
            part: {key: text for key, text in texts.items() if before[part].get(key) != text}
            for part, texts in wanted.items()
        }
        after = {part: _after(before[part], changes[part]) for part in before}
        changed = any(changes.values())
        if changed and not module.check_mode:
            lease.check()
            body = {"metadata": {"annotations": changes["annotations"]}, "data": changes["data"]}
            live = client.merge(_MAP.path(names.namespace, name), body, f"The ConfigMap {name} was not changed")
            after["data"] = live.get("data") or {}
    finally:
        lease.leave(keep=True)
    return {
        "changed": changed,
        "data": after["data"],
        "diff": {"before": _named(before, changes), "after": _named(after, changes)},
    }


def _texts(params: t.Mapping[str, t.Any], option: str) -> dict[str, str | None]:
    """An option with texts as values. Raises GaleraError for any other value: Kubernetes would refuse it."""
    for key, value in params[option].items():
        if value is not None and not isinstance(value, str):
            raise GaleraError(f"{option}: {key} is {value!r}; allowed: a text, or null to remove it.")
    return params[option]


def _after(before: t.Mapping[str, str], changes: t.Mapping[str, str | None]) -> dict[str, str]:
    merged = {**before, **changes}
    return {key: text for key, text in merged.items() if text is not None}


def _named(state: t.Mapping[str, t.Mapping[str, str]], changes: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What is set or removed, of a state."""
    return {part: {key: state[part][key] for key in changes[part] if key in state[part]} for part in state}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(STATE_SPEC), supports_check_mode=True)
    run(module, work)


if __name__ == "__main__":
    main()
