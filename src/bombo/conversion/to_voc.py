"""Writer of VOC devkits: XML, palette masks, lists, and the label map that CVAT and `bombo train` read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bombo.conversion.annotated import AnnotatedImage, AnnotatedObject
from bombo.conversion.losses import Losses
from bombo.conversion.placing import linked
from bombo.conversion.shapes import to_pixels
from bombo.data.label_space import VOID, LabelSpace
from bombo.data.spelling import VocObject, label_map, lines, mask_png, voc_xml
from bombo.errors import ConfigError

SUFFIXES = (".jpg", ".jpeg", ".png")
_VOID_ROW = "void:224,224,192::\n"  # its colour in masks; importers that go by colour refuse one without a name
_MOST_OBJECTS = 254  # of one image, in a mask of 8 bits


def write_voc(
    images: Iterable[AnnotatedImage], space: LabelSpace, root: Path, list_name: str, losses: Losses | None = None
) -> None:
    """Writes images into a devkit, one after the other.

    JPEGImages; Annotations for images with objects; SegmentationClass for those with a mask, and SegmentationObject
    (value i + 1 = the i-th object of the XML) where objects have outlines; ImageSets/Main and, of those with a mask,
    ImageSets/Segmentation; labelmap.txt. Boxes become whole pixels, crowds difficult objects.

    Args:
        images: What to write; read once.
        space: The classes; position = label.
        root: Folder such as `VOCdevkit/VOC2012`; several lists may go to the same one.
        list_name: Name of the list of these images.
        losses: Takes note of what cannot be said.

    Raises:
        ConfigError: A class has a name that labelmap.txt cannot say.
    """
    _require_sayable(space)
    losses = losses or Losses()
    place = linked(root / "JPEGImages", SUFFIXES, losses)
    listed: list[str] = []
    masked: list[str] = []
    for image in images:
        file_name = place(image)
        listed.append(image.name)
        if image.objects is not None:
            objects = [_voc_object(item, image, space, losses) for item in image.objects]
            xml = voc_xml(root.name, file_name, image.size, objects, masked=image.mask is not None)
            _write(root / "Annotations" / f"{image.name}.xml", xml)
        if image.mask is not None:
            masked.append(image.name)
            _write(root / "SegmentationClass" / f"{image.name}.png", mask_png(image.mask))
            if image.objects == () or any(item.shape is not None for item in image.objects or ()):
                _write_instances(image, image.mask, root / "SegmentationObject" / f"{image.name}.png", losses)
    for folder, names in (("Main", listed), ("Segmentation", masked)):
        if names:
            _write(root / "ImageSets" / folder / f"{list_name}.txt", lines(names).encode())
    _write(root / "labelmap.txt", (label_map(space.names) + _VOID_ROW).encode())


def _require_sayable(space: LabelSpace) -> None:
    for name in space.names:
        if ":" in name or name.startswith("#") or name != name.strip():
            fix = "rename it in the source, or convert to another format"
            raise ConfigError(f"VOC cannot name a class {name!r}: no `:`, no # and no space around it", fix=fix)


def _voc_object(item: AnnotatedObject, image: AnnotatedImage, space: LabelSpace, losses: Losses) -> VocObject:
    box = whole_pixels(item.box, image.size)
    moved = max(abs(one - other) for one, other in zip(item.box, box, strict=True))
    losses.change("boxes rounded to whole pixels", image.name, int(moved > 1e-3))
    losses.change("`area` of objects not carried over", image.name, int(item.area is not None))
    if image.mask is None:
        losses.change("outlines not carried over: VOC has them in masks only", image.name, int(item.shape is not None))
    else:
        losses.change("polygons written as pixels", image.name, int(isinstance(item.shape, list)))
    losses.change("crowds marked as `difficult`: VOC has no regions of many objects", image.name, int(item.crowd))
    return VocObject(space.names[item.label], box, item.difficult or item.crowd)


def whole_pixels(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The nearest box of whole pixels that is not empty and lies in the image."""
    height, width = size
    (x1, x2), (y1, y2) = _whole(box[0], box[2], width), _whole(box[1], box[3], height)
    return x1, y1, x2, y2


def _whole(low: float, high: float, length: int) -> tuple[int, int]:
    first, last = math.floor(low + 0.5), math.floor(high + 0.5)
    if last <= first:
        first = math.floor((low + high) / 2)
    first = min(max(first, 0), length - 1)
    return first, min(max(last, first + 1), length)


def _write_instances(image: AnnotatedImage, mask: np.ndarray, path: Path, losses: Losses) -> None:
    assert image.objects is not None
    if len(image.objects) > _MOST_OBJECTS:
        losses.change("images with too many objects to tell apart in SegmentationObject", image.name)
        return
    regions = [
        (number, to_pixels(item.shape, image.size))
        for number, item in enumerate(image.objects, start=1)
        if item.shape is not None and not item.crowd
    ]
    values = np.zeros(mask.shape, np.uint8)  # void is no object: importers would take it for one
    for number, pixels in sorted(regions, key=lambda region: -int(region[1].sum())):  # the smallest on top
        values[pixels & (mask != VOID)] = number
    hidden = sum(bool((values[pixels] != number).any()) for number, pixels in regions)
    losses.change("outlines in part below another object or void: SegmentationObject shows the top", image.name, hidden)
    _write(path, mask_png(values))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
