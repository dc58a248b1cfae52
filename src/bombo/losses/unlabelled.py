"""Classes that were not looked for on an image: the network is not judged by what it says of them there."""

from __future__ import annotations

import torch
from torch import Tensor

from bombo.models.network import Predictions
from bombo.models.precision import at_least_float32

NEVER = -1e4  # as a logit a probability of 0, and finite in every number format


def without_unlabelled(predictions: Predictions, labelled: Tensor | None) -> Predictions:
    """What a network that does not know an image's unlabelled classes would have said of it.

    An unlabelled object is background to the annotator. So in the segmentation, the probability of all unlabelled
    classes joins that of background, −log(p_background + Σ p_unlabelled) being the cross-entropy of a pixel that may be
    any of them (the classifier-consistent loss of partial labels, Feng et al. 2020, arXiv 2007.08929); and in the
    detection, whose classes are independent of each other, an unlabelled one is struck out. Every loss may then be
    computed as if the other classes did not exist: none of them gets a gradient from such an image, but for the sum's.

    Args:
        predictions: The network's, of B images.
        labelled: (B, C) bool, the classes looked for on each image; None: all of them on all.

    Returns:
        The same where nothing is unlabelled; the very same object if that is so everywhere.
    """
    if labelled is None:
        return predictions
    things = labelled[:, None, : predictions.class_logits.shape[-1]]
    mask_logits = at_least_float32(predictions.mask_logits)
    unlabelled = ~labelled[:, :, None, None]
    background, classes = mask_logits[:, :1], mask_logits[:, 1:]
    hidden = classes.masked_fill(~unlabelled, NEVER)
    merged = background.logaddexp(hidden.logsumexp(1, keepdim=True))
    return predictions._replace(
        class_logits=predictions.class_logits.masked_fill(~things, NEVER),
        mask_logits=torch.cat((merged, classes.masked_fill(unlabelled, NEVER)), dim=1),
    )
