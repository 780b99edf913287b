# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""A start of MariaDB without data, to find what it refuses before the first node is touched.

The pod is the nodes' own one, made from their StatefulSet, with empty directories instead of volumes; it asks for
little, so that it finds a place on machines that are full, and has the nodes' limits.
"""

from __future__ import annotations

import contextlib
import functools
import time
import typing as t

from ansible_collections.stateful.galera.plugins.module_utils import _pods, _site_lease
from ansible_collections.stateful.galera.plugins.module_utils._config_words import (
    Wish,
    blame,
    find_wish,
    goes_back,
    reason_in,
    warnings_in,
)
from ansible_collections.stateful.galera.plugins.module_utils._errors import ApiError, GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._kinds import COMPONENT_LABEL, INSTANCE_LABEL, KINDS
from ansible_collections.stateful.galera.plugins.module_utils._observe import look

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Document, Manifest
    from ansible_collections.stateful.galera.plugins.module_utils._observe import Names

_POD = KINDS["Pod"]
_SECONDS = 180
_LOOK_SECONDS = 0.5
_GONE_SECONDS = 60.0
_SCRIPT = r"""
set -u
cnf=/tmp/check.cnf data=/var/lib/mysql/data socket=/run/mysqld/check.sock
printf '%s' "$GALERA_MYCNF" >"$cnf"
provider=()
if ! grep -Eqs '^[[:space:]]*(loose[-_])?wsrep[-_]provider[[:space:]]*=' "$cnf"; then
    for path in /usr/lib/galera/libgalera_smm.so /usr/lib/libgalera_smm.so /usr/lib64/galera-4/libgalera_smm.so; do
        if [ -e "$path" ]; then provider=("--wsrep_provider=$path"); break; fi
    done
fi
mkdir -p "$data"
mariadb-install-db --defaults-file="$cnf" --datadir="$data" --wsrep-on=OFF --cross-bootstrap --skip-name-resolve \
    --skip-test-db --skip-log-bin --skip-log-error --auth-root-authentication-method=socket \
    --auth-root-socket-user=mysql 2>&1 || exit 1
mariadbd --defaults-file="$cnf" --datadir="$data" --socket="$socket" --pid-file=/run/mysqld/check.pid \
    --wsrep_cluster_name=config-check --wsrep_node_address=127.0.0.1 --wsrep_cluster_address=gcomm:// \
    --wsrep-new-cluster "${provider[@]}" 2>&1 &
server=$!
trap 'kill "$server"' TERM
while kill -0 "$server" 2>/dev/null; do
    ready=$(mariadb --no-defaults --socket="$socket" -u mysql -N -e "SHOW STATUS LIKE 'wsrep_ready'" 2>/dev/null)
    case $ready in
        *ON) echo "galera check: started"; kill "$server"; break ;;
    esac
    sleep 0.2
