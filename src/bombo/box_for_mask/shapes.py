"""Label providers that look at the boxes alone: fill, ellipse and inner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bombo.box_for_mask.painting import Claim, Window, covered, normalised, paint
from bombo.box_for_mask.weak_mask import WeakMask
from bombo.data.label_space import LabelSpace

RIGHT_FILL, RIGHT_ELLIPSE, RIGHT_INNER = 0.6, 0.7, 0.85  # share of right labels in a box (VOC); their weights


@dataclass(frozen=True)
class Fill:
    """The whole box is object (WSSL's Bbox-Rect; Papandreou et al. 2015, arXiv 1502.02734, section 3.3)."""

    @property
    def name(self) -> str:
        """See `LabelProvider`."""
        return "fill"

    def __call__(
        self, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, space: LabelSpace
    ) -> WeakMask:
        """See `LabelProvider`."""

        def claim(row: int, window: Window) -> Claim:
            return _claim(
                np.ones((window[0].stop - window[0].start, window[1].stop - window[1].start), bool), RIGHT_FILL
            )

        return paint((image.shape[0], image.shape[1]), boxes, labels, crowd, space, claim)


@dataclass(frozen=True)
class Ellipse:
    """The ellipse that touches the four sides is object, the corners of the box are not."""

    @property
    def name(self) -> str:
        """See `LabelProvider`."""
        return "ellipse"

    def __call__(
        self, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, space: LabelSpace
    ) -> WeakMask:
        """See `LabelProvider`."""

        def claim(row: int, window: Window) -> Claim:
            return _claim(ellipse(boxes[row], window), RIGHT_ELLIPSE)

        return paint((image.shape[0], image.shape[1]), boxes, labels, crowd, space, claim)


@dataclass(frozen=True)
class Inner:
    """The middle of the box is object, the ring around it says nothing (after SDI's Boxⁱ, Khoreva et al. 2017).

    Args:
        factor: Sides of the middle in sides of the box, above 0, at most 1. SDI's 20 % of the area is 0.45; the
            default labels a third of the object's pixels, 82 % of them rightly (COCO).
    """

    factor: float = 0.5

    @property
    def name(self) -> str:
        """See `LabelProvider`."""
        return f"inner-{self.factor!r}"

    def __call__(
        self, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, space: LabelSpace
    ) -> WeakMask:
        """See `LabelProvider`."""
        size = (image.shape[0], image.shape[1])

        def claim(row: int, window: Window) -> Claim:
            x1, y1, x2, y2 = boxes[row].astype(np.float64)
            low, high = (1 + self.factor) / 2, (1 - self.factor) / 2
            middle = (x1 * low + x2 * high, y1 * low + y2 * high, x1 * high + x2 * low, y1 * high + y2 * low)
            is_object = np.zeros(size, dtype=bool)
            # a side on the border of two pixels stays there: 0.9 and 0.1 are no binary fractions
            is_object[covered(np.round(middle, 6), size)] = True
            return Claim(is_object[window], is_object[window] * np.float32(RIGHT_INNER))

        return paint(size, boxes, labels, crowd, space, claim)


def ellipse(box: np.ndarray, window: Window) -> NDArray[np.bool_]:
    """(h, w) bool: pixels of a window whose centres lie in the ellipse that touches the four sides of a box."""
    down, across = normalised(box, window)
    return np.asarray(down**2 + across**2 <= 1)


def _claim(is_object: NDArray[np.bool_], right: float) -> Claim:
    return Claim(is_object, np.full(is_object.shape, right, dtype=np.float32))
