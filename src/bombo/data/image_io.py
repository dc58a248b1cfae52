"""Decoding images and masks by one rule: pixels are always as a viewer shows them, EXIF orientation applied."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from bombo.errors import DataError, MissingFileError

_STRETCH: dict[object, int] = {"L;2": 85, "L;4": 17}  # Pillow multiplies grey levels of 2 and 4 bits, to show them
_ORIENTATION = 0x0112  # EXIF tag
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2"))


def read_image(path: Path) -> np.ndarray:
    """Reads any image Pillow can open as RGB, as `as_rgb` says.

    Returns:
        (H, W, 3) uint8, EXIF orientation applied.

    Raises:
        DataError: The file is missing, truncated or no image.
    """
    with _opened(path) as image:
        return as_rgb(image)


def read_as_stored(path: Path) -> np.ndarray:
    """Reads an image as `read_image` does, but without its EXIF orientation.

    Raises:
        DataError: The file is missing, truncated or no image.
    """
    with _opened(path) as image:
        image.getexif().pop(_ORIENTATION, None)
        return as_rgb(image)


def as_rgb(image: Image.Image) -> np.ndarray:
    """Brings an image of any mode to RGB.

    Grey, palette, CMYK and RGBA images are converted (transparency over white). 16-bit images are scaled by 65535,
    floating-point ones by the first of 1, 255 and 65535 that holds them; what exceeds that, by its maximum.

    Returns:
        (H, W, 3) uint8, EXIF orientation applied.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        upright = _to_eight_bit(upright)
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.asarray(upright.convert("RGB"))


def read_mask_pixels(path: Path) -> np.ndarray:
    """Reads the stored values of a mask file: palette indices or grey levels (H, W), or colours (H, W, 3) uint8.

    A mask is index data: no colour conversion, no gamma; EXIF orientation is applied as for images.

    Raises:
        DataError: The file is missing, truncated, or of a kind that cannot be a mask.
    """
    with _opened(path) as image:
        stretch = _STRETCH.get(image.tile[0][3], 1) if image.format == "PNG" else 1
        upright = ImageOps.exif_transpose(image)
        if upright.mode in ("P", "L", "1"):
            return np.asarray(upright).astype(np.uint8) // stretch
        if upright.mode in ("RGB", "RGBA"):
            return np.asarray(upright.convert("RGB"))
        if upright.mode.startswith("I"):
            values = np.asarray(upright)
            if values.min() >= 0 and values.max() <= 255:
                return values.astype(np.uint8)
            raise DataError(
                f"16-bit mask holds the value {values.max()}; masks have 8 bits",
                where=str(path),
                fix="save class values 0 to 255",
            )
        raise DataError(f"image mode {upright.mode} cannot be a mask", where=str(path), fix="save it as an 8-bit PNG")


def palette(path: Path) -> np.ndarray | None:
    """(N, 3) uint8, the colours that the values of a palette image are shown in; None for other kinds of image.

    Raises:
        DataError: The file is missing or no image.
    """
    with _opened(path) as image:
        colours = image.getpalette("RGB") if image.mode == "P" else None
        return None if colours is None else np.array(colours, np.uint8).reshape(-1, 3)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) as shown, read from the header only.

    Raises:
        DataError: The file is missing or no image.
    """
    with _opened(path) as image:
        width, height = image.size
        # orientations 5 to 8 swap the axes; Pillow turns the size of TIFF files by itself
        turned = image.format != "TIFF" and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return (width, height) if turned else (height, width)


def orientation(path: Path) -> int:
    """EXIF orientation from the header: 1 is upright as stored, 2 to 8 are turned or mirrored when shown.

    Raises:
        DataError: The file is missing or no image.
    """
    with _opened(path) as image:
        value = image.getexif().get(_ORIENTATION, 1)
        return value if isinstance(value, int) else 1  # a damaged block may hold anything


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """Opens a file; whatever goes wrong inside the block is an error that names it."""
    try:
        # warnings are about damaged EXIF blocks: the orientation is then "as stored". Given a path instead of a file,
        # Pillow maps it into memory, and then confuses rows and columns of grey TIFFs that lie on their side
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file, Image.open(file) as image:
            yield image
    except DataError:
        raise
    except FileNotFoundError:
        raise MissingFileError(
            "file is missing", where=str(path), fix="restore it, or take the image off the list"
        ) from None
    except Image.DecompressionBombError as error:
        raise DataError(f"image is too large to be safe ({error})", where=str(path), fix="downscale it") from None
    except Exception as error:  # damaged files make decoders raise almost anything
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "its format is not known" if unknown else str(error) or type(error).__name__
        raise DataError(
            f"cannot be read as an image ({reason})", where=str(path), fix="repair or replace the file"
        ) from None


def _to_eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    largest = values.max()
    if not np.isfinite(values).all():
        raise ValueError("some pixels are no finite numbers")
    ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
    scaled = values / next((full for full in ranges if largest <= full), largest) * 255
    return Image.fromarray(np.clip(scaled, 0, 255).round().astype(np.uint8))
