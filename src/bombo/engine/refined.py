"""A trained network in the part of the teacher: what it makes of derived masks and boxes of one image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from bombo.box_for_mask.candidate_sets import candidate_sets
from bombo.box_for_mask.refinement import refine as refine_mask
from bombo.box_for_mask.weak_mask import WeakMask
from bombo.data.sample import Sample
from bombo.data.view import View
from bombo.engine.model import Model
from bombo.mask_for_box.losses import proposals
from bombo.mask_for_box.pseudo_boxes import PseudoBoxes
from bombo.mask_for_box.refinement import refine as refine_boxes
from bombo.models.network import Predictions


def refined_mask(
    sample: Sample, made: WeakMask, judge: Model, *, trust: float = 1.0, seen: Predictions | None = None
) -> WeakMask:
    """A mask made of boxes as training refines it, in the pixels of the image.

    Args:
        sample: With its boxes.
        made: The provider's mask.
        judge: The teacher.
        trust: Trust in the teacher, 0 to 1.
        seen: What the teacher says of the whole image, a batch of one; None = it is asked.
    """
    assert sample.boxes is not None
    assert sample.labels is not None
    height, width = sample.image.shape[1:]
    view = View.whole((height, width), judge.size, judge.fit)
    logits = (_seen_by(judge, sample) if seen is None else seen).mask_logits.float().cpu()
    x1, y1, x2, y2 = view.visible_rectangle()
    visible = interpolate(logits, size=judge.size, mode="bilinear", align_corners=False)[..., y1:y2, x1:x2]
    opinion = interpolate(visible, size=(height, width), mode="bilinear", align_corners=False).softmax(1)
    possible = candidate_sets(
        sample.boxes[None], sample.labels[None], judge.space.num_things, opinion.shape[1], (height, width), (1, 1)
    )
    values, weights = torch.from_numpy(made.values)[None], torch.from_numpy(made.weights)[None]
    refined, sure = refine_mask(values, weights, opinion, possible, trust)
    return WeakMask(refined[0].numpy(), sure[0].float().numpy())


def judged_boxes(
    sample: Sample, boxes: Tensor, labels: Tensor, judge: Model, seen: Predictions | None = None
) -> PseudoBoxes:
    """Components of a mask as training refines them, in pixels of the image.

    Args:
        sample: With its mask.
        boxes: (M, 4) boxes of the components in pixels of the image.
        labels: (M,) their classes.
        judge: The teacher.
        seen: What the teacher says of the whole image, a batch of one; None = it is asked.

    Returns:
        See `bombo.mask_for_box.refinement.refine`, for a batch of one: the first M slots are the components.
    """
    assert sample.mask is not None
    view = View.whole((sample.image.shape[1], sample.image.shape[2]), judge.size, judge.fit)
    found = proposals(_seen_by(judge, sample) if seen is None else seen, judge.size)
    cpu = type(found)(*(part.cpu() for part in found))
    pseudo = refine_boxes(view.boxes(boxes)[None], labels[None], cpu, view.mask(sample.mask)[None])
    return pseudo._replace(boxes=view.boxes_to_source(pseudo.boxes[0])[None], regions=boxes[None])


def confirmed_boxes(
    sample: Sample, boxes: Tensor, labels: Tensor, judge: Model, seen: Predictions | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The boxes of `judged_boxes` that have a weight.

    Args:
        sample: With its mask.
        boxes: (M, 4) boxes of the components in pixels of the image.
        labels: (M,) their classes.
        judge: The teacher.
        seen: What the teacher says of the whole image, a batch of one; None = it is asked.

    Returns:
        Boxes (N, 4) in pixels of the image, labels (N,), weights (N,) above 0.
    """
    pseudo = judged_boxes(sample, boxes, labels, judge, seen)
    used = pseudo.weights[0] > 0
    return pseudo.boxes[0][used], pseudo.labels[0][used], pseudo.weights[0][used]


def _seen_by(judge: Model, sample: Sample) -> Predictions:
    """What a network says of a whole image, a batch of one."""
    view = View.whole((sample.image.shape[1], sample.image.shape[2]), judge.size, judge.fit)
    return judge.forward(view.image(sample.image)[None])
