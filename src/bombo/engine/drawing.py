"""Drawing boxes, names and masks on an image so that they can be read at any size; NumPy and Pillow only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bombo.data.label_space import BACKGROUND, VOID
from bombo.engine.colours import class_colours, luminance, mask_palette
from bombo.engine.placing import place_labels

Colour = tuple[int, ...]

_READABLE = 480  # pixels (geometric mean of the sides) under which an image is enlarged before it is drawn on
_TINT, _CONTOUR, _HATCH = 90, 235, 110  # opacity of 255: the photograph stays recognisable under the first
_VOID_GREYS = ((225, 225, 225), (110, 110, 110))
_IGNORED_GREY = (150, 150, 150)


def draw(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray | None,
    mask: np.ndarray | None,
    classes: Sequence[str],
    *,
    enlarge: bool = True,
    tile: int | None = None,
) -> Image.Image:
    """Draws detections or annotations, and a class map, on an image.

    Lines and letters grow with the image, or with the windows it was seen in. An image too small for letters is
    enlarged by a whole factor first, so the picture may be larger than the image.

    Args:
        image: (H, W, 3) uint8.
        boxes: (N, 4) xyxy pixels of the image.
        labels: (N,) class index; `ANY_CLASS` is drawn grey as "ignored".
        scores: (N,), or None for annotations.
        mask: (H, W) uint8 class map, 255 (void) is hatched; None for no mask.
        classes: Class names.
        enlarge: Whether a small image is enlarged.
        tile: Side in pixels of the windows the image was seen in; None if it was seen whole.

    Returns:
        RGB picture of k·W × k·H pixels, k = 1 unless the image is small.
    """
    height, width = image.shape[:2]
    factor = max(1, math.ceil(_READABLE / math.sqrt(height * width))) if enlarge else 1
    picture = Image.fromarray(image).resize((width * factor, height * factor), Image.Resampling.BICUBIC)
    side = _side(picture) if tile is None else min(_side(picture), tile * factor)
    line = max(2, round(side / 320))
    if mask is not None:
        picture = _tint(picture, mask.repeat(factor, axis=0).repeat(factor, axis=1), len(classes), round(0.75 * line))

    colours = [*map(tuple, class_colours(len(classes)).tolist()), _IGNORED_GREY]
    names = [*classes, "ignored"]
    corners = _inside(np.asarray(boxes, dtype=np.float64).reshape(-1, 4) * factor, picture.size)
    texts = [names[label] if scores is None else f"{names[label]} {scores[i]:.2f}" for i, label in enumerate(labels)]
    # what matters most has the first choice of a place and is drawn last: certain objects, small ones among annotations
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    order = np.argsort(areas if scores is None else -np.asarray(scores), kind="stable")
    font = _font(texts, picture, side)
    sizes = np.array([_label_size(text, font, line) for text in texts], dtype=np.int64).reshape(-1, 2)
    places = np.zeros_like(corners)
    places[order] = place_labels(corners[order], sizes[order], picture.size)
    pen = ImageDraw.Draw(picture)
    for i in order[::-1]:
        _frame(pen, corners[i], colours[labels[i]], line)
    for i in order[::-1]:
        _leader(pen, places[i], corners[i], colours[labels[i]], line)
    for i in order[::-1]:
        _label(pen, texts[i], places[i], colours[labels[i]], font, line)
    return picture


def side_by_side(images: Sequence[Image.Image], captions: Sequence[str]) -> Image.Image:
    """Puts pictures in one row on white, each under its caption.

    Args:
        images: Pictures of any size; they are scaled to the height of the tallest.
        captions: One for each picture; letters shrink until every caption fits over its picture.

    Raises:
        ValueError: There are no pictures, or not as many captions as pictures.
    """
    if not images or len(images) != len(captions):
        raise ValueError(f"{len(images)} pictures with {len(captions)} captions")
    height = max(image.height for image in images)
    scaled = [
        image.convert("RGB").resize(
            (max(1, round(image.width * height / image.height)), height), Image.Resampling.LANCZOS
        )
        for image in images
    ]
    side = max(map(_side, scaled))
    size, gap = _font_size(side) * 1.25, max(4, round(side / 50))
    fits = min(
        image.width / max(1.0, _get_font(size).getlength(text)) for image, text in zip(scaled, captions, strict=True)
    )
    font = _get_font(max(6, size * min(1, fits)))
    top = 2 * gap + sum(font.getmetrics())
    row = Image.new("RGB", (sum(image.width + gap for image in scaled) + gap, top + height + gap), "white")
    pen, left = ImageDraw.Draw(row), gap
    for image, text in zip(scaled, captions, strict=True):
        pen.text((left, gap), text, fill=(30, 30, 30), font=font)
        row.paste(image, (left, top))
        left += image.width + gap
    return row


def _side(picture: Image.Image) -> float:
    return math.sqrt(picture.width * picture.height)


def _font_size(side: float) -> float:
    return max(12, side / 45)


@lru_cache(maxsize=32)
def _get_font(size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)  # type: ignore[return-value]  # ImageFont only without FreeType, and size needs it


def _font(texts: Sequence[str], picture: Image.Image, side: float) -> ImageFont.FreeTypeFont:
    """The font of the labels: smaller where they would cover more than a sixth of the picture, or be wider than it."""
    size = _font_size(side)
    widths = [_get_font(size).getlength(text) + size for text in texts] or [1]
    crowded = math.sqrt(picture.width * picture.height / 6 / (sum(widths) * size * 1.4))
    return _get_font(max(9.0, round(size * min(1, max(crowded, 0.7), picture.width / max(widths)), 1)))


def _inside(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Whole-pixel corners within the picture, so that a line along its edge is still seen."""
    limits = np.array([*size, *size]) - 1
    return np.clip(np.rint(boxes - (0, 0, 1, 1)), 0, limits).astype(np.int64)  # edges → last pixels


