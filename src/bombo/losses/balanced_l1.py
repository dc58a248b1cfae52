"""Balanced L1 loss (Pang et al. 2019, Libra R-CNN, arXiv 1904.02701, eq. 9 and 10)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bombo.models.precision import at_least_float32


def balanced_l1_loss(
    predicted: Tensor, target: Tensor, *, alpha: float = 0.5, gamma: float = 1.5, beta: float = 1.0
) -> Tensor:
    """Smooth L1 whose gradient rises faster for small errors, entry by entry.

    With b such that α ln(b + 1) = γ and x the absolute error in units of β: below 1 it is α/b (b x + 1) ln(b x + 1) −
    α x, above it is γ x + C with the C that joins the two. Measuring x in units of β keeps value and slope continuous
    for every β.

    Args:
        predicted: (..., 4) deltas.
        target: Same shape.
        alpha: Smaller values favour small errors.
        gamma: Slope for large errors.
        beta: Error at which the two branches meet.

    Returns:
        Same shape, at least fp32, not reduced.
    """
    b = math.exp(gamma / alpha) - 1
    x = (at_least_float32(predicted) - target).abs() / beta
    inner = alpha / b * (b * x + 1) * torch.log1p(b * x) - alpha * x
    outer = gamma * x + gamma / b - alpha
    return beta * inner.where(x < 1, outer)
