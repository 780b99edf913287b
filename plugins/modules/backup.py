#!/usr/bin/python
# Copyright (c) stateful.galera maintainers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Have a backup of a Galera cluster taken now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Have a backup of a Galera cluster taken now
version_added: 1.0.0
description:
  - Writes a request into the ConfigMap C(<name>-galera-backup-state), which the agent that leads the backups takes up
    within seconds, and waits for its answer.
  - The backup goes to all targets of the cluster, as those taken by schedule do. After a change of the settings the
    agent waits until it has them, which Kubernetes takes up to a minute and a half for.
  - Tells apart whether the backup succeeded, failed (with the reason), or was not finished in time.
  - While the cluster is degraded no backup is taken, and a request waits. When it has waited for the same reason for
    two minutes, the module withdraws it, so that it does not block others, and fails with that reason. So it does after
    two minutes in which no agent leads the backups, as where no node is Synced, and after four minutes in which the
    agents refuse the settings of backups.
  - A request that another run has made and that is still open is waited for, not replaced, if it asks for the same;
    otherwise the module refuses. May be killed at any moment and run again.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - stateful.galera.attributes
  - stateful.galera.attributes.actiongroup_galera
  - stateful.galera.target
attributes:
  check_mode:
    support: full
    details:
      - Says in RV(message) what would be asked for, and what would expire with that, and asks nothing.
  diff_mode:
    support: none
    details:
      - A backup changes no object of the cluster.
  idempotent:
    support: none
    details:
      - Each run takes a backup.
options:
  kind:
    description:
      - What is taken. V(auto) takes an increment where one is possible, and else a full backup.
      - V(incremental) fails where the newest backup cannot be continued.
    type: str
    choices: [auto, full, incremental]
    default: auto
  wait_timeout:
    description:
      - Seconds to wait at most. The backup goes on when they are over; running the module again waits for it.
    type: int
    default: 3600
seealso:
  - module: stateful.galera.backup_info
  - module: stateful.galera.restore
author:
  - stateful.galera maintainers (@stateful)
"""

EXAMPLES = r"""
- name: Take a full backup before an upgrade
  stateful.galera.backup:
    name: tier1
    namespace: web
    kind: full
  register: before_upgrade
"""

RETURN = r"""
backup:
  description: Name of the backup; empty in check mode.
  type: str
  returned: success
  sample: 20261121T132300Z-full
expiring:
  description: Backups that retention lets go with this one, C(target), C(name) and C(reason).
  type: list
  elements: dict
  returned: in check mode
  sample:
    - {target: volume /backups, name: 20261113T010000Z-full, reason: "is 8 days old, and no rule keeps it"}
message:
  description: What was done, in one sentence.
  type: str
  returned: success
  sample: "20261121T132300Z-full (it was asked for): 412.5 MiB in 31 s"
