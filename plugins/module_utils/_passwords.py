# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Which passwords the Secret gets. Pure, apart from the source of randomness."""

from __future__ import annotations

import base64
import dataclasses
import re
import secrets
import typing as t

if t.TYPE_CHECKING:
    from ansible_collections.stateful.galera.plugins.module_utils._kinds import Manifest

ROOT, _XTRABACKUP = "root-password", "xtrabackup-password"
# key of the Secret -> variable of the inventory that gives it
VARIABLES = {
    ROOT: "galera_mysql_root_password",
    "user-password": "galera_mysql_password",
    _XTRABACKUP: "galera_xtrabackup_password",
}
BACKUP_KEYS = frozenset({"access-key-id", "secret-access-key", "age-identity"})


@dataclasses.dataclass(frozen=True)
class Plan:
    """What becomes of the Secret.

    data: all keys that it shall have, base64, None when it stays as it is; written: keys with a new value; generated:
    those of them that the inventory does not give; problems: sentences that forbid any change.
    """

    data: dict[str, str] | None
    written: tuple[str, ...] = ()
    generated: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def generated() -> str:
    """32 letters, digits, - and _, of each kind at least one, as plugins that validate passwords want."""
    while True:
        word = secrets.token_urlsafe(24)
        if all(re.search(kind, word) for kind in ("[a-z]", "[A-Z]", "[0-9]", "[_-]")):
            return word


def plan(
    secret: Manifest | None,
    given: t.Mapping[str, str],
    keys: t.Sequence[str],
    lives: bool,
    where: str,
    generate: t.Callable[[], str] = generated,
) -> Plan:
    """Decide on the Secret named `where` ("namespace/name").

    secret: the live Secret; given: values of the inventory by key; keys: those that it must have; lives: whether
    databases may exist that were made with the values in it, so that none may change.
    """
    live: dict[str, str] = dict((secret or {}).get("data") or {})
    wanted = {key: base64.b64encode(value.encode()).decode() for key, value in given.items() if value}
    # keys of backups are no passwords of the database: they may change at any time
    kept = [key for key in sorted(wanted) if key not in BACKUP_KEYS]
    differing = [key for key in kept if live.get(key) and live[key] != wanted[key]]
    problems = [_differs(key, where) for key in differing] if lives else []
    missing = [key for key in keys if not live.get(key) and key not in wanted]
    # Nothing is generated for a cluster that lives: its database knows other passwords. But a Secret that has that of
    # root and was never given one of xtrabackup belongs to a database without that account.
    lost = [key for key in missing if key != _XTRABACKUP or not live.get(ROOT)]
    problems += [_lost(key, where) for key in lost] if lives else []
    if problems:
        return Plan(None, problems=tuple(problems))
    fresh = {key: base64.b64encode(generate().encode()).decode() for key in missing}
    changes = {**{key: value for key, value in wanted.items() if live.get(key) != value}, **fresh}
    if not changes:
        return Plan(None)
    return Plan({**live, **changes}, tuple(sorted(changes)), tuple(missing))


def manifest(data: t.Mapping[str, str], name: str, namespace: str, labels: t.Mapping[str, str]) -> Manifest:
    """The Secret object."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "type": "Opaque",
        "data": dict(data),
    }


def _differs(key: str, where: str) -> str:
    variable = VARIABLES.get(key, f"passwords['{key}']")
    return (
        f"{variable} differs from the key {key} of the Secret {where}: changing it in the inventory does not change it "
        f"in the database. Put the old value back or remove the variable; to change the password, change it in the "
        f"database first (ALTER USER), then in the Secret."
    )


def _lost(key: str, where: str) -> str:
    variable = VARIABLES.get(key, f"passwords['{key}']")
    return (
        f"The Secret {where} has no key {key}, but this cluster exists: a generated password would not be the one of "
        f"the database. Set {variable} to the password that the database has, or put the Secret back."
    )
