# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.plugin_utils import _convert

GOOD: list[tuple[Callable[[Any], Any], Any, Any]] = [
    (_convert.as_int, 3, 3),
    (_convert.as_int, "3", 3),
    (_convert.as_int, "-1", -1),
    (_convert.as_bool, True, True),
    (_convert.as_bool, "true", True),
    (_convert.as_bool, "Yes", True),
    (_convert.as_bool, 1, True),
    (_convert.as_bool, "off", False),
    (_convert.as_bool, 0, False),
    (_convert.as_str, "11.10", "11.10"),
    (_convert.as_dict, {"a": 1}, {"a": 1}),
    (_convert.as_dict, '{"a": true}', {"a": True}),
    (_convert.as_dict, "{a: b}", {"a": "b"}),
    (_convert.as_dict, "", {}),
    (_convert.as_list, ["a"], ["a"]),
    (_convert.as_list, ("a", "b"), ["a", "b"]),
    (_convert.as_list, '["a", "b"]', ["a", "b"]),
    (_convert.as_list, "a, b,", ["a", "b"]),
    (_convert.as_list, "one", ["one"]),
    (_convert.as_list, "", []),
    (_convert.as_quantity, "500m", Fraction(1, 2)),
    (_convert.as_quantity, "1.5Gi", Fraction(3, 2) * 1024**3),
    (_convert.as_quantity, "2G", 2 * 10**9),
    (_convert.as_quantity, "1e3", 1000),
    (_convert.as_quantity, "1E", 10**18),
    (_convert.as_quantity, "1Ei", 1024**6),
    (_convert.as_quantity, "9223372036854775807", 2**63 - 1),
    (_convert.as_quantity, 2, 2),
    (_convert.memory_bytes, "1Gi", 1073741824),
    (_convert.memory_bytes, "512m", 1),
    (_convert.memory_bytes, 10, 10),
    (_convert.cpu_millis, "250m", 250),
    (_convert.cpu_millis, "1.5", 1500),
    (_convert.cpu_millis, 2, 2000),
    (_convert.as_duration, "60m", 3600),
    (_convert.as_duration, "1h", 3600),
    (_convert.as_duration, "1d12h", 129600),
    (_convert.as_duration, "90s", 90),
]
BAD: list[tuple[Callable[[Any], Any], Any, str]] = [
    (_convert.as_int, 2.5, "2.5 is not a whole number"),
    (_convert.as_int, "2.5", '"2.5" is not a whole number'),
    (_convert.as_int, "three", '"three" is not a whole number'),
    (_convert.as_int, True, "true is not a whole number"),
    (_convert.as_int, None, "null is not a whole number"),
    (_convert.as_int, "3 ", '"3 " is not a whole number'),
    (_convert.as_int, "٣", '"٣" is not a whole number'),
    (_convert.as_bool, "perhaps", '"perhaps" is not true or false'),
    (_convert.as_bool, 2, "2 is not true or false"),
    (_convert.as_bool, None, "null is not true or false"),
    (_convert.as_str, 11.1, "11.1 is not text"),
    (_convert.as_str, True, "true is not text"),
    (_convert.as_dict, "a: b", '"a: b" is not a dictionary'),
    (_convert.as_dict, "{a: ", '"{a: " is not a dictionary'),
    (_convert.as_dict, {1: "a"}, '{"1": "a"} is not a dictionary'),
    (_convert.as_dict, ["a"], '["a"] is not a dictionary'),
    (_convert.as_list, "{a: b}", '"{a: b}" is not a list'),
    (_convert.as_list, "[a", '"[a" is not a list'),
    (_convert.as_list, 3, "3 is not a list"),
    (_convert.as_quantity, "10GB", '"10GB" is not a Kubernetes quantity'),
    (_convert.as_quantity, "10 Gi", '"10 Gi" is not a Kubernetes quantity'),
    (_convert.as_quantity, "10K", '"10K" is not a Kubernetes quantity'),
    (_convert.as_quantity, "-1Gi", '"-1Gi" is not a Kubernetes quantity'),
    (_convert.as_quantity, "٣Gi", '"٣Gi" is not a Kubernetes quantity'),
    (_convert.as_quantity, "1.٣", '"1.٣" is not a Kubernetes quantity'),
    (_convert.as_quantity, "8Ei", '"8Ei" is more than Kubernetes can count'),
    (_convert.as_quantity, "9" * 400, '"' + "9" * 199 + "... is more than Kubernetes can count"),
    (_convert.as_quantity, True, "true is not a Kubernetes quantity"),
    (_convert.as_duration, "٣m", '"٣m" is not a time with its unit'),
    (_convert.as_duration, "60", '"60" is not a time with its unit'),
    (_convert.as_duration, 60, "60 is not a time with its unit"),
    (_convert.as_duration, "", '"" is not a time with its unit'),
    (_convert.as_duration, "1m1h", '"1m1h" is not a time with its unit'),
]


@pytest.mark.parametrize(("convert", "value", "expected"), GOOD)
def test_converts(convert: Callable[[Any], Any], value: Any, expected: Any) -> None:
    converted = convert(value)
    assert converted == expected
    assert isinstance(converted, bool) == isinstance(expected, bool)


@pytest.mark.parametrize(("convert", "value", "message"), BAD)
def test_refuses_and_shows_the_value(convert: Callable[[Any], Any], value: Any, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        convert(value)


def test_a_long_value_is_cut_in_messages() -> None:
    assert _convert.show("x" * 1000) == '"' + "x" * 199 + "..."


def test_a_value_that_holds_itself_is_told_as_such() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert _convert.show({"a": circle}) == "a value that holds itself"


@pytest.mark.parametrize("value", [{datetime.date(2026, 11, 21): "a"}, {(1, 2): "a"}, "{2026-11-21: a}"])
def test_a_key_that_json_cannot_have_is_shown(value: Any) -> None:
    """YAML reads a date without quotes as a date."""
    with pytest.raises(ValueError, match=r"^\{.*: 'a'\} is not a dictionary$"):
        _convert.as_dict(value)
