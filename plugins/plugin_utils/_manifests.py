# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifests of a cluster, rendered from the normalised variables. Private to the collection.

Ansible evaluates a variable anew wherever it is read, and those of roles/galera/vars read each other several levels
deep. Here each is evaluated once, before what reads it, for all templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.template import trust_as_template

if TYPE_CHECKING:
    from ansible.template import Templar

SETS = "__galera_templates"
FOLDER = "__galera_template_dir"
ROLE = "__galera_role"
_NAME = re.compile(r"\b__galera_[a-z0-9_]+")


def split_documents(text: str) -> list[str]:
    """Split a rendered template at its `---` lines: one text a document, byte for byte, without empty ones."""
    return [part for part in re.split(r"^---\n", text, flags=re.MULTILINE) if part.strip()]


class Manifests:
    """The manifests for one set of values.

    templar: a templar of the play. variables: the variables of the host as Ansible has them, not evaluated; left as
    they are. given: values that take the place of variables, such as {"__galera_size": 5}.
    """

    def __init__(self, templar: Templar, variables: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> None:
        self._values = {**variables, **(given or {})}
        self._templar = templar.copy_with_new_env(available_variables=self._values)
        self._evaluated: set[str] = set()

    def documents(self, name: str) -> list[str]:
        """Return the YAML documents of a set of `__galera_templates`, each a text that begins with its comment.

        An item of a set is the name of a template, or {"template": name, "role": value of __galera_role}.
        Raises KeyError for an unknown set, and what Ansible raises for a template that cannot be rendered.
        """
        found = []
        for item in self.value(SETS)[name]:
            template, role = (item, None) if isinstance(item, str) else (item["template"], item["role"])
            found += split_documents(self._rendered(str(template), role))
        return found

    def value(self, name: str) -> Any:
        """Return the value of a variable."""
        self._evaluate(name)
        return self._values[name]

    def _rendered(self, template: str, role: str | None) -> str:
        """Return the text that a template gives; role is what it reads as __galera_role."""
        path = Path(self.value(FOLDER)) / f"{template}.yml.j2"
        text = path.read_text(encoding="utf-8")
        for name in _NAME.findall(text):
            self._evaluate(name)
        self._values[ROLE] = role
        return str(self._templar.template(trust_as_template(text), escape_backslashes=False))

    def _evaluate(self, name: str) -> None:
        """Put its value in the place of a variable, after those that it names; Ansible tells of unknown ones."""
        if name in self._evaluated or name not in self._values:
            return
        self._evaluated.add(name)
        for other in _names(self._values[name]):
            self._evaluate(other)
        self._values[name] = self._templar.template(self._values[name])


def _names(value: Any) -> Iterator[str]:
    """Yield the normalised variables that the templates in a value name."""
    if isinstance(value, str):
        yield from _NAME.findall(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _names(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _names(item)
