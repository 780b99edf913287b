# SPDX-License-Identifier: GPL-3.0-or-later
"""The templates as text: what they read, what they never do, and that each is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from jinja2 import Environment, nodes
from rendering import ROOT

TEMPLATES = sorted((ROOT / "templates").iterdir())
NORMALISED = set(yaml.safe_load((ROOT / "roles" / "galera" / "vars" / "main.yml").read_text()))
# What is given with each call of the template
GIVEN = {f"{name}.yml.j2": {"__galera_role"} for name in ("server", "backup_job", "aside_job")}


@pytest.fixture(params=TEMPLATES, ids=lambda path: path.name)
def template(request: pytest.FixtureRequest) -> Path:
    """A template, each in turn."""
    path: Path = request.param
    return path


def test_is_a_template_of_yaml(template: Path) -> None:
    assert re.fullmatch(r"[a-z_]+\.yml\.j2", template.name)


def test_reads_normalised_variables_only(template: Path) -> None:
    """Beside these: what the template sets itself, and the two functions that are in use."""
    names = list(Environment().parse(template.read_text()).find_all(nodes.Name))
    own = {name.name for name in names if name.ctx == "store"} | {"loop"}
    read = {name.name for name in names if name.ctx == "load"} - own - {"lookup", "range"}
    assert all(name.startswith("__galera_") for name in read)
    assert read <= NORMALISED | GIVEN.get(template.name, set())


def test_has_no_default_and_no_include(template: Path) -> None:
    """Defaults have one home; and a template reads top to bottom, without partials."""
    found = re.findall(r"\bdefault\(|\|\s*d\(|{%-?\s*(?:include|import|from|extends|macro)\b", template.read_text())
    assert found == []


def test_begins_with_its_purpose(template: Path) -> None:
    """Statements may come before the comment, another line may not."""
    lines = [line for line in template.read_text().splitlines() if not re.fullmatch(r"{%.*%}", line)]
    assert re.match(r"({{ '---\\n' if not loop.first }})?# ([A-Z]|{{)", lines[0])


def test_holds_one_object(template: Path) -> None:
    text = template.read_text()
    assert len(re.findall(r"^apiVersion:", text, flags=re.MULTILINE)) == 1
    assert len(re.findall(r"^kind:", text, flags=re.MULTILINE)) == 1


def test_is_used(template: Path) -> None:
    """Its name is an item of a set of manifests."""
    stem = template.name.removesuffix(".yml.j2")
    text = (ROOT / "roles" / "galera" / "vars" / "main.yml").read_text()
    assert re.search(rf"'{stem}'|[\[ ]{stem}[,\]}}]", text.partition("\n__galera_templates:\n")[2])


def test_manifests_are_nowhere_else() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in [*ROOT.glob("roles/**/*"), *ROOT.glob("playbooks/**/*")]
        if path.suffix == ".j2" or (path.is_file() and re.search(r"^apiVersion:", path.read_text(), flags=re.MULTILINE))
    }
    assert found == set()


def test_names_of_the_database_in_an_environment_keep_their_dollars(template: Path) -> None:
    """Kubernetes makes $ of $$ in values of the environment."""
    for line in template.read_text().splitlines():
        if "name: GALERA_MYSQL_" in line:
            assert "| replace('$', '$$') | to_json }}" in line
