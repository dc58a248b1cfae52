"""Integral images: the number of marked pixels in any box, from four look-ups."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def integral(maps: Tensor) -> Tensor:
    """Counts the marked pixels above and to the left of every pixel corner.

    Args:
        maps: (P, H, W) bool.

    Returns:
        (P, H + 1, W + 1) int32.
    """
    return pad(maps.cumsum(1, dtype=torch.int32).cumsum_(2), (1, 0, 1, 0))


def count_inside(table: Tensor, boxes: Tensor) -> Tensor:
    """Counts the marked pixels inside boxes, their edges rounded to whole pixels.

    Args:
        table: (P, H + 1, W + 1) from `integral`.
        boxes: (P or 1, A, 4) xyxy; what lies outside the map holds nothing.

    Returns:
        (P, A) int32.
    """
    maps, height, width = table.shape
    x1, y1, x2, y2 = boxes.round().long().unbind(-1)
    left, right = x1.clamp(0, width - 1), x2.clamp(0, width - 1)
    top, bottom = y1.clamp(0, height - 1) * width, y2.clamp(0, height - 1) * width
    table = table.flatten(1)

    def at(corner: Tensor) -> Tensor:
        return table.gather(1, corner.expand(maps, -1))

    return at(bottom + right) - at(bottom + left) - at(top + right) + at(top + left)
