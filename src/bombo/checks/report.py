"""The outcome of a check: what the data set holds, what is wrong with it, and how it is told."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bombo.checks.finding import SEVERITIES, Finding, Severity
from bombo.data.label_space import LabelSpace
from bombo.data.statistics import Statistics

_COLOURS = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
_SHOWN = 3  # examples on the terminal
_LABEL = 10  # width of the first column


@dataclass(frozen=True)
class CheckReport:
    """What `bombo check` found.

    Args:
        data: The data file.
        space: Its label space.
        counts: List (`train`, `val`, `test`) → what of it can be used.
        refused: List → number of images that cannot be used.
        findings: Errors first, then warnings, then notes.
        images: Number of images looked into.
        seconds: Time it took.
        repair: The command that mends what a command can.
        strict: Warnings count as errors.
    """

    data: Path
    space: LabelSpace
    counts: Mapping[str, Statistics]
    refused: Mapping[str, int]
    findings: Sequence[Finding]
    images: int
    seconds: float
    repair: str
    strict: bool = False

    def number(self, severity: Severity) -> int:
        """How many findings have a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """1 if there are errors (or, with `strict`, warnings), else 0."""
        return int(self.number("error") > 0 or (self.strict and self.number("warning") > 0))

    def to_json(self) -> dict[str, Any]:
        """Plain types, with every example."""
        lists = {
            split: {"refused": self.refused[split], **counts.to_json(self.space)}
            for split, counts in self.counts.items()
        }
        return {
            "checked": str(self.data),
            "images": self.images,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images / self.seconds, 1),
            "lists": lists,
            "findings": [finding.to_json() for finding in self.findings],
            "strict": self.strict,
            "exit_code": self.exit_code,
        }

    def show(self, console: Console) -> None:
        """Tells a person; long lines are broken on a terminal only, so that files can be searched."""
        speed = f"{self.images / self.seconds:,.0f} images/s"
        _line(console, "checked", f"{self.data}: {self.images:,} images in {self.seconds:.1f} s ({speed})")
        for split, counts in self.counts.items():
            _line(console, split, _kinds(counts, self.refused[split]))
        console.print()
        console.print(self._class_table())
        for finding in self.findings:
            console.print()
            _show(console, finding)
        console.print()
        _line(console, "result", self._result())
        for number, line in enumerate(self._next()):
            _line(console, "" if number else "next", line)

    def _class_table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("\nclass", min_width=8)
        for title in ("boxes", "in images", "pixels", "in masks"):
            for number, split in enumerate(self.counts):
                table.add_column(f"{'' if number else title}\n{split}", justify="right")
        for index, name in enumerate(self.space.names):
            thing = index < self.space.num_things
            counts = self.counts.values()
            shares = [float(each.pixel_share[index + 1]) for each in counts]
            table.add_row(
                Text(name),
                *(f"{each.boxes[index]:,}" if thing else "stuff" for each in counts),
                *(f"{each.images_with_boxes[index]:,}" if thing else "" for each in counts),
                *("–" if math.isnan(share) else f"{100 * share:.1f} %" for share in shares),
                *(f"{each.images_with_pixels[index]:,}" for each in counts),
            )
        return table

    def _result(self) -> str:
        parts = [
            f"{number:,} {severity}{'' if number == 1 else 's'}"
            for severity in SEVERITIES
            if (number := self.number(severity))
        ]
        strict = " (--strict: warnings count as errors)" if self.strict and self.number("warning") else ""
        return (", ".join(parts) or "nothing to complain about") + strict

    def _next(self) -> list[str]:
        data = shlex.quote(str(self.data))
        if not self.exit_code:
            return [f"bombo train --data {data}"]
        lines = []
        if any(finding.command == self.repair and finding.severity != "note" for finding in self.findings):
            lines.append(self.repair)
        if any(finding.count > _SHOWN for finding in self.findings):
            lines.append(f"bombo check {data} --out check.json     lists every file")
        return lines or [f"bombo check {data}     when it is mended"]


def _kinds(counts: Statistics, refused: int) -> str:
    images = counts.images
    total = sum(images.values()) + refused
    kinds = f"boxes only {images['boxes']:,} · masks only {images['masks']:,} · both {images['both']:,}"
    left = {"neither": images["none"], "unusable": refused}
    return f"{total:,} images: {kinds}" + "".join(f" · {word} {number:,}" for word, number in left.items() if number)


def _show(console: Console, finding: Finding) -> None:
    _line(console, finding.severity.upper(), f"{finding.message}  [{finding.code}]", style=_COLOURS[finding.severity])
    for example in finding.examples[:_SHOWN]:
        _line(console, "", example, lead="  ")
    if finding.count > _SHOWN:
        _line(console, "", f"and {finding.count - _SHOWN:,} more (--out lists them)", lead="  ")
    _line(console, "", finding.fix, lead="fix: ")
    if finding.command:
        # not broken by us: a terminal that breaks a line itself copies it whole
        console.print(f"{'':<{_LABEL + 5}}{finding.command}", soft_wrap=True, markup=False, highlight=False)


def _line(console: Console, label: str, text: str, *, lead: str = "", style: str = "bold") -> None:
    """One line, hanging from its label and what leads the text."""
    if not console.is_terminal:
        console.print(f"{label:<{_LABEL}}{lead}{text}", soft_wrap=True, markup=False, highlight=False)
        return
    grid = Table.grid()
    grid.add_column(width=_LABEL)
    if lead:  # a column is at least one character wide
        grid.add_column(width=len(lead))
    grid.add_column(overflow="fold")
    grid.add_row(Text(label, style), *([Text(lead)] if lead else []), Text(text))
    console.print(grid)
