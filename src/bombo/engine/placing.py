"""Where the labels of boxes go, so that all can be read and none hides a small object."""

from __future__ import annotations

import numpy as np

_LEVELS = 5  # how many label heights away from its box a label may go where objects crowd
_HIDES_LABEL, _FARTHER, _ASIDE = 10.0, 0.03, 0.04  # costs, against 1 for a label that hides a whole object


def place_labels(boxes: np.ndarray, sizes: np.ndarray, picture: tuple[int, int]) -> np.ndarray:
    """Places one label after the other: above its box if possible, off other labels, not on small objects.

    Args:
        boxes: (N, 4) xyxy pixels; the first has the first choice.
        sizes: (N, 2) width and height of each label.
        picture: (width, height), which no label leaves unless it is larger.

    Returns:
        (N, 4) int xyxy corners of the labels.
    """
    areas = np.maximum(1, (boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    placed = np.zeros((0, 4), dtype=np.int64)
    for box, size in zip(boxes, sizes, strict=True):
        places, cost = _candidates(box, size, picture)
        reach = np.concatenate((places[:, :2].min(axis=0), places[:, 2:].max(axis=0)))[None]
        near, beside = _overlap(reach, boxes)[0] > 0, _overlap(reach, placed)[0] > 0  # large images hold thousands
        cost = cost + (_overlap(places, boxes[near]) / areas[near]).sum(axis=1)
        cost += _HIDES_LABEL * _overlap(places, placed[beside]).sum(axis=1) / size.prod()
        placed = np.vstack((placed, places[cost.argmin()]))
    return placed


def _candidates(box: np.ndarray, size: np.ndarray, picture: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(K, 4) places for one label, within the picture, and their (K,) costs: far from the box is worse."""
    x1, y1, x2, y2 = box.tolist()
    width, height = size.tolist()
    tops = [
        top + away * height * side
        for away in range(_LEVELS)
        for top, side in ((y1 - height, -1), (y1, 1), (y2 - height, -1), (y2, 1))
    ]
    lefts = [x1, x2 - width, (x1 + x2 - width) // 2, x1 - width, x2]
    corners = np.stack(np.meshgrid(lefts, tops, indexing="xy"), axis=-1).reshape(-1, 2)
    corners = np.clip(corners, 0, np.maximum(0, np.array(picture) - size))
    cost = np.add.outer(_FARTHER * np.arange(len(tops)), _ASIDE * np.arange(len(lefts))).ravel()
    return np.concatenate((corners, corners + size), axis=1), cost


def _overlap(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(K, N) area that each of (K, 4) boxes shares with each of (N, 4)."""
    sides = np.minimum(some[:, None, 2:], others[:, 2:]) - np.maximum(some[:, None, :2], others[:, :2])
    area: np.ndarray = np.clip(sides, 0, None).prod(axis=2)
    return area
