#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Build from Go modules: "kind", "versitygw" (the S3 server of the tests), or "node" for what the node image holds. Each
# binary is built when its inputs change.
. "$(dirname "$0")/lib.sh"

GO_VERSION=1.26.8           # fetched from the module proxy where Go is older than 1.21
BIN=$CACHE/bin
export CGO_ENABLED=0 GOFLAGS='-mod=readonly -buildvcs=false'

# Go 1.21 and newer fetch the version that a go.mod asks for by themselves; Debian 12's Go is helped here
go_toolchain() {
  local dir
  packages go:golang-go update-ca-certificates:ca-certificates
  [[ $(go env GOVERSION) =~ ^go1\.(1[0-9]|20)($|\.) ]] || return 0
  dir=$(go mod download -json "golang.org/toolchain@v0.0.1-go$GO_VERSION.linux-$(go env GOARCH)" | sed -n 's/.*"Dir": "\(.*\)",/\1/p')
  chmod -R +x "$dir/bin" "$dir/pkg/tool"
  export PATH=$dir/bin:$PATH
}

# build NAME KEY COMMAND...: the command puts $BIN/NAME there, unless the same inputs (KEY) made it already
build() {
  local name=$1 key=$2
  shift 2
  [ "$(cat "$BIN/.$name" 2>/dev/null)" != "$key" ] || [ ! -x "$BIN/$name" ] || return 0
  step "build $name" "$@"
  say "$key" >"$BIN/.$name"
}

in_module() { local module=$1 name=$2; shift 2; go build -C "local/go/$module" -o "$BIN/$name" "$@"; }
install_tool() { GOBIN=$BIN go install "$@"; }

node() {
  local name meta=k8s.io/component-base/version
  local flags="-s -w -X $meta.gitVersion=$KUBERNETES_VERSION -X $meta.gitMajor=1 -X $meta.gitMinor=36"
  build pause "$(key local/go/pause)" in_module pause pause -ldflags '-s -w' .
  build etcd "$(key local/go/etcd)" in_module etcd etcd -ldflags '-s -w' go.etcd.io/etcd/server/v3
  for name in kubectl kubeadm kubelet kube-apiserver kube-controller-manager kube-scheduler kube-proxy; do
    build "$name" "$(key local/go/kubernetes "$flags")" in_module kubernetes "$name" -ldflags "$flags" "k8s.io/kubernetes/cmd/$name"
  done
  build coredns "$(key local/go/coredns)" in_module coredns coredns -ldflags '-s -w' github.com/coredns/coredns
  build local-path-provisioner "$LOCAL_PATH_VERSION" \
    install_tool -ldflags '-s -w' "github.com/rancher/local-path-provisioner@$LOCAL_PATH_VERSION"
}

versitygw() {
  build versitygw "$VERSITYGW_VERSION" \
    install_tool -ldflags '-s -w' "github.com/versity/versitygw/cmd/versitygw@$VERSITYGW_VERSION"
}
kind() { build kind "$KIND_VERSION" install_tool "sigs.k8s.io/kind@$KIND_VERSION"; }

go_toolchain
"$1"
