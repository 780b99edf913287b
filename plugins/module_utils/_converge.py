# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Applying what was decided: the namespace, the Secret, then phase by phase, the documents of a phase side by side."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils import _apply, _passwords, _rollout
from ansible_collections.stateful.galera.plugins.module_utils._errors import ApiError, GaleraError, RefusedError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import FIELD_MANAGER
from ansible_collections.stateful.galera.plugins.module_utils._kinds import INSTANCE_LABEL, KINDS, Document

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Manifest
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Names
    from ansible_collections.stateful.galera.plugins.module_utils._survey import Found, Plan, Wanted

# a Secret's fields must never be dropped because a run of the manifests does not name them
SECRET_MANAGER = f"{FIELD_MANAGER}-passwords"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one object. result: created, changed, unchanged or removed; diff: None when unchanged."""

    document: Document
    result: str
    diff: dict[str, str] | None = None

    def row(self) -> dict[str, str]:
        return {
            "kind": self.document.kind.kind,
            "name": self.document.name,
            "namespace": self.document.namespace,
            "result": self.result,
        }


def _nothing_lost() -> None:
    """The check of who holds no Lease."""


def bring_about(
    client: Client,
    wanted: Wanted,
    found: Found,
    plan: Plan,
    dry_run: bool,
    check: t.Callable[[], None] = _nothing_lost,
) -> list[Outcome]:
    """Make what the plan says, or rehearse it. Raises GaleraError.

    The server rehearses all changes before the first one is made. The namespace is made before, see make_namespace.
    check: raises GaleraError when another run may be at work by now; asked before each phase.
    """
    spaces = [] if not dry_run else [each for each in plan.changes if each.kind.kind == "Namespace"]
    others = [each for each in plan.changes if each.kind.kind != "Namespace"]
    outcomes = rehearse(client, spaces, found.live)
    missing = dry_run and found.namespace is None and found.namespace_known
    rehearsed = [predict(each, None) for each in others] if missing else rehearse(client, others, found.live)
    if not missing:
        _rehearse_held(client, wanted, others, found, rehearsed)
    check()
    if plan.passwords.data is not None:
        secret = found.of("Secret", wanted.names.secret)
        outcomes.append(write_secret(client, wanted.names, plan.passwords, secret, dry_run))
    outcomes += rehearsed if dry_run else _converge_held(client, wanted, others, found, rehearsed, check)
    check()
    return [*outcomes, *(remove(client, each, dry_run) for each in plan.removals)]


def make_namespace(client: Client, found: Found, plan: Plan) -> list[Outcome]:
    """The namespace as the plan wants it: all else is made and rehearsed in it. Raises GaleraError."""
    spaces = [each for each in plan.changes if each.kind.kind == "Namespace"]
    rehearse(client, spaces, found.live)
    return converge(client, spaces, found.live)


def _converge_held(
    client: Client,
    wanted: Wanted,
    changes: t.Sequence[Document],
    found: Found,
    rehearsed: t.Sequence[Outcome],
    check: t.Callable[[], None],
) -> list[Outcome]:
    """Apply `changes`; nodes that exist and change keep running in their old form until each has its turn.

    So do those whose StatefulSet was deleted without them: the new one takes them over.
    """
    nodes = ("StatefulSet", wanted.names.nodes)
    told = {outcome.document.key: outcome for outcome in rehearsed}
    rolls = _rolls(nodes, found, rehearsed)
    if rolls and _rollout.others_strategy(found.live[nodes]):
        _hold(client, found.live[nodes], dry_run=False)
    record = ((found.of("ConfigMap", wanted.names.state) or {}).get("data") or {}).get("cluster")
    holds = rolls or (nodes in told and nodes not in found.live and bool(record))
    sent = [_rollout.held(each) if holds and each.key == nodes else each for each in changes]
    done = converge(client, sent, found.live, check)
    return [told[nodes] if holds and each.document.key == nodes else each for each in done]


def _rolls(nodes: tuple[str, str], found: Found, rehearsed: t.Sequence[Outcome]) -> bool:
    """Whether the nodes exist and change."""
    changed = any(outcome.document.key == nodes and outcome.result == "changed" for outcome in rehearsed)
    return nodes in found.live and changed


def _rehearse_held(
    client: Client, wanted: Wanted, changes: t.Sequence[Document], found: Found, rehearsed: t.Sequence[Outcome]
) -> None:
    """What _converge_held sends of the nodes is not what was rehearsed. Raises RefusedError."""
    nodes = ("StatefulSet", wanted.names.nodes)
    if not _rolls(nodes, found, rehearsed):
        return
    live = found.live[nodes]
    if not _rollout.others_strategy(live):
        rehearse(client, [_rollout.held(each) for each in changes if each.key == nodes], found.live)
        return
    try:
        _hold(client, live, dry_run=True)
    except ApiError as error:
        raise RefusedError([f"{str(error).rstrip('.')}."]) from error


def _hold(client: Client, live: Manifest, dry_run: bool) -> None:
    """Take away a rollingUpdate that is somebody else's: only a patch can, an apply leaves what others own."""
    document = Document("nodes", KINDS["StatefulSet"], live)
    body = {"spec": {"updateStrategy": {**_rollout.HELD, "rollingUpdate": None}}}
    client.merge(document.path, body, f"The update strategy of {document} was not changed", dry_run)


