# SPDX-License-Identifier: GPL-3.0-or-later
"""local/lib.sh: what a second run makes of a first one that was killed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from rendering import ROOT

KILLED = """
. local/lib.sh
packages() { :; }
debian_mirror() { echo http://mirror/debian; }
debootstrap() { mkdir "$4"; echo whole >"$4/made"; }
part=$CACHE/debian/bookworm-$(key bookworm none).part
mkdir -p "$part/proc"
mount --bind "$FOREIGN" "$part/proc"
debian_tree bookworm none
cat "$TREE/made"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_what_a_killed_debootstrap_left_mounted_is_not_followed(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "file").write_text("kept")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "FOREIGN": str(foreign)}
    environment.pop("STATEFUL_GALERA_RUN", None)
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", KILLED],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (foreign / "file").is_file(), done.stderr
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("whole\n")
