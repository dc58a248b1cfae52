"""Labels made from boxes, refined by a teacher: two witnesses who do not know of each other."""

from __future__ import annotations

import torch
from torch import Tensor

from bombo.box_for_mask.candidate_sets import restrict
from bombo.data.label_space import VOID

MOST = 0.95  # no provider is surer than that inside a box, or no teacher could ever convince it
SURE = 0.7  # least probability of a label that is used


@torch.no_grad()
def refine(labels: Tensor, weights: Tensor, teacher: Tensor, candidates: Tensor, trust: float) -> tuple[Tensor, Tensor]:
    """Combines a provider's labels with a teacher's opinion of the same pixels (naive Bayes over the candidate set).

    The provider's label is right with the probability that is its weight, otherwise any other candidate is as likely;
    the teacher's posterior is restricted to the candidates. Their product says which label is the more probable one,
    and how probable: agreement keeps the label, disagreement goes to the surer one or, below `SURE`, to void. Where the
    provider is silent (between things and stuff, for instance) the teacher speaks alone. A label can never lie
    outside its candidate set.

    Args:
        labels: (B, H, W) uint8 mask values, 255 = the provider says nothing.
        weights: (B, H, W) probability that the provider's label is right.
        teacher: (B, K, H, W) probabilities.
        candidates: (B, K, H, W) bool, see `candidate_sets`.
        trust: Weight of the teacher's log-probabilities: 0 = the provider alone, 1 = equals.

    Returns:
        Refined labels (B, H, W) uint8, 255 where neither is sure; weights (B, H, W), the probability of the label, 0
        where it is void.
    """
    if trust == 0:
        return labels, weights
    said = (labels != VOID) & (weights > 0)
    others = (candidates.sum(1) - 1).clamp(min=1)
    right = weights.clamp(max=MOST)
    provider = torch.where(said, (1 - right) / others, 1.0)[:, None].repeat(1, teacher.shape[1], 1, 1)
    provider.scatter_(1, labels.long().where(said, 0)[:, None], torch.where(said, right, 1.0)[:, None])
    probability, best = restrict(restrict(teacher, candidates).pow(trust) * provider, candidates).max(1)
    only = candidates.sum(1) == 1
    used = only | (probability >= SURE)
    refined = torch.where(used, best.to(torch.uint8), VOID)
    return refined, torch.where(only, 1.0, probability) * used
