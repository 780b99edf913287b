#!/usr/bin/python
# Copyright (c) stateful.galera maintainers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""List the backups of a Galera cluster, and what can be restored."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: List the backups of a Galera cluster, and what can be restored
version_added: 1.0.0
description:
  - Tells of each backup its kind, age, chain, size, targets, verification and problems, and the intervals of time that
    can be restored.
  - Without O(job) it reads what the agent that leads the backups has published last, which takes one request and works
    also while the cluster is down; RV(time) says how old that is.
  - With O(job) a Job reads the targets themselves, whether or not there is a cluster. It needs the claims, the
    ConfigMap, the Secret and the service account that the Job names, and fails at once where one is missing.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - stateful.galera.attributes
  - stateful.galera.attributes.actiongroup_galera
  - stateful.galera.attributes.info_module
  - stateful.galera.target
options:
  job:
    description:
      - YAML text of the Job that lists the targets; the role P(stateful.galera.galera#role) gives it as
        C(__galera_documents.backup_list_job).
    type: str
  wait_timeout:
    description:
      - Seconds to wait for the Job at most.
    type: int
    default: 300
seealso:
  - module: stateful.galera.backup
  - module: stateful.galera.restore
author:
  - stateful.galera maintainers (@stateful)
"""

EXAMPLES = r"""
- name: See which backups there are
  stateful.galera.backup_info:
    name: tier1
    namespace: web
  register: found

- name: Require a backup of the last day that has passed a trial restore
  ansible.builtin.assert:
    that: found.backups | selectattr('verified') | selectattr('age_seconds', '<', 86400) | length > 0
"""

RETURN = r"""
time:
  description: When the targets were read.
  type: str
  returned: success
  sample: "2026-11-21T13:25:00Z"
leader:
  description: Pod whose agent leads the backups, null where O(job) was given.
  type: str
  returned: success
  sample: tier1-galera-2
next:
  description: When the next backup is due, null where it is not known.
  type: str
  returned: success
  sample: "2026-11-22T01:00:00Z"
last:
  description: >-
    The last backup or verification that was tried, {command, state, message, time, backup}; empty where none was.
  type: dict
  returned: success
  sample: {"command": "tick", "state": "succeeded", "backup": "20261121T132300Z-full"}
archive:
  description: How the archive of binary logs is, {state, last, message, time}; empty where there is none.
  type: dict
  returned: success
  sample: {"state": "succeeded", "last": 4711}
backups:
  description:
    - The backups, oldest first. Each has C(name), C(kind), C(parent), C(started), C(finished), C(age_seconds), C(size)
      and C(data_bytes) in bytes, C(node), C(uuid), C(seqno), C(gtid), C(encrypted), C(targets), C(chain) (names from
      the full backup to it), C(verified) (true, false where its trial restore failed, null where there was none) and
      C(problem) (why it cannot be restored, else null).
  type: list
  elements: dict
  returned: success
  sample: [{"name": "20261121T132300Z-full", "kind": "full", "verified": true, "problem": null}]
intervals:
  description: Times that can be restored, C(since) and C(until), with C(target) and C(backup).
  type: list
  elements: dict
  returned: success
  sample: [{"target": "volume /backups", "since": "2026-11-21T13:23:31Z", "until": "2026-11-21T13:25:00Z"}]
holes:
  description: Times in between that cannot be restored, C(since), C(until) and C(target).
  type: list
  elements: dict
  returned: success
  sample: []
expiring:
  description:
    - Backups that retention lets go with the next backup, C(target), C(name) and C(reason), by the settings that the
      agents have. Nothing is deleted before.
  type: list
  elements: dict
  returned: success
  sample:
    - {target: volume /backups, name: 20261113T010000Z-full, reason: "is 8 days old, and no rule keeps it"}
problems:
  description: What is wrong with the targets, and what the agents tried last in vain, one sentence each.
  type: list
  elements: str
  returned: success
  sample: []
targets:
  description: The targets, with C(target), C(owner) and C(error), which is null where it can be read.
  type: list
  elements: dict
  returned: success
  sample: [{"target": "s3://backups/web/tier1", "error": null}]
table:
  description: Backups, intervals and what will expire as lines of text.
  type: list
  elements: str
  returned: success
  sample: ["name  age  size  chain  verified  problem  targets"]
"""

import datetime
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stateful.galera.plugins.module_utils import _backups
from ansible_collections.stateful.galera.plugins.module_utils._argspec import argument_spec, run, target
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._jobs import Runner, require_parts
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, read_document

INFO_SPEC: dict[str, t.Any] = {"job": {"type": "str"}, "wait_timeout": {"type": "int", "default": 300}}


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Read what is published, or have a Job read the targets. Raises GaleraError."""
    names, params = target(module), module.params
    client = Client(params)
    refused = outdated = ""
    if params["job"] and not module.check_mode:
        job = read_document(params["job"], "list", names.namespace)
        require_parts(client, job)
        log = Runner(client, job, params["wait_timeout"]).run(True).log
        published: dict[str, t.Any] = {"catalog": _backups.last_report(log).get("catalog")}
    else:
        state = client.get(KINDS["ConfigMap"], _backups.state_name(names.name), names.namespace)
        published = _backups.document(state, "catalog")
        refused = _backups.refused(state)
        settings = client.get(KINDS["ConfigMap"], _backups.settings_name(names.name), names.namespace)
        outdated = _backups.outdated(published, settings)
    if not published.get("catalog"):
        map_name = _backups.state_name(names.name)
        said = refused or "; ".join(_backups.failures(published))
        why = said or f"they tell once a node is Synced, and {map_name} has no catalog yet"
        raise GaleraError(
            f"No agent of the cluster {names.name} has told of its backups: {why}. To read the targets without a "
            "cluster, give job (galera_backup_info_job=true with the playbook)."
        )
    found = _backups.facts(published["catalog"], datetime.datetime.now(datetime.UTC))
    found["problems"] = [
        *(one for one in (refused, outdated) if one),
        *_backups.failures(published),
        *found["problems"],
    ]
    return {
        "changed": False,
        "leader": published.get("leader"),
        "next": published.get("next"),
        "last": published.get("last") or {},
        "archive": published.get("archive") or {},
        **found,
        "table": _backups.table(found["backups"], found["intervals"], found["expiring"]),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(INFO_SPEC), supports_check_mode=True)
    run(module, work)


if __name__ == "__main__":
    main()
