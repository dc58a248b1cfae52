"""Boxes as they stand in the file, before a reader cuts or refuses them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bombo.checks.finding import Defect, Hit

_CORRECT = "correct or remove the boxes; until then such images are refused (or left out with --skip-bad)"
NOT_FINITE = Defect("box-not-finite", "error", "box is no four numbers", "boxes are no four numbers", _CORRECT)
SWAPPED = Defect(
    "box-swapped", "error", "box has its corners swapped", "boxes have their corners swapped",
    "exchange the two corners; " + _CORRECT,
)  # fmt: skip
DEGENERATE = Defect("box-degenerate", "error", "box has no area", "boxes have no area", _CORRECT)
OUTSIDE = Defect(
    "box-outside", "error", "box lies outside its image", "boxes lie outside their image",
    "correct the boxes, or the image size that the annotation declares",
)  # fmt: skip
NORMALISED = Defect(
    "box-normalised", "error", "box is in shares of the image (0 to 1)", "boxes are in shares of the image (0 to 1)",
    "multiply x by the image's width and y by its height: this format counts pixels",
)  # fmt: skip
PIXELS = Defect(
    "box-in-pixels", "error", "box is in pixels", "boxes are in pixels",
    "divide x by the image's width and y by its height: this format counts shares from 0 to 1",
)  # fmt: skip
CORNERS = Defect(
    "box-corners", "error",
    "file seems to hold corners where a corner and a size are due",
    "files seem to hold corners where a corner and a size are due",
    "write width and height (x2 - x1, y2 - y1) in place of the second corner",
)  # fmt: skip
CLIPPED = Defect(
    "box-clipped", "warning", "box reaches outside its image", "boxes reach outside their image",
    "they are cut to the image; if an object is not where its box is, check image size and orientation",
)  # fmt: skip
DUPLICATE = Defect(
    "box-duplicate", "warning", "box stands twice", "boxes stand twice",
    "remove one of the two: a network can find an object only once",
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
    """

    where: str
    name: str
    numbers: tuple[float, ...]
    box: tuple[float, float, float, float]
    size: tuple[int, int]

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


def duplicates(boxes: Iterable[RawBox]) -> list[Hit]:
    """Boxes of one image that repeat an earlier one of the same class, to a pixel's half."""
    seen: dict[tuple[object, ...], RawBox] = {}
    hits = []
    for box in boxes:
        if not all(map(math.isfinite, box.box)):
            continue
        first = seen.setdefault((box.name, *(round(2 * value) for value in box.box)), box)
        if first is not box:
            place = first.where.rpartition(", ")[2]
            hits.append(Hit(DUPLICATE, box.where, f"{box.name}, the same as {place}"))
    return hits


def hold_corners(boxes: Sequence[RawBox]) -> bool:
    """Whether nearly all boxes of a file make sense as x1 y1 x2 y2, and many make none as x, y, width and height."""
    fit = [
        x1 < x2 <= width + _ROUNDING and y1 < y2 <= height + _ROUNDING
        for (x1, y1, x2, y2), (height, width) in ((box.numbers, box.size) for box in boxes)
    ]
    outside = sum(box.overhang > _ROUNDING for box in boxes)
    return len(boxes) >= _FEW_BOXES and sum(fit) >= 0.95 * len(boxes) and outside >= 0.2 * len(boxes)
