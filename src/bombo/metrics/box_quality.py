"""Recall and precision of boxes that have no scores, such as pseudo-boxes."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor
from torchvision.ops import box_iou

THRESHOLDS = (0.5, 0.75)


@dataclass
class BoxQuality:
    """Counts matches of boxes with the true ones of their class, greedily by IoU, one to one, at IoU 0.5 and 0.75."""

    boxes: int = 0
    true: int = 0
    matched: dict[float, int] = field(default_factory=lambda: dict.fromkeys(THRESHOLDS, 0))

    def update(self, boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> None:
        """Counts one image.

        Args:
            boxes: (N, 4) xyxy.
            labels: (N,) class index.
            true_boxes: (M, 4) xyxy.
            true_labels: (M,) class index.
        """
        self.boxes += len(boxes)
        self.true += len(true_boxes)
        if not len(boxes) or not len(true_boxes):
            return
        iou = box_iou(boxes, true_boxes) * (labels[:, None] == true_labels)
        while (best := float(iou.max())) >= THRESHOLDS[0]:
            row, column = divmod(int(iou.argmax()), iou.shape[1])
            for threshold in THRESHOLDS:
                self.matched[threshold] += best >= threshold
            iou[row], iou[:, column] = 0, 0

    def recall(self, threshold: float) -> float:
        """Share of the true boxes that were found; NaN without any."""
        return self.matched[threshold] / self.true if self.true else float("nan")

    def precision(self, threshold: float) -> float:
        """Share of the boxes that are right; NaN without any."""
        return self.matched[threshold] / self.boxes if self.boxes else float("nan")
