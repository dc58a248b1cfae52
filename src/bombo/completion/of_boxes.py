"""Boxes get a mask that respects them."""

from __future__ import annotations

import numpy as np

from bombo.box_for_mask.painting import union
from bombo.box_for_mask.weak_mask import LabelProvider, WeakMask
from bombo.completion.completed import Completed, given
from bombo.conversion.annotated import AnnotatedImage, AnnotatedObject
from bombo.conversion.objects import objects_in_boxes, touched
from bombo.conversion.shapes import to_rle
from bombo.data.label_space import BACKGROUND, VOID
from bombo.data.masks import OutlineMask
from bombo.data.sample import BoxAnnotation, Record, Sample
from bombo.engine.model import Model
from bombo.engine.refined import refined_mask

_OVERRULED = 0.3  # weight of pixels that only the colours speak for: the network sees none of that object


def with_mask(record: Record, sample: Sample, own: BoxAnnotation, model: Model, provider: LabelProvider) -> Completed:
    """Makes the mask of an image that has boxes, as training does, and cuts it into the objects of the boxes.

    A pixel is background, stuff, or of a class whose box touches it; what neither the colours nor the network are sure
    of is void, and so is a crowd. Every box that smaller ones do not cover keeps pixels: where the network strikes out
    all of them, those the colours speak for come back, with little weight. Outlines that a person drew stay.

    Args:
        record: What is known of the image.
        sample: The image, decoded, with its boxes.
        own: Its boxes.
        model: Judges the provider's mask.
        provider: Makes a mask from the boxes.

    Returns:
        The image; the confidence of an object is the mean weight of its pixels, 0 for those left open in its box;
        None where its outline was drawn.
    """
    image, space = sample.image.permute(1, 2, 0).numpy(), model.space
    made = provider(image, own.boxes, own.labels, own.crowd, space)
    refined = refined_mask(sample, made, model)
    mask, weights = refined.values.copy(), refined.weights.copy()
    drawn = np.array([outline is not None for outline in own.outlines] or [False] * len(own), bool)
    labels = np.where(own.crowd | drawn, -1, own.labels)
    rows = objects_in_boxes(mask, own.boxes, labels)
    _draw(own, mask, rows)
    _bring_back(own.boxes, labels, made, mask, weights, rows)
    size = (mask.shape[0], mask.shape[1])
    inside = union(own.boxes[~drawn], size)
    nobodys = (mask > BACKGROUND) & (mask <= space.num_things) & (rows == 0)
    mask[nobodys] = np.where(inside[nobodys] | bool(space.stuff), VOID, BACKGROUND)
    guessed = inside & ~np.isin(rows, np.flatnonzero(drawn) + 1)
    said = guessed & (made.values != VOID)
    known = given(record, None, space)
    objects = [
        known[row] if drawn[row] else _object(own, row, labels[row], mask, weights, rows, len(space.names))
        for row in range(len(own))
    ]
    return Completed(
        record,
        AnnotatedImage(record.image, size, record.name, tuple(objects), mask),
        "mask",
        unlabelled=_share(guessed & (mask == VOID), guessed),
        changed=_share(said & (mask != made.values), said),
    )


def _draw(own: BoxAnnotation, mask: np.ndarray, rows: np.ndarray) -> None:
    """Puts the outlines that a person drew over what was guessed, the smallest on top; crowds below all."""
    outlines = {row: outline for row, outline in enumerate(own.outlines) if outline is not None}
    size = (mask.shape[0], mask.shape[1])
    pixels = {row: OutlineMask((each,), size, each.where).load(size) > 0 for row, each in outlines.items()}
    for row in sorted(outlines, key=lambda row: (own.crowd[row], pixels[row].sum()), reverse=True):
        shown, value = pixels[row] & ((rows == 0) | ~own.crowd[row]), outlines[row].value
        mask[shown], rows[shown] = value, 0 if value == VOID else row + 1


def _bring_back(
    boxes: np.ndarray, labels: np.ndarray, made: WeakMask, mask: np.ndarray, weights: np.ndarray, rows: np.ndarray
) -> None:
    for row in np.flatnonzero(labels >= 0):
        window = touched(boxes[row], mask.shape)  # type: ignore[arg-type]
        if not (rows[window] == row + 1).any():
            back = (made.values[window] == labels[row] + 1) & np.isin(mask[window], (BACKGROUND, VOID))
            mask[window][back], rows[window][back], weights[window][back] = labels[row] + 1, row + 1, _OVERRULED


def _object(
    own: BoxAnnotation,
    row: int,
    label: int,
    mask: np.ndarray,
    weights: np.ndarray,
    rows: np.ndarray,
    no_class: int,
) -> AnnotatedObject:
    size = (mask.shape[0], mask.shape[1])
    window = touched(own.boxes[row], size)
    pixels = np.zeros(size, bool)
    if label < 0:  # a region, of one class or of any
        pixels[window] = mask[window] == VOID
        score = None
    else:
        pixels[window] = rows[window] == row + 1
        open_or_own = int((pixels[window] | (mask[window] == VOID)).sum())
        score = float(weights[pixels].sum() / max(1, open_or_own))
    x1, y1, x2, y2 = own.boxes[row].tolist()
    return AnnotatedObject(
        no_class if own.labels[row] < 0 else int(own.labels[row]),
        (x1, y1, x2, y2),
        to_rle(pixels, size),
        crowd=bool(own.crowd[row]),
        difficult=bool(own.difficult[row]),
        score=score,
    )


def _share(some: np.ndarray, of: np.ndarray) -> float:
    return float(some.sum() / max(1, of.sum()))
