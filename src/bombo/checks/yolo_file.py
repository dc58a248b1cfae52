"""The rows of a YOLO label file as written."""

from __future__ import annotations

from pathlib import Path

from bombo.checks.finding import Hit
from bombo.checks.raw_boxes import DEGENERATE, PIXELS, SWAPPED, RawBox, duplicates, judge
from bombo.data.annotation_io import read_text
from bombo.errors import DataError

_INSIDE = 1.001  # as the reader: rounding may carry a coordinate over the edge


def inspect(path: Path, size: tuple[int, int]) -> list[Hit]:
    """Judges all rows of one file; rows that are no numbers are left to the reader, which names them.

    Args:
        path: The label file.
        size: (height, width) of its image.
    """
    try:
        lines = read_text(path).splitlines()
    except DataError:
        return []
    hits: list[Hit] = []
    boxes: list[RawBox] = []
    for number, text in enumerate(lines, start=1):
        try:
            name, *values = text.split()
            numbers = tuple(map(float, values))
        except ValueError:  # empty rows, too
            continue
        place, shown = f"{path}, line {number}", f"class {name} ({', '.join(f'{value:g}' for value in numbers)})"
        if any(value > _INSIDE for value in numbers):
            hits.append(Hit(PIXELS, place, shown))
        elif len(numbers) == 4 and min(numbers[2:]) < 0:
            hits.append(Hit(SWAPPED, place, shown))
        elif len(numbers) == 4 and min(numbers[2:]) == 0:
            hits.append(Hit(DEGENERATE, place, shown))
        elif len(numbers) == 4:
            boxes.append(_raw(place, f"class {name}", numbers, size))
    return hits + duplicates(boxes) + [hit for box in boxes if (hit := judge(box, in_pixels=False)) is not None]


def _raw(place: str, name: str, numbers: tuple[float, ...], size: tuple[int, int]) -> RawBox:
    height, width = size
    cx, cy, w, h = numbers
    box = ((cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height)
    return RawBox(place, name, numbers, box, size)
