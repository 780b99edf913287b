# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.stateful.galera.plugins.filter.inventory import FilterModule

FOLDER = Path(__file__).resolve().parents[4] / "plugins" / "filter"
FILTERS = FilterModule().filters()
CALLS: list[tuple[str, tuple[Any, ...], Any]] = [
    ("as_bool", ("yes",), True),
    ("as_int", ("3",), 3),
    ("as_dict", ('{"a": 1}',), {"a": 1}),
    ("as_duration", ("60m",), 3600),
    ("as_list", ("a, b",), ["a", "b"]),
    ("cpu_millis", ("250m",), 250),
    ("memory_bytes", ("1Ki",), 1024),
    ("mycnf", ({"mariadb": {"port": 1}},), "[mariadb]\nport = 1\n"),
    ("provider_options", ({"a": 1, "b": 2},), "a=1; b=2"),
    ("static_volumes", ({}, 3), []),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), CALLS)
def test_filters_have_their_public_names(name: str, arguments: tuple[Any, ...], expected: Any) -> None:
    assert FILTERS[name](*arguments) == expected


def test_every_filter_is_called_here_and_documented() -> None:
    assert set(FILTERS) == {name for name, _, _ in CALLS}
    for name in FILTERS:
        documentation = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
        assert documentation["DOCUMENTATION"]["name"] == name
