"""Components judged by a teacher's predictions: kept, split, merged, or left doubtful."""

from __future__ import annotations

import torch
from torch import Tensor

from bombo.mask_for_box.pseudo_boxes import ALONE, Proposals, PseudoBoxes, area, intersection

_EVIDENCE = 0.1  # share of class pixels in a prediction; 99 % of true boxes have more
_NESTED = 0.7  # of the smaller of two predictions inside the other: they mean the same object
# size of a part, overlap of two parts, score: shares of the whole's or smaller's
_PART, _APART, _AS_SURE = 0.7, 0.3, 0.8
_ATTACHED, _CONFIRMED = 0.7, 0.5  # share of a prediction in a component; IoU of the two
_WHOLE = 0.6  # IoU of a prediction and the union of the components it merges
_COVERED = 0.8  # of a component by a prediction that merges it; of its pixels by the parts of a split
_NEAR, _FAR, _SLACK = 0.12, 0.24, 2.0  # how far a side may snap: shares of the box's size, plus pixels
_GRID = 4  # pixels between the points at which coverage is measured


@torch.no_grad()
def refine(components: Tensor, labels: Tensor, proposals: Proposals, masks: Tensor) -> PseudoBoxes:
    """Makes pseudo-boxes from components and predictions (rules in the spirit of arXiv 2411.17536).

    A prediction with an IoU of at least 0.5 with components means the one it fits best, and no other. Predictions
    without pixels of their class are dropped, and those that hold several others about as sure, which cover them; of
    nested ones that do not mean different components the surest stays. A component is then

    - *merged* with others where one prediction covers at least 80 % of each and fits their union better (IoU at least
      0.6) than any one of them: the box is the union, its weight IoU · √score;
    - *kept* where exactly one prediction lies on it and has an IoU of at least 0.5 with it: the box is the component's,
      since masks are more exact than predictions, its weight the IoU;
    - *split* where several predictions lie on it and together cover 80 % of its pixels: the boxes are theirs, weight
      0.8 · √score; with less cover they count half, for then something is missing;
    - replaced by the only prediction on it where the two disagree, weight 0.5 · score;
    - left alone without a prediction: its own box, weight 0.5, sides unknown.

    A side of a prediction moves to the component's side where that is near (12 % of its size + 2 px), else to the
    outermost pixel of the class inside the box where that is not far (24 % + 2 px); else it is not known.

    Args:
        components: (B, M, 4) xyxy input pixels, zero rows are padding.
        labels: (B, M) int64 class index.
        proposals: The teacher's detections, best first.
        masks: (B, H, W) uint8, class index + 1; 0 background, 255 void.

    Returns:
        M + D slots per image: first what came of the components, then what came of the predictions.
    """
    inside = intersection(components, proposals.boxes)  # (B, M, D)
    of_component, of_proposal = area(components)[..., None], area(proposals.boxes)[:, None]
    iou = inside / (of_component + of_proposal - inside).clamp(min=1e-6)
    possible = (labels[..., None] == proposals.labels[:, None]) & (of_component > 0)
    fits = _best_of_each(iou * possible) & possible & (iou >= _CONFIRMED)
    scores = _sensible(proposals, masks, fits)
    possible &= (scores > 0)[:, None]

    merges, union, fit = _merges(components, proposals.boxes, possible & (inside >= _COVERED * of_component), iou)
    merged = merges.any(2)
    free = possible & ~merges.any(1)[:, None] & ~merged[..., None]
    attached = free & ((inside >= _ATTACHED * of_proposal) & ~fits.any(1)[:, None] | fits)
    number = attached.sum(2)
    confirmed = (number == 1) & ((iou * attached).amax(2, keepdim=False) >= _CONFIRMED if iou.shape[2] else number > 0)

    kept = confirmed | ((number == 0) & (of_component[..., 0] > 0) & ~merged)
    agreement = (iou * attached).sum(2)  # of the one prediction
    component_weights = torch.where(confirmed, agreement, ALONE) * kept
    merging = merges.any(1)

    # predictions on a component that they split, or where they disagree with it
    shared = attached & (~kept)[..., None]
    used, home = shared.any(1) & ~merging, shared.int().argmax(1) if shared.shape[1] else merging.long()
    covered = _coverage(components, labels, proposals.boxes, shared, masks) >= _COVERED
    split = torch.where(number >= 2, torch.where(covered, 0.8, 0.4), 0.0)
    root = scores.sqrt()
    of_home = split.gather(1, home) if split.shape[1] else root * 0
    weights = torch.where(of_home > 0, of_home * root, 0.5 * scores) * used + fit * root * merging
    own = _per_home(components, home)
    snapped, known = _snap(proposals, own, masks, used)
    boxes = torch.where(merging[..., None], union, snapped)
    trust = torch.where(merged, 1, component_weights + (~kept) * torch.where(covered, 0.8, 0.4))
    return PseudoBoxes(
        torch.cat((components * kept[..., None], boxes * (weights > 0)[..., None]), dim=1),
        torch.cat((labels, proposals.labels), dim=1),
        torch.cat((component_weights, weights), dim=1),
        torch.cat((confirmed[..., None].expand_as(components), merging[..., None] | (known & used[..., None])), dim=1),
        components,
        labels,
        trust,
    )


