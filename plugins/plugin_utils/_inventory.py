# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of all inventory variables of a cluster. Pure; private to the collection."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.stateful.galera.plugins.plugin_utils import _convert, _cross
from ansible_collections.stateful.galera.plugins.plugin_utils._formats import format_of, has_tag
from ansible_collections.stateful.galera.plugins.plugin_utils._structures import STRUCTURES
from ansible_collections.stateful.galera.plugins.plugin_utils._volumes import is_given

Spec = Mapping[str, Mapping[str, Any]]

PREFIX = "galera_"
_NUMBERED = re.compile(r"(galera_cluster_node)[1-9][0-9]*(_(?:iscsi_(?:targetportal|iqn|lun)|local_node))")
_TYPES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "bool": (_convert.as_bool, "true or false"),
    "dict": (_convert.as_dict, 'a dictionary, such as {"key": "value"}'),
    "int": (_convert.as_int, "a whole number"),
    "list": (_convert.as_list, 'a list, such as ["first", "second"]'),
    "path": (_convert.as_str, "a path"),
    "str": (_convert.as_str, "text"),
}


def check(variables: Mapping[str, Any], spec: Spec) -> tuple[list[str], list[str]]:
    """Check variables against the spec, their formats and each other.

    variables: templated values by name; names that do not begin with galera_ are left alone.
    spec: the options of an argument spec, by name; options with no_log never have their value in a message.
    Returns (errors, warnings): sentences, one a problem, each beginning with its variable, sorted by variable.
    """
    given = {name: value for name, value in variables.items() if name.startswith(PREFIX)}
    errors = [_unknown(name, spec) for name in given if _spec_name(name, spec) is None]
    errors += [
        f"{name} is missing: it must be {allowed(name, option)}."
        for name, option in spec.items()
        if option.get("required") and name not in given
    ]
    values: dict[str, Any] = {}
    for name, value in ({n: o["default"] for n, o in spec.items() if "default" in o} | given).items():
        known = _spec_name(name, spec)
        if known is not None:
            errors += _read(name, value, spec[known], values)
    wrong = {_place(line)[0] for line in errors}
    related = [line for look in _cross.CHECKS for line in look(values)]
    errors += [line for line in related if _place(line)[0] not in wrong]
    return sorted(errors, key=_place), sorted([*_cross.warnings(values), *_untagged(values)], key=_place)


def allowed(name: str, option: Mapping[str, Any]) -> str:
    """Return the words that complete "must be ..." for a variable."""
    if "choices" in option:
        return "one of " + ", ".join(option["choices"])
    wanted = format_of(name) or STRUCTURES.get(name)
    return wanted.allowed if wanted else _TYPES[option.get("type", "str")][1]


def _spec_name(name: str, spec: Spec) -> str | None:
    """Return the name under which the spec knows a variable: that of node 1 for every node."""
    if name in spec:
        return name
    numbered = _NUMBERED.sub(r"\g<1>1\g<2>", name)
    return numbered if numbered in spec and _NUMBERED.fullmatch(name) else None


def _unknown(name: str, spec: Spec) -> str:
    """Return the sentence about a name that the spec does not know, with the nearest one that it does."""
    nearest = difflib.get_close_matches(name, list(spec), n=1, cutoff=0.7)
    hint = f"did you mean {nearest[0]}?" if nearest else "docs/inventory.md lists those that are."
    return f"{name} is not a variable of this collection: {hint}"


def _read(name: str, value: Any, option: Mapping[str, Any], values: dict[str, Any]) -> list[str]:
    """Convert one value into values, or return what is wrong. Empty text stands for an optional variable left out."""
    if not is_given(value) and value is not None and "default" not in option and not option.get("required"):
        return []
    try:
        converted = _converted(name, value, option)
    except ValueError:
        return [_wrong(name, value, option)]
    if name in STRUCTURES and (found := STRUCTURES[name].check(name, converted)):
        return found
    values[name] = converted
    return []


def _converted(name: str, value: Any, option: Mapping[str, Any]) -> Any:
    """Return the converted value, or raise ValueError."""
    wanted = format_of(name)
    converted = wanted.read(value) if wanted else _TYPES[option.get("type", "str")][0](value)
    if "choices" in option and converted not in option["choices"]:
        raise ValueError(value)
    return converted


def _wrong(name: str, value: Any, option: Mapping[str, Any]) -> str:
    """Return the sentence about a value that does not fit; that of a password tells its kind only."""
    shown, hint = _convert.show(value), ""
    if option.get("no_log"):
        shown = f"{_kind(value)} (not shown)"
    elif "PRIVATE KEY-----" in str(value):
        shown = "a private key (not shown)"
    if option.get("type", "str") in ("str", "path") and not isinstance(value, str) and value is not None:
        hint = f"; it was read as {_kind(value)}, so write it in quotes"
    elif isinstance(value, str) and not option.get("no_log") and re.search(r"\s[#;]", value):
        hint = "; a comment must stand on a line of its own, here it became part of the value"
    return f"{name} is {shown}, but must be {allowed(name, option)}{hint}."


def _kind(value: Any) -> str:
    """Return what kind of value it is, in words."""
    if value is None or value == "":
        return "empty"
    kinds: Iterable[tuple[type, str]] = (
        (bool, "true or false"),
        (int, "a number"),
        (float, "a number"),
        (str, "text"),
        (Mapping, "a dictionary"),
        (datetime.date, "a time"),
    )
    return next((words for kind, words in kinds if isinstance(value, kind)), "a list")


def _untagged(values: Mapping[str, Any]) -> list[str]:
    """Return a warning for each image that names no version."""
    images = {n: v for n, v in values.items() if n.endswith("_image") and not has_tag(v)}
    return [
        f"{name} is {_convert.show(image)}, without a tag: which version it means may change."
        for name, image in images.items()
    ]


def _place(line: str) -> tuple[str, str]:
    """Sort by variable, then by the rest of the line."""
    variable = re.split(r"[^a-z0-9_]", line, maxsplit=1)[0]
    return variable, line
