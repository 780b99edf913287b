# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import itertools
import subprocess
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _config_check
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from ansible_collections.stateful.galera.plugins.module_utils._kinds import KINDS, Document
from ansible_collections.stateful.galera.plugins.module_utils._observe import Names
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes
from unit.plugins.module_utils.sights import pod

NAMES = Names("demo", "db")
NAME = "demo-galera-config-check"
CONTAINER = {
    "name": "mariadb",
    "image": "mariadb:11.8",
    "imagePullPolicy": "IfNotPresent",
    "resources": {"requests": {"cpu": "4", "memory": "8Gi"}, "limits": {"memory": "8Gi"}},
    "securityContext": {"allowPrivilegeEscalation": False},
    "volumeMounts": [{"name": "data", "mountPath": "/var/lib/mysql"}],
}
POD = {
    "serviceAccountName": "demo-galera",
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [],
    "securityContext": {"runAsNonRoot": True},
    "initContainers": [{"name": "agent", "image": "agent"}],
    "containers": [CONTAINER],
}
SET: dict[str, Any] = {
    "metadata": {"name": "demo-galera", "namespace": "db", "uid": "set-1"},
    "spec": {"template": {"spec": POD}},
}
BEFORE, AFTER = "[mariadb]\na = 1\n", "[mariadb]\na = 2\n"


def _live(text: str = BEFORE) -> dict[tuple[str, str], Any]:
    return {("StatefulSet", "demo-galera"): SET, ("ConfigMap", "demo-galera-config"): {"data": {"galera.cnf": text}}}


def _changes(text: str = AFTER) -> list[Document]:
    manifest = {"metadata": {"name": "demo-galera-config"}, "data": {"galera.cnf": text}}
    return [Document("volumes", KINDS["ConfigMap"], manifest)]


def _try(
    api: FakeKubernetes, status: dict[str, Any], log: str, text: str = AFTER, image: str = "mariadb:11.8"
) -> list[str]:
    """The check, with a pod that comes to have this status, and this log. image: that the nodes shall get."""
    api.objects["Namespace", "", "db"] = {"kind": "Namespace", "metadata": {"name": "db"}}
    made: list[Any] = []

    def sleep(_seconds: float) -> None:
        live = api.get("Pod", NAME)
        if live is not None:
            made.append(copy.deepcopy(live))
            live["status"] = status
            path = f"/api/v1/namespaces/db/pods/{NAME}/log"
            api.replies["GET", path] = [(200, log.encode())]

    changes = _changes(text)
    if image != CONTAINER["image"]:
        wanted = copy.deepcopy(SET)
        wanted["spec"]["template"]["spec"]["containers"][0]["image"] = image
        changes.append(Document("nodes", KINDS["StatefulSet"], wanted))
    warnings = _config_check.rehearse_start(Client(api.auth, retry_timeout=0), NAMES, _live(), changes, sleep=sleep)
    assert len(made) == (text == AFTER)
    return warnings


def test_accepted(api: FakeKubernetes) -> None:
    log = "galera check: started\n2026-11-21 13:50:01 0 [Warning] option 'a': unsigned value 2 adjusted to 3"
    assert _try(api, {"phase": "Succeeded"}, log) == [
        "MariaDB takes the wanted configuration, but says: option 'a': unsigned value 2 adjusted to 3"
    ]
    assert api.get("Pod", NAME) is None


STARTED = (
    "x [Note] mariadbd: ready for connections.\nVersion: '11.4.5-MariaDB-ubu2404'  socket: '/x'\ngalera check: started"
)


@pytest.mark.parametrize(
    ("running", "image", "refused"),
    [
        (["11.8.6-MariaDB-log", "11.8.6-MariaDB-log"], "mariadb:11.4", True),
        (["12.0.2-MariaDB"], "mariadb:11.4", True),
        # a change to 11.8 that is taken back
        (["11.8.6-MariaDB-log", "11.4.5-MariaDB-log"], "mariadb:11.4", False),
        (["11.4.9-MariaDB-log"], "mariadb:11.4", False),
        (["10.11.9-MariaDB-log"], "mariadb:11.4", False),
        ([], "mariadb:11.4", False),
        (["11.8.6-MariaDB-log"], "mariadb:11.8", False),
    ],
)
def test_an_older_series_of_mariadb(api: FakeKubernetes, running: list[str], image: str, refused: bool) -> None:
    for ordinal, version in enumerate(running):
        api.add(pod(f"demo-galera-{ordinal}"))
        api.agents[f"demo-galera-{ordinal}"] = {"phase": "running", "server_version": version}
    if not refused:
        assert _try(api, {"phase": "Succeeded"}, STARTED, image=image) == []
        return
    with pytest.raises(GaleraError) as error:
        _try(api, {"phase": "Succeeded"}, STARTED, image=image)
    version = running[0].partition("-")[0]
    assert str(error.value).startswith(
        f"galera_cluster_docker_image=mariadb:11.4 is MariaDB 11.4, the nodes run {version}: MariaDB does not "
    )
    assert str(error.value).endswith("Nothing was changed.")


