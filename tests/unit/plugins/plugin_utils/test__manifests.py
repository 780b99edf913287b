# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates are rendered with each variable evaluated once; the bytes are held against those of Ansible itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.stateful.galera.plugins.plugin_utils._manifests import Manifests, split_documents

TEMPLATE = "# A thing\nname: {{ __galera_prefix | to_json }}\nsize: {{ __galera_size }}\nrole: {{ __galera_role }}\n"


def variables(folder: Path) -> dict[str, Any]:
    """Return variables as the role has them, with one template a set; the later is named before the earlier."""
    (folder / "thing.yml.j2").write_text(TEMPLATE)
    (folder / "two.yml.j2").write_text("# One\na: 1\n{{ '---\\n' }}# Two\nb: {{ __galera_labels | to_json }}\n")
    sets = {"thing": [{"template": "thing", "role": "seed"}, {"template": "thing", "role": "node"}], "two": ["two"]}
    return {
        "__galera_labels": {"prefix": trust_as_template("{{ __galera_prefix }}")},
        "__galera_prefix": trust_as_template("{{ __galera_name }}-galera"),
        "__galera_name": trust_as_template("{{ name | string }}"),
        "__galera_size": trust_as_template("{{ size | int }}"),
        "__galera_templates": sets,
        "__galera_template_dir": str(folder),
        "name": "shop",
        "size": "3",
    }


def make(folder: Path, given: dict[str, Any] | None = None, **more: Any) -> Manifests:
    """Return the manifests of the variables."""
    return Manifests(Templar(loader=DataLoader()), {**variables(folder), **more}, given)


def test_documents_are_split_and_keep_their_order(tmp_path: Path) -> None:
    manifests = make(tmp_path)
    assert manifests.documents("two") == ["# One\na: 1\n", '# Two\nb: {"prefix": "shop-galera"}\n']
    roles = [document.splitlines()[-1] for document in manifests.documents("thing")]
    assert roles == ["role: seed", "role: node"]


def test_the_bytes_are_those_of_ansible(tmp_path: Path) -> None:
    plain = Templar(loader=DataLoader(), variables={**variables(tmp_path), "__galera_role": "seed"})
    wanted = plain.template(trust_as_template(TEMPLATE), escape_backslashes=False)
    assert make(tmp_path).documents("thing")[0] == wanted == '# A thing\nname: "shop-galera"\nsize: 3\nrole: seed\n'


def test_given_values_go_before_variables(tmp_path: Path) -> None:
    document = make(tmp_path, {"__galera_size": 5, "__galera_name": "other"}).documents("thing")[0]
    assert "size: 5\n" in document
    assert 'name: "other-galera"\n' in document


def test_a_variable_is_evaluated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    template = Templar.template

    def count(self: Templar, variable: Any, **options: Any) -> Any:
        seen.append(variable)
        return template(self, variable, **options)

    monkeypatch.setattr(Templar, "template", count)
    manifests = make(tmp_path)
    manifests.documents("thing")
    manifests.documents("two")
    assert seen.count("{{ __galera_name }}-galera") == 1


def test_the_variables_of_the_host_are_left_as_they_are(tmp_path: Path) -> None:
    mine = variables(tmp_path)
    before = dict(mine)
    Manifests(Templar(loader=DataLoader()), mine, {"__galera_size": 5}).documents("thing")
    assert mine == before


def test_values_are_data_and_not_templates(tmp_path: Path) -> None:
    """A password with braces must come out as it went in."""
    document = make(tmp_path, name="{{ size }}").documents("thing")[0]
    assert 'name: "{{ size }}-galera"\n' in document


def test_what_a_template_needs_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "thing.yml.j2").write_text("a: {{ __galera_lost }}\n")
    values = variables(tmp_path)
    (tmp_path / "thing.yml.j2").write_text("a: {{ __galera_lost }}\n")
    with pytest.raises(AnsibleError, match="__galera_lost"):
        Manifests(Templar(loader=DataLoader()), values).documents("thing")


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("", []),
        ("a: 1\n", ["a: 1\n"]),
        ("a: 1\n---\nb: 2\n", ["a: 1\n", "b: 2\n"]),
        ("---\n\n---\nb: 2\n", ["b: 2\n"]),
        ("a: |\n  x---\n", ["a: |\n  x---\n"]),
    ],
)
def test_split_documents(text: str, documents: list[str]) -> None:
    assert split_documents(text) == documents
