# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _conflicts
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, Document


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10", "10"),
        (10, "10"),
        ("1.5", "1.5"),
        ("10k", "10000"),
        ("10Ki", "10240"),
        ("1Gi", "1073741824"),
        ("0.5Ti", "549755813888"),
        ("500m", "0.5"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("1E", "1000000000000000000"),
    ],
)
def test_quantity(text: Any, number: str) -> None:
    assert _conflicts.quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "ten", "10 Gi", "10gi", "10GiB", "Gi"])
def test_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        _conflicts.quantity(text)


def _document(kind: str, name: str, spec: dict[str, Any]) -> Document:
    manifest = {"kind": kind, "metadata": {"name": name, "namespace": "db"}, "spec": spec}
    return Document("x", KINDS[kind], manifest)


def _set(size: str = "10Gi", storage_class: str | None = None, **spec: Any) -> dict[str, Any]:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if storage_class is not None:
        claim["storageClassName"] = storage_class
    return {
        "replicas": 3,
        "serviceName": "demo-galera-nodes",
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"a": "b"}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        **spec,
    }


def _claim(size: str, **spec: Any) -> dict[str, Any]:
    return {"resources": {"requests": {"storage": size}}, **spec}


ISCSI = {"targetPortal": "10.0.0.1:3260", "iqn": "iqn.2018-04.io.x:y", "lun": 1}


def _volume(claim: str = "data-demo-galera-0", namespace: str = "db", **source: Any) -> dict[str, Any]:
    return {"claimRef": {"name": claim, "namespace": namespace}, **(source or {"iscsi": ISCSI})}


@pytest.mark.parametrize(
    ("kind", "name", "wanted", "live", "said"),
    [
        pytest.param(
            "StatefulSet", "demo-galera", _set(), _set(replicas=1, template={}), [], id="set: what may change"
        ),
        pytest.param(
            "StatefulSet", "demo-galera", _set("10240Mi"), _set("10Gi"), [], id="set: the same size in other words"
        ),
        pytest.param(
            "StatefulSet",
            "demo-galera",
            _set("20Gi"),
            _set("10Gi"),
            [
                "galera_cluster_volume_size=20Gi differs from the 10Gi of the live StatefulSet demo-galera: "
                "Kubernetes does "
                "not let a StatefulSet change its volumes. Set galera_cluster_volume_size=10Gi. For larger volumes see "
                "docs/operations.md, Larger volumes."
            ],
            id="set: size",
        ),
        pytest.param(
            "StatefulSet",
            "demo-galera",
            _set(storage_class="fast"),
            _set(storage_class="thin"),
            [
                "galera_cluster_storage_class or galera_vsphere_storage_class asks for the storage class "
                "'fast', the live "
                "StatefulSet demo-galera has the storage class 'thin': Kubernetes does not let a StatefulSet "
                "change its "
                "volumes."
            ],
            id="set: class",
        ),
        pytest.param(
            "StatefulSet",
            "demo-galera",
            _set(storage_class=""),
            _set(),
            [
                "galera_cluster_storage_class or galera_vsphere_storage_class asks for no storage class, the live "
                "StatefulSet demo-galera has the default storage class: Kubernetes does not let a StatefulSet "
                "change its "
                "volumes."
            ],
            id="set: from the default class to none",
        ),
        pytest.param(
            "StatefulSet",
            "demo-galera",
            _set(),
            _set(podManagementPolicy="OrderedReady"),
            [
                "StatefulSet demo-galera has podManagementPolicy='OrderedReady', which Kubernetes does not let "
                "change to "
                "'Parallel'."
            ],
            id="set: policy",
        ),
        pytest.param(
            "StatefulSet",
            "demo-galera",
            _set(),
            _set(serviceName="other"),
            [
                "StatefulSet demo-galera has serviceName='other', which Kubernetes does not let change to "
                "'demo-galera-nodes'."
            ],
            id="set: service",
        ),
        pytest.param(
            "StatefulSet",
            "demo-galera",
            _set(),
            _set(volumeClaimTemplates=[]),
            ["StatefulSet demo-galera has no volume 'data' and Kubernetes does not let a StatefulSet gain one."],
            id="set: volume",
        ),
        pytest.param(
            "PersistentVolumeClaim",
            "demo-galera-seed-volume-claim",
            _claim("20Gi"),
            _claim("10Gi"),
            [],
            id="claim grows",
        ),
        pytest.param(
            "PersistentVolumeClaim",
            "demo-galera-seed-volume-claim",
            _claim("5Gi"),
            _claim("10Gi"),
            [
                "galera_cluster_seed_volume_size=5Gi is less than the 10Gi that PersistentVolumeClaim "
                "demo-galera-seed-volume-claim has: a volume cannot shrink."
            ],
            id="seed claim shrinks",
        ),
        pytest.param(
            "PersistentVolumeClaim",
            "demo-galera-backup-volume-claim",
            _claim("5Gi"),
            _claim("10Gi"),
            [
                "galera_cluster_backup_volume_size=5Gi is less than the 10Gi that PersistentVolumeClaim "
                "demo-galera-backup-volume-claim has: a volume cannot shrink."
            ],
            id="backup claim shrinks",
        ),
        pytest.param(
            "PersistentVolumeClaim",
            "x",
            _claim("1Gi", storageClassName="a"),
            _claim("1Gi", storageClassName="b"),
            ["PersistentVolumeClaim x has storageClassName='b', which Kubernetes does not let change to 'a'."],
            id="claim: class",
        ),
        pytest.param(
            "PersistentVolumeClaim",
            "x",
            _claim("1Gi"),
            _claim("1Gi", storageClassName="b", volumeName="pv-1"),
            [],
            id="claim: class by default",
        ),
        pytest.param(
            "PersistentVolume",
            "v",
            _volume(),
            _volume(iscsi={**ISCSI, "iscsiInterface": "default"}),
            [],
            id="volume: defaults of the server",
        ),
        pytest.param(
            "PersistentVolume",
            "v",
            _volume(),
            _volume(namespace="web"),
            [
                "PersistentVolume v belongs to the claim web/data-demo-galera-0, this cluster would take it for "
                "db/data-demo-galera-0: give the cluster another name, or delete the volume object first if "
                "that claim is "
                "done."
            ],
            id="volume: of another",
        ),
        pytest.param(
            "PersistentVolume",
            "v",
            _volume(),
            _volume(iscsi={**ISCSI, "lun": 2}),
            [
                "PersistentVolume v points to {'iscsi': {'targetPortal': '10.0.0.1:3260', 'iqn': 'iqn.2018-04.io.x:y', "
                "'lun': 2}}, the inventory says {'iscsi': {'targetPortal': '10.0.0.1:3260', 'iqn': "
                "'iqn.2018-04.io.x:y', "
                "'lun': 1}}: Kubernetes does not let a volume change its place. Put the old place back, or delete the "
                "volume object first if its data is not needed."
            ],
            id="volume: place",
        ),
        pytest.param("ConfigMap", "c", {}, {"anything": 1}, [], id="kind without a check"),
    ],
)
def test_find(kind: str, name: str, wanted: dict[str, Any], live: dict[str, Any], said: list[str]) -> None:
    manifest = {"kind": kind, "metadata": {"name": name, "namespace": "db"}, "spec": live}
    assert _conflicts.find(_document(kind, name, wanted), manifest) == said


