"""One image file: does it decode to its last row, is it as large as declared, is it shown turned."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bombo.checks.finding import REPAIR, Defect, Hit
from bombo.data.image_io import orientation, read_image
from bombo.data.sample import Record
from bombo.errors import DataError, MissingFileError

_WITHOUT = "or go on without: the command leaves these images out, as `bombo train --skip-bad` does"
_REPLACE = f"replace the files, {_WITHOUT}"
MISSING = Defect(
    "file-missing", "error", "file is missing", "files are missing",
    f"restore them, {_WITHOUT}", REPAIR,
)  # fmt: skip
CORRUPT = Defect("image-corrupt", "error", "file is no image", "files are no images", _REPLACE, REPAIR)
TRUNCATED = Defect(
    "image-truncated", "error", "image is cut off or damaged", "images are cut off or damaged", _REPLACE, REPAIR,
)  # fmt: skip
SIZE = Defect(
    "image-size", "error",
    "image has another size than its annotation says", "images have another size than their annotation says",
    "if the annotation was made on this very picture, correct the size it says; the command leaves these images out",
    REPAIR,
)  # fmt: skip
ROTATED = Defect(
    "image-rotated", "note", "image is turned by its EXIF orientation", "images are turned by their EXIF orientation",
    "nothing has to be done if they were annotated as they are shown; the command turns the pixels themselves, so that "
    "no tool can disagree", REPAIR,
)  # fmt: skip


def decode(path: Path) -> tuple[np.ndarray | None, list[Hit]]:
    """Decodes the whole image.

    Returns:
        (H, W, 3) uint8 as shown, or None where it cannot be decoded; and what is wrong with the file.
    """
    try:
        turned = orientation(path)
    except MissingFileError as error:
        return None, [Hit(MISSING, error.where, error.message)]
    except DataError as error:
        empty = path.is_file() and path.stat().st_size == 0
        return None, [Hit(CORRUPT, str(path), "the file is empty" if empty else error.message)]
    try:
        pixels = read_image(path)
    except DataError as error:
        return None, [Hit(TRUNCATED, str(path), error.message)]
    return pixels, [Hit(ROTATED, str(path), f"orientation {turned}")] if 1 < turned <= 8 else []


def declared_size(record: Record, shown: tuple[int, int]) -> list[Hit]:
    """Compares (height, width) as shown with what the annotation says."""
    if record.size is None or record.size == shown:
        return []
    turned = record.size == shown[::-1] and orientation(record.image) > 4
    detail = f"{shown[1]} × {shown[0]} pixels, {record.where} says {record.size[1]} × {record.size[0]}"
    if not turned:
        return [Hit(SIZE, str(record.image), detail)]
    fix = "the command drops the EXIF orientation, which makes the pictures what was annotated"
    return [Hit(SIZE, str(record.image), f"{detail}: annotated before it was turned", fix)]
