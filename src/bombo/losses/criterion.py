"""The criterion: everything a training step is asked to make small, by name."""

from __future__ import annotations

from dataclasses import dataclass

from bombo.data.batch import Batch
from bombo.losses.box_regression import BoxLoss
from bombo.losses.detection import detection_losses
from bombo.losses.segmentation import segmentation_losses
from bombo.losses.term import Term
from bombo.models.network import Predictions


@dataclass(frozen=True)
class Criterion:
    """Composes the losses of both tasks into one dictionary; weak losses join it here.

    Args:
        box_loss: Distance of predicted boxes.
        detection: Weight of the detection losses; 0 = not computed.
        segmentation: Weight of the segmentation losses; 0 = not computed.
        dice: Weight of Dice relative to cross-entropy; 0 = not computed.
    """

    box_loss: BoxLoss = "giou"
    detection: float = 1.0
    segmentation: float = 1.0
    dice: float = 0.0

    def __call__(self, predictions: Predictions, batch: Batch, teacher: Predictions | None = None) -> dict[str, Term]:
        """Computes all losses, weighted; their sum is what training minimises.

        Args:
            predictions: The network's, on all images of the batch.
            batch: The images' annotation; what an image does not carry is not asked of it.
            teacher: The EMA network's predictions on the same images, for losses that need them.
        """
        terms: dict[str, Term] = {}
        weights: dict[str, float] = {}
        if self.detection:
            terms |= detection_losses(predictions, batch, box_loss=self.box_loss)
            weights |= {"det_cls": self.detection, "det_box": self.detection}
        if self.segmentation:
            terms |= segmentation_losses(predictions, batch, dice=self.dice > 0)
            weights |= {"seg_ce": self.segmentation, "seg_dice": self.segmentation * self.dice}
        return {name: Term(term.value * weights[name], term.number) for name, term in terms.items()}
