"""Detection losses on pseudo-boxes, each of which speaks as loudly as it is trusted."""

from __future__ import annotations

import torch
from torch import Tensor

from bombo.losses.box_regression import BoxLoss, box_regression_loss
from bombo.losses.focal import focal_loss
from bombo.losses.term import Term
from bombo.mask_for_box.pseudo_boxes import PseudoBoxes
from bombo.models.matching import Matches, match
from bombo.models.precision import at_least_float32

_IN_REGION = 0.5  # share of an anchor in a component from which on the component's doubts are the anchor's


def pseudo_box_losses(
    class_logits: Tensor,
    box_deltas: Tensor,
    anchors: Tensor,
    pseudo: PseudoBoxes,
    normaliser: Tensor,
    *,
    box_loss: BoxLoss = "giou",
    unknown: Tensor | None = None,
) -> tuple[Term, Term]:
    """Focal loss and box loss on mask-annotated images.

    With weights of 1 and all sides known these are the supervised losses on the same boxes. A positive anchor counts
    with the weight of its box. A negative one counts fully, except for the class of a component that holds at least
    half of it: there it counts as far as the component is trusted to hold no other object.

    Args:
        class_logits: (B, A, C).
        box_deltas: (B, A, 4).
        anchors: (A, 4) xyxy.
        pseudo: The pseudo-boxes of these images.
        normaliser: Scalar > 0: positive anchors of the box-annotated images (their number per image times these
            images). Those of pseudo-boxes are too few and too doubtful to divide by.
        box_loss: Distance of predicted boxes.
        unknown: (B, A) bool, anchors that are negatives of no class: nobody knows what lies there.

    Returns:
        Classification with the number of pseudo-boxes, and localisation with the number of positive anchors that have
        a side to learn.
    """
    with torch.no_grad():
        matches = match(anchors, pseudo.boxes, pseudo.weights > 0)
        asked = torch.ones_like(matches.positive) if unknown is None else ~unknown
        targets, weights = _targets(matches, pseudo, anchors, class_logits.shape[-1], asked)
    classification = focal_loss(class_logits, targets, weights, normaliser)

    image, anchor = matches.positive.nonzero(as_tuple=True)
    box = matches.box[image, anchor]
    known = pseudo.sides[image, box]
    some = known.any(1)
    image, anchor, box, known = image[some], anchor[some], box[some], known[some]
    localisation = box_regression_loss(
        at_least_float32(box_deltas[image, anchor]),
        pseudo.boxes[image, box],
        anchors[anchor],
        normaliser,
        kind=box_loss,
        weights=pseudo.weights[image, box],
        known=known,
    )
    return Term(classification, (pseudo.weights > 0).sum()), Term(localisation, some.sum())


def _targets(
    matches: Matches, pseudo: PseudoBoxes, anchors: Tensor, num_things: int, asked: Tensor
) -> tuple[Tensor, Tensor]:
    """(B, A, C) what every pair of anchor and class should say, and with which weight."""
    targets = torch.zeros(*matches.box.shape, num_things, device=anchors.device)
    if not pseudo.boxes.shape[1] or not num_things:
        return targets, (targets + 1) * asked[..., None]
    own = pseudo.labels.gather(1, matches.box)[..., None]
    positive, doubtful = matches.positive[..., None], matches.doubtful[..., None]
    targets.scatter_(2, own, positive.float())
    weights = (1 - _doubt(pseudo, matches, anchors, num_things)) * asked[..., None]
    trusted = pseudo.weights.gather(1, matches.box)[..., None]
    weights.scatter_(2, own, torch.where(positive, trusted, weights.gather(2, own) * ~doubtful))
    return targets, weights


def _doubt(pseudo: PseudoBoxes, matches: Matches, anchors: Tensor, num_things: int) -> Tensor:
    """(B, A, C) 1 − the trust in the components that hold an anchor, 1 in regions, 0 elsewhere."""
    low = torch.maximum(pseudo.regions[:, None, :, :2], anchors[:, None, :2])
    high = torch.minimum(pseudo.regions[:, None, :, 2:], anchors[:, None, 2:])
    covered = (high - low).clamp(min=0).prod(-1) / (anchors[:, 2:] - anchors[:, :2]).prod(1)[:, None]  # (B, A, M)
    doubt = (1 - pseudo.trust)[:, None] * (covered >= _IN_REGION)
    none = torch.zeros(len(doubt), len(anchors), num_things, device=anchors.device)
    none.scatter_reduce_(2, pseudo.region_labels[:, None].expand_as(doubt), doubt, "amax")
    slots = min(pseudo.boxes.shape[1], pseudo.regions.shape[1])  # those of components, where regions may be
    in_region, labels = matches.in_region[..., :slots].float(), pseudo.labels[:, None, :slots]
    return none.scatter_reduce_(2, labels.expand_as(in_region), in_region, "amax")
