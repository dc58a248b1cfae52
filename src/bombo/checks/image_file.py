"""One image file: does it decode to its last row, is it as large as declared, is it shown turned."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bombo.checks.finding import Defect, Hit
from bombo.data.image_io import orientation, read_image
from bombo.data.sample import Record
from bombo.errors import DataError, MissingFileError

_REPLACE = "replace the file, or take the image off its list; until then it is refused (or left out with --skip-bad)"
MISSING = Defect("file-missing", "error", "file is missing", "files are missing", "restore them")
CORRUPT = Defect("image-corrupt", "error", "file is no image", "files are no images", _REPLACE)
TRUNCATED = Defect(
    "image-truncated", "error", "image is cut off or damaged", "images are cut off or damaged", _REPLACE
)  # fmt: skip
SIZE = Defect(
    "image-size", "error",
    "image has another size than its annotation says", "images have another size than their annotation says",
    "annotate images as they are shown (EXIF orientation applied), or correct the size in the annotation",
)  # fmt: skip
ROTATED = Defect(
    "image-rotated", "note", "image is turned by its EXIF orientation", "images are turned by their EXIF orientation",
    "see that they were annotated as they are shown; `exiftran -ai FILE` or `mogrify -auto-orient FILE` turns the "
    "pixels themselves, so that no tool can disagree",
)  # fmt: skip


def decode(path: Path) -> tuple[np.ndarray | None, list[Hit]]:
    """Decodes the whole image.

    Returns:
        (H, W, 3) uint8 as shown, or None where it cannot be decoded; and what is wrong with the file.
    """
    try:
        turned = orientation(path)
    except MissingFileError as error:
        return None, [Hit(MISSING, error.where, error.message, error.fix)]
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
    return [Hit(SIZE, str(record.image), detail + (": annotated before it was turned" if turned else ""))]
