# SPDX-License-Identifier: GPL-3.0-or-later
"""Values as inventories give them, converted to what they mean.

INI inventories pass every value through ast.literal_eval: 3 is an int, true is the text "true", 11.10 is the float
11.1. Each function takes such a value and returns the converted one, or raises ValueError with words that show the
value and tell what was expected. Pure; private to the collection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import Any

import yaml

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_QUANTITY = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[KMGTPE]i|[munkMGTPE]|[eE][+-]?[0-9]{1,2})?")
_DURATION = re.compile(r"(?:[0-9]+d)?(?:[0-9]+h)?(?:[0-9]+m)?(?:[0-9]+s)?")
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_LONGEST_SHOWN = 200
# Kubernetes takes no larger one
_LARGEST_QUANTITY = 2**63 - 1


def show(value: Any) -> str:
    """Return the value as it may stand in a message: JSON, cut after 200 characters."""
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = "a value that holds itself"
    except TypeError:
        # a date or a tuple as a key
        text = str(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def as_int(value: Any) -> int:
    """Return 3 for 3 and "3". Fractions, booleans and text with anything else in it are errors."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+", value):
        return int(value)
    raise ValueError(f"{show(value)} is not a whole number")


def as_bool(value: Any) -> bool:
    """Return a boolean for one, for the texts true, yes, on, 1, false, no, off, 0 in any case, and for 1 and 0."""
    if isinstance(value, bool):
        return value
    text = str(value).lower() if isinstance(value, (str, int)) else ""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"{show(value)} is not true or false")


def as_str(value: Any) -> str:
    """Return text as it is. A number is an error: what was typed may have been another text (11.10 is read as 11.1)."""
    if isinstance(value, str):
        return str(value)
    raise ValueError(f"{show(value)} is not text")


def as_dict(value: Any) -> dict[str, Any]:
    """Return a dictionary for one, for its JSON or YAML text in braces, and for empty text."""
    if isinstance(value, str):
        value = _parsed(value, "{") if value.strip() else {}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str(key): item for key, item in value.items()}
    raise ValueError(f"{show(value)} is not a dictionary")


def as_list(value: Any) -> list[Any]:
    """Return a list for one, for its JSON or YAML text in brackets, and for text with commas (a, b is ["a", "b"])."""
    if isinstance(value, str):
        items = [item.strip() for item in value.split(",") if item.strip()]
        value = _parsed(value, "[") if value.strip()[:1] in ("[", "{") else items
    if isinstance(value, (list, tuple)):
        return list(value)
    raise ValueError(f"{show(value)} is not a list")


def _parsed(text: str, opening: str) -> Any:
    """Return the JSON or YAML that the text holds, or the text itself where it holds none that starts with opening."""
    if not text.lstrip().startswith(opening):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def as_quantity(value: Any) -> Fraction:
    """Return the number that a Kubernetes quantity stands for: 500m is 1/2, 1Ki is 1024, 2G is 2000000000."""
    text = str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{show(value)} is not a Kubernetes quantity (a number with Ki, Mi, Gi, Ti, k, M, G, T or m)")
    quantity = Fraction(match["number"]) * _factor(match["unit"] or "")
    if quantity > _LARGEST_QUANTITY:
        raise ValueError(f"{show(value)} is more than Kubernetes can count ({_LARGEST_QUANTITY}, less than 8Ei)")
    return quantity


def _factor(unit: str) -> Fraction:
    """Return what the unit of a quantity multiplies with."""
    if unit.endswith("i"):
        return Fraction(1024) ** ("KMGTPE".index(unit[0]) + 1)
    if unit[:1] in ("e", "E") and len(unit) > 1:
        return Fraction(10) ** int(unit[1:])
    exponents = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
    return Fraction(10) ** exponents[unit]


def memory_bytes(value: Any) -> int:
    """Return the bytes of a quantity of memory or storage, rounded up: 1Gi is 1073741824."""
    return ceil(as_quantity(value))


def cpu_millis(value: Any) -> int:
    """Return the thousandths of a CPU of a quantity, rounded up: 250m is 250, 1.5 is 1500."""
    return ceil(as_quantity(value) * 1000)


def as_duration(value: Any) -> int:
    """Return the seconds of a time with units: 60m and 1h are 3600, 1d12h is 129600. A bare number is an error."""
    if not isinstance(value, str) or not value or _DURATION.fullmatch(value) is None:
        raise ValueError(f"{show(value)} is not a time with its unit (s, m, h or d), such as 60m")
    return sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9]+)([dhms])", value))
