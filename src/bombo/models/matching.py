"""Which anchor answers for which box: the IoU rule of RetinaNet and SSD, for a whole batch at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

POSITIVE, NEGATIVE = 0.5, 0.4  # at or above: positive; below: negative; between: not asked


class Matches(NamedTuple):
    """The anchors' duties.

    Attributes:
        box: (B, A) int64 index of the target box the anchor belongs to (any row where it belongs to none).
        positive: (B, A) bool, answers for `box`.
        doubtful: (B, A) bool, too close to `box` to be negative for its class, too far to be positive.
        in_region: (B, A, N) bool, lies in a region (a row that is no target; padding, without area, holds no anchor).
    """

    box: Tensor
    positive: Tensor
    doubtful: Tensor
    in_region: Tensor


def match(anchors: Tensor, boxes: Tensor, is_target: Tensor) -> Matches:
    """Matches all anchors with all boxes of a batch.

    An anchor is positive for the target with the largest IoU when that is at least 0.5. Every target also gets its
    best anchor, whatever the IoU, unless that is zero; of two targets with the same best anchor the one with the larger
    IoU gets it. Anchors at 0.4 to 0.5 are doubtful. An anchor lies in a region when at least half of the anchor is
    covered by it, or its IoU with it is at least 0.4.

    Args:
        anchors: (A, 4) xyxy.
        boxes: (B, N, 4) xyxy, zero rows are padding.
        is_target: (B, N) bool.
    """
    if is_target.shape[1] == 0:
        nothing = torch.zeros(len(boxes), len(anchors), dtype=torch.bool, device=anchors.device)
        return Matches(nothing.long(), nothing, nothing, nothing[..., None].expand(-1, -1, 0))
    iou, covered = _overlaps(boxes, anchors)
    in_region = ((covered >= 0.5) | (iou >= NEGATIVE)) & ~is_target[..., None]

    iou *= is_target[..., None]
    highest, anchor = iou.max(dim=2, keepdim=True)
    claim = highest + (highest > 0)  # above every IoU, so that the best anchor is positive and goes to its claimant
    best, box = iou.scatter_(2, anchor, claim).max(dim=1)
    positive = best >= POSITIVE
    return Matches(box, positive, ~positive & (best >= NEGATIVE), in_region.transpose(1, 2))


def _overlaps(boxes: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N, A) intersection over union, and share of the anchor's area inside the box."""
    low, high = boxes[..., None].chunk(2, dim=2)  # (B, N, 2, 1)
    anchor_low, anchor_high = anchors.T.contiguous().chunk(2)  # (2, A)
    # axis by axis and in place: these are the largest tensors of a step on a CPU
    width, height = (
        (torch.minimum(high[:, :, i], anchor_high[i]) - torch.maximum(low[:, :, i], anchor_low[i])).clamp_(min=0)
        for i in (0, 1)
    )
    shared = width.mul_(height)
    area, anchor_area = (high - low).prod(2), (anchor_high - anchor_low).prod(0)
    return shared / (area + anchor_area - shared), shared / anchor_area
