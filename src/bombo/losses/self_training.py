"""The semi-supervised baseline: the teacher fills in the missing task, without a look at the other annotation."""

from __future__ import annotations

import torch
from torch import Tensor

from bombo.box_for_mask.pixel_labels import label_loss
from bombo.data.batch import Batch
from bombo.data.label_space import VOID
from bombo.losses.box_regression import BoxLoss
from bombo.losses.method import Method
from bombo.losses.resize import upsampled
from bombo.losses.term import Term
from bombo.mask_for_box.losses import box_stream_positives, proposals
from bombo.mask_for_box.pseudo_box_loss import pseudo_box_losses
from bombo.mask_for_box.pseudo_boxes import PseudoBoxes
from bombo.models.network import Predictions

SURE_PIXEL = 0.9  # probability from which a pixel's label is used
SURE_BOX, POSSIBLE_BOX = 0.5, 0.2  # score from which a detection is a target; below it, no anchor on it is a negative


def self_training_losses(
    predictions: Predictions, batch: Batch, teacher: Predictions | None, method: Method, box_loss: BoxLoss
) -> dict[str, Term]:
    """Thresholded pseudo-labels, as in FixMatch (Sohn et al. 2020, arXiv 2001.07685) and its kin for detection.

    The fair comparison for the weak losses: same teacher, same images, but what boxes say of masks and masks of boxes
    is left unused.

    Args:
        predictions: The network's.
        batch: The batch.
        teacher: The teacher's, on the images without jitter of colour; None where it is not asked yet.
        method: Which losses have a weight.
        box_loss: Distance of predicted boxes.

    Returns:
        Name → term, without weights.
    """
    wanted, derived = method.weights, batch.derived
    if teacher is None or derived is None or not wanted.any("ssl"):
        return {}
    terms: dict[str, Term] = {}
    if wanted.ssl_mask:
        images = ~batch.has_mask
        fine = (batch.masks.shape[1], batch.masks.shape[2])
        labels = _sure_pixels(upsampled(teacher.mask_logits[images], fine), derived.visible[images])
        logits = upsampled(predictions.mask_logits[images], fine)
        terms["ssl_mask"] = label_loss(logits, labels, torch.ones_like(labels, dtype=logits.dtype))
    if wanted.ssl_cls or wanted.ssl_box:
        images = ~batch.has_boxes
        own = predictions.of(images)
        pseudo = _sure_boxes(teacher.of(images), batch.masks.shape[1:])
        normaliser = box_stream_positives(predictions, batch, images, pseudo)
        classes, boxes = pseudo_box_losses(
            own.class_logits, own.box_deltas, own.anchors, pseudo, normaliser, box_loss=box_loss
        )
        terms |= {"ssl_cls": classes} if wanted.ssl_cls else {}
        terms |= {"ssl_box": boxes} if wanted.ssl_box else {}
    return terms


def _sure_pixels(logits: Tensor, visible: Tensor) -> Tensor:
    probability, label = logits.softmax(1).max(1)
    return label.to(torch.uint8).where((probability >= SURE_PIXEL) & visible, VOID)


def _sure_boxes(teacher: Predictions, size: torch.Size) -> PseudoBoxes:
    boxes, scores, labels = proposals(teacher, size, min_score=POSSIBLE_BOX)
    weights = (scores >= SURE_BOX).float()
    doubtful = (scores < SURE_BOX) & (scores > 0)
    return PseudoBoxes(
        boxes * weights[..., None],
        labels,
        weights,
        (weights > 0)[..., None].expand_as(boxes),
        regions=boxes * doubtful[..., None],
        region_labels=labels,
        trust=torch.zeros_like(weights),
    )
