# SPDX-License-Identifier: GPL-3.0-or-later
"""Take typed fields out of a JSON object, strictly, and collect everything that is wrong with them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

_T = TypeVar("_T")
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_MISSING = object()


class Document:
    """One object of a document.

    problems gets one sentence for each field that is missing, wrong or unknown. path: what stands before the names of
    fields in these sentences, such as `s3.`.
    """

    def __init__(self, value: object, problems: list[str], path: str = "") -> None:
        self._path = path
        self._problems = problems
        self._left: dict[str, object] = {}
        self._known: list[str] = []
        if isinstance(value, dict):
            self._left = dict(value)
        else:
            problems.append(f"{path.rstrip('.') or 'it'} is {_shown(value)}; allowed: an object")
            # that says it all
            self._problems = []

    def take(self, name: str, convert: Callable[[Any], _T], allowed: str, fallback: _T) -> _T:
        """Return a field converted; convert raises ValueError or TypeError for what is not allowed."""
        value = self._pop(name)
        if value is _MISSING:
            self._problems.append(f"{self._path}{name} is missing; allowed: {allowed}")
            return fallback
        try:
            return convert(value)
        except (ValueError, TypeError) as error:
            self.problem(name, value, allowed, str(error))
            return fallback

    def take_optional(self, name: str, convert: Callable[[Any], _T], allowed: str, missing: _T) -> _T:
        """Return a field that documents of older versions do not have; missing stands for it there."""
        if name in self._left:
            return self.take(name, convert, allowed, missing)
        self._known.append(name)
        return missing

    def problem(self, name: str, value: object, allowed: str, why: str = "") -> None:
        """Add a problem with a field that was taken."""
        self._problems.append(f"{self._path}{name} is {_shown(value)}{why and f' ({why})'}; allowed: {allowed}")

    def part(self, name: str) -> Document:
        """Return a field that is an object."""
        value = self._pop(name)
        if value is _MISSING:
            self._problems.append(f"{self._path}{name} is missing; allowed: an object")
        return Document(value, [] if value is _MISSING else self._problems, f"{self._path}{name}.")

    def optional_part(self, name: str) -> Document | None:
        """Return a field that is an object, None where it is null."""
        if name not in self._left or self._left[name] is not None:
            return self.part(name)
        self._pop(name)
        return None

    def _pop(self, name: str) -> object:
        self._known.append(name)
        return self._left.pop(name, _MISSING)

    def end(self) -> None:
        """Every field that was not taken is a problem."""
        known = ", ".join(self._known)
        self._problems += [f"{self._path}{name} is unknown; allowed: {known}" for name in sorted(self._left)]


def parse(data: str | bytes) -> object:
    """Parse JSON; raises ValueError with one sentence, also for a name that stands twice and for NaN."""
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no JSON: {error}") from None


def canonical(document: object) -> bytes:
    """The one form of a document that checksums are made of: names sorted, no white space, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def whole(low: int, high: int | None = None) -> Callable[[Any], int]:
    """A whole number in a range; true and 1.0 are none."""

    def convert(value: Any) -> int:
        if type(value) is not int or value < low or (high is not None and value > high):
            raise ValueError
        return value

    return convert


def text(pattern: str = r"(?s).+") -> Callable[[Any], str]:
    """A text that matches the pattern as a whole."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError
        return value

    return convert


def boolean(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise TypeError
    return value


def texts(pattern: str) -> Callable[[Any], tuple[str, ...]]:
    """A list of texts that all match."""
    one = text(pattern)

    def convert(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise TypeError
        return tuple(map(one, value))

    return convert


def objects(value: Any) -> list[object]:
    """A list, of whatever."""
    if not isinstance(value, list):
        raise TypeError
    return value


def optional(convert: Callable[[Any], _T]) -> Callable[[Any], _T | None]:
    """Null, or what convert takes."""
    return lambda value: None if value is None else convert(value)


def time(value: Any) -> datetime:
    """A time in UTC of whole seconds, `2026-11-21T13:23:00Z`."""
    return datetime.strptime(text()(value), _TIME).replace(tzinfo=UTC)


def to_time(moment: datetime) -> str:
    """The text that time() reads. Raises ValueError for a moment without zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).strftime(_TIME)


def _shown(value: object) -> str:
    return json.dumps(value, default=repr)[:100]


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in it")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")
