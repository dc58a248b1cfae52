"""Boxes on the coarser grid of the segmentation head."""

from __future__ import annotations

from torch import Tensor


def boxes_on_grid(boxes: Tensor, scale: float | tuple[float, float], size: tuple[int, int]) -> Tensor:
    """Input pixels → grid cells, clipped to the grid.

    Args:
        boxes: (..., 4) xyxy input pixels.
        scale: Grid cells per input pixel, one number or (y, x).
        size: (h, w) of the grid.

    Returns:
        (..., 4) xyxy cells, neither rounded nor dropped.
    """
    (height, width), (y, x) = size, scale if isinstance(scale, tuple) else (scale, scale)
    cells = boxes * boxes.new_tensor((x, y, x, y))
    return cells.clamp(boxes.new_zeros(4), boxes.new_tensor((width, height, width, height)))
