"""The supervised detection losses of a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

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
    batch, count = labels.shape
    if count == 0:
        zeros = torch.zeros(batch, matches.positive.shape[1], num_things, device=labels.device)
        return zeros, zeros + 1
    classes = one_hot(labels.clamp(min=0), num_things).float()
    own = classes.gather(
        1, matches.box[..., None].expand(-1, -1, num_things)
    )  # (B, A, C): the class of the matched box
    targets = own * matches.positive[..., None]
    regions = torch.where((labels == ANY_CLASS)[..., None], 1.0, classes)
    ignored = (matches.in_region.float() @ regions > 0) | (own * matches.doubtful[..., None] > 0)
    return targets, (~ignored | (targets > 0)).float()
