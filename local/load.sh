#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Give the workload images to the nodes, all nodes at once; a node that has them is left alone
. "$(dirname "$0")/lib.sh"

# A node gets the blobs that it lacks: a new agent is a few kilobytes
give() {
  docker exec "$1" timeout 60 sh -c 'until ctr version; do sleep 0.2; done'
  docker exec "$1" ctr -n k8s.io content ls -q | sed 's#^sha256:#./blobs/sha256/#' |
    tar -C "$IMAGES/layout" -c --exclude-from=- . |
    docker exec -i "$1" ctr -n k8s.io images import --snapshotter overlayfs -
}

from_packages() {
  local node jobs=()
  for node; do
    give "$node" &
    jobs+=($!)
  done
  for node in "${jobs[@]}"; do wait "$node"; done
}

from_registry() {
  docker image ls --format '{{.Repository}}:{{.Tag}}' "$PREFIX/*" | xargs kind load docker-image --name "$CLUSTER"
}

load() {
  "from_$(source_mode)" "$@"
  for node; do docker exec "$node" sh -c "echo $state >/kind/images"; done
}

engine
state=$(key "$IMAGES"/.*:*)
lacking=()
for node in $(nodes); do
  [ "$(docker exec "$node" cat /kind/images 2>/dev/null)" = "$state" ] || lacking+=("$node")
done
[ ${#lacking[@]} = 0 ] || step "load the images into ${#lacking[@]} nodes" load "${lacking[@]}"
