"""The tables of an ablation, for a terminal and for a README."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from bombo.engine.comparison import FIGURES, ClassFigures, Comparison, Figure
from bombo.engine.ladder import ORACLE, SKIP


@dataclass(frozen=True)
class Sheet:
    """A table of text.

    Args:
        title: What it shows.
        header: Names of the columns.
        rows: Cells; the first of a row is its name.
    """

    title: str
    header: list[str]
    rows: list[list[str]]

    def for_terminal(self) -> Table:
        """Numbers to the right; nothing is broken or cut, whatever the width."""
        table = Table(box=None, title=self.title, title_justify="left", title_style="bold")
        for index, name in enumerate(self.header):
            table.add_column(Text(name.replace(" ", "\n")), justify="right" if index else "left", no_wrap=True)
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def to_markdown(self) -> str:
        """The table with its title above."""
        ruler = ["---", *["---:"] * (len(self.header) - 1)]
        lines = [f"| {' | '.join(cells)} |" for cells in (self.header, ruler, *self.rows)]
        return "\n".join([f"**{self.title}**", "", *lines]) + "\n"


def arms_sheet(comparison: Comparison) -> Sheet:
    """Figures, gap closed and cost, an arm a row."""
    clock, seconds = ("CPU s/step", "cpu_seconds") if comparison.on_cpu else ("s/step", "seconds")
    gap = ["gap closed"] if comparison.has_gap else []
    header = ["arm", "seeds", *(cell for name in FIGURES for cell in (name, *gap)), clock, "peak memory"]
    rows = []
    for arm, seeds in comparison.seeds.items():
        row = [arm, str(len(seeds))]
        for name in FIGURES:
            figure = comparison.figures[arm][name]
            row += [_with_spread(figure), _percent(figure.gap_closed)][: 1 + len(gap)]
        cost = comparison.cost[arm]
        rows.append([*row, _number(cost[seconds], "{:.2f}"), _number(cost["memory"] / 2**30, "{:.2f} GiB")])
    return Sheet("Arms", header, rows)


def class_sheets(comparison: Comparison) -> list[Sheet]:
    """Figures of each class, an arm a column; below, the means with and without the class that dominates the gap."""
    return [_class_sheet(name, list(comparison.seeds), own) for name, own in comparison.per_class.items()]


def caption(comparison: Comparison) -> str:
    """What the figures of `arms_sheet` are."""
    counts = {len(seeds) for seeds in comparison.seeds.values()}
    kinds = {
        "one seed: no spread": 1 in counts,
        "± half the range of two seeds": 2 in counts,
        "± standard deviation of three or more seeds": max(counts) > 2,
    }
    parts = ["Percent, averaged weights of the last step", *(text for text, holds in kinds.items() if holds)]
    if comparison.has_gap:
        which = " over the seeds that all three have" if len(set(map(tuple, comparison.seeds.values()))) > 1 else ""
        parts.append(f"gap closed = (arm − {SKIP}) / ({ORACLE} − {SKIP}) of the means{which}, – where there is no gap")
    if comparison.on_cpu:
        parts.append("CPU seconds of the training process, without those that decode for it")
    return "; ".join(parts) + "."


def _class_sheet(name: str, arms: Sequence[str], own: ClassFigures) -> Sheet:
    rows = [[each, *(_points(values.get(arm, float("nan"))) for arm in arms)] for each, values in own.classes.items()]
    rows.append(["mean", *(_points(own.mean[arm]) for arm in arms)])
    if own.dominating is not None:
        rows.append(["gap closed", *(_percent(own.gap_closed[arm]) for arm in arms)])
        rows.append([f"mean without {own.dominating}", *(_points(own.mean_without[arm]) for arm in arms)])
        rows.append([f"gap closed without {own.dominating}", *(_percent(own.gap_closed_without[arm]) for arm in arms)])
    return Sheet(f"{name} by class", ["class", *arms], rows)


def _with_spread(figure: Figure) -> str:
    return _points(figure.mean) + ("" if math.isnan(figure.spread) else f" ± {100 * figure.spread:.1f}")


def _points(share: float) -> str:
    return _number(100 * share, "{:.1f}")


def _percent(share: float) -> str:
    return _number(100 * share, "{:.0f} %")


def _number(value: float, form: str) -> str:
    return "–" if math.isnan(value) else form.format(value)
