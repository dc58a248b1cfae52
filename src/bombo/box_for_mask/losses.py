"""Box-for-Mask: every loss by which the boxes of an image teach its segmentation."""

from __future__ import annotations

import torch
from torch import Tensor

from bombo.box_for_mask.candidate_sets import candidate_loss, candidate_sets
from bombo.box_for_mask.colour_affinity import affinity_loss
from bombo.box_for_mask.filling_rate import filling_rate_loss
from bombo.box_for_mask.pixel_labels import label_loss
from bombo.box_for_mask.refinement import refine
from bombo.box_for_mask.tightness import tightness_loss
from bombo.data.batch import Batch
from bombo.losses.dice import dice_loss
from bombo.losses.method import Method
from bombo.losses.resize import upsampled
from bombo.losses.term import Term
from bombo.models.network import Predictions

Rates = tuple[Tensor, Tensor]  # usual filling rates of every thing class, lowest and highest


def box_for_mask_losses(
    predictions: Predictions, batch: Batch, teacher: Predictions | None, method: Method, trust: float, rates: Rates
) -> dict[str, Term]:
    """The losses `method` gives a weight, on the images annotated with boxes only.

    Args:
        predictions: The network's.
        batch: With its weak targets.
        teacher: The teacher's, on the images without jitter of colour; None where it is not asked.
        method: Which losses, and whether the teacher judges the labels.
        trust: Trust in the teacher, 0 to 1.
        rates: See `filling_rates`.

    Returns:
        Name → term, without weights.
    """
    derived, wanted = batch.derived, method.weights
    if derived is None or not wanted.any("b4m"):
        return {}
    images = batch.has_boxes & ~batch.has_mask
    boxes, labels, is_target = batch.boxes[images], batch.labels[images], batch.is_target[images]
    logits = predictions.mask_logits[images]
    num_things, num_values = predictions.class_logits.shape[-1], logits.shape[1]
    size, fine = (logits.shape[2], logits.shape[3]), (batch.masks.shape[1], batch.masks.shape[2])
    terms: dict[str, Term] = {}

    if wanted.b4m_label or wanted.b4m_dice:
        masks, weights = derived.masks[images], derived.weights[images]
        if method.masks == "none":
            weights = (weights > 0).to(weights.dtype)
        if teacher is not None and method.masks != "none":
            opinion = upsampled(teacher.mask_logits[images], fine).softmax(1)
            possible = candidate_sets(boxes, labels, num_things, num_values, fine, (1, 1))
            masks, weights = refine(masks, weights, opinion, possible, trust)
        weights = weights * derived.visible[images]
        if wanted.b4m_label:
            terms["b4m_label"] = label_loss(upsampled(logits, fine), masks, weights)
        if wanted.b4m_dice:
            terms["b4m_dice"] = Term(dice_loss(logits, masks.where(weights > 0, 255)), images.sum())

    stride = (fine[0] / size[0], fine[1] / size[1])
    scale = (size[0] / fine[0], size[1] / fine[1])
    candidates = candidate_sets(boxes, labels, num_things, num_values, size, stride)
    visible = _visible(derived.visible[images], size)
    if wanted.b4m_set:
        terms["b4m_set"] = candidate_loss(logits, candidates, visible)
    if wanted.b4m_row:
        terms["b4m_row"] = tightness_loss(logits, boxes, labels, is_target, scale)
    if wanted.b4m_pair:
        inside = candidates[:, 1 : num_things + 1].any(1)
        terms["b4m_pair"] = affinity_loss(logits, derived.plain[images], inside, visible)
    if wanted.b4m_fill:
        terms["b4m_fill"] = filling_rate_loss(logits, boxes, labels, is_target, *rates, scale)
    return terms


def _visible(visible: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, h, w) bool: cells without padding."""
    cells = visible.reshape(len(visible), size[0], visible.shape[1] // size[0], size[1], visible.shape[2] // size[1])
    return cells.all(4).all(2)


def no_rates(num_things: int, device: torch.device) -> Rates:
    """A band that every filling rate lies in."""
    return torch.zeros(num_things, device=device), torch.ones(num_things, device=device)
