"""No box of a class reaches beyond the rectangle that holds all pixels of the class."""

from __future__ import annotations

import torch
from torch import Tensor

from bombo.distributed import count_over_processes
from bombo.losses.term import Term
from bombo.mask_for_box.evidence import class_evidence, hulls
from bombo.models.precision import at_least_float32

_CONFIDENT = 0.3


def containment_loss(class_logits: Tensor, boxes: Tensor, masks: Tensor) -> Term:
    """Mean over confident predictions of score · the share of the box outside the hull of its class.

    A prediction is a pair of box and present class with a score above 0.3. The hull is the bounding rectangle of the
    pixels on which an object of the class can be (see `class_evidence`). The gradient flows through the boxes only. A
    box that lies wholly outside has none, and neither has a prediction of an absent class: both are negatives.

    Args:
        class_logits: (B, A, C).
        boxes: (B, A, 4) decoded, xyxy input pixels; a side below a pixel is
            divided by one pixel.
        masks: (B, H, W) uint8, class index + 1; 0 is background, 255 void.

    Returns:
        The loss, 0 to 1, and the number of predictions.
    """
    scores, boxes = at_least_float32(class_logits).detach().sigmoid(), at_least_float32(boxes)
    evidence = class_evidence(masks, class_logits.shape[2])
    present = len(evidence.label) - len(masks)
    image, label = evidence.image[:present], evidence.label[:present]
    confident = scores[image, :, label]
    pair, anchor = (confident > _CONFIDENT).nonzero(as_tuple=True)

    low, high = boxes[image[pair], anchor].split(2, dim=-1)
    inner, outer = hulls(evidence.maps[:present])[pair].to(boxes.dtype).split(2, dim=-1)
    side = (high - low).clamp(min=0)
    shared = (torch.minimum(high, outer) - torch.maximum(low, inner)).clamp(min=0)
    covered = (1 - (side - shared) / side.clamp(min=1)).prod(-1)
    number = torch.tensor(len(pair), device=boxes.device)
    return Term((confident[pair, anchor] * (1 - covered)).sum() / count_over_processes(number), number)
