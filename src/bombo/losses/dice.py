"""Soft Dice loss over the classes present (Milletari et al. 2016, arXiv 1606.04797)."""

from __future__ import annotations

import torch
from torch import Tensor

from bombo.data.label_space import VOID
from bombo.distributed import sum_over_processes
from bombo.models.precision import at_least_float32


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean over the values that occur in the masks of 1 − 2 Σpq / (Σp² + Σq²), over the batch of all processes.

    p and q are the predicted and the true share of a value in a cell of the logits; what is void in a cell counts for
    neither. At least fp32 throughout: sums of squares over an image overflow half precision.

    Args:
        logits: (B, K, h, w), as coarse as the network makes them: sums over whole masks gain nothing from upsampling.
        masks: (B, H, W) uint8, 255 is left out; H and W are multiples of h and w.

    Returns:
        Scalar in 0 to 1, attached to the graph even when nothing is valid.
    """
    q = shares(masks, logits.shape[1], (logits.shape[2], logits.shape[3]))
    p = at_least_float32(logits).softmax(dim=1) * q.sum(1, keepdim=True)
    over = (0, 2, 3)
    sums = torch.stack(((p * q).sum(over), p.square().sum(over), q.square().sum(over).to(p.dtype)))
    common, predicted, true = sum_over_processes(sums)
    score = 2 * common / (predicted + true).clamp(min=1e-5)
    present = true > 0
    loss: Tensor = ((1 - score) * present).sum() / present.sum().clamp(min=1)
    return loss


def shares(masks: Tensor, num_values: int, size: tuple[int, int]) -> Tensor:
    """Share of every value in every cell of a coarser grid; the shares of a cell add up to what of it is not void.

    Args:
        masks: (B, H, W) uint8, 0 to num_values − 1 or 255.
        num_values: K.
        size: (h, w) of the grid; H and W are multiples of them.

    Returns:
        (B, K, h, w) float32, 0 to 1.
    """
    batch, (height, width) = len(masks), size
    rows, columns = masks.shape[1] // height, masks.shape[2] // width
    blocks = masks.reshape(batch, height, rows, width, columns).transpose(2, 3).flatten(3).long()  # (B, h, w, pixels)
    counts = torch.zeros(batch, height, width, num_values + 1, device=masks.device)
    counts.scatter_add_(
        3, blocks.where(blocks != VOID, num_values), torch.ones((), device=masks.device).expand_as(blocks)
    )
    return counts[..., :num_values].permute(0, 3, 1, 2) / (rows * columns)
