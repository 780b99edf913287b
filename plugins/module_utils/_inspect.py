# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a run of `cluster` asks the API server before it changes something: rights, nodes, storage classes, ports."""

from __future__ import annotations

import dataclasses
import decimal
import functools
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils import _conflicts, _jobs, _live, _preflight
from ansible_collections.stateful.galera.plugins.module_utils._errors import ApiError, GaleraError, and_list
from ansible_collections.stateful.galera.plugins.module_utils._kinds import COMPONENT_LABEL, KINDS

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Document, Manifest
    from ansible_collections.stateful.galera.plugins.module_utils._survey import Found, Plan, Wanted


@dataclasses.dataclass(frozen=True)
class Findings:
    """problems forbid the run; left_out: kind and name of documents that it does without, each with a warning."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    left_out: frozenset[tuple[str, str]] = frozenset()


def inspect(client: Client, wanted: Wanted, found: Found, plan: Plan) -> Findings:
    """Ask what the plan needs. Raises GaleraError when the server does not say."""
    checks: list[t.Callable[[], Findings]] = [functools.partial(_check_rights, client, wanted, found, plan)]
    key = ("StatefulSet", wanted.names.nodes)
    live_nodes = found.live.get(key)
    pods_come = live_nodes is None or int(live_nodes["spec"].get("replicas", 1)) < wanted.size
    pods_come = pods_come or _requests(live_nodes) != _requests(_nodes_manifest(plan))
    pods_come = pods_come or _placing(live_nodes) != _placing(_nodes_manifest(plan))
    if pods_come and any(each.key == key for each in plan.changes):
        checks.append(functools.partial(_check_nodes, client, wanted, plan))
        if live_nodes is None or not int(live_nodes["spec"].get("replicas", 1)):
            checks.append(functools.partial(_check_jobs, client, wanted))
    claiming = ("PersistentVolumeClaim", "StatefulSet")
    claims_come = any(each.kind.kind in claiming and each.key not in found.live for each in plan.changes)
    if claims_come and (wanted.storage_classes or wanted.require_default_storage_class):
        checks.append(functools.partial(_check_storage_classes, client, wanted))
    if wanted.node_port is not None and not _has_port(found, wanted):
        checks.append(functools.partial(_check_port, client, wanted, found))
    checks += _class_checks(client, wanted, live_nodes, plan)
    findings = client.all_of(checks)
    problems, warnings = _live.find(wanted.names, found.live, plan.changes)
    return Findings(
        problems=(*problems, *(problem for each in findings for problem in each.problems)),
        warnings=(*warnings, *(warning for each in findings for warning in each.warnings)),
        left_out=frozenset(key for each in findings for key in each.left_out),
    )


def _unread(error: ApiError, what: str) -> Findings:
    """Objects of the whole cluster may be closed to us: then the scheduler or the provisioner says it, only later."""
    if error.status != 403:
        raise error
    return Findings(warnings=(f"{what} could not be checked: {error}.",))


def _check_nodes(client: Client, wanted: Wanted, plan: Plan) -> Findings:
    try:
        nodes = client.list_all(KINDS["Node"])
    except ApiError as error:
        return _unread(error, "The Kubernetes nodes")
    where = (nodes, wanted.size, wanted.node_selector, wanted.tolerations)
    room = _preflight.check_room(*where, _requests(_nodes_manifest(plan)))
    return Findings(problems=(*_preflight.check_nodes(*where), *room))


# What a Job does to the volumes that it uses, by the name of its component and the begin of its own
_JOBS = (
    ("purge", "purge-", "purge_volumes", "would wipe volumes", "Run it again"),
    ("aside", "aside-data-", "restore", "would set the data of nodes aside", "Run the same restore again"),
    ("aside", "undo-data-", "restore_undo", "would put other data in the place of those", "Run it again"),
)


def _check_jobs(client: Client, wanted: Wanted) -> Findings:
    """A Job on the volumes of nodes that waits for its pod or runs would work on what the nodes are about to hold."""
    names = wanted.names
    try:
        jobs = client.list_all(KINDS["Job"], names.namespace, labelSelector=names.selector)
    except ApiError as error:
        if error.status != 403:
            raise
        return Findings()
    problems = []
    for component, begin, playbook, does, again in _JOBS:
        ours = [job for job in jobs if (job["metadata"].get("labels") or {}).get(COMPONENT_LABEL) == component]
        running = [job["metadata"]["name"] for job in ours if _jobs.state_of(job).state == _jobs.RUNNING]
        running = [name for name in running if name.startswith(begin)]
        if running:
            wait = "waits or runs" if len(running) == 1 else "wait or run"
            problems.append(
                f"The playbook {playbook} has not come to its end, and {does} that are in use: {and_list(running)} "
                f"still {wait}. {again}, or, to keep what the volumes hold, "
                f"`kubectl -n {names.namespace} delete job {' '.join(running)}`."
            )
    return Findings(problems=tuple(problems))


def _nodes_manifest(plan: Plan) -> Manifest | None:
    """The StatefulSet of the nodes as the run sends it: the one whose pods are not the seed's."""
    sets = [each for each in plan.changes if each.kind.kind == "StatefulSet" and each.phase != "seed"]
    return sets[0].manifest if sets else None


