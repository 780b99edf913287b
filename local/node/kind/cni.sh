#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The pod network: this node's CNI configuration from its podCIDR, and a route to each other node's. Follows the list of
# nodes until the API server ends the watch; the DaemonSet kindcni starts it again.
set -euo pipefail

configure() {
  local cidr=$1
  ! nft list table ip kindcni >/dev/null 2>&1 || return 0
  mkdir -p /etc/cni/net.d
  nft -f - <<RULES
table ip kindcni {
  chain post { type nat hook postrouting priority srcnat; oifname "eth0" ip saddr $cidr ip daddr != $POD_SUBNET masquerade; }
}
RULES
  cat >/etc/cni/net.d/.part <<JSON
{"cniVersion": "0.4.0", "name": "kind", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$cidr"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  mv /etc/cni/net.d/.part /etc/cni/net.d/10-kind.conflist
}

kubectl --server="https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT" --token="$TOKEN" \
  --certificate-authority=/etc/kubernetes/pki/ca.crt get nodes --watch \
  -o jsonpath='{.metadata.name} {.spec.podCIDR} {.status.addresses[?(@.type=="InternalIP")].address}{"\n"}' |
  while read -r name cidr address; do
    if [ -z "$address" ]; then
      continue          # no podCIDR or no address yet, another event follows
    elif [ "$name" = "$NODE_NAME" ]; then
      configure "$cidr"
    else
      ip route replace "$cidr" via "$address"
    fi
  done
