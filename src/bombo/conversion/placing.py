"""Bringing the images along: linked where the disk allows it, else copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from PIL import Image

from bombo.conversion.annotated import AnnotatedImage
from bombo.conversion.losses import Losses
from bombo.data.image_io import read_image

Place = Callable[[AnnotatedImage], str]  # brings an image along, and says what the annotation should call it


def linked(folder: Path, suffixes: Collection[str], losses: Losses) -> Place:
    """Brings images to a folder under their names: the same file where links are possible, else a copy.

    Args:
        folder: Made if need be.
        suffixes: File types the format's readers know; images of other types are saved as PNG.
        losses: Takes note of these.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def place(image: AnnotatedImage) -> str:
        suffix = image.image.suffix.lower()
        if image.pixels is not None:
            target = folder / f"{image.name}.png"
            _save(image.pixels, target)
            losses.change("images saved upright, as PNG without an EXIF orientation", image.name)
        elif suffix in suffixes:
            target = folder / f"{image.name}{suffix}"
            _link(image.image.resolve(), target)
        else:
            target = folder / f"{image.name}.png"
            _save(read_image(image.image), target)
            losses.change(f"images saved as PNG, since readers of this format know no {suffix}", image.name)
        return target.name

    return place


def left_in(folder: Path) -> Place:
    """Leaves images where they are: the annotation names them by their path from a folder."""

    def place(image: AnnotatedImage) -> str:
        return Path(os.path.relpath(image.image.resolve(), folder.resolve())).as_posix()

    return place


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileExistsError:  # perhaps a link to another image, which a copy would overwrite
        raise
    except OSError:  # another disk, or one that knows no links
        with source.open("rb") as image, target.open("xb") as copy:
            shutil.copyfileobj(image, copy)


def _save(pixels: np.ndarray, target: Path) -> None:
    with target.open("xb") as file:
        Image.fromarray(pixels).save(file, "PNG")
