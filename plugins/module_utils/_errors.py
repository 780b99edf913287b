# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The errors that modules turn into one sentence for the user."""

from __future__ import annotations

import json
import typing as t

# a message of the API server may carry whole objects; what helps a reader stands at its beginning
_LONGEST = 600


class GaleraError(Exception):
    """Something that the user must know, as one sentence that names the thing, its value and what is allowed."""


class UnreachableError(GaleraError):
    """No answer from the API server, or none that HTTP understands."""


class ApiError(GaleraError):
    """An answer of the API server with an HTTP status of 400 or more.

    status: the HTTP status; reason: the API's machine word ("Forbidden", "AlreadyExists", ...), "" when it gave none;
    said: the API server's own message.
    """

    def __init__(self, status: int, reason: str, said: str, what: str) -> None:
        super().__init__(f"{what}: {said}" if what else said)
        self.status = status
        self.reason = reason
        self.said = said

    @classmethod
    def of(cls, status: int, body: bytes, what: str) -> ApiError:
        """The error for an answer: `body` is a Status object of the API, or text of whatever stands in between."""
        reason, said = "", body.decode("utf-8", "replace").strip()
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if isinstance(document, dict) and document.get("kind") == "Status":
            reason, said = str(document.get("reason") or ""), str(document.get("message") or "").strip()
        return cls(status, reason, shorten(said) or f"HTTP status {status} without a message", what)


class RefusedError(GaleraError):
    """Several things are wrong, and nothing was changed. problems: one sentence each."""

    def __init__(self, problems: t.Sequence[str]) -> None:
        self.problems = list(dict.fromkeys(problems))
        if len(self.problems) == 1:
            text = f"{self.problems[0]} Nothing was changed."
        else:
            listed = " ".join(f"({number}) {problem}" for number, problem in enumerate(self.problems, 1))
            text = f"{len(self.problems)} problems, nothing was changed: {listed}"
        super().__init__(text)


def shorten(text: str, longest: int = _LONGEST) -> str:
    """`text` on one line of at most `longest` characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 3].rstrip()}..."


def and_list(words: t.Iterable[str], last: str = "and") -> str:
    """['a', 'b', 'c'] as "a, b and c"."""
    items = list(words)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"
