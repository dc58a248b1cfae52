"""A mask file that is used in spite of its defects."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bombo.checks.mask_file import SHUFFLED, SIZE, SOFT, UNNAMED, renumbering
from bombo.data.image_io import read_mask_pixels
from bombo.data.masks import MaskFile

MENDABLE = (SIZE, UNNAMED, SOFT, SHUFFLED)
_SAME_SHAPE = 0.02  # sides' ratios may differ by this share: sizes are rounded


@dataclass(frozen=True, eq=False)
class MendedMask:
    """Resized to its image where the shape is the same, renumbered by its colours, void where values have no name."""

    mask: MaskFile

    def load(self, size: tuple[int, int]) -> np.ndarray:
        """See `MaskAnnotation`."""
        path = self.mask.path
        pixels = read_mask_pixels(path)
        numbers = np.arange(256, dtype=np.uint8)
        for value, other in renumbering(path, pixels).items():
            numbers[value] = other
        if pixels.ndim == 2:
            pixels = numbers[pixels]
        height, width = pixels.shape[:2]
        if (height, width) != size:
            if abs(width * size[0] / (height * size[1]) - 1) > _SAME_SHAPE:
                return self.mask.load(size)  # which refuses it
            pixels = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return self.mask.codes.translate(pixels, str(path), unnamed_is_void=True)