def _best_of_each(fit: Tensor) -> Tensor:
    """(B, M, D) bool: the component that fits each prediction best."""
    best = torch.zeros_like(fit, dtype=torch.bool)
    return best.scatter_(1, fit.argmax(1, keepdim=True), True) if fit.shape[1] else best


def _sensible(proposals: Proposals, masks: Tensor, fits: Tensor) -> Tensor:
    """The scores of predictions, 0 for those without evidence, groups, and what is nested with a surer prediction.

    Args:
        proposals: The predictions.
        masks: (B, H, W).
        fits: (B, M, D) bool, the component that a prediction means: two that mean different ones are no rivals.
    """
    boxes, scores, labels = proposals
    own = masks[:, None] == (labels + 1)[..., None, None]
    scores = scores * (_inside(boxes, masks.shape[1:]) & own).flatten(2).sum(2).ge(_EVIDENCE * area(boxes))
    size, shared = area(boxes), intersection(boxes, boxes)
    same = (labels[:, :, None] == labels[:, None]) & (scores > 0)[:, :, None] & (scores > 0)[:, None]
    same &= ~torch.eye(boxes.shape[1], dtype=torch.bool, device=boxes.device)
    smaller = torch.minimum(size[:, :, None], size[:, None])
    meant = fits.float()
    different = fits.any(1)[:, :, None] & fits.any(1)[:, None] & (torch.einsum("bmd,bme->bde", meant, meant) == 0)
    nested = same & (shared > _NESTED * smaller) & ~different
    scores = scores * ~_groups(proposals, scores, nested, same & (shared < _APART * smaller), masks)
    surer = torch.ones_like(nested).tril(-1)  # those before it, best first
    rival = nested & surer & (scores > 0)[:, None]
    kept = scores > 0
    for _ in range(boxes.shape[1]):  # what is suppressed suppresses nothing: settles after a few rounds
        now = (scores > 0) & ~(rival & kept[:, None]).any(2)
        if now.equal(kept):
            break
        kept = now
    return scores * kept


def _groups(proposals: Proposals, scores: Tensor, nested: Tensor, apart: Tensor, masks: Tensor) -> Tensor:
    """(B, D) bool: predictions that mean several objects at once: two others, apart from each other, lie in them.

    All that lies in such a prediction together covers its pixels, so nothing is lost without it.
    """
    size = area(proposals.boxes)
    part = nested & (size[:, None] < _PART * size[:, :, None]) & (scores[:, None] >= _AS_SURE * scores[:, :, None])
    pair = torch.einsum("bdi,bij,bdj->bd", part.float(), apart.float(), part.float()) > 0
    if not pair.any():
        return pair
    return pair & (_coverage(proposals.boxes, proposals.labels, proposals.boxes, part, masks) >= _COVERED)


