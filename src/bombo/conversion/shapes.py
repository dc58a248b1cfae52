"""Outlines in all their forms: polygons, COCO's run lengths, pixels; and holes and many parts as one ring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from bombo.conversion.annotated import AnnotatedObject, Shape
from bombo.data.label_space import VOID
from bombo.data.masks import Outline, OutlineMask, encoded

Ring = np.ndarray  # (P, 2) x, y: clockwise around an object, counter-clockwise around a hole of it


def to_rle(shape: Shape, size: tuple[int, int]) -> dict[str, Any]:
    """An outline as compressed run lengths, ready for JSON.

    Args:
        shape: Polygons, RLE, or (H, W) bool.
        size: (height, width) of the image.

    Raises:
        DataError: The outline cannot be decoded.
    """
    if isinstance(shape, np.ndarray):
        rle = coco_mask.encode(np.asfortranarray(shape, dtype=np.uint8))
    else:
        rle = encoded(Outline(0, shape, False, "an outline"), size)
    counts = rle["counts"]
    return {"size": list(size), "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}


def to_pixels(shape: Shape, size: tuple[int, int]) -> np.ndarray:
    """An outline as (H, W) bool."""
    if isinstance(shape, np.ndarray):
        return shape
    pixels: np.ndarray = coco_mask.decode(to_rle(shape, size)) == 1
    return pixels


def to_rings(shape: Shape, size: tuple[int, int]) -> list[Ring]:
    """An outline as rings that the even-odd rule fills: its polygons as they stand, else the borders of its pixels."""
    if isinstance(shape, list) and not _overlap(shape, size):
        return [polygon.reshape(-1, 2) for polygon in shape]
    return borders(to_pixels(shape, size))


def is_hole(ring: Ring) -> bool:
    """Whether a ring that `borders` made runs around a hole."""
    return _signed_area(ring) < 0


def paint(objects: Sequence[AnnotatedObject], size: tuple[int, int]) -> np.ndarray:
    """The mask a reader makes of outlines: the smallest on top, crowds void below all; objects without are passed over.

    Returns:
        (H, W) uint8, class index + 1, 0 background, 255 void.
    """
    outlines = [
        Outline(VOID if item.crowd else item.label + 1, to_rle(item.shape, size), item.crowd, "an outline")
        for item in objects
        if item.shape is not None
    ]
    return OutlineMask(tuple(outlines), size, "").load(size)


def borders(pixels: np.ndarray) -> list[Ring]:
    """The borders of a region along the edges of its pixels; filled again, they give the same pixels.

    Pixels that touch at a corner only belong to different rings.

    Args:
        pixels: (H, W) bool.

    Returns:
        Rings of whole numbers, without points on straight lines; the largest first.
    """
    inside = np.pad(pixels.astype(bool), 1)
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # a pixel's four edges, walked with the pixel to the right, where the neighbour beyond is not of the region
    for (dy, dx), start, step in (
        ((-1, 0), (0, 0), (1, 0)),
        ((0, 1), (1, 0), (0, 1)),
        ((1, 0), (1, 1), (-1, 0)),
        ((0, -1), (0, 1), (0, -1)),
    ):
        ys, xs = np.nonzero(inside & ~np.roll(inside, (-dy, -dx), (0, 1)))
        for y, x in zip((ys - 1 + start[1]).tolist(), (xs - 1 + start[0]).tolist(), strict=True):
            steps.setdefault((x, y), []).append(step)
    rings = []
    while steps:
        rings.append(_walk(steps))
    return sorted(rings, key=lambda ring: -abs(_signed_area(ring)))


def one_ring(rings: Sequence[Ring]) -> Ring:
    """Joins parts and holes to one ring by bridges without width, each from the nearest point to the nearest point.

    Args:
        rings: At least one; holes run the other way round, as `borders` makes them.
    """
    points, ends = np.concatenate(rings), np.cumsum([len(ring) for ring in rings])
    joined = new = np.arange(ends[0])
    apart = np.arange(ends[0], len(points))  # not joined yet; how near the ring is, and where
    gaps, places = np.full(len(apart), np.inf), np.zeros(len(apart), np.int64)
    while len(apart):
        for point in new:  # the others were compared before
            gap = np.hypot(*(points[apart] - points[point]).T)
            nearer = gap < gaps
            gaps[nearer], places[nearer] = gap[nearer], point
        nearest = gaps.argmin()
        ring = np.searchsorted(ends, apart[nearest], side="right")
        start = ends[ring - 1]
        new = np.roll(np.arange(start, ends[ring]), start - apart[nearest])
        here = np.flatnonzero(joined == places[nearest])[0]
        joined = np.concatenate((joined[: here + 1], new, new[:1], joined[here:]))
        rest = (apart < start) | (apart >= ends[ring])
        apart, gaps, places = apart[rest], gaps[rest], places[rest]
    return points[joined]


def extent(rings: Sequence[Ring]) -> tuple[float, float, float, float]:
    """The rectangle around rings, xyxy."""
    points = np.concatenate(rings)
    (x1, y1), (x2, y2) = points.min(0).tolist(), points.max(0).tolist()
    return x1, y1, x2, y2


def _walk(steps: dict[tuple[int, int], list[tuple[int, int]]]) -> Ring:
    """Takes one closed walk out of the unit steps; at a crossing it turns right, which stays at the same pixel."""
    start = next(iter(steps))
    (x, y), (dx, dy), corners = start, (0, 0), []
    while True:
        choices = steps[x, y]
        step = (-dy, dx) if (-dy, dx) in choices else choices[0]
        choices.remove(step)
        if not choices:
            del steps[x, y]
        if step != (dx, dy):
            corners.append((x, y))
            dx, dy = step
        x, y = x + dx, y + dy
        if (x, y) == start:
            break
    ring = np.array(corners, np.float64)
    before, after = ring[0] - ring[-1], ring[1] - ring[0]
    return ring[1:] if before[0] * after[1] == before[1] * after[0] else ring


def _overlap(polygons: list[np.ndarray], size: tuple[int, int]) -> bool:
    parts = coco_mask.frPyObjects(polygons, *size)
    return bool(coco_mask.area(parts).sum() > coco_mask.area(coco_mask.merge(parts)))


def _signed_area(ring: Ring) -> float:
    """Positive where a ring runs clockwise on the screen (y points down)."""
    x, y = ring.T
    return math.fsum((x * np.roll(y, -1) - np.roll(x, -1) * y).tolist()) / 2
