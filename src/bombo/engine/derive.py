"""Shows what boxes say about masks and masks about boxes: in pictures, and in figures where the truth is known.

bombo derive pets.yaml --out derived
bombo derive pets.yaml --model runs/pets-1 --split val
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from typer import Argument, Option

from bombo.box_for_mask.painting import union
from bombo.box_for_mask.providers import provider_called
from bombo.box_for_mask.weak_mask import WeakMask
from bombo.command import checked
from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.data.dataset import load
from bombo.data.label_space import LabelSpace
from bombo.data.sample import Problems, Record, Sample
from bombo.engine.ablation_tables import Sheet
from bombo.engine.checkpoint import load as load_model
from bombo.engine.drawing import draw, side_by_side
from bombo.engine.evaluate import require_classes
from bombo.engine.model import Model
from bombo.engine.refined import confirmed_boxes, refined_mask
from bombo.engine.run_folder import SKIPPED
from bombo.errors import DataError
from bombo.files import atomic_write, without_nan
from bombo.mask_for_box.components import components
from bombo.mask_for_box.pseudo_boxes import SURE
from bombo.metrics.box_quality import THRESHOLDS, BoxQuality
from bombo.metrics.mask_quality import MaskQuality
from bombo.metrics.mean_iou import MeanIoU
from bombo.wording import counted

PROVIDERS = ("fill", "ellipse", "inner", "grabcut", "grabcut+ellipse")
REFINED = "grabcut, refined"
Boxes = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # boxes, labels, weights


@dataclass(frozen=True)
class Derivation:
    """What was derived, and how good it is.

    Args:
        path: Folder of the pictures and tables.
        images: How many images were measured on: all that carry both annotations, or some of them.
        masks: Provider → its figures; empty where no image carries both annotations.
        boxes: Rule → its figures; likewise.
        skipped: File → why it could not be used and was left out (with `skip_bad`).
    """

    path: Path
    images: int
    masks: dict[str, dict[str, float]]
    boxes: dict[str, dict[str, float]]
    skipped: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain types, NaN as None."""
        return dict(without_nan({**asdict(self), "path": str(self.path)}))

    def sheets(self) -> list[Sheet]:
        """The figures as tables."""
        parts = (("Masks made of boxes", "provider", self.masks), ("Boxes made of masks", "rule", self.boxes))
        return [
            Sheet(title, [first, *next(iter(rows.values()))], [[n, *map(_cell, r.values())] for n, r in rows.items()])
            for title, first, rows in parts
            if rows
        ]


