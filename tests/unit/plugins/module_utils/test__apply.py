# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of applied.json were made by server-side apply on Kubernetes 1.36: each row is what was sent and "
"what then was there."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _apply

MANAGER = "stateful.galera"
APPLIED = json.loads((Path(__file__).parent / "fixtures" / "applied.json").read_text())
NAMES = [f"{row['wanted']['kind']}-{row['wanted']['metadata']['name']}" for row in APPLIED]
ROWS = pytest.mark.parametrize("row", APPLIED, ids=NAMES)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a manifest that says something."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from _paths(item, (*path, key))


def _parent(manifest: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        manifest = manifest[key]
    return manifest


def _mutations(wanted: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each manifest that differs from `wanted` in one place: a value, a missing one, one more."""
    identity = [("apiVersion",), ("kind",), ("metadata",), ("metadata", "name"), ("metadata", "namespace")]
    for path in _paths(wanted):
        value = _parent(wanted, path)[path[-1]]
        if path in identity or path[-2:] == (0, "apiVersion"):
            # the apiVersion within a volumeClaimTemplate: the server writes the same one when it is left out
            continue
        if not isinstance(value, (dict, list)):
            other = copy.deepcopy(wanted)
            _parent(other, path)[path[-1]] = (
                f"{value}-other" if isinstance(value, str) else not value if isinstance(value, bool) else value + 1
            )
            yield f"{path} changed", other
        if value or value is False or value == 0:
            less = copy.deepcopy(wanted)
            del _parent(less, path)[path[-1]]
            yield f"{path} removed", less
        if isinstance(value, dict) and path != ("metadata",):
            more = copy.deepcopy(wanted)
            _parent(more, path)[path[-1]]["another"] = "value"
            yield f"{path} extended", more
        if isinstance(value, list):
            more = copy.deepcopy(wanted)
            _parent(more, path)[path[-1]].append({"name": "another"})
            yield f"{path} appended", more


@ROWS
def test_what_was_applied_is_settled(row: dict[str, Any]) -> None:
    assert _apply.is_settled(row["live"], row["wanted"], MANAGER)


@ROWS
def test_each_change_unsettles(row: dict[str, Any]) -> None:
    mutations = list(_mutations(row["wanted"]))
    assert [what for what, other in mutations if _apply.is_settled(row["live"], other, MANAGER)] == []


@ROWS
def test_drift_unsettles(row: dict[str, Any]) -> None:
    """Whatever of ours somebody changes in the live object is seen, although the manifest stays the same."""
    unseen = []
    for what, other in _mutations(row["wanted"]):
        # the live object with our fields as in `other`: what a hand would have left
        live = copy.deepcopy(row["live"])
        for path in _paths(row["wanted"]):
            mine, theirs = _parent(row["wanted"], path)[path[-1]], _get(other, path)
            if (
                not isinstance(mine, (dict, list))
                and theirs is not None
                and theirs != mine
                and _get(live, path) == mine
            ):
                _parent(live, path)[path[-1]] = theirs
        if live != row["live"] and _apply.is_settled(live, row["wanted"], MANAGER):
            unseen.append(what)
    assert unseen == []


def _get(manifest: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        try:
            manifest = manifest[key]
        except (KeyError, IndexError):
            return None
    return manifest


@ROWS
def test_object_that_was_not_applied_by_us_is_not_settled(row: dict[str, Any]) -> None:
    assert not _apply.is_settled(row["live"], row["wanted"], "kubectl")


@ROWS
def test_compare_sees_no_change_in_what_controllers_write(row: dict[str, Any]) -> None:
    after = copy.deepcopy(row["live"])
    after["metadata"]["resourceVersion"] = "999"
    after["metadata"].setdefault("annotations", {})["deployment.kubernetes.io/revision"] = "2"
    after["status"] = {"replicas": 3}
    before, new = _apply.compare(row["live"], after, MANAGER)
    assert before == new
    assert before


def _config_map(data: dict[str, str], fields: dict[str, Any] | None, **metadata: Any) -> dict[str, Any]:
    entry = {"manager": MANAGER, "operation": "Apply", "fieldsV1": fields}
    managed = {} if fields is None else {"managedFields": [entry]}
    return {"kind": "ConfigMap", "metadata": {"name": "x", **managed, **metadata}, "data": data}


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        pytest.param(
            _config_map({"a": "1"}, {"f:data": {"f:a": {}}}),
            _config_map({"a": "2"}, {"f:data": {"f:a": {}}}),
            True,
            id="a value of ours",
        ),
        pytest.param(
            _config_map({"a": "1", "b": "1"}, {"f:data": {"f:a": {}}}),
            _config_map({"a": "1", "b": "2"}, {"f:data": {"f:a": {}}}),
            False,
            id="a value of others",
        ),
        pytest.param(
            _config_map({"a": "1", "b": "1"}, {"f:data": {"f:a": {}, "f:b": {}}}),
            _config_map({"a": "1"}, {"f:data": {"f:a": {}}}),
            True,
            id="a value of ours goes",
        ),
        pytest.param(
            _config_map({"a": "1"}, None),
            _config_map({"a": "1"}, {"f:data": {"f:a": {}}}),
            False,
            id="taken over as it was",
        ),
        pytest.param(
            _config_map({"a": "1"}, None),
            _config_map({"a": "2"}, {"f:data": {"f:a": {}}}),
            True,
            id="taken over and changed",
        ),
        pytest.param(
            _config_map({"a": "1"}, None, resourceVersion="1"),
            _config_map({"a": "1"}, None, resourceVersion="2"),
            False,
            id="no managed fields, same content",
        ),
        pytest.param(
            _config_map({"a": "1"}, None), _config_map({"a": "2"}, None), True, id="no managed fields, other content"
        ),
    ],
)
def test_compare(before: dict[str, Any], after: dict[str, Any], changed: bool) -> None:
    old, new = _apply.compare(before, after, MANAGER)
    assert (old != new) is changed


@pytest.mark.parametrize(
    ("value", "fields", "part"),
    [
        ({"a": 1, "b": 2}, {"f:a": {}}, {"a": 1}),
        ({"a": {"b": 1, "c": 2}}, {"f:a": {".": {}, "f:b": {}}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"f:a": {}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"f:a": {".": {}}}, {"a": {}}),
        ([{"name": "x", "v": 1}, {"name": "y", "v": 2}], {'k:{"name":"y"}': {".": {}, "f:v": {}}}, [{"v": 2}]),
        (["a", "b"], {'v:"b"': {}}, ["b"]),
        ([{"p": 1, "proto": "TCP"}], {'k:{"p":1,"proto":"UDP"}': {"f:p": {}}}, []),
    ],
)
def test_project(value: Any, fields: dict[str, Any], part: Any) -> None:
    assert _apply.project(value, fields) == part


def test_projection_with_what_was_applied_as_null_or_empty() -> None:
    fields = {"f:a": {"f:b": {}, "f:c": {}}, "f:d": {'k:{"name":"x"}': {".": {}, "f:name": {}, "f:e": {}}}, "f:g": {}}
    fields["f:h"] = {"f:i": {}}
    value = {"a": {"b": 1}, "d": [{"name": "x"}, {"name": "y"}]}
    part = _apply.project(value, fields, empty=True)
    assert part == {"a": {"b": 1, "c": None}, "d": [{"name": "x", "e": None}], "g": None}
    assert _apply.project(value, fields) == {"a": {"b": 1}, "d": [{"name": "x"}]}


@pytest.mark.parametrize(
    ("left", "right", "union"),
    [
        ({"f:a": {"f:b": {}}}, {"f:a": {"f:c": {}}}, {"f:a": {"f:b": {}, "f:c": {}}}),
        ({"f:a": {"f:b": {}}}, {"f:a": {}}, {"f:a": {}}),
        ({"f:a": {}}, {"f:b": {}}, {"f:a": {}, "f:b": {}}),
    ],
)
def test_merge_fields(left: dict[str, Any], right: dict[str, Any], union: dict[str, Any]) -> None:
    assert _apply.merge_fields(left, right) == union


@pytest.mark.parametrize(
    ("live", "wanted", "holds"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, False),
        ({"a": {}}, {"a": {"b": None}}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
    ],
)
def test_contains(live: Any, wanted: Any, holds: bool) -> None:
    assert _apply.contains(live, wanted) is holds


def test_content_leaves_out_what_the_server_writes() -> None:
    manifest = {
        "kind": "ConfigMap",
        "metadata": {
            "name": "x",
            "uid": "1",
            "resourceVersion": "2",
            "generation": 3,
            "creationTimestamp": "now",
            "managedFields": [],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"},
        },
        "data": {"a": "1"},
        "status": {},
    }
    assert _apply.content(manifest) == {
        "kind": "ConfigMap",
        "metadata": {"name": "x", "annotations": {"a": "b"}},
        "data": {"a": "1"},
    }


def test_difference_is_yaml_text() -> None:
    entry = _apply.difference("ConfigMap x (db)", None, {"data": {"a": "1"}})
    assert entry == {
        "before_header": "ConfigMap x (db)",
        "after_header": "ConfigMap x (db)",
        "before": "",
        "after": "data:\n  a: '1'\n",
    }


def test_masked_shows_keys_and_never_values() -> None:
    secret = {"metadata": {"name": "x"}, "data": {"root-password": "c2VjcmV0", "user-password": "c2VjcmV0"}}
    shown = _apply.masked(secret, ("user-password",), "new value")
    assert shown == {
        "kind": "Secret",
        "metadata": {"name": "x"},
        "data": {"root-password": "(hidden)", "user-password": "(new value)"},
    }
    assert _apply.masked(None, (), "") is None
