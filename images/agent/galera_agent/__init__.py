# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent of stateful.galera: election, start and health of one MariaDB Galera pod."""

from __future__ import annotations

__version__ = "1.0.0"
