# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes docs/inventory.md from the argument spec of the role galera. Run it after a change of the spec."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".venv" / "collections"))

from ansible_collections.stateful.galera.plugins.plugin_utils._inventory import allowed  # noqa: E402

SPEC = ROOT / "roles" / "galera" / "meta" / "argument_specs.yml"
PAGE = ROOT / "docs" / "inventory.md"
HEAD = """<!-- Made from roles/galera/meta/argument_specs.yml by docs/generate_inventory.py; change the spec instead -->
# Variables of the inventory

One host of the inventory is one Galera cluster, and these variables describe it. Only the name is required:

    [all:vars]
    galera_cluster_name=tier1

    [template_target]
    localhost

All variables are checked before anything else is done; one that is not on this page is an error.
[inventories/](../inventories/README.md) tells how an INI inventory reads values, and which value counts where a
variable is given twice.
"""
_SECTION = re.compile(r"^      # (.+)$")
_OPTION = re.compile(r"^      (galera_\w+):")
_NODE = re.compile(r"^(galera_cluster_node)([1-9])(_.+)$")
_MARKUP = re.compile(r"\b[OCVEM]\(([^)]+)\)")


def sections(text: str) -> dict[str, list[str]]:
    """Return the names of the options below each comment at their level: {"Images": ["galera_...", ...], ...}."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if heading := _SECTION.match(line):
            found[heading[1]] = []
        elif option := _OPTION.match(line):
            found[list(found)[-1]].append(option[1])
    return found


def entry(name: str, option: dict[str, Any]) -> str:
    """Return the part of the page about one variable; that of node 1 stands for all nodes."""
    shown = _NODE.sub(r"\1<N>\3", name)
    facts = [option["type"]]
    if option.get("required"):
        facts.append("required")
    elif "default" in option:
        facts.append(f"default `{_literal(option['default'])}`")
    else:
        facts.append("no default")
    description = option["description"]
    sentences = " ".join([description] if isinstance(description, str) else description)
    lines = [
        f"### `{shown}`",
        "",
        f"{', '.join(facts)}; must be {_words(allowed(name, option))}.",
        "",
        _MARKUP.sub(r"`\1`", sentences),
    ]
    return "\n".join(lines)


def _words(text: str) -> str:
    """Return the words of an error message for Markdown, where < and > would be tags."""
    return text.replace("<", "&lt;").replace(">", "&gt;")


def _literal(value: Any) -> str:
    """Return a default as it may stand in YAML."""
    return value if isinstance(value, str) else json.dumps(value)


def page(text: str) -> str:
    """Return the whole page for the text of an argument spec file."""
    options = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    parts = [HEAD.rstrip("\n")]
    for heading, names in sections(text).items():
        parts.append(f"## {heading}")
        parts += [entry(name, options[name]) for name in names if not (node := _NODE.match(name)) or node[2] == "1"]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(SPEC.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
