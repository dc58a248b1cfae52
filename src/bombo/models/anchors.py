"""Anchor boxes: the grid of reference rectangles that the detection head corrects and scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

STRIDES = (8, 16, 32, 64)
SCALES = (3.0, 3.0 * 2**0.5)  # side of the square anchor in strides: 24 and 34 px on the finest level
RATIOS = (0.5, 1.0, 2.0)  # height / width
PER_CELL = len(SCALES) * len(RATIOS)


def make_anchors(shapes: Sequence[tuple[int, int]], device: torch.device | None = None) -> Tensor:
    """Makes the anchors of all levels.

    Args:
        shapes: (height, width) in cells of every level, fine to coarse, for strides 8, 16, 32, 64.
        device: Where to make them.

    Returns:
        (A, 4) xyxy in input pixels; cell by cell in rows, within a cell scale by scale and ratio by ratio. They may
        reach outside the image.
    """
    ratios = torch.tensor(RATIOS, device=device).repeat(len(SCALES))
    sides = torch.tensor(SCALES, device=device).repeat_interleave(len(RATIOS))
    half = torch.stack((sides / ratios.sqrt(), sides * ratios.sqrt()), dim=1) / 2  # (PER_CELL, 2) in strides
    levels = []
    for (height, width), stride in zip(shapes, STRIDES, strict=True):
        y, x = torch.meshgrid(
            torch.arange(height, device=device) + 0.5, torch.arange(width, device=device) + 0.5, indexing="ij"
        )
        centres = torch.stack((x, y), dim=-1).reshape(-1, 1, 2)
        levels.append(torch.cat((centres - half, centres + half), dim=-1).reshape(-1, 4) * stride)
    return torch.cat(levels)
