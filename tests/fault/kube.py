# SPDX-License-Identifier: GPL-3.0-or-later
"""kubectl, one proxy to the API server for what is asked often, and waiting with a limit."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.25


class KubeError(Exception):
    """kubectl failed; the text is what it said."""


class WaitError(Exception):
    """Something did not come to pass in time; the text says what, and what was seen last."""


class Kubectl:
    """kubectl with the connection of an inventory; an empty connection is that of the environment.

    A process of kubectl costs a fifth of a second of a core, a fault of its own on a small machine: what is
    polled goes through one `kubectl proxy`, which lives as long as this object's context.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        self.options = options
        self._proxy: subprocess.Popen[str] | None = None
        self._address = ""

    def __enter__(self) -> Kubectl:
        """Start the proxy on a free port of the loopback interface. Raises KubeError."""
        command = ["kubectl", *self.options, "proxy", "--port=0"]
        self._proxy = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self._proxy.stdout.readline() if self._proxy.stdout else ""
        if "127.0.0.1:" not in line:
            raise KubeError(f"kubectl proxy did not start: {line.strip() or 'it said nothing'}")
        self._address = line.strip().rpartition(" ")[2]
        return self

    def __exit__(self, *_: object) -> None:
        """End the proxy."""
        if self._proxy is not None:
            self._proxy.terminate()
            self._proxy.wait()
            self._proxy = None

    def __call__(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        """Run kubectl and return what it printed. Raises KubeError, also when it took longer than `seconds`."""
        command = ["kubectl", *self.options, *arguments]
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, check=False, timeout=seconds, errors="replace"
            )
        except subprocess.TimeoutExpired:
            raise KubeError(f"kubectl {' '.join(arguments[:6])}: no answer within {seconds:g} s") from None
        if done.returncode:
            what = " ".join(arguments[:8])
            raise KubeError(f"kubectl {what}: {(done.stderr or done.stdout).strip()[-1500:]}")
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get <arguments>` as an object."""
        loaded: dict[str, Any] = json.loads(self("get", *arguments, "-o", "json"))
        return loaded

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects."""
        self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def raw(self, path: str, seconds: float = 30) -> str:
        """GET a path of the API server, such as the proxy to a pod. Raises KubeError."""
        try:
            with urllib.request.urlopen(f"http://{self._address}{path}", timeout=seconds) as answer:
                return str(answer.read().decode(errors="replace"))
        except urllib.error.HTTPError as refused:
            raise KubeError(f"{path}: {refused.code} {refused.read(300).decode(errors='replace').strip()}") from None
        except (OSError, http.client.HTTPException) as problem:
            raise KubeError(f"{path}: {problem}") from None


def until(look: Callable[[], str | None], what: str, seconds: float, steady: float = 0) -> float:
    """Wait until `look` returns None; what it returns is what is still missing. Returns how long it took.

    With `steady` it must go on to return None for so many seconds; the time until the first of them is returned. A
    kubectl that fails counts as "not yet". Raises WaitError.
    """
    begin = time.monotonic()
    good: float | None = None
    while True:
        try:
            missing = look()
        except (KubeError, ValueError, KeyError) as problem:
            missing = str(problem)
        now = time.monotonic()
        good = None if missing is not None else good or now
        if good is not None and now - good >= steady:
            return good - begin
        if missing is not None and now - begin > seconds:
            raise WaitError(f"waited {seconds:g} s for {what}; last seen: {missing}")
        time.sleep(POLL_SECONDS)


def utc() -> str:
    """This moment as the API server writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def file_map(name: str, namespace: str, *paths: Path, extra: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A ConfigMap with these files."""
    data = {path.name: path.read_text() for path in paths} | dict(extra or {})
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }
