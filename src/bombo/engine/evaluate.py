"""Measures a network: COCO AP, VOC AP and mIoU, each on the images annotated for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from typer import Argument, Option

from bombo import distributed
from bombo.command import checked
from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.data.dataset import WholeImages, ready
from bombo.data.label_space import BACKGROUND, LabelSpace
from bombo.data.sample import Record, Sample
from bombo.data.view import View
from bombo.engine.checkpoint import load
from bombo.engine.device import choose_device
from bombo.engine.interrupt import leave_to_main
from bombo.engine.model import Model
from bombo.errors import BomboError, ConfigError, DataError
from bombo.files import atomic_write, without_nan
from bombo.metrics.box_confusion import IOU_THRESHOLD, BoxConfusion
from bombo.metrics.box_confusion import MIN_SCORE as CONFIDENT
from bombo.metrics.coco_ap import CocoAP, CocoResult
from bombo.metrics.detections import Detections
from bombo.metrics.mean_iou import IoUResult, MeanIoU
from bombo.metrics.voc_ap import VocAP, VocResult
from bombo.models.precision import Precision

MIN_SCORE = 0.01  # average precision integrates over all scores; below this only noise is added


@dataclass(frozen=True)
class Evaluation:
    """Figures of one network on one list of images; shares from 0 to 1, NaN where nothing could be measured.

    Args:
        images: Number of images annotated for detection and for segmentation.
        figures: `mAP50-95`, `mAP50`, `mAP75`, `mAP_small`, `mAP_medium`, `mAP_large` (COCO's protocol), `VOC_AP50` and
            `VOC07_AP50` (all-point and 11-point), `mIoU`, `pixel_accuracy`.
        per_class: Class name → figures of that class: `AP50-95`, `AP50`, `VOC_AP50`, `VOC07_AP50` (things) and `IoU`.
        skipped: Image → why it could not be used and was left out (with `skip_bad`).
        curves: Thing class → (101,) precision at recall 0, 0.01 … 1, at IoU .50.
        box_confusion: (C + 1, C + 1) objects, true by detected class, the last for none; see `BoxConfusion`.
        mask_confusion: (V, V) pixels, true by predicted mask value.
        quality: Image → how well it went, 0 to 1: the mean of F1 of its boxes and mIoU of its mask, where annotated.
    """

    images: dict[str, int]
    figures: dict[str, float]
    per_class: dict[str, dict[str, float]]
    skipped: dict[str, str] = field(default_factory=dict)
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    box_confusion: np.ndarray = field(default_factory=lambda: np.zeros((1, 1), dtype=np.int64))
    mask_confusion: np.ndarray = field(default_factory=lambda: np.zeros((1, 1), dtype=np.int64))
    quality: dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """One number to compare runs by: the mean of mAP50-95 and mIoU, or the one that could be measured."""
        known = [value for name in ("mAP50-95", "mIoU") if not np.isnan(value := self.figures[name])]
        return float(np.mean(known)) if known else float("nan")

    def to_json(self, *, details: bool = False) -> dict[str, Any]:
        """Plain types, NaN as None: JSON has no NaN.

        Args:
            details: Add curves, confusion matrices and the quality of each image.
        """

        def plain(figures: dict[str, float]) -> dict[str, float | None]:
            return {name: None if np.isnan(value) else round(value, 6) for name, value in figures.items()}

        content = {
            "images": self.images,
            "figures": plain(self.figures),
            "per_class": {name: plain(figures) for name, figures in self.per_class.items()},
            "skipped": self.skipped,
        }
        if not details:
            return content
        classes = list(self.per_class)
        boxes = {
            "score": CONFIDENT,
            "iou": IOU_THRESHOLD,
            "names": [*classes[: len(self.box_confusion) - 1], "nothing"],
        }
        return content | {
            "curves": {name: without_nan(curve.round(4).tolist()) for name, curve in self.curves.items()},
            "confusion": {
                "boxes": {**boxes, "counts": self.box_confusion.tolist()},
                "masks": {"names": ["background", *classes], "counts": self.mask_confusion.tolist()},
            },
            "quality": plain(self.quality),
        }


@checked
def evaluate(
    model: Annotated[Path, Argument(help="A run's folder, a weights file, or an ONNX file of bombo export.")],
    data: Annotated[Path, Option(help="Data file that names the images.")],
    split: Annotated[Literal["train", "val", "test"], Option(help="Which list of the data file.")] = "val",
    out: Annotated[Path | None, Option(help="Write figures, curves and confusion matrices to this JSON file.")] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace the file given by --out.")] = False,
    batch_size: Annotated[int, Option(min=1, help="Images per forward pass.")] = 16,
    workers: Annotated[int, Option(min=0, help="Processes that decode images.")] = 2,
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[Precision, Option(help="Number format of the forward pass.")] = "auto",
    skip_bad: Annotated[bool, Option("--skip-bad", help="Leave out files that cannot be used.")] = False,
) -> Evaluation:
    """Measure a trained network: mAP and mIoU, per class.

    Under `torchrun` the images are dealt to the processes; the figures are the same.

    Raises:
        BomboError: Weights or data cannot be used, or the file to write is there already.
    """
    if out is not None and out.exists() and not (overwrite and out.is_file()):
        raise BomboError("is there already", where=str(out), fix="choose another --out, or add --overwrite")
    distributed.start(choose_device(device)[0])
    loaded = load(model, device=device, precision=precision)
    file = load_data_file(data)
    space = label_space(file)
    require_classes(loaded, space, data)
    found = read_split(file, split, space, skip_bad=skip_bad)
    evaluation = measure(loaded, found.records, batch_size=batch_size, workers=workers, skip_bad=skip_bad)
    evaluation.skipped.update({problem.where: str(problem) for problem in found.problems})
    if out is not None and distributed.is_main():
        atomic_write(out, json.dumps(evaluation.to_json(details=True)) + "\n")
    return evaluation


def require_classes(model: Model, space: LabelSpace, data: Path) -> None:
    """Checks that a network knows the classes of a data file, in the same order.

    Raises:
        ConfigError: It does not.
    """
    known = model.space
    if (space.things, space.stuff) != (known.things, known.stuff):
        raise ConfigError(
            f"the network knows {_classes(known)}; the data file has {_classes(space)} (a source may name classes "
            "it has nothing of, and say under `labelled_classes:` which were looked for)",
            where=str(data),
            fix=f"write  classes: [{', '.join(known.names)}]  stuff: [{', '.join(known.stuff)}]",
        )


def measure(
    model: Model, records: Sequence[Record], *, batch_size: int = 16, workers: int = 2, skip_bad: bool = False
) -> Evaluation:
    """Runs the network over the images and accumulates the metrics; no image, mask or logit is kept.

    Args:
        model: The network.
        records: The images, the same list in every process.
        batch_size: Images per forward pass.
        workers: Processes that decode images.
        skip_bad: Leave out images that cannot be read, instead of raising.

    Raises:
        DataError: An image cannot be read.
    """
    coco, voc = CocoAP(model.space.num_things), VocAP(model.space.num_things)
    iou, confusion = MeanIoU(model.space.num_mask_values), BoxConfusion(model.space.num_things)
    quality: dict[str, float] = {}
    images = WholeImages(records, model.size, model.fit)
    mine = range(distributed.rank(), len(records), distributed.world())
    skipped: dict[str, str] = {}
    loader = DataLoader(
        Subset(images, mine), batch_size, num_workers=workers, collate_fn=list, worker_init_fn=leave_to_main
    )
    for number, batch in enumerate(loader):
        if skip_bad:
            places = zip(mine[number * batch_size :], batch, strict=False)
            skipped |= {records[index].name: str(item) for index, item in places if isinstance(item, DataError)}
            batch = [item for item in batch if not isinstance(item, DataError)]
        items: list[tuple[int, Tensor, View, Sample]] = [ready(item) for item in batch]
        if not items:
            continue
        inputs = torch.stack([item[1] for item in items])
        seen = model.see(inputs, [item[2] for item in items], min_score=MIN_SCORE)
        for (index, _, _, sample), (boxes, scores, labels, mask) in zip(items, seen, strict=True):
            truth, found = records[index].boxes, Detections(boxes, scores, labels)
            if sample.labelled is not None:
                found, mask = _of_labelled(found, mask, sample.labelled.numpy())
            parts = []
            if truth is not None and model.space.num_things:
                coco.update(index, found, truth)
                voc.update(index, found, truth)
                parts.append(confusion.update(found, truth))
            if sample.mask is not None:
                parts.append(iou.update(mask, sample.mask.numpy()))
            quality[records[index].name] = float(np.mean(parts)) if parts else float("nan")
    coco, voc, iou, confusion = (_merged(distributed.gather(metric)) for metric in (coco, voc, iou, confusion))
    c, v, i = coco.compute(), voc.compute(), iou.compute()
    figures, per_class = _summarise(model, c, v, i)
    skipped = {image: error for part in distributed.gather(skipped) for image, error in part.items()}
    quality = {image: value for part in distributed.gather(quality) for image, value in part.items()}
    measured = [record for record in records if record.name not in skipped]
    counts = {
        "detection": sum(record.boxes is not None for record in measured),
        "segmentation": sum(record.mask is not None for record in measured),
    }
    curves = dict(zip(model.space.things, c.precision50, strict=True))
    return Evaluation(counts, figures, per_class, skipped, curves, confusion.counts, i.confusion, quality)


def _of_labelled(found: Detections, mask: np.ndarray, labelled: np.ndarray) -> tuple[Detections, np.ndarray]:
    """What a network says of the classes that were looked for; the others are background to the annotator."""
    known = labelled[found.labels]
    seen = np.append(True, labelled)[mask]
    return Detections(found.boxes[known], found.scores[known], found.labels[known]), np.where(seen, mask, BACKGROUND)


def _merged(parts: list[Any]) -> Any:
    def merge(into: Any, other: Any) -> Any:
        into.merge(other)
        return into

    return reduce(merge, parts)


def _summarise(
    model: Model, c: CocoResult, v: VocResult, i: IoUResult
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    per_class: dict[str, dict[str, float]] = {}
    for index, name in enumerate(model.space.names):
        per_class[name] = {}
        if index < model.space.num_things:
            per_class[name] |= {
                "AP50-95": float(c.per_class_ap[index]),
                "AP50": float(c.per_class_ap50[index]),
                "VOC_AP50": float(v.per_class_allpoint[index]),
                "VOC07_AP50": float(v.per_class_11point[index]),
            }
        per_class[name]["IoU"] = float(i.per_value_iou[index + 1])
    figures = {
        "mAP50-95": c.ap,
        "mAP50": c.ap50,
        "mAP75": c.ap75,
        "mAP_small": c.ap_small,
        "mAP_medium": c.ap_medium,
        "mAP_large": c.ap_large,
        "VOC_AP50": v.ap50_allpoint,
        "VOC07_AP50": v.ap50_11point,
        "mIoU": i.miou,
        "IoU_background": float(i.per_value_iou[0]),
        "pixel_accuracy": i.pixel_accuracy,
    }
    return {name: float(value) for name, value in figures.items()}, per_class


def _classes(space: LabelSpace) -> str:
    return ", ".join(space.things) + (f" (stuff: {', '.join(space.stuff)})" if space.stuff else "")
