# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes this checkout importable as the collection stateful.galera; kubernetes.core comes with the package ansible."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".venv" / "collections"

if not (COLLECTIONS / "ansible_collections" / "stateful" / "galera" / "galaxy.yml").is_file():
    raise RuntimeError(f"{COLLECTIONS} does not lead to this checkout: run `make env`")
sys.path.insert(0, str(COLLECTIONS))
