"""The segmentation head at stride 4 (semantic branch of Panoptic FPN, Kirillov et al. 2019, arXiv 1901.02446)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

from bombo.models.blocks import conv_block


class SegmentationHead(nn.Module):
    """Sums all pyramid levels at stride 4, adds the backbone's finest feature for contours, classifies every cell.

    Each level is convolved at its own resolution and added to the next finer one, which costs a fraction of bringing
    every level to stride 4 by itself.

    Args:
        inputs: Channels of the pyramid.
        detail: Channels of the backbone's feature at stride 4.
        num_values: Background and every class.
        channels: Channels of the head.
    """

    def __init__(self, inputs: int, detail: int, num_values: int, channels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(conv_block(inputs, channels) for _ in range(4))
        self.detail = conv_block(detail, channels, kernel=1)
        self.fuse = conv_block(channels, channels)
        self.classify = nn.Conv2d(channels, num_values, 1)
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.zeros_(self.classify.bias)  # type: ignore[arg-type]

    def forward(self, levels: Sequence[Tensor], detail: Tensor) -> Tensor:
        """Levels (B, inputs, H_i, W_i) and detail (B, detail, H/4, W/4) → logits (B, num_values, H/4, W/4)."""
        *finer, coarsest = [block(level) for block, level in zip(self.levels, levels, strict=True)]
        fused = coarsest
        for level in (*reversed(finer), self.detail(detail)):
            fused = level + interpolate(fused, size=level.shape[-2:], mode="bilinear", align_corners=False)
        return self.classify(self.fuse(fused))  # type: ignore[no-any-return]
