"""A pen that draws one object in its own unit coordinates, and the antialiased sprite that comes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]

_OVERSAMPLE = 4
_REACH = 1.3  # no object reaches farther than this from its origin, in units of its radius


@dataclass(frozen=True)
class Sprite:
    """One drawn object, cropped to its silhouette.

    Args:
        paint: (h, w, 3) float64 in 0 to 255, multiplied by alpha already.
        alpha: (h, w) float64 in 0 to 1, the share of each pixel that the object covers.
    """

    paint: np.ndarray
    alpha: np.ndarray

    @property
    def silhouette(self) -> np.ndarray:
        """(h, w) bool: the pixels that belong to the object, because it covers half of them or more."""
        return self.alpha >= 0.5


class Pen:
    """Draws in complex coordinates: the object has radius 1 around 0 and looks along the real axis.

    Args:
        diameter: Size of the unit circle in pixels of the sprite.
        turn: Rotation in radians.
        light: Complex unit number that points to the light in the picture.
        squash: Factor across the looking direction; negative values mirror.
    """

    def __init__(self, diameter: float, turn: float, light: complex, squash: float = 1.0) -> None:
        half = math.ceil(diameter / 2 * _REACH) + 1
        self._scale = diameter / 2 * _OVERSAMPLE
        self._centre = complex(half, half) * _OVERSAMPLE
        self._rotation = complex(math.cos(turn), math.sin(turn))
        self._squash = squash
        self._light = light
        side = (2 * half * _OVERSAMPLE,) * 2
        self._canvas, self._shape = Image.new("RGB", side), Image.new("L", side)
        self._on_canvas, self._on_shape = ImageDraw.Draw(self._canvas), ImageDraw.Draw(self._shape)
        self._diameter = diameter

    @property
    def light(self) -> complex:
        """Direction of the light in the object's own coordinates."""
        turned = self._light / self._rotation
        return complex(turned.real, turned.imag * math.copysign(1, self._squash))

    def fill(self, outline: np.ndarray, colour: Colour, *, body: bool = True) -> None:
        """Fills a polygon; `body=False` is decoration: it shows only where the object is."""
        points = self._points(outline)
        self._on_canvas.polygon(points, fill=colour)
        if body:
            self._on_shape.polygon(points, fill=255)

    def stroke(self, path: np.ndarray, width: float, colour: Colour, *, body: bool = True) -> None:
        """Draws a line with round joints and ends; `width` in units of the radius."""
        points, pixels = self._points(path), max(round(width * self._scale), 2)
        targets = ((self._on_canvas, colour), (self._on_shape, 255)) if body else ((self._on_canvas, colour),)
        for draw, fill in targets:
            draw.line(points, fill=fill, width=pixels, joint="curve")
            for x, y in (points[0], points[-1]):
                draw.ellipse((x - pixels // 2, y - pixels // 2, x + pixels // 2, y + pixels // 2), fill=fill)

    def finish(self, relief: float, mottle: np.ndarray) -> Sprite:
        """Lights the object from the side and returns it at picture resolution.

        Args:
            relief: How round the object looks, 0 = flat.
            mottle: (n, n) uint8 noise, laid over the object as uneven colour; mean 128 keeps the brightness.
        """
        shape = self._shape.reduce(_OVERSAMPLE)
        only_inside = Image.composite(self._canvas, Image.new("RGB", self._canvas.size), self._shape)
        paint = np.asarray(only_inside.reduce(_OVERSAMPLE), dtype=np.float64)
        height = np.asarray(shape.filter(ImageFilter.GaussianBlur(self._diameter * 0.09)), dtype=np.float64) / 255
        down, right = np.gradient(height)
        slope = -(down * self._light.imag + right * self._light.real) * self._diameter
        uneven = np.asarray(Image.fromarray(mottle).resize(shape.size, Image.Resampling.BICUBIC), dtype=np.float64)
        shade = (1 + np.clip(relief * slope, -0.45, 0.4)) * (1 + (uneven - 128) / 600)
        left, top, stop_x, stop_y = shape.getbbox() or (0, 0, 1, 1)
        inside = slice(top, stop_y), slice(left, stop_x)
        alpha = np.asarray(shape, dtype=np.float64)[inside] / 255
        return Sprite(np.minimum(paint * shade[..., None], 255.0)[inside], alpha)

    def _points(self, path: np.ndarray) -> list[tuple[int, int]]:
        squashed = path.real + 1j * path.imag * self._squash
        # whole numbers, so that no library rounds them in its own way
        pixels = np.rint((squashed * self._rotation * self._scale + self._centre).view(np.float64)).astype(int)
        return [(x, y) for x, y in pixels.reshape(-1, 2).tolist()]


def ellipse(centre: complex, length: float, width: float, turn: float = 0.0, points: int = 28) -> np.ndarray:
    """Outline of an ellipse with the half axes `length` (along `turn`) and `width`."""
    angle = np.arange(points) * (2 * np.pi / points)
    outline: np.ndarray = centre + np.exp(1j * turn) * (length * np.cos(angle) + 1j * width * np.sin(angle))
    return outline


def path(*points: complex) -> np.ndarray:
    """A polyline or polygon from single points."""
    return np.array(points, dtype=np.complex128)


def tint(rng: np.random.Generator, colours: tuple[Colour, ...], spread: float = 10.0) -> Colour:
    """Picks one of the colours and varies it a little."""
    red, green, blue = np.clip(np.rint(rng.choice(np.array(colours)) + rng.normal(0, spread, 3)), 0, 255).astype(int)
    return int(red), int(green), int(blue)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blends two colours; `share` of the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue
