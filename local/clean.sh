#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Remove the local Kubernetes: its nodes, network, rule, and the Docker engine that was started for it. Caches stay, unless
# the argument is "all".
. "$(dirname "$0")/lib.sh"

remove() {
  remove_nodes
  ! docker network inspect "$CLUSTER" >/dev/null 2>&1 || docker network rm "$CLUSTER"
  ! confinement -C 2>/dev/null || confinement -D
}

stop_engine() {
  local pid
  pid=$(cat "$CACHE/docker/pid")
  kill "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
}

own=false
if [ -S "$CACHE/docker/socket" ] && docker -H "$OWN_DOCKER" info >/dev/null 2>&1; then
  export DOCKER_HOST=$OWN_DOCKER own=true
fi
if command -v docker >/dev/null && docker info >/dev/null 2>&1; then step "remove the cluster $CLUSTER" remove; fi
if $own; then step "stop the Docker engine" stop_engine; fi
rm -f "$LOCAL_KUBECONFIG" "$CACHE/source" "$CACHE/addresses" "$CACHE/docker/socket"

if [ "${1:-}" = all ]; then
  unmount_below "$CACHE"
  step "remove $CACHE and .venv" rm -rf --one-file-system "$CACHE" .venv
fi
