"""The one piece of geometry: a rectangle of the source image shown in a rectangle of the network's input.

Squash, letterbox, random crop and expand are all views. A view maps image, boxes and mask forward (training,
evaluation) and predictions back to the source (evaluation, prediction), with the same numbers both ways.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import functional as tvf

from bombo.data.label_space import VOID

Fit = Literal["squash", "letterbox"]
FILL = (124, 116, 104)  # ImageNet's mean colour: near zero once normalised


@dataclass(frozen=True)
class View:
    """Shows the source rectangle `source` in the rectangle `target` of an input of `size`.

    Args:
        source: (x, y, width, height) whole pixels of the source image.
        target: (x, y, width, height) whole pixels of the input; what lies outside is padding.
        size: (height, width) of the input.
        flip: Mirror left and right, after everything else.
    """

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]
    size: tuple[int, int]
    flip: bool = False

    @classmethod
    def whole(cls, image: tuple[int, int], size: tuple[int, int], fit: Fit) -> View:
        """Shows the whole image.

        Args:
            image: (height, width) of the source.
            size: (height, width) of the input.
            fit: `squash` fills the input and gives up the aspect ratio; `letterbox` keeps it and pads evenly.
        """
        (height, width), (out_height, out_width) = image, size
        source = (0, 0, width, height)
        if fit == "squash":
            return cls(source, (0, 0, out_width, out_height), size)
        scale = min(out_height / height, out_width / width)
        inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
        left, top = (out_width - inner_width) // 2, (out_height - inner_height) // 2
        return cls(source, (left, top, inner_width, inner_height), size)

    @classmethod
    def window(
        cls,
        image: tuple[int, int],
        window: tuple[float, float, float, float],
        size: tuple[int, int],
        flip: bool = False,
    ) -> View:
        """Shows a window (x, y, width, height) of the source plane in the whole input.

        The window may reach outside the image, even on all sides: that part becomes padding (expand). Pixels that it
        cuts are shown whole.
        """
        x, y, width, height = window
        left, top = max(0, math.floor(x)), max(0, math.floor(y))
        right, bottom = min(image[1], math.ceil(x + width)), min(image[0], math.ceil(y + height))
        left, top = min(left, image[1] - 1), min(top, image[0] - 1)
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        scale_x, scale_y = size[1] / width, size[0] / height
        x1, y1 = round((left - x) * scale_x), round((top - y) * scale_y)
        x2, y2 = round((right - x) * scale_x), round((bottom - y) * scale_y)
        x1, y1 = min(max(x1, 0), size[1] - 1), min(max(y1, 0), size[0] - 1)
        x2, y2 = min(max(x2, x1 + 1), size[1]), min(max(y2, y1 + 1), size[0])
        return cls((left, top, right - left, bottom - top), (x1, y1, x2 - x1, y2 - y1), size, flip)

    def image(self, image: Tensor) -> Tensor:
        """(C, H, W) uint8 source → (C, *size) uint8, antialiased; padding in ImageNet's mean colour."""
        x, y, width, height = self.source
        patch = image[:, y : y + height, x : x + width]
        if patch.shape[-2:] != (self.target[3], self.target[2]):
            patch = tvf.resize(patch, [self.target[3], self.target[2]], antialias=True)
        if self.target != (0, 0, self.size[1], self.size[0]):
            canvas = torch.tensor(FILL, dtype=image.dtype)[:, None, None].repeat(1, *self.size)
            patch = self._paste(canvas, patch)
        return patch.flip(-1) if self.flip else patch

    def mask(self, mask: Tensor, fill: int = VOID) -> Tensor:
        """(H, W) source → (*size), nearest; padding is void, or as given."""
        x, y, width, height = self.source
        patch = mask[None, y : y + height, x : x + width]
        if patch.shape[-2:] != (self.target[3], self.target[2]):
            patch = tvf.resize(
                patch,
                [self.target[3], self.target[2]],
                interpolation=tvf.InterpolationMode.NEAREST_EXACT,
                antialias=False,
            )
        if self.target != (0, 0, self.size[1], self.size[0]):
            patch = self._paste(torch.full((1, *self.size), fill, dtype=mask.dtype), patch)
        return (patch.flip(-1) if self.flip else patch)[0]

    def boxes(self, boxes: Tensor) -> Tensor:
        """(N, 4) source pixels → (N, 4) input pixels, neither clipped nor dropped."""
        scale, shift = self._affine(boxes)
        moved = boxes * scale + shift
        if self.flip:
            moved = torch.stack(
                (self.size[1] - moved[:, 2], moved[:, 1], self.size[1] - moved[:, 0], moved[:, 3]), dim=1
            )
        return moved

    def visible_rectangle(self) -> tuple[int, int, int, int]:
        """Where the input shows image rather than padding: (x1, y1, x2, y2) in input pixels."""
        x, y, width, height = self.target
        x = self.size[1] - x - width if self.flip else x
        return x, y, x + width, y + height

    def boxes_to_source(self, boxes: Tensor) -> Tensor:
        """(N, 4) input pixels → (N, 4) source pixels, clipped to the source rectangle."""
        if self.flip:
            boxes = torch.stack(
                (self.size[1] - boxes[:, 2], boxes[:, 1], self.size[1] - boxes[:, 0], boxes[:, 3]), dim=1
            )
        scale, shift = self._affine(boxes)
        x, y, width, height = self.source
        low, high = boxes.new_tensor((x, y, x, y)), boxes.new_tensor((x + width, y + height, x + width, y + height))
        return ((boxes - shift) / scale).clamp(low, high)

    def classes_to_source(self, logits: Tensor) -> Tensor:
        """Best class of every source pixel.

        Args:
            logits: (K, h, w) class scores over the input, at any resolution.

        Returns:
            (H, W) uint8 over the source rectangle, scores interpolated bilinearly before the choice.
        """
        return _best_class(self._without_padding(logits), (self.source[3], self.source[2]))

    def scores_to_source(self, logits: Tensor) -> Tensor:
        """(K, h, w) class scores over the input, at any resolution → (K, H, W) over the source rectangle, bilinear."""
        return _upsampled(self._without_padding(logits), (self.source[3], self.source[2]))

    def _without_padding(self, logits: Tensor) -> Tensor:
        if self.flip:
            logits = logits.flip(-1)
        (height, width), (x, y, inner_width, inner_height) = self.size, self.target
        if self.target != (0, 0, width, height):
            # bring the scores to input resolution first: the padding's edge seldom falls on a cell's edge
            logits = _upsampled(logits, self.size)[:, y : y + inner_height, x : x + inner_width]
        return logits

    def _affine(self, like: Tensor) -> tuple[Tensor, Tensor]:
        (x, y, width, height), (tx, ty, target_width, target_height) = self.source, self.target
        scale_x, scale_y = target_width / width, target_height / height
        scale = like.new_tensor((scale_x, scale_y, scale_x, scale_y))
        shift = like.new_tensor((tx - x * scale_x, ty - y * scale_y, tx - x * scale_x, ty - y * scale_y))
        return scale, shift

    def _paste(self, canvas: Tensor, patch: Tensor) -> Tensor:
        x, y, width, height = self.target
        canvas[:, y : y + height, x : x + width] = patch
        return canvas


def _best_class(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Argmax after upsampling, one class at a time: K maps of a large photograph would not fit into memory."""
    best = torch.full(size, -torch.inf, device=logits.device)
    chosen = torch.zeros(size, dtype=torch.uint8, device=logits.device)
    for value, scores in enumerate(logits):
        upsampled = _upsampled(scores[None], size)[0]
        better = upsampled > best
        best = upsampled.where(better, best)
        chosen.masked_fill_(better, value)
    return chosen


def _upsampled(scores: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0]
