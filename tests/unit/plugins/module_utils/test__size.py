# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _size
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, Document
from unit.plugins.module_utils.sights import RECORD


def _state(size: str | None, record: bool = True, **metadata: Any) -> dict[str, Any]:
    annotations = {"stateful.galera/restore": "{}", **({} if size is None else {"stateful.galera/size": size})}
    data = {"data": {"cluster": RECORD}} if record else {}
    return {"metadata": {"name": "s", "namespace": "db", "annotations": annotations, **metadata}, **data}


def _nodes(replicas: int) -> dict[str, Any]:
    return {"spec": {"replicas": replicas}}


@pytest.mark.parametrize(
    ("state", "size"),
    [
        (None, None),
        ({"metadata": {}}, None),
        (_state(None), None),
        (_state("3"), 3),
        (_state("12"), 12),
        (_state(""), None),
        (_state("many"), None),
        (_state("3", record=False), None),
    ],
)
def test_recorded(state: dict[str, Any] | None, size: int | None) -> None:
    assert _size.recorded(state) == size


@pytest.mark.parametrize(
    ("state", "nodes", "wanted", "size"),
    [
        (None, None, 3, 3),
        (_state("3"), _nodes(3), 3, 3),
        (_state("3"), _nodes(3), 5, 5),
        (_state("3"), _nodes(3), 2, 3),
        (_state("3"), _nodes(2), 2, 3),
        (_state("3"), None, 3, 3),
        (_state("2"), _nodes(4), 2, 4),
        (_state(None), _nodes(3), 2, 3),
        (_state(None), _nodes(0), 2, None),
        (_state(None), None, 2, None),
        # the data of another cluster come: its own record is gone
        (_state("5", record=False), None, 2, 2),
        (_state("5", record=False), _nodes(3), 2, 3),
    ],
)
def test_before_run(state: dict[str, Any] | None, nodes: dict[str, Any] | None, wanted: int, size: int | None) -> None:
    assert _size.before_run(state, nodes, wanted) == size


@pytest.mark.parametrize("wanted", [None, 4])
def test_the_manifests_do_not_say_which_size_is_recorded(wanted: int | None) -> None:
    metadata = {"name": "s", "annotations": {"stateful.galera/size": "3"}}
    document = Document("volumes", KINDS["ConfigMap"], {"metadata": metadata})
    annotations = {} if wanted is None else {"annotations": {"stateful.galera/size": str(wanted)}}
    assert _size.annotated(document, wanted).manifest["metadata"] == {"name": "s", **annotations}
    assert document.manifest["metadata"] == metadata


def test_rewritten_is_what_was_applied_and_no_more() -> None:
    """What the manager has applied and does not name again is taken away; what others wrote is theirs."""
    metadata = {"f:labels": {"f:a": {}}, "f:annotations": {"f:stateful.galera/size": {}}}
    applied = {"manager": "m", "operation": "Apply", "fieldsV1": {"f:metadata": metadata, "f:data": {"f:mine": {}}}}
    state = _state("3", labels={"a": "1", "b": "2"}, managedFields=[applied], resourceVersion="7")
    state["data"]["mine"] = "x"
    assert _size.rewritten(state, 2, "m").manifest == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "s",
            "namespace": "db",
            "labels": {"a": "1"},
            "annotations": {"stateful.galera/size": "2"},
        },
        "data": {"mine": "x"},
    }


def test_rewritten_where_somebody_else_has_applied() -> None:
    manifest = _size.rewritten(_state("3", managedFields=[]), 2, "m").manifest
    assert manifest["metadata"] == {"name": "s", "namespace": "db", "annotations": {"stateful.galera/size": "2"}}
    assert "data" not in manifest
