"""The convolution block that neck and heads are made of."""

from __future__ import annotations

import math

from torch import nn


def conv_block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, group normalisation, SiLU.

    Group rather than batch normalisation: the heads see box-annotated and mask-annotated images, several scales and
    several processes, and none of them may change another's statistics.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.GroupNorm(math.gcd(outputs, 32) if outputs % 32 == 0 else math.gcd(outputs, 16), outputs),
        nn.SiLU(inplace=True),
    )
