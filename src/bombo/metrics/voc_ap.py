"""PASCAL VOC's average precision at IoU 0.5, streamed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bombo.data.label_space import ANY_CLASS
from bombo.data.sample import BoxAnnotation
from bombo.metrics.detection_log import DetectionLog, mean_over_classes
from bombo.metrics.detections import Detections, overlaps

IOU_THRESHOLD = 0.5
ELEVEN_RECALLS = np.arange(11) / 10  # correctly rounded, so that a recall of exactly 3 / 10 reaches its point


@dataclass(frozen=True)
class VocResult:
    """Average precisions in 0..1, nan where there is no truth to find.

    Args:
        ap50_11point: Mean over classes of the precision at recall 0, 0.1 … 1 (VOC 2007).
        ap50_allpoint: Mean over classes of the area under the monotone precision-recall curve (VOC 2010 and later).
        per_class_11point: (num_classes,) float64.
        per_class_allpoint: (num_classes,) float64.
    """

    ap50_11point: float
    ap50_allpoint: float
    per_class_11point: np.ndarray
    per_class_allpoint: np.ndarray


class VocAP:
    """Average precision by the protocol of the VOC devkit (http://host.robots.ox.ac.uk/pascal/VOC/).

    A detection belongs to the truth of its class that it overlaps most. From IoU 0.5, the surest one of a truth is
    right and every other a duplicate, thus wrong; below 0.5 it is wrong. On a `difficult` truth it counts neither way.
    The devkit's `+1` on every width gives the same IoU as edge coordinates do. VOC has no crowds; they are taken as
    difficult. A detection without a truth that lies at least half in an `ANY_CLASS` region counts neither way.

    An image is forgotten once it is judged; a detection leaves 11 bytes behind.

    Args:
        num_classes: Number of classes with boxes.
    """

    def __init__(self, num_classes: int) -> None:
        self._log = DetectionLog(num_classes, verdict_bytes=1)

    def update(self, index: int, detections: Detections, truth: BoxAnnotation) -> None:
        """Judges the detections on one image that was annotated for detection.

        Args:
            index: Position of the image in the list; equal scores are ordered by it.
            detections: What was predicted; all of it counts, the devkit has no limit.
            truth: What is there.

        Raises:
            ValueError: A label is no class.
        """
        self._log.check_labels(detections.labels, truth.labels)
        order = np.argsort(-detections.scores.astype(np.float32), kind="stable")
        labels = detections.labels[order]

        region = truth.labels == ANY_CLASS
        counts = ~(truth.difficult | truth.crowd | region)
        overlap = overlaps(detections.boxes[order], truth.boxes, region)
        excused = overlap[:, region].max(axis=1, initial=0) >= IOU_THRESHOLD
        overlap[labels[:, None] != truth.labels] = 0

        matched = overlap.max(axis=1, initial=0) >= IOU_THRESHOLD
        right = np.zeros(len(order), dtype=bool)
        if matched.any():
            best = overlap.argmax(axis=1)
            excused = np.where(matched, ~counts[best], excused)
            claims = np.flatnonzero(matched & ~excused)
            right[claims[np.unique(best[claims], return_index=True)[1]]] = True  # the first, thus surest, claim

        kept = ~excused
        self._log.add(index, labels[kept], detections.scores[order][kept], right[kept, None])
        np.add.at(self._log.positives[0], truth.labels[counts], 1)

    def merge(self, other: VocAP) -> None:
        """Adds what another instance saw on other images; exact, in any order.

        Raises:
            ValueError: The number of classes differs.
        """
        self._log.merge(other._log)

    def compute(self) -> VocResult:
        """The figures over all images seen so far.

        Raises:
            ValueError: An image was counted twice.
        """
        pairs = zip(self._log.by_class(), self._log.positives[0], strict=True)
        curves = np.array([_average_precisions(verdicts[:, 0], positives) for verdicts, positives in pairs])
        eleven, every = curves.reshape(-1, 2).T  # (0, 2) without classes
        return VocResult(mean_over_classes(eleven), mean_over_classes(every), eleven, every)


def _average_precisions(right: np.ndarray, positives: int) -> tuple[float, float]:
    """11-point and all-point average precision from verdicts (N,) ordered by score."""
    if positives == 0:
        return float("nan"), float("nan")
    hits = right.cumsum(dtype=np.int64)
    precision = hits / np.arange(1, len(right) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)  # beyond the highest recall reached: 0
    recall = hits / positives
    eleven = envelope[np.searchsorted(recall, ELEVEN_RECALLS)].mean()
    return float(eleven), float((np.diff(recall, prepend=0) * envelope[:-1]).sum())
