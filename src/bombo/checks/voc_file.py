"""The boxes of a VOC annotation as written."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree.ElementTree import Element

from bombo.checks.finding import Hit
from bombo.checks.raw_boxes import RawBox, duplicates, judge
from bombo.data import voc
from bombo.errors import DataError


def inspect(path: Path) -> list[Hit]:
    """Judges all boxes of one XML file; what is no finite number, or no XML, is left to the reader, which names it."""
    try:
        annotation = voc.parse(path)
    except DataError:
        return []
    size = _numbers(annotation.find("size"), "height", "width")
    if size is None or not all(1 <= side < math.inf for side in size):
        return []
    boxes = []
    for item in annotation.findall("object"):
        corners = item.find("bndbox")
        numbers = _numbers(corners, "xmin", "ymin", "xmax", "ymax")
        if numbers is not None and all(map(math.isfinite, numbers)):
            xmin, ymin, xmax, ymax = numbers
            name = item.findtext("name", "").strip()
            # pixels are counted from 1 and the last one is inside
            box = (xmin - 1, ymin - 1, xmax, ymax)
            boxes.append(RawBox(voc.place_of(corners, path), name, numbers, box, (int(size[0]), int(size[1]))))
    return duplicates(boxes) + [hit for box in boxes if (hit := judge(box)) is not None]


def _numbers(parent: Element | None, *tags: str) -> tuple[float, ...] | None:
    try:
        return None if parent is None else tuple(float(parent.findtext(tag, "")) for tag in tags)
    except ValueError:
        return None
