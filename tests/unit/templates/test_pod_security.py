# SPDX-License-Identifier: GPL-3.0-or-later
"""Every pod that a manifest makes passes pod security `restricted`; the rules themselves are tried on bad pods."""

from __future__ import annotations

from typing import Any

import pytest
from pod_security import violations
from rendering import Manifests, pod_of

ALLOWED: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {"name": "c", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    ],
    "volumes": [{"name": "v", "emptyDir": {}}],
}


def _with(**change: Any) -> dict[str, Any]:
    return {**ALLOWED, **change}


def _context(**change: Any) -> dict[str, Any]:
    return _with(securityContext={**ALLOWED["securityContext"], **change})


def _container(**change: Any) -> dict[str, Any]:
    container = ALLOWED["containers"][0]
    return {**container, "securityContext": {**container["securityContext"], **change}}


@pytest.mark.parametrize(
    ("pod", "found"),
    [
        (ALLOWED, []),
        (_with(hostNetwork=True), ["pod: hostNetwork is set"]),
        (_with(hostPID=True), ["pod: hostPID is set"]),
        (_with(hostIPC=True), ["pod: hostIPC is set"]),
        (_with(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), ["pod: volume v is of type hostPath"]),
        (_with(volumes=[{"name": "v"}]), ["pod: volume v is of type none"]),
        (_context(sysctls=[{"name": "kernel.msgmax", "value": "1"}]), ["pod: sysctls are set"]),
        (_context(runAsUser=0), ["pod: runAsUser is 0"]),
        (_context(seLinuxOptions={"type": "spc_t"}), ["pod: seLinuxOptions are set"]),
        (_context(appArmorProfile={"type": "Unconfined"}), ["pod: appArmorProfile is Unconfined"]),
        (_context(windowsOptions={"hostProcess": True}), ["pod: windowsOptions.hostProcess is set"]),
        (_context(runAsNonRoot=False), ["container c: runAsNonRoot is not true"]),
        (_context(seccompProfile={"type": "Unconfined"}), ["container c: seccompProfile is Unconfined"]),
        (
            _with(securityContext={}),
            ["container c: runAsNonRoot is not true", "container c: seccompProfile is None"],
        ),
        (
            _with(initContainers=[_container(allowPrivilegeEscalation=None)]),
            ["container c: allowPrivilegeEscalation is not false"],
        ),
        (_with(containers=[_container(privileged=True)]), ["container c: privileged is set"]),
        (_with(containers=[_container(procMount="Unmasked")]), ["container c: procMount is not Default"]),
        (
            _with(containers=[_container(capabilities={"drop": ["KILL"]})]),
            ["container c: capabilities do not drop ALL"],
        ),
        (
            _with(containers=[_container(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]})]),
            ["container c: capabilities are added"],
        ),
        (_with(containers=[{**_container(), "ports": [{"hostPort": 80}]}]), ["container c: hostPort is set"]),
    ],
)
def test_rules(pod: dict[str, Any], found: list[str]) -> None:
    assert violations(pod) == found


def test_pods_are_restricted(manifests: Manifests) -> None:
    pods = {
        f"{file} {document['kind']} {document['metadata']['name']}": pod
        for file, documents in manifests.files.items()
        for document in documents
        if (pod := pod_of(document))
    }
    assert len(pods) >= 4, "seed, nodes, HAProxy and Jobs"
    made = {each["kind"] for documents in manifests.files.values() for each in documents}
    assert {name.split()[1] for name in pods} == made & {"StatefulSet", "Deployment", "Job", "CronJob"}
    assert {name: violations(pod) for name, pod in pods.items()} == {name: [] for name in pods}


def test_pods_have_no_more_than_they_need(manifests: Manifests) -> None:
    """Beyond `restricted`: no writable root, and neither the API server nor the passwords for MariaDB or HAProxy."""
    for documents in manifests.files.values():
        for document in documents:
            pod = pod_of(document)
            if not pod:
                continue
            assert pod["automountServiceAccountToken"] is False
            assert pod["enableServiceLinks"] is False
            for container in [*pod.get("initContainers", []), *pod["containers"]]:
                assert container["securityContext"]["readOnlyRootFilesystem"] is True
                mounts = {mount["name"] for mount in container["volumeMounts"]}
                assert ("api-access" in mounts) == (container["name"] == "agent")
                assert ("secret" in mounts) == (container["name"] in ("agent", "restore"))
