"""One mask file: its size, and whether what it stores are classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bombo.checks.finding import REPAIR, Defect, Hit, Value
from bombo.data.image_io import palette, read_mask_pixels
from bombo.data.label_space import BACKGROUND, VOID
from bombo.data.masks import MaskFile
from bombo.data.spelling import voc_palette
from bombo.errors import DataError

_EXPORT = "export the masks again as 8-bit PNG files"
_LEFT_OUT = "the command leaves these images out"
UNREADABLE = Defect(
    "mask-unreadable", "error", "mask cannot be read", "masks cannot be read", f"{_EXPORT}; {_LEFT_OUT}", REPAIR,
)  # fmt: skip
SIZE = Defect(
    "mask-size", "error", "mask has another size than its image", "masks have another size than their images",
    "if they belong to their images: the command resizes those of the same shape by nearest neighbour, and leaves the "
    "other images out", REPAIR,
)  # fmt: skip
COLOURS = Defect(
    "mask-colours", "error", "mask holds colours, values were expected", "masks hold colours, values were expected",
    f"{_EXPORT} of class values; {_LEFT_OUT}", REPAIR,
)  # fmt: skip
VALUES = Defect(
    "mask-values", "error", "mask holds values, colours were expected", "masks hold values, colours were expected",
    f"{_EXPORT} in the colours of the others; {_LEFT_OUT}", REPAIR,
)  # fmt: skip
UNNAMED = Defect(
    "mask-value", "error", "mask holds values that are no class", "masks hold values that are no class",
    "name them, or let the command make these pixels void", REPAIR,
)  # fmt: skip
SOFT = Defect(
    "mask-soft", "error", "mask holds in-between values", "masks hold in-between values",
    f"JPEG or smooth resizing mixed the classes at their edges, and a mixture may be another class: best {_EXPORT}. "
    "The command makes void what is no class", REPAIR,
)  # fmt: skip
BINARY = Defect(
    "mask-binary", "warning",
    "mask holds only 0 and 255, and 255 is void", "masks hold only 0 and 255, and 255 is void",
    "they teach no class: look what 255 is in these files; if it is an object, give it its class's value",
)  # fmt: skip
UNSAID = Defect(
    "mask-255-unsaid", "error", "mask holds only 0 and 255, and nothing says what 255 is",
    "masks hold only 0 and 255, and nothing says what 255 is",
    "write under the source `names: {255: cat}` if that is a cat, `names: {1: cat, 255: void}` if it is void", REPAIR,
)  # fmt: skip
ALL_VOID = Defect(
    "mask-void", "warning", "mask is void everywhere", "masks are void everywhere",
    "they teach nothing: correct what the values mean, or let the command leave these masks out", REPAIR,
)  # fmt: skip
SHUFFLED = Defect(
    "mask-palette", "warning",
    "mask has its values renumbered, by its colours", "masks have their values renumbered, by their colours",
    "their colours are VOC's, but at other values, as after a palette was optimised: if the colours are right, the "
    "command gives them VOC's values", REPAIR,
)  # fmt: skip
LOSSY = Defect(
    "mask-lossy", "warning", "mask is a JPEG file", "masks are JPEG files",
    "JPEG changes values: export them as PNG if you can; the command saves as PNG what is left", REPAIR,
)  # fmt: skip

_SOFT = 8  # different values without a name; fewer may be rare classes that nobody named
_RGB = (1 << 16, 1 << 8, 1)  # makes one number of a colour
_SHOWN = 4
_MOST = 255  # colours of one file that are worth a name


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
        stored = _distinct(pixels)
        noun, defect = ("values", VALUES) if pixels.ndim == 2 else ("colours", COLOURS)
        return None, [*hits, Hit(defect, str(path), f"{len(stored):,} {noun}", values=stored[:_MOST])]
    try:
        values = mask.codes.translate(pixels, str(path))
    except DataError as error:
        return None, [*hits, _refused(mask, pixels, error)]
    if (values == VOID).all():
        return values, [*hits, Hit(ALL_VOID, str(path))]
    if renumbered := renumbering(path, pixels):
        value, other = next(iter(renumbered.items()))
        hits.append(Hit(SHUFFLED, str(path), f"value {value} has the colour of value {other}"))
    binary = pixels.max() == 255 and pixels.ndim == 2 and np.isin(pixels, (0, 255)).all()
    if binary and (values[pixels == 255] == VOID).all():
        hits.append(Hit(BINARY, str(path), f"255 in {(pixels == 255).sum():,} px", values=(VOID,)))
    return values, hits


def renumbering(path: Path, pixels: np.ndarray) -> dict[int, int]:
    """Values of a palette image that are shown in the colours VOC has at other values → those values.

    A tool that writes small palettes keeps the colours and renumbers the values: the classes are then others.

    Args:
        path: The file.
        pixels: What it stores.

    Returns:
        Empty where all stand in their place, or where some have a colour that VOC does not know.
    """
    shown = palette(path)
    if shown is None or pixels.ndim == 3:
        return {}
    usual = {tuple(colour): value for value, colour in enumerate(voc_palette().tolist())}
    used = [
        value for value in np.flatnonzero(np.bincount(pixels.ravel(), minlength=256)).tolist() if value < len(shown)
    ]
    due = {value: usual.get(tuple(shown[value].tolist())) for value in used if value not in (BACKGROUND, VOID)}
    known = {value: other for value, other in due.items() if other is not None}
    return {value: other for value, other in known.items() if value != other} if len(known) == len(due) else {}


def _refused(mask: MaskFile, pixels: np.ndarray, error: DataError) -> Hit:
    """What the reader refuses: a binary mask, or values without a name."""
    unnamed = mask.codes.unnamed(pixels)
    if not unnamed:
        return Hit(UNSAID, str(mask.path), error.message, values=(VOID,))
    noun = "value" if pixels.ndim == 2 else "colour"
    shown = ", ".join(f"{value} ({count:,} px)" for value, count in list(unnamed.items())[:_SHOWN])
    more = f" and {len(unnamed) - _SHOWN} more" if len(unnamed) > _SHOWN else ""
    detail = f"{noun} {shown}{more}"
    values = tuple(value for value in _distinct(pixels) if _shown(value) in unnamed)
    if len(unnamed) >= _SOFT and (mask.path.suffix.lower() in (".jpg", ".jpeg") or not _solid(pixels, values)):
        return Hit(SOFT, str(mask.path), detail)
    return Hit(UNNAMED, str(mask.path), detail, values=values)


def _solid(pixels: np.ndarray, values: Sequence[Value]) -> bool:
    """Whether most pixels of these values lie within areas of one value, as a drawn class does and a soft edge not."""
    codes = pixels if pixels.ndim == 2 else pixels.astype(np.int32) @ _RGB
    wanted = np.array(values) if pixels.ndim == 2 else np.array(values) @ _RGB
    within = (codes[:-1, :-1] == codes[1:, :-1]) & (codes[:-1, :-1] == codes[:-1, 1:])
    among = np.isin(codes[:-1, :-1], wanted)
    return bool(among.any() and within[among].mean() > 0.5)


def _distinct(pixels: np.ndarray) -> tuple[Value, ...]:
    """The different values (H, W) or colours (H, W, 3)."""
    stored = np.unique(pixels.reshape(-1, *pixels.shape[2:]), axis=0).tolist()
    return tuple(tuple(value) if isinstance(value, list) else value for value in stored)


def _shown(value: Value) -> str:
    return str(value if isinstance(value, int) else list(value))
