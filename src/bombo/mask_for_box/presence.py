"""Every component holds at least one object: multiple-instance learning over the boxes predicted on it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from bombo.distributed import count_over_processes
from bombo.losses.term import Term
from bombo.mask_for_box.integral import count_inside, integral
from bombo.models.precision import at_least_float32

_BAG = 5  # predictions in a bag: the best ones
_FILL, _COVERED = 0.3, 0.7  # of a predicted box: pixels of the class, area in the component's rectangle
_SMALLEST = 1e-6  # probability of presence


def presence_loss(
    class_logits: Tensor, boxes: Tensor, components: Tensor, labels: Tensor, matched: Tensor, masks: Tensor
) -> Term:
    """Mean over components of −log(1 − Π (1 − s)), the noisy-or over their five best predictions.

    A prediction belongs to a component's bag when at least 70 % of it lies in the component's rectangle (and so does
    its centre, then) and at least 30 % of it are pixels of the class. Holds where objects touch, too. A component
    without such predictions is left out, and one whose presence the network puts below 1e-6 gives no gradient.

    Args:
        class_logits: (B, A, C).
        boxes: (B, A, 4) decoded, xyxy input pixels; no gradient.
        components: (B, M, 4) xyxy rectangles; zero rows are padding.
        labels: (B, M) int64 class index; negative ones are left out.
        matched: (B, M) bool, components a pseudo-box speaks for already; left out.
        masks: (B, H, W) uint8, class index + 1.

    Returns:
        The loss and the number of components with a bag.
    """
    logits = at_least_float32(class_logits)
    asked = ~matched & (labels >= 0) & ((components[..., 2:] > components[..., :2]).all(-1))
    image, component = asked.nonzero(as_tuple=True)
    label = labels[image, component]
    bag = _bags(boxes[image], components[image, component], image, label, masks)
    scores = logits[image, :, label].masked_fill(~bag, -torch.inf)
    best = scores.topk(min(_BAG, scores.shape[1]), dim=1).values
    best = best.where(best > -torch.inf, -1e4)  # certainly nothing, with a finite gradient
    absent = logsigmoid(-best).sum(1)
    present = -torch.expm1(absent)
    filled = bag.any(1)
    loss = -present.clamp(min=_SMALLEST).log() * filled
    return Term(loss.sum() / count_over_processes(filled.sum()), filled.sum())


@torch.no_grad()
def _bags(boxes: Tensor, components: Tensor, image: Tensor, label: Tensor, masks: Tensor) -> Tensor:
    """(J, A) bool: which of the boxes (J, A, 4) lie on their component (J, 4)."""
    (low, high), (inner, outer) = boxes.split(2, dim=-1), components[:, None].split(2, dim=-1)
    area = (high - low).clamp(min=0).prod(-1)
    shared = (torch.minimum(high, outer) - torch.maximum(low, inner)).clamp(min=0).prod(-1)

    # one table for all components of a class in an image
    pairs, row = torch.unique(torch.stack((image, label)), dim=1, return_inverse=True)
    table = integral(masks[pairs[0]] == (pairs[1] + 1)[:, None, None])
    bag: Tensor = (area > 0) & (shared >= _COVERED * area) & (count_inside(table[row], boxes) >= _FILL * area)
    return bag  # type: ignore[no-any-return]
