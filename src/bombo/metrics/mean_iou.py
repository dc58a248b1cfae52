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
    """

    miou: float
    per_value_iou: np.ndarray
    pixel_accuracy: float


class MeanIoU:
    """Mean IoU as the VOC devkit counts it: one confusion matrix over all pixels of all images, void left out.

    Args:
        num_values: Number of mask values: background and every class, at most 255.
    """

    def __init__(self, num_values: int) -> None:
        self._confusion = np.zeros((num_values, num_values), dtype=np.int64)  # truth, prediction

    def update(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Counts the pixels of one image that was annotated for segmentation.

        Args:
            prediction: (H, W) uint8 in 0..num_values - 1, at the size of the source image.
            truth: (H, W) uint8, the same and 255 for void; void pixels are left out, whatever is predicted there.

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
        self._confusion += np.bincount(pairs, minlength=num_values**2).reshape(num_values, num_values)

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
        right = self._confusion.diagonal()
        union = self._confusion.sum(axis=0) + self._confusion.sum(axis=1) - right
        iou = np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)
        pixels = int(self._confusion.sum())
        if pixels == 0:
            return IoUResult(float("nan"), iou, float("nan"))
        return IoUResult(float(np.nanmean(iou)), iou, float(right.sum() / pixels))
