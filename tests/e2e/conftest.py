# SPDX-License-Identifier: GPL-3.0-or-later
"""These tests need the local Kubernetes, and never take another."""

from __future__ import annotations

import os

if not os.environ.get("KUBECONFIG"):
    raise RuntimeError("KUBECONFIG is not set: run `make e2e`, or export KUBECONFIG=$(make -s kubeconfig)")
