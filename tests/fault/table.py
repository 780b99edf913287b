#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of docs/reliability.md, of one or several runs of run.py: table.py DIR/report.json [...]

Several runs may have gone on at the same time, on clusters of their own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fault.report import Row, summary

HEAD = (
    "| fault | injected | acknowledged | lost | writes stood still | whole | SST | IST | elections as the oracle |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def table(rows: Sequence[Row]) -> str:
    """One line for each fault by its name, and their sum."""
    lines = [HEAD, *(_line(one) for one in sorted(summary(rows), key=lambda one: str(one["fault"])))]
    sums = [sum(one[name] for one in summary(rows)) for name in ("injected", "acknowledged", "problems")]
    looked, agreed = (sum(one[name] for one in summary(rows)) for name in ("looked", "agreed"))
    lines.append(f"| all | {' | '.join(f'{one:,}' for one in sums)} | | | | | {agreed} of {looked} |")
    return "\n".join(lines)


def read(row: dict[str, Any]) -> Row:
    """A row of a report; an older one counts the answers to readers as acknowledged writes, too."""
    return Row(**{**row, "acknowledged": row["measured"].get("ok", row["acknowledged"])})


def _line(one: dict[str, Any]) -> str:
    gap, healed = one["gap"], one["healed"]
    cells = [
        f"`{one['fault']}`",
        str(one["injected"]),
        f"{one['acknowledged']:,}",
        str(one["problems"]),
        f"{gap['median']:.2f} / {gap['worst']:.2f}" if gap else "–",
        f"{healed['median']:.1f} / {healed['worst']:.1f}" if healed else "–",
        str(one["sst"]),
        str(one["ist"]),
        f"{one['agreed']} of {one['looked']}" if one["looked"] else "–",
    ]
    return f"| {' | '.join(cells)} |"


def main(paths: Sequence[str]) -> int:
    """Print the table, why runs failed, and the faults that did not come about; 1 where a run failed."""
    reports = [json.loads(Path(path).read_text()) for path in paths]
    rows = [read(row) for report in reports for row in report["rows"]]
    print(table(rows))
    failures = [failure for report in reports for failure in report["failures"]]
    missed = [f"{row.title} is not counted: {row.missed}" for row in rows if row.missed]
    print(*failures, *missed, sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
