"""How right pseudo-labels are while a network is trained: scored on validation images that carry both annotations.

Nothing is chosen by these figures; they are written down for the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np
import torch

from bombo.box_for_mask.painting import union
from bombo.box_for_mask.weak_mask import WeakMask
from bombo.data.data_file import DataSet
from bombo.data.dataset import load, seen_through
from bombo.data.derived import Derived
from bombo.data.label_space import VOID
from bombo.data.sample import BoxAnnotation, Record, Sample
from bombo.data.view import View
from bombo.engine.deriving import Deriver
from bombo.engine.model import Model
from bombo.engine.refined import confirmed_boxes, refined_mask
from bombo.errors import DataError
from bombo.files import without_nan
from bombo.losses.method import Method
from bombo.metrics.box_confusion import BoxConfusion
from bombo.metrics.detections import Detections
from bombo.metrics.mask_quality import MaskQuality
from bombo.metrics.mean_iou import MeanIoU
from bombo.models.network import Predictions

MOST = 32  # images: enough to see which way it goes, and cheap beside an evaluation
_BATCH = 8  # images the teacher sees at once
Item = TypeVar("Item")


@dataclass(frozen=True)
class Half:
    """An image with one kind of annotation and what was derived of it, whole, as the network is shown it.

    Args:
        sample: At the input size.
        derived: The same.
        view: What brought them there.
    """

    sample: Sample
    derived: Derived
    view: View

    @classmethod
    def of(cls, record: Record, derive: Deriver, model: Model) -> Self:
        """Reads an image and derives as training does.

        Raises:
            DataError: A file cannot be read.
        """
        sample = load(record)
        view = View.whole((sample.image.shape[1], sample.image.shape[2]), model.size, model.fit)
        seen = seen_through(sample, view)
        return cls(seen, derive(record, sample).seen_through(view, seen.image), view)


@dataclass(frozen=True)
class Labeller:
    """Makes the pseudo-labels that training learns from at some point of its schedule.

    Args:
        method: Whether the teacher judges them, and from when on.
        teacher: The averaged network.
    """

    method: Method
    teacher: Model

    def opinions(self, halves: Sequence[Half], progress: float) -> list[Predictions | None]:
        """What the teacher says of each image, a batch of one; None where it is not asked yet."""
        if not self.method.asks_teacher(progress):
            return [None] * len(halves)
        found: list[Predictions | None] = []
        for start in range(0, len(halves), _BATCH):
            part = torch.stack([half.sample.image for half in halves[start : start + _BATCH]])
            seen = self.teacher.forward(part)
            found += [seen.of(one) for one in torch.eye(len(part), dtype=torch.bool)]
        return found

    def mask(self, half: Half, progress: float, opinion: Predictions | None) -> np.ndarray:
        """(H, W) uint8 mask values at the input size, made of boxes; 255 where nothing is learned."""
        derived = half.derived
        made = WeakMask(derived.masks.numpy(), derived.weights.numpy())
        if opinion is not None and self.method.masks != "none":
            made = refined_mask(half.sample, made, self.teacher, trust=self.method.trust(progress), seen=opinion)
        return np.where((made.weights > 0) & derived.visible.numpy(), made.values, VOID).astype(np.uint8)

    def boxes(self, half: Half, opinion: Predictions | None) -> tuple[np.ndarray, np.ndarray]:
        """(N, 4) boxes in pixels of the image and (N,) labels, made of a mask."""
        boxes, labels = half.derived.boxes, half.derived.labels
        if opinion is not None and self.method.boxes != "none":
            boxes, labels, _ = confirmed_boxes(half.sample, boxes, labels, self.teacher, opinion)
        return half.view.boxes_to_source(boxes).numpy(), labels.numpy()


@dataclass(frozen=True)
class Judged:
    """A fully annotated image, once as if it carried only boxes and once as if only a mask; None = not derived."""

    from_boxes: Half | None
    from_mask: Half | None
    mask: np.ndarray
    boxes: BoxAnnotation


def judged_images(val_set: DataSet, derive: Deriver, model: Model, *, most: int = MOST) -> list[Judged]:
    """Reads the images that judge pseudo-labels: some that carry both annotations of all classes, spread over the list.

    What cannot be read is left out: the evaluation names it.

    Args:
        val_set: The validation images.
        derive: As training derives.
        model: For its input size.
        most: How many.
    """
    found = []
    whole = [record for record in val_set.records if record.kind == "both" and record.labelled is None]
    for record in spread(whole, most):
        with suppress(DataError):
            found.append(_judged(record, derive, model))
    return [image for image in found if image.from_boxes or image.from_mask]


def _judged(record: Record, derive: Deriver, model: Model) -> Judged:
    assert record.boxes is not None
    masked = Half.of(replace(record, boxes=None), derive, model)
    assert masked.sample.mask is not None
    boxed = replace(record, mask=None)
    from_boxes = Half.of(boxed, derive, model) if derive.makes_mask(boxed) else None
    return Judged(from_boxes, masked if derive.boxes else None, masked.sample.mask.numpy(), record.boxes)


def score(images: Sequence[Judged], labeller: Labeller, progress: float) -> dict[str, dict[str, Any]]:
    """How right the pseudo-labels are at a point of the schedule.

    Args:
        images: From `judged_images`.
        labeller: Makes the pseudo-labels.
        progress: Share of the schedule behind us, 0 to 1.

    Returns:
        `masks`: number of `images`, `mIoU` over the pixels that get a label, `coverage`, the share of those, and both
        for the provider alone; `boxes`: `images`, `recall50` and `precision50` at IoU .50, and both for the components
        alone. Difficult objects and crowds count neither way. Shares from 0 to 1, None where nothing could be measured;
        what was not derived is missing.
    """
    space = labeller.teacher.space
    masks = {name: MaskQuality(MeanIoU(space.num_mask_values)) for name in ("", "provider_")}
    boxes = {name: BoxConfusion(space.num_things, min_score=0.0) for name in ("", "components_")}
    halves = [half for image in images if (half := image.from_boxes or image.from_mask)]
    for image, opinion in zip(images, labeller.opinions(halves, progress), strict=True):
        if image.from_boxes is not None:
            assert image.from_boxes.sample.boxes is not None
            inside = union(image.from_boxes.sample.boxes.numpy(), image.mask.shape)
            for name, said in (("", opinion), ("provider_", None)):
                masks[name].update(labeller.mask(image.from_boxes, progress, said), image.mask, inside)
        if image.from_mask is not None:
            for name, said in (("", opinion), ("components_", None)):
                found, labels = labeller.boxes(image.from_mask, said)
                boxes[name].update(Detections(found, np.ones(len(found), dtype=np.float32), labels), image.boxes)
    figures: dict[str, dict[str, Any]] = {}
    if number := sum(image.from_boxes is not None for image in images):
        own = {
            f"{n}{figure}": v for n, q in masks.items() for figure, v in (("mIoU", q.miou), ("coverage", q.coverage))
        }
        figures["masks"] = {"images": number, **_rounded(own)}
    if number := sum(image.from_mask is not None for image in images):
        own = {f"{n}{figure}": v for n, c in boxes.items() for figure, v in _recall_and_precision(c).items()}
        figures["boxes"] = {"images": number, **_rounded(own)}
    return figures


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of them, evenly over the list; always the same."""
    number = min(most, len(items))
    return [items[i * len(items) // number] for i in range(number)]


def _recall_and_precision(confusion: BoxConfusion) -> dict[str, float]:
    counts = confusion.counts
    right, true, found = counts.diagonal()[:-1].sum(), counts[:-1].sum(), counts[:, :-1].sum()
    nan = float("nan")
    return {"recall50": float(right / true) if true else nan, "precision50": float(right / found) if found else nan}


def _rounded(figures: dict[str, float]) -> dict[str, float | None]:
    return dict(without_nan({name: round(value, 6) for name, value in figures.items()}))
