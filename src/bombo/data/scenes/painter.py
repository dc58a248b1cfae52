"""Puts sprites on the ground, with shadows and a veil of water, and photographs the result."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from bombo.data.scenes.ground import Ground
from bombo.data.scenes.layout import clip
from bombo.data.scenes.sprite import Sprite
from bombo.data.scenes.things import Kind


class Painter:
    """Paints one picture.

    Args:
        ground: The beach to paint on; it stays as it is.
        light: Complex unit number that points to the light.
    """

    def __init__(self, ground: Ground, light: complex) -> None:
        self.image = ground.image.copy()
        self._ground, self._light = ground, light

    def put(self, sprite: Sprite, kind: Kind, top: int, left: int) -> None:
        """Paints a sprite with its top left corner at the given pixel, over what is there."""
        self._shadow(sprite, kind, top, left)
        picture, patch = clip(sprite.alpha.shape, top, left, len(self.image))
        paint, alpha = sprite.paint[patch], sprite.alpha[patch][..., None]
        sunk = kind.veil * self._ground.water[picture] * (0.3 + 0.7 * self._ground.depth[picture])
        veil = sunk[..., None]
        veiled = paint * (1 - veil) + self._ground.image[picture] * alpha * veil
        self.image[picture] = self.image[picture] * (1 - alpha) + veiled

    def photograph(self, rng: np.random.Generator) -> np.ndarray:
        """The picture through a camera: uneven light, white balance, contrast, sensor noise; (H, W, 3) uint8."""
        size = len(self.image)
        y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
        uneven = 1 + rng.uniform(0, 0.16) * (x * self._light.real + y * self._light.imag)
        contrast, balance = rng.uniform(0.86, 1.08), rng.normal(1, 0.025, 3)
        exposed = (self.image * uneven[..., None] - 128) * contrast + 128 * rng.uniform(0.92, 1.06)
        noise = rng.normal(0, rng.uniform(1.5, 5), (size, size, 3))
        picture: np.ndarray = np.clip(np.rint(exposed * balance + noise), 0, 255).astype(np.uint8)
        return picture

    def _shadow(self, sprite: Sprite, kind: Kind, top: int, left: int) -> None:
        fall = kind.lift * max(sprite.alpha.shape)
        blur = 0.6 + 0.3 * fall
        margin = int(3 * blur) + 1
        dark = Image.fromarray(np.pad(np.rint(sprite.alpha * 255).astype(np.uint8), margin))
        soft = np.asarray(dark.filter(ImageFilter.GaussianBlur(blur)), dtype=np.float64) / 255
        away = -self._light * (fall + 1)
        place = top - margin + round(away.imag), left - margin + round(away.real)
        picture, patch = clip(soft.shape, *place, len(self.image))
        self.image[picture] *= 1 - 0.5 * soft[patch][..., None] * np.array((1.0, 0.94, 0.86))