done
wait "$server"
"""


def rehearse_start(
    client: Client,
    names: Names,
    live: t.Mapping[tuple[str, str], Manifest],
    changes: t.Sequence[Document],
    new: bool = False,
    sleep: t.Callable[[float], None] = time.sleep,
) -> list[str]:
    """Start MariaDB as the nodes are to run it, if that differs from how they run: warnings.

    live: the objects by kind and name; changes: the documents that are to be applied; new: whether to try what nodes
    that do not exist yet are to run with. The pod of a run that was killed goes in any case. Raises GaleraError with
    the variable, its value and MariaDB's message when MariaDB does not start, and when it is of an older series than
    all servers that run.
    """
    wish, name = find_wish(names, live, changes, new), pod_name(names)
    if wish is None:
        _remove(client, names)
        return []
    _remove(client, names, sleep)
    try:
        client.create(_POD, pod(names, wish, live.get(("StatefulSet", names.nodes))), names.namespace)
        ended = _await(client, names, name, sleep)
        log = _log(client, names, name)
    finally:
        _remove(client, names)
    reason = reason_in(ended, log)
    if reason:
        raise GaleraError(f"{blame(wish, reason)} Nothing was changed.")
    if wish.live_container and wish.live_container.get("image") != wish.container.get("image"):
        running = [node.version for node in look(client, names, None).nodes if node.version]
        if older := goes_back(wish, log, running):
            raise GaleraError(f"{older} Nothing was changed.")
    return warnings_in(wish, log)


def pod_name(names: Names) -> str:
    return f"{names.nodes}-config-check"


def tidy(client: Client, names: Names, pods: t.Sequence[Manifest]) -> None:
    """Remove the pod of a run that was killed, for one that has nothing to change; pods: those of the cluster.

    That of a run that lives stays, as does one that we may not remove: it is in nobody's way.
    """
    left = [each for each in pods if each["metadata"]["name"] == pod_name(names)]
    if not left:
        return
    lease = _site_lease.SiteLease(client, names)
    with contextlib.suppress(GaleraError):
        try:
            lease.take()
            client.delete(_POD, left[0])
        finally:
            lease.leave()


def pod(names: Names, wish: Wish, owner: Manifest | None) -> Manifest:
    """The pod of the check. owner: the live StatefulSet, with which it goes if nobody removes it."""
    template = wish.stateful_set["spec"]["template"]
    kept = ("imagePullSecrets", "nodeSelector", "tolerations", "securityContext", "priorityClassName")
    mariadb = wish.container
    container = {
        "name": "mariadb",
        "image": mariadb["image"],
        **{key: mariadb[key] for key in ("imagePullPolicy", "securityContext") if key in mariadb},
        "command": ["/bin/bash", "-c", _SCRIPT],
        # Kubernetes makes $ of $$
        "env": [{"name": "GALERA_MYCNF", "value": wish.check_text.replace("$", "$$")}],
        "resources": {**mariadb.get("resources", {}), "requests": {"cpu": "10m", "memory": "64Mi"}},
        "volumeMounts": [
            {"name": "data", "mountPath": "/var/lib/mysql"},
            {"name": "run", "mountPath": "/run/mysqld"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    metadata: Manifest = {
        "name": pod_name(names),
        "namespace": names.namespace,
        "labels": {INSTANCE_LABEL: names.name, COMPONENT_LABEL: "config-check"},
    }
    if owner is not None:
        about = {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
        metadata["ownerReferences"] = [{"apiVersion": "apps/v1", "kind": "StatefulSet", **about}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            **{key: template["spec"][key] for key in kept if template["spec"].get(key)},
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _SECONDS,
            "terminationGracePeriodSeconds": 5,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [container],
            "volumes": [{"name": name, "emptyDir": {}} for name in ("data", "run", "tmp")],
        },
    }


def _await(client: Client, names: Names, name: str, sleep: t.Callable[[float], None]) -> Manifest:
    """Wait until the pod has ended. Raises GaleraError when it cannot begin."""
    patience, started = _pods.Patience(), time.monotonic()
    while True:
        seen = client.get(_POD, name, names.namespace)
        if seen is None:
            raise GaleraError(f"The pod {name}, which tries the configuration, was removed: run again.")
        if (seen.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return seen
        now = time.monotonic()
        troubles = _pods.find([seen], [])
        final = patience.final(troubles, now)
        if final or now - started > _SECONDS + 30:
            text = " ".join(each.text for each in final or troubles)
            raise GaleraError(
                f"The wanted configuration cannot be tried: {text or f'the pod {name} has not ended'} "
                f"Nothing was changed."
            )
        sleep(_LOOK_SECONDS)


def _log(client: Client, names: Names, name: str) -> str:
    path = f"{_POD.path(names.namespace, name)}/log"
    try:
        return client.ask("GET", path, {"tailLines": "400"}).body.decode("utf-8", "replace")
    except ApiError:
        return ""


def _remove(client: Client, names: Names, sleep: t.Callable[[float], None] | None = None) -> None:
    """Remove the pod of this or an earlier run; with `sleep`, wait until it is gone."""
    find = functools.partial(client.get, _POD, pod_name(names), names.namespace)
    live, patience = find(), _GONE_SECONDS
    while live is not None:
        client.delete(_POD, live)
        if sleep is None:
            return
        if patience <= 0:
            raise GaleraError(
                f"The pod {pod_name(names)} of an earlier run does not go, as on a machine that is away. It holds no "
                f"data: `kubectl -n {names.namespace} delete pod {pod_name(names)} --force` removes it. Nothing was "
                f"changed."
            )
        sleep(_LOOK_SECONDS)
        patience -= _LOOK_SECONDS
        live = find()
