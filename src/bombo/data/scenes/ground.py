"""Sand and water: the textured ground everything lies on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]

_SAND = ((226, 202, 160), (212, 186, 146), (236, 220, 188), (196, 166, 128), (190, 182, 168), (222, 188, 158))
_WATER = (((92, 190, 186), (24, 98, 150)), ((112, 176, 168), (38, 92, 112)), ((126, 200, 214), (40, 110, 190)))


@dataclass(frozen=True)
class Ground:
    """The beach before anything is put on it.

    Args:
        image: (H, W, 3) float64 in 0 to 255.
        water: (H, W) bool.
        depth: (H, W) float64 in 0 (dry, or the shoreline) to 1 (deep).
    """

    image: Floats
    water: NDArray[np.bool_]
    depth: Floats


def noise(rng: np.random.Generator, size: int, cells: float) -> Floats:
    """Smooth random field with about `cells` bumps along a side, (size, size) float64 in 0 to 1, mean 1/2.

    Interpolated in eight bits: integer arithmetic gives the same field on every machine.
    """
    coarse = rng.integers(0, 256, (max(round(cells), 1) + 3,) * 2, dtype=np.uint8)
    step = size / cells
    side = round(step * coarse.shape[0])
    whole = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)
    start = round(step)  # the outermost cells would show the border
    inner = whole[start : start + size, start : start + size]
    return inner / 255


def make_ground(rng: np.random.Generator, size: int) -> Ground:
    """A beach, a tide pool, dry sand or open water, with a ground texture of its own."""
    y, x = np.mgrid[0:size, 0:size] / size
    broad = noise(rng, size, 3)
    offshore = _offshore(rng, x, y, broad)
    water = offshore > 0
    depth = np.clip(offshore / 0.5, 0, 1)
    wet_sand = np.exp(np.minimum(offshore, 0) / 0.06)[..., None]
    sand = _sand(rng, size, x, y, broad) * (1 - 0.26 * wet_sand * np.array((0.8, 1.0, 1.15)))
    covered = np.clip(offshore * size + 0.5, 0, 1)[..., None]  # antialiased; half a pixel at the edge of `water`
    image = sand + (_water(rng, size, depth, sand) - sand) * covered
    foam = _foam(rng, size, offshore)[..., None] * covered
    return Ground(image * (1 - foam) + np.array((246.0, 248.0, 244.0)) * foam, water, depth)


def _offshore(rng: np.random.Generator, x: Floats, y: Floats, broad: Floats) -> Floats:
    """Signed distance to the shoreline in sides of the image, positive in the water."""
    wobble = 0.24 * (broad - 0.5) + 0.06 * (noise(rng, len(x), 9) - 0.5)
    place = rng.random()
    if place < 0.16:  # dry sand
        return np.full_like(x, -1.0)
    if place < 0.26:  # open water
        return 0.12 + 0.7 * broad
    if place < 0.42:  # a tide pool
        across, down = x - rng.uniform(0.25, 0.75), y - rng.uniform(0.25, 0.75)
        pool: Floats = rng.uniform(0.22, 0.38) - np.hypot(across, down * rng.uniform(0.8, 1.4)) + wobble
        return pool
    seaward = rng.uniform(0, 2 * np.pi)
    away = (x - 0.5) * np.cos(seaward) + (y - 0.5) * np.sin(seaward)
    shore: Floats = away + rng.uniform(-0.22, 0.25) + wobble
    return shore


def _sand(rng: np.random.Generator, size: int, x: Floats, y: Floats, broad: Floats) -> Floats:
    tone = rng.choice(np.array(_SAND)) + rng.normal(0, 6, 3)
    wind, waves = rng.uniform(0, np.pi), rng.uniform(9, 22)
    along = x * np.cos(wind) + y * np.sin(wind) + 0.16 * noise(rng, size, 5)
    ripple = np.sin(2 * np.pi * waves * along) * rng.uniform(0, 7) * noise(rng, size, 4)
    relief = 26 * (broad - 0.5) + 14 * (noise(rng, size, 14) - 0.5) + ripple
    grain = rng.normal(0, rng.uniform(3, 7), (size, size))
    crumbs = (rng.random((size, size)) < 0.012) * rng.uniform(-46, 30, (size, size))
    sand: Floats = tone + (relief + grain + crumbs)[..., None]
    return sand


def _water(rng: np.random.Generator, size: int, depth: Floats, sand: Floats) -> Floats:
    shallow, deep = np.array(_WATER[rng.integers(len(_WATER))], dtype=np.float64) + rng.normal(0, 5, (2, 3))
    colour = shallow + (deep - shallow) * depth[..., None]
    first, second = noise(rng, size, 7), noise(rng, size, 12)
    # light that waves focus on the bottom runs along the ridges of a smooth field
    caustics = (1 - np.abs(2 * first - 1)) ** 5 + 0.6 * (1 - np.abs(2 * second - 1)) ** 6
    lit = colour + (34 * (caustics - 0.35) + 12 * (noise(rng, size, 26) - 0.5))[..., None]
    clear = 0.45 * np.exp(-5 * depth)[..., None]
    water: Floats = lit * (1 - clear) + sand * clear
    return water


def _foam(rng: np.random.Generator, size: int, offshore: Floats) -> Floats:
    lace = noise(rng, size, 30) * 0.6 + noise(rng, size, 12) * 0.6
    edge = np.exp(-(((offshore - 0.006) / 0.014) ** 2)) * np.clip(3.4 * lace - 0.9, 0, 1)
    swell = np.exp(-(((offshore - rng.uniform(0.07, 0.14)) / 0.012) ** 2)) * np.clip(4 * lace - 2.3, 0, 0.8)
    foam: Floats = np.clip(edge + swell, 0, 1)
    return foam
