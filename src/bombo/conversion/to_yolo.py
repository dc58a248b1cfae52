"""Writer of data sets as Ultralytics reads them: box and polygon rows, semantic masks, a YAML.

Format: https://docs.ultralytics.com/datasets/detect, /segment and /semantic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from pycocotools import mask as coco_mask

from bombo.conversion.annotated import AnnotatedImage, AnnotatedObject, Shape
from bombo.conversion.losses import Losses
from bombo.conversion.placing import linked
from bombo.conversion.shapes import extent, one_ring, to_rings, to_rle
from bombo.data.label_space import VOID, LabelSpace
from bombo.data.spelling import lines, mask_png, yolo_box, yolo_row

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def write_yolo(
    images: Iterable[AnnotatedImage], space: LabelSpace, root: Path, part: str, losses: Losses | None = None
) -> None:
    """Writes `images/<part>`, `labels/<part>` for objects and `masks/<part>` for masks, one image after the other.

    An object with an outline is a polygon row, its parts and holes joined to one ring; one without is a box row. Mask
    values are class indices, background is the index after the last class, 255 void. `ultralytics_yaml` goes with it.

    Args:
        images: What to write; read once.
        space: The classes; position = index.
        root: The data set's folder.
        part: Name of these images' folders.
        losses: Takes note of what cannot be said.
    """
    losses = losses or Losses()
    place = linked(root / "images" / part, SUFFIXES, losses)
    for image in images:
        place(image)
        if image.objects is not None:
            rows = [_row(item, image, losses) for item in image.objects if not item.crowd]
            losses.drop("crowds: rows have no regions of many objects", image.name, len(image.objects) - len(rows))
            outlines = sum(item.shape is not None and not item.crowd for item in image.objects)
            mixed = 0 < outlines < len(rows)
            losses.change(
                "images mix polygon and box rows: Ultralytics then drops the polygons", image.name, int(mixed)
            )
            _write(root / "labels" / part / f"{image.name}.txt", lines(rows).encode())
        if image.mask is not None:
            classes = np.where(image.mask == 0, len(space.names), image.mask - 1)
            values = np.where(image.mask == VOID, VOID, classes).astype(np.uint8)
            _write(root / "masks" / part / f"{image.name}.png", mask_png(values, palette=False))


def can_be_a_row(shape: Shape, size: tuple[int, int]) -> bool:
    """Whether a polygon row can say an outline: some of it lies in the image, and its extent is no line.

    Args:
        shape: The outline.
        size: (height, width) of the image.

    Raises:
        DataError: The outline cannot be decoded.
    """
    if not isinstance(shape, list):
        return bool(coco_mask.area(to_rle(shape, size)))
    x1, y1, x2, y2 = extent([polygon.reshape(-1, 2).clip(0, size[::-1]) for polygon in shape])
    return x1 < x2 and y1 < y2


def ultralytics_yaml(root: Path, splits: Mapping[str, Sequence[str]], space: LabelSpace, *, masks: bool) -> str:
    """The YAML that names images and classes.

    Args:
        root: Where the data set lies in the end: Ultralytics looks for relative ones in other places.
        splits: `train`, `val` or `test` → its parts.
        space: The classes.
        masks: Whether there are semantic masks; background is a class of its own then.
    """
    names = [*space.names, "background"] if masks else list(space.names)
    content = {
        "path": str(root.resolve()),
        **{split: [f"images/{part}" for part in parts] for split, parts in splits.items()},
        "names": dict(enumerate(names)),
        **({"masks_dir": "masks"} if masks else {}),
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _row(item: AnnotatedObject, image: AnnotatedImage, losses: Losses) -> str:
    losses.change("`difficult` flags lost", image.name, int(item.difficult))
    losses.change("`area` of objects not carried over", image.name, int(item.area is not None))
    if item.shape is None or not can_be_a_row(item.shape, image.size):
        losses.change("outlines without a pixel, written as boxes", image.name, int(item.shape is not None))
        return yolo_box(item.label, item.box, image.size)
    rings = to_rings(item.shape, image.size)
    losses.change("outlines with holes or in parts, joined to one ring by bridges", image.name, int(len(rings) > 1))
    limits = np.array((image.size[1], image.size[0]))
    ring = one_ring(rings).clip(0, limits)
    moved = np.abs(np.subtract(extent([ring]), item.box)).max()
    losses.change(
        "boxes moved by more than half a pixel: those of polygon rows are tight", image.name, int(moved > 0.5)
    )
    return yolo_row(item.label, (ring / limits).reshape(-1).tolist())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
