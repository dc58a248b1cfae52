"""Cross-entropy with labels that were made rather than drawn, each as trusted as its weight says."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from bombo.data.label_space import VOID
from bombo.distributed import count_over_processes
from bombo.losses.term import Term
from bombo.models.precision import at_least_float32


def label_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Term:
    """Σ weight · −log softmax(logits)[label] / number of labelled pixels.

    Divided by the count rather than by Σ weight, so that a batch of poor labels has little to say instead of being
    raised to full weight (as in BoxTeacher, Cheng et al. 2023, arXiv 2210.05174). With weights of 1 this is
    `mask_cross_entropy`.

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W) uint8 mask values, 255 says nothing.
        weights: (B, H, W) 0 to 1; 0 says nothing, either.

    Returns:
        The loss, and the number of labelled pixels.
    """
    labelled = (labels != VOID) & (weights > 0)
    surprise = cross_entropy(at_least_float32(logits), labels.long(), ignore_index=VOID, reduction="none")
    number = labelled.sum()
    return Term((surprise * weights.detach().where(labelled, 0)).sum() / count_over_processes(number), number)
