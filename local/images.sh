#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Make the workload images: from Debian packages with buildah, or the official ones where a registry is in reach.
# Only what changed is built. MARIADB=10.11 adds the images of that version to those of 11.8.
. "$(dirname "$0")/lib.sh"

MARIADB=${MARIADB:-11.8}
HAPROXY=3
AGENT=1.0.0
case $MARIADB in
  11.8) suite=trixie ;;
  10.11) suite=bookworm AGENT+=-10.11 ;;
  *) die "MARIADB=$MARIADB: the local images are 11.8 and 10.11" ;;
esac

# image NAME:TAG KEY COMMAND...: the command makes the image $PREFIX/NAME:TAG, unless the same inputs (KEY) made it already
image() {
  local name=$1 key=$2
  shift 2
  [ "$(cat "$IMAGES/.$name" 2>/dev/null)" != "$key" ] || return 0
  step "image $name" "$@" "$PREFIX/$name"
  say "$key" >"$IMAGES/.$name"
}

# --- from Debian packages ---------------------------------------------------------------------------------------------
bud() { buildah --root "$CACHE/buildah/root" --runroot "$CACHE/buildah/run" "$@"; }

debian() {
  local container
  container=$(bud from scratch)
  bud add --quiet "$container" "$1" /
  bud commit --quiet --rm "$container" "$2"
}

# containerfile DIRECTORY BASE IMAGE; the layout holds all images, their layers once, for the nodes to read
containerfile() {
  bud bud --layers --force-rm --isolation chroot --network host --build-arg "BASE=$2" --tag "$3" "images/$1"
  bud push --quiet "$3" "oci:$IMAGES/layout:$3"
}

from_packages() {
  local name
  packages buildah:buildah
  for name in $suite trixie; do
    debian_tree "$name" ca-certificates
    image "debian:$name" "$TREE" debian "$TREE"
  done
  image "haproxy:$HAPROXY" "$(key images/haproxy trixie)" containerfile haproxy "$PREFIX/debian:trixie"
  image "mariadb:$MARIADB" "$(key images/mariadb "$suite")" containerfile mariadb "$PREFIX/debian:$suite"
  image "agent:$AGENT" "$(agent_key)" containerfile agent "$PREFIX/mariadb:$MARIADB"
}

# --- from a registry ----------------------------------------------------------------------------------------------------
official() { docker pull "$1" && docker tag "$1" "$2"; }
agent() {
  docker build --network host --file images/agent/Containerfile --build-arg "BASE=mariadb:$MARIADB" --tag "$1" images/agent
}

from_registry() {
  image "haproxy:$HAPROXY" registry official haproxy:3.2
  image "mariadb:$MARIADB" registry official "mariadb:$MARIADB"
  image "agent:$AGENT" "$(agent_key)" agent
}

agent_key() { key images/agent/Containerfile images/agent/galera_agent "$(cat "$IMAGES/.mariadb:$MARIADB")"; }

engine
mkdir -p "$IMAGES"
"from_$(source_mode)"
