"""What evaluation remembers of each detection, so that images can be forgotten at once."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from bombo.data.label_space import ANY_CLASS


class DetectionLog:
    """Judged detections of many images: a few bytes each, whatever the size of the images.

    Precision and recall are about the order of all detections by score, so something of each must stay until the end:
    its class, score, image, and the verdict as packed bits. Detections of equal score stand in the order of their
    images, and within an image in the order they were added; the order in which images or shards come has no influence.

    Args:
        num_classes: Number of classes.
        verdict_bytes: Bytes of one verdict.
        levels: Number of rows in which truths are counted.
    """

    def __init__(self, num_classes: int, verdict_bytes: int, levels: int = 1) -> None:
        self.num_classes = num_classes
        self.positives = np.zeros((levels, num_classes), dtype=np.int64)  # truths that should be found
        verdict = ("verdict", np.uint8, (verdict_bytes,))
        self._record = np.dtype([("image", np.int32), ("label", np.uint16), ("score", np.float32), verdict])
        self._records = bytearray()  # grows in place, and pickles as what it is
        self._images = array("i")

    def check_labels(self, detected: np.ndarray, annotated: np.ndarray) -> None:
        """Refuses labels that are no class.

        Raises:
            ValueError: A detection's label is outside 0..num_classes - 1, or a truth's is and is not `ANY_CLASS`.
        """
        for what, labels, lowest in (("detection", detected, 0), ("truth", annotated, ANY_CLASS)):
            wrong = labels[(labels < lowest) | (labels >= self.num_classes)]
            if len(wrong):
                raise ValueError(f"label {wrong[0]} of a {what} is outside {lowest}..{self.num_classes - 1}")

    def add(self, image: int, labels: np.ndarray, scores: np.ndarray, verdicts: np.ndarray) -> None:
        """Notes one image.

        Args:
            image: Position of the image in the list.
            labels: (N,) class index.
            scores: (N,) any float; kept as float32.
            verdicts: (N, verdict_bytes) uint8.
        """
        records = np.empty(len(labels), dtype=self._record)
        records["image"], records["label"], records["score"], records["verdict"] = image, labels, scores, verdicts
        self._images.append(image)
        self._records += records.tobytes()

    def merge(self, other: DetectionLog) -> None:
        """Adds what another log saw on other images.

        Raises:
            ValueError: The logs count different numbers of classes.
        """
        if self.num_classes != other.num_classes:
            raise ValueError(f"cannot merge results on {other.num_classes} classes into {self.num_classes}")
        self.positives += other.positives
        self._records += other._records
        self._images += other._images

    def by_class(self) -> Iterator[np.ndarray]:
        """Verdicts (N_c, verdict_bytes) of each class in turn, highest score first.

        Raises:
            ValueError: An image was counted twice.
        """
        images, counts = np.unique(np.asarray(self._images, dtype=np.int64), return_counts=True)
        if (counts > 1).any():
            raise ValueError(f"image {images[counts > 1][0]} was counted {counts.max()} times; shards must not overlap")
        records = np.frombuffer(bytes(self._records), dtype=self._record)
        order = np.lexsort((records["image"], -records["score"], records["label"]))  # stable
        ends = np.searchsorted(records["label"][order], np.arange(self.num_classes + 1))
        for start, end in pairwise(ends):
            yield records["verdict"][order[start:end]]


def mean_over_classes(ap: np.ndarray) -> float:
    """Mean of the values that are not nan; nan where all are."""
    defined = ap[~np.isnan(ap)]
    return float(defined.mean()) if len(defined) else float("nan")
