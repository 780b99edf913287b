# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Why pods do not start, as Kubernetes tells it, and which of these reasons do not pass by waiting. Pure."""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils._errors import shorten

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Manifest
    from ansible_collections.stateful.galera.plugins.module_utils._wsrep import Node

NEVER = math.inf
CRASHES = 3
_LONG_RUN_SECONDS = 60.0
# the scheduler's words for a machine that cannot reach a volume: those of older releases, those of 1.36
_ELSEWHERE = ("volume node affinity conflict", "PersistentVolume's node affinity")
_IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_PULL = "Failed to pull image"
_CONFIG_REASONS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Something that keeps a cluster from getting ready.

    subject: what it happens to, with its kind of trouble the same from look to look; text: one sentence;
    patience: seconds for which it may pass by itself (NEVER: it is only told at the time-out);
    log_of: pod and container whose last words explain it.
    """

    subject: str
    text: str
    patience: float
    log_of: tuple[str, str] | None = None


def find(
    pods: t.Sequence[Manifest],
    nodes: t.Sequence[Node],
    claims: t.Sequence[Manifest] = (),
    sets: t.Sequence[Manifest] = (),
    events: t.Sequence[Manifest] = (),
) -> list[Trouble]:
    """All troubles in what was seen. events: those of the namespace; old ones of objects that are gone do not count."""
    said = _by_object(events)
    leaving = any("deletionTimestamp" in pod["metadata"] for pod in pods)
    troubles = [
        Trouble(f"{node.name} refused", f"{node.name} refuses to start: {node.reason.rstrip('.')}.", 3.0)
        for node in nodes
        if node.phase == "refused"
    ]
    for pod in pods:
        if "deletionTimestamp" not in pod["metadata"]:
            troubles += _of_pod(pod, leaving, said.get(pod["metadata"]["uid"], {}))
    for claim in claims:
        troubles += _of_claim(claim, said.get(claim["metadata"]["uid"], {}))
    for each in sets:
        troubles += _of_set(each, said.get(each["metadata"]["uid"], {}))
    return troubles


def _by_object(events: t.Sequence[Manifest]) -> dict[str, dict[str, str]]:
    """uid of an object -> reason -> message, the latest of each reason.

    The kubelet gives the reason Failed to all its failures: that of a pull is kept under its own words.
    """
    said: dict[str, dict[str, str]] = {}
    for event in sorted(events, key=_when):
        reason, message = str(event.get("reason", "")), str(event.get("message", ""))
        key = _PULL if message.startswith(_PULL) else reason
        said.setdefault(event["involvedObject"].get("uid", ""), {})[key] = message
    return said


def _when(event: Manifest) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")


def _of_pod(pod: Manifest, leaving: bool, said: t.Mapping[str, str]) -> list[Trouble]:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    troubles = []
    if not leaving and (condition := placeless(pod)) is not None:
        troubles += _unscheduled(name, condition)
    images = {
        each["name"]: each["image"]
        for group in ("initContainers", "containers")
        for each in (pod.get("spec") or {}).get(group) or []
    }
    for each in (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or []):
        trouble = _of_container(name, each, images.get(each["name"], each.get("image", "")), said)
        if trouble:
            troubles.append(trouble)
    troubles += [
        Trouble(f"{name} {reason}", f"{name} waits for its volume: {shorten(said[reason], 300)}.", NEVER)
        for reason in ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
        if reason in said and status.get("phase") == "Pending"
    ]
    return troubles


def _unscheduled(name: str, condition: Manifest) -> list[Trouble]:
    message = str(condition.get("message") or "")
    if condition.get("reason") != "Unschedulable":
        return []
    # a volume that is being made is told of by its claim, if it cannot be made
    patience = NEVER if "unbound immediate PersistentVolumeClaims" in message else 10.0
    text = f"{name} finds no Kubernetes node: {shorten(message).rstrip('.')}."
    text = f"{text} {_taken(name, message)}".rstrip()
    return [Trouble(f"{name} unschedulable", text, patience)]


def placeless(pod: Manifest) -> Manifest | None:
    """The condition by which a pod finds no Kubernetes node, None where it has one or nobody has looked yet."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    wanted = ("PodScheduled", "False")
    return next((each for each in conditions if (each.get("type"), each.get("status")) == wanted), None)


