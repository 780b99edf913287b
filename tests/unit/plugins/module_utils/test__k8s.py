# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kubernetes.core.plugins.module_utils.k8s import client as core
from ansible_collections.stateful.galera.plugins.module_utils import _holder
from ansible_collections.stateful.galera.plugins.module_utils._errors import ApiError, GaleraError, UnreachableError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, Document
from rendering import collection_environment
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes, status

PATH = "/api/v1/namespaces/db/configmaps/x"
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "db"}, "data": {"a": "1"}}
DOCUMENT = Document("volumes", KINDS["ConfigMap"], CONFIG_MAP)
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "db"}}


def _client(api: FakeKubernetes, pauses: list[float] | None = None, **params: Any) -> Client:
    return Client({**api.auth, **params}, retry_timeout=1e6, sleep=(pauses if pauses is not None else []).append)


@pytest.mark.parametrize("name", ["_create_auth_spec", "_create_configuration", "_create_headers"])
def test_kubernetes_core_still_has_what_we_use(name: str) -> None:
    assert callable(getattr(core, name))


def test_first_request_is_the_first_that_is_wanted(api: FakeKubernetes) -> None:
    client = _client(api)
    client.read("/version")
    assert [(method, path) for method, path, _ in api.requests] == [("GET", "/version")]
    assert client.requests == 1
    assert api.headers[0]["authorization"] == "Bearer token-of-the-test"
    assert api.headers[0]["user-agent"] == "stateful.galera/1.0.0"


def test_impersonation(api: FakeKubernetes) -> None:
    _client(api, impersonate_user="jane").read("/version")
    assert api.headers[0]["impersonate-user"] == "jane"


def test_get(api: FakeKubernetes) -> None:
    api.add(CONFIG_MAP)
    found = _client(api).get(KINDS["ConfigMap"], "x", "db")
    assert found is not None
    assert found["data"] == {"a": "1"}
    assert _client(api).get(KINDS["ConfigMap"], "y", "db") is None


def test_list_completes_the_items(api: FakeKubernetes) -> None:
    api.add(CONFIG_MAP)
    api.add({**CONFIG_MAP, "metadata": {"name": "y", "namespace": "db", "labels": {"a": "b"}}})
    items = _client(api).list_all(KINDS["ConfigMap"], "db", labelSelector="a=b")
    assert [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in items] == [
        ("v1", "ConfigMap", "y")
    ]


def test_apply(api: FakeKubernetes) -> None:
    api.add(NAMESPACE)
    client = _client(api)
    assert [client.apply(DOCUMENT)[1] for _ in range(2)] == [True, False]
    assert api.requests[0] == (
        "PATCH",
        PATH,
        {"fieldManager": "stateful.galera", "force": "true", "fieldValidation": "Strict"},
    )
    assert api.headers[0]["content-type"] == "application/apply-patch+yaml"


def test_dry_run_changes_nothing(api: FakeKubernetes) -> None:
    api.add(NAMESPACE)
    client = _client(api)
    client.apply(DOCUMENT, dry_run=True)
    client.create(KINDS["ConfigMap"], CONFIG_MAP, "db", dry_run=True)
    assert [query["dryRun"] for _, _, query in api.requests] == ["All", "All"]
    assert api.get("ConfigMap", "x") is None


@pytest.mark.parametrize("code", [409, 429, 500, 502, 503, 504])
def test_passing_answers_are_repeated(api: FakeKubernetes, code: int) -> None:
    api.add(NAMESPACE)
    api.replies["PATCH", PATH] = [status(code, "", "later")] * 3
    pauses: list[float] = []
    _client(api, pauses).apply(DOCUMENT)
    assert api.get("ConfigMap", "x") is not None
    assert pauses == [0.1, 0.2, 0.4]


@pytest.mark.parametrize(
    "reply",
    [
        status(400, "BadRequest", "no"),
        status(403, "Forbidden", "no"),
        status(404, "NotFound", "no"),
        status(422, "Invalid", "no"),
        status(500, "", "failed to create typed patch object (x): .spec.foo: field not declared in schema"),
    ],
)
def test_lasting_answers_are_not_repeated(api: FakeKubernetes, reply: tuple[int, dict[str, Any]]) -> None:
    api.replies["PATCH", PATH] = [reply]
    with pytest.raises(ApiError) as error:
        _client(api).apply(DOCUMENT)
    assert str(error.value) == f"ConfigMap x was not accepted: {reply[1]['message']}"
    assert len(api.requests) == 1


def test_repetition_ends(api: FakeKubernetes) -> None:
    api.replies["GET", "/version"] = [status(503, "", "down")] * 9
    with pytest.raises(ApiError, match=r"^down$"):
        Client(api.auth, retry_timeout=0).read("/version")
    assert len(api.requests) == 1


def test_conflict_of_a_version_that_is_named_is_not_repeated(api: FakeKubernetes) -> None:
    api.replies["PATCH", PATH] = [status(409, "Conflict", "modified")]
    metadata = {**CONFIG_MAP["metadata"], "resourceVersion": "1"}  # type: ignore[dict-item]
    with pytest.raises(ApiError, match="modified"):
        _client(api).apply(Document("x", KINDS["ConfigMap"], {**CONFIG_MAP, "metadata": metadata}))
    assert len(api.requests) == 1


def test_create_tells_of_an_object_that_is_there(api: FakeKubernetes) -> None:
    api.add(NAMESPACE)
    api.add(CONFIG_MAP)
    with pytest.raises(ApiError) as error:
        _client(api).create(KINDS["ConfigMap"], CONFIG_MAP, "db")
    assert error.value.status == 409