def in_order(plan: Plan, outcomes: t.Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of all documents of a plan, sent or not, in its order."""
    sent = {outcome.document.key for outcome in outcomes}
    order = {document.key: place for place, document in enumerate(plan.documents)}
    listed = [*outcomes, *(Outcome(each, "unchanged") for each in plan.documents if each.key not in sent)]
    # the Secret is no document: it comes right after the namespace, as does what was removed
    return sorted(listed, key=lambda outcome: order.get(outcome.document.key, 0.5))


def rehearse(
    client: Client, changes: t.Sequence[Document], live: t.Mapping[tuple[str, str], Manifest]
) -> list[Outcome]:
    """What the server says it would do with `changes`. Raises RefusedError with all that it does not accept."""
    answers = client.parallel(
        [functools.partial(apply_one, client, each, live.get(each.key), True) for each in changes]
    )
    outcomes, problems = [], []
    for document, answer in zip(changes, answers, strict=True):
        if not isinstance(answer, GaleraError):
            outcomes.append(answer)
        elif isinstance(answer, ApiError) and answer.status == 404:
            # refers to an object that comes with the run (a binding to its role): cannot be rehearsed
            outcomes.append(predict(document, live.get(document.key)))
        elif isinstance(answer, ApiError):
            problems.append(f"{str(answer).rstrip('.')}.")
        else:
            raise answer
    if problems:
        raise RefusedError(problems)
    return outcomes


def predict(document: Document, live: Manifest | None) -> Outcome:
    """The outcome as far as it can be known without the server."""
    before = None if live is None else _apply.content(live)
    diff = _apply.difference(_title(document), before, document.manifest)
    return Outcome(document, "created" if live is None else "changed", diff)


def converge(
    client: Client,
    changes: t.Sequence[Document],
    live: t.Mapping[tuple[str, str], Manifest],
    check: t.Callable[[], None] = _nothing_lost,
) -> list[Outcome]:
    """Apply `changes` in the order of their phases. Raises GaleraError at the end of a phase in which some failed.

    check: asked before each phase, see bring_about.
    """
    outcomes: list[Outcome] = []
    for (phase, _bound), documents in itertools.groupby(_bindings_last(changes), key=_step):
        check()
        calls = [functools.partial(apply_one, client, each, live.get(each.key), False) for each in documents]
        answers = client.parallel(calls)
        errors = [str(answer).rstrip(".") for answer in answers if isinstance(answer, GaleraError)]
        if errors:
            raise GaleraError(f"{'; '.join(errors)}. The phases before {phase} were applied; running again goes on.")
        outcomes += [answer for answer in answers if isinstance(answer, Outcome)]
    return outcomes


def _step(document: Document) -> tuple[str, bool]:
    """What is applied side by side: a phase, apart from its bindings, for which the server must know their role."""
    return document.phase, document.kind.kind == "RoleBinding"


def _bindings_last(changes: t.Sequence[Document]) -> list[Document]:
    """`changes` with the bindings of each phase at its end."""
    phases = itertools.groupby(changes, key=lambda document: document.phase)
    return [each for _phase, documents in phases for each in sorted(documents, key=_step)]


def apply_one(client: Client, document: Document, before: Manifest | None, dry_run: bool) -> Outcome:
    """Server-side apply of one document, compared with what was there before. Raises GaleraError."""
    after, created = client.apply(document, dry_run)
    if before is None and not created:
        # it was not in the lists: it lacked our label until now
        return Outcome(document, "changed", _apply.difference(_title(document), None, _apply.content(after)))
    if before is None or created:
        return Outcome(document, "created", _apply.difference(_title(document), None, document.manifest))
    old, new = _apply.compare(before, after, FIELD_MANAGER)
    if old == new:
        return Outcome(document, "unchanged")
    return Outcome(document, "changed", _apply.difference(_title(document), old, new))


def write_secret(client: Client, names: Names, plan: _passwords.Plan, live: Manifest | None, dry_run: bool) -> Outcome:
    """Create or complete the Secret. A run beside this one that was faster makes it fail, not overwrite."""
    labels = {
        "app.kubernetes.io/name": "galera",
        INSTANCE_LABEL: names.name,
        "app.kubernetes.io/part-of": "galera",
        "app.kubernetes.io/managed-by": FIELD_MANAGER,
    }
    manifest = _passwords.manifest(plan.data or {}, names.secret, names.namespace, labels)
    document = Document("passwords", KINDS["Secret"], manifest)
    try:
        if live is not None:
            manifest["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
            client.apply(document, dry_run, SECRET_MANAGER)
        elif not dry_run:
            client.create(document.kind, manifest, names.namespace)
    except ApiError as error:
        if error.status != 409:
            raise
        # or by this very request, whose answer was lost
        found = client.get(document.kind, names.secret, names.namespace) or {}
        if found.get("data") != plan.data:
            raise GaleraError(f"{document} was written by someone else during this run: run again.") from error
    before = _apply.masked(live, (), "")
    after = _apply.masked(manifest, plan.written, "new value")
    return Outcome(
        document, "created" if live is None else "changed", _apply.difference(_title(document), before, after)
    )


def remove(client: Client, manifest: Manifest, dry_run: bool) -> Outcome:
    """Delete an object that shall not be there."""
    metadata, kind = manifest["metadata"], KINDS[manifest["kind"]]
    document = Document("absent", kind, manifest)
    if not dry_run:
        client.delete(kind, manifest)
    namespace = metadata.get("namespace", "")
    diff = _apply.difference(f"{document} ({namespace})", _apply.content(manifest), None)
    return Outcome(document, "removed", diff)


def _title(document: Document) -> str:
    return f"{document} ({document.namespace})" if document.namespace else str(document)
