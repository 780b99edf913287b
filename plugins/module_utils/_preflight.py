# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Checks of what a cluster needs around it: version, namespace, storage classes, Kubernetes nodes, ports, rights. Pure.

Each check returns a list of problems, one sentence each, empty when all is well.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils._conflicts import quantity
from ansible_collections.stateful.galera.plugins.module_utils._errors import and_list
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Kind, Manifest

OLDEST_KUBERNETES = (1, 29)
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_RESTORE_ANNOTATION = "stateful.galera/restore"


def check_version(version: Manifest) -> list[str]:
    """version: the answer of /version. Native sidecars exist since 1.29."""
    # some providers write "29+"
    numbers = [re.match(r"\d+", str(version.get(part, ""))) for part in ("major", "minor")]
    if tuple(int(number.group()) if number else 0 for number in numbers) >= OLDEST_KUBERNETES:
        return []
    oldest = ".".join(map(str, OLDEST_KUBERNETES))
    return [f"The API server is Kubernetes {version.get('gitVersion')}, {oldest} or newer is needed."]


def check_namespace(namespace: Manifest | None) -> list[str]:
    """namespace: the live Namespace, None when there is none yet."""
    if namespace is None:
        return []
    metadata = namespace["metadata"]
    if (namespace.get("status") or {}).get("phase") != "Terminating" and not metadata.get("deletionTimestamp"):
        return []
    return [f"The namespace {metadata['name']} is being deleted: run again when it is gone."]


def check_restore(name: str, state: Manifest | None, starts: bool) -> list[str]:
    """name: of the cluster; state: its ConfigMap with the record; starts: whether the run starts servers.

    Half of the volumes may have the data of before. A restore that goes on makes its volumes by a run that starts none.
    """
    text = ((state or {"metadata": {}})["metadata"].get("annotations") or {}).get(_RESTORE_ANNOTATION, "")
    try:
        record = json.loads(text or "{}")
        undo, begun = record.get("undo") == "begun", record.get("begun")
        said = begun.get("said") if begun else ""
    except (ValueError, AttributeError):
        return []
    cut = "has not come to its end: run it again first, with"
    if undo:
        return [f"The playbook restore_undo was begun on cluster {name} and {cut} galera_restore_confirm={name}."]
    if begun and starts:
        return [
            f"The playbook restore was begun on cluster {name} ({said}) and {cut} the same variables and "
            f"galera_restore_confirm={name}. Should it never end, docs/restore.md says how to give it up."
        ]
    return []


def check_storage_classes(wanted: t.Iterable[str], require_default: bool, classes: t.Sequence[Manifest]) -> list[str]:
    """wanted: names of classes that claims ask for; classes: those that exist."""
    names = {each["metadata"]["name"]: _is_default(each) for each in classes}
    listed = and_list(f"{name} (default)" if default else name for name, default in sorted(names.items()))
    exist = f"this Kubernetes has {listed}" if listed else "this Kubernetes has none"
    unknown = sorted(set(wanted) - set(names))
    problems = [f"The storage class {name!r} does not exist: {exist}." for name in unknown]
    if require_default and not any(names.values()):
        problems.append(
            f"No storage class is the default one and galera_cluster_storage_class names none: {exist}. "
            f"Set galera_cluster_storage_class to one of them."
        )
    return problems


