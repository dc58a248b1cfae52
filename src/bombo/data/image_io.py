"""Decoding images and masks by one rule: pixels are always as a viewer shows them, EXIF orientation applied."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from bombo.errors import DataError

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2"))


def read_image(path: Path) -> np.ndarray:
    """Reads any image Pillow can open as RGB.

    Grey, palette, CMYK and RGBA images are converted (transparency over white); 16-bit and floating-point images are
    scaled by their format's range: 65535, or 1.0 for floats (and by their maximum where that is larger).

    Returns:
        (H, W, 3) uint8, EXIF orientation applied.

    Raises:
        DataError: The file is missing, truncated or no image.
    """
    with _opened(path) as image:
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
        upright = ImageOps.exif_transpose(image)
        if upright.mode in ("P", "L"):
            return np.asarray(upright)
        if upright.mode == "1":
            return np.asarray(upright.convert("L"))
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


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) as shown, read from the header only.

    Raises:
        DataError: The file is missing or no image.
    """
    with _opened(path, load=False) as image:
        width, height = image.size
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # orientations that swap the axes
        return (width, height) if turned else (height, width)


def _opened(path: Path, load: bool = True) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF blocks; the orientation is then "as stored"
            image = Image.open(path)
            if load:
                image.load()
        return image
    except FileNotFoundError:
        raise DataError("file is missing", where=str(path), fix="restore it, or take the image off the list") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"image is too large to be safe ({error})", where=str(path), fix="downscale it") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise DataError(
            f"cannot be read as an image ({error})", where=str(path), fix="repair or replace the file"
        ) from None


def _to_eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    full_range = 1.0 if image.mode == "F" and values.max() <= 1 else (255.0 if values.max() <= 255 else 65535.0)
    scaled = values / max(full_range, values.max()) * 255
    return Image.fromarray(np.clip(scaled, 0, 255).round().astype(np.uint8))
