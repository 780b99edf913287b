# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Changes of live objects that Kubernetes forbids or that would lose data, said before anything is changed. Pure.

Each check returns a list of problems, one sentence each. The variables of the inventory are named, because there the
reader can mend it.
"""

from __future__ import annotations

import decimal
import re
import typing as t

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Document, Manifest

_CLASS_VARIABLE = "galera_cluster_storage_class or galera_vsphere_storage_class"
_SIZE_VARIABLES = {
    "-galera-seed-volume-claim": "galera_cluster_seed_volume_size",
    "-galera-backup-volume-claim": "galera_cluster_backup_volume_size",
    "-galera-backup-temp-volume-claim": "galera_cluster_backup_log_volume_size",
}
_LARGER = "For larger volumes see docs/operations.md, Larger volumes."
_SUFFIXES = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18, "m": -3, "u": -6, "n": -9}


def quantity(text: t.Any) -> decimal.Decimal:
    """A quantity of Kubernetes ("10Gi", "500m", "1e3") as a number. Raises ValueError."""
    match = re.fullmatch(r"([+-]?[0-9.]+)(?:([KMGTPE])i|([numkMGTPE]?)|[eE]([+-]?[0-9]+))", str(text))
    if match is None:
        raise ValueError(f"{text!r} is no quantity")
    number, binary, metric, exponent = match.groups()
    if binary:
        return decimal.Decimal(number) * 1024 ** ("KMGTPE".index(binary) + 1)
    return decimal.Decimal(number).scaleb(int(exponent) if exponent else _SUFFIXES[metric or ""])


def find(document: Document, live: Manifest) -> list[str]:
    """What forbids to apply `document` over the `live` object."""
    if document.kind.kind != "Namespace" and live["metadata"].get("deletionTimestamp"):
        return [f"{document} is being deleted: run again when it is gone."]
    checks: dict[str, t.Callable[[Document, Manifest], list[str]]] = {
        "StatefulSet": _stateful_set,
        "PersistentVolumeClaim": _claim,
        "PersistentVolume": _volume,
    }
    check = checks.get(document.kind.kind)
    return check(document, live) if check else []


def shrinks(document: Document, live: Manifest, size: int) -> list[str]:
    """Fewer nodes than live: one may leave in a run, and only where all are known to be ready."""
    replicas = int(live["spec"].get("replicas", 1))
    ready = int((live.get("status") or {}).get("readyReplicas", 0))
    if replicas <= size:
        return []
    gone = replicas - size
    what = f"{document} has {replicas} nodes and galera_cluster_size={size} would remove {gone}"
    if gone > 1:
        left = (
            f"{size} of {replicas} nodes are no majority" if 2 * size <= replicas else "the rest must agree in between"
        )
        return [
            f"{what} at once, but one node may leave in a run, in order, because {left}: set "
            f"galera_cluster_size={replicas - 1}, run site, and go on from there."
        ]
    if ready < replicas:
        return [
            f"{what} while only {ready} of {replicas} are ready: the node that leaves may be the one that the others "
            f"need. Wait until all are ready (the status playbook tells), or set galera_cluster_size={replicas}."
        ]
    return []


def leaves_out(live: Manifest | None, size: int, recorded: int | None) -> list[str]:
    """Fewer nodes than the cluster has, where none can leave in order: what only the others hold would be lost.

    live: the StatefulSet of the nodes, None when there is none; recorded: how many nodes the cluster has, None where
    that is not known. A node that is ready serves all that the cluster holds, so the others have left in order.
    """
    replicas = int(live["spec"].get("replicas", 1)) if live else 0
    ready = int((live.get("status") or {}).get("readyReplicas", 0)) if live else 0
    # where the StatefulSet has more nodes than that, `shrinks` has the word
    if recorded is None or recorded <= size or replicas > size or ready:
        return []
    return [
        f"galera_cluster_size is {size}, but the cluster has {recorded} nodes and none runs that could leave in order: "
        f"start it with galera_cluster_size={recorded} first, then make it smaller by one node in a run."
    ]


def kept_claims(claims: t.Sequence[Manifest], volume_size: str) -> list[str]:
    """Claims of nodes that outlived their StatefulSet: it would take them as they are, whatever size it asks for."""
    sizes = {_storage(claim["spec"]): claim["metadata"]["name"] for claim in claims}
    largest = max(sizes, key=quantity, default="0")
    return [
        f"galera_cluster_volume_size={volume_size} differs from the {size} of the claim {name} that was kept: a new "
        f"StatefulSet takes the volumes as they are. {_advice(size, largest)}"
        for size, name in sizes.items()
        if quantity(size) != quantity(volume_size)
    ]


def _advice(size: str, largest: str) -> str:
    """What to do about a claim of another size; no value of the variable fits claims that differ."""
    if quantity(size) < quantity(largest):
        return f"Others have {largest}: enlarge this one. {_LARGER}"
    return f"Set galera_cluster_volume_size={size}."


def _stateful_set(document: Document, live: Manifest) -> list[str]:
    wanted, current = document.manifest["spec"], live["spec"]
    problems = [
        f"{document} has {field}={current.get(field)!r}, which Kubernetes does not let change to {wanted[field]!r}."
        for field in ("serviceName", "podManagementPolicy", "selector")
        if field in wanted and current.get(field) != wanted[field]
    ]
    templates = {each["metadata"]["name"]: each["spec"] for each in current.get("volumeClaimTemplates") or []}
    for template in wanted.get("volumeClaimTemplates") or []:
        name = template["metadata"]["name"]
        if name not in templates:
            problems.append(f"{document} has no volume {name!r} and Kubernetes does not let a StatefulSet gain one.")
        else:
            problems += _template(document, template["spec"], templates[name])
    return problems


def _template(document: Document, wanted: Manifest, live: Manifest) -> list[str]:
    problems = []
    size, live_size = _storage(wanted), _storage(live)
    if quantity(size) != quantity(live_size):
        problems.append(
            f"galera_cluster_volume_size={size} differs from the {live_size} of the live {document}: Kubernetes "
            f"does not let a StatefulSet change its volumes. Set galera_cluster_volume_size={live_size}."
            f"{' ' + _LARGER if quantity(size) > quantity(live_size) else ''}"
        )
    name, live_name = wanted.get("storageClassName"), live.get("storageClassName")
    if name != live_name:
        problems.append(
            f"{_CLASS_VARIABLE} asks for {_class(name)}, the live {document} has {_class(live_name)}: "
            f"Kubernetes does not let a StatefulSet change its volumes."
        )
    if sorted(wanted.get("accessModes") or []) != sorted(live.get("accessModes") or []):
        problems.append(f"{document} has volumes with accessModes={live.get('accessModes')}, which cannot be changed.")
    return problems


def _claim(document: Document, live: Manifest) -> list[str]:
    wanted, current = document.manifest["spec"], live["spec"]
    problems = []
    size, live_size = _storage(wanted), _storage(current)
    if quantity(size) < quantity(live_size):
        suffix = next((each for each in _SIZE_VARIABLES if document.name.endswith(each)), "")
        variable = _SIZE_VARIABLES.get(suffix, "galera_cluster_volume_size")
        problems.append(f"{variable}={size} is less than the {live_size} that {document} has: a volume cannot shrink.")
    for field in ("storageClassName", "volumeName"):
        if wanted.get(field) is not None and current.get(field) not in (None, wanted[field]):
            problems.append(
                f"{document} has {field}={current[field]!r}, which Kubernetes does not let change to {wanted[field]!r}."
            )
    return problems


def _volume(document: Document, live: Manifest) -> list[str]:
    wanted, current = document.manifest["spec"], live["spec"]
    claim, live_claim = wanted.get("claimRef") or {}, current.get("claimRef") or {}
    phase = (live.get("status") or {}).get("phase")
    owner = f"{live_claim.get('namespace')}/{live_claim.get('name')}"
    problems = []
    if live_claim and claim and owner != f"{claim.get('namespace')}/{claim.get('name')}":
        problems.append(
            f"{document} belongs to the claim {owner}, this cluster would take it for "
            f"{claim.get('namespace')}/{claim.get('name')}: give the cluster another name, or delete the volume object "
            f"first if that claim is done."
        )
    elif phase in ("Released", "Failed"):
        problems.append(
            f"{document} is {phase}: its claim {owner} was deleted, its data is still there. To take it into use again "
            f"with the data: kubectl patch pv {document.name} --type=merge "
            f'-p \'{{"spec":{{"claimRef":{{"uid":null,"resourceVersion":null}}}}}}\'; '
            f"then empty it with the purge_volumes playbook unless the data shall be used."
        )
    source = _source(wanted)
    place = _matching(_source(current), source) or _source(current)
    if source and source != place:
        problems.append(
            f"{document} points to {place}, the inventory says {source}: Kubernetes does not let a volume change "
            f"its place. Put the old place back, or delete the volume object first if its data is not needed."
        )
    return problems


_SOURCES = ("iscsi", "nfs", "hostPath", "local", "vsphereVolume", "csi", "fc")


def _source(spec: Manifest) -> Manifest:
    return {name: spec[name] for name in _SOURCES if spec.get(name)}


def _matching(live: t.Any, wanted: t.Any) -> t.Any:
    """The part of `live` that has the keys of `wanted`: the rest are defaults of the server."""
    if isinstance(live, dict) and isinstance(wanted, dict):
        return {key: _matching(live[key], wanted[key]) for key in wanted if key in live}
    return live


def _storage(spec: Manifest) -> str:
    return str(((spec.get("resources") or {}).get("requests") or {}).get("storage", "0"))


def _class(name: str | None) -> str:
    if name is None:
        return "the default storage class"
    return f"the storage class {name!r}" if name else "no storage class"
