"""A mask made elsewhere, by SAM or a person in a hurry: it may speak where the boxes allow it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bombo.box_for_mask.painting import union
from bombo.box_for_mask.weak_mask import WeakMask
from bombo.data.image_io import read_mask_pixels
from bombo.data.label_space import ANY_CLASS, BACKGROUND, VOID, LabelSpace
from bombo.errors import DataError

RIGHT = 0.9  # weight inside boxes: an assumption, that such masks are better than GrabCut's (0.84) but not perfect


@dataclass(frozen=True)
class MaskFile:
    """Provides the mask of one image from a file of mask values: 0 background, class index + 1, 255 void.

    A class outside all boxes of that class is void, as are crowds and boxes of any class. Outside every box the boxes
    decide, as for all providers.

    Args:
        path: The file, an index or palette PNG.
    """

    path: Path

    @property
    def name(self) -> str:
        """See `LabelProvider`."""
        return f"file-{self.path}"

    def __call__(
        self, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, space: LabelSpace
    ) -> WeakMask:
        """See `LabelProvider`.

        Raises:
            DataError: The file is missing, of another size, or holds values that are no class.
        """
        size = (image.shape[0], image.shape[1])
        values = read_mask_pixels(self.path)
        if values.shape != size:
            shape = "×".join(str(n) for n in reversed(values.shape))
            raise DataError(
                f"the mask is {shape}, its image {size[1]}×{size[0]}",
                where=str(self.path),
                fix="write mask values (0 background, class index + 1, 255 void), one per pixel of the image",
            )
        known = np.isin(values, [*range(space.num_mask_values), VOID])
        if not known.all():
            raise DataError(
                f"the mask holds {values[~known][0]}, which is no class",
                where=str(self.path),
                fix=f"values are 0 (background), 1 to {len(space.names)} ({', '.join(space.names)}), and 255 (void)",
            )
        return _within_boxes(values, boxes, labels, crowd, space)


def _within_boxes(
    values: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, space: LabelSpace
) -> WeakMask:
    size = (values.shape[0], values.shape[1])
    silent = crowd | (labels == ANY_CLASS)
    inside = union(boxes, size)
    possible = ~union(boxes[silent], size)
    for label in range(space.num_things):
        possible &= (values != label + 1) | union(boxes[(labels == label) & ~silent], size)
    result = np.where(possible, values, VOID).astype(np.uint8)
    if not space.stuff:
        result[~inside] = BACKGROUND
    weights = np.where(inside | bool(space.stuff), np.float32(RIGHT), np.float32(1))
    weights[result == VOID] = 0
    return WeakMask(result, weights)
