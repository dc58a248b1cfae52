"""One image with its annotation, as the writers of all formats take it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bombo.data.annotation_io import Box

Shape = list[np.ndarray] | dict[str, object] | np.ndarray


@dataclass(frozen=True, eq=False)
class AnnotatedObject:
    """One object.

    Args:
        label: Class index.
        box: xyxy in pixels, edges.
        shape: Its outline: polygons, each (2 · points,) x, y, ... in pixels; a COCO RLE dictionary; (H, W) bool; None
            where there is none.
        crowd: It stands for several objects.
        difficult: VOC's flag.
        area: In pixels; None = that of the outline, or of the box.
        score: 0 to 1, where a network was asked; None = a person drew it.
    """

    label: int
    box: Box
    shape: Shape | None = None
    crowd: bool = False
    difficult: bool = False
    area: float | None = None
    score: float | None = None


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """One image.

    Args:
        image: Path of the file.
        size: (height, width) as shown.
        name: Unique in the data set; names the files to write.
        objects: None = not annotated for detection; none at all = annotated, and there is nothing.
        mask: (H, W) uint8, class index + 1, 0 background, 255 void; None = not annotated for segmentation, or said by
            the outlines of the objects.
        pixels: (H, W, 3) uint8 to be saved in place of the file; None = the file serves.
    """

    image: Path
    size: tuple[int, int]
    name: str
    objects: tuple[AnnotatedObject, ...] | None
    mask: np.ndarray | None
    pixels: np.ndarray | None = None