def test_delete_means_the_object_that_was_seen(api: FakeKubernetes) -> None:
    seen = api.add(CONFIG_MAP)
    client = _client(api)
    assert client.delete(KINDS["ConfigMap"], seen)
    assert api.bodies[0] == {"propagationPolicy": "Foreground", "preconditions": {"uid": seen["metadata"]["uid"]}}
    assert not client.delete(KINDS["ConfigMap"], seen)
    api.replies["DELETE", PATH] = [status(409, "Conflict", "uid is another")]
    assert not client.delete(KINDS["ConfigMap"], seen)


def test_delete_that_is_forbidden(api: FakeKubernetes) -> None:
    seen = api.add(CONFIG_MAP)
    api.denied.add(("delete", "configmaps"))
    with pytest.raises(ApiError, match="forbidden"):
        _client(api).delete(KINDS["ConfigMap"], seen)


def test_credentials_that_are_not_accepted(api: FakeKubernetes) -> None:
    api.replies["GET", "/version"] = [status(401, "Unauthorized", "Unauthorized")]
    with pytest.raises(ApiError) as error:
        _client(api).read("/version")
    assert str(error.value) == (
        f"The API server at {api.host} does not accept the credentials (401 Unauthorized): Unauthorized"
    )


@pytest.mark.parametrize("reply", [(200, b"<html>Log in</html>"), (302, b""), (200, b"[]"), (200, b"\xff")])
def test_who_answers_is_no_api_server(api: FakeKubernetes, reply: tuple[int, bytes]) -> None:
    """A portal, a proxy or another address."""
    api.replies["GET", "/version"] = [reply]
    with pytest.raises(GaleraError, match=rf"^What answers is no API server.* HTTP status {reply[0]} with '"):
        _client(api).read("/version")


def test_server_that_is_not_there_is_said_at_once(api: FakeKubernetes) -> None:
    api.close()
    pauses: list[float] = []
    with pytest.raises(UnreachableError) as error:
        _client(api, pauses).read("/version")
    assert str(error.value) == f"The API server at {api.host} does not answer: [Errno 111] Connection refused."
    assert pauses == []


def test_name_that_does_not_resolve() -> None:
    client = Client({"host": "https://nowhere.invalid:6443", "api_key": "x"}, retry_timeout=0)
    with pytest.raises(
        UnreachableError, match=r"^The API server at https://nowhere.invalid:6443 does not answer: Failed to resolve"
    ):
        client.read("/version")


def test_server_that_goes_away_for_a_moment(api: FakeKubernetes) -> None:
    """A connection that is lost after the first contact is tried again."""
    client = _client(api)
    client.read("/version")
    attempts: list[str] = []
    fetch = client.fetch

    def lost_twice(*args: Any, **kwargs: Any) -> Any:
        attempts.append(args[1])
        if len(attempts) < 3:
            raise UnreachableError("lost")
        return fetch(*args, **kwargs)

    client.fetch = lost_twice  # type: ignore[method-assign]
    assert client.read("/version")["major"] == "1"
    assert len(attempts) == 3


def test_server_that_an_earlier_task_has_met_is_waited_for(api: FakeKubernetes) -> None:
    api.close()
    pauses: list[float] = []
    with pytest.raises(UnreachableError) as error:
        Client(
            api.auth, retry_timeout=0.05, sleep=lambda pause: (pauses.append(pause), time.sleep(0.03)), met=True
        ).read("/version")
    assert str(error.value) == (
        f"The API server at {api.host} does not answer: [Errno 111] Connection refused, for 0.05 s, at GET /version. "
        f"Running again goes on from here."
    )
    assert pauses


def test_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GaleraError) as error:
        Client({"kubeconfig": "/nonexistent/kubeconfig"})
    assert str(error.value) == (
        "No usable connection to an API server is configured (galera_cluster_kubeconfig=/nonexistent/kubeconfig): "
        "Invalid kube-config file. No configuration found."
    )


def test_parallel_keeps_order_and_errors(api: FakeKubernetes) -> None:
    client, error = _client(api), GaleraError("no")

    def fail() -> int:
        raise error

    assert client.parallel([lambda: 1, fail, lambda: 3]) == [1, error, 3]
    assert client.all_of([lambda: 1, lambda: 2]) == [1, 2]
    with pytest.raises(GaleraError, match=r"^no$"):
        client.all_of([lambda: 1, fail])


def test_nothing_is_asked_for_a_run_that_has_ended(api: FakeKubernetes) -> None:
    me = _holder.current()[0]
    client = Client(api.auth, run=dataclasses.replace(me, started=me.started - 1))
    for call in (lambda: client.read("/version"), lambda: client.apply(DOCUMENT)):
        with pytest.raises(GaleraError, match=rf"\(process {me.pid}\) has ended: it stops here"):
            call()
    assert api.requests == []


WORKER = """
import os, sys, time
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
if os.fork():
    time.sleep(60)
client = Client({"host": sys.argv[1], "api_key": "x"})
end = time.monotonic() + 30
while time.monotonic() < end:
    client.read("/version")
    time.sleep(0.02)
"""


def test_the_process_that_a_killed_play_leaves_behind_stops(api: FakeKubernetes, tmp_path: Path) -> None:
    """Its worker is another process, and asked for as long as it had something to do."""
    (tmp_path / "ansible-playbook").write_text(WORKER)
    command = [sys.executable, str(tmp_path / "ansible-playbook"), api.host]
    environment = collection_environment()
    environment["PYTHONPATH"] = environment["ANSIBLE_COLLECTIONS_PATH"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as play:
        deadline = time.monotonic() + 30
        while len(api.requests) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(api.requests) >= 3
        # not waited for: as long as nobody does, its number is there
        play.kill()
        assert play.stderr is not None
        # Up to the end of the worker, which has inherited it
        said = play.stderr.read().decode()
    assert f"(process {play.pid}) has ended: it stops here" in said
