# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a run of `cluster` wants, what it finds, and whether the second can become the first."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils import (
    _apply,
    _conflicts,
    _passwords,
    _preflight,
    _seed,
    _size,
)
from ansible_collections.stateful.galera.plugins.module_utils._errors import ApiError, GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import FIELD_MANAGER
from ansible_collections.stateful.galera.plugins.module_utils._kinds import INSTANCE_LABEL, KINDS, read_phases
from ansible_collections.stateful.galera.plugins.module_utils._observe import nodes_by_name

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Document, Kind, Manifest
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Names

Key = tuple[str, str]
# what holds no data and no pod mounts
REMOVABLE = ("CronJob", "NetworkPolicy", "Service")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the inventory asks for; the fields are the options of the module."""

    names: Names
    size: int
    documents: tuple[Document, ...]
    node_selector: t.Mapping[str, t.Any]
    tolerations: t.Sequence[t.Mapping[str, t.Any]]
    storage_classes: t.Sequence[str]
    require_default_storage_class: bool
    node_port: int | None
    node_port_service: str
    passwords: t.Mapping[str, str]
    password_keys: t.Sequence[str]
    volume_size: str | None = None
    absent: t.Sequence[Key] = ()


@dataclasses.dataclass(frozen=True)
class Found:
    """What is there. namespace: None when it is not; namespace_known: False when we may not read it.

    live: the objects by kind and name; denied: kinds that we may not list or get, which forbids the run.
    """

    version: Manifest
    namespace: Manifest | None
    namespace_known: bool
    live: t.Mapping[Key, Manifest]
    denied: tuple[tuple[Kind, str], ...] = ()

    def of(self, kind: str, name: str) -> Manifest | None:
        return self.live.get((kind, name))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run does. documents: those that belong to it, in order; changes: those of them that must be sent.

    removals: live objects that shall not be there.
    """

    seed: _seed.Decision
    passwords: _passwords.Plan
    documents: tuple[Document, ...]
    changes: tuple[Document, ...]
    removals: tuple[Manifest, ...]
    problems: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        return not self.changes and not self.removals and self.passwords.data is None

    def without(self, keys: t.Collection[Key]) -> Plan:
        """The plan without some of its documents."""
        return dataclasses.replace(
            self,
            documents=tuple(each for each in self.documents if each.key not in keys),
            changes=tuple(each for each in self.changes if each.key not in keys),
        )


def wanted_of(params: t.Mapping[str, t.Any], names: Names) -> Wanted:
    """What the options of the module `cluster` ask for. Raises GaleraError for unfit documents."""
    documents = read_phases(params["phases"], names.namespace)
    for document in documents:
        if document.kind.kind == "Secret":
            raise GaleraError(f"{document} of the phase {document.phase}: passwords are given by passwords, not here.")
    # a phase cannot go before the namespace that it lives in
    documents.sort(key=lambda document: document.kind.kind != "Namespace")
    same = ("size", "node_selector", "tolerations", "require_default_storage_class", "node_port", "password_keys")
    return Wanted(
        names=names,
        documents=tuple(documents),
        storage_classes=[each for each in params["storage_classes"] if each],
        node_port_service=params["node_port_service"] or f"{names.nodes}-external-access",
        passwords={key: str(value) for key, value in params["passwords"].items() if value is not None},
        volume_size=params["volume_size"],
        absent=[_absent_key(each) for each in params["absent"]],
        **{option: params[option] for option in same},
    )


def _absent_key(text: str) -> Key:
    """ "NetworkPolicy/demo-galera-nodes"; a name alone is that of a Service. Raises GaleraError for other kinds."""
    kind, slash, name = text.rpartition("/")
    if slash and kind not in REMOVABLE:
        raise GaleraError(f"absent has {text}, allowed are the kinds {', '.join(REMOVABLE)}. Nothing was changed.")
    return (kind or "Service", name)


