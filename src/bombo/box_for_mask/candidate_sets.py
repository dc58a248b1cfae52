"""What boxes say for certain about a pixel: the classes it may have, and the likelihood that it has one of them."""

from __future__ import annotations

import torch
from torch import Tensor

from bombo.data.label_space import BACKGROUND
from bombo.distributed import count_over_processes
from bombo.losses.term import Term
from bombo.models.precision import at_least_float32


def candidate_sets(
    boxes: Tensor, labels: Tensor, num_things: int, num_values: int, size: tuple[int, int], stride: tuple[float, float]
) -> Tensor:
    """The mask values that every cell of a grid may have: background, every stuff class, the classes of boxes over it.

    Boxes are rounded outward: a cell that a box touches may have its class, and no box is too small to touch one. All
    rows count, targets or not: a crowd and a box cut down to a sliver show pixels of their class as well.

    Args:
        boxes: (B, N, 4) xyxy input pixels; they may reach outside the image. Rows without area are padding.
        labels: (B, N) int64, class index, or `ANY_CLASS`: every value is possible there.
        num_things: Number of classes that have boxes.
        num_values: K, number of mask values: background, things, stuff.
        size: (h, w) of the grid.
        stride: (y, x) input pixels per cell.

    Returns:
        (B, K, h, w) bool; background is always among them.
    """
    (height, width), (stride_y, stride_x) = size, stride
    x1, x2 = _touched(boxes[..., 0], boxes[..., 2], stride_x, width)
    y1, y2 = _touched(boxes[..., 1], boxes[..., 3], stride_y, height)
    has_area = ((boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])).int()

    # Sums of +1 and −1 at a box's corners are the box. ANY_CLASS + 1 is background's plane, which it borrows.
    steps = torch.zeros(len(boxes), num_values, height + 1, width + 1, dtype=torch.int32, device=boxes.device)
    image = torch.arange(len(boxes), device=boxes.device)[:, None].expand_as(labels)
    for y, x, sign in ((y1, x1, 1), (y1, x2, -1), (y2, x1, -1), (y2, x2, 1)):
        steps.index_put_((image, labels + 1, y, x), has_area * sign, accumulate=True)
    over = steps.cumsum(2, dtype=torch.int32).cumsum(3, dtype=torch.int32)[:, :, :height, :width] > 0

    values = torch.arange(num_values, device=boxes.device)
    always = (values == BACKGROUND) | (values > num_things)
    return over | over[:, :1] | always[:, None, None]


def _touched(low: Tensor, high: Tensor, stride: float, cells: int) -> tuple[Tensor, Tensor]:
    """First cell touched and first one after."""
    first, after = (low / stride).floor(), (high / stride).ceil()
    return first.clamp(0, cells).long(), after.clamp(0, cells).long()


def candidate_loss(logits: Tensor, candidates: Tensor, valid: Tensor) -> Term:
    """Mean over valid pixels of −log Σ_{c ∈ candidates} softmax(logits)_c.

    The classifier-consistent loss of partial labels (Feng et al. 2020, arXiv 2007.08929). Where background is the only
    candidate this is cross-entropy, and where everything is possible it is 0. Every pixel weighs the same: a mean of
    its own for the pixels outside boxes drives the network to background. It needs a companion that calls for
    foreground in any case, for inside a box background is a candidate, too.

    Args:
        logits: (B, K, h, w).
        candidates: (B, K, h, w) bool, see `candidate_sets`; at least one per pixel.
        valid: (B, h, w) bool; False where nothing is known, as in padding.

    Returns:
        The loss, and the number of valid pixels.
    """
    logits = at_least_float32(logits)
    among = logits.masked_fill(~candidates, -torch.inf).logsumexp(1)
    surprise = (logits.logsumexp(1) - among).where(valid, 0)
    number = valid.sum()
    return Term(surprise.sum() / count_over_processes(number), number)


def restrict(probabilities: Tensor, candidates: Tensor) -> Tensor:
    """What is left of a prediction when the classes that cannot be are struck out.

    Args:
        probabilities: (B, K, h, w), 0 to 1.
        candidates: (B, K, h, w) bool; at least one per pixel.

    Returns:
        (B, K, h, w), 0 outside the candidates, sums of 1; even where all candidates had probability 0 (uniform then).
    """
    probabilities = at_least_float32(probabilities)
    smallest = torch.finfo(probabilities.dtype).tiny
    kept = probabilities.clamp(min=smallest).where(candidates, 0)
    return kept / kept.sum(1, keepdim=True)
