# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Running one Kubernetes Job to its end: what is to be done about the Job that is there, and how it ended.

A Job stays when it has ended, and speaks for itself: the same Job is not run a second time, unless that is asked for.
"""

from __future__ import annotations

import dataclasses
import json
import time
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils import _apply
from ansible_collections.stateful.galera.plugins.module_utils._errors import ApiError, GaleraError, and_list, shorten
from ansible_collections.stateful.galera.plugins.module_utils._k8s import FIELD_MANAGER
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS
from ansible_collections.stateful.galera.plugins.module_utils._pods import placeless

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Document, Manifest

RUNNING, SUCCEEDED, FAILED = "running", "succeeded", "failed"
_JOB, _POD, _EVENT = KINDS["Job"], KINDS["Pod"], KINDS["Event"]
_LOOK_SECONDS = 0.5
# The log is read that often while the Job runs, for whoever watches
_TELL_SECONDS = 2.0
# So long a pod may take to start before it is said why it has not
_START_SECONDS = 10.0
_LOG_LINES = 50
_REMOVE_SECONDS = 60.0
# What the agent's commands print first, for programs
_BEGINS = '{"type": "begin"'
_JOB_LABEL = "batch.kubernetes.io/job-name"


@dataclasses.dataclass(frozen=True)
class State:
    """How a Job is. state: running, succeeded or failed; why: Kubernetes' words about a failure, else empty."""

    state: str
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Ended:
    """A Job that has ended well. ran: whether this call started it; log: its last lines."""

    ran: bool
    log: tuple[str, ...]


def state_of(job: Manifest) -> State:
    """Read the conditions of a Job."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("status") != "True":
            continue
        if condition.get("type") == "Complete":
            return State(SUCCEEDED)
        if condition.get("type") == "Failed":
            reason, message = condition.get("reason") or "", condition.get("message") or ""
            return State(FAILED, ": ".join(filter(None, [reason, message])))
    return State(RUNNING)


def next_step(live: Manifest | None, wanted: Manifest, again: bool) -> str:
    """What is to be done: create, replace, wait (it runs), nothing (it has run), or busy (another one runs).

    again: whether one that ended well is run once more.
    """
    if live is None:
        return "create"
    same, state = _apply.is_settled(live, wanted, FIELD_MANAGER), state_of(live).state
    if "deletionTimestamp" in live["metadata"]:
        return "replace"
    if state == RUNNING:
        return "wait" if same else "busy"
    return "nothing" if same and state == SUCCEEDED and not again else "replace"


def trouble_of(pod: Manifest) -> str:
    """Why a pod has not started, "" where it has."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return shorten(f"{waiting['reason']}: {waiting.get('message') or ''}").rstrip(": ")
    if (condition := placeless(pod)) is not None:
        return shorten(f"{condition.get('reason')}: {condition.get('message')}")
    return f"its pod is {status['phase']}" if status.get("phase") == "Pending" else ""


def unsaid(said: t.Sequence[str], log: t.Sequence[str]) -> t.Sequence[str]:
    """The lines of a log's end that were not said before, when `said` was its end."""
    if not said or said[-1] not in log:
        return log
    return log[len(log) - log[::-1].index(said[-1]) :]


def plain(line: str) -> str:
    """A line of a log for a reader: of the objects that the agent's commands print their message."""
    try:
        found = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return line
    message = found.get("message") if isinstance(found, dict) else None
    return message if message and isinstance(message, str) else line


def users_of(client: Client, claim: str, namespace: str) -> list[str]:
    """The pods that use a claim, "pod x" each; they keep it from being deleted. Raises GaleraError."""
    return [f"pod {pod['metadata']['name']}" for pod in _pods_of_claim(client, claim, namespace)]


def jobs_of(client: Client, claim: str, namespace: str) -> list[Manifest]:
    """The Jobs whose pods use a claim. Raises GaleraError."""
    labels = [pod["metadata"].get("labels") or {} for pod in _pods_of_claim(client, claim, namespace)]
    names = sorted({each[_JOB_LABEL] for each in labels if _JOB_LABEL in each})
    return [job for name in names if (job := client.get(_JOB, name, namespace)) is not None]


