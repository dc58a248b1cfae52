"""The convolution block that neck and heads are made of."""

from __future__ import annotations

from torch import nn

GROUP = 8  # channels normalised together: as in the usual 32 groups of 256


def conv_block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, group normalisation, SiLU.

    Group rather than batch normalisation: the heads see box-annotated and mask-annotated images, several scales and
    several processes, and none of them may change another's statistics.

    Args:
        inputs: Channels in.
        outputs: Channels out, a multiple of 8.
        kernel: Side of the kernel, odd.
        stride: Step of the kernel.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.GroupNorm(outputs // GROUP, outputs),
        nn.SiLU(inplace=True),
    )