def observe(client: Client, wanted: Wanted) -> Found:
    """Read all objects that matter, most by one list a kind, side by side. Raises GaleraError."""
    version = client.read("/version")
    names = wanted.names
    kinds = {document.kind for document in wanted.documents if document.kind.namespaced}
    kinds |= {KINDS[kind] for kind in ("PersistentVolumeClaim", "StatefulSet")}
    kinds |= {KINDS[kind] for kind, _name in wanted.absent}
    single = [document for document in wanted.documents if _is_read_alone(document)]
    # what decides about passwords and about a bootstrap is read by its name: made by hand, it may lack our labels
    alone = [("Namespace", names.namespace, ""), ("Secret", names.secret, names.namespace)]
    alone += [("ConfigMap", names.state, names.namespace)]
    alone += [(each.kind.kind, each.name, each.namespace) for each in single]
    reads = [(KINDS[kind], "get", _get(client, KINDS[kind], name, namespace)) for kind, name, namespace in alone]
    reads += [(kind, "list", _list(client, kind, names)) for kind in sorted(kinds, key=str)]
    answers = client.parallel([call for kind, verb, call in reads])
    live: dict[Key, Manifest] = {}
    denied = []
    for (kind, verb, _call), answer in zip(reads, answers, strict=True):
        if not isinstance(answer, GaleraError):
            live.update({(each["kind"], each["metadata"]["name"]): each for each in answer})
        elif isinstance(answer, ApiError) and answer.status == 403:
            denied.append((kind, verb))
        else:
            raise answer
    volumes = any(kind == "PersistentVolumeClaim" and names.is_node_claim(name) for kind, name in live)
    if volumes and ("StatefulSet", names.nodes) not in live:
        # else its nodes would be changed as if there were none
        for each in nodes_by_name(client, names):
            live["StatefulSet", names.nodes] = each
    return Found(
        version=version,
        namespace=live.get(("Namespace", names.namespace)),
        # whoever has rights in one namespace only may not even look at it
        namespace_known=(KINDS["Namespace"], "get") not in denied,
        live=live,
        denied=tuple((kind, verb) for kind, verb in denied if kind.kind != "Namespace"),
    )


def _is_read_alone(document: Document) -> bool:
    """Objects that no list of the run contains: those of the whole cluster, and those without the cluster's label."""
    if document.kind.kind in ("Namespace", "PersistentVolumeClaim"):
        return False
    return not document.kind.namespaced or INSTANCE_LABEL not in document.labels


def _list(client: Client, kind: Kind, names: Names) -> t.Callable[[], list[Manifest]]:
    # the same holds for volumes, which may have been kept or restored
    if kind.kind == "PersistentVolumeClaim":
        return functools.partial(client.list_all, kind, names.namespace)
    return functools.partial(client.list_all, kind, names.namespace, labelSelector=names.selector)


def _get(client: Client, kind: Kind, name: str, namespace: str = "") -> t.Callable[[], list[Manifest]]:
    def get() -> list[Manifest]:
        found = client.get(kind, name, namespace)
        return [] if found is None else [found]

    return get


def decide(wanted: Wanted, found: Found) -> Plan:
    """What the run does, and what forbids it as far as this can be said without asking further. Pure."""
    names = wanted.names
    nodes, seed = found.of("StatefulSet", names.nodes), found.of("StatefulSet", names.seed)
    record = ((found.of("ConfigMap", names.state) or {}).get("data") or {}).get("cluster")
    claims = sorted(name for kind, name in found.live if kind == "PersistentVolumeClaim" and names.is_node_claim(name))
    decision = _seed.in_cluster_run(
        record=record,
        seed="absent" if seed is None else "leaving" if "deletionTimestamp" in seed["metadata"] else "present",
        seed_claim=found.of("PersistentVolumeClaim", names.seed_claim) is not None,
        claims=claims,
        ready_nodes=int(((nodes or {}).get("status") or {}).get("readyReplicas", 0)),
    )
    documents = [_sized(each, wanted, found) for each in wanted.documents if belongs(each, names, decision.action)]
    if not found.namespace_known:
        documents = [each for each in documents if each.kind.kind != "Namespace"]
    passwords = _passwords.plan(
        found.of("Secret", names.secret),
        wanted.passwords,
        wanted.password_keys,
        lives=bool(record or claims or nodes or seed),
        where=f"{names.namespace}/{names.secret}",
    )
    return Plan(
        seed=decision,
        passwords=passwords,
        documents=tuple(documents),
        changes=tuple(each for each in documents if not _is_settled(each, found.live.get(each.key))),
        removals=tuple({"kind": key[0], **found.live[key]} for key in wanted.absent if key in found.live),
        problems=(*_problems(wanted, found, documents, claims), *passwords.problems),
    )


