"""Boxes as they stand in the file, before a reader cuts or refuses them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bombo.checks.finding import REPAIR, Defect, Hit
from bombo.data.annotation_io import Box

_OUTLINE = "the command takes the extent of the outline, and leaves boxes without one out"
_LEFT_OUT = f"correct them where the objects are real; {_OUTLINE}"
NOT_FINITE = Defect("box-not-finite", "error", "box is no four numbers", "boxes are no four numbers", _LEFT_OUT, REPAIR)
SWAPPED = Defect(
    "box-swapped", "error", "box has its corners swapped", "boxes have their corners swapped",
    "the command puts the corners in order", REPAIR,
)  # fmt: skip
DEGENERATE = Defect("box-degenerate", "error", "box has no area", "boxes have no area", _LEFT_OUT, REPAIR)
OUTSIDE = Defect(
    "box-outside", "error", "box lies outside its image", "boxes lie outside their image",
    f"see first whether the annotation declares the right image size; {_OUTLINE}", REPAIR,
)  # fmt: skip
NORMALISED = Defect(
    "box-normalised", "error", "box is in shares of the image (0 to 1)", "boxes are in shares of the image (0 to 1)",
    "this format counts pixels: the command multiplies x by the image's width and y by its height", REPAIR,
)  # fmt: skip
PIXELS = Defect(
    "box-in-pixels", "error", "box is in pixels", "boxes are in pixels",
    "this format counts shares from 0 to 1: the command divides x by the image's width and y by its height", REPAIR,
)  # fmt: skip
CORNERS = Defect(
    "box-corners", "error",
    "file seems to hold corners where a corner and a size are due",
    "files seem to hold corners where a corner and a size are due",
    "the command reads all of them as x1, y1, x2, y2, and writes x, y, width, height", REPAIR,
)  # fmt: skip
CLIPPED = Defect(
    "box-clipped", "warning", "box reaches outside its image", "boxes reach outside their image",
    "they are cut to the image, in training and by the command; if objects are not where their boxes are, the image's "
    "size or orientation is wrong", REPAIR,
)  # fmt: skip
DUPLICATE = Defect(
    "box-duplicate", "warning", "box stands twice", "boxes stand twice",
    "a network can find an object only once: the command leaves the second one out", REPAIR,
)  # fmt: skip

_ROUNDING = 1.0  # pixels that tools which round may reach over the edge
_SMALL_IMAGE = 8  # pixels; in larger images, boxes within the first pixel are no pixels
_FEW_BOXES = 5  # below, a pattern over a file is no evidence


@dataclass(frozen=True)
class RawBox:
    """One box as stored.

    Args:
        where: Its place, as the reader names it.
        name: The class as written.
        numbers: The four numbers as written, in the format's own order and unit.
        box: xyxy in pixels of the image, edges.
        size: (height, width) of the image.
        first: Number of the first pixel: VOC counts from 1.
    """

    where: str
    name: str
    numbers: tuple[float, ...]
    box: Box
    size: tuple[int, int]
    first: int = 0

    @property
    def overhang(self) -> float:
        """Pixels it reaches over the image's edge at most."""
        x1, y1, x2, y2 = self.box
        return max(-x1, -y1, x2 - self.size[1], y2 - self.size[0])


def judge(box: RawBox, *, in_pixels: bool = True) -> Hit | None:
    """What is wrong with one box by itself; `in_pixels`: its format counts pixels, not shares of the image."""
    x1, y1, x2, y2 = box.box
    height, width = box.size
    shown = f"{box.name} ({', '.join(f'{value:g}' for value in box.numbers)})"
    if not all(map(math.isfinite, box.box)):
        return Hit(NOT_FINITE, box.where, shown)
    if x2 < x1 or y2 < y1:
        return Hit(SWAPPED, box.where, shown)
    if x2 == x1 or y2 == y1:
        return Hit(DEGENERATE, box.where, shown)
    if in_pixels and all(0 <= value <= 1 for value in box.numbers) and min(box.size) > _SMALL_IMAGE:
        return Hit(NORMALISED, box.where, f"{shown} in an image of {width} × {height}")
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        return Hit(OUTSIDE, box.where, f"{shown} in an image of {width} × {height}")
    if box.overhang > _ROUNDING:
        return Hit(CLIPPED, box.where, f"{shown} reaches {box.overhang:.0f} px outside {width} × {height}")
    return None


def faults(boxes: Sequence[RawBox], *, in_pixels: bool = True) -> list[tuple[int, Hit]]:
    """What is wrong with the boxes of one image, as row and hit: first which stand twice, then each by itself."""
    alone = ((row, judge(box, in_pixels=in_pixels)) for row, box in enumerate(boxes))
    return _duplicates(boxes) + [(row, hit) for row, hit in alone if hit is not None]


def mended(box: RawBox, defect: Defect) -> Box | None:
    """The box as it was meant, xyxy in pixels, cut to its image; None if nothing tells.

    Args:
        box: A box with a defect.
        defect: What is wrong with it.
    """
    if defect in (NOT_FINITE, DEGENERATE, OUTSIDE, DUPLICATE):
        return None
    height, width = box.size
    x1, y1, x2, y2 = box.box
    low_x, low_y = x1 + box.first, y1 + box.first  # as written
    if defect == SWAPPED:
        x1, y1 = min(low_x, x2) - box.first, min(low_y, y2) - box.first
        x2, y2 = max(low_x, x2), max(low_y, y2)
    elif defect == NORMALISED:
        x1, y1, x2, y2 = low_x * width, low_y * height, x2 * width, y2 * height
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _duplicates(boxes: Sequence[RawBox]) -> list[tuple[int, Hit]]:
    """Boxes that repeat an earlier one of the same class, to a pixel's half."""
    seen: dict[tuple[object, ...], RawBox] = {}
    hits = []
    for row, box in enumerate(boxes):
        if not all(map(math.isfinite, box.box)):
            continue
        first = seen.setdefault((box.name, *(round(2 * value) for value in box.box)), box)
        if first is not box:
            place = first.where.rpartition(", ")[2]
            hits.append((row, Hit(DUPLICATE, box.where, f"{box.name}, the same as {place}")))
    return hits


def hold_corners(boxes: Sequence[RawBox]) -> bool:
    """Whether nearly all boxes of a file make sense as x1 y1 x2 y2, and many make none as x, y, width and height."""
    fit = [
        x1 < x2 <= width + _ROUNDING and y1 < y2 <= height + _ROUNDING
        for (x1, y1, x2, y2), (height, width) in ((box.numbers, box.size) for box in boxes)
    ]
    outside = sum(box.overhang > _ROUNDING for box in boxes)
    return len(boxes) >= _FEW_BOXES and sum(fit) >= 0.95 * len(boxes) and outside >= 0.2 * len(boxes)
