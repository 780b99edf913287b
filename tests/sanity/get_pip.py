# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts pip into a virtual environment of ansible-test, from the package index; called as get-pip.py, with packages.

ansible-test downloads a script for that from a site of its own, which is out of reach where only the package index is;
the one that lies in its cache comes first.
"""

from __future__ import annotations

import shutil
import subprocess
import sys


def main() -> None:
    """Install the packages of the command line with uv, which needs no pip in the environment."""
    uv = shutil.which("uv")
    if not uv:
        sys.exit("uv is not in PATH: make env installs it")
    packages = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    sys.exit(
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--system-certs", "--python", sys.executable, *packages], check=False
        ).returncode
    )


if __name__ == "__main__":
    main()
