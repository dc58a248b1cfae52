"""Soft Dice loss over the classes present (Milletari et al. 2016, arXiv 1606.04797)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import one_hot

from bombo.data.label_space import VOID


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean over the values that occur in the masks of 1 − 2 Σpq / (Σp² + Σq²), over the whole batch.

    fp32 throughout: sums of squares over an image overflow half precision.

    Args:
        logits: (B, K, H, W).
        masks: (B, H, W) uint8, 255 is left out.

    Returns:
        Scalar in 0 to 1, attached to the graph even when nothing is valid.
    """
    valid = (masks != VOID)[:, None]
    p = logits.float().softmax(dim=1) * valid
    q = one_hot(masks.long().where(masks != VOID, 0), logits.shape[1]).movedim(-1, 1) * valid
    over = (0, 2, 3)
    score = 2 * (p * q).sum(over) / (p.square().sum(over) + q.sum(over)).clamp(min=1e-5)
    present = q.sum(over) > 0
    return ((1 - score) * present).sum() / present.sum().clamp(min=1)