def taken_places(pods: t.Sequence[Manifest]) -> list[str]:
    """How pods find a place whose volume may be on a machine that another node has taken, a text for each."""
    told = [(pod["metadata"]["name"], str((placeless(pod) or {}).get("message") or "")) for pod in pods]
    return [text for name, message in told if (text := _taken(name, message))]


def _taken(name: str, message: str) -> str:
    """message: the scheduler's, why it found no place for the pod."""
    if "anti-affinity" not in message or not any(words in message for words in _ELSEWHERE):
        return ""
    return (
        f"Another node of the cluster may have taken the machine that the volume of {name} is on, which happens when "
        f"its own volume is new: see `kubectl get pods -o wide`. If that one is empty, delete its claim and its pod "
        f"(kubectl delete pvc,pod ...), and both find a place."
    )


def _of_container(pod: str, status: Manifest, image: str, said: t.Mapping[str, str]) -> Trouble | None:
    waiting = (status.get("state") or {}).get("waiting") or {}
    reason, message = waiting.get("reason"), str(waiting.get("message") or "")
    what = f"the container {status['name']} of {pod}"
    if reason in _IMAGE_REASONS:
        message = _pull_message(message, said.get(_PULL, ""), image)
        patience = 0.0 if reason in ("InvalidImageName", "ErrImageNeverPull") else 3.0
        return Trouble(f"{what} image", f"The image {image} of {what} cannot be had: {message}.", patience)
    if reason in _CONFIG_REASONS:
        return Trouble(f"{what} config", f"T{what[1:]} cannot be made: {shorten(message).rstrip('.')}.", 5.0)
    return _crash(pod, status, f"T{what[1:]}")


def _crash(pod: str, status: Manifest, what: str) -> Trouble | None:
    """A container that ends again and again soon after its start; one that ran for long is only being restarted."""
    state, restarts = status.get("state") or {}, int(status.get("restartCount", 0))
    loops = (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff" or "terminated" in state
    last = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    if not loops or restarts < CRASHES or not last.get("exitCode") or _seconds(last) >= _LONG_RUN_SECONDS:
        return None
    how = f"exit code {last['exitCode']}, {last.get('reason', 'no reason given')}"
    return Trouble(f"{what} crash", f"{what} ended {restarts} times ({how}).", 0.0, (pod, status["name"]))


def _seconds(terminated: Manifest) -> float:
    """How long a container ran that has ended."""
    try:
        started, finished = (
            datetime.datetime.fromisoformat(terminated[key].replace("Z", "+00:00"))
            for key in ("startedAt", "finishedAt")
        )
    except (KeyError, ValueError, AttributeError):
        return 0.0
    return (finished - started).total_seconds()


def _pull_message(waiting: str, event: str, image: str) -> str:
    """What the kubelet said of a pull, without the words that only repeat the image."""
    best = event if len(event) > len(waiting) else waiting
    best = best.replace(f'Back-off pulling image "{image}": ', "").replace(f'Failed to pull image "{image}": ', "")
    return shorten(re.sub(r"^(ErrImagePull: )+", "", best), 400).rstrip(".") or "the kubelet does not say why"


def _of_claim(claim: Manifest, said: t.Mapping[str, str]) -> list[Trouble]:
    if (claim.get("status") or {}).get("phase") != "Pending":
        return []
    name = claim["metadata"]["name"]
    return [
        Trouble(f"{name} {reason}", f"The claim {name} gets no volume: {shorten(said[reason]).rstrip('.')}.", patience)
        for reason, patience in (("ProvisioningFailed", 10.0), ("FailedBinding", 20.0), ("ExternalProvisioning", NEVER))
        if reason in said
    ]


def _of_set(stateful_set: Manifest, said: t.Mapping[str, str]) -> list[Trouble]:
    status = stateful_set.get("status") or {}
    if "FailedCreate" not in said or int(status.get("replicas", 0)) >= int(stateful_set["spec"].get("replicas", 1)):
        return []
    name = stateful_set["metadata"]["name"]
    text = f"The StatefulSet {name} cannot make its pods: {shorten(said['FailedCreate']).rstrip('.')}."
    return [Trouble(f"{name} create", text, 10.0)]


class Patience:
    """Remembers since when each trouble lasts."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def final(self, troubles: t.Sequence[Trouble], now: float) -> list[Trouble]:
        """The troubles that have lasted longer than they may. now: seconds of a clock that never goes back."""
        self._since = {each.subject: self._since.get(each.subject, now) for each in troubles}
        return [each for each in troubles if now - self._since[each.subject] >= each.patience]
