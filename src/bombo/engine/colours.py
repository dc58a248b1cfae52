"""One colour for each class, told apart with normal, red-blind and green-blind sight."""

from __future__ import annotations

from functools import cache

import numpy as np

from bombo.data.label_space import VOID

_FIRST = ((38, 132, 255), (255, 112, 41), (255, 214, 0))  # blue, orange, yellow: strong, and safe for every sight
_VOID_COLOUR = (224, 224, 192)  # as in VOC's own palette

# linear RGB → cone responses → Oklab (B. Ottosson, 2020), in which distance is roughly what the eye sees
_TO_CONES = np.array([[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]])
_TO_OKLAB = np.array([[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]])
# what is left of linear RGB without red or green cones (Machado, Oliveira, Fernandes, IEEE TVCG 2009, severity 1)
_RED_BLIND = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
_GREEN_BLIND = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
)
_SIGHTS = ((0.8, np.eye(3)), (1.3, _RED_BLIND), (1.3, _GREEN_BLIND))  # weights: what either can give is about equal


def class_colours(n: int) -> np.ndarray:
    """The first `n` class colours; class `c` has the same colour whatever `n` is.

    Each colour is the vivid one farthest from all before it, in the worst of three kinds of sight; so the first, which
    the things have, are the strongest and the easiest to tell apart.

    Returns:
        (n, 3) uint8 RGB.
    """
    return _all_colours()[:n].copy()


def mask_palette(num_classes: int) -> np.ndarray:
    """The palette of mask files: black background, the class colours, VOC's beige for void, grey for values unused.

    Returns:
        (256, 3) uint8 RGB; row = mask value.
    """
    palette = np.full((256, 3), 128, dtype=np.uint8)
    palette[0], palette[VOID] = 0, _VOID_COLOUR
    palette[1 : num_classes + 1] = class_colours(num_classes)
    return palette


def luminance(colours: np.ndarray) -> np.ndarray:
    """Relative luminance (WCAG 2) of (..., 3) RGB colours: 0 for black to 1 for white."""
    luminance: np.ndarray = _linear(colours) @ np.array([0.2126, 0.7152, 0.0722])
    return luminance


@cache
def _all_colours() -> np.ndarray:
    steps = np.linspace(0, 255, 18).round()
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, *ab = _seen_as(grid, np.eye(3)).T
    vivid = grid[(np.hypot(*ab) > 0.12) & (lightness > 0.58) & (lightness < 0.9)]  # never near black, white or grey
    seen = [(weight, matrix, _seen_as(vivid, matrix)) for weight, matrix in _SIGHTS]
    chosen: list[np.ndarray] = []
    distance = np.full(len(vivid), np.inf)
    while len(chosen) < VOID - 1:
        # rounded, so that the last bits of a machine's arithmetic do not decide
        colour = np.array(_FIRST[len(chosen)]) if len(chosen) < len(_FIRST) else vivid[distance.round(4).argmax()]
        for weight, matrix, others in seen:
            distance = np.minimum(distance, weight * np.linalg.norm(others - _seen_as(colour, matrix), axis=1))
        chosen.append(colour)
    return np.array(chosen).astype(np.uint8)


def _seen_as(colours: np.ndarray, sight: np.ndarray) -> np.ndarray:
    light = np.clip(_linear(colours) @ sight.T, 0, 1)
    oklab: np.ndarray = np.cbrt(light @ _TO_CONES.T) @ _TO_OKLAB.T
    return oklab


def _linear(colours: np.ndarray) -> np.ndarray:
    share = np.asarray(colours, dtype=np.float64) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