def _pods_of_claim(client: Client, claim: str, namespace: str) -> list[Manifest]:
    return [
        pod
        for pod in client.list_all(_POD, namespace)
        for volume in (pod.get("spec") or {}).get("volumes") or []
        if (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim
    ]


def require_parts(client: Client, job: Document, needed: t.Sequence[Document] = ()) -> None:
    """Raise GaleraError where what a Job's pod needs does not exist: Kubernetes would have the Job wait for it.

    needed: what is applied with the Job. Claims have their own words, see the module restore.
    """
    pod = ((job.manifest.get("spec") or {}).get("template") or {}).get("spec") or {}
    wanted = [("ServiceAccount", pod.get("serviceAccountName"))]
    for volume in pod.get("volumes") or []:
        sources = (("ConfigMap", "name", volume.get("configMap")), ("Secret", "secretName", volume.get("secret")))
        wanted += [(kind, found[key]) for kind, key, found in sources if found and not found.get("optional")]
    given = {(each.kind.kind, each.name) for each in needed}
    missing = [
        f"{kind} {name}"
        for kind, name in wanted
        if name and (kind, name) not in given and not _is_there(client, kind, name, job.namespace)
    ]
    if missing:
        raise GaleraError(
            f"{job} needs what does not exist in namespace {job.namespace}: {and_list(missing)}. See that "
            "galera_cluster_name and galera_cluster_namespace are right, and run the playbook site; where there is to "
            "be no cluster yet, apply galera-<size>-namespace.yml and galera-<size>-volumes.yml, written by render. "
            "Nothing was run."
        )


def _is_there(client: Client, kind: str, name: str, namespace: str) -> bool:
    try:
        return client.get(KINDS[kind], name, namespace) is not None
    except ApiError as error:
        # Who may not look learns it from the Job
        if error.status != 403:
            raise
        return True


class Runner:
    """Runs one Job. timeout: seconds to wait for its end; say: gets each line of its log, while it runs."""

    def __init__(
        self,
        client: Client,
        document: Document,
        timeout: float,
        say: t.Callable[[str], None] | None = None,
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._document, self._timeout, self._say = client, document, timeout, say
        self._said: tuple[str, ...] = ()
        # Why its pod has not started, since when, and whether that was said
        self._held_up, self._held_up_since, self._held_up_said = "", 0.0, False
        self._clock, self._sleep = clock, sleep

    def step(self, again: bool) -> str:
        """What run would do, see next_step."""
        return next_step(self._live(), self._document.manifest, again)

    def clear(self, again: bool) -> None:
        """Remove a Job that run would replace, with its pods: they keep the claims that the new one needs.

        Raises GaleraError.
        """
        if self.step(again) == "replace":
            self._remove(self._clock() + _REMOVE_SECONDS)

    def run(self, again: bool = False, remove: bool = False) -> Ended:
        """Start it if needed and wait for its end. Raises GaleraError where it fails, is busy or takes too long.

        remove: do not leave a Job that has ended; its pod would keep the claims that it used from being deleted. Its
        end is not waited for: whoever runs the Job again does that.
        """
        end = self._clock() + self._timeout
        step = self.step(again)
        if step == "busy":
            raise GaleraError(
                f"{self._document} runs with other settings: wait for its end, or delete it. Nothing was changed."
            )
        if step == "replace":
            self._remove(end)
        if step in ("create", "replace"):
            self._client.apply(self._document)
        tell_at = self._clock() + _TELL_SECONDS
        log: tuple[str, ...] = ()
        while True:
            live = self._live()
            if live is None:
                raise GaleraError(f"{self._document} was deleted while it ran: run again.")
            state = state_of(live)
            if state.state != RUNNING or (self._say is not None and self._clock() >= tell_at):
                log = self._tell()
                tell_at = self._clock() + _TELL_SECONDS
            if state.state == SUCCEEDED:
                ended = Ended(step in ("create", "replace", "wait"), log)
                if remove:
                    self._client.delete(_JOB, live)
                return ended
            if state.state == FAILED:
                said = shorten(" ".join(plain(line) for line in log[-8:] if not line.startswith(_BEGINS)), 1200)
                if remove:
                    self._client.delete(_JOB, live)
                raise GaleraError(f"{self._document} failed ({state.why}). Its last words: {said or 'none'}")
            if self._clock() >= end:
                raise GaleraError(
                    f"Waited {self._timeout:g} s for {self._document}, which still runs, last seen: {self._seen()}. "
                    "Running again goes on waiting for it."
                )
            self._sleep(_LOOK_SECONDS)

    def _tell(self) -> tuple[str, ...]:
        """Say what the Job has said since the last time; returns its log."""
        log = self.log()
        if self._say is not None:
            for line in unsaid(self._said, log):
                self._say(plain(line))
            if not log:
                self._tell_trouble(self._say)
        self._said = log or self._said
        return log

    def _tell_trouble(self, say: t.Callable[[str], None]) -> None:
        """Say why no pod of it has started, once that has stood for a while."""
        found = self._trouble() or ("" if self._pods() else self._podless())
        if found != self._held_up:
            self._held_up, self._held_up_since, self._held_up_said = found, self._clock(), False
        elif found and not self._held_up_said and self._clock() - self._held_up_since >= _START_SECONDS:
            say(f"{self._document} has not started: {found}")
            self._held_up_said = True

    def log(self) -> tuple[str, ...]:
        """The last lines of its newest pod, none where there is none."""
        pods = self._pods()
        if not pods:
            return ()
        path = f"{_POD.path(self._document.namespace, pods[-1]['metadata']['name'])}/log"
        try:
            text = self._client.ask("GET", path, {"tailLines": str(_LOG_LINES)}).body.decode("utf-8", "replace")
        except ApiError:
            return ()
        return tuple(line for line in text.splitlines() if line.strip())

    def _seen(self) -> str:
        return self._trouble() or next(map(plain, self.log()[-1:]), "") or self._podless()

    def _podless(self) -> str:
        """That there is no pod, and why Kubernetes makes none: a quota, the pod security of the namespace."""
        selector = f"involvedObject.kind=Job,involvedObject.name={self._document.name}"
        try:
            found = self._client.list_all(_EVENT, self._document.namespace, fieldSelector=selector)
        except ApiError:
            found = []
        said = [str(each.get("message") or "") for each in found if each.get("reason") == "FailedCreate"]
        return shorten(f"it has no pod yet: {said[-1]}") if said else "it has no pod yet"

    def _trouble(self) -> str:
        return next((found for pod in self._pods() if (found := trouble_of(pod))), "")

    def _live(self) -> Manifest | None:
        return self._client.get(_JOB, self._document.name, self._document.namespace)

    def _pods(self) -> list[Manifest]:
        selector = f"{_JOB_LABEL}={self._document.name}"
        pods = self._client.list_all(_POD, self._document.namespace, labelSelector=selector)
        return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))

    def _remove(self, end: float) -> None:
        live = self._live()
        if live is not None:
            self._client.delete(_JOB, live)
        while self._live() is not None:
            if self._clock() >= end:
                raise GaleraError(f"Waited {self._timeout:g} s for the end of an earlier {self._document}.")
            self._sleep(_LOOK_SECONDS)
