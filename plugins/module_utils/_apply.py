# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What server-side apply did or would do: unchanged or not, and the difference. Pure.

The API server records in metadata.managedFields which fields a manager applied (FieldsV1: a tree of "f:<field>",
'k:{"name":"x"}' for an item of a keyed list, "v:<value>" for an item of a set; a node without children is a leaf, owned
as a whole). Only these fields are compared: what controllers and defaults add is neither ours nor a change.
"""

from __future__ import annotations

import json
import typing as t

from ansible.module_utils.common.yaml import yaml_dump

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Manifest

Fields = dict[str, t.Any]

_SERVER_METADATA = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")
# what the server adds within fields that are owned as a whole: references to fields, ports, volumeClaimTemplates
_SERVER_DEFAULTS = {"apiVersion": "v1", "protocol": "TCP", "status": {"phase": "Pending"}}
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def owned_fields(live: Manifest, manager: str) -> Fields:
    """The FieldsV1 tree that `manager` applied, {} when it applied nothing."""
    for entry in live["metadata"].get("managedFields") or []:
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return entry.get("fieldsV1") or {}
    return {}


def merge_fields(left: Fields, right: Fields) -> Fields:
    """The union of two trees. A leaf (the whole field) swallows what the other tree says of its children."""
    if not left or not right:
        return {}
    merged = dict(left)
    for key, children in right.items():
        merged[key] = merge_fields(left[key], children) if key in left else children
    return merged


def project(value: t.Any, fields: Fields, empty: bool = False) -> t.Any:
    """The part of `value` that the tree `fields` covers.

    empty: with null for a field that the tree covers and `value` lacks: it was applied as null or empty, and an apply
    without it would give it up.
    """
    children = {key: sub for key, sub in fields.items() if key != "."}
    if isinstance(value, dict) and fields:
        named = {key[2:]: sub for key, sub in children.items() if key.startswith("f:")}
        kept = {key: project(item, named[key], empty) for key, item in value.items() if key in named}
        return {**kept, **{key: None for key, sub in named.items() if empty and not sub and key not in value}}
    if isinstance(value, list) and fields:
        chosen = ((item, _child(children, item)) for item in value)
        return [project(item, sub, empty) for item, sub in chosen if sub is not None]
    return value


def _child(children: Fields, item: t.Any) -> Fields | None:
    """The subtree for an item of a list, None when the tree does not cover it."""
    return next((sub for key, sub in children.items() if _selects(key, item)), None)


def _selects(key: str, item: t.Any) -> bool:
    """Whether a tree's key of a list means this item."""
    mark, _colon, text = key.partition(":")
    if mark == "k" and isinstance(item, dict):
        return all(item.get(name) == wanted for name, wanted in json.loads(text).items())
    return mark == "v" and bool(json.loads(text) == item)


def content(manifest: Manifest) -> Manifest:
    """An object without what the API server writes into it: status, versions, managers, kubectl's annotation."""
    kept = {key: value for key, value in manifest.items() if key != "status"}
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in _SERVER_METADATA}
    annotations = dict(metadata.pop("annotations", None) or {})
    annotations.pop(_LAST_APPLIED, None)
    return {**kept, "metadata": {**metadata, **({"annotations": annotations} if annotations else {})}}


def is_settled(live: Manifest, wanted: Manifest, manager: str) -> bool:
    """Whether applying `wanted` is known to change nothing, so that it need not be sent.

    True only when the fields that `manager` applied before are exactly those of `wanted`, with the same values. In
    doubt (a value that the server writes in another form, a list in another order) False: then the server decides.
    """
    names = ("name", "namespace")
    metadata = {key: value for key, value in wanted["metadata"].items() if key not in names}
    sent = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind", "metadata")}
    if metadata:
        sent["metadata"] = metadata
    fields = owned_fields(live, manager)
    return bool(fields) and _same(live, sent, fields)


def _same(live: t.Any, wanted: t.Any, fields: Fields) -> bool:
    """Whether `live` holds `wanted`, and the tree covers what `wanted` names, no more and no less."""
    children = {key: sub for key, sub in fields.items() if key != "."}
    if not children:
        return _same_leaf(live, wanted)
    if isinstance(wanted, dict) and isinstance(live, dict):
        # the server keeps no trace of an empty list whose items would have keys
        named = {key: item for key, item in wanted.items() if item != [] or f"f:{key}" in children or live.get(key)}
        if {f"f:{key}" for key in named} != set(children):
            return False
        return all(_same(live.get(key), item, children[f"f:{key}"]) for key, item in named.items())
    if isinstance(wanted, list) and isinstance(live, list):
        mine = [(item, sub) for item in live if (sub := _child(children, item)) is not None]
        if not len(mine) == len(wanted) == len(children):
            return False
        return all(_same(item, each, sub) for (item, sub), each in zip(mine, wanted, strict=True))
    return False


def _same_leaf(live: t.Any, wanted: t.Any) -> bool:
    """Whether a field that is owned as a whole has the wanted value, apart from what the server adds to it."""
    if not live and not wanted:
        # the server drops empty values, but 0 is not false
        return type(live) is type(wanted) or live is None or wanted is None
    if isinstance(live, dict) and isinstance(wanted, dict):
        added = {key: item for key, item in live.items() if key not in wanted}
        known = all(key in _SERVER_DEFAULTS and item == _SERVER_DEFAULTS[key] for key, item in added.items())
        return known and all(_same_leaf(live.get(key), item) for key, item in wanted.items())
    if isinstance(live, list) and isinstance(wanted, list):
        return len(live) == len(wanted) and all(map(_same_leaf, live, wanted))
    return type(live) is type(wanted) and bool(live == wanted)


def contains(live: t.Any, wanted: t.Any) -> bool:
    """Whether every value that `wanted` names is in `live` already, whoever wrote it."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(key in live and contains(live[key], item) for key, item in wanted.items())
    return bool(live == wanted)


def compare(before: Manifest, after: Manifest, manager: str) -> tuple[Manifest, Manifest]:
    """The comparable parts of an object before and after its apply: different if and only if the apply changed it."""
    trees = [tree for tree in (owned_fields(before, manager), owned_fields(after, manager)) if tree]
    if not trees:
        return content(before), content(after)
    union = trees[0] if len(trees) == 1 else merge_fields(*trees)
    return project(before, union), project(after, union)


def difference(what: str, before: Manifest | None, after: Manifest | None) -> dict[str, str]:
    """One entry of a module's diff: YAML texts, those of a Secret masked. None: the object is not there."""
    return {
        "before_header": what,
        "after_header": what,
        "before": _text(before),
        "after": _text(after),
    }


def _text(manifest: Manifest | None) -> str:
    if manifest is None:
        return ""
    return str(yaml_dump(manifest, default_flow_style=False, sort_keys=True, width=120))


def masked(secret: Manifest | None, changed: t.Collection[str], word: str) -> Manifest | None:
    """A Secret for a diff: keys without values, those in `changed` marked by `word`."""
    if secret is None:
        return None
    data = {key: f"({word})" if key in changed else "(hidden)" for key in sorted(secret.get("data") or {})}
    return {"kind": "Secret", "metadata": {"name": secret["metadata"]["name"]}, "data": data}