def _pod_spec(stateful_set: Manifest | None) -> Manifest:
    return (((stateful_set or {}).get("spec") or {}).get("template") or {}).get("spec") or {}


def _placing(stateful_set: Manifest | None) -> tuple[t.Any, t.Any]:
    """What decides which machines take a pod of it."""
    spec = _pod_spec(stateful_set)
    return spec.get("nodeSelector") or {}, spec.get("tolerations") or []


def _class_checks(
    client: Client, wanted: Wanted, live_nodes: Manifest | None, plan: Plan
) -> list[t.Callable[[], Findings]]:
    """The check of a PriorityClass that the nodes do not have yet and that does not come with the run."""
    name = _pod_spec(_nodes_manifest(plan)).get("priorityClassName")
    comes = any(each.kind.kind == "PriorityClass" and each.name == name for each in wanted.documents)
    if not name or comes or name == _pod_spec(live_nodes).get("priorityClassName"):
        return []
    return [functools.partial(_check_priority_class, client, name)]


def _check_priority_class(client: Client, name: str) -> Findings:
    try:
        found = client.get(KINDS["PriorityClass"], name, "")
    except ApiError as error:
        return _unread(error, "The PriorityClass")
    if found is not None:
        return Findings()
    return Findings(
        problems=(
            f"galera_cluster_priority_class={name} does not exist: Kubernetes would make no pod. Name one that exists, "
            f"or give galera_cluster_priority_class_value to have it made.",
        )
    )


def _requests(stateful_set: Manifest | None) -> dict[str, str]:
    """What a pod of it asks for: {"cpu": cores, "memory": bytes}; a resource that no container names is left out."""
    spec = _pod_spec(stateful_set)
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    total: dict[str, decimal.Decimal] = {}
    for container in containers:
        resources = container.get("resources") or {}
        # what only the limit names is asked for as well
        for resource, value in {**(resources.get("limits") or {}), **(resources.get("requests") or {})}.items():
            total[resource] = total.get(resource, decimal.Decimal(0)) + _conflicts.quantity(value)
    return {resource: f"{value.normalize():f}" for resource, value in total.items() if resource in ("cpu", "memory")}


def _check_storage_classes(client: Client, wanted: Wanted) -> Findings:
    try:
        classes = client.list_all(KINDS["StorageClass"])
    except ApiError as error:
        return _unread(error, "The storage classes")
    required = wanted.require_default_storage_class
    return Findings(problems=tuple(_preflight.check_storage_classes(wanted.storage_classes, required, classes)))


def _has_port(found: Found, wanted: Wanted) -> bool:
    service = found.of("Service", wanted.node_port_service)
    return service is not None and _preflight.port_owner([service], wanted.node_port or 0) is not None


def _check_port(client: Client, wanted: Wanted, found: Found) -> Findings:
    """Have the server try to give the port to a Service, without making one."""
    port = wanted.node_port or 0
    namespace = wanted.names.namespace if found.namespace is not None or not found.namespace_known else "default"
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"generateName": f"{wanted.names.nodes}-port-check-", "namespace": namespace},
        "spec": {"type": "NodePort", "ports": [{"port": 3306, "nodePort": port}]},
    }
    try:
        client.create(KINDS["Service"], service, namespace, dry_run=True)
    except ApiError as error:
        if error.status != 422:
            return Findings()  # missing rights are told of elsewhere
        said = error.said
    else:
        return Findings()
    if "already allocated" not in said:
        reason = said.rpartition("Invalid value: ")[2].rstrip(".")
        return Findings(problems=(f"galera_cluster_nodeport={port} is not possible: {reason}.",))
    try:
        owner = _preflight.port_owner(client.list_all(KINDS["Service"]), port)
    except ApiError:
        owner = None
    whose = f"the Service {owner[1]} in the namespace {owner[0]}" if owner else "another Service"
    return Findings(problems=(f"galera_cluster_nodeport={port} is taken by {whose}: choose another port.",))


