"""Labels made from boxes, refined by a teacher: two witnesses who do not know of each other."""

from __future__ import annotations

import torch
from torch import Tensor

from bombo.box_for_mask.candidate_sets import restrict
from bombo.data.label_space import VOID

PROVIDER = 0.8  # probability that a provider's label is right where it is in doubt: GrabCut's inside boxes
SURE = 0.7  # least probability of a label that is used


@torch.no_grad()
def refine(labels: Tensor, weights: Tensor, teacher: Tensor, candidates: Tensor, trust: float) -> tuple[Tensor, Tensor]:
    """Combines a provider's labels with a teacher's opinion of the same pixels (naive Bayes over the candidate set).

    The provider's label is right with probability `PROVIDER`, otherwise any other candidate is as likely; the
    teacher's posterior is restricted to the candidates. Their product says which label is the more probable one, and
    how probable: agreement keeps the label, disagreement goes to the surer one or, below `SURE`, to void. Where the
    provider is silent (between things and stuff, for instance) the teacher speaks alone. A label can never lie
    outside its candidate set.

    Args:
        labels: (B, H, W) uint8 mask values, 255 = the provider says nothing.
        weights: (B, H, W) the provider's own doubts, 0 to 1.
        teacher: (B, K, H, W) probabilities.
        candidates: (B, K, H, W) bool, see `candidate_sets`.
        trust: Weight of the teacher's log-probabilities: 0 = the provider alone, 1 = equals.

    Returns:
        Refined labels (B, H, W) uint8, 255 where neither is sure; weights (B, H, W), the probability of the label
        times the provider's weight where it was the provider's.
    """
    said = labels != VOID
    if trust == 0:
        return labels, weights
    others = (candidates.sum(1) - 1).clamp(min=1)
    doubt = torch.where(said, (1 - PROVIDER) / others, 1.0)[:, None]
    provider = doubt.expand_as(teacher).clone()
    index = labels.long().where(said, 0)[:, None]
    provider.scatter_(1, index, torch.where(said, PROVIDER, 1.0)[:, None])
    probability, best = restrict(restrict(teacher, candidates).pow(trust) * provider, candidates).max(1)
    only = candidates.sum(1) == 1
    used = only | (probability >= SURE)
    own = best == labels
    refined = torch.where(used, best.to(torch.uint8), VOID)
    return refined, torch.where(only, 1.0, probability) * used * weights.where(own & said, 1.0)
