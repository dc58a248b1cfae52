"""Soft Dice loss over the classes present (Milletari et al. 2016, arXiv 1606.04797)."""

from __future__ import annotations

import torch
from torch import Tensor

from bombo.data.label_space import VOID
from bombo.distributed import sum_over_processes
from bombo.models.precision import at_least_float32


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean over the values that occur in the masks of 1 − 2 Σpq / (Σp² + Σq²), over the batch of all processes.

    At least fp32 throughout: sums of squares over an image overflow half precision.

    Args:
        logits: (B, K, H, W).
        masks: (B, H, W) uint8, 255 is left out.

    Returns:
        Scalar in 0 to 1, attached to the graph even when nothing is valid.
    """
    valid = (masks != VOID)[:, None]
    p = at_least_float32(logits).softmax(dim=1) * valid
    values = torch.arange(logits.shape[1], dtype=torch.uint8, device=masks.device)
    q = masks[:, None] == values[:, None, None]  # no value is VOID
    over = (0, 2, 3)
    sums = torch.stack(((p * q).sum(over), p.square().sum(over), q.sum(over).to(p.dtype)))
    common, predicted, true = sum_over_processes(sums)
    score = 2 * common / (predicted + true).clamp(min=1e-5)
    present = true > 0
    loss: Tensor = ((1 - score) * present).sum() / present.sum().clamp(min=1)
    return loss
