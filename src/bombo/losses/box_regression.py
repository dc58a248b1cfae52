"""How far the predicted boxes of positive anchors are from their targets: GIoU, smooth L1 or balanced L1."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn.functional import smooth_l1_loss
from torchvision.ops import generalized_box_iou_loss

from bombo.losses.balanced_l1 import balanced_l1_loss
from bombo.models.box_coding import decode, encode
from bombo.models.precision import at_least_float32

BoxLoss = Literal["giou", "balanced_l1", "smooth_l1"]


def box_regression_loss(
    deltas: Tensor,
    boxes: Tensor,
    anchors: Tensor,
    normaliser: Tensor,
    *,
    kind: BoxLoss = "giou",
    weights: Tensor | None = None,
    known: Tensor | None = None,
) -> Tensor:
    """Σ over positive anchors of one of three distances / normaliser.

    GIoU (Rezatofighi et al. 2019, arXiv 1902.09630) compares the decoded boxes and counts twice, which balances it
    against the focal loss; the two L1 forms compare the four deltas and average over them.

    Args:
        deltas: (P, 4) predicted.
        boxes: (P, 4) xyxy target boxes.
        anchors: (P, 4) xyxy.
        normaliser: Scalar > 0, usually the number of positive anchors.
        kind: Which distance.
        weights: (P,) of the anchors, 0 to 1; None = 1.
        known: (P, 4) bool, which of x1, y1, x2, y2 of `boxes` are targets; the prediction stands in for the others,
            which get no gradient. None = all.

    Returns:
        Scalar, at least fp32, attached to the graph even when P is 0.
    """
    predicted = decode(at_least_float32(deltas), anchors)
    if known is not None:
        boxes, predicted, possible = _complete(boxes, predicted, known)
        weights = possible if weights is None else weights * possible
    if kind == "giou":
        distance: Tensor = 2 * generalized_box_iou_loss(predicted, boxes)
    else:
        target = encode(boxes, anchors)
        deltas = at_least_float32(deltas) if known is None else encode(predicted, anchors)
        distance = balanced_l1_loss(deltas, target) if kind == "balanced_l1" else _smooth_l1(deltas, target)
        distance = distance.mean(-1)
    return (distance if weights is None else distance * weights).sum() / normaliser


def _complete(boxes: Tensor, predicted: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unknown sides as they are predicted, without gradient, on both sides; and where that leaves a box."""
    fixed = predicted.detach()
    boxes = boxes.where(known, fixed)
    possible = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return boxes.where(possible[:, None], fixed), predicted.where(known, fixed), possible.to(predicted.dtype)


def _smooth_l1(predicted: Tensor, target: Tensor) -> Tensor:
    return smooth_l1_loss(predicted, target, beta=1 / 9, reduction="none")
