"""The rows of a YOLO label file as written."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from bombo.checks.finding import Hit, Repaired
from bombo.checks.raw_boxes import DEGENERATE, PIXELS, SWAPPED, RawBox, faults, mended
from bombo.data.annotation_io import Box, read_text
from bombo.data.spelling import yolo_numbers
from bombo.errors import DataError

_INSIDE = 1.001  # as the reader: rounding may carry a coordinate over the edge
Numbers = tuple[float, ...]


def inspect(path: Path, size: tuple[int, int]) -> list[Hit]:
    """Judges all rows of one file; rows that are no numbers are left to the reader, which names them.

    Args:
        path: The label file.
        size: (height, width) of its image.
    """
    try:
        rows = read_text(path).splitlines()
    except DataError:
        return []
    return [hit for _, hit, _ in _judged(rows, path, size)]


def mend(rows: Sequence[str], path: Path, size: tuple[int, int]) -> tuple[list[str], list[Repaired]]:
    """Mends the rows that `inspect` names; a row whose box cannot be known becomes empty.

    Returns:
        As many rows, and what was done.
    """
    made, done = list(rows), list[Repaired]()
    for row, hit, numbers in _judged(rows, path, size):
        if made[row]:
            name = made[row].split()[0]
            made[row] = "" if numbers is None else " ".join((name, *(f"{value:.9g}" for value in numbers)))
            done.append(Repaired(hit, left_out=numbers is None))
    return made, done


def _judged(rows: Sequence[str], path: Path, size: tuple[int, int]) -> list[tuple[int, Hit, Numbers | None]]:
    """Rows with a defect: their position, the hit, and the numbers as they were meant; None if nothing tells."""
    judged: list[tuple[int, Hit, Numbers | None]] = []
    boxes: list[tuple[int, RawBox]] = []
    for row, text in enumerate(rows):
        try:
            name, *values = text.split()
            numbers = tuple(map(float, values))
        except ValueError:  # empty rows, too
            continue
        place, shown = f"{path}, line {row + 1}", f"class {name} ({', '.join(f'{value:g}' for value in numbers)})"
        if any(value > _INSIDE for value in numbers):
            shares = tuple(value / side for value, side in zip(numbers, cycle((size[1], size[0])), strict=False))
            judged.append((row, Hit(PIXELS, place, shown), shares))
        elif len(numbers) == 4 and min(numbers[2:]) < 0:
            judged.append((row, Hit(SWAPPED, place, shown), (*numbers[:2], *map(abs, numbers[2:]))))
        elif len(numbers) == 4 and min(numbers[2:]) == 0:
            judged.append((row, Hit(DEGENERATE, place, shown), None))
        elif len(numbers) == 4:
            boxes.append((row, RawBox(place, f"class {name}", numbers, _pixels(numbers, size), size)))
    for index, hit in faults([box for _, box in boxes], in_pixels=False):
        row, raw = boxes[index]
        box = mended(raw, hit.defect)
        judged.append((row, hit, None if box is None else yolo_numbers(box, size)))
    return judged


def _pixels(numbers: Numbers, size: tuple[int, int]) -> Box:
    height, width = size
    cx, cy, w, h = numbers
    return (cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height
