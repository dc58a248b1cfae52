"""Writer of COCO instances, streamed: no image is kept, whatever the number."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from bombo.conversion.annotated import AnnotatedImage, AnnotatedObject, Shape
from bombo.conversion.instances import outlined
from bombo.conversion.losses import Losses
from bombo.conversion.placing import Place
from bombo.conversion.shapes import paint, to_rle
from bombo.data.label_space import VOID, LabelSpace
from bombo.files import atomic_file

VOID_NAME = "void"


def write_coco(
    images: Iterable[AnnotatedImage],
    space: LabelSpace,
    file: Path,
    place: Place,
    losses: Losses | None = None,
) -> None:
    """Writes an instances JSON, one image after the other.

    Outlines stay as they are; what is given as pixels becomes run lengths. Where an image has a mask, every object gets
    its pixels of it, and what belongs to no object is written too, so that the mask can be painted again: stuff as one
    annotation for each class, void as a crowd of the class `void`. VOC's `difficult` is `ignore`.

    Args:
        images: What to write; read once.
        space: The classes; their ids count from 1 in this order.
        file: The JSON.
        place: Brings an image along and says its `file_name`.
        losses: Takes note of what cannot be said.
    """
    losses = losses or Losses()
    count, has_void = 0, False
    with tempfile.TemporaryFile() as held, atomic_file(file) as out:
        out.write(b'{"images": [')
        for number, image in enumerate(images, start=1):
            height, width = image.size
            entry = {"id": number, "file_name": place(image), "height": height, "width": width}
            out.write(f"{',' if number > 1 else ''}\n{json.dumps(entry)}".encode())
            for item in _annotations(image, space, losses):
                has_void |= item["category_id"] == len(space.names) + 1
                held.write(f"{',' if count else ''}\n".encode())
                count += 1
                held.write(json.dumps({"id": count, "image_id": number, **item}).encode())
        out.write(b'\n],\n"annotations": [')
        held.seek(0)
        shutil.copyfileobj(held, out)
        names = [*space.names, VOID_NAME] if has_void else space.names
        categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
        out.write(f'\n],\n"categories": {json.dumps(categories)}}}\n'.encode())


def _annotations(image: AnnotatedImage, space: LabelSpace, losses: Losses) -> Iterator[dict[str, Any]]:
    objects = image.objects or ()
    if image.objects is None:
        losses.change(
            "masks written as one region for each class, no objects: to be read with `use: masks`", image.name
        )
    if image.mask is not None and objects:
        objects, guessed = outlined(image)
        worked_out = sum(item.shape is None for item in image.objects or ())
        losses.change("outlines taken from the mask", image.name, worked_out)
        losses.change(
            "objects touch another one of their class: the border between their outlines is a guess",
            image.name,
            guessed,
        )
    for item in objects:
        yield _object(item, image.size)
    if image.mask is not None:
        yield from _rest(image, image.mask, objects, space, losses)


def _object(item: AnnotatedObject, size: tuple[int, int]) -> dict[str, Any]:
    x1, y1, x2, y2 = item.box
    said = {} if item.shape is None else to_rle(item.shape, size)
    area = item.area
    if area is None:
        area = float(coco_mask.area(said)) if said else (x2 - x1) * (y2 - y1)
    return {
        "category_id": item.label + 1,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": area,
        "iscrowd": int(item.crowd),
        "segmentation": [] if item.shape is None else _segmentation(item.shape, said),
        **({"ignore": 1} if item.difficult else {}),
        **({} if item.score is None else {"score": item.score}),
    }


def _segmentation(shape: Shape, rle: dict[str, Any]) -> list[list[float]] | dict[str, Any]:
    return [polygon.tolist() for polygon in shape] if isinstance(shape, list) else rle


def _rest(
    image: AnnotatedImage,
    mask: np.ndarray,
    objects: tuple[AnnotatedObject, ...],
    space: LabelSpace,
    losses: Losses,
) -> Iterator[dict[str, Any]]:
    """What the mask says beyond the objects."""
    painted = paint(objects, image.size)
    painted[painted > len(space.names)] = VOID  # regions of no known class
    rest = (mask != painted) & (painted == 0)
    losses.change(
        "pixels that outlines say otherwise than the mask", image.name, int(((painted != mask) & ~rest).sum())
    )
    nobodys = rest & (mask > 0) & (mask <= space.num_things) & (image.objects is not None)
    losses.change("pixels of a class outside all boxes of it, now void", image.name, int(nobodys.sum()))
    losses.voided += int(nobodys.sum())
    values = np.where(rest, np.where(nobodys, VOID, mask), 0)
    for value in np.unique(values[values > 0]).tolist():
        pixels = values == value
        ys, xs = np.nonzero(pixels)
        box = float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)
        label = len(space.names) if value == VOID else value - 1
        yield _object(AnnotatedObject(label, box, pixels, crowd=value == VOID), image.size)
