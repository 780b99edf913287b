#!/usr/bin/python
# Copyright (c) stateful.galera maintainers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the Job that restores a backup, or one that verifies one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restore
short_description: Run the Job that restores a backup of a Galera cluster
version_added: 1.0.0
description:
  - Applies what the Job needs and the Job, waits for its end, and tells apart whether it succeeded, failed (with its
    last words), or has not ended in time.
  - A Job that is there already and does the same is not run again, but waited for; so the module may be killed at any
    moment and run again. One that failed or does something else is replaced, unless it runs.
  - Removes the Job that is replaced before it applies anything, and waits until a claim that is being deleted is gone.
  - The Job refuses a volume that is not empty, a backup that is damaged, incomplete, newer than its MariaDB or
    encrypted for another key, and a point in time that is not archived, before it writes anything.
  - Also runs a trial restore, with O(again=true).
  - Fails before it applies anything where a claim, a ConfigMap, a Secret or the service account that the Job uses does
    not exist.
  - Shows the log of the Job while it runs, and why its pod has not started, where it works in the process of the play
    (connection local, the play's own Python, no C(async)).
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - stateful.galera.attributes
  - stateful.galera.attributes.actiongroup_galera
  - stateful.galera.target
attributes:
  check_mode:
    support: full
    details:
      - Says in RV(message) what would be done. Whether the backup can be restored is only known to the Job.
  diff_mode:
    support: none
    details:
      - RV(log) says what was done.
  idempotent:
    support: partial
    details:
      - With O(again=false), a second run does nothing.
options:
  documents:
    description:
      - YAML texts of one object each, what the Job needs (claims, ConfigMaps) and the Job, which is the last one.
      - The role P(stateful.galera.galera#role) gives them as C(__galera_documents.restore_job).
    type: list
    elements: str
    required: true
  again:
    description:
      - Whether a Job that has ended well is run once more.
    type: bool
    default: false
  remove:
    description:
      - Whether a Job that has ended is removed, well or not. Its pod would keep the claims that it used from being
        deleted, and so the seed from being decommissioned. The last words of one that failed are in the message.
    type: bool
    default: false
  settings:
    description:
      - Names of variables by the names of the settings of the Job that they give. What the Job says of a setting is
        shown with the name of its variable.
    type: dict
    default: {}
  wait_timeout:
    description:
      - Seconds to wait at most. The Job goes on when they are over; running the module again waits for it.
    type: int
    default: 21600
seealso:
  - module: stateful.galera.backup_info
author:
  - stateful.galera maintainers (@stateful)
"""

EXAMPLES = r"""
- name: Restore a backup into the volume of the seed
  stateful.galera.restore:
    name: tier1
    namespace: web
    documents:
      - "{{ lookup('ansible.builtin.template', 'seed_claim.yml.j2') }}"
      - "{{ lookup('ansible.builtin.template', 'restore_job.yml.j2') }}"
"""

RETURN = r"""
message:
  description: The last line that the Job said, of a JSON object its message; or what would be done.
  type: str
  returned: success
  sample: "restored 20261121T132300Z-full into /target/data, as the new cluster 5ff0b4a2-...: the seed can start"
log:
  description: The last lines of the log of the Job.
  type: list
  elements: str
  returned: success
  sample: ["2026-11-21T13:40:00Z unpacks 20261121T132300Z-full: 412.5 MiB of volume /backups"]
"""

import re
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stateful.galera.plugins.module_utils import _converge
from ansible_collections.stateful.galera.plugins.module_utils._argspec import argument_spec, run, target, teller
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError, and_list
from ansible_collections.stateful.galera.plugins.module_utils._jobs import Runner, plain, require_parts, users_of
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, read_document

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Document

# The claim of a pod that stops is gone within its grace time
_CLAIM_SECONDS = 120.0
_LOOK_SECONDS = 0.5
RESTORE_SPEC: dict[str, t.Any] = {
    "documents": {"type": "list", "elements": "str", "required": True},
    "again": {"type": "bool", "default": False},
    "remove": {"type": "bool", "default": False},
    "settings": {"type": "dict", "default": {}},
    "wait_timeout": {"type": "int", "default": 21600},
}


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Apply and wait. Raises GaleraError."""
    names, params = target(module), module.params
    documents = [read_document(text, "restore", names.namespace) for text in params["documents"]]
    if not documents or documents[-1].kind.kind != "Job":
        raise GaleraError("The last of documents must be a Job. Nothing was changed.")
    client = Client(params)
    *needed, job = documents
    tell, settings = teller(module), params["settings"]
    runner = Runner(client, job, params["wait_timeout"], tell and (lambda line: tell(_named(line, settings))))
    step = runner.step(params["again"])
    if module.check_mode:
        said = {"nothing": f"{job} has ended well already.", "wait": f"Would wait for {job}, which runs."}
        log = runner.log() if step == "nothing" else ()
        return {"changed": step != "nothing", "message": said.get(step, f"Would run {job}."), "log": list(log)}
    if step in ("create", "replace"):
        _require_claims(client, job, needed)
        require_parts(client, job, needed)
        runner.clear(params["again"])
        _await_claims(client, needed, min(params["wait_timeout"], _CLAIM_SECONDS))
    if step != "nothing":
        _converge.rehearse(client, needed, {})
        _converge.converge(client, needed, {})
    try:
        ended = runner.run(params["again"], params["remove"])
    except GaleraError as error:
        raise GaleraError(_named(str(error), settings)) from None
    log = [_named(line, settings) for line in ended.log]
    return {"changed": ended.ran, "message": plain(log[-1]) if log else "", "log": log}


def _named(text: str, settings: t.Mapping[str, str]) -> str:
    """The text with variables in the place of the settings that they give."""
    for setting, variable in settings.items():
        text = re.sub(rf"\b{re.escape(setting)}\b", variable, text)
    return text


def _require_claims(client: Client, job: Document, needed: t.Sequence[Document]) -> None:
    """Raise GaleraError where the Job would wait for a claim that does not exist."""
    pod = ((job.manifest.get("spec") or {}).get("template") or {}).get("spec") or {}
    wanted = [(volume.get("persistentVolumeClaim") or {}).get("claimName") for volume in pod.get("volumes") or []]
    given = {each.name for each in needed if each.kind.kind == "PersistentVolumeClaim"}
    kind = KINDS["PersistentVolumeClaim"]
    for name in (each for each in wanted if each and each not in given):
        if client.get(kind, name, job.namespace) is None:
            there = sorted(claim["metadata"]["name"] for claim in client.list_all(kind, job.namespace))
            raise GaleraError(
                f"The claim {name}, which {job} needs, does not exist in namespace {job.namespace}; there are: "
                f"{and_list(there) or 'none'}. Nothing was restored."
            )


def _await_claims(client: Client, needed: t.Sequence[Document], timeout: float) -> None:
    """Wait until no claim is left that is being deleted: it would go together with its last pod. Raises GaleraError."""
    end = time.monotonic() + timeout
    for claim in (each for each in needed if each.kind.kind == "PersistentVolumeClaim"):
        while (client.get(claim.kind, claim.name, claim.namespace) or {}).get("metadata", {}).get("deletionTimestamp"):
            if time.monotonic() >= end:
                holders = users_of(client, claim.name, claim.namespace)
                raise GaleraError(
                    f"Waited {timeout:g} s for the end of {claim}, which is being deleted and is kept by "
                    f"{and_list(holders) or 'no pod of this namespace'}: delete what keeps it, and run again. "
                    "Nothing was restored."
                )
            time.sleep(_LOOK_SECONDS)


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(RESTORE_SPEC), supports_check_mode=True)
    run(module, work)


if __name__ == "__main__":
    main()
