"""Where in a mask image an object of a class can be: on pixels of the class, and on void that may hide it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bombo.data.label_space import ANY_CLASS, VOID
from bombo.mask_for_box.integral import count_inside, integral
from bombo.mask_for_box.morphology import dilate, opening

_HIDDEN = 0.5  # of an anchor, from which on void decides what is known of it
_RIM = 4  # px at the network's input: void that this radius opens away is a rim


class Evidence(NamedTuple):
    """One map for every thing class present in an image, and for every image one of what void alone may hide.

    Attributes:
        image: (P,) int64 index of the image.
        label: (P,) int64 class index; `ANY_CLASS` in the last B rows, one for each image.
        maps: (P, H, W) bool, where objects of the class can be; in the last B rows, objects of the classes that are not
            present.
    """

    image: Tensor
    label: Tensor
    maps: Tensor


@torch.no_grad()
def class_evidence(masks: Tensor, num_things: int) -> Evidence:
    """Collects the pixels on which objects can be: M⁺ of the certain negatives.

    Void counts in two ways. A blob (void that survives an opening of radius 4) may hide an object of any class. A rim
    (thinner void) belongs to the classes it touches, within 4 px; it says nothing of absent classes, whose every
    negative it would cancel. Rows and columns that are void from end to end at the border are padding of a view and
    hide nothing, unless all of the mask is void.

    Args:
        masks: (B, H, W) uint8, class index + 1; 0 is background, 255 void.
        num_things: Number of thing classes.
    """
    image, label = present_things(masks, num_things).nonzero(as_tuple=True)
    own = masks[image] == (label + 1)[:, None, None]
    void = masks == VOID
    blob = blobs(void)
    rim = void & ~_padding(void) & ~blob
    maps = own | (rim[image] & dilate(own, _RIM)) | blob[image]
    every = torch.arange(len(masks), device=masks.device)
    return Evidence(
        torch.cat((image, every)), torch.cat((label, torch.full_like(every, ANY_CLASS))), torch.cat((maps, blob))
    )


@torch.no_grad()
def hidden_anchors(anchors: Tensor, masks: Tensor) -> Tensor:
    """Anchors of which nobody knows what lies in them: at least half of what the image shows of them is a blob of void.

    Args:
        anchors: (A, 4) xyxy input pixels.
        masks: (B, H, W) uint8, 255 void.

    Returns:
        (B, A) bool; where all of a mask is void, all are.
    """
    void = masks == VOID
    nothing = void.flatten(1).all(1)[:, None]
    limits = anchors.new_tensor((masks.shape[2], masks.shape[1])).repeat(2)
    shown = torch.minimum(anchors.clamp(min=0), limits)
    area = (shown[:, 2:] - shown[:, :2]).prod(1)
    hidden = count_inside(integral(blobs(void)), anchors[None])
    return nothing | ((hidden >= _HIDDEN * area) & (hidden > 0))


def blobs(void: Tensor) -> Tensor:
    """(B, H, W) bool: void that may hide an object; not rims, nor the padding of a view."""
    return opening(void & ~_padding(void), _RIM)


def present_things(masks: Tensor, num_things: int) -> Tensor:
    """Which thing classes have at least one pixel: (B, H, W) uint8 → (B, num_things) bool."""
    seen = torch.zeros(len(masks), 256, dtype=torch.bool, device=masks.device)
    return seen.scatter_(1, masks.flatten(1).long(), True)[:, 1 : num_things + 1]


def hulls(maps: Tensor) -> Tensor:
    """Bounding rectangles.

    Args:
        maps: (P, H, W) bool.

    Returns:
        (P, 4) float32 xyxy edges; zeros where nothing is marked.
    """
    sides = []
    for marked in (maps.any(1), maps.any(2)):
        marked = marked.int()
        low, high = marked.argmax(1), marked.shape[1] - marked.flip(1).argmax(1)
        sides.append(torch.stack((low, high), dim=1) * marked.any(1, keepdim=True))
    x, y = sides
    return torch.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), dim=1).float()


def _padding(void: Tensor) -> Tensor:
    """(B, H, W) bool: rows and columns void from end to end, from the border inwards."""
    padding = torch.zeros_like(void)
    for across in (1, 2):
        lines = void.all(across, keepdim=True)
        along = 3 - across
        padding |= lines.cummin(along).values | lines.flip(along).cummin(along).values.flip(along)
    return padding & ~void.flatten(1).all(1)[:, None, None]