def _tint(picture: Image.Image, mask: np.ndarray, num_classes: int, thickness: int) -> Image.Image:
    """Lays the class colours over the picture: faint inside, strong in a contour along the borders of a region."""
    opacity = np.full(256, _TINT, dtype=np.uint8)
    opacity[BACKGROUND] = 0
    colour, alpha = mask_palette(num_classes)[mask], opacity[mask]
    alpha[_borders(mask, thickness) & (mask != BACKGROUND)] = _CONTOUR
    void = mask == VOID
    if void.any():
        rows, columns = np.nonzero(void)
        stripe = (rows + columns) // (2 * thickness + 2) % 2
        colour[void], alpha[void] = np.array(_VOID_GREYS, dtype=np.uint8)[stripe], _HATCH
    return Image.composite(Image.fromarray(colour), picture, Image.fromarray(alpha))


def _borders(mask: np.ndarray, thickness: int) -> np.ndarray:
    """(H, W) bool: pixels with another value at most `thickness` pixels above, below, left or right of them."""
    border = np.zeros(mask.shape, dtype=bool)
    for step in range(1, thickness + 1):
        across, down = mask[:, step:] != mask[:, :-step], mask[step:] != mask[:-step]
        border[:, step:] |= across
        border[:, :-step] |= across
        border[step:] |= down
        border[:-step] |= down
    return border


def _frame(pen: ImageDraw.ImageDraw, box: np.ndarray, colour: Colour, line: int) -> None:
    """A rectangle in the class colour between two dark rims, which show it on a ground of its own colour."""
    x1, y1, x2, y2 = box.tolist()
    rim = max(1, line // 3)
    for inset, width, shade in ((-rim, line + 2 * rim, _dark(colour)), (0, line, colour)):
        corners = (x1 + inset, y1 + inset, max(x1 + inset, x2 - inset), max(y1 + inset, y2 - inset))
        pen.rectangle(corners, outline=shade, width=width)


def _dark(colour: Colour) -> Colour:
    return tuple(part // 4 for part in colour)


def _label_size(text: str, font: ImageFont.FreeTypeFont, line: int) -> tuple[int, int]:
    return math.ceil(font.getlength(text)) + 2 * line + 2, sum(font.getmetrics()) + line


def _leader(pen: ImageDraw.ImageDraw, place: np.ndarray, box: np.ndarray, colour: Colour, line: int) -> None:
    """A line from a label that found no room at its box to that box."""
    start = np.clip((box[:2] + box[2:]) // 2, place[:2], place[2:] - 1)
    end = np.clip(start, box[:2], box[2:])
    if np.abs(start - end).max() > 2 * line:
        ends = (*start.tolist(), *end.tolist())
        pen.line(ends, fill=_dark(colour), width=line + 2)
        pen.line(ends, fill=colour, width=max(1, line - 1))


def _label(
    pen: ImageDraw.ImageDraw,
    text: str,
    place: np.ndarray,
    colour: Colour,
    font: ImageFont.FreeTypeFont,
    line: int,
) -> None:
    """A filled label; letters black or white, whichever contrasts more (WCAG: both equal at a luminance of 0.179)."""
    left, top, right, bottom = place.astype(int).tolist()
    pen.rectangle((left, top, right - 1, bottom - 1), fill=colour, outline=_dark(colour), width=max(1, line // 3))
    letters = "black" if luminance(np.array(colour)) > 0.179 else "white"
    ascent, descent = font.getmetrics()
    baseline = top + (bottom - top - ascent - descent) // 2 + ascent
    pen.text((left + line + 1, baseline), text, fill=letters, font=font, anchor="ls")
