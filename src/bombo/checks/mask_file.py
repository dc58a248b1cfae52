"""One mask file: its size, and whether what it stores are classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bombo.checks.finding import Defect, Hit
from bombo.data.image_io import palette, read_mask_pixels
from bombo.data.label_space import BACKGROUND, VOID
from bombo.data.masks import MaskFile
from bombo.data.spelling import voc_palette
from bombo.errors import DataError

_EXPORT = "export the masks again as 8-bit PNG files; if they were resized, resize them with nearest neighbour"
UNREADABLE = Defect("mask-unreadable", "error", "mask cannot be read", "masks cannot be read", _EXPORT)
SIZE = Defect(
    "mask-size", "error", "mask has another size than its image", "masks have another size than their images",
    "replace them by masks of the images' size (resize with nearest neighbour, never smoothly)",
)  # fmt: skip
COLOURS = Defect(
    "mask-colours", "error", "mask holds colours, values were expected", "masks hold colours, values were expected",
    "say under the source what the colours mean: `format: folder` takes `colours: {cat: [64, 0, 0]}`, a VOC devkit "
    "labelmap.txt; or save palette indices",
)  # fmt: skip
VALUES = Defect(
    "mask-values", "error", "mask holds values, colours were expected", "masks hold values, colours were expected",
    "say under the source what the values mean: `names: {1: cat, 2: dog}` in place of `colours`",
)  # fmt: skip
UNNAMED = Defect(
    "mask-value", "error", "mask holds values that are no class", "masks hold values that are no class",
    "name the values under `names:` of the source, or repair the masks",
)  # fmt: skip
SOFT = Defect(
    "mask-soft", "error", "mask holds in-between values", "masks hold in-between values",
    f"JPEG or smooth resizing mixed the classes at their edges: {_EXPORT}",
)  # fmt: skip
BINARY = Defect(
    "mask-binary", "warning",
    "mask holds only 0 and 255, and 255 is void", "masks hold only 0 and 255, and 255 is void",
    "they teach no class. If 255 is the object, say so: `format: folder` with `names: {255: cat}`",
)  # fmt: skip
ALL_VOID = Defect(
    "mask-void", "warning", "mask is void everywhere", "masks are void everywhere",
    "they teach nothing: leave the images out, or correct what the values mean",
)  # fmt: skip
SHUFFLED = Defect(
    "mask-palette", "warning",
    "mask has its values renumbered, by its colours", "masks have their values renumbered, by their colours",
    "their colours are VOC's, but stand at other values than VOC has them at, as after an optimised or quantised "
    "palette: export the masks again, or say under the source what the values mean",
)  # fmt: skip
LOSSY = Defect(
    "mask-lossy", "warning", "mask is a JPEG file", "masks are JPEG files",
    "JPEG changes values: save masks as PNG",
)  # fmt: skip

_SOFT = 8  # different values without a name; a person who forgot to name some has fewer
_SHOWN = 4


def decode(mask: MaskFile, size: tuple[int, int]) -> tuple[np.ndarray | None, list[Hit]]:
    """Decodes a mask and names all that is wrong with it.

    Args:
        mask: The file, and what its values mean.
        size: (height, width) of its image as shown.

    Returns:
        (H, W) uint8 in the label space's values, or None where it cannot be used; and what is wrong with the file.
    """
    path = mask.path
    try:
        pixels = read_mask_pixels(path)
    except DataError as error:
        return None, [Hit(UNREADABLE, error.where, error.message)]
    hits = [Hit(LOSSY, str(path))] if path.suffix.lower() in (".jpg", ".jpeg") else []
    if pixels.shape[:2] != size:
        found = f"{pixels.shape[1]} × {pixels.shape[0]} pixels, its image {size[1]} × {size[0]}"
        return None, [*hits, Hit(SIZE, str(path), found)]
    if not mask.codes.expects(pixels):
        kinds = len(np.unique(pixels.reshape(-1, *pixels.shape[2:]), axis=0))
        noun = "values" if pixels.ndim == 2 else "colours"
        return None, [*hits, Hit(VALUES if pixels.ndim == 2 else COLOURS, str(path), f"{kinds} {noun}")]
    try:
        values = mask.codes.translate(pixels, str(path))
    except DataError as error:
        return None, [*hits, _refused(mask, pixels, error)]
    if (values == VOID).all():
        return values, [*hits, Hit(ALL_VOID, str(path))]
    hits += _renumbered(path, pixels)
    binary = pixels.max() == 255 and pixels.ndim == 2 and np.isin(pixels, (0, 255)).all()
    if binary and (values[pixels == 255] == VOID).all():
        hits.append(Hit(BINARY, str(path), f"255 in {(pixels == 255).sum():,} px"))
    return values, hits


def _renumbered(path: Path, pixels: np.ndarray) -> list[Hit]:
    """A tool that writes small palettes keeps the colours and renumbers the values: the classes are then others."""
    shown = palette(path)
    if shown is None or pixels.ndim == 3:
        return []
    usual = {tuple(colour): value for value, colour in enumerate(voc_palette().tolist())}
    used = [
        value for value in np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)).tolist() if value < len(shown)
    ]
    due = {value: usual.get(tuple(shown[value].tolist())) for value in used if value not in (BACKGROUND, VOID)}
    wrong = [(value, other) for value, other in due.items() if value != other]
    if not wrong or None in due.values():
        return []
    value, other = wrong[0]
    return [Hit(SHUFFLED, str(path), f"value {value} has the colour of value {other}")]


def _refused(mask: MaskFile, pixels: np.ndarray, error: DataError) -> Hit:
    """What the reader refuses: a binary mask, or values without a name."""
    unnamed = mask.codes.unnamed(pixels)
    if not unnamed:
        return Hit(BINARY, str(mask.path), error.message, error.fix)
    noun = "value" if pixels.ndim == 2 else "colour"
    shown = ", ".join(f"{value} ({count:,} px)" for value, count in list(unnamed.items())[:_SHOWN])
    more = f" and {len(unnamed) - _SHOWN} more" if len(unnamed) > _SHOWN else ""
    detail = f"{noun} {shown}{more}"
    return (
        Hit(SOFT, str(mask.path), detail) if len(unnamed) >= _SOFT else Hit(UNNAMED, str(mask.path), detail, error.fix)
    )
