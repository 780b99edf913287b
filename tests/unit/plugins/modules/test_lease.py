# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stateful.galera.plugins.module_utils import _holder
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError
from ansible_collections.stateful.galera.plugins.modules import lease
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes
from unit.plugins.modules.conftest import FakeModule


@pytest.fixture(autouse=True)
def _play(monkeypatch: pytest.MonkeyPatch) -> None:
    """A play that outlives the module."""
    holder, _ = _holder.current()
    monkeypatch.setattr(_holder, "current", lambda: (holder, True))


def _run(api: FakeKubernetes, state: str, check: bool = False, duration: int = 15) -> dict[str, Any]:
    params = {**api.auth, "name": "demo", "namespace": "db", "state": state, "duration": duration}
    return lease.work(FakeModule(params, check))


def test_held_and_released(api: FakeKubernetes) -> None:
    assert _run(api, "held", duration=900) == {"changed": False, "held": True}
    live = api.get("Lease", "demo-galera-site")
    assert live is not None
    assert live["spec"]["leaseDurationSeconds"] == 900
    assert _run(api, "released") == {"changed": False, "held": False}
    assert api.get("Lease", "demo-galera-site") is None
    assert not _run(api, "released")["held"]


def test_check_mode_takes_nothing(api: FakeKubernetes) -> None:
    assert _run(api, "held", check=True) == {"changed": False, "held": False}
    assert api.requests == []


def test_without_the_namespace_there_is_nothing_to_guard(api: FakeKubernetes) -> None:
    api.objects.clear()
    assert _run(api, "held") == {"changed": False, "held": False}
    assert api.objects == {}


def test_without_the_right_to_read_it_there_is_nothing_to_release(api: FakeKubernetes) -> None:
    api.denied.add(("get", "leases"))
    assert not _run(api, "released")["held"]


def test_too_short(api: FakeKubernetes) -> None:
    with pytest.raises(GaleraError, match=r"^duration=5 is too short: at least 15 seconds are needed\.$"):
        _run(api, "held", duration=5)
