"""Sigmoid focal loss (Lin et al. 2017, arXiv 1708.02002, eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from bombo.models.precision import at_least_float32


def focal_loss(
    logits: Tensor, targets: Tensor, weights: Tensor, normaliser: Tensor, *, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """Σ weight · α_t (1 − p_t)^γ · cross-entropy / normaliser.

    Args:
        logits: (...) any shape.
        targets: Same shape, 0 to 1; values between mix the two sides linearly.
        weights: Same shape, 0 leaves an entry out.
        normaliser: Scalar > 0, usually the number of positive anchors.
        alpha: Weight of positives; 1 − alpha for negatives.
        gamma: How strongly easy entries are discounted.

    Returns:
        Scalar, at least fp32, attached to the graph even when there are no entries.
    """
    logits = at_least_float32(logits)
    targets = targets.to(logits.dtype)
    p = torch.sigmoid(logits)
    cross_entropy = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    miss = p + targets - 2 * p * targets  # 1 − p_t
    alpha_t = alpha * targets + (1 - alpha) * (1 - targets)
    return (weights * alpha_t * miss.pow(gamma) * cross_entropy).sum() / normaliser