def _sized(document: Document, wanted: Wanted, found: Found) -> Document:
    """A document as it is applied: the ConfigMap of the record carries the size, before the nodes get it."""
    if document.key != ("ConfigMap", wanted.names.state):
        return document
    state, nodes = found.of(*document.key), ("StatefulSet", wanted.names.nodes)
    if not any(each.key == nodes for each in wanted.documents):
        return _size.kept(document, state)
    return _size.annotated(document, _size.before_run(state, found.of(*nodes), wanted.size))


def _problems(wanted: Wanted, found: Found, documents: t.Sequence[Document], claims: t.Sequence[str]) -> list[str]:
    """What forbids the run in what is there. claims: names of the nodes' claims."""
    problems = [*_preflight.check_version(found.version), *_preflight.check_namespace(found.namespace)]
    starts = any(each.kind.kind == "StatefulSet" for each in documents)
    problems += _preflight.check_restore(wanted.names.name, found.of("ConfigMap", wanted.names.state), starts)
    nodes = ("StatefulSet", wanted.names.nodes)
    if nodes not in found.live and documents and all(each.kind.kind == "Service" for each in documents):
        # access to a cluster: without one its name is a wrong one, and a load balancer is made for nothing
        where = f"{wanted.names.name} in the namespace {wanted.names.namespace}"
        problems.append(f"There is no cluster {where}: the site playbook makes it.")
    for document in documents:
        live = found.live.get(document.key)
        if live is not None:
            problems += _conflicts.find(document, live)
            problems += _conflicts.shrinks(document, live, wanted.size) if document.key == nodes else []
        if document.key == nodes:
            recorded = _size.recorded(found.of("ConfigMap", wanted.names.state))
            problems += _conflicts.leaves_out(live, wanted.size, recorded)
    if nodes not in found.live and wanted.volume_size:
        kept = [found.live["PersistentVolumeClaim", name] for name in claims]
        problems += _conflicts.kept_claims(kept, wanted.volume_size)
    return problems


def belongs(document: Document, names: Names, seed: str) -> bool:
    """Whether a document is part of the run: what belongs to the seed only is none when no seed is wanted."""
    if seed in ("needed", "present"):
        return True
    claim = ((document.manifest.get("spec") or {}).get("claimRef") or {}).get("name")
    is_seeds = (
        document.phase == "seed"
        or document.labels.get("app.kubernetes.io/component") == "seed"
        or (document.kind.kind == "PersistentVolumeClaim" and document.name == names.seed_claim)
        or (document.kind.kind == "PersistentVolume" and claim == names.seed_claim)
    )
    return not is_seeds


def _is_settled(document: Document, live: Manifest | None) -> bool:
    if live is None:
        return False
    if document.kind.kind == "Namespace" and _apply.contains(live, document.manifest) and not _drops(live, document):
        # a namespace is often another team's: who may not write to it need not, when it is as it must be
        return True
    return _apply.is_settled(live, document.manifest, FIELD_MANAGER)


def _drops(live: Manifest, document: Document) -> bool:
    """Whether we have set a label that the manifest no longer names: an apply takes it away."""
    ours = (_apply.owned_fields(live, FIELD_MANAGER).get("f:metadata") or {}).get("f:labels") or {}
    return any(key.startswith("f:") and key[2:] not in document.labels for key in ours)
