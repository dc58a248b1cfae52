"""Which pixels of a mask are which object's."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from bombo.conversion.annotated import AnnotatedImage, AnnotatedObject
from bombo.conversion.objects import nearest
from bombo.conversion.shapes import paint
from bombo.data.label_space import VOID

_SAME = 0.8  # IoU of a component's extent and a box from which the two mean the same object


class Owners(NamedTuple):
    """Whose the pixels are.

    Attributes:
        rows: (H, W) int32, row of a box + 1; 0 = no box's.
        shared: Rows whose border with another object of their class is a guess: they touch.
    """

    rows: np.ndarray
    shared: frozenset[int]


def owners(mask: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> Owners:
    """Gives the components of a mask to the boxes of their class, whole where only one box comes into question.

    A component that several boxes touch is cut between those that have no component of their own. Components that no
    box of their class touches are nobody's.

    Args:
        mask: (H, W) uint8, class index + 1.
        boxes: (N, 4) xyxy pixels.
        labels: (N,) class index.
    """
    rows, shared = np.zeros(mask.shape, np.int32), set[int]()
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        _, parts, statistics, _ = cv2.connectedComponentsWithStats((mask == label + 1).astype(np.uint8), connectivity=8)
        extents = statistics[1:, :4].astype(np.float64)
        extents[:, 2:] += extents[:, :2]
        same = _iou(extents, boxes[own]) >= _SAME
        touching = _overlap(extents, boxes[own]) > 0
        for part, (x1, y1, x2, y2) in enumerate(extents.astype(int)):
            elsewhere = np.delete(same, part, axis=0).any(0)
            candidates = own[same[part] | (touching[part] & ~elsewhere)]
            if not len(candidates):
                candidates = own[touching[part]]
            window = np.s_[y1:y2, x1:x2]
            ys, xs = np.nonzero(parts[window] == part + 1)
            reach = [_touches(box, ys + y1, xs + x1) for box in boxes[candidates]]
            candidates = candidates[reach]
            if len(candidates):
                chosen = nearest(ys + y1, xs + x1, boxes[candidates])
                rows[window][ys, xs] = candidates[chosen] + 1
                shared |= set(candidates.tolist()) if len(candidates) > 1 else set()
    return Owners(rows, frozenset(shared))


def outlined(image: AnnotatedImage) -> tuple[tuple[AnnotatedObject, ...], int]:
    """The objects of an image with a mask, each with an outline: its own, or its pixels of the mask.

    Returns:
        The objects, and for how many the border with another one is a guess.
    """
    assert image.objects is not None
    assert image.mask is not None
    rest = np.where(paint(image.objects, image.size) == 0, image.mask, 0).astype(np.uint8)
    lacking = [row for row, item in enumerate(image.objects) if item.shape is None and not item.crowd]
    boxes = np.array([image.objects[row].box for row in lacking]).reshape(-1, 4)
    found = owners(rest, boxes, np.array([image.objects[row].label for row in lacking], np.int64))
    objects = list(image.objects)
    for place, row in enumerate(lacking):
        objects[row] = replace(objects[row], shape=found.rows == place + 1)
    for row, item in enumerate(objects):
        if item.shape is None:  # a crowd: what it hides is void
            objects[row] = replace(item, shape=_inside(item, image.size) & (image.mask == VOID))
    return tuple(objects), len(found.shared)


def _touches(box: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> bool:
    x1, y1, x2, y2 = box
    return bool(((xs + 1 > x1) & (xs < x2) & (ys + 1 > y1) & (ys < y2)).any())


def _inside(item: AnnotatedObject, size: tuple[int, int]) -> np.ndarray:
    x1, y1, x2, y2 = (round(edge) for edge in item.box)
    inside = np.zeros(size, bool)
    inside[y1:y2, x1:x2] = True
    return inside


def _overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(M, N) common area of boxes (M, 4) and (N, 4)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common: np.ndarray = (high - low).clip(min=0).prod(-1)
    return common


def _iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    common = _overlap(one, other)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (one, other)]
    ratio: np.ndarray = common / (areas[0][:, None] + areas[1][None] - common)
    return ratio
