# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that stand in for those of a replay."""

from __future__ import annotations

import sys

# It writes the bytes that are wanted, and nothing of what stands before them.
READER = """#!/bin/bash
for one; do
  case $one in
    --start-position=*) begin=${one#*=} ;;
    --stop-position=*) end=${one#*=} ;;
    --*) ;;
    *) file=$one ;;
  esac
done
head -c "${end:-$(stat -c %s "$file")}" "$file" | tail -c "+$((begin + 1))"
"""

# It writes statements as text, behind the place of their event.
TEXT_READER = rf"""#!{sys.executable}
import struct, sys
options = dict(one.split("=") for one in sys.argv[1:-1] if "=" in one)
data = open(sys.argv[-1], "rb").read()
offset, end = int(options["--start-position"]), int(options.get("--stop-position", len(data)))
print("SET SOMETHING;")
while offset < end:
    kind, length = struct.unpack_from("<xxxxBxxxxI", data, offset)
    print("# at", offset)
    if kind == 2:
        text = offset + 34 + struct.unpack_from("<H", data, offset + 30)[0]
        print("SET TIMESTAMP;", data[text : offset + length].decode() + ";", sep="\n")
    offset += length
"""
# `FAILS n` in a statement ends it with that error, `DIES` the client.
CLIENT = r"""#!{python}
import re, sys
told = open("{path}/told", "wb", buffering=0)
open("{path}/options", "w").write(" ".join(sys.argv[1:]))
for number, line in enumerate(sys.stdin.buffer, 1):
    told.write(line)
    if b"DIES" in line:
        sys.exit(3)
    if found := re.match(rb"SIGNAL .* MESSAGE_TEXT='(.*)';", line):
        error, text = 1644, found[1].decode()
    elif found := re.search(rb"FAILS (\d+)", line):
        error, text = int(found[1]), "it failed"
    else:
        continue
    print(f"--------------\n{{line!r}}\n--------------\n\nERROR {{error}} (HY000) at line {{number}}: {{text}}",
          file=sys.stderr, flush=True)
"""
