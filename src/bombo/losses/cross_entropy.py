"""Pixel-wise cross-entropy that survives masks without a valid pixel."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from bombo.data.label_space import VOID
from bombo.models.precision import at_least_float32


def mask_cross_entropy(logits: Tensor, masks: Tensor, normaliser: Tensor) -> Tensor:
    """Σ over valid pixels of −log softmax(logits)[mask] / normaliser.

    `cross_entropy(reduction="mean")` is 0/0 over an all-void target; the sum is not.

    Args:
        logits: (B, K, H, W).
        masks: (B, H, W) uint8, 255 is left out.
        normaliser: Scalar > 0, usually the number of valid pixels.

    Returns:
        Scalar, at least fp32, attached to the graph even when nothing is valid.
    """
    total = cross_entropy(at_least_float32(logits), masks.long(), ignore_index=VOID, reduction="sum")
    return total / normaliser
