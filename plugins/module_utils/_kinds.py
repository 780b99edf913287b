# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Kinds of Kubernetes objects that the manifests use, and documents read from YAML. Pure.

The table stands in for the API's discovery: a run asks the API server nothing that is known beforehand.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible.module_utils.common.yaml import yaml_load_all
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError

Manifest = dict[str, t.Any]

INSTANCE_LABEL = "app.kubernetes.io/instance"
COMPONENT_LABEL = "app.kubernetes.io/component"


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind: group "" is the core group; resource is the plural of paths and of RBAC."""

    group: str
    version: str
    kind: str
    resource: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def rbac_name(self) -> str:
        """As `kubectl auth can-i` writes it: `statefulsets.apps`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    def path(self, namespace: str = "", name: str = "") -> str:
        """The URL path of one object, or of all when `name` is empty; of all namespaces when `namespace` is."""
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.resource)
        if name:
            parts.append(name)
        return "/".join(parts)


_ALL = (
    Kind("", "v1", "Namespace", "namespaces", namespaced=False),
    Kind("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False),
    Kind("", "v1", "Node", "nodes", namespaced=False),
    Kind("", "v1", "ConfigMap", "configmaps"),
    Kind("", "v1", "Event", "events"),
    Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    Kind("", "v1", "Pod", "pods"),
    Kind("", "v1", "Secret", "secrets"),
    Kind("", "v1", "Service", "services"),
    Kind("", "v1", "ServiceAccount", "serviceaccounts"),
    Kind("apps", "v1", "Deployment", "deployments"),
    Kind("apps", "v1", "StatefulSet", "statefulsets"),
    Kind("batch", "v1", "CronJob", "cronjobs"),
    Kind("batch", "v1", "Job", "jobs"),
    Kind("coordination.k8s.io", "v1", "Lease", "leases"),
    Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    Kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", namespaced=False),
    Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False),
)
KINDS = {kind.kind: kind for kind in _ALL}


@dataclasses.dataclass(frozen=True)
class Document:
    """One manifest of one phase. manifest: the object as it is sent."""

    phase: str
    kind: Kind
    manifest: Manifest

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Empty for objects of the whole cluster."""
        return str(self.manifest["metadata"].get("namespace", ""))

    @property
    def key(self) -> tuple[str, str]:
        """Kind and name: unique within one namespace and the objects of the whole cluster."""
        return self.kind.kind, self.name

    @property
    def path(self) -> str:
        return self.kind.path(self.namespace, self.name)

    @property
    def labels(self) -> Manifest:
        return self.manifest["metadata"].get("labels") or {}

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.name}"


def read_document(text: str, phase: str, namespace: str) -> Document:
    """The object in the YAML `text`. Raises GaleraError when it is anything else than one object of a known kind."""
    where = f"A document of the phase {phase}"
    try:
        documents = [document for document in yaml_load_all(text) if document is not None]
    except Exception as error:  # the base class of YAML errors stands in a library that may be missing
        raise GaleraError(f"{where} is not valid YAML: {' '.join(str(error).split())}.") from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise GaleraError(f"{where} holds {len(documents)} objects, exactly one mapping is allowed.")
    manifest = documents[0]
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise GaleraError(f"{where} of kind {manifest.get('kind')!r} has no metadata.name.")
    kind = KINDS.get(str(manifest.get("kind")))
    if kind is None or kind.api_version != manifest.get("apiVersion"):
        known = ", ".join(sorted(f"{each.kind} ({each.api_version})" for each in _ALL))
        what = f"{manifest.get('kind')!r} of apiVersion {manifest.get('apiVersion')!r}"
        raise GaleraError(f"{where} named {metadata['name']} is of the kind {what}, allowed are: {known}.")
    if kind.namespaced and metadata.setdefault("namespace", namespace) != namespace:
        raise GaleraError(
            f"{kind.kind} {metadata['name']} of the phase {phase} names the namespace {metadata['namespace']!r}, "
            f"the cluster lives in {namespace!r}."
        )
    return Document(phase, kind, manifest)


def read_phases(phases: t.Iterable[t.Mapping[str, t.Any]], namespace: str) -> list[Document]:
    """All documents of `phases` (each {name, documents}), in order. Raises GaleraError, also for two of one name."""
    documents = [read_document(text, phase["name"], namespace) for phase in phases for text in phase["documents"]]
    seen: dict[tuple[str, str], Document] = {}
    for document in documents:
        twin = seen.setdefault(document.key, document)
        if twin is not document:
            raise GaleraError(f"{document} stands in the phase {twin.phase} and again in the phase {document.phase}.")
    return documents
