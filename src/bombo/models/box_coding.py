"""Boxes as corrections of anchors, and back (SSD, Liu et al. 2016, with its variances 0.1 and 0.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

VARIANCES = _CENTRE, _SIZE = 0.1, 0.2
_LARGEST = math.log(1000 / 16)  # of the size correction: exp must not overflow early in training


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Boxes (..., 4) xyxy relative to anchors (..., 4) xyxy → deltas (..., 4) of about unit variance.

    Sides are taken to be at least a thousandth of a pixel, so that a degenerate box gives a finite delta.
    """
    anchor_centre, anchor_size = _centre_size(anchors)
    centre, size = _centre_size(boxes)
    shift = (centre - anchor_centre) / anchor_size / _CENTRE
    return torch.cat((shift, (size.clamp(min=1e-3) / anchor_size).log() / _SIZE), dim=-1)


def decode(deltas: Tensor, anchors: Tensor) -> Tensor:
    """Deltas (..., 4) and anchors (..., 4) → boxes (..., 4) xyxy; the inverse of `encode`."""
    anchor_centre, anchor_size = _centre_size(anchors)
    centre = anchor_centre + deltas[..., :2] * _CENTRE * anchor_size
    half = (deltas[..., 2:] * _SIZE).clamp(max=_LARGEST).exp() * anchor_size / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def _centre_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
