"""A box is tight: every row and every column of it holds a pixel of its class."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import roi_align

from bombo.box_for_mask.grid import boxes_on_grid
from bombo.distributed import count_over_processes
from bombo.losses.term import Term
from bombo.models.precision import at_least_float32

LINES = 32  # rows and columns a box is cut into
LEAST = 0.05  # less probable lines are taken for hidden by another object: about 1 % of true lines hold no pixel
SMALLEST_SIDE = 2  # cells
BOXES_AT_ONCE = 512


def tightness_loss(
    logits: Tensor, boxes: Tensor, labels: Tensor, is_valid: Tensor, scale: float | tuple[float, float]
) -> Term:
    """Mean over boxes of −½ [mean_rows log max_columns p + mean_columns log max_rows p], p the class's probability.

    Multiple-instance learning from boxes (Hsu et al. 2019, "Weakly supervised instance segmentation using the
    bounding box tightness prior"), on the class map instead of an instance map: lines outside the box, their negative
    bags, are left to the candidate sets. The box is sampled to 32 × 32 points. Two things bound the harm of lines
    hidden by another object: log p is clipped at log 0.05 (with more than ten values at that of half their uniform
    probability, so that a network that knows nothing yet learns), with no gradient below; and a line covered from end
    to end by a box of another class counts half.

    Args:
        logits: (B, K, h, w).
        boxes: (B, N, 4) xyxy input pixels; what reaches outside the image is cut off.
        labels: (B, N) int64, class index or `ANY_CLASS`.
        is_valid: (B, N) bool, boxes to use: targets, of which a crop left at least 30 % visible. Other rows with an
            area still count as covering. Boxes of `ANY_CLASS` and those with a side below 2 cells are left out in any
            case.
        scale: Grid cells per input pixel, one number or (y, x).

    Returns:
        The loss, at least 0, and the number of boxes used.
    """
    probabilities = at_least_float32(logits).softmax(1)
    num_values, height, width = probabilities.shape[1:]
    cells = boxes_on_grid(boxes, scale, (height, width)).to(probabilities.dtype)
    sides = cells[..., 2:] - cells[..., :2]
    used = is_valid & (labels >= 0) & (sides >= SMALLEST_SIDE).all(-1)

    image = used.nonzero()[:, 0]
    plane = image * num_values + labels[used] + 1  # one channel of one image: no map is copied for a box
    rois = torch.cat((plane[:, None].to(cells.dtype), cells[used]), dim=1)
    planes = probabilities.flatten(0, 1)[:, None]
    crops = torch.cat(
        [roi_align(planes, some, LINES, sampling_ratio=2, aligned=True) for some in rois.split(BOXES_AT_ONCE)]
    )[:, 0]
    lines = torch.stack((crops.amax(1), crops.amax(2)), dim=1)  # columns, rows: (M, 2, LINES)
    surprise = -lines.clamp(min=min(LEAST, 0.5 / num_values)).log() * _weights(cells, labels)[used]
    number = used.sum()
    return Term(surprise.mean((1, 2)).sum() / count_over_processes(number), number)


def _weights(cells: Tensor, labels: Tensor) -> Tensor:
    """(B, N, 2, LINES): ½ for the columns and rows of a box that one of another class covers from end to end."""
    low, high = cells[..., :2], cells[..., 2:]
    steps = (torch.arange(LINES, dtype=cells.dtype, device=cells.device) + 0.5) / LINES
    centres = low[..., None] + (high - low)[..., None] * steps
    spans = (low[:, None] <= low[:, :, None]) & (high[:, None] >= high[:, :, None])  # (B, N, N of the other, 2)
    other = labels[:, None] != labels[:, :, None]
    image, mine, theirs, axis = (spans & other[..., None]).nonzero(as_tuple=True)  # few pairs: the rest is cheap
    across = 1 - axis  # a box that spans mine in x covers those of my rows that it reaches in y
    centre = centres[image, mine, across]
    covered = (low[image, theirs, across, None] <= centre) & (centre <= high[image, theirs, across, None])
    times = torch.zeros_like(centres).index_put((image, mine, across), covered.to(cells.dtype), accumulate=True)
    return torch.where(times > 0, 0.5, 1.0)
