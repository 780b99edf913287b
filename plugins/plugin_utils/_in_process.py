# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module's work in the process of the play where that makes no other difference than time.

A module is a process that starts Python, unpacks the module and compiles it, for each host anew; for a run that changes
nothing this takes longer than all it does, and nobody sees how far a long one is. The process of the play has
everything loaded before it forks for the hosts. Private to the collection.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase
from ansible_collections.stateful.galera.plugins.module_utils._argspec import requirement_missing
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError

# What later tasks evaluate: numbers, states, verdicts, names of objects. None of it is made from options that are
# secret, so a password that is a word of it ("healthy") must not change it.
FACTS = frozenset({"changed", "failed", "cluster", "did", "held", "nodes", "objects", "seed", "status"})


def masked(result: Mapping[str, Any], secrets: set[str]) -> dict[str, Any]:
    """Return a result without secrets in all that is text for a reader: everything but single words of the facts."""
    hidden = remove_values({key: value for key, value in result.items() if key not in FACTS}, secrets)
    return {**hidden, **{key: _sentences_masked(value, secrets) for key, value in result.items() if key in FACTS}}


def _sentences_masked(value: Any, secrets: set[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _sentences_masked(each, secrets) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_sentences_masked(each, secrets) for each in value]
    return remove_values(value, secrets) if isinstance(value, str) and " " in value else value


def is_path(kubeconfig: Any) -> bool:
    """Tell whether a kubeconfig is the path of a file, which is no secret, and not its content."""
    return isinstance(kubeconfig, str) and not any(mark in kubeconfig for mark in "\n{:")


def plain(value: Any) -> Any:
    """Return options as a module gets them: libyaml does not take the texts that templates make for text."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


@dataclasses.dataclass
class Task:
    """What the work of a module asks of an AnsibleModule. say: shows a line at once."""

    params: Mapping[str, Any]
    check_mode: bool
    _diff: bool
    say: Callable[[str], None]
    warnings: list[str] = dataclasses.field(default_factory=list)

    def warn(self, warning: str) -> None:
        """Add a warning to the result."""
        self.warnings.append(warning)


class InProcessAction(ActionBase):
    """The action of a module that works on the machine of the play; subclasses say which.

    Where the task asks for another machine, user, interpreter or environment, the module runs as any other.
    """

    work: Callable[[Any], dict[str, Any]]
    argument_spec: Mapping[str, Any]
    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        if not self._is_at_home(task_vars or {}):
            result.update(self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val))
            return result
        spec = dict(self.argument_spec)
        if is_path(self._task.args.get("kubeconfig")):
            spec["kubeconfig"] = {**spec["kubeconfig"], "no_log": False}
        checked, params = self.validate_argument_spec(argument_spec=spec)
        host = (task_vars or {}).get("inventory_hostname", "")

        def say(line: str) -> None:
            if not self._task.no_log:
                self._display.display(f"  {host}: {remove_values(line, checked._no_log_values)}")

        task = Task(plain(params), self._task.check_mode, self._task.diff, say)
        try:
            done = self._done(task)
        except GaleraError as error:
            done = {"failed": True, "msg": str(error)}
        if task.warnings:
            done["warnings"] = task.warnings
        result.update(masked(done, checked._no_log_values))
        return result

    def _done(self, task: Task) -> dict[str, Any]:
        """Return what the work returns. Raises GaleraError."""
        missing = requirement_missing()
        if missing:
            raise GaleraError(missing)
        return type(self).work(task)

    def _is_at_home(self, task_vars: Mapping[str, Any]) -> bool:
        """Tell whether the module would run as this user, with this Python and this environment, on this machine."""
        interpreter = self._templar.template(task_vars.get("ansible_python_interpreter"))
        return (
            self._connection.transport == "local"
            and interpreter == sys.executable
            and not self._connection.become
            and not self._task.delegate_to
            and not self._task.async_val
            and not any(self._task.environment or [])
        )
