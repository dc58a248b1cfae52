"""Feature pyramid network (Lin et al. 2017, arXiv 1612.03144) with one extra coarse level."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

from bombo.models.blocks import conv_block


class FeaturePyramid(nn.Module):
    """Backbone features at strides 8, 16, 32 → levels P3 to P6 (strides 8 to 64) of equal width.

    Args:
        inputs: Channels of the three backbone features, fine to coarse.
        channels: Channels of every level.
    """

    def __init__(self, inputs: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in inputs)
        self.output = nn.ModuleList(conv_block(channels, channels) for _ in inputs)
        self.coarsest = conv_block(channels, channels, stride=2)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Three maps (B, C_i, H_i, W_i) → four maps (B, channels, H_i, W_i), fine to coarse."""
        levels = [lateral(feature) for lateral, feature in zip(self.lateral, features, strict=True)]
        for i in range(len(levels) - 2, -1, -1):
            levels[i] = levels[i] + interpolate(levels[i + 1], size=levels[i].shape[-2:], mode="nearest")
        levels = [output(level) for output, level in zip(self.output, levels, strict=True)]
        return [*levels, self.coarsest(levels[-1])]
