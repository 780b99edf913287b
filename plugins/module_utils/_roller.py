# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Taking the steps that _rollout decides: evict or replace a pod, wait, give the StatefulSet its strategy back."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils import _converge, _rollout, _size
from ansible_collections.stateful.galera.plugins.module_utils._errors import (
    ApiError,
    GaleraError,
    UnreachableError,
    shorten,
)
from ansible_collections.stateful.galera.plugins.module_utils._k8s import FIELD_MANAGER
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, Document
from ansible_collections.stateful.galera.plugins.module_utils._wait import Waiter
from ansible_collections.stateful.galera.plugins.module_utils._wsrep import (
    cluster_facts,
    goal_healthy,
    goal_serving,
)

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Manifest
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Names, Sight
    from ansible_collections.stateful.galera.plugins.module_utils._site_lease import SiteLease

_RESTART_MANAGER = "stateful.galera-restart"
_LOOK_AGAIN = "the cluster was not looked at since this run may change it"
_POD, _SET = KINDS["Pod"], KINDS["StatefulSet"]


class Roller:
    """Rolls the nodes of one cluster. document: their StatefulSet, None when only restarts are wanted.

    timeout: seconds for one node; lease: taken before the first write.
    """

    def __init__(
        self, client: Client, names: Names, size: int, timeout: float, lease: SiteLease, document: Document | None
    ) -> None:
        self._client, self._names, self._size, self._timeout = client, names, size, timeout
        self._lease, self._document = lease, document
        self._did: list[str] = []

    def rehearse(self, restart: bool, restart_id: str) -> dict[str, t.Any]:
        """What `run` would do, from one look."""
        sight = self._waiter().look()
        noted, new = self._plan_restart(sight, restart_id) if restart else (None, False)
        if noted is not None and (new or noted.left(sight) or _rollout.is_held(sight.stateful_set)):
            self._require_form(sight)
        pods = {*_rollout.outdated(sight), *(noted.left(sight) if noted else self._reformed(sight))}
        if pods:
            self._did.append(f"Would replace {', '.join(sorted(pods, reverse=True))}, one by one.")
        elif restart and _rollout.is_held(sight.stateful_set):
            self._did.append(f"Would give {self._strategy_back()}")
        if not restart and self._document is not None and (sight.recorded_size or 0) > self._size:
            self._did.append(f"Would record that the cluster has {_nodes(self._size)}.")
        return self._result(sight, noted)

    def run(self, restart: bool, restart_id: str) -> dict[str, t.Any]:
        """Roll until there is nothing to replace and the cluster serves. Raises GaleraError."""
        noted = self._begin(restart_id) if restart else None
        while True:
            sight = self._await_step(noted)
            step = _rollout.next_step(sight, noted)
            if step.action == "done" and not _rollout.is_held(sight.stateful_set):
                break
            if self._is_new_to_us():
                continue
            if step.action == "done":
                self._release(sight)
                # of a run of site the module cluster has told it, with the change that it was held for
                if restart and not self._did:
                    self._did.append(f"Gave {self._strategy_back()}")
                break
            self._take_step(sight, step)
        what = f"{self._size} nodes of the cluster {self._names.name} to be Synced and Ready, and HAProxy"
        # A restart brings no other size: that is for the site playbook.
        sight = self._waiter(haproxy=True).until(goal_serving if restart else self._lacks, what)
        while not restart and self._counts_wrong(sight) and self._is_new_to_us():
            sight = self._waiter(haproxy=True).until(self._lacks, what)
        if not restart:
            self._record_size(sight)
        return self._result(sight, noted)

    def _is_new_to_us(self) -> bool:
        """Have the Lease; whether it was taken just now: what was seen before may be another run's past."""
        taken = not self._lease.held
        self._lease.take()
        self._lease.check()
        return taken

    def _lacks(self, sight: Sight) -> str:
        """What lacks until the cluster serves and whoever leaves it is gone."""
        lacks = goal_serving(sight)
        return lacks if lacks or self._document is None else _rollout.staying(sight)

    def _leaving(self, sight: Sight, restart: _rollout.Restart | None) -> str:
        """What lacks until whoever leaves is gone and counts no more: the node that stops next may elect alone."""
        if restart is not None or self._document is None:
            return ""
        lacks = _rollout.staying(sight)
        if not lacks and self._counts_wrong(sight):
            if self._is_new_to_us():
                return _LOOK_AGAIN
            self._record_size(sight)
        return lacks

    def _counts_wrong(self, sight: Sight) -> bool:
        """Whether the record counts other nodes than the inventory wants."""
        known = self._document is not None and sight.state is not None and sight.record
        return bool(known) and sight.recorded_size != self._size

    def _record_size(self, sight: Sight) -> None:
        """Record the size: all are Synced, and whoever has left needs to be heard no more when they elect."""
        if sight.state is None or not self._counts_wrong(sight):
            return
        document = _size.rewritten(sight.state, self._size, FIELD_MANAGER)
        self._client.apply(document)
        before = f", no longer {sight.recorded_size}" if sight.recorded_size else ""
        self._did.append(f"Recorded that the cluster has {_nodes(self._size)}{before}.")

    def _strategy_back(self) -> str:
        return f"the StatefulSet {self._names.nodes} its update strategy back, held by a site run that was killed."

    def _release(self, sight: Sight) -> None:
        """Give the StatefulSet its own strategy back, and nothing else of the inventory."""
        if sight.stateful_set is None:
            return
        strategy = None if self._document is None else self._document.manifest["spec"].get("updateStrategy")
        manifest = _rollout.released(sight.stateful_set, strategy or _rollout.ROLLING)
        _converge.converge(self._client, [Document("nodes", _SET, manifest)], {})

    def _reformed(self, sight: Sight) -> list[str]:
        """The nodes that stay and would get another form, by what the server would make of the document."""
        if self._document is None or sight.stateful_set is None:
            return []
        if self._form(self._document) == _template(sight.stateful_set):
            return []
        pods = [pod["metadata"]["name"] for pod in sight.pods]
        return [name for name in pods if name in sight.wanted_names]

    def _form(self, document: Document) -> t.Any:
        """The form of the nodes that the document wants, as the server would write it."""
        return _template(self._client.apply(document, dry_run=True)[0])

    def _require_form(self, sight: Sight) -> None:
        """A restart brings no change of the inventory, and must not seem to. Raises GaleraError when there is one."""
        if self._document is None or sight.stateful_set is None:
            return
        if self._form(self._document) != _template(sight.stateful_set):
            raise GaleraError(
                f"The inventory wants another form of the nodes than the StatefulSet {self._names.nodes} has, and a "
                f"restart brings no change: run the site playbook first. Nothing was changed."
            )

    def _waiter(self, haproxy: bool = False) -> Waiter:
        return Waiter(self._client, self._names, self._size, self._timeout, haproxy=haproxy)

    def _begin(self, restart_id: str) -> _rollout.Restart:
        """Note the restart, or find the one to go on with. Raises GaleraError when the cluster is not healthy."""
        sight = self._waiter().look()
        noted, new = self._plan_restart(sight, restart_id)
        if new or noted.left(sight) or _rollout.is_held(sight.stateful_set):
            self._require_form(sight)
        if not new and not noted.left(sight):
            return noted
        self._lease.take()
        noted, new = self._plan_restart(self._waiter().look(), restart_id)
        if new:
            metadata = {
                "name": self._names.nodes,
                "namespace": self._names.namespace,
                "annotations": {_rollout.RESTART_ANNOTATION: noted.text()},
            }
            manifest = {"apiVersion": _SET.api_version, "kind": _SET.kind, "metadata": metadata}
            self._client.apply(Document("restart", _SET, manifest), manager=_RESTART_MANAGER)
        return noted

    def _plan_restart(self, sight: Sight, restart_id: str) -> tuple[_rollout.Restart, bool]:
        """The restart to make, and whether it begins with this run."""
        noted = _rollout.find_restart(sight.stateful_set)
        if noted is not None and (noted.left(sight) or (restart_id and noted.id == restart_id)):
            if restart_id and noted.id != restart_id:
                raise GaleraError(
                    f"galera_rolling_restart_id={restart_id}: the rolling restart {noted.id} was not finished. Finish "
                    f"it with galera_rolling_restart_id={noted.id} first, or without the variable. Nothing was changed."
                )
            return noted, False
        lacks = goal_healthy(sight)
        if lacks or sight.stateful_set is None:
            raise GaleraError(
                f"The nodes are not restarted, because the cluster is not healthy: "
                f"{(lacks or 'it has no nodes').rstrip('.')}. Nothing was changed."
            )
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return _rollout.begin_restart(sight, restart_id or stamp), True

    def _await_step(self, restart: _rollout.Restart | None) -> Sight:
        """Wait until no node is left to evict, or one to replace; each eviction gives the next node its own time."""
        waiter = self._waiter()

        def lacks(sight: Sight) -> str:
            self._lease.check()
            step = _rollout.next_step(sight, restart)
            if step.action == "evict":
                return self._leaving(sight, restart) or self._evict(sight, step, waiter)
            return step.reason if step.action == "wait" else ""

        try:
            return waiter.until(lacks, f"the nodes of the cluster {self._names.name} to be replaced one by one")
        except GaleraError as error:
            done = " ".join(self._did) or "No node was stopped."
            raise GaleraError(f"{error} {done} Running again goes on from here.") from error

    def _evict(self, sight: Sight, step: _rollout.Step, waiter: Waiter) -> str:
        """Evict a node that serves; what lacks until the API server allows it, or until it has stopped."""
        if self._is_new_to_us():
            return _LOOK_AGAIN
        uid = next(pod["metadata"]["uid"] for pod in sight.pods if pod["metadata"]["name"] == step.pod)
        path = f"{_POD.path(self._names.namespace, step.pod)}/eviction"
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": step.pod, "namespace": self._names.namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        try:
            answer = self._client.fetch("POST", path, body=body)
        except UnreachableError as lost:
            # the next look has the patience, and tells whether it was done
            return str(lost).rstrip(".")
        if answer.status < 400:
            self._did.append(f"Stopped {step.pod}: {step.reason}")
            waiter.extend()
            return f"{step.pod} is stopping"
        error = ApiError.of(answer.status, answer.body, f"{step.pod} may not be evicted")
        if answer.status in (404, 409, 429, 500, 502, 503, 504):
            return f"{step.pod} may not be stopped yet: {shorten(error.said, 300)}"
        raise error

    def _take_step(self, sight: Sight, step: _rollout.Step) -> None:
        """Replace a pod without a server."""
        pod = next(pod for pod in sight.pods if pod["metadata"]["name"] == step.pod)
        self._client.delete(_POD, pod)
        self._did.append(f"Replaced {step.pod}: {step.reason}")

    def _result(self, sight: Sight, restart: _rollout.Restart | None) -> dict[str, t.Any]:
        return {
            "changed": bool(self._did),
            "did": self._did,
            **({} if restart is None else {"restart_id": restart.id}),
            "nodes": [node.row() for node in sight.nodes],
            "cluster": cluster_facts(sight),
            "requests": self._client.requests,
        }


def _template(stateful_set: Manifest) -> t.Any:
    return stateful_set["spec"].get("template")


def _nodes(size: int) -> str:
    return f"{size} node" if size == 1 else f"{size} nodes"
