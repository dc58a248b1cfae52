"""Training augmentation: where to look (a random view) and how the light falls (colour)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2

from bombo.data.view import Fit, View

MIN_VISIBLE = 0.3  # of a box's area; below, what is left is often not recognisable (a region then, no target)


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * torch.rand(()).item()


@dataclass(frozen=True)
class Augment:
    """Draws random views and colours from torch's global generator (the data set seeds it per sample).

    The view is a window over the image's plane. A window smaller than the image is a crop, a larger one expands the
    image with padding; its aspect ratio is jittered around the one that evaluation uses.

    Args:
        fit: `squash` or `letterbox`, as evaluation does it.
        scale: Smallest and largest zoom: 2.0 shows half the image's sides, 0.5 shows the image on twice its plane.
        aspect: Largest factor by which the aspect ratio is stretched either way.
        view_probability: Share of samples that get a random window; the rest shows the whole image.
        flip_probability: Share of mirrored samples.
        colour: Strength of brightness, contrast and saturation jitter; 0 = off.
    """

    fit: Fit = "squash"
    scale: tuple[float, float] = (2 / 3, 1.5)
    aspect: float = 1.35
    view_probability: float = 0.6
    flip_probability: float = 0.5
    colour: float = 1.0

    def view(self, image: tuple[int, int], size: tuple[int, int]) -> View:
        """Draws a view.

        Args:
            image: (height, width) of the source.
            size: (height, width) of the input.
        """
        flip = torch.rand(()).item() < self.flip_probability
        if torch.rand(()).item() >= self.view_probability:
            whole = View.whole(image, size, self.fit)
            return View(whole.source, whole.target, size, flip)
        height, width = image
        if self.fit == "letterbox":  # the window that shows the whole image has the input's aspect ratio
            side = max(height / size[0], width / size[1])
            height_shown, width_shown = side * size[0], side * size[1]
        else:
            height_shown, width_shown = float(height), float(width)
        low, high = torch.tensor(self.scale).log().tolist()
        zoom = torch.tensor(_uniform(low, high)).exp().item()
        stretch = torch.tensor(_uniform(-1, 1) * torch.tensor(self.aspect).log().item() / 2).exp().item()
        shown = (width_shown * stretch / zoom, height_shown / stretch / zoom)
        x, y = (self._offset(full, part) for full, part in zip((width, height), shown, strict=True))
        return View.window(image, (x, y, *shown), size, flip)

    def recolour(self, image: Tensor) -> Tensor:
        """Jitters the colours of a (3, H, W) uint8 image."""
        if self.colour == 0:
            return image
        return _jitter(self.colour)(image)  # type: ignore[no-any-return]

    @staticmethod
    def _offset(full: float, part: float) -> float:
        """A window smaller than the image lies inside it, a larger one contains it."""
        return _uniform(0, full - part) if part <= full else -_uniform(0, part - full)


def _jitter(strength: float) -> v2.ColorJitter:
    # not RandomPhotometricDistort: it permutes the channels of half of the images, and no dog is purple. No hue either:
    # a tint too small to change what a thing is would cost four times as much as everything else together
    return v2.ColorJitter(0.3 * strength, 0.3 * strength, 0.3 * strength)


def boxes_in_view(view: View, boxes: Tensor, min_visible: float = MIN_VISIBLE) -> tuple[Tensor, Tensor, Tensor]:
    """Moves boxes into a view and says which of them are still detection targets.

    A box of which less than `min_visible` of the area can be seen, or whose visible part is smaller than a pixel, is
    no target any more; it stays as a region, so that its pixels are neither negative for the detector nor certain
    background.

    Args:
        view: The view.
        boxes: (N, 4) source pixels.
        min_visible: Smallest visible share of the area, 0 to 1.

    Returns:
        (M, 4) boxes clipped to what the view shows; (M,) index into `boxes`; (M,) bool, still a target. Boxes wholly
        outside are left out.
    """
    moved = view.boxes(boxes)
    x1, y1, x2, y2 = view.visible_rectangle()
    clipped = moved.clamp(moved.new_tensor((x1, y1, x1, y1)), moved.new_tensor((x2, y2, x2, y2)))
    sides = clipped[:, 2:] - clipped[:, :2]
    shown = sides.prod(1) / (moved[:, 2:] - moved[:, :2]).prod(1).clamp(min=1e-6)
    inside = (sides > 0).all(1)
    target = (shown >= min_visible) & (sides >= 1).all(1)
    return clipped[inside], torch.nonzero(inside)[:, 0], target[inside]
