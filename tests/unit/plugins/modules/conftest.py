# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _wait
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes


@pytest.fixture
def api() -> Iterator[FakeKubernetes]:
    """An API server with the namespace db."""
    fake = FakeKubernetes()
    fake.add({"kind": "Namespace", "metadata": {"name": "db"}})
    yield fake
    fake.close()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_wait, "_LOOK_SECONDS", 0.01)


@dataclasses.dataclass
class FakeModule:
    """What the modules use of AnsibleModule."""

    params: dict[str, Any]
    check_mode: bool = False
    _diff: bool = True
    warnings: list[str] = dataclasses.field(default_factory=list)

    def warn(self, text: str) -> None:
        self.warnings.append(text)
