"""Which pixel belongs to which object, where a mask says the class and boxes say the objects."""

from __future__ import annotations

import math

import numpy as np

_APART = 1e6  # cost of a box that does not reach the pixel


def objects_in_boxes(mask: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Gives every pixel of a class to one of the boxes of that class that touch it, chosen as `nearest` does.

    Args:
        mask: (H, W) uint8, class index + 1.
        boxes: (N, 4) xyxy pixels.
        labels: (N,) class index; rows below 0 own nothing.

    Returns:
        (H, W) int32, row of the box + 1; 0 = none.
    """
    owner = np.zeros(mask.shape, np.int32)
    best = np.full(mask.shape, np.inf, np.float32)
    for row, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        window = touched(box, mask.shape)  # type: ignore[arg-type]
        ys, xs = (np.arange(part.start, part.stop) for part in window)
        cost = _cost(ys[:, None], xs[None], box)
        wins = (mask[window] == label + 1) & (label >= 0) & (cost < best[window])
        owner[window][wins] = row + 1
        best[window][wins] = cost[wins]
    return owner


def nearest(ys: np.ndarray, xs: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(P,) the box each pixel (P,) y, x most likely belongs to: one that touches it if there is one.

    Each box stands for a Gaussian, two standard deviations wide to each side; the densest has the pixel. On generated
    scenes and on COCO this was right more often than to let the smaller box have what two share.
    """
    chosen = np.zeros(len(ys), np.int64)
    best = np.full(len(ys), np.inf, np.float32)
    for row, box in enumerate(boxes):
        x1, y1, x2, y2 = box
        outside = (xs + 1 <= x1) | (xs >= x2) | (ys + 1 <= y1) | (ys >= y2)
        cost = _cost(ys, xs, box) + _APART * outside
        wins = cost < best
        chosen[wins], best[wins] = row, cost[wins]
    return chosen


def touched(box: np.ndarray, size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of the pixels a box (x1, y1, x2, y2) touches: its sides rounded outward."""
    x1, y1, x2, y2 = (float(side) for side in box)
    rows = slice(max(0, math.floor(y1)), min(size[0], math.ceil(y2)))
    return rows, slice(max(0, math.floor(x1)), min(size[1], math.ceil(x2)))


def extent(ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """(4,) float32 the tight box around pixels (P,) y, x, at least one."""
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)


def _cost(ys: np.ndarray, xs: np.ndarray, box: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = (float(side) for side in box)
    width, height = max(x2 - x1, 1e-3), max(y2 - y1, 1e-3)
    across, down = 2 * (xs + 0.5 - (x1 + x2) / 2) / width, 2 * (ys + 0.5 - (y1 + y2) / 2) / height
    cost: np.ndarray = (across**2 + down**2 + 0.5 * math.log(width * height)).astype(np.float32)
    return cost
