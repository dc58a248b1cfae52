"""How VOC and Ultralytics spell the annotation of one image."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from bombo.data.annotation_io import Box


class VocObject(NamedTuple):
    """One `<object>`; the box is xyxy in pixels, edges, whole numbers."""

    name: str
    box: tuple[int, int, int, int]
    difficult: bool = False


def voc_xml(folder: str, file_name: str, size: tuple[int, int], objects: Iterable[VocObject], *, masked: bool) -> bytes:
    """The XML of one image; VOC counts pixels from 1 and names the last one inside.

    Args:
        folder: Name of the devkit's folder.
        file_name: The image in JPEGImages.
        size: (height, width).
        objects: Its objects.
        masked: Whether there is a mask, too.
    """
    height, width = size
    root = ElementTree.Element("annotation")
    _add(root, folder=folder, filename=file_name)
    _add(ElementTree.SubElement(root, "size"), width=width, height=height, depth=3)
    _add(root, segmented=int(masked))
    for name, (x1, y1, x2, y2), difficult in objects:
        item = ElementTree.SubElement(root, "object")
        cut = min(x1, y1) <= 0 or x2 >= width or y2 >= height
        _add(item, name=name, pose="Unspecified", truncated=int(cut), difficult=int(difficult))
        _add(ElementTree.SubElement(item, "bndbox"), xmin=x1 + 1, ymin=y1 + 1, xmax=x2, ymax=y2)
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8")
    return text


def label_map(names: Sequence[str]) -> str:
    """`labelmap.txt`, as CVAT writes it: what the palette's colours mean, background first."""
    colours = [",".join(map(str, colour)) for colour in voc_palette()[: len(names) + 1].tolist()]
    rows = [f"{name}:{colour}::" for name, colour in zip(("background", *names), colours, strict=True)]
    return lines(["# label:color_rgb:parts:actions", *rows])


def voc_palette() -> np.ndarray:
    """(256, 3) uint8, VOC's colour map: the bits of the index, dealt out to red, green and blue from the top."""
    index, palette = np.arange(256), np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        channel, height = bit % 3, 7 - bit // 3
        palette[:, channel] |= ((index >> bit & 1) << height).astype(np.uint8)
    return palette


def mask_png(values: np.ndarray, *, palette: bool = True) -> bytes:
    """(H, W) uint8 as a PNG of these values: shown in VOC's colours, or as grey levels."""
    image = Image.fromarray(values)
    if palette:
        image.putpalette(voc_palette().tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def yolo_box(label: int, box: Box, size: tuple[int, int]) -> str:
    """A row `class cx cy width height` in shares of the image's sides, of an xyxy box in its pixels."""
    return yolo_row(label, yolo_numbers(box, size))


def yolo_numbers(box: Box, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """cx, cy, width, height in shares of the image's sides (height, width), of an xyxy box in its pixels."""
    height, width = size
    x1, y1, x2, y2 = (float(edge) / side for edge, side in zip(box, (width, height) * 2, strict=True))
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


def yolo_row(label: int, numbers: Iterable[float]) -> str:
    """A row of a class index and shares of the image's sides; 9 digits are more than float32 holds."""
    return " ".join([str(label), *(f"{number:.9g}" for number in numbers)])


def lines(rows: Iterable[str]) -> str:
    """Text of one row a line."""
    return "".join(f"{row}\n" for row in rows)


def _add(parent: ElementTree.Element, **children: object) -> None:
    for tag, text in children.items():
        ElementTree.SubElement(parent, tag).text = str(text)
