# SPDX-License-Identifier: GPL-3.0-or-later
"""Statements that mean who runs them. The binary log says who that was, and `mariadb-binlog` does not write it. Pure.

Replayed as they are, they would mean the account of the replay: its name is in none of them afterwards.
"""

from __future__ import annotations

import re

from .binlog_events import Statement

# Each part takes all that it can and gives nothing back: a statement may begin with hundreds of comments
COMMENTS = rb"(?>\s+|/\*(?!M?!)(?:[^*]|\*(?!/))*+\*/|--(?=\s)[^\n]*\n|#[^\n]*\n)*+"
_ROLE = re.compile(COMMENTS + rb"CREATE\s+(OR\s+REPLACE\s+)?ROLE\b", re.IGNORECASE)
_ACCOUNTS = re.compile(
    COMMENTS + rb"(GRANT|REVOKE|(ALTER|DROP|RENAME|CREATE|CREATE\s+OR\s+REPLACE)\s+(USER|ROLE))\b", re.IGNORECASE
)
_ALTERS = re.compile(COMMENTS + rb"ALTER\s", re.IGNORECASE)
_EVENT = re.compile(
    COMMENTS + rb"ALTER(?P<definer>\s+DEFINER\s*=\s*CURRENT_USER\b(\s*\(\s*\))?)?\s+EVENT\b", re.IGNORECASE
)
_TOKENS = re.compile(
    rb"'(?:[^'\\]|\\.|'')*+'|\"(?:[^\"\\]|\\.|\"\")*+\"|`(?:[^`]|``)*+`|/\*.*?\*/|--(?=\s)[^\n]*|#[^\n]*"
    rb"|(?<![\w$@.])(?P<who>CURRENT_(?:USER|ROLE)\b(?:\s*\(\s*\))?)|(?P<admin>\bWITH\s+ADMIN\b)"
    rb"|(?P<identified>\bIDENTIFIED\b)",
    re.IGNORECASE | re.DOTALL,
)


def makes_role(text: bytes) -> bool:
    """Whether a statement makes a role."""
    return _ROLE.match(text) is not None


class UnknownError(ValueError):
    """A statement means who ran it, and the log does not say who that was; the text names its words."""


def named(statement: Statement) -> bytes | None:
    """The text of a statement with the name of who ran it; None where that is the same. Raises UnknownError."""
    text = statement.text
    who = None if statement.invoker is None else _account(*statement.invoker)
    if who is not None and (found := _EVENT.match(text)):
        # ALTER EVENT makes who runs it the definer
        begin, end = (found.end() - len(b" EVENT"),) * 2 if found["definer"] is None else found.span("definer")
        return text[:begin] + b" DEFINER=" + who + text[end:]
    if not _ACCOUNTS.match(text):
        return None
    tokens = list(_TOKENS.finditer(text))
    if _ALTERS.match(text) and any(one["identified"] for one in tokens):
        # MariaDB changes no password of CURRENT_USER
        return None
    means = [one for one in tokens if one["who"]]
    role = makes_role(text)
    if who is None:
        if means and not role:
            raise UnknownError(
                f"it names {means[0]['who'].decode()}, and the log of its node does not say who that was"
            )
        return None
    parts, place = [], 0
    for one in means:
        parts += [text[place : one.start()], who]
        place = one.end()
    if role and not any(one["admin"] for one in tokens):
        # Who makes a role is its admin
        return b"".join([*parts, text[place:].rstrip(b"; \t\r\n"), b"\n WITH ADMIN ", who])
    return b"".join([*parts, text[place:]]) if parts else None


def _account(user: bytes, host: bytes) -> bytes:
    """In quotes that are the same in each sql_mode. A role has no host."""
    return b"@".join(b"`" + one.replace(b"`", b"``") + b"`" for one in ((user, host) if host else (user,)))
