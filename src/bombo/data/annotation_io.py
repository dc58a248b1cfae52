"""What the readers share: text and lists whose lines are known, and the checks of a box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from xml.etree.ElementTree import Element  # trees only: the parser is defusedxml's

from bombo.data.sources import CocoSource
from bombo.errors import DataError, MissingFileError
from bombo.files import is_file

Box = tuple[float, float, float, float]
Content = dict[str, list[dict[str, Any]]]  # `images`, `annotations` and `categories` of an instances JSON


class Mend(Protocol):
    """Mends annotation as it stands in its file, before a reader judges it."""

    def voc(self, annotation: Element, path: Path) -> None:
        """Mends the objects of an XML in place."""

    def coco(self, content: Content, source: CocoSource) -> Content:
        """The content of an instances JSON, mended."""

    def yolo(self, rows: Sequence[str], path: Path, size: tuple[int, int]) -> list[str]:
        """As many rows of a label file, mended; (height, width) of its image."""


def read_bytes(path: Path) -> bytes:
    """Reads a file.

    Raises:
        DataError: It is missing or unreadable.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise MissingFileError(
            "file is missing", where=str(path), fix="restore it, or take the image off the list"
        ) from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(path), fix="check its permissions") from None


def read_text(path: Path) -> str:
    """Reads a text file.

    Raises:
        DataError: It is missing or no UTF-8 text.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"is no UTF-8 text ({error.reason})", where=str(path), fix="save it as UTF-8") from None


def read_list(path: Path) -> dict[str, int]:
    """Reads a list of images, one a line.

    Returns:
        Entry → its line, in the list's order; entries as they stand, empty lines left out.

    Raises:
        DataError: The list is missing, empty, or names an entry twice.
    """
    lines: dict[str, int] = {}
    for number, text in enumerate(read_text(path).splitlines(), start=1):
        entry = text.strip()
        if entry in lines:
            raise DataError(
                f"{entry!r} is listed twice, first in line {lines[entry]}",
                where=f"{path}, line {number}",
                fix="remove this line",
            )
        if entry:
            lines[entry] = number
    if not lines:
        raise DataError("the list is empty", where=str(path), fix="name one image a line, or leave `list` out")
    return lines


def clip_box(box: Box, size: tuple[int, int], where: str) -> Box:
    """Cuts a box to its image.

    Args:
        box: xyxy in pixels, edges.
        size: (height, width) of the image.
        where: Place of the box, for messages.

    Raises:
        DataError: A number is not finite, the box has no area, or nothing of it lies in the image.
    """
    x1, y1, x2, y2 = box
    shown = "(" + ", ".join(f"{value:g}" for value in box) + ")"
    if not all(map(math.isfinite, box)):
        raise DataError(f"box {shown}: a box needs finite numbers", where=where, fix="correct or remove the box")
    if x2 <= x1 or y2 <= y1:
        raise DataError(f"box {shown} (xyxy, pixels) has no area", where=where, fix="correct or remove the box")
    height, width = size
    clipped = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        raise DataError(
            f"box {shown} (xyxy, pixels) lies outside its image of {width} x {height} pixels",
            where=where,
            fix="correct or remove the box, or the declared image size",
        )
    return clipped


def is_cut(before: Box, after: Box) -> bool:
    """Whether `clip_box` took more off a box than numbers written with two decimals may be off by."""
    return any(abs(one - other) > 0.01 for one, other in zip(before, after, strict=True))


def require_file(path: Path, what: str, fix: str = "restore it, or take the image off the list") -> None:
    """Checks that a file is there.

    Raises:
        DataError: It is not.
    """
    if not is_file(path):
        raise MissingFileError(f"{what} is missing", where=str(path), fix=fix)
