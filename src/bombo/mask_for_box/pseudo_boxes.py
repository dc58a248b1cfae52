"""Boxes worked out from masks, and how far to trust them."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

SURE = 0.6  # weights from here on were right in more than 95 % of cases; below, a box says nothing about its sides
ALONE = 0.5  # of a component that no prediction confirms: 60 to 90 % are objects, the rest groups and fragments


class PseudoBoxes(NamedTuple):
    """Pseudo-boxes of a batch, P slots per image.

    Attributes:
        boxes: (B, P, 4) xyxy input pixels; zero rows are empty slots, others without a weight are regions, in which no
            anchor is a negative of their class.
        labels: (B, P) int64 class index.
        weights: (B, P) 0 to 1, near the probability that the box is right; 0 in empty slots and regions.
        sides: (B, P, 4) bool, which of x1, y1, x2, y2 are known well enough to be learned.
        regions: (B, M, 4) the components all this came from; zero rows are padding.
        region_labels: (B, M) their classes.
        trust: (B, M) how far it is true that a component holds these boxes and no others, 0 to 1.
    """

    boxes: Tensor
    labels: Tensor
    weights: Tensor
    sides: Tensor
    regions: Tensor
    region_labels: Tensor
    trust: Tensor

    @classmethod
    def of_components(cls, boxes: Tensor, labels: Tensor, weight: float) -> Self:
        """Components as they are.

        Args:
            boxes: (B, M, 4), zero rows are padding.
            labels: (B, M).
            weight: Trust in each of them; their sides are learned from `SURE` on.
        """
        weights = (boxes[..., 2:] > boxes[..., :2]).all(-1).float() * weight
        return cls(boxes, labels, weights, (weights >= SURE)[..., None].expand_as(boxes), boxes, labels, weights)

    def hard(self) -> Self:
        """The same boxes, every one trusted without reserve."""
        used = self.weights > 0
        return self._replace(
            weights=used.float(), sides=used[..., None].expand_as(self.boxes), trust=torch.ones_like(self.trust)
        )

    def beside(self, regions: Tensor) -> Self:
        """The same boxes, and regions in empty slots: objects are there, but too little of them is seen to learn.

        Args:
            regions: (B, M, 4), zero rows where the component is none.
        """
        slots = self.boxes.clone()
        slots[:, : regions.shape[1]] += regions
        return self._replace(boxes=slots)


class Proposals(NamedTuple):
    """A teacher's detections, best first: boxes (B, D, 4) input pixels, scores and labels (B, D); zeros are padding."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def intersection(first: Tensor, second: Tensor) -> Tensor:
    """(B, N, 4), (B, M, 4) → (B, N, M) shared area."""
    low = torch.maximum(first[:, :, None, :2], second[:, None, :, :2])
    high = torch.minimum(first[:, :, None, 2:], second[:, None, :, 2:])
    return (high - low).clamp(min=0).prod(-1)


def area(boxes: Tensor) -> Tensor:
    """(..., 4) → (...)."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
