"""Predictions on one image, and how boxes overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Detections:
    """The objects a network claims to see in one image.

    Args:
        boxes: (N, 4) float32, xyxy in pixels of the source image; edges, so that width = x2 - x1.
        scores: (N,) float32, higher is surer; any order.
        labels: (N,) int64 class index.

    Raises:
        ValueError: Shapes disagree.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.labels)
        if self.boxes.shape != (count, 4) or self.scores.shape != (count,) or self.labels.shape != (count,):
            raise ValueError(
                f"boxes {self.boxes.shape}, scores {self.scores.shape} and labels {self.labels.shape} "
                "are not (N, 4), (N,) and (N,)"
            )

    def __len__(self) -> int:
        return len(self.labels)


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """Areas (N,) float64 of xyxy boxes (N, 4)."""
    width, height = (boxes[:, 2:].astype(np.float64) - boxes[:, :2]).T
    areas: np.ndarray = width * height
    return areas


def overlaps(boxes: np.ndarray, truths: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """How much each box overlaps each truth.

    Args:
        boxes: (N, 4) xyxy.
        truths: (M, 4) xyxy.
        regions: (M,) bool; a region may hold many objects, so against it a box is measured by the share of its own
            area that lies inside (COCO's rule for crowds), against other truths by intersection over union.

    Returns:
        (N, M) float64 in 0..1.
    """
    one, other = boxes.astype(np.float64)[:, None], truths.astype(np.float64)[None]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    intersection = np.prod(sides.clip(min=0), axis=-1)
    own = np.broadcast_to(box_areas(boxes)[:, None], intersection.shape)
    whole = np.where(regions, own, own + box_areas(truths) - intersection)
    share: np.ndarray = np.zeros(intersection.shape)
    np.divide(intersection, whole, out=share, where=intersection > 0)
    return share
