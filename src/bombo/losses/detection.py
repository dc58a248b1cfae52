"""The supervised detection losses of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from bombo.data.batch import Batch
from bombo.data.label_space import ANY_CLASS
from bombo.distributed import count_over_processes
from bombo.losses.box_regression import BoxLoss, box_regression_loss
from bombo.losses.focal import focal_loss
from bombo.losses.term import Term
from bombo.models.matching import Matches, match
from bombo.models.network import Predictions


def detection_losses(predictions: Predictions, batch: Batch, *, box_loss: BoxLoss = "giou") -> dict[str, Term]:
    """Focal loss on the classes and a box loss on the positive anchors, of the box-annotated images only.

    Anchors in a region (crowd, box cut off by a crop) and doubtful ones count as negative for every class but the one
    in question, which is left out.

    Returns:
        `det_cls` and `det_box`; their counts are numbers of images.
    """
    annotated = batch.has_boxes
    logits, deltas = predictions.class_logits[annotated], predictions.box_deltas[annotated]
    boxes, labels, is_target = batch.boxes[annotated], batch.labels[annotated], batch.is_target[annotated]
    with torch.no_grad():
        matches = match(predictions.anchors, boxes, is_target)
        targets, weights = classification_targets(matches, labels, logits.shape[-1])
    normaliser = count_over_processes(matches.positive.sum())
    image, anchor = matches.positive.nonzero(as_tuple=True)
    images = annotated.sum()
    return {
        "det_cls": Term(focal_loss(logits, targets, weights, normaliser), images),
        "det_box": Term(
            box_regression_loss(
                deltas[image, anchor],
                boxes[image, matches.box[image, anchor]],
                predictions.anchors[anchor],
                normaliser,
                kind=box_loss,
            ),
            images,
        ),
    }


def classification_targets(matches: Matches, labels: Tensor, num_things: int) -> tuple[Tensor, Tensor]:
    """What every (anchor, class) pair should say, and whether it is asked.

    Args:
        matches: From `match`.
        labels: (B, N) int64 class index or `ANY_CLASS`.
        num_things: Number of classes.

    Returns:
        Targets and weights, both (B, A, num_things) of 0.0 and 1.0.
    """
    batch, num_anchors, count = matches.in_region.shape
    targets = torch.zeros(batch, num_anchors, num_things, device=labels.device)
    if count == 0 or num_things == 0:
        return targets, targets + 1
    own = labels.gather(1, matches.box).clamp(min=0)[..., None]  # (B, A, 1), of the matched box
    positive, doubtful = matches.positive[..., None], matches.doubtful[..., None]
    targets.scatter_(2, own, positive.float())
    classes = torch.arange(num_things, device=labels.device)
    regions = (labels[..., None] == classes) | (labels[..., None] == ANY_CLASS)
    weights = (matches.in_region.float() @ regions.float() == 0).float()
    weights.scatter_(2, own, (weights.gather(2, own) * ~doubtful).where(~positive, 1))
    return targets, weights
