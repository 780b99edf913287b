# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The number of members, as it is kept beside the record of the cluster. Pure.

An annotation of the state ConfigMap says how many nodes may hold the newest data. It grows before the nodes do, and
gets smaller only when a node has left in order: until then the agents elect nobody without that node, whatever the
StatefulSet says and whether there is one or not. A run compares it only together with a record: without one there is
no cluster yet that could be too large.
"""

from __future__ import annotations

import copy
import dataclasses
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils import _apply
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, Document

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Manifest

SIZE_ANNOTATION = "stateful.galera/size"


def recorded(state: Manifest | None) -> int | None:
    """The recorded size; state: the ConfigMap. None where the cluster was never bootstrapped or none is recorded."""
    text = _written(state)
    has_record = "cluster" in ((state or {}).get("data") or {})
    return int(text) if has_record and text and text.isdecimal() else None


def before_run(state: Manifest | None, nodes: Manifest | None, size: int) -> int | None:
    """The size to record before nodes come or go; nodes: the live StatefulSet. Never smaller than what may be there.

    None where nobody can tell: a cluster with a record without a size, none of whose nodes is there.
    """
    known = recorded(state)
    replicas = int(nodes["spec"].get("replicas", 1)) if nodes else 0
    if known is None and not replicas and "cluster" in ((state or {}).get("data") or {}):
        return None
    return max(known or 0, replicas, size)


def annotated(document: Document, size: int | None) -> Document:
    """The ConfigMap of the manifests with the size that is to be recorded; None: without one, whatever they say."""
    manifest = copy.deepcopy(document.manifest)
    annotations = {**(manifest["metadata"].pop("annotations", None) or {})}
    annotations.pop(SIZE_ANNOTATION, None)
    if size is not None:
        annotations[SIZE_ANNOTATION] = str(size)
    if annotations:
        manifest["metadata"]["annotations"] = annotations
    return dataclasses.replace(document, manifest=manifest)


def kept(document: Document, state: Manifest | None) -> Document:
    """The ConfigMap of the manifests with what is written already, for a run that brings no nodes."""
    text = _written(state)
    return annotated(document, int(text) if text and text.isdecimal() else None)


def rewritten(state: Manifest, size: int, manager: str) -> Document:
    """What `manager` has applied to the ConfigMap, with another size."""
    fields = _apply.owned_fields(state, manager)
    applied = _apply.project(_apply.content(state), fields) if fields else {}
    kind, metadata = KINDS["ConfigMap"], state["metadata"]
    manifest = {
        **applied,
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            **applied.get("metadata", {}),
            "name": metadata["name"],
            "namespace": metadata["namespace"],
        },
    }
    return annotated(Document("size", kind, manifest), size)


def _written(state: Manifest | None) -> str | None:
    return (((state or {}).get("metadata") or {}).get("annotations") or {}).get(SIZE_ANNOTATION)
