"""Which things are taken for which: the confusion matrix of detection, streamed."""

from __future__ import annotations

import numpy as np

from bombo.data.label_space import ANY_CLASS
from bombo.data.sample import BoxAnnotation
from bombo.metrics.detections import Detections, overlaps

IOU_THRESHOLD = 0.5
MIN_SCORE = 0.3  # what `bombo predict` shows


class BoxConfusion:
    """Counts pairs of an object and the detection that claims it; `counts` holds them.

    Detections of the object's own class choose first, the surest before the others, each the free object it overlaps
    most; what is left then claims free objects of any class in the same way. `difficult` objects, crowds and
    `ANY_CLASS` regions are no objects here, and a detection on one is not counted.

    Args:
        num_classes: Number of classes with boxes.
        min_score: Detections below this score are left out.

    Attributes:
        counts: (num_classes + 1, num_classes + 1) int64, true class by detected class. The last row counts detections
            without an object, the last column objects that were missed.
    """

    def __init__(self, num_classes: int, min_score: float = MIN_SCORE) -> None:
        self.min_score = min_score
        self.counts = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)

    def update(self, detections: Detections, truth: BoxAnnotation) -> float:
        """Counts one image that was annotated for detection.

        Args:
            detections: What was predicted, in any order.
            truth: What is there.

        Returns:
            F1 of this image: the share of its detections and objects that are paired and of one class, 1 where there is
            neither.
        """
        order = np.argsort(-detections.scores, kind="stable")
        order = order[detections.scores[order] >= self.min_score]
        region = truth.crowd | (truth.labels == ANY_CLASS)
        ignored = truth.difficult | region
        overlap = overlaps(detections.boxes[order], truth.boxes, region)
        labels, objects = detections.labels[order], np.flatnonzero(~ignored)
        claims, pairs = overlap[:, objects], np.zeros_like(self.counts)
        claimed = _claim(np.where(labels[:, None] == truth.labels[objects], claims, 0))
        rest = claims.copy()
        rest[claimed >= 0], rest[:, claimed[claimed >= 0]] = 0, 0
        claimed = np.maximum(claimed, _claim(rest))

        found = claimed >= 0
        nothing = len(self.counts) - 1
        np.add.at(pairs, (truth.labels[objects[claimed[found]]], labels[found]), 1)
        excused = overlap[:, ignored].max(axis=1, initial=0) >= IOU_THRESHOLD
        np.add.at(pairs[nothing], labels[~found & ~excused], 1)
        np.add.at(pairs[:, nothing], np.delete(truth.labels[objects], claimed[found]), 1)
        self.counts += pairs
        both = int(pairs[:, :nothing].sum() + pairs[:nothing].sum())
        return 2 * int(pairs.trace()) / both if both else 1.0

    def merge(self, other: BoxConfusion) -> None:
        """Adds what another instance saw on other images; exact, in any order.

        Raises:
            ValueError: The number of classes or the lowest score differs.
        """
        if (self.counts.shape, self.min_score) != (other.counts.shape, other.min_score):
            raise ValueError("cannot merge confusion matrices of other classes or scores")
        self.counts += other.counts


def _claim(overlap: np.ndarray) -> np.ndarray:
    """The object (N,) each detection gets, in their order, -1 for none; (N, M) overlaps, 0 where it may not have it."""
    free = overlap.copy()
    claimed = np.full(len(overlap), -1)
    for row in np.flatnonzero(overlap.max(axis=1, initial=0) >= IOU_THRESHOLD):
        best = free[row].argmax()
        if free[row, best] >= IOU_THRESHOLD:
            claimed[row] = best
            free[:, best] = 0
    return claimed
