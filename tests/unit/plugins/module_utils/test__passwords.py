# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _passwords

KEYS = ["root-password", "xtrabackup-password"]


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _secret(**values: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "demo-galera"},
        "data": {f"{key}-password": _b64(text) for key, text in values.items()},
    }


def _plan(
    secret: dict[str, Any] | None, given: dict[str, str], lives: bool, keys: list[str] | None = None
) -> _passwords.Plan:
    return _passwords.plan(secret, given, KEYS if keys is None else keys, lives, "db/demo-galera", lambda: "fresh")


def test_generated_passwords_are_what_plugins_want_that_validate_them() -> None:
    """simple_password_check by default: eight characters, and one at least of each kind."""
    made = [
        base64.b64decode((_passwords.plan(None, {}, KEYS[:1], False, "").data or {})[KEYS[0]]).decode()
        for _ in range(100)
    ]
    assert len(set(made)) == 100
    for word in made:
        assert re.fullmatch("[A-Za-z0-9_-]{32}", word)
        assert all(re.search(kind, word) for kind in ("[a-z]", "[A-Z]", "[0-9]", "[^A-Za-z0-9]")), word


@pytest.mark.parametrize("lives", [False, True])
@pytest.mark.parametrize("given", [{}, {"root-password": "r"}, {"root-password": "r", "xtrabackup-password": ""}])
def test_complete_secret_is_left_alone(given: dict[str, str], lives: bool) -> None:
    assert _plan(_secret(root="r", xtrabackup="x"), given, lives) == _passwords.Plan(None)


@pytest.mark.parametrize(
    ("secret", "given", "lives", "data", "written", "generated"),
    [
        pytest.param(None, {}, False, {"root": "fresh", "xtrabackup": "fresh"}, KEYS, KEYS, id="all generated"),
        pytest.param(
            None, {"root-password": "r"}, False, {"root": "r", "xtrabackup": "fresh"}, KEYS, KEYS[1:], id="one given"
        ),
        pytest.param(
            _secret(root="r"), {}, False, {"root": "r", "xtrabackup": "fresh"}, KEYS[1:], KEYS[1:], id="one kept"
        ),
        pytest.param(
            _secret(root="r", xtrabackup="x", other="o"),
            {"user-password": "u"},
            True,
            {"root": "r", "xtrabackup": "x", "other": "o", "user": "u"},
            ["user-password"],
            [],
            id="others are kept",
        ),
        pytest.param(
            _secret(root="r", xtrabackup="x"),
            {"root-password": "new"},
            False,
            {"root": "new", "xtrabackup": "x"},
            ["root-password"],
            [],
            id="changed before there is a database",
        ),
        pytest.param(
            _secret(xtrabackup="x"),
            {"root-password": "r"},
            True,
            {"root": "r", "xtrabackup": "x"},
            ["root-password"],
            [],
            id="lost, and given again",
        ),
        pytest.param(
            None,
            {"root-password": "r", "xtrabackup-password": "x"},
            True,
            {"root": "r", "xtrabackup": "x"},
            KEYS,
            [],
            id="all lost, and given again",
        ),
        pytest.param(
            _secret(root="", xtrabackup="x"),
            {},
            False,
            {"root": "fresh", "xtrabackup": "x"},
            ["root-password"],
            ["root-password"],
            id="empty is missing",
        ),
    ],
)
def test_secret_is_written(
    secret: dict[str, Any] | None,
    given: dict[str, str],
    lives: bool,
    data: dict[str, str],
    written: list[str],
    generated: list[str],
) -> None:
    plan = _plan(secret, given, lives)
    assert plan.problems == ()
    assert plan.data == {f"{key}-password": _b64(text) for key, text in data.items()}
    assert (list(plan.written), list(plan.generated)) == (written, generated)


def test_other_password_for_a_cluster_that_lives() -> None:
    plan = _plan(_secret(root="r", xtrabackup="x"), {"root-password": "new", "user-password": "u"}, lives=True)
    assert plan.data is None
    (said,) = plan.problems
    assert said.startswith(
        "galera_mysql_root_password differs from the key root-password of the Secret db/demo-galera: "
    )
    assert "new" not in said.replace("new value", "")


LOST = (
    "The Secret db/demo-galera has no key {}, but this cluster exists: a generated password would not be the one of "
    "the database. Set {} to the password that the database has, or put the Secret back."
)
ROOT_LOST = LOST.format("root-password", "galera_mysql_root_password")
OTHER_LOST = LOST.format("xtrabackup-password", "galera_xtrabackup_password")
USER_LOST = LOST.format("user-password", "galera_mysql_password")


@pytest.mark.parametrize(
    ("secret", "given", "problems"),
    [
        (None, {}, (ROOT_LOST, OTHER_LOST, USER_LOST)),
        (None, {"root-password": "wrong"}, (OTHER_LOST, USER_LOST)),
        (_secret(xtrabackup="x", user="u"), {}, (ROOT_LOST,)),
        (_secret(root="r", user=""), {"xtrabackup-password": "x"}, (USER_LOST,)),
    ],
)
def test_nothing_is_generated_for_a_cluster_that_lives(
    secret: dict[str, Any] | None, given: dict[str, str], problems: tuple[str, ...]
) -> None:
    plan = _plan(secret, given, lives=True, keys=[*KEYS, "user-password"])
    assert plan == _passwords.Plan(None, problems=problems)


def test_an_account_that_the_database_never_had_gets_a_password() -> None:
    plan = _plan(_secret(root="r"), {"root-password": "r"}, lives=True)
    assert (plan.problems, plan.written, plan.generated) == ((), ("xtrabackup-password",), ("xtrabackup-password",))


def test_nothing_is_needed_and_nothing_given() -> None:
    assert _plan(None, {}, lives=False, keys=[]) == _passwords.Plan(None)


def test_generated_passwords_differ_and_are_long() -> None:
    data = _passwords.plan(None, {}, KEYS, False, "db/demo-galera").data
    assert data is not None
    values = [base64.b64decode(value).decode() for value in data.values()]
    assert len(set(values)) == 2
    assert min(map(len, values)) >= 32


def test_manifest() -> None:
    manifest = _passwords.manifest({"root-password": "eA=="}, "demo-galera", "db", {"a": "b"})
    assert manifest == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "demo-galera", "namespace": "db", "labels": {"a": "b"}},
        "type": "Opaque",
        "data": {"root-password": "eA=="},
    }
