"""The picture of an ablation: every seed a ring, every mean a bar, skip and oracle as lines through all arms."""

from __future__ import annotations

import io
import math
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from bombo.engine.comparison import Comparison
from bombo.engine.ladder import ORACLE, SKIP
from bombo.files import atomic_write

_SHOWN = ("mAP50-95", "mIoU")
_INK, _BLUE = "#333333", "#0072B2"  # told apart by shape as well, for those who see no colours


def plot(comparison: Comparison, path: Path) -> None:
    """Draws mAP50-95 and mIoU of all arms.

    Args:
        comparison: What to draw.
        path: Files to write, without suffix: `.png` and `.svg` are added. The same figures give the same bytes.
    """
    with matplotlib.rc_context({"svg.hashsalt": "bombo", "font.size": 10}):
        drawing = Drawing(figsize=(10, 1.5 + 0.36 * len(comparison.seeds)), layout="constrained")
        for number, (axes, name) in enumerate(zip(drawing.subplots(1, len(_SHOWN)), _SHOWN, strict=True)):
            _panel(axes, comparison, name, named=number == 0)
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            buffer = io.BytesIO()
            drawing.savefig(buffer, format=suffix, dpi=160, metadata=metadata)
            atomic_write(path.with_name(f"{path.name}.{suffix}"), buffer.getvalue())


def _panel(axes: Axes, comparison: Comparison, name: str, *, named: bool) -> None:
    arms = list(comparison.seeds)
    axes.set_xlabel(f"{name} (%)")
    axes.set_ylim(len(arms) - 0.5, -0.5)  # the first arm on top
    axes.set_yticks(range(len(arms)), arms if named else [""] * len(arms))
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    means = {arm: 100 * comparison.figures[arm][name].mean for arm in (SKIP, ORACLE) if arm in arms}
    lines = {arm: mean for arm, mean in means.items() if not math.isnan(mean)}
    for arm, mean in lines.items():
        axes.axvline(mean, color=_INK, linestyle="--" if arm == SKIP else "-", linewidth=1.2, zorder=1)
        side = "right" if mean <= min(lines.values()) else "left"  # so that the names keep clear of each other
        axes.text(mean, 1.02, f" {arm} ", ha=side, color=_INK, transform=axes.get_xaxis_transform())
    for row, arm in enumerate(arms):
        figure = comparison.figures[arm][name]
        values = [100 * value for value in figure.values]
        axes.plot(values, [row] * len(values), "o", markersize=7, markerfacecolor="none", color=_BLUE, zorder=3)
        axes.plot(100 * figure.mean, row, "|", markersize=18, markeredgewidth=2.5, color=_BLUE, zorder=2)
    axes.margins(x=0.08)
