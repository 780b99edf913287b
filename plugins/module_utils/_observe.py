# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Reading one cluster: its objects by one list a kind, its agents through the API server's proxy, side by side."""

from __future__ import annotations

import dataclasses
import functools
import json
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils import _size
from ansible_collections.stateful.galera.plugins.module_utils._errors import (
    ApiError,
    UnreachableError,
    shorten,
)
from ansible_collections.stateful.galera.plugins.module_utils._kinds import COMPONENT_LABEL, INSTANCE_LABEL, KINDS
from ansible_collections.stateful.galera.plugins.module_utils._wsrep import Node, node_of

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Manifest

AGENT_PORT = 9200
_AGENT_SECONDS = 3.0


@dataclasses.dataclass(frozen=True)
class Names:
    """The names of a cluster's objects."""

    name: str
    namespace: str

    @property
    def nodes(self) -> str:
        return f"{self.name}-galera"

    @property
    def seed(self) -> str:
        return f"{self.name}-galera-seed"

    @property
    def seed_pod(self) -> str:
        return f"{self.seed}-0"

    @property
    def seed_claim(self) -> str:
        return f"{self.name}-galera-seed-volume-claim"

    @property
    def node_claim_prefix(self) -> str:
        return f"data-{self.nodes}-"

    @property
    def state(self) -> str:
        return f"{self.name}-galera-state"

    @property
    def secret(self) -> str:
        return f"{self.name}-galera"

    @property
    def site_lease(self) -> str:
        return f"{self.name}-galera-site"

    @property
    def bootstrap_lease(self) -> str:
        return f"{self.name}-galera-bootstrap"

    @property
    def haproxy(self) -> str:
        return f"{self.name}-galera-haproxy"

    @property
    def config(self) -> str:
        return f"{self.name}-galera-config"

    @property
    def selector(self) -> str:
        return f"{INSTANCE_LABEL}={self.name}"

    def is_node_claim(self, claim: str) -> bool:
        """data-demo-galera-0 is, data-demo-galera-seed-0 is not."""
        return claim.startswith(self.node_claim_prefix) and claim[len(self.node_claim_prefix) :].isdigit()


@dataclasses.dataclass(frozen=True)
class Sight:
    """What was seen of a cluster. pods: those of nodes, seed and HAProxy; claims: those of nodes and seed.

    state: the ConfigMap of the record; record: the cluster's entry in it, JSON text; recorded_size: how many members it
    names, None where it does not tell. claims are empty unless they were asked for.
    proxies: HAProxy's Deployment, none where there is none; None where it was not seen, or may not be.
    """

    names: Names
    size: int
    stateful_set: Manifest | None = None
    seed: Manifest | None = None
    pods: tuple[Manifest, ...] = ()
    nodes: tuple[Node, ...] = ()
    claims: tuple[Manifest, ...] = ()
    record: str | None = None
    state: Manifest | None = None
    proxies: tuple[Manifest, ...] | None = None

    @property
    def wanted_names(self) -> list[str]:
        return [f"{self.names.nodes}-{ordinal}" for ordinal in range(self.size)]

    @property
    def recorded_size(self) -> int | None:
        return _size.recorded(self.state)

    @property
    def record_uuid(self) -> str | None:
        try:
            return str(json.loads(self.record or "")["uuid"])
        except (ValueError, KeyError, TypeError):
            return None

    @property
    def seed_leaving(self) -> bool:
        return self.seed is not None and "deletionTimestamp" in self.seed["metadata"]

    @property
    def seed_pod(self) -> Manifest | None:
        return next((pod for pod in self.pods if pod["metadata"]["name"] == self.names.seed_pod), None)

    @property
    def seed_pod_leaving(self) -> bool:
        return self.seed_pod is not None and "deletionTimestamp" in self.seed_pod["metadata"]

    @property
    def seed_claim(self) -> Manifest | None:
        return next((claim for claim in self.claims if claim["metadata"]["name"] == self.names.seed_claim), None)

    @property
    def seed_claim_leaving(self) -> bool:
        return self.seed_claim is not None and "deletionTimestamp" in self.seed_claim["metadata"]

    @property
    def node_claims(self) -> list[str]:
        names = [claim["metadata"]["name"] for claim in self.claims]
        return [name for name in names if self.names.is_node_claim(name)]

    @property
    def haproxy_pods(self) -> int:
        return len(self._haproxy())

    @property
    def haproxy_ready(self) -> int:
        return sum(
            any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions") or [])
            for pod in self._haproxy()
        )

    @property
    def haproxy_wanted(self) -> int:
        """The pods that HAProxy's Deployment asks for, 0 where it is not known or not there."""
        return sum(int(each["spec"].get("replicas", 1)) for each in self.proxies or ())

    def _haproxy(self) -> list[Manifest]:
        return [pod for pod in self.pods if component(pod) == "haproxy" and "deletionTimestamp" not in pod["metadata"]]


