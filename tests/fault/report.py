# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run found, as JSON and as Markdown. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fault.gaps import statistics_of


@dataclass
class Row:
    """One injected fault and what was seen of it; times are in seconds.

    acknowledged: writes from the beginning of the fault until the check.
    gap: longest time without an acknowledged write, of all writers; gap_writer: of those on the writer port.
    missed: why the fault did not come about, empty where it did; such a row does not count as injected.
    second: longest gap on the writer port that began after that one. healed: from the end of the fault until the
    cluster was whole and took writes. election: None where nobody bootstrapped.
    """

    step: int
    fault: str
    title: str
    targets: list[str] = field(default_factory=list)
    acknowledged: int = 0
    gap: float | None = None
    gap_writer: float | None = None
    second: float | None = None
    healed: float | None = None
    sst: int = 0
    ist: int = 0
    election: dict[str, Any] | None = None
    measured: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    missed: str = ""


@dataclass
class Control:
    """A control: something that must lose data, and what the harness found."""

    name: str
    about: str
    found: list[str]
    note: str = ""

    @property
    def sharp(self) -> bool:
        """Whether the loss was seen."""
        return bool(self.found)


@dataclass
class Report:
    """A whole run. not_run: faults that this machine or cluster does not allow, with the reason."""

    about: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)
    stopped: str = ""

    def failures(self) -> list[str]:
        """Why the run fails: loss, divergence, no convergence, a fault never injected, a blunt control, an end."""
        found = [f"step {row.step}, {row.title}: {problem}" for row in self.rows for problem in row.problems]
        found += [f"the control {one.name} lost nothing that the harness saw" for one in self.controls if not one.sharp]
        hit = {row.fault for row in self.rows if not row.missed}
        missed = {row.fault: row.missed for row in self.rows if row.fault not in hit}
        found += [f"{fault} was never injected: {reason}" for fault, reason in missed.items()]
        if self.not_run and not self.rows and not self.stopped:
            found.append("no fault was injected")
        return found + ([f"the run ended early: {self.stopped}"] if self.stopped else [])

    def as_dict(self) -> dict[str, Any]:
        """The content of report.json."""
        return {
            **asdict(self),
            "controls": [{**asdict(one), "sharp": one.sharp} for one in self.controls],
            "summary": summary(self.rows),
            "failures": self.failures(),
        }


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One line for each fault, in the order of their first appearance."""
    lines = []
    for name in dict.fromkeys(row.fault for row in rows):
        every = [row for row in rows if row.fault == name]
        same = [row for row in every if not row.missed]
        gap = statistics_of([row.gap_writer for row in same if row.gap_writer is not None])
        second = statistics_of([row.second for row in same if row.second is not None])
        healed = statistics_of([row.healed for row in same if row.healed is not None])
        elections = [row.election for row in same if row.election]
        looked = [one for one in elections if one.get("agrees") is not None]
        lines.append(
            {
                "fault": name,
                "injected": len(same),
                "missed": len(every) - len(same),
                "acknowledged": sum(row.acknowledged for row in same),
                "problems": sum(len(row.problems) for row in every),
                "gap": gap and gap.as_dict(),
                "second": second and second.as_dict(),
                "healed": healed and healed.as_dict(),
                "sst": sum(row.sst for row in same),
                "ist": sum(row.ist for row in same),
                "elections": len(elections),
                "looked": len(looked),
                "agreed": sum(bool(one["agrees"]) for one in looked),
            }
        )
    return lines


def markdown(report: Report) -> str:
    """The report as a page."""
    about = " · ".join(f"{name}: {value}" for name, value in report.about.items())
    parts = [f"# Faults\n\n{about}\n", _summary_table(report.rows), _controls(report.controls)]
    if report.not_run:
        reasons = "\n".join(f"| {name} | {reason} |" for name, reason in report.not_run.items())
        parts.append(f"## Not run here\n\n| fault | why |\n|---|---|\n{reasons}\n")
    failures = report.failures()
    verdict = "\n".join(f"- {failure}" for failure in failures) if failures else "None."
    parts.append(f"## Failures\n\n{verdict}\n")
    parts.append(_steps_table(report.rows))
    return "\n".join(part for part in parts if part)


def _summary_table(rows: Sequence[Row]) -> str:
    head = (
        "| fault | injected | acknowledged writes | lost or diverged | write gap, median / p99 / worst "
        "| second stall, worst | healed, median / worst | SST | IST | elections (as the oracle) |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n"
    )
    lines = []
    for one in summary(rows):
        gap, second, healed = one["gap"], one["second"], one["healed"]
        cells = [
            one["fault"],
            str(one["injected"]),
            str(one["acknowledged"]),
            str(one["problems"]),
            f"{gap['median']:.2f} / {gap['p99']:.2f} / {gap['worst']:.2f} s" if gap else "–",
            f"{second['worst']:.2f} s" if second else "–",
            f"{healed['median']:.1f} / {healed['worst']:.1f} s" if healed else "–",
            str(one["sst"]),
            str(one["ist"]),
            f"{one['elections']} ({one['agreed']} of {one['looked']})" if one["elections"] else "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    total = sum(len(row.problems) for row in rows)
    injected = [row for row in rows if not row.missed]
    written = sum(row.acknowledged for row in injected)
    lines.append(f"| **all** | **{len(injected)}** | **{written}** | **{total}** | | | | | | |")
    return "## Summary\n\n" + head + "\n".join(lines) + "\n"


def _controls(controls: Sequence[Control]) -> str:
    if not controls:
        return ""
    lines = [
        f"| {one.name} | {one.about} | {'; '.join(one.found) if one.sharp else '**nothing: the harness is blunt**'} |"
        for one in controls
    ]
    head = "| control | what it does | what the harness found |\n|---|---|---|\n"
    return "## Controls, which must lose\n\n" + head + "\n".join(lines) + "\n"


def _steps_table(rows: Sequence[Row]) -> str:
    names = "step | fault | on | gap | writer | second | healed | election | problems"
    head = f"| {names} |\n|---|---|---|---|---|---|---|---|---|\n"
    lines = []
    for row in rows:
        cells = [
            str(row.step),
            row.title,
            ", ".join(row.targets),
            *(_seconds(value) for value in (row.gap, row.gap_writer, row.second, row.healed)),
            _election(row.election),
            "; ".join([*([f"not injected: {row.missed}"] if row.missed else []), *row.problems]) or "none",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "## Steps\n\n" + head + "\n".join(lines) + "\n"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


def _election(election: dict[str, Any] | None) -> str:
    if not election:
        return "–"
    chosen = ", ".join(election.get("chosen") or ()) or "nobody"
    agrees = {True: "as the oracle", False: f"the oracle: {election.get('right')}", None: "volumes not looked into"}
    return f"{chosen} ({agrees[election.get('agrees')]})"
