"""Mean intersection over union of semantic masks, streamed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bombo.data.label_space import VOID


@dataclass(frozen=True)
class IoUResult:
    """Figures in 0..1, nan where undefined.

    Args:
        miou: Mean over the values, background included, that stand anywhere in truth or prediction.
        per_value_iou: (num_values,) float64; nan for a value that stands in neither.
        pixel_accuracy: Share of the pixels that are not void which have the right value.
        confusion: (num_values, num_values) int64 pixels, true value by predicted value.
    """

    miou: float
    per_value_iou: np.ndarray
    pixel_accuracy: float
    confusion: np.ndarray


class MeanIoU:
    """Mean IoU as the VOC devkit counts it: one confusion matrix over all pixels of all images, void left out.

    Args:
        num_values: Number of mask values: background and every class, at most 255.
    """

    def __init__(self, num_values: int) -> None:
        self._confusion = np.zeros((num_values, num_values), dtype=np.int64)  # truth, prediction

    def update(self, prediction: np.ndarray, truth: np.ndarray) -> float:
        """Counts the pixels of one image that was annotated for segmentation.

        Args:
            prediction: (H, W) uint8 in 0..num_values - 1, at the size of the source image.
            truth: (H, W) uint8, the same and 255 for void; void pixels are left out, whatever is predicted there.

        Returns:
            Mean IoU of this image alone, nan where all of it is void.

        Raises:
            ValueError: The sizes differ, or a value is outside its range.
        """
        if prediction.shape != truth.shape:
            raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ in size")
        num_values = len(self._confusion)
        known = truth != VOID
        true, predicted = truth[known], prediction[known]
        for what, values in (("truth", true), ("prediction", predicted)):
            if values.max(initial=0) >= num_values:
                raise ValueError(f"value {values.max()} in the {what} is outside 0..{num_values - 1}")
        pairs = true.astype(np.uint16) * np.uint16(num_values) + predicted  # 255² fits
        confusion = np.bincount(pairs, minlength=num_values**2).reshape(num_values, num_values)
        self._confusion += confusion
        return _mean(_iou(confusion))

    def merge(self, other: MeanIoU) -> None:
        """Adds what another instance saw on other images; exact, in any order.

        Raises:
            ValueError: The number of values differs.
        """
        if self._confusion.shape != other._confusion.shape:
            raise ValueError(f"cannot merge results on {len(other._confusion)} values into {len(self._confusion)}")
        self._confusion += other._confusion

    def compute(self) -> IoUResult:
        """The figures over all images seen so far."""
        iou, pixels = _iou(self._confusion), int(self._confusion.sum())
        accuracy = float(self._confusion.trace() / pixels) if pixels else float("nan")
        return IoUResult(_mean(iou), iou, accuracy, self._confusion.copy())


def _iou(confusion: np.ndarray) -> np.ndarray:
    right = confusion.diagonal()
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - right
    iou: np.ndarray = np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)
    return iou


def _mean(iou: np.ndarray) -> float:
    defined = iou[~np.isnan(iou)]
    return float(defined.mean()) if len(defined) else float("nan")
