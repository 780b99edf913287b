# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash disable=SC2034
# What the scripts of this directory share: paths, progress, packages, cache keys, the Docker engine. Sourced, never run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/stateful-galera
CLUSTER=stateful-galera
LOCAL_KUBECONFIG=$CACHE/kubeconfig
IMAGES=$CACHE/images                      # what is known of the workload images
PREFIX=localhost/stateful-galera          # of every image that is built here
OWN_DOCKER=unix://$CACHE/docker/socket
# kind, its default node image, and what we build a node image of where no registry is in reach: pinned together
KIND_VERSION=v0.33.0
KIND_NODE_IMAGE=kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5
KUBERNETES_VERSION=v1.36.3
LOCAL_PATH_VERSION=v0.0.30
VERSITYGW_VERSION=v1.8.0                  # the S3 server of the tests
export KIND_EXPERIMENTAL_DOCKER_NETWORK=$CLUSTER
export PATH=$CACHE/bin:$PATH:/usr/sbin:/sbin
mkdir -p "$CACHE/bin" "$CACHE/log"

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# One run at a time; scripts that a script starts are of its run
if [ -z "${STATEFUL_GALERA_RUN:-}" ]; then
  exec 9>"$CACHE/lock"
  flock --nonblock 9 || { say "waiting for another run of these scripts"; flock 9; }
  export STATEFUL_GALERA_RUN=$$
fi

step_log='' step_beat=''
step_end() {
  local rc=$?
  [ -z "$step_beat" ] || kill "$step_beat" 2>/dev/null || true
  [ "$rc" = 0 ] || [ -z "$step_log" ] || { tail -n 30 "$step_log"; say "FAILED, whole output: $step_log"; } >&2
}
trap step_end EXIT

# step TEXT COMMAND...: run it, say so with its seconds; every 20 s a sign of life; its output only when it fails
step() {
  local text=$1 start=$SECONDS
  shift
  step_log=$CACHE/log/${text//[^[:alnum:].]/-}.log
  { while sleep 20 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do say "  ... $text, $((SECONDS - start)) s"; done; } 9>&- &
  step_beat=$!
  disown
  ("$@") >"$step_log" 2>&1
  kill "$step_beat"
  step_log='' step_beat=''
  say "  $((SECONDS - start)) s: $text"
}

# key PATH|WORD...: 12 hex digits of the contents (files, whole directories) and words given
key() {
  local item
  for item; do
    if [ -e "$item" ]; then find "$item" -type f ! -name '*.pyc' -print0 | sort -z | xargs -0r sha256sum; else say "$item"; fi
  done | sha256sum | cut -c1-12
}

apt_install() {
  [ "$(id -u)" = 0 ] || die "the Debian packages $* are missing and only root can install them"
  step "install $*" env DEBIAN_FRONTEND=noninteractive sh -ec \
    'apt-get -q update; exec apt-get -q install --yes --no-install-recommends "$@"' sh "$@"
}

# packages COMMAND:PACKAGE...: install the packages whose command is missing
packages() {
  local pair missing=()
  for pair; do command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}"); done
  [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
}

# The mirror that apt uses here; every file is read to its end, a pipe cut short would count as a failure
debian_mirror() {
  { cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null || true; } |
    sed -n 's/^URIs: *//p; s/^deb  *\(\[.*\]  *\)\?\(http[^ ]*\).*/\2/p' |
    awk '{ sub("/$", "") } /\/debian$/ && !mirror { mirror = $0 } END { if (!mirror) exit 1; print mirror }'
}

# unmount_below DIRECTORY: what a killed build left mounted there is unmounted, so that a removal does not follow it
unmount_below() { awk -v below="$1/" 'index($2, below) == 1 { print $2 }' /proc/mounts | tac | xargs -r umount; }

# debian_tree SUITE PACKAGES: set TREE to the directory of a minimal Debian with these packages, made when it is not there
debian_tree() {
  TREE=$CACHE/debian/$1-$(key "$1" "$2")
  [ ! -d "$TREE" ] || return 0
  packages debootstrap:debootstrap
  mkdir -p "$CACHE/debian"
  unmount_below "$TREE.part"
  rm -rf "$TREE.part"
  step "debootstrap Debian $1" debootstrap --variant=minbase --include="$2" "$1" "$TREE.part" "$(debian_mirror)"
  rm -rf "$TREE.part"/var/cache/apt/* "$TREE.part"/var/lib/apt/lists/* "$TREE.part"/usr/share/{doc,locale,man}
  mv "$TREE.part" "$TREE"
}

# docker --privileged asks for every capability; where the machine itself lacks CAP_SYS_RESOURCE (24) only our engine copes
lacks_sys_resource() { ! (( 0x$(awk '/^CapBnd/ { print $2 }' /proc/self/status) >> 24 & 1 )); }

# engine: set DOCKER_HOST to an engine that answers: our own if it runs, the machine's, else start our own
engine() {
  packages docker:docker.io
  if [ ! -S "$CACHE/docker/socket" ] || ! docker -H "$OWN_DOCKER" info >/dev/null 2>&1; then
    lacks_sys_resource || ! docker info >/dev/null 2>&1 || return 0
    [ "$(id -u)" = 0 ] || die "no Docker engine answers this user, and only root can start one"
    packages dockerd:docker.io iptables:iptables
    step "start a Docker engine" start_engine
  fi
  export DOCKER_HOST=$OWN_DOCKER
}

start_engine() {
  local dir=$CACHE/docker options=() pid
  ! lacks_sys_resource || options=(--add-runtime "nores=$dir/runc-nores" --default-runtime nores)
  mkdir -p "$dir"
  install -m 755 local/runc-nores "$dir/"
  # after a reboot the number in a pid file may be anybody's, and dockerd would refuse to start
  [ "$(cat "/proc/$(cat "$dir/pid" 2>/dev/null)/comm" 2>/dev/null)" = dockerd ] || rm -f "$dir/pid"
  # no default bridge and names of its own in containerd: another engine of the machine stays untouched
  setsid nohup dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" --host "$OWN_DOCKER" --bridge none \
    --default-address-pool base=172.28.0.0/16,size=24 --containerd-namespace "$CLUSTER" \
    --containerd-plugins-namespace "$CLUSTER-plugins" "${options[@]}" >"$dir/log" 2>&1 </dev/null 9>&- &
  pid=$!
  until docker -H "$OWN_DOCKER" info >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || { tail -n 5 "$dir/log"; die "dockerd ended before it answered, its log is $dir/log"; }
    sleep 0.2
  done
}

# nodes [FILTER...]: print the ids of the cluster's containers
nodes() { docker ps -aq --filter "label=io.x-k8s.kind.cluster=$CLUSTER" "$@"; }
remove_nodes() { nodes | xargs -r -n 1 -P 5 docker rm --force --volumes; }

# confinement -I|-C|-D: the rule that keeps the cluster's traffic on this machine, whatever the way out is called. It
# refuses instead of dropping, so nobody waits for an answer.
confinement() { iptables "$1" DOCKER-USER -i "$CLUSTER" '!' -o "$CLUSTER" -j REJECT; }

# source_mode: print where images come from, "registry" or "packages"; asked once, until make clean
source_mode() {
  local file=$CACHE/source
  if [ ! -s "$file" ]; then
    if [ -n "$(docker image ls -q "${KIND_NODE_IMAGE%@*}")" ] || timeout 10 docker pull -q hello-world >/dev/null 2>&1; then
      say registry
    else
      say packages
    fi >"$file"
  fi
  cat "$file"
}
