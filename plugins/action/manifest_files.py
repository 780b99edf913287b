# SPDX-License-Identifier: GPL-3.0-or-later
"""The action stateful.galera.manifest_files: writes rendered manifests on the machine of the play."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.stateful.galera.plugins.plugin_utils._files import File
from ansible_collections.stateful.galera.plugins.plugin_utils._manifests import Manifests

FILE_SPEC = {
    "name": {"type": "str", "required": True},
    "manifests": {"type": "list", "elements": "str", "required": True},
    "values": {"type": "dict", "default": {}},
    "private": {"type": "bool", "default": False},
}
ARGUMENT_SPEC = {
    "folder": {"type": "path", "required": True},
    "files": {"type": "list", "elements": "dict", "required": True, "options": FILE_SPEC},
}


class ActionModule(ActionBase):
    """Renders and writes; runs no module and needs no connection."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what was done with each file."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _checked, params = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        folder = Path(params["folder"]).absolute()
        # all is rendered before anything is written
        files = self._rendered(folder, params["files"], task_vars or {})
        changed = not folder.is_dir()
        try:
            if changed and not self._task.check_mode:
                folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            done = [file.settle(self._task.check_mode) for file in files]
        except OSError as error:
            raise AnsibleActionFail(f"The manifests cannot be written: {error.strerror}: {error.filename}.") from error
        diffs = [each.pop("diff") for each in done]
        result.update(changed=changed or any(each["result"] != "unchanged" for each in done), files=done)
        if self._task.diff:
            result["diff"] = [diff for diff in diffs if diff]
        return result

    def _rendered(self, folder: Path, wanted: list[dict[str, Any]], variables: Mapping[str, Any]) -> list[File]:
        """Return the files that have a document. Those with the same values share what is worked out for them."""
        shared: dict[str, Manifests] = {}
        files = []
        for each in wanted:
            key = json.dumps(each["values"], sort_keys=True)
            manifests = shared.setdefault(key, Manifests(self._templar, variables, each["values"]))
            documents = [document for name in each["manifests"] for document in manifests.documents(name)]
            if documents:
                files.append(File(folder / each["name"], "---\n".join(documents), each["private"]))
        return files
