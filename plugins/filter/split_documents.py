# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered templates as single Kubernetes documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any


def split_documents(texts: Iterable[str]) -> list[str]:
    """Split rendered templates at their `---` lines; returns one text a document, byte for byte, without empty ones."""
    parts = [part for text in texts for part in re.split(r"^---\n", text, flags=re.MULTILINE)]
    return [part for part in parts if part.strip()]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"split_documents": split_documents}
