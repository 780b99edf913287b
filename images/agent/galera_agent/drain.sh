#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs before the database container is stopped: returns when the proxies send no more queries to this pod.
set -euo pipefail

# An agent that does not answer takes the pod out of the proxies as well, and must not hold up the stop.
echo drain | timeout 30 socat -t 30 - "UNIX-CONNECT:$GALERA_RUNDIR/agent.sock" >/dev/null 2>&1 || true
