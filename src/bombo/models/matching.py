"""Which anchor answers for which box: the IoU rule of RetinaNet and SSD, for a whole batch at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_iou

POSITIVE, NEGATIVE = 0.5, 0.4  # at or above: positive; below: negative; between: not asked


class Matches(NamedTuple):
    """The anchors' duties.

    Attributes:
        box: (B, A) int64 index of the target box with the largest IoU (0 where there is none).
        positive: (B, A) bool, answers for `box`.
        doubtful: (B, A) bool, too close to `box` to be negative for its class, too far to be positive.
        in_region: (B, A, N) bool, lies in a region (a row that is no target but has an area).
    """

    box: Tensor
    positive: Tensor
    doubtful: Tensor
    in_region: Tensor


def match(anchors: Tensor, boxes: Tensor, is_target: Tensor) -> Matches:
    """Matches all anchors with all boxes of a batch.

    An anchor is positive for the target with the largest IoU when that is at least 0.5; every target also gets its
    best anchor, whatever the IoU, unless that is zero. Anchors at 0.4 to 0.5 are doubtful. An anchor lies in a region
    when at least half of the anchor is covered by it, or its IoU with it is at least 0.4.

    Args:
        anchors: (A, 4) xyxy.
        boxes: (B, N, 4) xyxy, zero rows are padding.
        is_target: (B, N) bool.
    """
    batch, count = is_target.shape
    if count == 0:
        nothing = torch.zeros(batch, len(anchors), dtype=torch.bool, device=anchors.device)
        return Matches(nothing.long(), nothing, nothing, nothing[..., None].expand(-1, -1, 0))
    iou = box_iou(boxes.reshape(-1, 4), anchors).reshape(batch, count, -1)
    target_iou = iou.where(is_target[..., None], 0)
    best_iou, best_box = target_iou.max(dim=1)
    highest, best_anchor = target_iou.max(dim=2)
    forced = is_target & (highest > 0)

    # each target claims its best anchor; where two claim the same one, the later row wins. Unused claims go to a spare
    # column.
    spare = torch.full_like(best_anchor, len(anchors))
    claims = torch.full((batch, len(anchors) + 1), -1, device=anchors.device)
    rows = torch.arange(count, device=anchors.device).expand(batch, -1)
    claims = claims.scatter_reduce(1, best_anchor.where(forced, spare), rows, reduce="amax")[:, :-1]
    box = claims.where(claims >= 0, best_box)
    positive = (claims >= 0) | (best_iou >= POSITIVE)

    region = ~is_target & (boxes[..., 2:] > boxes[..., :2]).all(-1)
    near_region = (_covered(anchors, boxes) >= 0.5) | (iou >= NEGATIVE)
    return Matches(box, positive, ~positive & (best_iou >= NEGATIVE), (near_region & region[..., None]).transpose(1, 2))


def _covered(anchors: Tensor, boxes: Tensor) -> Tensor:
    """(B, N, A) share of each anchor's area inside each box."""
    low = torch.maximum(boxes[:, :, None, :2], anchors[:, :2])
    high = torch.minimum(boxes[:, :, None, 2:], anchors[:, 2:])
    area = (anchors[:, 2:] - anchors[:, :2]).prod(-1)
    return (high - low).clamp(min=0).prod(-1) / area
