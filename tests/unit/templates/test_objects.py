# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of the manifests: names, labels, placement, volumes and configuration, as the guides promise them."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import pytest
from galera_agent import offline
from galera_agent.backup import settings
from rendering import Document, Manifests

COMMON = {"app.kubernetes.io/part-of": "galera", "app.kubernetes.io/managed-by": "stateful.galera"}
# Objects that other clusters may use as well, and those that belong to no namespace
SHARED = {"Namespace", "PriorityClass"}
CLUSTER_SCOPED = {*SHARED, "PersistentVolume"}
# Cluster: namespace, file of the volumes, sizes
CLUSTERS = {
    "pks": ("web", "vsphere-volumes"),
    "tier1": ("web", "volumes"),
    "demo": ("demo", "volumes"),
    "orders": ("db-orders", "volumes"),
    "billing": ("db-billing", "volumes"),
    "sessions": ("db-sessions", "volumes"),
    "bare": ("default", "volumes"),
    "local": ("db", "volumes"),
    "one": ("db", "volumes"),
    "s3": ("db", "volumes"),
    "five": ("db", "volumes"),
}
FOLDER = {name: "coreos" if name == "tier1" else name for name in CLUSTERS}
SIZES = {
    3: ["pks", "tier1", "demo", "orders", "bare", "local", "s3", "five"],
    5: ["pks", "orders", "s3", "five"],
    1: ["one"],
}
SETS = [(name, size) for size, names in SIZES.items() for name in names]


def _documents(manifests: Manifests) -> list[Document]:
    return [document for documents in manifests.files.values() for document in documents]


def _nodes(manifests: Manifests, size: int, file: str = "nodes") -> Document:
    return manifests.one(f"galera-{size}-{file}.yml", "StatefulSet")


def _cnf(manifests: Manifests, file: str) -> dict[str, str]:
    """The settings of my.cnf below [mariadb]."""
    (config,) = [each for each in manifests.files[file] if "galera.cnf" in each.get("data", {})]
    section = re.split(r"^\[", config["data"]["galera.cnf"], flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith("mariadb]\n")]
    return dict(re.findall(r"^(\w+) = (.*)$", text, flags=re.MULTILINE))


@pytest.mark.parametrize("name", CLUSTERS)
def test_labels_and_namespace(name: str, clusters: dict[str, Manifests]) -> None:
    own = {"app.kubernetes.io/name": "galera", "app.kubernetes.io/instance": name}
    for document in _documents(clusters[FOLDER[name]]):
        metadata, kind = document["metadata"], document["kind"]
        wanted = COMMON if kind in SHARED else COMMON | own
        assert wanted.items() <= metadata["labels"].items(), metadata
        assert metadata.get("namespace") == (None if kind in CLUSTER_SCOPED else CLUSTERS[name][0]), metadata


@pytest.mark.parametrize("name", CLUSTERS)
def test_names_begin_with_the_cluster(name: str, clusters: dict[str, Manifests]) -> None:
    namespace = CLUSTERS[name][0]
    begins = re.compile(rf"(purge-(data-)?)?{name}-galera(-|$)|{namespace}-{name}-galera-")
    for document in _documents(clusters[FOLDER[name]]):
        if document["kind"] not in SHARED:
            assert begins.match(document["metadata"]["name"]), document["metadata"]


