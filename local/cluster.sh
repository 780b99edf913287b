#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Bring the local Kubernetes up and give its nodes the workload images; a second run only looks
. "$(dirname "$0")/lib.sh"

confine() {
  packages iptables:iptables
  docker network inspect "$CLUSTER" >/dev/null 2>&1 || step "create the network" create_network
  confinement -C 2>/dev/null || confinement -I
}

# Docker chooses a free subnet, and the network is made again with it: only one that was named lets addresses be kept
create_network() {
  local subnet
  docker network create --opt "com.docker.network.bridge.name=$CLUSTER" "$CLUSTER"
  subnet=$(docker network inspect --format '{{(index .IPAM.Config 0).Subnet}}' "$CLUSTER")
  docker network rm "$CLUSTER"
  docker network create --opt "com.docker.network.bridge.name=$CLUSTER" --subnet "$subnet" "$CLUSTER"
}

# addresses: print "NODE ADDRESS" for each node, sorted; without an address when it does not run
addresses() {
  nodes | xargs docker inspect --format '{{.Name}} {{(index .NetworkSettings.Networks "'"$CLUSTER"'").IPAddress}}' | tr -d / | sort
}

# at_least PATH VALUE: raise a limit of the kernel that five nodes would reach
at_least() { [ "$(cat "/proc/sys/$1")" -ge "$2" ] || echo "$2" >"/proc/sys/$1"; }

create() {
  local image=$KIND_NODE_IMAGE
  [ "$(source_mode)" = registry ] || image=$(cat "$CACHE/node-image.name")
  kind create cluster --name "$CLUSTER" --image "$image" --config local/kind.yaml --kubeconfig "$KUBECONFIG.part"
  [ -x "$CACHE/bin/kubectl" ] || docker cp "$CLUSTER-control-plane:/usr/bin/kubectl" "$CACHE/bin/"
  export KUBECONFIG=$KUBECONFIG.part       # kind says that all went well before its workers are Ready
  kubectl taint nodes "$CLUSTER-control-plane" node-role.kubernetes.io/control-plane-
  kubectl apply --server-side --force-conflicts --filename local/coredns.yaml
  kubectl wait --for=condition=Ready nodes --all --timeout=120s
  kubectl --namespace kube-system rollout restart deployment coredns       # now that there are nodes to spread over
  addresses >"$CACHE/addresses"
  mv "$KUBECONFIG" "$LOCAL_KUBECONFIG"
}

# After a restart of the engine each node would get the next free address, and etcd, kubelet and routes know the old one
start_nodes() {
  local node address
  nodes | xargs docker stop --time 20
  while read -r node address; do
    docker network disconnect "$CLUSTER" "$node"
    docker network connect --ip "$address" "$CLUSTER" "$node"
  done <"$CACHE/addresses"
  nodes | xargs docker start
}

ready() {
  timeout 120 bash -c 'until kubectl get --raw /readyz; do sleep 0.3; done'
  kubectl wait --for=condition=Ready nodes --all --timeout=120s
  kubectl --namespace kube-system rollout status deployment coredns --timeout=120s
}

up() {
  if [ -n "$(nodes)" ] && { [ ! -s "$KUBECONFIG" ] || [ ! -s "$CACHE/addresses" ]; }; then
    step "remove a cluster that was never finished" remove_nodes
  fi
  if [ -z "$(nodes)" ]; then
    bash local/binaries.sh kind
    [ "$(source_mode)" = registry ] || bash local/node-image.sh
    at_least fs/inotify/max_user_instances 1024
    at_least fs/inotify/max_user_watches 524288
    step "create the cluster $CLUSTER" create
  elif ! addresses | cmp --silent - "$CACHE/addresses"; then
    step "start the nodes with the addresses that they had" start_nodes
  fi
}

[ "$(id -u)" = 0 ] || die "make cluster needs root, for the rule that keeps the cluster's traffic on this machine"
engine
export KUBECONFIG=$LOCAL_KUBECONFIG
confine
up
bash local/load.sh
step "wait for five Ready nodes (should they never be: make clean cluster)" ready
