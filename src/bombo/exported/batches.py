"""Feeding a file that takes a fixed number of images at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Outputs = dict[str, Tensor]


def in_batches(run: Callable[[Tensor], Outputs], images: Tensor, size: int | None) -> Outputs:
    """Runs images (B, 3, H, W) in batches of `size`, the last filled up, or all at once where `size` is None.

    Returns:
        The outputs by name, B rows each.
    """
    size = size or len(images)
    full = torch.cat((images, images[:1].expand(-len(images) % size, -1, -1, -1)))
    outputs = joined([run(part) for part in full.split(size)])
    return {name: value if name == "anchors" else value[: len(images)] for name, value in outputs.items()}


def joined(parts: Sequence[Outputs]) -> Outputs:
    """The outputs of several batches as those of one; `anchors` (A, 4) are the same in all."""
    return {
        name: value if name == "anchors" else torch.cat([part[name] for part in parts])
        for name, value in parts[0].items()
    }
