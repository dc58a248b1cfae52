"""Pictures of a run while it runs: what was annotated, what the network is shown, how the losses fall."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from bombo.data.batch import Batch
from bombo.data.label_space import LabelSpace
from bombo.data.statistics import Statistics
from bombo.engine.drawing import draw, side_by_side
from bombo.engine.run_folder import METRICS
from bombo.files import atomic_write

PLOTS = "plots"
_BATCHES, _IMAGES = 3, 8  # of the first batches, and of the images of each: what fits on a screen
_COLOURS = ("#0072B2", "#D55E00")  # Okabe and Ito's blue and vermilion: boxes, masks
_LINES = ("-", "--", "-.", ":")


def plot_labels(folder: Path, space: LabelSpace, counts: Statistics) -> None:
    """Writes `plots/labels.png`: for every class, images that carry it in boxes and in masks."""
    classes = len(space.names)
    figure = Figure(figsize=(7, 1.2 + 0.32 * classes), layout="constrained")
    axes = figure.subplots()
    places = np.arange(classes)
    scale = counts.masks / max(1, counts.masks_read)  # masks are read for a part of a large set
    rows = (("boxes", counts.images_with_boxes, ""), ("masks", np.rint(counts.images_with_pixels * scale), "///"))
    for (kind, numbers, hatch), colour, offset in zip(rows, _COLOURS, (-0.2, 0.2), strict=True):
        bars = axes.barh(
            places + offset, numbers, 0.38, label=f"in {kind}", color=colour, hatch=hatch, edgecolor="white"
        )
        axes.bar_label(bars, labels=[f"{round(number):,}" for number in numbers], padding=3, fontsize=8)
    names = [name if i < space.num_things else f"{name} (stuff)" for i, name in enumerate(space.names)]
    axes.set_yticks(places, names, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("training images that carry the class")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    axes.legend(frameon=False)
    _save(figure, folder / PLOTS / "labels.png")


def with_pictures(batches: Iterator[Batch], folder: Path, classes: Sequence[str]) -> Iterator[Batch]:
    """Passes batches on, and draws the first ones as `plots/batch-1.jpg` and so on.

    The upper row shows the images as the network gets them, with the annotation they carry; the row below, where weak
    losses are at work, what was made of it for the other task, before the teacher has judged it.
    """
    for number, batch in enumerate(batches, start=1):
        if number <= _BATCHES:
            buffer = io.BytesIO()
            picture(batch, classes).save(buffer, "JPEG", quality=88)
            atomic_write(folder / PLOTS / f"batch-{number}.jpg", buffer.getvalue())
        yield batch


def picture(batch: Batch, classes: Sequence[str], images: int = _IMAGES) -> Image.Image:
    """Draws images of a batch with their targets, spread over it so that all kinds of annotation are seen."""
    chosen = range(0, len(batch), max(1, math.ceil(len(batch) / images)))
    rows = [side_by_side([_annotated(batch, i, classes) for i in chosen], [_kind(batch, i) for i in chosen])]
    if batch.derived is not None:
        captions = [f"derived {_missing(batch, i)}" for i in chosen]
        rows.append(side_by_side([_derived(batch, i, classes) for i in chosen], captions))
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def plot_losses(folder: Path) -> None:
    """Writes `plots/losses.png`: every named loss, and the figures on the validation images, over the steps."""
    entries = read_metrics(folder)
    losses = [entry for entry in entries if "lr" in entry]
    measured = [entry for entry in entries if "val" in entry]
    figure = Figure(figsize=(7, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    names = list(dict.fromkeys(name for entry in losses for name in entry.get("spoke_for", {})))
    for index, name in enumerate(names):
        points = [(entry["step"], entry[name]) for entry in losses if entry.get(name) is not None]
        above.plot(*zip(*points, strict=True), _LINES[index // 8 % 4], color=f"C{index % 8}", label=name, linewidth=1.2)
    for index, name in enumerate(("mAP50", "mAP50-95", "mIoU")):
        points = [
            (entry["step"], 100 * value) for entry in measured if (value := entry["val"]["figures"][name]) is not None
        ]
        if points:
            below.plot(*zip(*points, strict=True), f"o{_LINES[index]}", markersize=4, label=name)
    above.set_ylabel("loss (running mean)")
    below.set_ylabel("percent")
    below.set_xlabel("step")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(bottom=0)
        if axes.lines:
            axes.legend(frameon=False, fontsize=8, ncols=3)
    _save(figure, folder / PLOTS / "losses.png")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl; half a line, written when the power went, is left out."""
    entries = []
    file = folder / METRICS
    for line in file.read_text().splitlines() if file.is_file() else ():
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


def _annotated(batch: Batch, i: int, classes: Sequence[str]) -> Image.Image:
    mask = batch.masks[i].numpy() if batch.has_mask[i] else None
    return _drawn(batch.images[i], batch.boxes[i], batch.labels[i], mask, classes)


def _derived(batch: Batch, i: int, classes: Sequence[str]) -> Image.Image:
    assert batch.derived is not None
    mask = None if batch.has_mask[i] else batch.derived.masks[i].numpy()
    boxes = batch.derived.boxes[i] if not batch.has_boxes[i] else batch.derived.boxes[i][:0]
    return _drawn(batch.derived.plain[i], boxes, batch.derived.labels[i][: len(boxes)], mask, classes)


def _drawn(
    image: Tensor, boxes: Tensor, labels: Tensor, mask: np.ndarray | None, classes: Sequence[str]
) -> Image.Image:
    real = (boxes[:, 2:] > boxes[:, :2]).all(1)  # zero rows are padding
    array = image.permute(1, 2, 0).numpy()
    return draw(array, boxes[real].numpy(), labels[real].numpy(), None, mask, classes)


def _kind(batch: Batch, i: int) -> str:
    carried = [name for name, has in (("boxes", batch.has_boxes[i]), ("mask", batch.has_mask[i])) if has]
    return f"{batch.names[i]}: {' and '.join(carried) or 'nothing'}" if batch.names else " and ".join(carried)


def _missing(batch: Batch, i: int) -> str:
    return " and ".join(n for n, has in (("boxes", batch.has_boxes[i]), ("mask", batch.has_mask[i])) if not has) or "–"


def _save(figure: Figure, file: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    atomic_write(file, buffer.getvalue())
