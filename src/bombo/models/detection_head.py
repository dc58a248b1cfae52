"""The anchor-based detection head (RetinaNet, Lin et al. 2017, arXiv 1708.02002): two towers shared by all levels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bombo.models.anchors import PER_CELL
from bombo.models.blocks import conv_block

_PRIOR = 0.01  # score of every anchor before training; keeps the first focal losses small


class DetectionHead(nn.Module):
    """Scores every class and corrects the box at every anchor.

    Args:
        channels: Channels of the pyramid.
        num_things: Number of classes; every class has a sigmoid of its own.
        depth: Convolutions of each tower.
    """

    def __init__(self, channels: int, num_things: int, depth: int) -> None:
        super().__init__()
        self.num_things = num_things
        self.class_tower = nn.Sequential(*(conv_block(channels, channels) for _ in range(depth)))
        self.box_tower = nn.Sequential(*(conv_block(channels, channels) for _ in range(depth)))
        # without things the convolution keeps one column, which `forward` drops: torch has none without outputs
        self.class_logits = nn.Conv2d(channels, PER_CELL * max(1, num_things), 3, padding=1)
        self.box_deltas = nn.Conv2d(channels, PER_CELL * 4, 3, padding=1)
        for layer in (self.class_logits, self.box_deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.class_logits.bias, math.log(_PRIOR / (1 - _PRIOR)))  # type: ignore[arg-type]

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Levels (B, C, H_i, W_i) → class logits (B, A, num_things) and box deltas (B, A, 4), by anchor."""
        logits = [self._by_anchor(self.class_logits(self.class_tower(level))) for level in levels]
        deltas = [self._by_anchor(self.box_deltas(self.box_tower(level))) for level in levels]
        return torch.cat(logits, dim=1)[..., : self.num_things], torch.cat(deltas, dim=1)

    @staticmethod
    def _by_anchor(maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1).reshape(maps.shape[0], -1, maps.shape[1] // PER_CELL)
