#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# usage: run.sh COLLECTIONS HOME [ARGUMENT...]: ansible-test sanity on stateful.galera as installed below COLLECTIONS.
# ansible-test makes a virtual environment for each test below its HOME, which is ours here, with pip as get_pip.py brings it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
collections=$1 home=$2
shift 2
PATH=$PATH:${XDG_CACHE_HOME:-$HOME/.cache}/stateful-galera/uv/bin       # where make env puts uv if the machine has none

mkdir -p "$home/.ansible/test/cache"
install -m 644 "$here/get_pip.py" "$home/.ansible/test/cache/get_pip_24_2.py"
# the tests import our modules, and these import kubernetes.core, which comes with the package ansible
kubernetes=$(python -c 'import ansible_collections.kubernetes as it; print(*it.__path__)')
ln -sfn "$kubernetes" "$collections/ansible_collections/kubernetes"
cd "$collections/ansible_collections/stateful/galera"
HOME=$home exec ansible-test sanity --python "$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" "$@"
