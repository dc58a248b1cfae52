"""What a mask says for certain about boxes: where there is none. True even where objects of a class touch."""

from __future__ import annotations

import torch
from torch import Tensor

from bombo.data.label_space import VOID
from bombo.losses.focal import focal_loss
from bombo.losses.term import Term
from bombo.mask_for_box.evidence import class_evidence, hulls
from bombo.mask_for_box.integral import count_inside, integral
from bombo.models.precision import at_least_float32

_FILL = 0.05  # a true box is fuller of its class: 99 % of COCO's
_HULL = 0.4  # an anchor's share in the hull bounds its IoU with any true box
_CLEARANCE = 4  # px, half the finest stride: how far a small object may reach out of its best anchor


@torch.no_grad()
def certain_negatives(anchors: Tensor, masks: Tensor, num_things: int, small_side: float = 24) -> Tensor:
    """Finds the pairs of anchor and class without a true box of that class at an IoU of 0.5.

    With E the pixels on which an object of the class can be (see `class_evidence`), an anchor is a negative when less
    than 5 % of it lies on E, or less than 40 % of it in the bounding rectangle of E. For an absent class E is what
    blobs of void may hide: without blobs all anchors are negatives. A mask void all over (also of an image without a
    mask) has no negatives, not even outside the image.

    Small objects fill even their best anchor, which the detector would make positive for them, less than that. So
    anchors as small as an object's best one (area at most 3 · `small_side`²) are left out where a whole group of pixels
    of E, none larger than the anchor, lies in them: E has pixels in the anchor, and grown by 4 px on every side the
    anchor's outline crosses none.

    Args:
        anchors: (A, 4) xyxy input pixels; may reach outside the image, where there is nothing.
        masks: (B, H, W) uint8, class index + 1; 0 is background, 255 void.
        num_things: Number of thing classes.
        small_side: Side of the smallest anchor in pixels.

    Returns:
        (B, A, num_things) bool.
    """
    evidence = class_evidence(masks, num_things)
    table = integral(evidence.maps)
    area = (anchors[:, 2:] - anchors[:, :2]).prod(1)
    inside = count_inside(table, anchors[None])
    shared = _intersection(anchors, hulls(evidence.maps))
    negative = (inside < _FILL * area) | (shared < _HULL * area)

    near, beyond = (_count_grown(table, anchors, by) for by in (_CLEARANCE, _CLEARANCE + 1))
    small = (area <= 3 * small_side**2) & (inside > 0) & (near == beyond)
    negative &= ~small

    present = len(negative) - len(masks)
    negatives = negative[present:, :, None].repeat(1, 1, num_things)
    negatives[evidence.image[:present], :, evidence.label[:present]] = negative[:present]
    return negatives & (masks != VOID).flatten(1).any(1)[:, None, None]


def negative_loss(class_logits: Tensor, negatives: Tensor, normaliser: Tensor) -> Term:
    """Focal loss of the certain negatives; every other pair is left alone.

    Args:
        class_logits: (B, A, C).
        negatives: (B, A, C) bool.
        normaliser: Scalar > 0: positive anchors of the box-annotated images (their number per image times these
            images). Positives of mask images are too few and too doubtful to divide by.

    Returns:
        The loss and the number of pairs.
    """
    logits = at_least_float32(class_logits)
    value = focal_loss(logits, torch.zeros_like(logits), negatives.to(logits.dtype), normaliser)
    return Term(value, negatives.sum())


def _count_grown(table: Tensor, anchors: Tensor, by: int) -> Tensor:
    return count_inside(table, (anchors + anchors.new_tensor((-by, -by, by, by)))[None])


def _intersection(anchors: Tensor, boxes: Tensor) -> Tensor:
    """(P, A) area that anchors (A, 4) share with boxes (P, 4)."""
    low, high = anchors.T.contiguous().chunk(2)
    inner, outer = boxes[..., None].chunk(2, dim=1)  # (P, 2, 1)
    # axis by axis, in place: of the largest tensors here
    width, height = (
        torch.minimum(high[i], outer[:, i]).sub_(torch.maximum(low[i], inner[:, i])).clamp_(min=0) for i in (0, 1)
    )
    return width.mul_(height)