@pytest.mark.parametrize("phase", ["Released", "Failed"])
def test_volume_whose_claim_is_gone(phase: str) -> None:
    live = {"metadata": {"name": "v"}, "spec": copy.deepcopy(_volume()), "status": {"phase": phase}}
    (said,) = _conflicts.find(_document("PersistentVolume", "v", _volume()), live)
    assert said.startswith(
        f"PersistentVolume v is {phase}: its claim db/data-demo-galera-0 was deleted, its data is still there."
    )
    assert """kubectl patch pv v --type=merge -p '{"spec":{"claimRef":{"uid":null,"resourceVersion":null}}}'""" in said


def test_bound_volume_is_well() -> None:
    live = {"metadata": {"name": "v"}, "spec": _volume(), "status": {"phase": "Bound"}}
    assert _conflicts.find(_document("PersistentVolume", "v", _volume()), live) == []


def test_object_that_is_being_deleted() -> None:
    live = {"metadata": {"name": "demo-galera", "deletionTimestamp": "now"}, "spec": _set("99Gi")}
    assert _conflicts.find(_document("StatefulSet", "demo-galera", _set()), live) == [
        "StatefulSet demo-galera is being deleted: run again when it is gone."
    ]


@pytest.mark.parametrize(
    ("replicas", "size", "ready", "said"),
    [
        (3, 3, 3, ""),
        (3, 5, 3, ""),
        (5, 4, 5, ""),
        (5, 4, 4, "would remove 1 while only 4 of 5 are ready"),
        (5, 3, 5, "would remove 2 at once, but one node may leave in a run, in order, because the rest must agree"),
        (5, 1, 5, "because 1 of 5 nodes are no majority: set galera_cluster_size=4, run site, and go on from there."),
    ],
)
def test_shrinks(replicas: int, size: int, ready: int, said: str) -> None:
    live = {
        "metadata": {"name": "demo-galera"},
        "spec": {"replicas": replicas},
        "status": {"readyReplicas": ready},
    }
    problems = _conflicts.shrinks(_document("StatefulSet", "demo-galera", _set()), live, size)
    assert len(problems) == bool(said)
    assert said in "".join(problems)


@pytest.mark.parametrize(
    ("replicas", "ready", "size", "recorded", "refused"),
    [
        (None, 0, 1, 3, True),
        (None, 0, 2, 3, True),
        (None, 0, 3, 3, False),
        (None, 0, 5, 3, False),
        (None, 0, 1, None, False),
        (0, 0, 2, 3, True),
        (1, 0, 1, 3, True),
        (1, 0, 2, 3, True),
        (1, 1, 1, 3, False),
        (2, 1, 2, 3, False),
        (2, 0, 2, 3, True),
        # shrinks has the word
        (3, 3, 2, 3, False),
        (3, 0, 2, 3, False),
    ],
)
def test_leaves_out(replicas: int | None, ready: int, size: int, recorded: int | None, refused: bool) -> None:
    live = None if replicas is None else {"spec": {"replicas": replicas}, "status": {"readyReplicas": ready}}
    said = _conflicts.leaves_out(live, size, recorded)
    assert len(said) == refused
    assert all(f"galera_cluster_size is {size}, but the cluster has 3 nodes and none runs" in each for each in said)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([], []),
        (["10Gi", "10240Mi"], []),
        (
            ["10Gi", "5Gi", "5Gi"],
            [
                "galera_cluster_volume_size=10Gi differs from the 5Gi of the claim data-demo-galera-2 that was "
                "kept: a new StatefulSet takes the volumes as they are. Others have 10Gi: enlarge this one. For "
                "larger volumes see docs/operations.md, Larger volumes."
            ],
        ),
    ],
)
def test_kept_claims(sizes: list[str], said: list[str]) -> None:
    claims = [{"metadata": {"name": f"data-demo-galera-{i}"}, "spec": _claim(size)} for i, size in enumerate(sizes)]
    assert _conflicts.kept_claims(claims, "10Gi") == said
