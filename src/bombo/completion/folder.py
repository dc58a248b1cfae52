"""The folder of a completed data set: what labelling tools import, and what training reads.

OUT/data.yaml                                  for `bombo check` and `bombo train`, with the next two
OUT/annotations.json                           COCO, exact, with stuff and void: run lengths, polygons as drawn
OUT/coco/images/                               the images, linked where the disk allows it
OUT/coco/annotations/instances_default.json    COCO, polygons: for CVAT (COCO 1.0) and Label Studio
OUT/voc/                                       devkit with XML and mask PNGs: for CVAT (PASCAL VOC 1.1)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bombo.completion.polygons import drawn
from bombo.conversion.annotated import AnnotatedImage, AnnotatedObject
from bombo.conversion.losses import Losses
from bombo.conversion.placing import linked
from bombo.conversion.to_coco import write_coco
from bombo.conversion.to_voc import write_voc
from bombo.data.data_file import DataFile, Split
from bombo.data.data_file_text import data_file_text
from bombo.data.image_io import IMAGE_SUFFIXES, read_mask_pixels
from bombo.data.label_space import VOID, LabelSpace
from bombo.data.sources import CocoSource

EXACT, DATA = "annotations.json", "data.yaml"
COCO, VOC, SUBSET = "coco", "voc", "default"  # the subset's name is CVAT's


def write(images: Iterable[AnnotatedImage], space: LabelSpace, out: Path, losses: Losses, voc: Losses) -> None:
    """Writes the annotation in all forms; one mask at a time is held.

    Args:
        images: With masks, outlines as polygons or RLE, regions of no class with the label after the last one; read
            once.
        space: The classes.
        out: The folder.
        losses: Takes note of what `annotations.json` cannot say.
        voc: Takes note of what the devkit cannot say.
    """
    held: list[AnnotatedImage] = []

    def named() -> Iterator[AnnotatedImage]:
        for image in images:
            held.append(replace(image, mask=None))
            yield replace(image, objects=_of_classes(image, space))

    write_voc(named(), space, out / VOC, SUBSET, voc)
    place = linked(out / COCO / "images", IMAGE_SUFFIXES, losses)
    names = {image.name: place(image) for image in held}

    def placed(image: AnnotatedImage) -> str:
        return names[image.name]

    exact = (replace(image, mask=mask_of(out, image.name)) for image in held)
    write_coco(exact, space, out / EXACT, placed, losses)
    by_hand = (_by_hand(image, mask_of(out, image.name), space) for image in held)
    write_coco(by_hand, space, out / COCO / "annotations" / f"instances_{SUBSET}.json", placed)


def mask_of(out: Path, name: str) -> np.ndarray:
    """(H, W) uint8, the mask of an image that was written."""
    return read_mask_pixels(out / VOC / "SegmentationClass" / f"{name}.png")


def data_file(file: DataFile, split: Split, space: LabelSpace, out: Path, labelled: list[str] | None = None) -> str:
    """The data file in which the completed list takes the place of the one it came from.

    Args:
        file: Where the images come from; its other lists are taken over.
        split: The list that was completed.
        space: The classes.
        out: The folder, under the name it will have.
        labelled: The classes that were looked for, None = all.
    """
    some: dict[str, Any] = {} if labelled is None else {"labelled_classes": labelled}
    source = CocoSource.model_construct(  # not validated: nothing lies there yet
        format="coco", root=out, annotations=out / EXACT, images=out / COCO / "images", use="both", **some
    )
    classes = {"classes": list(space.names), **({"stuff": list(space.stuff)} if space.stuff else {})}
    return data_file_text(file.model_copy(update={**classes, split: [source]}), out)


def _of_classes(image: AnnotatedImage, space: LabelSpace) -> tuple[AnnotatedObject, ...]:
    return tuple(item for item in image.objects or () if item.label < len(space.names))


def _by_hand(image: AnnotatedImage, mask: np.ndarray, space: LabelSpace) -> AnnotatedImage:
    """Objects and stuff as polygons; what is void, a person sees as a gap."""
    objects = [
        replace(item, shape=None if item.shape is None else drawn(item.shape, image.size) or None)
        for item in _of_classes(image, space)
    ]
    for value in np.unique(mask[(mask > space.num_things) & (mask != VOID)]).tolist():
        ys, xs = np.nonzero(mask == value)
        box = float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)
        objects.append(AnnotatedObject(value - 1, box, drawn(mask == value, image.size)))
    return replace(image, objects=tuple(objects))