def test_all_objects_of_a_cluster(clusters: dict[str, Manifests]) -> None:
    """By name, as docs and other programs know them; of the three-node set with everything in it."""
    manifests = clusters["coreos"]
    found = {
        f"{document['kind']} {document['metadata']['name']}"
        for name in manifests.files
        if name != "galera-3-nodes.yml"
        for document in manifests.files[name]
    }
    assert found == {
        "Namespace web",
        *(f"PersistentVolume web-tier1-galera-{owner}-volume" for owner in ("seed", "node1", "node2", "node3")),
        "PersistentVolume web-tier1-galera-backup-volume",
        "PersistentVolume web-tier1-galera-backup-temp-volume",
        "PersistentVolumeClaim tier1-galera-seed-volume-claim",
        "PersistentVolumeClaim tier1-galera-backup-volume-claim",
        "PersistentVolumeClaim tier1-galera-backup-temp-volume-claim",
        "Secret tier1-galera",
        "ServiceAccount tier1-galera",
        "Role tier1-galera",
        "RoleBinding tier1-galera",
        "ConfigMap tier1-galera-config",
        "ConfigMap tier1-galera-state",
        "ConfigMap tier1-galera-haproxy",
        "ConfigMap tier1-galera-backup",
        "ConfigMap tier1-galera-backup-state",
        "Service tier1-galera-nodes",
        "Service tier1-galera-haproxy",
        "Service tier1-galera-external-access",
        "Service tier1-galera-external-lb",
        "NetworkPolicy tier1-galera-nodes",
        "NetworkPolicy tier1-galera-haproxy",
        "StatefulSet tier1-galera",
        "StatefulSet tier1-galera-seed",
        "Deployment tier1-galera-haproxy",
        "PodDisruptionBudget tier1-galera",
        "PodDisruptionBudget tier1-galera-haproxy",
        "CronJob tier1-galera-backup-verify",
        "Job tier1-galera-restore-job",
        "Job purge-tier1-galera-seed",
        *(f"Job purge-data-tier1-galera-{ordinal}" for ordinal in range(3)),
    }


