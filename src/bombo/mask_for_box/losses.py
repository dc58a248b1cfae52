"""Mask-for-Box: every loss by which the mask of an image teaches its detection."""

from __future__ import annotations

import torch
from torch import Tensor

from bombo.data.batch import Batch
from bombo.distributed import count_over_processes, sum_over_processes, world
from bombo.losses.box_regression import BoxLoss
from bombo.losses.method import Method
from bombo.losses.term import Term
from bombo.mask_for_box.certain_negatives import certain_negatives, negative_loss
from bombo.mask_for_box.containment import containment_loss
from bombo.mask_for_box.evidence import hidden_anchors
from bombo.mask_for_box.presence import presence_loss
from bombo.mask_for_box.pseudo_box_loss import pseudo_box_losses
from bombo.mask_for_box.pseudo_boxes import SURE, Proposals, PseudoBoxes
from bombo.mask_for_box.refinement import refine
from bombo.models.box_coding import decode
from bombo.models.matching import match
from bombo.models.network import Predictions
from bombo.models.postprocess import detect
from bombo.models.precision import at_least_float32

MIN_SCORE = 0.3  # of a prediction that may judge a component; the mask itself weeds out the wrong ones
MOST = 30  # predictions per image
UNJUDGED = 0.8  # trust in a component before the teacher is asked: 90 % of VOC's were right


def mask_for_box_losses(
    predictions: Predictions, batch: Batch, teacher: Predictions | None, method: Method, box_loss: BoxLoss
) -> dict[str, Term]:
    """The losses `method` gives a weight, on the images annotated with masks only.

    Args:
        predictions: The network's.
        batch: With its weak targets.
        teacher: The teacher's, on the images without jitter of colour; None where it is not asked.
        method: Which losses, and how the teacher judges components.
        box_loss: Distance of predicted boxes.

    Returns:
        Name → term, without weights.
    """
    derived, wanted = batch.derived, method.weights
    if derived is None or not wanted.any("m4b"):
        return {}
    images = batch.has_mask & ~batch.has_boxes
    own, masks = predictions.of(images), batch.masks[images]
    targets, labels = derived.is_target[images], derived.labels[images]
    components = derived.boxes[images] * targets[..., None]
    pseudo = PseudoBoxes.of_components(components, labels, UNJUDGED)
    if teacher is not None and method.boxes != "none":
        pseudo = refine(components, labels, proposals(teacher.of(images), masks.shape[1:]), masks)
    sure = pseudo.trust >= SURE
    if method.boxes != "weighted":
        pseudo = pseudo.hard()
    pseudo = pseudo.beside(derived.boxes[images] * ~targets[..., None])
    normaliser = box_stream_positives(predictions, batch, images, pseudo)
    terms: dict[str, Term] = {}
    if wanted.m4b_cls or wanted.m4b_box:
        classes, boxes = pseudo_box_losses(
            own.class_logits,
            own.box_deltas,
            own.anchors,
            pseudo,
            normaliser,
            box_loss=box_loss,
            unknown=hidden_anchors(own.anchors, masks),
        )
        terms |= {"m4b_cls": classes} if wanted.m4b_cls else {}
        terms |= {"m4b_box": boxes} if wanted.m4b_box else {}
    if wanted.m4b_neg:
        negatives = certain_negatives(own.anchors, masks, own.class_logits.shape[-1])
        terms["m4b_neg"] = negative_loss(own.class_logits, negatives, normaliser)
    if wanted.m4b_bag or wanted.m4b_out:
        decoded = decode(at_least_float32(own.box_deltas), own.anchors)
        if wanted.m4b_bag:
            matched = sure if wanted.m4b_cls else torch.zeros_like(sure)
            terms["m4b_bag"] = presence_loss(own.class_logits, decoded, components, labels, matched, masks)
        if wanted.m4b_out:
            terms["m4b_out"] = containment_loss(own.class_logits, decoded, masks)
    return terms


@torch.no_grad()
def proposals(teacher: Predictions, size: tuple[int, ...] | torch.Size, min_score: float = MIN_SCORE) -> Proposals:
    """A teacher's detections of B images, padded to the largest count."""
    found = detect(teacher, (size[0], size[1]), min_score=min_score, max_candidates=200, max_detections=MOST)
    count = max((len(each.scores) for each in found), default=0)
    boxes = teacher.anchors.new_zeros(len(found), count, 4)
    scores, labels = boxes[..., 0].clone(), boxes[..., 0].long()
    for i, each in enumerate(found):
        n = len(each.scores)
        boxes[i, :n], scores[i, :n], labels[i, :n] = each.boxes, each.scores, each.labels
    return Proposals(boxes, scores, labels)


@torch.no_grad()
def box_stream_positives(predictions: Predictions, batch: Batch, images: Tensor, pseudo: PseudoBoxes) -> Tensor:
    """What to divide losses on `images` by: positive anchors per box-annotated image, times the number of `images`.

    Where the batch has none of these, those of the pseudo-boxes.
    """
    annotated = batch.has_boxes
    positive = match(predictions.anchors, batch.boxes[annotated], batch.is_target[annotated]).positive.sum()
    drawn, boxed, own = sum_over_processes(torch.stack((positive, annotated.sum(), images.sum())).float())
    if drawn == 0:
        return count_over_processes(match(predictions.anchors, pseudo.boxes, pseudo.weights > 0).positive.sum())
    value: Tensor = drawn / boxed * own.clamp(min=1) / world()
    return value
