"""How much of a box its object fills: a range per class, learnt from masks, asked of predictions in boxes."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from bombo.box_for_mask.grid import boxes_on_grid
from bombo.distributed import count_over_processes
from bombo.losses.term import Term
from bombo.models.precision import at_least_float32

POOLED = (0.27, 0.85)  # 5th and 95th percentile over the components of all classes of COCO
ENOUGH = 30  # components for a class to stand on its own
SMALLEST_COMPONENT = 32  # source pixels
SMALLEST_BOX = 16  # cells


def filling_rate_loss(
    logits: Tensor,
    boxes: Tensor,
    labels: Tensor,
    is_valid: Tensor,
    low: Tensor,
    high: Tensor,
    scale: float | tuple[float, float],
) -> Term:
    """Mean over boxes of relu(low_c − f) + relu(f − high_c), f the mean probability of the box's class c in it.

    The filling rate of Song et al. (2019, arXiv 1904.11693) as a band: within its class's range a box asks for
    nothing.

    Args:
        logits: (B, K, h, w).
        boxes: (B, N, 4) xyxy input pixels; what reaches outside the image is cut off. Cells count as in the box when
            their centre is.
        labels: (B, N) int64, class index or `ANY_CLASS`.
        is_valid: (B, N) bool, boxes to use. Boxes of `ANY_CLASS` or below 16 cells are left out in any case.
        low: (num_things,) smallest usual filling rate, 0 to 1.
        high: (num_things,) largest.
        scale: Grid cells per input pixel, one number or (y, x).

    Returns:
        The loss, 0 to 1, and the number of boxes used.
    """
    probabilities = at_least_float32(logits).softmax(1)
    num_values, height, width = probabilities.shape[1:]
    cells = boxes_on_grid(boxes, scale, (height, width))
    # strictly inside: a box and its mirror image hold the same cells
    x1, y1 = (cells[..., :2] + 0.5).floor().long().unbind(-1)
    x2, y2 = (cells[..., 2:] - 0.5).ceil().long().unbind(-1)
    area = (x2 - x1).clamp(min=0) * (y2 - y1).clamp(min=0)
    used = is_valid & (labels >= 0) & (area >= SMALLEST_BOX)

    plane = used.nonzero()[:, 0] * num_values + labels[used] + 1
    integral = pad(probabilities.cumsum(2).cumsum(3), (1, 0, 1, 0)).flatten(0, 1)
    x1, y1, x2, y2 = x1[used], y1[used], x2[used], y2[used]
    filled = integral[plane, y2, x2] - integral[plane, y1, x2] - integral[plane, y2, x1] + integral[plane, y1, x1]
    rate = filled / area[used]
    low, high = low.to(rate)[labels[used]], high.to(rate)[labels[used]]
    number = used.sum()
    return Term(((low - rate).relu() + (rate - high).relu()).sum() / count_over_processes(number), number)


def filling_rates(masks: Iterable[np.ndarray], num_things: int) -> tuple[Tensor, Tensor]:
    """The usual filling rates of classes: 5th and 95th percentile over the components of masks.

    A component is 8-connected and has at least 32 pixels; its rate is its area over that of its box. It stands for an
    object, whose rates are much the same (0.29 to 0.85 on COCO against 0.27 to 0.85). Classes with n < 30 components
    are drawn towards the pooled rates with weight 1 − n / 30.

    Args:
        masks: (H, W) uint8 each, in mask values.
        num_things: Number of classes that have boxes.

    Returns:
        `low` and `high`, (num_things,) float32 each, 0 to 1.
    """
    rates: list[list[float]] = [[] for _ in range(num_things)]
    for mask in masks:
        for value in np.unique(mask):
            if 1 <= value <= num_things:
                rates[value - 1] += _component_rates(mask == value)
    bands = torch.tensor([_band(each) for each in rates], dtype=torch.float32).view(-1, 2)
    return bands[:, 0], bands[:, 1]


def _component_rates(region: np.ndarray) -> list[float]:
    _, _, statistics, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    objects = statistics[1:]  # the first one is the rest of the image
    area = objects[:, cv2.CC_STAT_AREA]
    rates = area / (objects[:, cv2.CC_STAT_WIDTH] * objects[:, cv2.CC_STAT_HEIGHT])
    found: list[float] = rates[area >= SMALLEST_COMPONENT].tolist()
    return found


def _band(rates: list[float]) -> list[float]:
    if not rates:
        return list(POOLED)
    trust = min(len(rates) / ENOUGH, 1)
    own = np.percentile(rates, (5, 95)).tolist()
    return [trust * mine + (1 - trust) * pooled for mine, pooled in zip(own, POOLED, strict=True)]
