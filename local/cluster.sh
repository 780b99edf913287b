#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Bring the local Kubernetes up and give its nodes the workload images; a second run only looks
. "$(dirname "$0")/lib.sh"

confine() {
  packages iptables:iptables
  docker network inspect "$CLUSTER" >/dev/null 2>&1 || step "create the network" docker network create \
    --opt "com.docker.network.bridge.name=$CLUSTER" "$CLUSTER"
  confinement -C 2>/dev/null || confinement -I
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
  mv "$KUBECONFIG" "$LOCAL_KUBECONFIG"
}

start_nodes() { nodes | xargs docker start; }

ready() {
  timeout 120 bash -c 'until kubectl get --raw /readyz; do sleep 0.3; done'
  kubectl wait --for=condition=Ready nodes --all --timeout=120s
  kubectl --namespace kube-system rollout status deployment coredns --timeout=120s
}

up() {
  if [ -n "$(nodes)" ] && [ ! -s "$KUBECONFIG" ]; then
    step "remove a cluster that was never finished" remove_nodes
  fi
  if [ -z "$(nodes)" ]; then
    bash local/binaries.sh kind
    [ "$(source_mode)" = registry ] || bash local/node-image.sh
    at_least fs/inotify/max_user_instances 1024
    at_least fs/inotify/max_user_watches 524288
    step "create the cluster $CLUSTER" create
  elif [ -n "$(nodes --filter status=exited)" ]; then
    step "start the nodes, they were stopped" start_nodes
  fi
}

[ "$(id -u)" = 0 ] || die "make cluster needs root, for the rule that keeps the cluster's traffic on this machine"
engine
export KUBECONFIG=$LOCAL_KUBECONFIG
confine
up
bash local/load.sh
step "wait for five Ready nodes (should they never be: make clean cluster)" ready
