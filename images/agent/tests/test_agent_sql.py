# SPDX-License-Identifier: GPL-3.0-or-later
"""The SQL of the first start. The hashes were given by MariaDB's PASSWORD()."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from galera_agent.sql import (
    SecretError,
    bootstrap_sql,
    grant_pattern,
    identifier,
    password_hash,
    read_secret,
    string,
    write_private,
)


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("plain", "'plain'"),
        ("it's", r"'it\'s'"),
        ('say "hi"', "'say \"hi\"'"),
        ("back\\slash", r"'back\\slash'"),
        ("two\nlines;\r\n", r"'two\nlines;\r\n'"),
        ("nul\0sub\x1a", r"'nul\0sub\Z'"),
        ("pä-日本-😀", "'pä-日本-😀'"),
        ("", "''"),
    ],
)
def test_string(value: str, quoted: str) -> None:
    assert string(value) == quoted


@pytest.mark.parametrize(
    ("name", "quoted", "pattern"),
    [
        ("shop", "`shop`", "`shop`"),
        ("my_db", "`my_db`", r"`my\_db`"),
        ("100%", "`100%`", r"`100\%`"),
        ("a`b", "`a``b`", "`a``b`"),
    ],
)
def test_names(name: str, quoted: str, pattern: str) -> None:
    assert (identifier(name), grant_pattern(name)) == (quoted, pattern)


@pytest.mark.parametrize(
    ("password", "hashed"),
    [
        ('us"er pä', "*7A16510DEA273EB064312ACE370EED403E0BEDE3"),
        ("password", "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"),
    ],
)
def test_password_hash(password: str, hashed: str) -> None:
    assert password_hash(password) == hashed


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"pw", "pw"), (b"pw\n", "pw"), (b"pw\r\n", "pw"), (b"pw\n\n", "pw\n"), (b" pw ", " pw "), ("pä".encode(), "pä")],
)
def test_a_secret_loses_one_line_end_and_nothing_else(tmp_path: Path, raw: bytes, text: str) -> None:
    (tmp_path / "key").write_bytes(raw)
    assert read_secret(tmp_path, "key") == text


def test_a_secret_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    with pytest.raises(SecretError, match="key key is not UTF-8"):
        read_secret(tmp_path, "key")


def _secrets(path: Path, **values: str) -> Path:
    for key, value in values.items():
        (path / key.replace("_", "-")).write_text(value, encoding="utf-8")
    return path


def _account(text: str, account: str) -> list[str]:
    return [line for line in text.splitlines() if f" {account}" in line]


def test_all_of_it(tmp_path: Path) -> None:
    secrets = _secrets(tmp_path, root_password="r'\\", user_password="u", xtrabackup_password="x")
    text = bootstrap_sql(secrets, "my_db", "o'neil")
    assert _account(text, "root@") == [
        f"CREATE USER root@'localhost' IDENTIFIED BY PASSWORD '{password_hash(chr(114) + chr(39) + chr(92))}';",
        "GRANT ALL PRIVILEGES ON *.* TO root@'localhost' WITH GRANT OPTION;",
        f"CREATE USER root@'%' IDENTIFIED BY PASSWORD '{password_hash(chr(114) + chr(39) + chr(92))}';",
        "GRANT ALL PRIVILEGES ON *.* TO root@'%' WITH GRANT OPTION;",
    ]
    assert _account(text, "mysql@localhost") == [
        "CREATE USER mysql@localhost IDENTIFIED VIA unix_socket;",
        "GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, SHUTDOWN, CONNECTION ADMIN ON *.* TO mysql@localhost;",
    ]
    assert _account(text, "xtrabackup@localhost") == [
        f"CREATE USER xtrabackup@localhost IDENTIFIED BY PASSWORD '{password_hash('x')}';",
        "GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, REPLICA MONITOR ON *.* TO xtrabackup@localhost;",
    ]
    assert text.splitlines()[-3:] == [
        "CREATE DATABASE IF NOT EXISTS `my_db`;",
        f"CREATE USER 'o\\'neil'@'%' IDENTIFIED BY PASSWORD '{password_hash('u')}';",
        "GRANT ALL PRIVILEGES ON `my\\_db`.* TO 'o\\'neil'@'%';",
    ]
    assert all(line.endswith(";") for line in text.splitlines())


@pytest.mark.parametrize(
    ("database", "user", "has_database", "has_user", "has_grant"),
    [("", "", False, False, False), ("d", "", True, False, False), ("", "u", False, True, False), ("d", "u", 1, 1, 1)],
)
def test_database_and_user_alone(
    tmp_path: Path, database: str, user: str, has_database: bool, has_user: bool, has_grant: bool
) -> None:
    text = bootstrap_sql(_secrets(tmp_path, root_password="r", user_password="u"), database, user)
    assert ("CREATE DATABASE" in text) == bool(has_database)
    assert ("CREATE USER 'u'@'%'" in text) == bool(has_user)
    assert ("ON `d`.* TO" in text) == bool(has_grant)
    assert "xtrabackup" not in text


def test_no_password_is_written(tmp_path: Path) -> None:
    secrets = _secrets(tmp_path, root_password="geheim1", user_password="geheim2", xtrabackup_password="geheim3")
    assert "geheim" not in bootstrap_sql(secrets, "d", "u")


def test_a_plugin_that_validates_passwords_lets_hashes_pass(tmp_path: Path) -> None:
    """simple_password_check and others in my.cnf: the server of the first start ends after these statements."""
    lines = bootstrap_sql(_secrets(tmp_path, root_password="r"), "", "").splitlines()
    off = lines.index("SET GLOBAL strict_password_validation=OFF;")
    assert off < min(number for number, line in enumerate(lines) if "IDENTIFIED" in line)


@pytest.mark.parametrize(
    ("values", "user", "says"),
    [
        ({}, "", "no key root-password"),
        ({"root_password": ""}, "", "root-password is empty"),
        ({"root_password": "\n"}, "", "root-password is empty"),
        ({"root_password": "r"}, "u", "no key user-password"),
        ({"root_password": "r", "user_password": "u"}, "root", "GALERA_MYSQL_USER is 'root'"),
        ({"root_password": "r", "user_password": "u"}, "mysql", "GALERA_MYSQL_USER is 'mysql'"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, values: dict[str, str], user: str, says: str) -> None:
    with pytest.raises(SecretError, match=says):
        bootstrap_sql(_secrets(tmp_path, **values), "", user)


def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "init.sql"
    path.write_text("left over")
    path.chmod(0o666)
    write_private(path, "SELECT 1;\n")
    assert path.read_text() == "SELECT 1;\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
