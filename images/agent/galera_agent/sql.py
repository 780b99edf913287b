# SPDX-License-Identifier: GPL-3.0-or-later
"""The SQL of the first start: accounts and the database of the inventory, nothing else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

# What a donor's mariadb-backup needs, SHUTDOWN and CONNECTION ADMIN for the agent's orderly stop, and no more. All come
# as this user through the server's socket; the operating system proves who they are: there is no password to keep.
SST_GRANTS = "RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, SHUTDOWN, CONNECTION ADMIN"
BACKUP_GRANTS = "RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, REPLICA MONITOR"
_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\x1a": "\\Z"}


class SecretError(ValueError):
    """A password that must be there is not, or cannot be used; the text names its key, never its value."""


def read_secret(directory: Path, key: str) -> str | None:
    """Read one key of the mounted Secret, without the line end that editors add; None where the key is not there.

    Raises SecretError where it is no UTF-8.
    """
    try:
        raw = (directory / key).read_bytes()
    except FileNotFoundError:
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise SecretError(f"the Secret's key {key} is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")


def string(value: str) -> str:
    """Quote a string; the server reads the statements line by line, so line ends are escaped as well."""
    return "'" + "".join(_ESCAPES.get(char, char) for char in value) + "'"


def identifier(name: str) -> str:
    """Quote the name of a database."""
    return "`" + name.replace("`", "``") + "`"


def grant_pattern(name: str) -> str:
    """Quote a database for GRANT, where _ and % are wildcards unless escaped."""
    return identifier(name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%"))


def password_hash(password: str) -> str:
    """The hash that mysql_native_password stores; with it no password has to be written into a file."""
    return "*" + hashlib.sha1(hashlib.sha1(password.encode()).digest()).hexdigest().upper()


def bootstrap_sql(secrets: Path, database: str, user: str) -> str:
    """The statements of a first start, one a line, for `mariadbd --bootstrap` after the system tables.

    Raises SecretError where root-password, or user-password of a wanted user, is missing or empty.
    """
    lines = [
        # Whatever my.cnf says, a backslash escapes here.
        "SET SESSION sql_mode='';",
        # With a plugin that validates passwords the server takes no hashes, which it cannot look into.
        "SET GLOBAL strict_password_validation=OFF;",
        "USE mysql;",
        "DELETE FROM global_priv WHERE NOT (User='mariadb.sys' AND Host='localhost');",
        "DELETE FROM db;",
        "DELETE FROM proxies_priv WHERE NOT (User='root' AND Host='localhost');",
        "FLUSH PRIVILEGES;",
        "CREATE USER mysql@localhost IDENTIFIED VIA unix_socket;",
        f"GRANT {SST_GRANTS} ON *.* TO mysql@localhost;",
    ]
    root = _needed(secrets, "root-password")
    for host in ("localhost", "%"):
        account = f"root@{string(host)}"
        lines.append(f"CREATE USER {account} IDENTIFIED BY PASSWORD {string(password_hash(root))};")
        lines.append(f"GRANT ALL PRIVILEGES ON *.* TO {account} WITH GRANT OPTION;")
    backup = read_secret(secrets, "xtrabackup-password")
    if backup:
        lines.append(f"CREATE USER xtrabackup@localhost IDENTIFIED BY PASSWORD {string(password_hash(backup))};")
        lines.append(f"GRANT {BACKUP_GRANTS} ON *.* TO xtrabackup@localhost;")
    lines += _of_inventory(secrets, database, user)
    return "\n".join(lines) + "\n"


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, also where a file of that name was left."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _of_inventory(secrets: Path, database: str, user: str) -> Iterable[str]:
    """The database and the user that the inventory names, either alone or both."""
    if database:
        yield f"CREATE DATABASE IF NOT EXISTS {identifier(database)};"
    if user in ("root", "mysql", "xtrabackup", "mariadb.sys"):
        raise SecretError(f"GALERA_MYSQL_USER is '{user}'; allowed: any name but root, mysql, xtrabackup, mariadb.sys")
    if user:
        account = f"{string(user)}@'%'"
        hashed = password_hash(_needed(secrets, "user-password"))
        yield f"CREATE USER {account} IDENTIFIED BY PASSWORD {string(hashed)};"
        if database:
            yield f"GRANT ALL PRIVILEGES ON {grant_pattern(database)}.* TO {account};"


def _needed(secrets: Path, key: str) -> str:
    value = read_secret(secrets, key)
    if value is None:
        raise SecretError(f"the Secret has no key {key}, which the first start needs")
    if not value:
        raise SecretError(f"the Secret's key {key} is empty; allowed: a password")
    return value