def _merges(components: Tensor, boxes: Tensor, covers: Tensor, iou: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, M, D) which prediction merges which component; (B, D, 4) the union and (B, D) its IoU with the prediction."""
    if not covers.shape[1]:
        return covers, torch.zeros_like(boxes), boxes[..., 0] * 0
    merges = covers & _is_better_whole(components, boxes, covers, iou)[:, None]
    merges &= merges.cumsum(2) == 1  # the surest prediction has the component
    merges &= _is_better_whole(components, boxes, merges, iou)[:, None]  # with what others left it
    return merges, *_union(components, boxes, merges)


def _is_better_whole(components: Tensor, boxes: Tensor, parts: Tensor, iou: Tensor) -> Tensor:
    """(B, D) whether a prediction fits the union of its parts (B, M, D), two at least, better than any one of them."""
    _, fit = _union(components, boxes, parts)
    return (parts.sum(1) >= 2) & (fit >= _WHOLE) & (fit > (iou * parts).amax(1))


def _union(components: Tensor, boxes: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
    """(B, D, 4) the rectangle around the parts of each prediction, zero without any, and (B, D) their IoU."""
    low = components[:, :, None, :2].where(parts[..., None], torch.inf)
    high = components[:, :, None, 2:].where(parts[..., None], -torch.inf)
    union = torch.cat((low.amin(1), high.amax(1)), dim=-1)
    union = union.where(parts.any(1)[..., None], 0)
    low, high = torch.maximum(boxes[..., :2], union[..., :2]), torch.minimum(boxes[..., 2:], union[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    return union, shared / (area(boxes) + area(union) - shared).clamp(min=1e-6)


def _coverage(components: Tensor, labels: Tensor, boxes: Tensor, parts: Tensor, masks: Tensor) -> Tensor:
    """(B, M) share of a component's pixels that its parts (B, M, D) cover, measured on a grid of points."""
    coarse = masks[:, _GRID // 2 :: _GRID, _GRID // 2 :: _GRID]
    size = (coarse.shape[1], coarse.shape[2])
    own = (coarse[:, None] == (labels + 1)[..., None, None]) & _inside(components / _GRID, size)
    hit = torch.einsum("bmd,bdp->bmp", parts.float(), _inside(boxes / _GRID, size).flatten(2).float()) > 0
    pixels = own.flatten(2)
    return (pixels & hit).sum(2) / pixels.sum(2).clamp(min=1)


def _snap(proposals: Proposals, home: Tensor, masks: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (B, D, 4) with their sides moved to where the mask has them, and (B, D, 4) which sides are known."""
    boxes = proposals.boxes.clone()
    known = torch.zeros_like(boxes, dtype=torch.bool)
    image, row = used.nonzero(as_tuple=True)
    box, component = boxes[image, row], home[image, row]
    own = _inside(box[None], masks.shape[1:])[0] & (masks[image] == (proposals.labels[image, row] + 1)[:, None, None])
    tight = []
    for across in (1, 2):
        line = own.any(across).int()
        tight.append((line.argmax(1), line.shape[1] - line.flip(1).argmax(1)))
    (left, right), (top, bottom) = tight
    extent = torch.stack((left, top, right, bottom), dim=1).to(box.dtype)
    size = (box[:, 2:] - box[:, :2]).repeat(1, 2)
    near = (component - box).abs() <= _NEAR * size + _SLACK
    not_far = ((extent - box).abs() <= _FAR * size + _SLACK) & own.flatten(1).any(1)[:, None]
    boxes[image, row] = torch.where(near, component, torch.where(not_far, extent, box))
    known[image, row] = near | not_far
    return boxes, known


def _per_home(components: Tensor, home: Tensor) -> Tensor:
    """(B, D, 4) the component of every prediction."""
    if not components.shape[1]:
        return components.new_zeros(*home.shape, 4)
    return components.gather(1, home[..., None].expand(-1, -1, 4))


def _inside(boxes: Tensor, size: torch.Size | tuple[int, ...]) -> Tensor:
    """(B, N, 4) → (B, N, H, W) bool: pixels whose centre lies in the box."""
    y, x = (torch.arange(n, device=boxes.device) + 0.5 for n in size)
    x1, y1, x2, y2 = boxes[..., None].unbind(-2)
    across, down = (x >= x1) & (x < x2), (y >= y1) & (y < y2)
    return down[..., :, None] & across[..., None, :]
