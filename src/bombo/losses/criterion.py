"""The criterion: everything a training step is asked to make small, by name."""

from __future__ import annotations

from dataclasses import dataclass, field

from bombo.box_for_mask.losses import Rates, box_for_mask_losses, no_rates
from bombo.data.batch import Batch
from bombo.losses.box_regression import BoxLoss
from bombo.losses.detection import detection_losses
from bombo.losses.method import Method
from bombo.losses.segmentation import segmentation_losses
from bombo.losses.self_training import self_training_losses
from bombo.losses.term import Term
from bombo.losses.unlabelled import without_unlabelled
from bombo.mask_for_box.losses import mask_for_box_losses
from bombo.models.network import Predictions


@dataclass(frozen=True)
class Criterion:
    """Composes the supervised losses of both tasks and the weak losses into one dictionary.

    Args:
        box_loss: Distance of predicted boxes.
        detection: Weight of the detection losses, supervised and weak; 0 = not computed.
        segmentation: Weight of the segmentation losses, supervised and weak; 0 = not computed.
        dice: Weight of Dice relative to cross-entropy; 0 = not computed.
        method: Which weak losses, and their weights relative to these.
        rates: Usual filling rates of the thing classes, for the one loss that asks; None = any rate is usual.
    """

    box_loss: BoxLoss = "giou"
    detection: float = 1.0
    segmentation: float = 1.0
    dice: float = 0.0
    method: Method = field(default_factory=Method)
    rates: Rates | None = None

    def __call__(
        self, predictions: Predictions, batch: Batch, teacher: Predictions | None = None, progress: float = 1.0
    ) -> dict[str, Term]:
        """Computes all losses, weighted; their sum is what training minimises.

        Args:
            predictions: The network's, on all images of the batch.
            batch: The images' annotation; what an image does not carry is not asked of it.
            teacher: The EMA network's predictions on the same images, for losses that need them.
            progress: Share of the schedule behind us, 0 to 1.
        """
        predictions = without_unlabelled(predictions, batch.labelled)
        teacher = None if teacher is None else without_unlabelled(teacher, batch.labelled)
        terms: dict[str, Term] = {}
        weights: dict[str, float] = {}
        if self.detection:
            terms |= detection_losses(predictions, batch, box_loss=self.box_loss)
            weights |= {"det_cls": self.detection, "det_box": self.detection}
        if self.segmentation:
            terms |= segmentation_losses(predictions, batch, dice=self.dice > 0)
            weights |= {"seg_ce": self.segmentation, "seg_dice": self.segmentation * self.dice}
        if self.method.weights.any():
            terms |= self._weak(predictions, batch, teacher, progress)
            weights |= self._weak_weights()
        return {name: Term(term.value * weights[name], term.number) for name, term in terms.items()}

    def _weak(
        self, predictions: Predictions, batch: Batch, teacher: Predictions | None, progress: float
    ) -> dict[str, Term]:
        trust = self.method.trust(progress)
        num_things, device = predictions.class_logits.shape[-1], predictions.class_logits.device
        rates = no_rates(num_things, device) if self.rates is None else self.rates
        return (
            box_for_mask_losses(predictions, batch, teacher, self.method, trust, rates)
            | mask_for_box_losses(predictions, batch, teacher, self.method, self.box_loss)
            | self_training_losses(predictions, batch, teacher, self.method, self.box_loss)
        )

    def _weak_weights(self) -> dict[str, float]:
        """Relative to the task each loss teaches."""
        return {
            name: weight * (self.segmentation if name.startswith("b4m") or name == "ssl_mask" else self.detection)
            for name, weight in self.method.weights.by_name().items()
        }
