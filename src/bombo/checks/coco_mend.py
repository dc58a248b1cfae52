"""Mends what `coco_file` names in an instances JSON."""

from __future__ import annotations

from typing import Any

from pycocotools import mask as coco_mask

from bombo.checks.coco_file import IMAGE_TWICE, NO_IMAGE, key_of, raw_boxes, twice
from bombo.checks.finding import Hit, Repaired
from bombo.checks.raw_boxes import DUPLICATE, faults, mended
from bombo.data.annotation_io import Box, Content
from bombo.data.coco import shape_of
from bombo.data.masks import Outline, encoded
from bombo.data.sources import CocoSource
from bombo.errors import DataError


def mend(content: Content, source: CocoSource) -> tuple[Content, list[Repaired]]:
    """Mends boxes, and leaves out what belongs to no image, or to one of several images.

    A box that cannot be as it stands becomes that of its object's outline, if masks may be read; without one its
    annotation is left out.

    Args:
        content: Images, annotations and categories as they stand; stays as it is.
        source: Where they come from.

    Returns:
        The mended content, and what was done.

    Raises:
        DataError: The source's list is missing or malformed.
    """
    path = source.annotations
    unclear = set(twice(content["images"], "id"))
    hits = (Hit(IMAGE_TWICE, f"{path}, image id {number}") for number in sorted(unclear, key=str))
    done = [Repaired(hit, left_out=False) for hit in hits]
    images = [entry for entry in content["images"] if key_of(entry, "id") not in unclear]
    known = {key_of(entry, "id") for entry in images}
    annotations = []
    for item in content["annotations"]:
        if key_of(item, "image_id") in known:
            annotations.append(item)
        else:
            defect = IMAGE_TWICE if key_of(item, "image_id") in unclear else NO_IMAGE
            done.append(Repaired(Hit(defect, f"{path}, annotation {item.get('id')}"), left_out=True))
    content = {**content, "images": images, "annotations": annotations}
    return _with_sound_boxes(content, source, done) if source.use_boxes else content, done


def _with_sound_boxes(content: Content, source: CocoSource, done: list[Repaired]) -> Content:
    by_image, corners = raw_boxes(source, content)
    made: dict[int, Box | None] = {}  # position of an annotation → its box, None to leave it out
    if corners is not None:
        done.append(Repaired(corners, left_out=False))
        made = {position: raw.box for own in by_image.values() for position, raw in own}
    for own in by_image.values():
        gone = set[int]()
        for row, hit in faults([raw for _, raw in own]):
            position, raw = own[row]
            if row in gone:
                continue
            box, item = mended(raw, hit.defect), content["annotations"][position]
            if box is None and hit.defect != DUPLICATE and source.use_masks and item.get("segmentation"):
                box = _extent(item, raw.size)
                if box is None:
                    continue  # the reader refuses its image: without the annotation, the object would be background
            if box is None:
                gone.add(row)
            made[position] = box
            done.append(Repaired(hit, left_out=box is None))
    mended_items = [
        {**item, "bbox": _as_written(made[position])} if made.get(position) else item  # type: ignore[arg-type]
        for position, item in enumerate(content["annotations"])
        if made.get(position, ()) is not None
    ]
    return {**content, "annotations": mended_items}


def _as_written(box: Box) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def _extent(item: dict[str, Any], size: tuple[int, int]) -> Box | None:
    """The box around an object's outline, None where that cannot be decoded or is empty."""
    try:
        outline = Outline(1, shape_of(item["segmentation"], size, ""), False, "")
        x, y, width, height = coco_mask.toBbox(encoded(outline, size)).tolist()
    except (DataError, ValueError):
        return None
    return (x, y, x + width, y + height) if width and height else None
