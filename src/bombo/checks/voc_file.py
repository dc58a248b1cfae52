"""The boxes of a VOC annotation as written."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree.ElementTree import Element

from bombo.checks.finding import Hit, Repaired
from bombo.checks.raw_boxes import RawBox, faults, mended
from bombo.data import voc
from bombo.errors import DataError

_TAGS = ("xmin", "ymin", "xmax", "ymax")


def inspect(path: Path) -> list[Hit]:
    """Judges all boxes of one XML file; what is no finite number, or no XML, is left to the reader, which names it."""
    try:
        annotation = voc.parse(path)
    except DataError:
        return []
    return [hit for _, hit in faults([box for _, box in _boxes(annotation, path)])]


def mend(annotation: Element, path: Path) -> list[Repaired]:
    """Mends the boxes that `inspect` names, in place; takes out objects whose box cannot be known."""
    found, done = _boxes(annotation, path), list[Repaired]()
    gone = set[int]()
    for row, hit in faults([box for _, box in found]):
        if row in gone:
            continue
        item, raw = found[row]
        box = mended(raw, hit.defect)
        done.append(Repaired(hit, left_out=box is None))
        if box is None:
            annotation.remove(item)
            gone.add(row)
            continue
        for tag, value in zip(_TAGS, (box[0] + 1, box[1] + 1, box[2], box[3]), strict=True):
            item.find(f"bndbox/{tag}").text = str(value)  # type: ignore[union-attr]  # it was read before
    return done


def _boxes(annotation: Element, path: Path) -> list[tuple[Element, RawBox]]:
    """Objects whose box is four finite numbers in an image of a known size."""
    size = _numbers(annotation.find("size"), "height", "width")
    if size is None or not all(1 <= side < math.inf for side in size):
        return []
    boxes = []
    for item in annotation.findall("object"):
        corners = item.find("bndbox")
        numbers = _numbers(corners, *_TAGS)
        if numbers is not None and all(map(math.isfinite, numbers)):
            xmin, ymin, xmax, ymax = numbers
            name = item.findtext("name", "").strip()
            # pixels are counted from 1 and the last one is inside
            box = (xmin - 1, ymin - 1, xmax, ymax)
            shape = int(size[0]), int(size[1])
            boxes.append((item, RawBox(voc.place_of(corners, path), name, numbers, box, shape, first=1)))
    return boxes


def _numbers(parent: Element | None, *tags: str) -> tuple[float, ...] | None:
    try:
        return None if parent is None else tuple(float(parent.findtext(tag, "")) for tag in tags)
    except ValueError:
        return None
