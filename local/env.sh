#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The Python environment: .venv with the pinned tools, and this checkout importable in it as the collection stateful.galera
. "$(dirname "$0")/lib.sh"

packages python3:python3 update-ca-certificates:ca-certificates
python=$(command -v python3.11 || command -v python3)
if ! uv=$(command -v uv); then
  uv=$CACHE/uv/bin/uv
  if [ ! -x "$uv" ]; then
    python3 -c 'import ensurepip' 2>/dev/null || apt_install python3-venv
    step "install uv" python3 -m venv "$CACHE/uv"
    step "install uv" "$CACHE/uv/bin/pip" install --quiet uv==0.13.8
  fi
fi
export UV_PYTHON_DOWNLOADS=never
[ -x .venv/bin/python ] || step "make .venv" "$uv" venv --quiet --clear --python "$python" .venv
step "install the Python packages" "$uv" pip sync --quiet --python .venv/bin/python requirements-dev.txt
mkdir -p .venv/collections/ansible_collections/stateful
ln -sfn ../../../.. .venv/collections/ansible_collections/stateful/galera
touch .venv/ready