def _check_rights(client: Client, wanted: Wanted, found: Found, plan: Plan) -> Findings:
    """Rights that the run needs and the user lacks; the rules are asked at once, single rights only in doubt."""
    names = wanted.names
    inside, outside = _needed_rights(wanted, found, plan)
    spec = {"namespace": names.namespace}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": spec}
    review = client.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", body=body).json()
    rules = (review.get("status") or {}).get("resourceRules") or []
    if not _preflight.allows(rules, _preflight.Right.on(KINDS["Role"], "escalate")):
        inside += [right for each in plan.changes if each.kind.kind == "Role" for right in _granted(each)]
    doubtful = sorted({right for right in inside if not _preflight.allows(rules, right)})
    questions = [(right, names.namespace) for right in doubtful] + [(right, "") for right in sorted(set(outside))]
    allowed = client.all_of([functools.partial(_may, client, right, where) for right, where in questions])
    missing: dict[str, list[_preflight.Right]] = {names.namespace: [], "": []}
    for kind, verb in found.denied:
        missing[names.namespace if kind.namespaced else ""].append(_preflight.Right.on(kind, verb))
    for (right, where), yes in zip(questions, allowed, strict=True):
        if not yes:
            missing[where].append(right)
    return _missing_rights(client, missing, names.namespace)


def _granted(document: Document) -> list[_preflight.Right]:
    return _preflight.role_rights(document.manifest)


def _missing_rights(client: Client, missing: dict[str, list[_preflight.Right]], namespace: str) -> Findings:
    """missing: rights by namespace, "" for the whole cluster."""
    warnings: tuple[str, ...] = ()
    left_out: frozenset[tuple[str, str]] = frozenset()
    label = _preflight.Right.on(KINDS["Namespace"], "patch", namespace)
    if label in missing[""] and _preflight.Right.on(KINDS["Namespace"], "create") not in missing[""]:
        # a namespace is often another team's; the cluster lives in it as it is
        missing[""].remove(label)
        left_out = frozenset({("Namespace", namespace)})
        warnings = (f"There is no right to patch the namespace {namespace}: it is left as it is.",)
    user = _who(client) if any(missing.values()) else ""
    problems = [_preflight.rights_problem(rights, user, where) for where, rights in missing.items() if rights]
    return Findings(tuple(problems), warnings, left_out)


def _needed_rights(wanted: Wanted, found: Found, plan: Plan) -> tuple[list[_preflight.Right], list[_preflight.Right]]:
    """Rights in the namespace and rights in the whole cluster."""
    with_seed = any(document.phase == "seed" for document in wanted.documents)
    inside = _preflight.run_rights(with_seed)
    outside: list[_preflight.Right] = []
    for document in plan.changes:
        verbs = ["patch"] if document.key in found.live else ["create", "patch"]
        rights = [_preflight.Right.on(document.kind, verb, document.name if verb != "create" else "") for verb in verbs]
        (inside if document.kind.namespaced else outside).extend(rights)
    nodes = ("StatefulSet", wanted.names.nodes)
    if nodes in found.live and any(each.key == nodes for each in plan.changes):
        inside += _preflight.roll_rights()
    if plan.passwords.data is not None:
        exists = found.of("Secret", wanted.names.secret) is not None
        inside.append(_preflight.Right.on(KINDS["Secret"], "patch" if exists else "create"))
    inside += [_preflight.Right.on(KINDS[each["kind"]], "delete", each["metadata"]["name"]) for each in plan.removals]
    return inside, outside


def _may(client: Client, right: _preflight.Right, namespace: str) -> bool:
    resource, _slash, subresource = right.resource.partition("/")
    attributes = {
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "verb": right.verb,
        "name": right.name,
        "namespace": namespace,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    answer = client.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body).json()
    return bool((answer.get("status") or {}).get("allowed"))


def _who(client: Client) -> str:
    """Whom the API server takes us for."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        review = client.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body).json()
    except GaleraError:
        return "of this connection"
    return str((review.get("status") or {}).get("userInfo", {}).get("username", "of this connection"))
