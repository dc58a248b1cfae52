"""Large images in overlapping windows: where they lie, and how the boxes seen in them become those of one image.

Two detections from different windows are the same object if they agree on what both windows show. Of such two, the one
that does not touch an inner border of its window is right about the object's extent; where both do, they are parts of
an object that no window shows whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from bombo.models.postprocess import NMS_IOU, Detected

MIN_TILE = 32  # pixels; a smaller window shows no object whole
OVERLAP = 0.25  # of a window: objects up to this size are whole in some window, for 1.8 times the pixels
_TOUCHES = 0.03  # of a window's side: how near to a border a box ends whose object goes on behind it
_INSIDE = 0.7  # of a box cut by a border: from here on it is part of the box it lies in


class Window(NamedTuple):
    """A rectangle of an image, in whole pixels."""

    x: int
    y: int
    width: int
    height: int


def windows(size: tuple[int, int], tile: int, overlap: float = OVERLAP) -> list[Window]:
    """Windows of one size that cover an image, row by row; as few as possible, evenly spaced.

    Args:
        size: (height, width) of the image.
        tile: Side of a window in pixels; along a shorter side of the image, windows are as long as that.
        overlap: Share of a window that its neighbours see, too, at least; 0 to less than 1.
    """
    height, width = size
    rows, columns = _starts(height, tile, overlap), _starts(width, tile, overlap)
    return [Window(x, y, min(tile, width), min(tile, height)) for y in rows for x in columns]


def taper(window: Window) -> Tensor:
    """(height, width) float32 weight of a window's pixels: most in the middle, falling smoothly to almost 0."""
    across, down = (
        torch.sin(math.pi * (torch.arange(side) + 0.5) / side).square() for side in (window.width, window.height)
    )
    return down[:, None] * across


def merge(seen: Sequence[tuple[Window, Detected]], size: tuple[int, int]) -> Detected:
    """Makes the detections of all windows those of the image: each object once, best first.

    Args:
        seen: Windows, all of one size, and what was detected in them, in pixels of the image.
        size: (height, width) of the image.
    """
    boxes = torch.cat([found.boxes for _, found in seen]).cpu()
    scores = torch.cat([found.scores for _, found in seen]).cpu()
    labels = torch.cat([found.labels for _, found in seen]).cpu()
    number = torch.tensor([len(found.boxes) for _, found in seen])
    window = torch.repeat_interleave(number)
    sources = [frozenset((index,)) for index in window.tolist()]  # windows that each detection comes from
    sides = torch.tensor([window for window, _ in seen]).float()
    shown = torch.cat((sides[:, :2], sides[:, :2] + sides[:, 2:]), dim=1)[window]  # by the window of each box
    cut = _touches(boxes, shown, _TOUCHES * sides[0, 2:], size)

    kept = torch.zeros_like(cut)
    for i in _whole_first(cut, scores):
        others = (kept & (labels == labels[i])).nonzero()[:, 0]
        common = _shared(shown[i], shown[others])
        agreement = _iou(_shared(boxes[i], common), _shared(boxes[others], common))
        same = agreement > NMS_IOU
        if cut[i]:
            same |= _area(_shared(boxes[i], boxes[others])) > _INSIDE * _area(boxes[i])
        best_first = agreement[same].argsort(descending=True, stable=True)
        parts = _of_different_windows([i, *others[same][best_first].tolist()], sources)
        if not cut[parts[1:]].all():
            continue  # a window shows it whole
        sources[i] = frozenset().union(*(sources[part] for part in parts))
        boxes[i], shown[i], scores[i] = _hull(boxes[parts]), _hull(shown[parts]), scores[parts].max()
        kept[parts] = False
        kept[i] = True
    boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    best = batched_nms(boxes, scores, labels, NMS_IOU)
    return Detected(boxes[best], scores[best], labels[best])


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    if length <= tile:
        return [0]
    shared = math.ceil(overlap * tile)
    steps = math.ceil((length - tile) / (tile - shared))
    return [round(step * (length - tile) / steps) for step in range(steps + 1)]


def _whole_first(cut: Tensor, scores: Tensor) -> list[int]:
    """Order of the detections: whole ones by score, then cut ones window by window, so that parts meet in a row."""
    best_first = scores.argsort(descending=True, stable=True)
    return [*best_first[~cut[best_first]].tolist(), *cut.nonzero()[:, 0].tolist()]


def _of_different_windows(detections: list[int], sources: Sequence[frozenset[int]]) -> list[int]:
    """The detections without those from a window of an earlier one: what one window tells apart is not one object."""
    chosen: list[int] = []
    for one in detections:
        if all(sources[one].isdisjoint(sources[other]) for other in chosen):
            chosen.append(one)
    return chosen


def _touches(boxes: Tensor, shown: Tensor, near: Tensor, size: tuple[int, int]) -> Tensor:
    """Whether (..., 4) boxes end at a border of what their window shows that is not the image's own."""
    low = (boxes[..., :2] - shown[..., :2] <= near) & (shown[..., :2] > 0)
    high = (shown[..., 2:] - boxes[..., 2:] <= near) & (shown[..., 2:] < torch.tensor((size[1], size[0])))
    return (low | high).any(-1)


def _shared(some: Tensor, others: Tensor) -> Tensor:
    """What rectangles have in common; where that is nothing, one without an area."""
    low, high = torch.maximum(some[..., :2], others[..., :2]), torch.minimum(some[..., 2:], others[..., 2:])
    return torch.cat((low, torch.maximum(low, high)), dim=-1)


def _hull(boxes: Tensor) -> Tensor:
    return torch.cat((boxes[:, :2].amin(0), boxes[:, 2:].amax(0)))


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)


def _iou(some: Tensor, others: Tensor) -> Tensor:
    """Of pairs; 0 where neither has an area."""
    both = _area(_shared(some, others))
    return both / (_area(some) + _area(others) - both).clamp(min=1e-6)
