"""Outlines that a hand can correct: few points, no holes."""

from __future__ import annotations

import cv2
import numpy as np

from bombo.conversion.annotated import Shape
from bombo.conversion.shapes import borders, one_ring, to_pixels

_TOLERANCE = 1.25  # pixels between outline and polygon: more than the steps of nearly all slanting edges
_OF_SIZE = 0.05  # the same for small parts, as a share of their size (root of the area)
_SPECK = 0.01  # share of an object below which a detached part and a hole are left out


def drawn(shape: Shape, size: tuple[int, int]) -> list[np.ndarray]:
    """An outline as polygons within about a pixel of it, one for each part; holes are joined to their part by a bridge.

    Args:
        shape: The outline; polygons stay as they are.
        size: (height, width) of the image.

    Returns:
        Polygons (2 · points,) float64 x, y, ... in pixels, the largest first; specks under 1 % of the object left out;
        none at all where the outline has no pixel.
    """
    if isinstance(shape, list):
        return shape
    pixels = to_pixels(shape, size)
    # 4-connected, as the borders are: pixels that touch at a corner would make polygons that touch themselves
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(pixels.astype(np.uint8), connectivity=4)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    kept = [part for part in np.argsort(-areas, kind="stable") if areas[part] >= _SPECK * areas.sum()]
    polygons = []
    for part in kept:
        x, y, width, height = statistics[part + 1, :4]
        body = parts[y : y + height, x : x + width] == part + 1
        rings = [ring for ring in borders(body) if cv2.contourArea(ring.astype(np.float32)) >= _SPECK * areas.sum()]
        tolerance = min(_TOLERANCE, _OF_SIZE * areas[part] ** 0.5)
        ring = one_ring([_simpler(ring, tolerance) for ring in rings])
        polygons.append((ring + np.array((x, y))).reshape(-1))
    return polygons


def _simpler(ring: np.ndarray, tolerance: float) -> np.ndarray:
    simple = cv2.approxPolyDP(ring.astype(np.float32)[:, None], tolerance, closed=True)[:, 0].astype(np.float64)
    return simple if len(simple) >= 3 else ring
