"""Bringing the images along: linked where the disk allows it, else copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

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
        if suffix in suffixes:
            target = folder / f"{image.name}{suffix}"
            _link(image.image.resolve(), target)
        else:
            target = folder / f"{image.name}.png"
            Image.fromarray(read_image(image.image)).save(target)
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
    except OSError:  # another disk, or one that knows no links
        shutil.copyfile(source, target)
