#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# kind's node image where no registry is in reach: Debian packages, Kubernetes and its parts built from Go modules
# shellcheck source=local/lib.sh
. "$(dirname "$0")/lib.sh"

NODE_PACKAGES=systemd,containerd,runc,iptables,nftables,iproute2,conntrack,socat,ethtool,mount,kmod,procps,hostname
NODE_PACKAGES+=,ca-certificates,containernetworking-plugins,busybox-static
BIN=$CACHE/bin

pack() {
  local references
  references=$("$BIN/kubeadm" config images list --kubernetes-version "$KUBERNETES_VERSION")
  # shellcheck disable=SC2086
  python3 local/mkimages.py --tree "$1" --bin "$BIN" "$2" $references \
    "localhost/local-path-provisioner:$LOCAL_PATH_VERSION" localhost/tools:1
}

# The node's own containerd unpacks the images, so that a node starts with them; in a mount namespace of its own
preload() {
  mkdir -p "$1/var/lib/containerd"
  unshare --mount bash -euc '
    root=$1
    mount --bind "$2" "$root/run"
    mount -t proc proc "$root/proc"
    printf "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n" >"$2/config.toml"
    chroot "$root" containerd --config /run/config.toml & pid=$!
    ctr() { chroot "$root" ctr -n k8s.io "$@"; }
    until ctr version; do kill -0 $pid; sleep 0.1; done
    ctr images import --snapshotter overlayfs /run/images.tar
    # what is unpacked needs no blob; manifests and configurations stay
    for digest in $(ctr content ls -q); do
      ctr content get "$digest" | head -c 1 | grep -q "{" || ctr content rm "$digest"
    done
    kill $pid
    wait $pid || true' preload "$1" "$2"
}

assemble() {
  local root=$1 image=$2
  cp -r --remove-destination local/node/. "$root/"
  mkdir -p "$root/etc/kubernetes/manifests"
  printf '%s' "$KUBERNETES_VERSION" >"$root/kind/version"
  cp "$BIN"/{kubeadm,kubelet,kubectl} "$root/usr/bin/"
  tar --numeric-owner -c -C "$root" . | docker import --change 'ENV container=docker' --change \
    'ENTRYPOINT ["/usr/local/bin/entrypoint","/lib/systemd/systemd","--system","--unit=kind.target","--log-target=console"]' - "$image"
}

main() {
  local work=$CACHE/node-image image
  image=$PREFIX/node:$(key local/node local/go local/mkimages.py local/node-image.sh local/binaries.sh)
  say "$image" >"$CACHE/node-image.name"
  [ -z "$(docker image ls -q "$image")" ] || return 0
  say "node image (Kubernetes $KUBERNETES_VERSION from Go modules)"
  debian_tree bookworm "$NODE_PACKAGES"
  bash local/binaries.sh node
  rm -rf "$work"
  mkdir -p "$work/run"
  cp -al "$TREE" "$work/root"         # hard links: the tree stays as it is, files are only replaced
  step "pack the images of the control plane" pack "$TREE" "$work/run/images.tar"
  step "unpack them for the nodes" preload "$work/root" "$work/run"
  step "import the node image" assemble "$work/root" "$image"
  docker image ls --format '{{.Repository}}:{{.Tag}}' "$PREFIX/node" | grep -vxF "$image" | xargs -r docker image rm || true
  rm -rf "$work"
}

engine
main
