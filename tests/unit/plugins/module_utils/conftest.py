# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator

import pytest
from unit.plugins.module_utils.fake_kubernetes import FakeKubernetes


@pytest.fixture
def api() -> Iterator[FakeKubernetes]:
    """An API server without any object."""
    fake = FakeKubernetes()
    yield fake
    fake.close()
