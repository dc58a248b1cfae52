"""Putting together what single boxes claim: one set of rules for all label providers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bombo.box_for_mask.weak_mask import WeakMask
from bombo.data.label_space import ANY_CLASS, BACKGROUND, VOID, LabelSpace

Window = tuple[slice, slice]

_LAST_RESORT = 0.5  # weight of the pixel that keeps a box from vanishing


class Claim(NamedTuple):
    """What a provider says about the pixels one box covers.

    Args:
        is_object: (h, w) bool.
        weights: (h, w) float32, 0 to 1, how far to trust it; 0 = says nothing.
    """

    is_object: NDArray[np.bool_]
    weights: NDArray[np.float32]


def covered(box: np.ndarray, size: tuple[int, int]) -> Window:
    """The rows and columns a box (x1, y1, x2, y2) covers, as `LabelProvider` defines it; empty outside the image."""
    x1, y1, x2, y2 = (float(side) for side in box)
    return _span(y1, y2, size[0]), _span(x1, x2, size[1])


def union(boxes: np.ndarray, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) bool: the pixels that at least one of the boxes (N, 4) covers."""
    inside = np.zeros(size, dtype=bool)
    for box in boxes:
        inside[covered(box, size)] = True
    return inside


def paint(
    size: tuple[int, int],
    boxes: np.ndarray,
    labels: np.ndarray,
    crowd: np.ndarray,
    space: LabelSpace,
    claim: Callable[[int, Window], Claim],
) -> WeakMask:
    """Paints what every box claims, the smallest on top, by the rules of `LabelProvider`.

    Args:
        size: (height, width) of the image.
        boxes: (N, 4) float32 xyxy pixels.
        labels: (N,) int64 class index, or `ANY_CLASS`.
        crowd: (N,) bool.
        space: The label space.
        claim: Row of a box and its window, never empty → the claim; not asked for crowds and boxes of any class.
    """
    values = np.full(size, VOID if space.stuff else BACKGROUND, dtype=np.uint8)
    weights = np.ones(size, dtype=np.float32)
    silent = crowd | (labels == ANY_CLASS)
    limits = np.array((size[1], size[0]) * 2, dtype=np.float32)
    inner = np.clip(boxes, 0, limits)
    areas = (inner[:, 2] - inner[:, 0]) * (inner[:, 3] - inner[:, 1])
    order = np.argsort(-areas, kind="stable")
    for row in order:
        window = covered(boxes[row], size)
        below, trust = values[window], weights[window]
        if silent[row] or not below.size:
            below[:] = VOID
            continue
        is_object, certainty = claim(row, window)
        below[is_object] = labels[row] + 1
        below[certainty == 0] = VOID
        trust[is_object] = certainty[is_object]
        doubted = ~is_object & (below == BACKGROUND)
        trust[doubted] = np.minimum(trust[doubted], certainty[doubted])
    _rescue(values, weights, boxes, labels, order, silent)
    weights[values == VOID] = 0
    return WeakMask(values, weights)


def _rescue(
    values: np.ndarray,
    weights: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    order: np.ndarray,
    silent: np.ndarray,
) -> None:
    """Gives boxes that lost every pixel the free one nearest to their centre; several, if they are equally near."""
    # the smallest first: what it is given may be the last pixel of a larger one, whose turn then comes
    for place, row in reversed(list(enumerate(order))):
        window = covered(boxes[row], values.shape)  # type: ignore[arg-type]
        if silent[row] or (values[window] == labels[row] + 1).any():
            continue
        free = ~union(boxes[order[place + 1 :]], values.shape)[window]  # type: ignore[arg-type]
        if free.any():
            distance = np.hypot(*_from_centre(boxes[row], window))
            nearest = free & (distance <= distance[free].min() + 1e-6)
            values[window][nearest] = labels[row] + 1
            weights[window][nearest] = _LAST_RESORT


def normalised(box: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixel centres of a window lie in a box: −1 and 1 are its sides.

    Returns:
        (h, 1) float64 down, (1, w) float64 across.
    """
    down, across = _from_centre(box, window)
    half_width, half_height = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    return down / max(half_height, 1e-6), across / max(half_width, 1e-6)


def _from_centre(box: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    x1, y1, x2, y2 = (float(side) for side in box)
    down = np.arange(window[0].start, window[0].stop)[:, None] + 0.5 - (y1 + y2) / 2
    across = np.arange(window[1].start, window[1].stop)[None, :] + 0.5 - (x1 + x2) / 2
    return down, across


def _span(low: float, high: float, length: int) -> slice:
    low, high = min(max(low, 0), length), min(max(high, 0), length)
    first, last = math.ceil(low - 0.5), math.floor(high - 0.5) + 1
    if last <= first:
        first, last = math.floor(low), math.ceil(high)
    return slice(first, max(first, last))
