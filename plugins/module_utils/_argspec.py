# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What the modules have in common: options, and the way from a failure to a sentence."""

from __future__ import annotations

import copy
import re
import typing as t

from ansible.module_utils.basic import missing_required_lib
from ansible.module_utils.common.yaml import HAS_YAML
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.stateful.galera.plugins.module_utils._connection import URLLIB3_ERROR
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.module_utils._observe import Names

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

TARGET_SPEC: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
}
WAIT_SPEC: dict[str, t.Any] = {"wait_timeout": {"type": "int", "default": 600}}

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def argument_spec(*specs: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """`specs`, the target's options and those of kubernetes.core for the connection, as one argument_spec."""
    merged: dict[str, t.Any] = copy.deepcopy(AUTH_ARG_SPEC)
    for spec in (TARGET_SPEC, *specs):
        merged.update(copy.deepcopy(dict(spec)))
    return merged


def target(module: AnsibleModule) -> Names:
    """The cluster that a module works on. Raises GaleraError for a name that Kubernetes cannot have."""
    for option in ("name", "namespace"):
        value = module.params[option]
        if len(value) > 63 or not _LABEL.fullmatch(value):
            raise GaleraError(
                f"{option}={value!r} is no DNS label: at most 63 lower-case letters, digits and hyphens are allowed, "
                f"with a letter or digit at both ends."
            )
    size = module.params.get("size")
    if size is not None and size < 1:
        raise GaleraError(f"size={size} is not allowed: a cluster has at least one node.")
    return Names(module.params["name"], module.params["namespace"])


def teller(module: AnsibleModule) -> t.Callable[[str], None] | None:
    """What shows a line to who watches the play; None in a process of its own, of which nobody sees anything."""
    return getattr(module, "say", None)


def requirement_missing() -> str:
    """The sentence about a Python library that is not there, "" when all are."""
    if URLLIB3_ERROR:
        return str(missing_required_lib("urllib3"))
    return "" if HAS_YAML else str(missing_required_lib("PyYAML"))


def run(module: AnsibleModule, work: t.Callable[[AnsibleModule], dict[str, t.Any]]) -> None:
    """Run a module's work: its result, or a failure with one sentence."""
    missing = requirement_missing()
    if missing:
        module.fail_json(msg=missing, exception=URLLIB3_ERROR)
    try:
        result = work(module)
    except GaleraError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)