def component(manifest: Manifest) -> str:
    return str((manifest["metadata"].get("labels") or {}).get(COMPONENT_LABEL, ""))


def look(client: Client, names: Names, size: int | None, claims: bool = False) -> Sight:
    """One look at the cluster: 4 requests and one for each pod of a server; one more with `claims`, or without labels.

    size: the nodes that are wanted, None for those that the live StatefulSet has. Raises GaleraError.
    """
    namespace, selector = names.namespace, {"labelSelector": names.selector}
    calls: list[t.Callable[[], t.Any]] = [
        functools.partial(client.list_all, KINDS["StatefulSet"], namespace, **selector),
        functools.partial(client.list_all, KINDS["Pod"], namespace, **selector),
        functools.partial(client.get, KINDS["ConfigMap"], names.state, namespace),
        functools.partial(_proxies, client, names),
    ]
    if claims:
        # without the selector: volumes that were kept or restored may lack the labels
        calls.append(functools.partial(client.list_all, KINDS["PersistentVolumeClaim"], namespace))
    answers = client.all_of(calls)
    sets = {each["metadata"]["name"]: each for each in answers[0]}
    pods = sorted(answers[1], key=lambda pod: _order(pod["metadata"]["name"]))
    if names.nodes not in sets and any(component(pod) == "node" for pod in pods):
        sets.update({each["metadata"]["name"]: each for each in nodes_by_name(client, names)})
    servers = [pod for pod in pods if component(pod) in ("node", "seed")]
    found = answers[4] if claims else []
    return Sight(
        names=names,
        size=_wanted_size(size, sets.get(names.nodes)),
        stateful_set=sets.get(names.nodes),
        seed=sets.get(names.seed),
        pods=tuple(pods),
        nodes=tuple(_nodes(client, names, servers)),
        claims=tuple(claim for claim in found if _is_ours(names, claim["metadata"]["name"])),
        record=((answers[2] or {}).get("data") or {}).get("cluster"),
        state=answers[2],
        proxies=answers[3],
    )


def nodes_by_name(client: Client, names: Names) -> list[Manifest]:
    """The StatefulSet of the nodes where no list has it, none where there is none, or where we may not read it.

    Its label may be gone or another one, as tools set it that have a use of their own for it.
    """
    try:
        found = client.get(KINDS["StatefulSet"], names.nodes, names.namespace)
    except ApiError as error:
        if error.status != 403:
            raise
        return []
    return [] if found is None else [found]


def _proxies(client: Client, names: Names) -> tuple[Manifest, ...] | None:
    """HAProxy's Deployment; None when we may not read it, which is no reason to tell nothing of the nodes."""
    try:
        found = client.list_all(KINDS["Deployment"], names.namespace, labelSelector=names.selector)
    except ApiError as error:
        if error.status != 403:
            raise
        return None
    return tuple(each for each in found if each["metadata"]["name"] == names.haproxy)


def _is_ours(names: Names, claim: str) -> bool:
    return claim == names.seed_claim or names.is_node_claim(claim)


def _order(name: str) -> tuple[str, int]:
    """demo-galera-10 after demo-galera-9."""
    stem, _hyphen, ordinal = name.rpartition("-")
    return (stem, int(ordinal)) if ordinal.isdigit() else (name, 0)


def _wanted_size(size: int | None, stateful_set: Manifest | None) -> int:
    if size is not None:
        return size
    return int(stateful_set["spec"].get("replicas", 1)) if stateful_set else 0


def _nodes(client: Client, names: Names, servers: t.Sequence[Manifest]) -> list[Node]:
    calls = [functools.partial(ask_agent, client, names, pod) for pod in servers]
    return [node_of(pod, *answer) for pod, answer in zip(servers, client.all_of(calls), strict=True)]


def ask_agent(client: Client, names: Names, pod: Manifest) -> tuple[Manifest | None, str]:
    """The agent's status, or None and why there is none. Raises ApiError only when we may not ask."""
    status = pod.get("status") or {}
    if not status.get("podIP"):
        return None, ""
    if status.get("phase") in ("Succeeded", "Failed"):
        # Its address is nobody's: there would be no refusal, but silence
        return None, "its pod has ended"
    name = pod["metadata"]["name"]
    path = f"{KINDS['Pod'].path(names.namespace, f'http:{name}:{AGENT_PORT}')}/proxy/status"
    try:
        answer = client.fetch("GET", path, read_seconds=_AGENT_SECONDS)
    except UnreachableError:
        return None, f"its agent did not answer within {_AGENT_SECONDS:g} s"
    if answer.status in (401, 403):
        raise ApiError.of(answer.status, answer.body, "The agents cannot be asked")
    if answer.status != 200:
        said = ApiError.of(answer.status, answer.body, "").said
        return None, f"its agent does not answer: {shorten(said, 200)}"
    try:
        return answer.json(), ""
    except UnreachableError:
        return None, "its agent's answer is no JSON object"
