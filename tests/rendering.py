# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifests of all inventories of this checkout, and of those made for the tests, written by the real `render`.

Used by the tests of the templates (as text and as objects) and by those that show the same files to an API server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
VARIATIONS = ROOT / "tests" / "unit" / "templates" / "variations.yml"
# Name of the run: the inventory
INVENTORIES = {
    "pks": ROOT / "inventories" / "examples" / "pks" / "galera.conf",
    "coreos": ROOT / "inventories" / "examples" / "coreos" / "galera.conf",
    "fleet": ROOT / "inventories" / "examples" / "fleet" / "galera.conf",
    "local": ROOT / "inventories" / "local" / "galera.conf",
    "variations": VARIATIONS,
}
# Where each cluster is written, below the folder of all runs. In a fleet the folder of a cluster has its name.
FOLDERS = {
    "pks": "pks",
    "coreos": "coreos",
    "demo": "local",
    **{name: f"fleet/{name}" for name in ("orders", "billing", "sessions")},
    **{name: f"variations/{name}" for name in ("bare", "local", "one", "s3", "five")},
}
Document = dict[str, Any]


@dataclass(frozen=True)
class Manifests:
    """The files that were written for a cluster."""

    folder: Path

    @cached_property
    def texts(self) -> dict[str, list[str]]:
        """The documents of each file as text, without the lines between them."""
        return {path.name: path.read_text().split("---\n") for path in sorted(self.folder.glob("galera-*.yml"))}

    @cached_property
    def files(self) -> dict[str, list[Document]]:
        """The documents of each file as objects."""
        return {name: list(yaml.safe_load_all("---\n".join(texts))) for name, texts in self.texts.items()}

    def one(self, file: str, kind: str, name: str | None = None) -> Document:
        """Return the only document of this kind (and name) in a file."""
        found = [
            document
            for document in self.files[file]
            if document["kind"] == kind and name in (None, document["metadata"]["name"])
        ]
        if len(found) != 1:
            raise LookupError(f"{file} has {len(found)} documents of kind {kind} and name {name}")
        return found[0]


def pod_of(document: Document) -> Document:
    """Return the spec of the pods that a document makes, also one that makes Jobs; empty where it makes none."""
    spec = document.get("spec", {})
    found: Document = spec.get("jobTemplate", {}).get("spec", spec).get("template", {}).get("spec", {})
    return found


def collection_environment() -> dict[str, str]:
    """Return the environment in which this checkout is the collection."""
    return {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections"), "ANSIBLE_NOCOLOR": "1"}


def start_render(inventory: Path, *arguments: str, playbook: str = "stateful.galera.render") -> subprocess.Popen[str]:
    """Start the playbook render on an inventory, or another; its output, both streams, can be read from the process."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), playbook]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=inventory.parent,
        env=collection_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Return the output of a run that ended well."""
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}:\n{output}")
    return output


def copy_inventory(inventory: Path, folder: Path) -> Path:
    """Copy an inventory and its variables, not what was rendered beside it, into a new folder; return the copy."""
    if inventory == VARIATIONS:
        folder.mkdir(parents=True)
        return Path(shutil.copy(inventory, folder))
    shutil.copytree(inventory.parent, folder, ignore=shutil.ignore_patterns("galera-*.yml"))
    return folder / inventory.name


def render_all(target: Path) -> None:
    """Render every inventory into folders below target (see FOLDERS), with -v and --diff; logs beside them."""
    runs = {
        name: start_render(copy_inventory(path, target / name), "--diff", "-v") for name, path in INVENTORIES.items()
    }
    for name, process in runs.items():
        (target / f"{name}.log").write_text(finish(process))