def _is_default(storage_class: Manifest) -> bool:
    return (storage_class["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"


def check_nodes(
    nodes: t.Sequence[Manifest],
    size: int,
    node_selector: t.Mapping[str, t.Any],
    tolerations: t.Sequence[t.Mapping[str, t.Any]],
) -> list[str]:
    """Whether `size` Kubernetes nodes can take a pod each; anti-affinity by host forbids two on one."""
    reasons = sorted((node["metadata"]["name"], unfit_reason(node, node_selector, tolerations)) for node in nodes)
    unfit = [f"{name} {reason}" for name, reason in reasons if reason]
    fitting = len(nodes) - len(unfit)
    if fitting >= size:
        return []
    listed = f" Not counted: {'; '.join(unfit)}." if unfit else ""
    return [
        f"galera_cluster_size={size} needs {size} Kubernetes nodes, one for each node of the cluster, "
        f"but only {fitting} of {len(nodes)} can take one.{listed}"
    ]


def check_room(
    nodes: t.Sequence[Manifest],
    size: int,
    node_selector: t.Mapping[str, t.Any],
    tolerations: t.Sequence[t.Mapping[str, t.Any]],
    requests: t.Mapping[str, t.Any],
) -> list[str]:
    """Whether `size` Kubernetes nodes are large enough for a pod each, were they empty.

    requests: what a pod asks for, {"cpu": cores, "memory": bytes}. Nodes that say nothing of a resource count as large
    enough.
    """
    fit = [node for node in nodes if not unfit_reason(node, node_selector, tolerations)]
    problems = []
    for resource, wanted in requests.items():
        rooms = [((node.get("status") or {}).get("allocatable") or {}).get(resource) for node in fit]
        known = [room for room in rooms if room is not None]
        large = len(rooms) - sum(quantity(room) < quantity(wanted) for room in known)
        if large < size and len(fit) >= size:
            problems.append(
                f"galera_cluster_resources asks for {resource}={wanted} for each node (with its agent), but only "
                f"{large} of {len(fit)} Kubernetes nodes have so much, the largest {max(known, key=quantity)}; "
                f"{size} are needed."
            )
    return problems


def unfit_reason(
    node: Manifest, node_selector: t.Mapping[str, t.Any], tolerations: t.Sequence[t.Mapping[str, t.Any]]
) -> str:
    """Why no pod of ours can be placed on a Kubernetes node, "" when one can."""
    spec, labels = node.get("spec") or {}, node["metadata"].get("labels") or {}
    conditions = {each["type"]: each["status"] for each in (node.get("status") or {}).get("conditions") or []}
    if conditions.get("Ready") != "True":
        return "is not Ready"
    if spec.get("unschedulable"):
        return "is cordoned"
    missing = [f"{key}={value}" for key, value in node_selector.items() if labels.get(key) != str(value)]
    if missing:
        return f"lacks the label {and_list(missing)} of galera_cluster_node_selector"
    for taint in spec.get("taints") or []:
        if taint["effect"] in ("NoSchedule", "NoExecute") and not any(_tolerates(each, taint) for each in tolerations):
            value = f"={taint['value']}" if taint.get("value") else ""
            name = f"{taint['key']}{value}:{taint['effect']}"
            return f"has the taint {name} that galera_cluster_tolerations does not tolerate"
    return ""


def _tolerates(toleration: t.Mapping[str, t.Any], taint: Manifest) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("operator") == "Exists":
        return not toleration.get("key") or toleration["key"] == taint["key"]
    return toleration.get("key") == taint["key"] and str(toleration.get("value") or "") == str(taint.get("value") or "")


def port_owner(services: t.Sequence[Manifest], port: int) -> tuple[str, str] | None:
    """(namespace, name) of the Service that has this node port."""
    for service in services:
        spec = service["spec"]
        ports = {each.get("nodePort") for each in spec.get("ports") or []} | {spec.get("healthCheckNodePort")}
        if port in ports:
            return service["metadata"]["namespace"], service["metadata"]["name"]
    return None


@dataclasses.dataclass(frozen=True, order=True)
class Right:
    """One verb on one resource; name "" means any object. resource may have a subresource: "pods/proxy"."""

    group: str
    resource: str
    verb: str
    name: str = ""

    @classmethod
    def on(cls, kind: Kind, verb: str, name: str = "", subresource: str = "") -> Right:
        return cls(kind.group, f"{kind.resource}/{subresource}" if subresource else kind.resource, verb, name)

    @property
    def rbac_name(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource


def run_rights(with_seed: bool) -> list[Right]:
    """Rights in the namespace that a run needs beside applying its documents."""
    pod, stateful_set, claim = KINDS["Pod"], KINDS["StatefulSet"], KINDS["PersistentVolumeClaim"]
    rights = [Right.on(pod, "list"), Right.on(pod, "get", subresource="proxy"), Right.on(KINDS["Event"], "list")]
    rights += [Right.on(KINDS["Lease"], verb) for verb in ("get", "create", "update", "delete")]
    return rights + ([Right.on(stateful_set, "delete"), Right.on(claim, "delete")] if with_seed else [])


def role_rights(role: Manifest) -> list[Right]:
    """All that a Role grants: Kubernetes lets nobody grant what they do not have themselves."""
    return [
        Right(group, resource, verb, name)
        for rule in role.get("rules") or []
        for group in rule.get("apiGroups") or []
        for resource in rule.get("resources") or []
        for verb in rule.get("verbs") or []
        for name in rule.get("resourceNames") or [""]
    ]


def roll_rights() -> list[Right]:
    """Rights in the namespace that a run needs to try a configuration and to replace nodes."""
    pod = KINDS["Pod"]
    rights = [Right.on(pod, verb) for verb in ("get", "create", "delete")]
    return [*rights, Right.on(pod, "get", subresource="log"), Right.on(pod, "create", subresource="eviction")]


def allows(rules: t.Iterable[Manifest], right: Right) -> bool:
    """Whether the resource rules of a SelfSubjectRulesReview contain a right."""

    def has(values: t.Collection[str] | None, wanted: str) -> bool:
        return values is not None and ("*" in values or wanted in values)

    subresource = right.resource.partition("/")[2]
    names = {right.resource} if not subresource else {right.resource, f"*/{subresource}"}
    return any(
        has(rule.get("verbs"), right.verb)
        and has(rule.get("apiGroups"), right.group)
        and any(has(rule.get("resources"), name) for name in names)
        and (not rule.get("resourceNames") or right.name in rule["resourceNames"])
        for rule in rules
    )


def rights_problem(missing: t.Iterable[Right], user: str, namespace: str) -> str:
    """One sentence. user: whom the API server takes us for; namespace: "" for the whole cluster."""
    verbs: dict[str, list[str]] = {}
    for right in sorted(missing):
        verbs.setdefault(right.rbac_name, []).append(right.verb)
    where = f"in the namespace {namespace}" if namespace else "in the whole cluster"
    listed = "; ".join(f"{and_list(dict.fromkeys(words))} {resource}" for resource, words in verbs.items())
    return f"The user {user} has no right {where} to {listed}."
