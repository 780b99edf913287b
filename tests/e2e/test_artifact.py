# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as users have it: built from a tree with what tools leave in one, installed into an empty path."""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from rendering import ROOT
from tools import changed, get, run

TOP = {
    "FILES.json",
    "MANIFEST.json",
    "README.md",
    "changelogs",
    "docs",
    "images",
    "inventories",
    "meta",
    "molecule",
    "playbooks",
    "plugins",
    "roles",
    "site.yml",
    "templates",
}
JUNK = [
    ".venv/bin/python",
    ".ansible/facts",
    ".git/config",
    ".mypy_cache/x.json",
    "images/agent/.mypy_cache/x.json",
    "images/agent/galera_agent/__pycache__/web.pyc",
    "plugins/filter/__pycache__/inventory.pyc",
    "plugins/modules/.ruff_cache/x",
    ".pytest_cache/README.md",
    "molecule/default/tests/.pytest_cache/README.md",
    "stateful-galera-0.9.0.tar.gz",
    "local/build/x",
]
# What they need of the machine, beside the path of the collection: a vSphere class is nowhere but on vSphere
EXAMPLES = {"pks": ["-e", "galera_vsphere_storage_class=standard"], "coreos": []}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive."""
    tree = tmp_path_factory.mktemp("tree") / "galera"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".venv", ".git", ".ansible", ".*_cache", "__pycache__"))
    for junk in JUNK:
        (tree / junk).parent.mkdir(parents=True, exist_ok=True)
        (tree / junk).write_text("junk")
    run("ansible-galaxy", "collection", "build", "--output-path", str(tree.parent), cwd=tree)
    (built,) = tree.parent.glob("stateful-galera-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def environment(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a user who installed the archive; kubernetes.core is that of the package ansible."""
    path = tmp_path_factory.mktemp("installed")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_COLLECTIONS_PATH": str(path), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0"}
    install = ["collection", "install", "--no-deps", "--offline", "--collections-path", str(path), str(artifact)]
    run("ansible-galaxy", *install, cwd=path, environment=environment)
    return environment


def _collection(environment: dict[str, str]) -> Path:
    return Path(environment["ANSIBLE_COLLECTIONS_PATH"]) / "ansible_collections" / "stateful" / "galera"


def test_has_what_users_need_and_nothing_else(artifact: Path) -> None:
    with tarfile.open(artifact) as archive:
        names = [member.name for member in archive if member.isfile()]
        assert not [member.name for member in archive if member.islnk() or member.issym()]
    assert {name.split("/")[0] for name in names} == TOP
    assert not [
        name for name in names if re.search(r"(^|/)(\..*cache|__pycache__|\.venv|\.git|\.ansible)(/|$)|\.pyc$", name)
    ]
    assert not set(names) & set(JUNK)
    assert {name for name in names if name.endswith(".j2")} == {
        str(path.relative_to(ROOT)) for path in (ROOT / "templates").iterdir()
    }
    assert sum((ROOT / name).stat().st_size for name in names if (ROOT / name).exists()) < 2_000_000


@pytest.mark.parametrize("example", EXAMPLES)
def test_renders_and_checks_a_cluster(example: str, environment: dict[str, str], tmp_path: Path) -> None:
    """In a folder with nothing but an inventory that came with the collection."""
    source = _collection(environment) / "inventories" / "examples" / example / "galera.conf"
    inventory = str(shutil.copy(source, tmp_path))
    namespace = f"e2e-artifact-{example}"
    arguments = ["-i", inventory, "-e", f"galera_cluster_namespace={namespace}", *EXAMPLES[example]]
    output = run("ansible-playbook", *arguments, "stateful.galera.render", "-vv", cwd=tmp_path, environment=environment)
    assert f"task path: {_collection(environment)}/roles/" in output
    assert (tmp_path / "galera-3-nodes-backup.yml").is_file()
    output = run(
        "ansible-playbook", *arguments, "stateful.galera.site", "--check", cwd=tmp_path, environment=environment
    )
    assert changed(output) > 0
    assert namespace not in [item["metadata"]["name"] for item in get("namespaces")["items"]]


def _documentation(kind: str, environment: dict[str, str]) -> dict[str, Any]:
    """Return what ansible-doc says of all plugins of a kind, by their full names."""
    command = ["ansible-doc", "--type", kind, "--json"]
    listed = json.loads(run(*command, "--list", "stateful.galera", environment=environment))
    found: dict[str, Any] = json.loads(run(*command, *listed, environment=environment))
    assert set(found) == set(listed)
    return found


def _told(text: str | list[str]) -> bool:
    return bool(text) and all(
        re.search(r"\w.*\.$", line, flags=re.DOTALL) for line in ([text] if isinstance(text, str) else text)
    )


@pytest.mark.parametrize("kind", ["module", "filter"])
def test_plugins_are_documented(kind: str, environment: dict[str, str]) -> None:
    found = _documentation(kind, environment)
    folder = _collection(environment) / "plugins" / {"module": "modules", "filter": "filter"}[kind]
    files = {path.stem for path in folder.glob({"module": "[a-z]*.py", "filter": "*.yml"}[kind])}
    assert {name.removeprefix("stateful.galera.") for name in found} == files
    for name, plugin in found.items():
        documentation = plugin["doc"]
        assert documentation["version_added"] == "1.0.0", name
        assert documentation["short_description"][0].isupper(), name
        assert not documentation["short_description"].endswith("."), name
        assert _told(documentation["description"]), name
        for option, about in documentation.get("options", {}).items():
            assert about["description"], f"{name} {option}"
        assert "stateful.galera" in plugin["examples"], name
        for value, about in plugin["return"].items():
            assert _told(about["description"]), f"{name} {value}"
        assert plugin["return"], name


def test_roles_are_documented(environment: dict[str, str]) -> None:
    found = _documentation("role", environment)
    roles = {f"stateful.galera.{path.name}" for path in (_collection(environment) / "roles").iterdir()}
    assert set(found) == roles
    for name, role in found.items():
        main = role["entry_points"]["main"]
        assert main["short_description"], name
        assert _told(main["description"]), name
        for option, about in main["options"].items():
            assert _told(about["description"]), f"{name} {option}"
