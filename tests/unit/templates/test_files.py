# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that render writes: names, modes and first lines; a second run writes nothing; no password is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from rendering import FOLDERS, INVENTORIES, ROOT, Manifests, copy_inventory, finish, start_render

# What a cluster has besides the files that all have, for each size that it is written for
NAMESPACE, BACKUP, NODE_PORT, VSPHERE = "namespace", "backup", "node port", "vsphere"
EXPECTED: dict[str, tuple[set[int], set[str]]] = {
    "pks": ({3, 5}, {NAMESPACE, BACKUP, VSPHERE}),
    "coreos": ({3}, {NAMESPACE, BACKUP, NODE_PORT}),
    "demo": ({3, 5}, {NAMESPACE, NODE_PORT}),
    "orders": ({3, 5}, {NAMESPACE}),
    "billing": ({3, 5}, {NAMESPACE}),
    "sessions": ({3, 5}, {NAMESPACE}),
    "bare": ({3, 5}, set()),
    "local": ({3}, {NAMESPACE, BACKUP, NODE_PORT}),
    "one": ({1}, {NAMESPACE, BACKUP}),
    "s3": ({3, 5}, {NAMESPACE, BACKUP}),
    "five": ({3, 5}, {NAMESPACE}),
}
PASSWORDS = {"pks": "Fender2000", "coreos": "Fender2000", "one": "0123456789", "s3": "Fender2001"}


def _expected(cluster: str) -> set[str]:
    sizes, traits = EXPECTED[cluster]
    parts = ["seed", "nodes", "haproxy", "purge-volumes-job"]
    parts.append("vsphere-volumes" if VSPHERE in traits else "volumes")
    parts += ["namespace"] if NAMESPACE in traits else []
    parts += ["nodes-backup", "restore-job"] if BACKUP in traits else []
    common = {"galera-external-lb.yml"} | ({"galera-external-access.yml"} if NODE_PORT in traits else set())
    return {f"galera-{size}-{part}.yml" for size in sizes for part in parts} | common


@pytest.mark.parametrize("cluster", FOLDERS)
def test_names(cluster: str, clusters: dict[str, Manifests]) -> None:
    assert set(clusters[cluster].files) == _expected(cluster)


def test_names_are_those_of_the_manual(clusters: dict[str, Manifests]) -> None:
    manual = (ROOT / "docs" / "manual.md").read_text()
    table = "\n".join(line for line in manual.splitlines() if line.startswith("| "))
    written = {re.sub(r"galera-\d", "galera-3", name) for manifests in clusters.values() for name in manifests.files}
    assert set(re.findall(r"galera-[a-z0-9-]+\.yml", table)) == written


@pytest.mark.parametrize("cluster", FOLDERS)
def test_modes(cluster: str, clusters: dict[str, Manifests]) -> None:
    """Only the file that may hold the Secret is for its owner alone, and the Secret is in no other."""
    for path in clusters[cluster].folder.glob("galera-*.yml"):
        assert oct(path.stat().st_mode & 0o777) == ("0o600" if path.name.endswith("volumes.yml") else "0o644"), path
        kinds = {document["kind"] for document in clusters[cluster].files[path.name]}
        assert ("Secret" in kinds) == (path.name.endswith("volumes.yml") and cluster in PASSWORDS), path


@pytest.mark.parametrize(("cluster", "password"), PASSWORDS.items())
def test_passwords_are_in_the_secret_only(cluster: str, password: str, clusters: dict[str, Manifests]) -> None:
    for name, texts in clusters[cluster].texts.items():
        holders = [text for text in texts if password in text]
        assert len(holders) == (1 if name.endswith("volumes.yml") else 0), name
        assert all("kind: Secret\n" in text for text in holders), name


@pytest.mark.parametrize("run", INVENTORIES)
def test_no_run_shows_a_password(run: str, renders: Path) -> None:
    """The runs had --diff and -v, which shows the results of all tasks."""
    log = (renders / f"{run}.log").read_text()
    assert "PLAY RECAP" in log
    assert "+++ after" in log
    assert not [password for password in PASSWORDS.values() if password in log]


def test_each_document_begins_with_its_purpose(manifests: Manifests) -> None:
    for name, texts in manifests.texts.items():
        assert len(texts) == len(manifests.files[name])
        for text in texts:
            lines = text.splitlines()
            assert re.match(r"# [A-Z]", lines[0]), f"{name}: {lines[0]}"
            assert lines[1].startswith("apiVersion: "), f"{name}: {lines[1]}"
            assert text.endswith("\n"), name


def test_incomplete_sizes_are_told(renders: Path) -> None:
    told = r"galera-\d-\S+ are not written: the inventory names volumes for \d nodes\."
    found = {run: re.findall(told, (renders / f"{run}.log").read_text()) for run in INVENTORIES}
    assert found["coreos"] == ["galera-5-*.yml are not written: the inventory names volumes for 3 nodes."]
    assert len(found["variations"]) == 3, "local: 5; one: 3 and 5"
    assert found["pks"] == found["local"] == found["fleet"] == []


def test_site_sends_these_bytes(renders: Path, clusters: dict[str, Manifests], tmp_path: Path) -> None:
    """Phase by phase; the passwords apart, which site does not send as a document."""
    phases_file = tmp_path / "phases.json"
    playbook = str(Path(__file__).with_name("phases.yml"))
    finish(start_render(renders / "coreos" / "galera.conf", "-e", f"phases_file={phases_file}", playbook=playbook))
    phases = {phase["name"]: phase["documents"] for phase in json.loads(phases_file.read_text())}
    written = {
        name.removeprefix("galera-3-").removesuffix(".yml"): [text for text in texts if "\nkind: Secret\n" not in text]
        for name, texts in clusters["coreos"].texts.items()
    }
    assert phases["volumes"] + phases["seed"] == written["volumes"] + written["seed"]
    names = {"namespace": "namespace", "nodes": "nodes-backup", "haproxy": "haproxy"}
    for phase, file in names.items():
        assert phases[phase] == written[file]
    assert phases["external"] == [], "what opens the cluster is there when galera_cluster_external_access says so"
    assert set(phases) == {"volumes", "seed", "external", *names}


def test_a_second_run_changes_nothing(renders: Path) -> None:
    folder = renders / "coreos"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    output = finish(start_render(folder / "galera.conf"))
    assert re.search(r"localhost .* changed=0 .* failed=0", output)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_check_mode_tells_and_writes_nothing(tmp_path: Path) -> None:
    inventory = copy_inventory(INVENTORIES["coreos"], tmp_path / "coreos")
    folder = tmp_path / "new" / "folder"
    process = start_render(inventory, "--check", "--diff", "-v", "-e", f"galera_cluster_render_dir={folder}")
    output = finish(process)
    assert re.search(r"localhost .* changed=[1-9]", output)
    assert "galera-3-seed.yml" in output
    assert PASSWORDS["coreos"] not in output
    assert [path.name for path in tmp_path.rglob("*")] == ["coreos", "galera.conf"]
