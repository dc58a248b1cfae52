"""Neighbours of one colour have one class, more often than not."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from bombo.distributed import count_over_processes
from bombo.losses.term import Term
from bombo.models.precision import at_least_float32

# linear sRGB → XYZ (IEC 61966-2-1); the rows' sums are the white point D65
_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_KNEE = 6 / 29  # of CIELAB's cube root, straight below

DIRECTIONS = ((0, 2), (2, 0), (2, 2), (2, -2))  # (y, x) from cell to cell; the opposite ones are the same edges
LEAST_SIMILARITY = 0.3
_FARTHEST = -2 * math.log(LEAST_SIMILARITY)  # 2.4 in CIELAB: exp(−distance / 2) ≥ 0.3


def lab(images: Tensor) -> Tensor:
    """CIELAB colours (CIE 15:2004) of sRGB images under D65.

    Args:
        images: (..., 3, H, W) RGB, values 0 to 255, uint8 or float.

    Returns:
        (..., 3, H, W) L* 0 to 100, a* and b* about −128 to 128; at least fp32.
    """
    rgb = at_least_float32(images) / 255
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055).pow(2.4))
    matrix = rgb.new_tensor(_TO_XYZ)
    matrix = matrix / matrix.sum(1, keepdim=True)
    # no matrix product: autocast would compute it in half precision, and 2.4 is a small difference
    xyz = (linear.unsqueeze(-4) * matrix[..., None, None]).sum(-3)
    x, y, z = torch.where(xyz > _KNEE**3, xyz.pow(1 / 3), xyz / (3 * _KNEE**2) + 4 / 29).unbind(-3)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=-3)


def affinity_loss(logits: Tensor, images: Tensor, inside: Tensor, valid: Tensor) -> Term:
    """Mean over edges between cells i, j of like colour of −log Σ_c p_c(i) p_c(j).

    The pairwise term of BoxInst (Tian et al. 2021, arXiv 2012.02310), with a sum over all classes in
    place of foreground and background. Edges lead two cells to the right, down, and along both diagonals. They count
    when the colours, averaged over a cell, are similar, exp(−‖Lab_i − Lab_j‖ / 2) ≥ 0.3, and an end lies in a box.

    Args:
        logits: (B, K, h, w).
        images: (B, 3, H, W) RGB, values 0 to 255, as the network saw them but without jitter of colour.
        inside: (B, h, w) bool, in a box.
        valid: (B, h, w) bool; both ends of an edge must be.

    Returns:
        The loss, and the number of edges.
    """
    log_p = at_least_float32(logits).log_softmax(1)
    height, width = logits.shape[-2:]
    colours = lab(adaptive_avg_pool2d(at_least_float32(images), (height, width)))
    totals, numbers = [], []
    for direction in DIRECTIONS:
        (p, q), (a, b), (in_a, in_b), (ok_a, ok_b) = (_ends(x, direction) for x in (log_p, colours, inside, valid))
        alike = (a - b).square().sum(1) <= _FARTHEST**2
        edges = alike & (in_a | in_b) & ok_a & ok_b
        totals.append(-(p + q).logsumexp(1).where(edges, 0).sum())
        numbers.append(edges.sum())
    number = torch.stack(numbers).sum()
    return Term(torch.stack(totals).sum() / count_over_processes(number), number)


def _ends(x: Tensor, direction: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The values at both ends of all edges in one direction."""
    (height, width), (dy, dx) = x.shape[-2:], direction
    left, right = slice(0, width - abs(dx)), slice(abs(dx), width)
    start, end = (left, right) if dx >= 0 else (right, left)
    return x[..., : height - dy, start], x[..., dy:, end]
