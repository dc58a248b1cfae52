"""What a list of images holds: images by kind of annotation, boxes and pixels per class."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from bombo.data.image_io import image_size
from bombo.data.label_space import VOID, LabelSpace
from bombo.data.sample import MaskAnnotation, Record
from bombo.errors import DataError
from bombo.files import without_nan

_MASKS_READ = 1000  # enough for shares per class to two digits; reading all of a large set would delay the start


@dataclass(frozen=True)
class Statistics:
    """Counts over a list of images.

    Args:
        images: Number of images by kind of annotation: `boxes`, `masks`, `both`, `none`.
        boxes: (C,) boxes per class.
        images_with_boxes: (C,) images with at least one box of the class.
        pixel_share: (C + 1,) share of all valid mask pixels, background first; NaN without masks.
        images_with_pixels: (C,) images whose mask holds the class, among those read.
        masks_read: Number of masks these two come from.
        masks: Number of masks there are.
        unlabelled: (C,) images on which the class was not looked for.
    """

    images: dict[str, int]
    boxes: np.ndarray
    images_with_boxes: np.ndarray
    pixel_share: np.ndarray
    images_with_pixels: np.ndarray
    masks_read: int
    masks: int
    unlabelled: np.ndarray

    def to_json(self, space: LabelSpace) -> dict[str, Any]:
        """Plain types, with the names of the classes."""
        classes = {
            name: {
                "kind": "thing" if index < space.num_things else "stuff",
                "boxes": int(self.boxes[index]),
                "images_with_boxes": int(self.images_with_boxes[index]),
                "pixel_share": float(self.pixel_share[index + 1]),
                "images_with_pixels": int(self.images_with_pixels[index]),
                "images_where_not_looked_for": int(self.unlabelled[index]),
            }
            for index, name in enumerate(space.names)
        }
        counts = {"images": self.images, "masks": self.masks, "masks_read": self.masks_read, "classes": classes}
        return dict(without_nan(counts))


def statistics(records: Sequence[Record], space: LabelSpace) -> Statistics:
    """Counts what the records carry; masks are read for an evenly spaced part when there are many.

    Files that cannot be read are left to the loading that follows, which reports them properly.
    """
    classes = len(space.names)
    boxes, images_with_boxes = np.zeros(classes, dtype=np.int64), np.zeros(classes, dtype=np.int64)
    for record in records:
        if record.boxes is not None:
            per_class = np.bincount(record.boxes.labels[record.boxes.labels >= 0], minlength=classes)
            boxes += per_class
            images_with_boxes += per_class > 0

    masked = [(record, record.mask) for record in records if record.mask is not None]
    chosen = (
        [masked[i * len(masked) // _MASKS_READ] for i in range(_MASKS_READ)] if len(masked) > _MASKS_READ else masked
    )
    # decoding releases the interpreter lock; it also silences warnings, and threads leave that switched on behind them
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as pool:
        counts = [count for count in pool.map(lambda pair: _values(*pair), chosen) if count is not None]
    total = sum(counts, start=np.zeros(256, dtype=np.int64))
    with_class = sum((count[1 : classes + 1] > 0 for count in counts), start=np.zeros(classes, dtype=np.int64))
    valid = total[:VOID].sum()
    return Statistics(
        images={kind: sum(r.kind == kind for r in records) for kind in ("boxes", "masks", "both", "none")},
        boxes=boxes,
        images_with_boxes=images_with_boxes,
        pixel_share=total[: classes + 1] / valid if valid else np.full(classes + 1, np.nan),
        images_with_pixels=with_class,
        masks_read=len(counts),
        masks=len(masked),
        unlabelled=times_unlabelled(records, classes),
    )


def times_unlabelled(records: Iterable[Record], classes: int) -> np.ndarray:
    """(C,) number of images on which each class was not looked for."""
    return sum((~np.array(r.labelled) for r in records if r.labelled), start=np.zeros(classes, dtype=np.int64))


def _values(record: Record, mask: MaskAnnotation) -> np.ndarray | None:
    try:
        return np.bincount(mask.load(image_size(record.image)).ravel(), minlength=256)
    except DataError:
        return None