@checked
def derive(
    data: Annotated[Path, Argument(help="Data file that names the images.")],
    model: Annotated[Path | None, Option(help="A run that judges what was derived, as a teacher does.")] = None,
    split: Annotated[Literal["train", "val", "test"], Option(help="Which list of the data file.")] = "train",
    out: Annotated[Path, Option(help="Folder for the pictures and the tables.")] = Path("derived"),
    pictures: Annotated[int, Option(min=0, help="Images to draw of each kind.")] = 6,
    limit: Annotated[int, Option(min=1, help="Images to measure on, at most, spread over the list.")] = 300,
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    skip_bad: Annotated[bool, Option("--skip-bad", help="Leave out images whose files cannot be used.")] = False,
) -> Derivation:
    """Show what boxes say about masks and masks about boxes.

    Pictures are drawn of images with either annotation; images that carry both also tell how right it is: their mask
    judges what was made of their boxes, and the reverse. With `skip_bad`, `skipped.json` lists what was left out.

    Raises:
        BomboError: Data or weights cannot be used.
    """
    console = Console(soft_wrap=True, highlight=False)
    file = load_data_file(data)
    space = label_space(file)
    found = read_split(file, split, space, skip_bad=skip_bad)
    records, bad = found.records, dict[str, DataError]()
    judge = None if model is None else load_model(model, device=device)
    if judge is not None:
        require_classes(judge, space, data)
    for kind in ("boxes", "masks", "both"):
        for record, sample in islice(_loaded((r for r in records if r.kind == kind), bad), pictures):
            _draw(record, sample, space, judge, out / "pictures")
    full = [record for record in records if record.kind == "both"]
    chosen = full[:: -(-len(full) // limit)] if full else []
    seen = _loaded(track(chosen, "measuring", console=console, transient=True), bad)
    images, masks, boxes = _measured(seen, space, judge)
    Problems(list(bad.values())).raise_unless(skip_bad, len(records))
    skipped = {error.where: str(error) for error in (*found.problems, *bad.values())}
    derivation = Derivation(out, images, masks, boxes, skipped)
    _write(derivation)
    sheets = derivation.sheets()
    for sheet in sheets:
        console.print()
        console.print(sheet.for_terminal(), soft_wrap=False)
    measured = f"\nmeasured on {counted(images, 'image')} with both annotations"
    unknown = f"no image of {split} carries both annotations: another --split may tell how right it is"
    console.print(measured if sheets else unknown)
    if skipped:
        console.print(f"skipped   {counted(len(skipped), 'image')}, see {out / SKIPPED}", markup=False)
    console.print(f"wrote     {out}", markup=False)
    return derivation


def _loaded(records: Iterable[Record], bad: dict[str, DataError]) -> Iterator[tuple[Record, Sample]]:
    """Images whose files can be used; what is wrong with the others goes to `bad`, once for each file."""
    for record in records:
        try:
            sample = load(record)
        except DataError as error:
            bad[error.where] = error
        else:
            yield record, sample


def _measured(
    samples: Iterable[tuple[Record, Sample]], space: LabelSpace, judge: Model | None
) -> tuple[int, dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """How many images were measured on, and the figures of the masks made of boxes and the boxes made of masks."""
    images = 0
    masks: dict[str, MaskQuality] = {}
    spent: dict[str, float] = {}
    boxes: dict[str, BoxQuality] = {}
    for record, sample in samples:
        images += 1
        assert record.boxes is not None
        assert sample.boxes is not None
        assert sample.labels is not None
        assert sample.is_target is not None
        assert sample.mask is not None
        truth = sample.mask.numpy()
        inside = union(record.boxes.boxes, (truth.shape[0], truth.shape[1]))
        for name, (made, seconds) in _masks(record, sample, space, judge).items():
            masks.setdefault(name, MaskQuality(MeanIoU(space.num_mask_values))).update(made.values, truth, inside)
            spent[name] = spent.get(name, 0.0) + seconds
        true = sample.boxes[sample.is_target], sample.labels[sample.is_target]
        for name, (found, labels, weights) in _boxes(sample, space, judge).items():
            boxes.setdefault(name, BoxQuality()).update(found, labels, *true)
            if judge is not None and name == "refined":
                sure = weights >= SURE
                boxes.setdefault(f"refined, weight ≥ {SURE}", BoxQuality()).update(found[sure], labels[sure], *true)
    return (
        images,
        {name: _mask_figures(quality, spent[name] / images) for name, quality in masks.items()},
        {name: _box_figures(quality) for name, quality in boxes.items()},
    )


def _write(derivation: Derivation) -> None:
    if sheets := derivation.sheets():
        atomic_write(derivation.path / "quality.md", "\n".join(sheet.to_markdown() for sheet in sheets))
        content = {"images": derivation.images, "masks": derivation.masks, "boxes": derivation.boxes}
        atomic_write(derivation.path / "quality.json", json.dumps(without_nan(content), indent=1) + "\n")
    if derivation.skipped:
        entries = [{"file": where, "error": error} for where, error in derivation.skipped.items()]
        atomic_write(derivation.path / SKIPPED, json.dumps(entries, indent=1) + "\n")


def _masks(record: Record, sample: Sample, space: LabelSpace, judge: Model | None) -> dict[str, tuple[WeakMask, float]]:
    """Provider → the mask it makes of the boxes, and the seconds that took."""
    assert record.boxes is not None
    image, own = sample.image.permute(1, 2, 0).numpy(), record.boxes
    made: dict[str, tuple[WeakMask, float]] = {}
    for name in PROVIDERS:
        provider = provider_called(name)
        assert not isinstance(provider, Path)
        began = time.perf_counter()
        mask = provider(image, own.boxes, own.labels, own.crowd, space)
        made[name] = mask, time.perf_counter() - began
    if judge is not None:
        began = time.perf_counter()
        mask = refined_mask(sample, made["grabcut"][0], judge)
        made[REFINED] = mask, made["grabcut"][1] + time.perf_counter() - began
    return made


def _boxes(sample: Sample, space: LabelSpace, judge: Model | None) -> dict[str, Boxes]:
    """Rule → the boxes it makes of the mask."""
    assert sample.mask is not None
    made: dict[str, Boxes] = {}
    for void in ("joins", "separates"):
        found = components(sample.mask.numpy(), space.num_things, void=void)
        boxes = torch.from_numpy(found.boxes)
        made[f"components, void {void}"] = boxes, torch.from_numpy(found.labels), torch.ones(len(boxes))
    if judge is not None:
        boxes, labels, _ = made["components, void joins"]
        made["refined"] = confirmed_boxes(sample, boxes, labels, judge)
    return made


def _draw(record: Record, sample: Sample, space: LabelSpace, judge: Model | None, folder: Path) -> None:
    """One row of pictures for what was made of the boxes, one for what was made of the mask."""
    image, none = sample.image.permute(1, 2, 0).numpy(), np.zeros(0, dtype=np.int64)
    if sample.boxes is not None and sample.labels is not None:
        own = sample.boxes.numpy(), sample.labels.numpy()
        panels = {"boxes": draw(image, *own, None, None, space.names)}
        for name, (made, _) in _masks(record, sample, space, judge).items():
            panels[name] = draw(image, none.reshape(0, 4), none, None, made.values, space.names)
        _save(panels, folder / f"{record.name}-masks-of-boxes.jpg")
    if sample.mask is not None:
        mask = sample.mask.numpy()
        panels = {"mask": draw(image, none.reshape(0, 4), none, None, mask, space.names)}
        for name, (boxes, labels, weights) in _boxes(sample, space, judge).items():
            used = weights > 0
            scores = weights[used].numpy() if name == "refined" else None
            panels[name] = draw(image, boxes[used].numpy(), labels[used].numpy(), scores, None, space.names)
        _save(panels, folder / f"{record.name}-boxes-of-mask.jpg")


def _save(panels: Mapping[str, Any], file: Path) -> None:
    buffer = io.BytesIO()
    side_by_side(list(panels.values()), list(panels)).save(buffer, "JPEG", quality=90)
    atomic_write(file, buffer.getvalue())


def _mask_figures(quality: MaskQuality, seconds: float) -> dict[str, float]:
    return {
        "mIoU": 100 * quality.miou,
        "right in boxes": 100 * quality.right / max(1, quality.labelled),
        "labelled in boxes": 100 * quality.labelled / max(1, quality.inside),
        "ms per image": 1000 * seconds,
    }


def _box_figures(quality: BoxQuality) -> dict[str, float]:
    figures = {"boxes": float(quality.boxes), "true": float(quality.true)}
    for threshold in THRESHOLDS:
        figures[f"recall @{threshold}"] = 100 * quality.recall(threshold)
        figures[f"precision @{threshold}"] = 100 * quality.precision(threshold)
    return figures


def _cell(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0f}" if value.is_integer() else f"{value:.1f}"
