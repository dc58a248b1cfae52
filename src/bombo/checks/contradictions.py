"""Where boxes and mask of one image cannot both be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bombo.checks.finding import Defect, Hit
from bombo.data.label_space import ANY_CLASS, VOID, LabelSpace
from bombo.data.sample import BoxAnnotation
from bombo.mask_for_box.components import components

BOX_WITHOUT_PIXELS = Defect(
    "box-without-pixels", "warning", "box holds no pixel of its class", "boxes hold no pixel of their class",
    "one of the two is wrong: correct the class of the box, or the mask, of the images named",
)  # fmt: skip
COMPONENT_WITHOUT_BOX = Defect(
    "component-without-box", "warning", "object in a mask has no box", "objects in masks have no box",
    "where a box is missing, detection learns that there is nothing: draw the boxes, or write `use: masks` for a "
    "source whose boxes are not complete",
)  # fmt: skip

# smaller components are splinters more often than objects
_SMALLEST = 32  # pixels
_SMALLEST_SHARE = 0.0025  # of the image
_COVERED = 0.5  # of a component's pixels; annotators draw boxes a little too small


def contradictions(where: str, boxes: BoxAnnotation, mask: np.ndarray, space: LabelSpace) -> list[Hit]:
    """Boxes of a class without any of its pixels inside, and components of a class that no box covers.

    Boxes that are void for the most part, and components under boxes of unknown class, contradict nothing.

    Args:
        where: The image.
        boxes: Its boxes.
        mask: (H, W) uint8 in the label space's values.
        space: The label space.
    """
    hits = []
    covered: dict[int, list[tuple[slice, slice]]] = {label: [] for label in range(space.num_things)}
    for box, label, difficult in zip(boxes.boxes, boxes.labels.tolist(), boxes.difficult, strict=True):
        x1, y1 = np.floor(box[:2]).astype(int).tolist()
        x2, y2 = np.ceil(box[2:]).astype(int).tolist()
        window = slice(y1, y2), slice(x1, x2)
        for own in covered if label == ANY_CLASS else (label,):
            covered[own].append(window)
        inside = mask[window]
        if label != ANY_CLASS and not (inside == label + 1).any() and (inside == VOID).mean() < _COVERED:
            shown = ", ".join(f"{value:.0f}" for value in box)
            detail = f"{space.names[label]} ({shown})" + (", marked difficult" if difficult else "")
            hits.append(Hit(BOX_WITHOUT_PIXELS, where, detail))
    return hits + _without_box(where, covered, mask, space)


def _without_box(
    where: str, covered: Mapping[int, Sequence[tuple[slice, slice]]], mask: np.ndarray, space: LabelSpace
) -> list[Hit]:
    smallest = max(_SMALLEST, round(_SMALLEST_SHARE * mask.size))
    pixels = np.bincount(mask.ravel(), minlength=256)
    bare = np.zeros(mask.shape, bool)  # pixels of a class outside all of its boxes
    suspects = np.zeros(mask.shape, np.uint8)
    for label in np.flatnonzero(pixels[1 : space.num_things + 1] >= smallest).tolist():
        own = mask == label + 1
        outside = own.copy()
        for window in covered[label]:
            outside[window] = False
        if outside.sum() >= _COVERED * smallest:  # finding components is slow, and hardly any class needs it
            bare |= outside
            suspects[own] = label + 1
    if not bare.any():
        return []
    found = components(np.where(mask == VOID, VOID, suspects), space.num_things, min_area=smallest)
    hits = []
    for (x1, y1, x2, y2), label in zip(found.boxes.astype(int).tolist(), found.labels.tolist(), strict=True):
        own = mask[y1:y2, x1:x2] == label + 1
        if (own & bare[y1:y2, x1:x2]).sum() > _COVERED * own.sum():
            detail = f"{space.names[label]}, {own.sum():,} px within ({x1}, {y1}, {x2}, {y2})"
            hits.append(Hit(COMPONENT_WITHOUT_BOX, where, detail))
    return hits
