# SPDX-License-Identifier: GPL-3.0-or-later
"""Statements that mean who runs them, and what the binary log says of that."""

from __future__ import annotations

from pathlib import Path

import pytest
from binlog_samples import binlog, event, query
from galera_agent.backup.binlog_events import Statement, statements
from galera_agent.backup.invoker import UnknownError, named

WHO = (b"app", b"10.%")


def of(text: bytes, who: tuple[bytes, bytes] | None = WHO) -> bytes | None:
    return named(Statement(4, 9, 0, text, who))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"GRANT SELECT ON a.* TO CURRENT_USER, b", b"GRANT SELECT ON a.* TO `app`@`10.%`, b"),
        (b"revoke r from current_user ( )", b"revoke r from `app`@`10.%`"),
        (b"DROP USER CURRENT_USER()", b"DROP USER `app`@`10.%`"),
        (b"/* c */ RENAME USER CURRENT_USER TO b", b"/* c */ RENAME USER `app`@`10.%` TO b"),
        (b"ALTER USER CURRENT_USER ACCOUNT LOCK", b"ALTER USER `app`@`10.%` ACCOUNT LOCK"),
        (b"CREATE ROLE r ;", b"CREATE ROLE r\n WITH ADMIN `app`@`10.%`"),
        (b"create or replace role r -- why", b"create or replace role r -- why\n WITH ADMIN `app`@`10.%`"),
        (b"CREATE ROLE r WITH  ADMIN CURRENT_USER", b"CREATE ROLE r WITH  ADMIN `app`@`10.%`"),
        (b"CREATE ROLE `WITH ADMIN`", b"CREATE ROLE `WITH ADMIN`\n WITH ADMIN `app`@`10.%`"),
        (b"ALTER EVENT e ENABLE", b"ALTER DEFINER=`app`@`10.%` EVENT e ENABLE"),
        (
            b"alter definer = CURRENT_USER() event e DO SELECT CURRENT_USER",
            b"alter DEFINER=`app`@`10.%` event e DO SELECT CURRENT_USER",
        ),
        (
            b"GRANT ALL ON `CURRENT_USER`.* TO 'CURRENT_USER'@'it\\'s', /* CURRENT_USER */ CURRENT_USER",
            b"GRANT ALL ON `CURRENT_USER`.* TO 'CURRENT_USER'@'it\\'s', /* CURRENT_USER */ `app`@`10.%`",
        ),
    ],
)
def test_who_ran_it_is_named(text: bytes, wanted: bytes) -> None:
    assert of(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        b"GRANT SELECT ON a.* TO b",
        b"CREATE ROLE r WITH ADMIN b",
        b"CREATE DEFINER=`a`@`b` PROCEDURE p() SELECT CURRENT_USER()",
        b"CREATE TABLE t (a VARCHAR(99) DEFAULT CURRENT_USER())",
        b"ALTER DEFINER=`a`@`b` EVENT e DO SELECT CURRENT_USER()",
        b"DROP USER current_user_of_app, 'CURRENT_USER'",
        # Nodes have changed no password
        b"ALTER USER CURRENT_USER() IDENTIFIED BY 'new'",
    ],
)
def test_other_statements_stay_as_they_are(text: bytes) -> None:
    assert of(text) is None


def test_names_are_quoted_and_roles_have_no_host() -> None:
    assert of(b"DROP USER CURRENT_USER", (b"a`b", b"%")) == b"DROP USER `a``b`@`%`"
    assert of(b"CREATE ROLE r WITH ADMIN CURRENT_ROLE", (b"admins", b"")) == b"CREATE ROLE r WITH ADMIN `admins`"


def test_who_ran_it_may_be_unknown() -> None:
    """A node that has it from another one does not log that; a role is made all the same."""
    for text in (b"CREATE ROLE r", b"CREATE ROLE r WITH ADMIN CURRENT_USER", b"ALTER EVENT e ENABLE", b"DROP USER b"):
        assert of(text, None) is None
    with pytest.raises(UnknownError, match="it names Current_User, and the log of its node does not say who that was"):
        of(b"GRANT r TO Current_User", None)


@pytest.mark.parametrize("checksum", [b"", b"sum1"])
def test_the_log_says_who_ran_it(tmp_path: Path, checksum: bytes) -> None:
    """Then the statement is read whole, without the checksum that the first event announces."""
    text = b"GRANT SELECT ON a.* TO " + b", ".join(b"user%d" % number for number in range(500))
    path = tmp_path / "binlog.000001"
    first = event(15, bytes(75) + (b"\x01" if checksum else b"\x00") + b"sum0")
    given = [query(text + checksum, invoker=WHO), query(b"DROP USER a" + checksum), query(b"B" + checksum, error=1396)]
    path.write_bytes(b"\xfebin" + first + b"".join(given))
    found = list(statements(path, 4, None))
    assert [(one.text, one.invoker) for one in found] == [(text, WHO), (b"DROP USER a", None), (b"B", None)]
    begin = found[1].offset
    assert [one.text for one in statements(path, begin, None)] == [b"DROP USER a", b"B"]


@pytest.mark.parametrize("cut", [b"\x0b", b"\x0b\x09a", b"\x06\xffstd", b"\xee\x00\x0b\x01a\x01b"])
def test_variables_that_are_not_known_say_nothing(tmp_path: Path, cut: bytes) -> None:
    head = bytes(8) + b"\x01" + bytes(2) + len(cut).to_bytes(2, "little")
    path = tmp_path / "binlog.000001"
    path.write_bytes(binlog([], [event(2, head + cut + b"d\x00DROP USER a")]))
    assert [(one.text, one.invoker) for one in statements(path, 4, None)] == [(b"DROP USER a", None)]
