"""The supervised segmentation losses of a batch."""

from __future__ import annotations

from bombo.data.batch import Batch
from bombo.data.label_space import VOID
from bombo.distributed import count_over_processes
from bombo.losses.cross_entropy import mask_cross_entropy
from bombo.losses.dice import dice_loss
from bombo.losses.resize import upsampled
from bombo.losses.term import Term
from bombo.models.network import Predictions


def segmentation_losses(predictions: Predictions, batch: Batch, *, dice: bool = False) -> dict[str, Term]:
    """Cross-entropy at the resolution of the masks, and Dice if wanted, of the mask-annotated images only.

    Returns:
        `seg_ce`, and `seg_dice` if wanted; their counts are numbers of images.
    """
    masks, logits = batch.masks[batch.has_mask], predictions.mask_logits[batch.has_mask]
    fine = upsampled(logits, (masks.shape[1], masks.shape[2]))
    normaliser = count_over_processes((masks != VOID).sum())
    images = batch.has_mask.sum()
    terms = {"seg_ce": Term(mask_cross_entropy(fine, masks, normaliser), images)}
    if dice:
        terms["seg_dice"] = Term(dice_loss(logits, masks), images)
    return terms
