"""COCO's average precision, streamed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bombo.data.label_space import ANY_CLASS
from bombo.data.sample import BoxAnnotation
from bombo.metrics.detection_log import DetectionLog, mean_over_classes
from bombo.metrics.detections import Detections, box_areas, overlaps

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
AREAS = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)])  # all, small, medium, large; ends included
MAX_DETECTIONS = 100  # per image and class
VERDICT_BITS = 2 * len(AREAS) * len(IOU_THRESHOLDS)  # right or not, wrong or not; neither: ignored


@dataclass(frozen=True)
class CocoResult:
    """Average precisions in 0..1, nan where there is no truth to find.

    Args:
        ap: Mean over classes and IoU .50:.05:.95.
        ap50: Mean over classes at IoU .50.
        ap75: Mean over classes at IoU .75.
        ap_small: As `ap`, objects up to 32² pixels.
        ap_medium: As `ap`, 32² to 96² pixels.
        ap_large: As `ap`, from 96² pixels.
        per_class_ap: (num_classes,) float64.
        per_class_ap50: (num_classes,) float64.
        precision50: (num_classes, 101) float64, precision at recall 0, 0.01 … 1 at IoU .50: the curve under which
            `per_class_ap50` is the area.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    per_class_ap: np.ndarray
    per_class_ap50: np.ndarray
    precision50: np.ndarray


class CocoAP:
    """Average precision by the protocol of pycocotools (https://github.com/cocodataset/cocoapi), with equal figures.

    Each image is judged when it comes and then forgotten; a detection leaves 20 bytes behind. COCO knows neither of
    these, which are judged by the nearest rule it has: a `difficult` truth (VOC's flag) is ignored like one outside the
    area range: found once it counts neither for nor against; a truth labelled `ANY_CLASS` is a crowd of every class.

    Args:
        num_classes: Number of classes with boxes.
    """

    def __init__(self, num_classes: int) -> None:
        self._log = DetectionLog(num_classes, VERDICT_BITS // 8, levels=len(AREAS))

    def update(self, index: int, detections: Detections, truth: BoxAnnotation) -> None:
        """Judges the detections on one image that was annotated for detection.

        Args:
            index: Position of the image in the list; equal scores are ordered by it.
            detections: What was predicted; the 100 surest of each class count.
            truth: What is there.

        Raises:
            ValueError: A label is no class.
        """
        self._log.check_labels(detections.labels, truth.labels)
        surest = _surest(detections)
        boxes, labels = detections.boxes[surest], detections.labels[surest]

        crowd = truth.crowd | (truth.labels == ANY_CLASS)
        ignored = _outside(truth.areas) | truth.difficult | crowd
        overlap = overlaps(boxes, truth.boxes, crowd)
        overlap[(labels[:, None] != truth.labels) & (truth.labels != ANY_CLASS)] = 0
        found, unclear = _match(overlap, ignored, crowd)

        wrong = ~found & ~unclear & ~_outside(box_areas(boxes)).T[:, :, None]
        verdicts = np.packbits(np.stack((found, wrong), axis=1).reshape(len(boxes), VERDICT_BITS), axis=1)
        self._log.add(index, labels, detections.scores[surest], verdicts)
        for positives, left_out in zip(self._log.positives, ignored, strict=True):
            np.add.at(positives, truth.labels[~left_out], 1)

    def merge(self, other: CocoAP) -> None:
        """Adds what another instance saw on other images; exact, in any order.

        Raises:
            ValueError: The number of classes differs.
        """
        self._log.merge(other._log)

    def compute(self) -> CocoResult:
        """The figures over all images seen so far.

        Raises:
            ValueError: An image was counted twice.
        """
        shape = (self._log.num_classes, len(AREAS), len(IOU_THRESHOLDS))
        ap, precision50 = np.full(shape, np.nan), np.full((shape[0], len(RECALLS)), np.nan)
        for label, packed in enumerate(self._log.by_class()):
            found, wrong = np.unpackbits(packed, axis=1).T.reshape(2, *shape[1:], len(packed))
            for area in np.flatnonzero(self._log.positives[:, label]):
                precision = _precision(found[area], wrong[area], self._log.positives[area, label])
                ap[label, area] = precision.mean(axis=1)
                if area == 0:
                    precision50[label] = precision[0]
        return CocoResult(
            ap=mean_over_classes(ap[:, 0]),
            ap50=mean_over_classes(ap[:, 0, 0]),
            ap75=mean_over_classes(ap[:, 0, 5]),
            ap_small=mean_over_classes(ap[:, 1]),
            ap_medium=mean_over_classes(ap[:, 2]),
            ap_large=mean_over_classes(ap[:, 3]),
            per_class_ap=ap[:, 0].mean(axis=1),
            per_class_ap50=ap[:, 0, 0],
            precision50=precision50,
        )


def _surest(detections: Detections) -> np.ndarray:
    order = np.lexsort((-detections.scores.astype(np.float32), detections.labels))
    labels = detections.labels[order]
    rank_in_class = np.arange(len(order)) - np.searchsorted(labels, labels)
    return order[rank_in_class < MAX_DETECTIONS]


def _outside(areas: np.ndarray) -> np.ndarray:
    return (areas < AREAS[:, :1]) | (areas > AREAS[:, 1:])


def _match(overlap: np.ndarray, ignored: np.ndarray, crowd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives each detection in turn the best truth still free, for all area ranges and thresholds at once.

    Args:
        overlap: (N, M) of detections, highest score first, with truths; 0 between different classes.
        ignored: (areas, M) bool.
        crowd: (M,) bool, may be matched any number of times.

    Returns:
        Two (N, areas, thresholds) bool: matched to a truth that counts, and to one that is ignored.
    """
    count = len(crowd)
    # Order of preference: a truth that counts before an ignored one, then the larger overlap, then the later truth.
    rank = np.argsort(np.argsort(overlap, axis=1, kind="stable"), axis=1)
    preference = 1 + rank[:, None] + count * ~ignored
    free = np.ones((len(AREAS), len(IOU_THRESHOLDS), count), dtype=bool)
    found = np.zeros((len(overlap), *free.shape[:2]), dtype=bool)
    unclear = found.copy()
    for row in np.flatnonzero(overlap.max(axis=1, initial=0) >= IOU_THRESHOLDS[0]):
        choice = preference[row][:, None] * (free & (overlap[row] >= IOU_THRESHOLDS[:, None]))
        area, threshold = np.nonzero(choice.any(axis=-1))
        best = choice[area, threshold].argmax(axis=-1)
        found[row, area, threshold] = ~ignored[area, best]
        unclear[row, area, threshold] = ignored[area, best]
        free[area, threshold, best] = crowd[best]
    return found, unclear


def _precision(found: np.ndarray, wrong: np.ndarray, positives: int) -> np.ndarray:
    """Precision at 101 recalls, (thresholds, 101), from verdicts (thresholds, N) ordered by score."""
    hits = found.cumsum(axis=1, dtype=np.int64)
    precision = hits / np.maximum(hits + wrong.cumsum(axis=1, dtype=np.int64), 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.pad(envelope, ((0, 0), (0, 1)))  # beyond the highest recall reached, precision is 0
    rows = zip(envelope, hits / positives, strict=True)
    return np.array([row[np.searchsorted(recall, RECALLS)] for row, recall in rows])
