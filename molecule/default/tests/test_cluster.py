# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold in every cluster that site made: seen from inside the pods, through HAProxy, and in the API server."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import pytest

ROOT = "R00t'pass\\word"
APP = "app;pass"


def test_every_node_is_synced_in_one_primary_component_without_the_seed(cluster: Any) -> None:
    seen = set()
    for pod in cluster.nodes:
        out = cluster.host(pod, "mariadb").check_output(
            'mariadb -N -e "SHOW GLOBAL STATUS WHERE Variable_name IN '
            "('wsrep_cluster_status','wsrep_local_state_comment',"
            "'wsrep_cluster_size','wsrep_cluster_state_uuid')\""
        )
        status = dict(line.split("\t") for line in out.splitlines())
        assert status["wsrep_cluster_status"] == "Primary"
        assert status["wsrep_local_state_comment"] == "Synced"
        assert status["wsrep_cluster_size"] == str(cluster.size)
        seen.add(status["wsrep_cluster_state_uuid"])
    assert len(seen) == 1


def test_nodes_run_on_different_kubernetes_nodes(cluster: Any) -> None:
    pods = cluster.get("pods", "-l", "app.kubernetes.io/component=node")["items"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == cluster.size


def test_the_seed_and_its_claim_are_gone(cluster: Any) -> None:
    names = [o["metadata"]["name"] for o in cluster.get("statefulsets,persistentvolumeclaims")["items"]]
    assert f"{cluster.name}-galera" in names
    assert not [name for name in names if "seed" in name]


def test_pods_comply_with_pod_security_restricted(cluster: Any) -> None:
    for pod in cluster.nodes:
        mariadb, agent = cluster.host(pod, "mariadb"), cluster.host(pod, "agent")
        for container in (mariadb, agent):
            assert container.check_output("id -u") == "999"
            assert container.run("touch /usr/bin/x").rc != 0
            assert "NoNewPrivs:\t1" in container.file("/proc/1/status").content_string
            assert "CapEff:\t0000000000000000" in container.file("/proc/1/status").content_string


def test_the_server_is_durable_and_uses_mariabackup(cluster: Any) -> None:
    out = cluster.host(cluster.nodes[0], "mariadb").check_output(
        "mariadb -N -e 'SELECT @@innodb_flush_log_at_trx_commit, @@wsrep_sst_method, @@datadir'"
    )
    assert out.split("\t") == ["1", "mariabackup", "/var/lib/mysql/data/"]


def test_the_agent_answers_kubernetes_and_haproxy(cluster: Any) -> None:
    for pod in cluster.nodes:
        agent = cluster.host(pod, "agent")
        script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9200/health/ready', timeout=2).status)"
        assert agent.check_output(f'python3 -c "{script}"') == "200"


@pytest.mark.parametrize("port", [3306, 3307, 3308])
def test_sql_through_haproxy_reaches_every_node(cluster: Any, port: int) -> None:
    table = f"appdb.t_{uuid.uuid4().hex}"
    cluster.sql(
        f"CREATE TABLE {table} (id INT PRIMARY KEY); INSERT INTO {table} VALUES (7)",
        user="app",
        password=APP,
        port=port,
    )
    for pod in cluster.nodes:
        rows = cluster.node_sql(pod, f"SET SESSION wsrep_sync_wait=1; SELECT id FROM {table}", password=ROOT)
        assert rows == [["7"]]
    cluster.sql(f"DROP TABLE {table}", user="app", password=APP, port=port)


def test_connections_spread_over_all_nodes(cluster: Any) -> None:
    seen = {cluster.sql("SELECT @@hostname", user="app", password=APP)[0][0] for attempt in range(4 * cluster.size)}
    assert seen == set(cluster.nodes)


def test_one_writer_on_its_port(cluster: Any) -> None:
    seen = {
        cluster.sql("SELECT @@hostname", user="app", password=APP, port=3307)[0][0]
        for attempt in range(2 * cluster.size)
    }
    assert seen == {cluster.nodes[0]}


def test_root_and_application_rights(cluster: Any) -> None:
    grants = "\n".join(row[0] for row in cluster.sql("SHOW GRANTS", user="app", password=APP))
    assert "GRANT ALL PRIVILEGES ON `appdb`.*" in grants
    assert "ON *.*" not in grants.replace("GRANT USAGE ON *.*", "")
    assert cluster.sql("SELECT CURRENT_USER()", user="root", password=ROOT) == [["root@%"]]
    anonymous = cluster.sql("SELECT COUNT(*) FROM mysql.global_priv WHERE User=''", user="root", password=ROOT)
    assert anonymous == [["0"]]


def test_no_secret_outside_the_secret(cluster: Any) -> None:
    # Up to its quote: what follows is written in another way wherever it is quoted
    marks = [ROOT.partition("'")[0], APP, *(base64.b64encode(one.encode()).decode() for one in (ROOT, APP))]
    seen = {"objects": str(cluster.get("configmaps,statefulsets,deployments,pods,events"))}
    for pod in cluster.nodes:
        for container in ("mariadb", "agent"):
            command = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"
            seen[f"{pod} {container}"] = cluster.host(pod, container).check_output(command)
        assert "mariadbd" in seen[f"{pod} mariadb"]
    assert [(place, mark) for place, text in seen.items() for mark in marks if mark in text] == []