@pytest.mark.parametrize(("name", "size"), SETS)
def test_one_node_on_each_kubernetes_node(name: str, size: int, clusters: dict[str, Manifests]) -> None:
    spec = _nodes(clusters[FOLDER[name]], size)["spec"]
    (term,) = spec["template"]["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    chosen = term["labelSelector"]["matchLabels"]
    assert chosen == spec["selector"]["matchLabels"]
    assert chosen["app.kubernetes.io/instance"] == name
    assert chosen.items() <= spec["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("name", SIZES[5])
@pytest.mark.parametrize("file", ["nodes", "nodes-backup", "seed"])
def test_pods_are_the_same_in_a_cluster_of_any_size(name: str, file: str, clusters: dict[str, Manifests]) -> None:
    """A cluster that grows or shrinks restarts no node that stays."""
    manifests = clusters[FOLDER[name]]
    if f"galera-3-{file}.yml" in manifests.files:
        three, five = (manifests.one(f"galera-{size}-{file}.yml", "StatefulSet") for size in (3, 5))
        assert three["spec"]["template"] == five["spec"]["template"]


@pytest.mark.parametrize(("name", "size"), SETS)
def test_the_size_is_everywhere_the_same(name: str, size: int, clusters: dict[str, Manifests]) -> None:
    manifests = clusters[FOLDER[name]]
    for file in [file for file in (f"galera-{size}-nodes.yml", f"galera-{size}-seed.yml") if file in manifests.files]:
        spec = manifests.one(file, "StatefulSet")["spec"]
        assert spec["replicas"] == (1 if "seed" in file else size)
        assert spec["podManagementPolicy"] == "Parallel"
    state = manifests.one(f"galera-{size}-{CLUSTERS[name][1]}.yml", "ConfigMap", f"{name}-galera-state")
    assert state["metadata"]["annotations"] == {"stateful.galera/size": str(size)}
    config = manifests.one(f"galera-{size}-haproxy.yml", "ConfigMap")["data"]["haproxy.cfg"]
    for listen in ("mysql", "mysql-writer", "mysql-reader"):
        section = re.split(rf"^listen {listen}$", config, flags=re.MULTILINE)[1].split("listen ")[0]
        servers = re.findall(rf"server {name}-galera-(\d+) {name}-galera-\1\.{name}-galera-nodes\.", section)
        assert servers == [str(ordinal) for ordinal in range(size)], listen
    purged = manifests.files[f"galera-{size}-purge-volumes-job.yml"]
    assert len(purged) == size + 1
    # one that finds no machine must not wipe the volume of a cluster that was made since
    assert {each["spec"].get("activeDeadlineSeconds") for each in purged} == {900}


@pytest.mark.parametrize(("name", "balance"), [("pks", "leastconn"), ("local", "first"), ("orders", "first")])
def test_port_3306_is_balanced_or_has_one_writer(name: str, balance: str, clusters: dict[str, Manifests]) -> None:
    config = clusters[name].one("galera-3-haproxy.yml", "ConfigMap")["data"]["haproxy.cfg"]
    for listen, how, active in (("mysql", balance, 3), ("mysql-writer", "first", 3), ("mysql-reader", "leastconn", 2)):
        section = re.split(rf"^listen {listen}$", config, flags=re.MULTILINE)[1].split("listen ")[0]
        assert re.findall(r"^ *balance (.*)$", section, flags=re.MULTILINE) == [how], listen
        servers = re.findall(r"^ *server .*$", section, flags=re.MULTILINE)
        assert [server.endswith(" backup") for server in servers].count(False) == active, listen


@pytest.mark.parametrize("name", CLUSTERS)
def test_volumes_are_bound_to_claims_that_exist(name: str, clusters: dict[str, Manifests]) -> None:
    """A volume that is made by hand names its claim, and has its size, its access modes and no storage class."""
    manifests = clusters[FOLDER[name]]
    for size in (1, 3, 5):
        file = f"galera-{size}-{CLUSTERS[name][1]}.yml"
        claims: dict[str, Any] = {
            each["metadata"]["name"]: each["spec"]
            for each in manifests.files.get(file, [])
            if each["kind"] == "PersistentVolumeClaim"
        }
        if not claims:
            continue
        (template,) = _nodes(manifests, size)["spec"]["volumeClaimTemplates"]
        assert template["metadata"]["name"] == "data"
        claims |= {f"data-{name}-galera-{ordinal}": template["spec"] for ordinal in range(size)}
        volumes = [each for each in manifests.files[file] if each["kind"] == "PersistentVolume"]
        for volume in volumes:
            reference, spec = volume["spec"]["claimRef"], volume["spec"]
            claim = claims[reference["name"]]
            assert reference["namespace"] == CLUSTERS[name][0]
            assert spec["capacity"]["storage"] == claim["resources"]["requests"]["storage"]
            assert spec["accessModes"] == claim["accessModes"]
            assert spec["storageClassName"] == claim["storageClassName"] == ""
            assert spec["persistentVolumeReclaimPolicy"] == "Retain"
        bound = [volume["spec"]["claimRef"]["name"] for volume in volumes]
        assert len(set(bound)) == len(bound)
        static = {claim for claim, spec in claims.items() if spec.get("storageClassName") == ""}
        assert set(bound) == static, "a claim with no class waits for a volume of its own for ever"


@pytest.mark.parametrize(
    ("folder", "size", "luns", "seed"),
    [("coreos", 3, [1, 2, 3], 1), ("five", 5, [11, 12, 13, 14, 15], 0), ("five", 3, [11, 12, 13], 0)],
)
def test_node_k_has_lun_k(folder: str, size: int, luns: list[int], seed: int, clusters: dict[str, Manifests]) -> None:
    volumes = {
        each["spec"]["claimRef"]["name"]: each["spec"]["iscsi"]
        for each in clusters[folder].files[f"galera-{size}-volumes.yml"]
        if "iscsi" in each.get("spec", {})
    }
    name = "tier1" if folder == "coreos" else folder
    assert [volumes.pop(f"data-{name}-galera-{ordinal}")["lun"] for ordinal in range(size)] == luns
    assert volumes.pop(f"{name}-galera-seed-volume-claim")["lun"] == seed
    assert volumes == {}


def test_local_volumes_name_their_directory_and_kubernetes_node(clusters: dict[str, Manifests]) -> None:
    volumes = [
        each["spec"] for each in clusters["local"].files["galera-3-volumes.yml"] if "local" in each.get("spec", {})
    ]
    found = {}
    for spec in volumes:
        ((expression,),) = [term["matchExpressions"] for term in spec["nodeAffinity"]["required"]["nodeSelectorTerms"]]
        assert (expression["key"], expression["operator"]) == ("kubernetes.io/hostname", "In")
        found[spec["claimRef"]["name"]] = (spec["local"]["path"], *expression["values"])
    assert found == {
        "local-galera-seed-volume-claim": ("/srv/galera/seed", "worker"),
        "data-local-galera-0": ("/srv/galera/node1", "worker"),
        "data-local-galera-1": ("/srv/galera/node2", "worker2"),
        "data-local-galera-2": ("/srv/galera/node3", "worker3"),
    }


@pytest.mark.parametrize(
    ("folder", "file", "storage_class"),
    [
        ("pks", "vsphere-volumes", "vmware-thin"),
        ("orders", "volumes", "fast"),
        ("bare", "volumes", None),
        ("local", "volumes", ""),
    ],
)
def test_storage_class_of_the_claims(
    folder: str, file: str, storage_class: str | None, clusters: dict[str, Manifests]
) -> None:
    """None: the field is left out, and Kubernetes takes its default class."""
    (template,) = _nodes(clusters[folder], 3)["spec"]["volumeClaimTemplates"]
    seed = clusters[folder].one(f"galera-3-{file}.yml", "PersistentVolumeClaim", f"{folder}-galera-seed-volume-claim")
    for spec in (template["spec"], seed["spec"]):
        assert spec.get("storageClassName") == storage_class
        assert ("storageClassName" in spec) == (storage_class is not None)


@pytest.mark.parametrize(("name", "size"), SETS)
def test_settings_that_keep_acknowledged_writes(name: str, size: int, clusters: dict[str, Manifests]) -> None:
    found = _cnf(clusters[FOLDER[name]], f"galera-{size}-{CLUSTERS[name][1]}.yml")
    wanted = {
        "innodb_flush_log_at_trx_commit": "1",
        "default_storage_engine": "InnoDB",
        "binlog_format": "ROW",
        "innodb_autoinc_lock_mode": "2",
        "wsrep_on": "1",
        "wsrep_sst_method": "mariabackup",
        "datadir": "/var/lib/mysql/data",
    }
    assert wanted.items() <= found.items()
    assert "gcache.recover=yes" in found["wsrep_provider_options"]
    assert "pc.recovery=no" in found["wsrep_provider_options"], "only the agent decides who bootstraps"
    # 0: a node that is not in the primary component answers nobody; it is so unless it is set
    assert {"wsrep_notify_cmd", "wsrep_dirty_reads"} & set(found) == set()
    # what is acknowledged must be in the binary log, if there is one
    assert found.get("sync_binlog") == ("1" if "log_bin" in found else None)


LOGS = (("orders", 5), ("bare", 3), ("local", 3), ("demo", 3))


def test_settings_follow_from_the_resources_and_the_inventory(clusters: dict[str, Manifests]) -> None:
    found = _cnf(clusters["orders"], "galera-5-volumes.yml")
    assert int(found["innodb_buffer_pool_size"]) == 8 * 1024**3, "half of 16Gi"
    assert found["wsrep_slave_threads"] == "16", "four for each CPU"
    assert (found["max_connections"], found["innodb_io_capacity"]) == ("1000", "2000")
    assert "gcache.size=8G" in found["wsrep_provider_options"]
    assert int(_cnf(clusters["bare"], "galera-3-volumes.yml")["innodb_buffer_pool_size"]) == 512 * 1024**2
    files = {name: f"galera-{size}-volumes.yml" for name, size in LOGS}
    assert {name: int(_cnf(clusters[name], file)["innodb_log_file_size"]) for name, file in files.items()} == {
        "orders": 1024**3,  # the most
        "bare": 512 * 1024**2,  # the buffer pool, a twentieth of 10Gi
        "local": 256 * 1024**2,  # a twentieth of the seed's 5Gi
        "demo": 96 * 1024**2,  # the least
    }


@pytest.mark.parametrize(("folder", "size"), [("pks", 3), ("pks", 5), ("coreos", 3), ("local", 3), ("one", 1)])
def test_nodes_backup_differs_by_the_volume_and_its_settings_alone(
    folder: str, size: int, clusters: dict[str, Manifests]
) -> None:
    name = "tier1" if folder == "coreos" else folder
    without = clusters[folder].files[f"galera-{size}-nodes.yml"]
    with_backup = deepcopy(clusters[folder].files[f"galera-{size}-nodes-backup.yml"])
    (pod,) = [each["spec"]["template"]["spec"] for each in with_backup if each["kind"] == "StatefulSet"]
    claim = {"claimName": f"{name}-galera-backup-volume-claim"}
    pod["volumes"].remove({"name": "backup", "persistentVolumeClaim": claim})
    pod["volumes"].remove({"name": "backup-settings", "configMap": {"name": f"{name}-galera-backup"}})
    mounts = pod["initContainers"][0]["volumeMounts"]
    mounts.remove({"name": "backup", "mountPath": "/backups"})
    mounts.remove({"name": "backup-settings", "mountPath": "/etc/galera/backup", "readOnly": True})
    assert with_backup == without


def test_scheduling_is_that_of_the_inventory(clusters: dict[str, Manifests]) -> None:
    manifests = clusters["orders"]
    priority = manifests.one("galera-3-namespace.yml", "PriorityClass")
    assert (priority["metadata"]["name"], priority["value"]) == ("database", 100000)
    pods = [each["spec"]["template"]["spec"] for each in _documents(manifests) if "template" in each.get("spec", {})]
    assert len(pods) == 2 * 3 + 4 + 6, "seed, nodes and HAProxy of both sets, and the Jobs"
    for pod in pods:
        assert pod["nodeSelector"] == {"node-role.example.com/database": "true"}
        assert pod["tolerations"] == [
            {"key": "dedicated", "operator": "Equal", "value": "database", "effect": "NoSchedule"}
        ]
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        assert pod.get("priorityClassName", "database") == "database"
    assert _nodes(manifests, 5)["spec"]["template"]["spec"]["priorityClassName"] == "database"


def test_a_class_without_value_is_named_and_not_made(clusters: dict[str, Manifests]) -> None:
    assert [each["kind"] for each in clusters["local"].files["galera-3-namespace.yml"]] == ["Namespace"]
    assert _nodes(clusters["local"], 3)["spec"]["template"]["spec"]["priorityClassName"] == "existing"


@pytest.mark.parametrize(("folder", "label"), [("local", "restricted"), ("demo", "restricted"), ("pks", None)])
def test_pod_security_of_the_namespace(folder: str, label: str | None, clusters: dict[str, Manifests]) -> None:
    namespace = clusters[folder].one("galera-3-namespace.yml", "Namespace")
    assert namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") == label


@pytest.mark.parametrize(("folder", "policies"), [("pks", 2), ("local", 0)])
def test_network_policies(folder: str, policies: int, clusters: dict[str, Manifests]) -> None:
    """With policies, only members and HAProxy reach the ports of the database, whoever asks the agent's port."""
    manifests = clusters[folder]
    found = [
        each
        for file, documents in manifests.files.items()
        if file.startswith("galera-3-")
        for each in documents
        if each["kind"] == "NetworkPolicy"
    ]
    assert len(found) == policies
    for rule in [
        rule for each in found if each["metadata"]["name"].endswith("-nodes") for rule in each["spec"]["ingress"]
    ]:
        ports = {port["port"] for port in rule["ports"]}
        assert ("from" in rule) == (9200 not in ports)


def test_network_policies_choose_the_pods_and_ports_that_there_are(clusters: dict[str, Manifests]) -> None:
    """The network of the local Kubernetes enforces none, so nothing else would show a wrong one."""
    manifests = clusters["pks"]
    haproxy, node, seed = (
        manifests.one(f"galera-3-{file}.yml", kind)["spec"]["template"]
        for file, kind in (("haproxy", "Deployment"), ("nodes", "StatefulSet"), ("seed", "StatefulSet"))
    )
    pods = {"haproxy": haproxy, "node": node, "seed": seed}

    def chosen(selector: Document) -> set[str]:
        (field, wanted), *more = selector.items()
        assert (field, more) == ("matchLabels", [])
        return {name for name, pod in pods.items() if wanted.items() <= pod["metadata"]["labels"].items()}

    def ports(*names: str) -> set[int]:
        containers = [
            each
            for name in names
            for each in pods[name]["spec"].get("initContainers", []) + pods[name]["spec"]["containers"]
        ]
        return {port["containerPort"] for each in containers for port in each["ports"]}

    def allowed(policy: Document) -> dict[str, set[int]]:
        """Who may reach which ports; everybody where nobody is named."""
        found: dict[str, set[int]] = {}
        for rule in policy["spec"]["ingress"]:
            sources = [source["podSelector"] for source in rule.get("from", [])]
            for name in set().union(*(chosen(each) for each in sources)) if sources else {"everybody"}:
                found.setdefault(name, set()).update(port["port"] for port in rule["ports"])
        return found

    nodes = manifests.one("galera-3-vsphere-volumes.yml", "NetworkPolicy")
    assert chosen(nodes["spec"]["podSelector"]) == {"node", "seed"}
    database = ports("node", "seed") - {9200}
    assert allowed(nodes) == {"node": database, "seed": database, "haproxy": {3306}, "everybody": {9200}}
    proxies = manifests.one("galera-3-haproxy.yml", "NetworkPolicy")
    assert chosen(proxies["spec"]["podSelector"]) == {"haproxy"}
    # without the port of the probes, which come from the machine itself and are always let in
    assert allowed(proxies) == {"everybody": ports("haproxy") - {8405}}


def test_secret_and_annotations_are_taken_as_they_are(clusters: dict[str, Manifests]) -> None:
    secret = clusters["one"].one("galera-1-volumes.yml", "Secret")
    assert secret["stringData"] == {"root-password": "0123456789"}
    service = clusters["five"].one("galera-5-haproxy.yml", "Service")
    assert service["metadata"]["annotations"] == {"example.com/team": "storage"}
    balancer = clusters["sessions"].one("galera-external-lb.yml", "Service")
    assert balancer["spec"]["loadBalancerSourceRanges"] == ["10.20.0.0/16"]
    assert balancer["metadata"]["annotations"] == {"service.beta.kubernetes.io/aws-load-balancer-internal": "true"}
    (port,) = clusters["coreos"].one("galera-external-access.yml", "Service")["spec"]["ports"]
    assert (port["port"], port["nodePort"]) == (3306, 30306)


def test_agents_may_do_no_more_than_they_do(clusters: dict[str, Manifests]) -> None:
    rules = clusters["pks"].one("galera-3-vsphere-volumes.yml", "Role")["rules"]
    found = {(rule["resources"][0], *rule["verbs"]): rule.get("resourceNames") for rule in rules}
    assert found == {
        ("configmaps", "get", "patch"): ["pks-galera-state", "pks-galera-backup-state"],
        ("statefulsets", "get"): ["pks-galera", "pks-galera-seed"],
        ("pods", "get", "list"): None,
        ("leases", "create"): None,
        ("leases", "get", "update"): ["pks-galera-bootstrap", "pks-galera-backup"],
        ("events", "create"): None,
    }


def test_the_agent_reads_the_settings_of_backups(clusters: dict[str, Manifests]) -> None:
    """Each rendered backup.json passes the agent's own check."""
    seen = set()
    for name, manifests in clusters.items():
        for document in _documents(manifests):
            if document["kind"] == "ConfigMap" and "backup.json" in document.get("data", {}):
                found = settings.from_json(document["data"]["backup.json"])
                assert found.cluster == document["metadata"]["labels"]["app.kubernetes.io/instance"]
                assert found.rejoin_from_backup is (name != "s3")
                seen.add(name)
    assert seen == {"pks", "coreos", "local", "one", "s3"}


def test_a_bucket_with_everything(clusters: dict[str, Manifests]) -> None:
    document = clusters["s3"].one("galera-3-volumes.yml", "ConfigMap", "s3-galera-backup")
    found = settings.from_json(document["data"]["backup.json"])
    assert (found.volume, found.incremental_interval_seconds, found.bandwidth_bytes) == (None, 3600, 50 << 20)
    assert found.retention.thinning == settings.Thinning(7, 30, 365)
    place = found.s3
    assert place is not None
    assert (place.prefix, place.path_style, str(place.ca)) == ("db/s3", True, "/etc/galera/backup/s3-ca.crt")
    assert (place.sse, place.kms_key, place.object_lock) == (
        "aws:kms",
        "alias/backups",
        settings.ObjectLock("GOVERNANCE", 7),
    )
    assert "BEGIN CERTIFICATE" in document["data"]["s3-ca.crt"]
    # the nodes get no private key
    (volume,) = [
        each
        for each in _nodes(clusters["s3"], 3, "nodes-backup")["spec"]["template"]["spec"]["volumes"]
        if each["name"] == "backup-keys"
    ]
    assert [item["key"] for item in volume["secret"]["items"]] == ["access-key-id", "secret-access-key"]


def test_a_restore_of_another_clusters_backups_reads_its_prefix(clusters: dict[str, Manifests]) -> None:
    file = "galera-3-restore-job.yml"
    document = clusters["s3"].one(file, "ConfigMap", "s3-galera-restore")
    place = settings.from_json(document["data"]["backup.json"]).s3
    assert place is not None
    assert place.prefix == "db/other"
    pod = clusters["s3"].one(file, "Job")["spec"]["template"]["spec"]
    assert {"name": "settings", "configMap": {"name": "s3-galera-restore"}} in pod["volumes"]
    env = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert (env["SOURCE_BACKUP"], env["SOURCE_TIME"]) == ("latest", "2026-11-21T15:30:00+01:00")


def test_restores_have_the_options_of_the_nodes(clusters: dict[str, Manifests]) -> None:
    """What statements do when they are replayed depends on them. By hand the Job may come before them."""
    spec = clusters["s3"].one("galera-3-restore-job.yml", "Job")["spec"]["template"]["spec"]
    mounts = {each["name"]: each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
    assert mounts["config"] == str(offline.MYCNF.parent)
    assert {"name": "config", "configMap": {"name": "s3-galera-config", "optional": True}} in spec["volumes"]
    config = clusters["s3"].one("galera-3-volumes.yml", "ConfigMap", "s3-galera-config")
    assert offline.MYCNF.name in config["data"]


@pytest.mark.parametrize(("name", "suspended"), [("s3", False), ("local", True)])
def test_verification_runs_by_the_schedule_of_the_inventory(
    name: str, suspended: bool, clusters: dict[str, Manifests]
) -> None:
    spec = clusters[name].one("galera-3-volumes.yml", "CronJob")["spec"]
    assert spec["suspend"] is suspended
    # up to four volumes of the size of a node's stayed for good
    assert spec["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] == 86400


@pytest.mark.parametrize(("name", "size"), SETS)
def test_haproxy_takes_what_its_nodes_take_and_always_answers_probes(
    name: str, size: int, clusters: dict[str, Manifests]
) -> None:
    """At its limit for all ports HAProxy accepts on none: the kubelet would restart it with all its sessions."""
    manifests = clusters[FOLDER[name]]
    config = manifests.one(f"galera-{size}-haproxy.yml", "ConfigMap")["data"]["haproxy.cfg"]
    sections = re.findall(r"^(global|frontend \w+|listen [\w-]+)$\n((?:^ .*$\n?|^$\n)*)", config, flags=re.MULTILINE)
    limits = {
        title.split()[-1]: int(re.findall(r"^ +maxconn (\d+)$", text, re.MULTILINE)[0]) for title, text in sections
    }
    assert set(limits) == {"global", "metrics", "probes", "mysql", "mysql-writer", "mysql-reader"}
    assert limits.pop("global") >= sum(limits.values())
    each = int(_cnf(manifests, f"galera-{size}-{CLUSTERS[name][1]}.yml")["max_connections"])
    assert each == 2000 or name != "five"
    assert limits["mysql"] > each * size
    assert limits["mysql-writer"] > each
    assert limits["mysql-reader"] > each * max(size - 1, 1)
    assert "\n  no strict-limits\n" in config, "the limit of open files of a machine would keep HAProxy from starting"
    # connections that nobody uses, such as those of a machine that died, would fill the port of the probes for hours
    first, second = re.findall(r"^defaults$\n((?:^ .*$\n)*)", config, re.MULTILINE)
    patience = re.findall(r"^ +timeout ([\w-]+) (\d+s)$", first, re.MULTILINE)
    assert patience == [("client", "10s"), ("http-request", "10s")]
    assert config.index(first) < config.index("frontend probes") < config.index("frontend metrics")
    # HAProxy warns of a frontend that gets it
    assert config.index("frontend metrics") < config.index(second)
    assert "disable-on-404" in second


def test_haproxy_is_ready_only_with_a_node_that_it_can_use(clusters: dict[str, Manifests]) -> None:
    config = clusters["pks"].one("galera-3-haproxy.yml", "ConfigMap")["data"]["haproxy.cfg"]
    assert "http-request return status 200 if { path /ready } { nbsrv(mysql) ge 1 }" in config
    spec = clusters["pks"].one("galera-3-haproxy.yml", "Deployment")["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "probes"}
    # a HAProxy without nodes is not restarted, and is evicted whatever the budget says
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "probes"}
    budget = clusters["pks"].one("galera-3-haproxy.yml", "PodDisruptionBudget")["spec"]
    assert (budget["unhealthyPodEvictionPolicy"], spec["minReadySeconds"]) == ("AlwaysAllow", 5)


def test_a_server_that_hangs_is_killed_long_before_one_that_stops_in_order(clusters: dict[str, Manifests]) -> None:
    pod = _nodes(clusters["pks"], 3)["spec"]["template"]["spec"]
    probe = next(each for each in pod["containers"] if each["name"] == "mariadb")["livenessProbe"]
    assert (pod["terminationGracePeriodSeconds"], probe["terminationGracePeriodSeconds"]) == (600, 60)