def test_refused_and_nothing_left_behind(api: FakeKubernetes) -> None:
    log = "2026-11-21 13:48:40 0 [ERROR] /usr/sbin/mariadbd: unknown variable 'a=2'\n"
    with pytest.raises(GaleraError) as error:
        _try(api, {"phase": "Failed"}, log)
    assert str(error.value) == (
        "galera_cluster_mycnf: a=2: MariaDB (mariadb:11.8) does not start with it: unknown variable 'a=2'. "
        "Nothing was changed."
    )
    assert api.get("Pod", NAME) is None


def test_without_a_change_nothing_is_tried(api: FakeKubernetes) -> None:
    assert _try(api, {}, "", BEFORE) == []
    assert api.writes() == []


def test_pod_of_a_run_that_was_killed_is_replaced(api: FakeKubernetes) -> None:
    api.add({"kind": "Pod", "metadata": {"name": NAME, "namespace": "db", "uid": "old"}, "status": {"phase": "Failed"}})
    assert _try(api, {"phase": "Succeeded"}, "galera check: started") == []
    assert [method for method, _ in api.writes()] == ["DELETE", "POST", "DELETE"]


def test_pod_of_a_run_that_was_killed_that_does_not_go_is_not_waited_for_without_end(api: FakeKubernetes) -> None:
    """Its machine is away: it stays, marked, until somebody forces it."""
    path = f"/api/v1/namespaces/db/pods/{NAME}"
    left = _left(api)
    api.before = lambda method, _path: api.replies.update({("DELETE", path): [(200, left)]})
    waits = itertools.count()

    def sleep(_seconds: float) -> None:
        assert next(waits) < 200

    with pytest.raises(GaleraError, match=r"does not go.*delete pod demo-galera-config-check --force.*Nothing was"):
        _config_check.rehearse_start(Client(api.auth, retry_timeout=0), NAMES, _live(), _changes(), sleep=sleep)


def _left(api: FakeKubernetes) -> dict[str, Any]:
    """The pod of a run that was killed."""
    metadata = {"name": NAME, "namespace": "db", "labels": {"app.kubernetes.io/instance": "demo"}}
    return api.add({"kind": "Pod", "metadata": metadata, "status": {"phase": "Running"}})


def test_pod_of_a_run_that_was_killed_goes_with_the_next_change_whatever_it_is(api: FakeKubernetes) -> None:
    _left(api)
    assert _try(api, {}, "", BEFORE) == []
    assert api.get("Pod", NAME) is None


@pytest.mark.parametrize("held", [False, True])
def test_pod_of_a_run_that_was_killed_goes_without_a_change(api: FakeKubernetes, held: bool) -> None:
    """One of a run that lives stays."""
    api.add({"kind": "Namespace", "metadata": {"name": "db"}})
    client = Client(api.auth, retry_timeout=0)
    _config_check.tidy(client, NAMES, [{"metadata": {"name": "demo-galera-0"}}])
    assert api.requests == []
    left, moments = _left(api), itertools.count()
    if held:
        spec = {"holderIdentity": "root@awx/7/1/1/0-1", "leaseDurationSeconds": 15}
        lease = api.add({"kind": "Lease", "metadata": {"name": "demo-galera-site", "namespace": "db"}, "spec": spec})
        api.before = lambda method, path: lease["spec"].update(renewTime=f"2999-11-21T07:00:{next(moments):02}Z")
    _config_check.tidy(client, NAMES, [left])
    assert (api.get("Pod", NAME) is None) != held
    assert (api.get("Lease", "demo-galera-site") is None) != held


def test_pod_that_cannot_begin_is_told(api: FakeKubernetes) -> None:
    waiting = {"reason": "InvalidImageName", "message": "couldn't parse image name"}
    status = {"phase": "Pending", "containerStatuses": [{"name": "mariadb", "state": {"waiting": waiting}}]}
    with pytest.raises(
        GaleraError, match=r"^The wanted configuration cannot be tried: The image .* Nothing was changed\.$"
    ):
        _try(api, status, "")
    assert api.get("Pod", NAME) is None


def test_pod_is_the_nodes_own_without_their_data(api: FakeKubernetes) -> None:
    wish = _config_check.find_wish(NAMES, _live(), _changes())
    assert wish is not None
    manifest = _config_check.pod(NAMES, wish, SET)
    spec, (container,) = manifest["spec"], manifest["spec"]["containers"]
    assert (spec["nodeSelector"], spec["securityContext"]) == ({"disk": "ssd"}, {"runAsNonRoot": True})
    assert "serviceAccountName" not in spec
    assert all("emptyDir" in volume for volume in spec["volumes"])
    assert container["resources"] == {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "8Gi"}}
    assert container["env"] == [{"name": "GALERA_MYCNF", "value": AFTER}]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False}
    assert manifest["metadata"]["ownerReferences"][0]["uid"] == "set-1"
    assert "ownerReferences" not in _config_check.pod(NAMES, wish, None)["metadata"]


def test_dollars_of_the_configuration_reach_mariadb() -> None:
    """Kubernetes makes $ of $$ in values of the environment."""
    wish = _config_check.find_wish(NAMES, _live(), _changes("a=$$(b)$"))
    assert wish is not None
    (container,) = _config_check.pod(NAMES, wish, SET)["spec"]["containers"]
    assert container["env"][0]["value"] == "a=$$$$(b)$$"


def test_script_is_valid() -> None:
    subprocess.run(["bash", "-n"], input=_config_check._SCRIPT, text=True, check=True)
