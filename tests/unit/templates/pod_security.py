# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod security standard `restricted`, from its definition, so that no API server is needed to check a manifest.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

VOLUME_TYPES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SECCOMP_TYPES = {"RuntimeDefault", "Localhost"}
SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}


def violations(pod: dict[str, Any]) -> list[str]:
    """Return what a pod spec does that `restricted` forbids, a sentence each; empty if it is allowed."""
    found = [f"pod: {each}" for each in _pod(pod)]
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(group, []):
            found += [f"container {container['name']}: {each}" for each in _container(container, pod)]
    return found


def _pod(pod: dict[str, Any]) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{field} is set"
    for volume in pod.get("volumes", []):
        types = set(volume) - {"name"}
        if not types or not types <= VOLUME_TYPES:
            yield f"volume {volume['name']} is of type {', '.join(sorted(types)) or 'none'}"
    context = pod.get("securityContext", {})
    if context.get("sysctls"):
        yield "sysctls are set"
    yield from _context(context)


def _container(container: dict[str, Any], pod: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    above = pod.get("securityContext", {})
    yield from _context(own)
    if own.get("runAsNonRoot", above.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    seccomp = own.get("seccompProfile", above.get("seccompProfile", {})).get("type")
    if seccomp not in SECCOMP_TYPES:
        yield f"seccompProfile is {seccomp}"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("privileged"):
        yield "privileged is set"
    if own.get("procMount", "Default") != "Default":
        yield "procMount is not Default"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities do not drop ALL"
    if not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort is set"


def _context(context: dict[str, Any]) -> Iterator[str]:
    """What is forbidden in the security context of a pod and of a container alike."""
    if context.get("runAsUser") == 0:
        yield "runAsUser is 0"
    options = context.get("seLinuxOptions", {})
    if options.get("type") not in SELINUX_TYPES or options.get("user") or options.get("role"):
        yield "seLinuxOptions are set"
    if context.get("appArmorProfile", {}).get("type") == "Unconfined":
        yield "appArmorProfile is Unconfined"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield "windowsOptions.hostProcess is set"
