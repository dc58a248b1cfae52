"""What the boxes of one image say about its pixels, and what makes such a mask."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from bombo.data.label_space import LabelSpace


class WeakMask(NamedTuple):
    """A semantic mask that is partly a guess.

    Attributes:
        values: (H, W) uint8 in the values of the label space: 0 background, class index + 1, 255 = says nothing.
        weights: (H, W) float32, 0 to 1: the probability that the value is right; 0 where it says nothing.
    """

    values: np.ndarray
    weights: np.ndarray


class LabelProvider(Protocol):
    """Makes a mask from boxes, by the same rules whatever the provider.

    - Outside every box is background, certainly; or unknown where the label space has stuff.
    - What is no object inside a box is the same.
    - A crowd, and a box of `ANY_CLASS`, say nothing about the pixels inside.
    - Where the objects of two boxes claim a pixel, the smaller box is on top.
    - A box that smaller ones do not cover wholly keeps at least one pixel, unless the provider declines to speak.
    - A box's sides are edges: it covers a pixel when it covers its centre; along an axis where it covers none, the
      pixels it touches. So only what lies outside the image vanishes.
    """

    @property
    def name(self) -> str:
        """Names the provider in messages, and its masks on disk: no two settings share a name."""
        ...

    def __call__(
        self, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, space: LabelSpace
    ) -> WeakMask:
        """Makes the mask; the same arguments give the same mask.

        Args:
            image: (H, W, 3) uint8 RGB.
            boxes: (N, 4) float32 xyxy pixels, edges.
            labels: (N,) int64 class index, or `ANY_CLASS`.
            crowd: (N,) bool.
            space: The label space.
        """
        ...