"""

import json
import time
import typing as t
import uuid

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stateful.galera.plugins.module_utils import _backups
from ansible_collections.stateful.galera.plugins.module_utils._argspec import argument_spec, run, target
from ansible_collections.stateful.galera.plugins.module_utils._errors import ApiError, GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS
from ansible_collections.stateful.galera.plugins.module_utils._observe import Names

BACKUP_SPEC: dict[str, t.Any] = {
    "kind": {"type": "str", "choices": ["auto", "full", "incremental"], "default": "auto"},
    "wait_timeout": {"type": "int", "default": 3600},
}
_LOOK_SECONDS = 1.0
# So long the same reason may hold a request up. That of settings that are refused may be over when the agents have got
# those that were just applied.
_PATIENCE_SECONDS = 120.0
_REFUSED_SECONDS = 240.0
_MAP = KINDS["ConfigMap"]
_LEASE = KINDS["Lease"]


def read_state(client: Client, names: Names) -> dict[str, t.Any]:
    """The ConfigMap. Raises GaleraError where there is none."""
    found = client.get(_MAP, _backups.state_name(names.name), names.namespace)
    if found is None:
        raise GaleraError(
            f"The cluster {names.name} has no backups (there is no ConfigMap {_backups.state_name(names.name)}): give "
            "galera_cluster_backup_s3_bucket, galera_cluster_backup_nfs_server with galera_cluster_backup_path or "
            "galera_cluster_backup_storage_class, and run the site playbook. Nothing was changed."
        )
    return found


def settings_digest(client: Client, names: Names) -> str | None:
    """SHA-256 of the settings of backups, None without any."""
    return _backups.settings_digest(client.get(_MAP, _backups.settings_name(names.name), names.namespace))


def make_request(client: Client, names: Names, state: dict[str, t.Any], kind: str) -> str:
    """Write a request; its id. An open one that asks for the same is joined. Raises GaleraError."""
    request, settings = _backups.open_request(state), settings_digest(client, names)
    if request is not None:
        same = request.get("action") == "backup" and (request.get("kind") or "auto") == kind
        if same and request.get("settings") in (None, settings):
            return str(request["id"])
        raise GaleraError(
            f"Another request is open (id {request['id']}, {request.get('action')} {request.get('kind') or ''}): wait "
            "for it. Nothing was changed."
        )
    identity = uuid.uuid4().hex
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    fields = {"id": identity, "action": "backup", "kind": kind, "settings": settings, "requested_at": moment}
    what = "The request was not written, because another one was written meanwhile: run again"
    _write_request(client, names, state, json.dumps(fields), what)
    return identity


def await_answer(client: Client, names: Names, identity: str, timeout: float) -> _backups.Answer:
    """Wait for the final answer. Raises GaleraError where it is a failure or does not come."""
    end = time.monotonic() + timeout
    reason, since = "", 0.0
    lease, stands_since = beat(client, names), time.monotonic()
    while True:
        state = read_state(client, names)
        answer = _backups.answer_to(state, identity)
        if answer.state == "succeeded":
            return answer
        if answer.state == "failed":
            raise GaleraError(f"The backup failed: {answer.message}")
        if _backups.document(state, "request").get("id") != identity:
            raise GaleraError(
                f"The request {identity} is not there any more: it was withdrawn, or another one followed before its "
                "answer was read. Run again."
            )
        found, now = _backups.waits(state, answer), time.monotonic()
        if found != reason:
            reason, since = found, now
        patience = _PATIENCE_SECONDS if answer.state == "running" else _REFUSED_SECONDS
        if reason and now - since >= patience and withdraw(client, names, state):
            raise GaleraError(
                f"No backup was taken within {patience:g} s, last seen: {reason}. The request was withdrawn: run again "
                "when the reason is gone."
            )
        if (seen := beat(client, names)) is None or seen != lease:
            lease, stands_since = seen, now
        elif not reason and now - stands_since >= _PATIENCE_SECONDS and withdraw(client, names, state):
            raise GaleraError(
                f"No agent has led the backups of {names.name} for {_PATIENCE_SECONDS:g} s (its Lease "
                f"{_backups.lease_name(names.name)} stands still), as where no node is Synced: see the playbook "
                "status. The request was withdrawn: run again when they serve."
            )
        if now >= end:
            raise GaleraError(
                f"Waited {timeout:g} s for the backup (request {identity}, {answer.state}), last seen: "
                f"{_backups.progress(state)}. Running again goes on waiting for it."
            )
        time.sleep(_LOOK_SECONDS)


def beat(client: Client, names: Names) -> tuple[str, str] | None:
    """What changes while an agent leads the backups: holder and time of their Lease; None where it may not be read."""
    try:
        found = client.get(_LEASE, _backups.lease_name(names.name), names.namespace)
    except ApiError as error:
        if error.status != 403:
            raise
        return None
    spec = (found or {}).get("spec") or {}
    return str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")


def withdraw(client: Client, names: Names, state: dict[str, t.Any]) -> bool:
    """Take the request out of the state that was read; False where that has changed since. Raises GaleraError."""
    try:
        _write_request(client, names, state, None, "The request was not withdrawn")
    except GaleraError as error:
        if getattr(error, "status", None) != 409:
            raise
        return False
    return True


def _write_request(client: Client, names: Names, state: dict[str, t.Any], request: str | None, what: str) -> None:
    """Write a request into the state that was read, None takes it out. what: the message where that has changed since.

    Raises GaleraError.
    """
    path = _MAP.path(names.namespace, _backups.state_name(names.name))
    version = {"resourceVersion": state["metadata"]["resourceVersion"]}
    body = {"metadata": version, "data": {"request": request}}
    client.merge(path, body, what, conflicts_pass=False)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Ask and wait. Raises GaleraError."""
    names, params = target(module), module.params
    client = Client(params)
    state = read_state(client, names)
    if module.check_mode:
        published = _backups.document(state, "catalog")
        expiring = _backups.expiring(published.get("catalog") or {})
        settings = client.get(_MAP, _backups.settings_name(names.name), names.namespace)
        gone = "; ".join(f"{one['name']} in {one['target']} {one['reason']}" for one in expiring)
        message = f"Would ask for a backup ({params['kind']})."
        if gone:
            message += f" What retention lets go with it: {gone}."
        if why := _backups.outdated(published, settings):
            message += f" But {why}: look again then."
        return {"changed": True, "backup": "", "message": message, "expiring": expiring}
    # its version is the condition of the write: others write into the ConfigMap, too
    for _attempt in range(5):
        try:
            identity = make_request(client, names, state, params["kind"])
            break
        except GaleraError as error:
            if getattr(error, "status", None) != 409:
                raise
            state = read_state(client, names)
    else:
        raise GaleraError("The request could not be written, because others write all the time: run again.")
    answer = await_answer(client, names, identity, params["wait_timeout"])
    return {"changed": True, "backup": answer.backup, "message": answer.message}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(BACKUP_SPEC), supports_check_mode=True)
    run(module, work)


if __name__ == "__main__":
    main()
