"""How right masks are that say nothing of some pixels, such as pseudo-masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bombo.data.label_space import VOID
from bombo.metrics.mean_iou import MeanIoU


@dataclass
class MaskQuality:
    """Judges masks where they speak, and counts how often they do, inside the boxes and over all.

    Args:
        iou: Counts the pixels that have a label in both masks.
        pixels: Pixels that have a label in the true mask.
        spoken: Of these, how many were given one.
        inside: Pixels in boxes that have a label in the true mask.
        labelled: Of these, how many were given one.
        right: Of these, how many were given the right one.
    """

    iou: MeanIoU
    pixels: int = 0
    spoken: int = 0
    inside: int = 0
    labelled: int = 0
    right: int = 0

    def update(self, values: np.ndarray, truth: np.ndarray, inside: np.ndarray) -> None:
        """Counts one image.

        Args:
            values: (H, W) uint8 mask to judge; 255 says nothing.
            truth: (H, W) uint8 true mask; pixels of 255 are left out.
            inside: (H, W) bool, True in boxes.
        """
        says, known = values != VOID, truth != VOID
        self.iou.update(np.where(says, values, 0).astype(np.uint8), np.where(says, truth, VOID).astype(np.uint8))
        self.pixels += int(known.sum())
        self.spoken += int((known & says).sum())
        counted = inside & known
        self.inside += int(counted.sum())
        self.labelled += int((counted & says).sum())
        self.right += int((counted & says & (values == truth)).sum())

    @property
    def miou(self) -> float:
        """Mean IoU over the pixels that were given a label; NaN without any."""
        return self.iou.compute().miou

    @property
    def coverage(self) -> float:
        """Share of the pixels that were given a label; NaN without any."""
        return self.spoken / self.pixels if self.pixels else float("nan")
