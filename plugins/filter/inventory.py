# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters by which roles/galera/vars/main.yml turns inventory variables into what the templates read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.stateful.galera.plugins.plugin_utils import _convert, _mycnf, _volumes

_FILTERS: tuple[Callable[..., Any], ...] = (
    _convert.as_bool,
    _convert.as_dict,
    _convert.as_duration,
    _convert.as_int,
    _convert.as_list,
    _convert.cpu_millis,
    _convert.memory_bytes,
    _mycnf.mycnf,
    _mycnf.provider_options,
    _volumes.static_volumes,
)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {function.__name__: function for function in _FILTERS}
