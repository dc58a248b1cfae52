"""Agreement of two label providers: what only one of them says is not said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bombo.box_for_mask.weak_mask import LabelProvider, WeakMask
from bombo.data.label_space import VOID, LabelSpace


@dataclass(frozen=True)
class Agreement:
    """Keeps the labels two providers share (after SDI's M∩G+, Khoreva et al. 2017, arXiv 1603.07485); the rest is void.

    Their weights are combined as those of independent witnesses of a yes-or-no question.

    Args:
        first: One provider.
        second: Another one.
    """

    first: LabelProvider
    second: LabelProvider

    @property
    def name(self) -> str:
        """See `LabelProvider`."""
        return f"{self.first.name}+{self.second.name}"

    def __call__(
        self, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, space: LabelSpace
    ) -> WeakMask:
        """See `LabelProvider`."""
        one = self.first(image, boxes, labels, crowd, space)
        other = self.second(image, boxes, labels, crowd, space)
        agreed = (one.values == other.values) & (one.values != VOID)
        both = one.weights * other.weights
        neither = (1 - one.weights) * (1 - other.weights)
        weights = np.where(agreed, both / np.maximum(both + neither, 1e-6), 0).astype(np.float32)
        return WeakMask(np.where(agreed, one.values, VOID).astype(np.uint8), weights)
