"""Scores at another resolution."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate

from bombo.models.precision import at_least_float32


def upsampled(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Scores (B, K, h, w) at (height, width), bilinear between cell centres, in at least float32."""
    return interpolate(at_least_float32(logits), size=size, mode="bilinear", align_corners=False)
