"""All that a data set says, by list and by kind of annotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from bombo.conversion.annotated import AnnotatedObject, Shape
from bombo.conversion.extras import note_coco
from bombo.conversion.losses import Losses
from bombo.conversion.recognise import Recognised
from bombo.data.data_file import Split, class_names, label_space, read_split
from bombo.data.dataset import require_declared_size
from bombo.data.image_io import image_size, read_mask_pixels
from bombo.data.label_space import BACKGROUND_NAMES, VOID, VOID_NAMES, LabelSpace
from bombo.data.masks import OutlineMask
from bombo.data.sample import Record
from bombo.data.sources import CocoSource
from bombo.errors import DataError

Kind = Literal["boxes", "masks", "both"]


@dataclass(frozen=True)
class Part:
    """Images of one list that carry the same kinds of annotation.

    Args:
        split: The list of the data file.
        kind: What the images carry.
        records: The images; names are unique over all parts.
    """

    split: Split
    kind: Kind
    records: list[Record]


@dataclass(frozen=True)
class Content:
    """A data set, read.

    Args:
        space: All classes its sources know, whichever the data file uses.
        parts: Its images.
        skipped: What could not be read and was left out.
    """

    space: LabelSpace
    parts: list[Part]
    skipped: list[DataError]


def read(found: Recognised, splits: Sequence[Split], losses: Losses, *, to_coco: bool, skip_bad: bool) -> Content:
    """Reads annotation, no pixel yet. Classes the data file leaves out are kept: a conversion chooses nothing.

    Args:
        found: The data set.
        splits: Which of its lists.
        losses: Takes note of what is not read.
        to_coco: Whether the target is COCO, too.
        skip_bad: Leave out images that cannot be used.

    Raises:
        ConfigError: The classes cannot be used.
        DataError: Images cannot be used.
    """
    data = found.data
    stuff = tuple(label_space(data).stuff) if data.classes or data.stuff else ()
    names = dict.fromkeys(name for source in (*data.train, *data.val, *data.test) for name in class_names(source))
    things = (name for name in names if name.lower() not in BACKGROUND_NAMES + VOID_NAMES and name not in stuff)
    space = LabelSpace(tuple(things), stuff)
    sources = [source for split in splits for source in getattr(data, split)]
    for coco in {source.annotations: source for source in sources if isinstance(source, CocoSource)}.values():
        note_coco(coco, losses, to_coco=to_coco)
    parts: list[Part] = []
    skipped: list[DataError] = []
    for split in splits:
        read = read_split(data, split, space, skip_bad=skip_bad, partial=not found.whole, as_annotated=True)
        skipped += read.problems
        records = read.records if found.whole else _without_empty_masks(read.records)
        for kind in ("both", "boxes", "masks"):
            if own := [record for record in records if record.kind == kind]:
                parts.append(Part(split, kind, own))
    return Content(space, _with_distinct_names(parts), skipped)


def check_size(record: Record) -> tuple[int, int]:
    """(height, width) of an image as shown.

    Raises:
        DataError: The file is no image, or its annotation says another size.
    """
    size = image_size(record.image)
    require_declared_size(record, size)
    return size


def objects_of(record: Record, mask: np.ndarray | None) -> tuple[AnnotatedObject, ...] | None:
    """The objects of an image with the outlines its source knows, VOC's SegmentationObject among them."""
    own = record.boxes
    if own is None:
        return None
    shapes: Sequence[Shape | None] = [None if outline is None else outline.shape for outline in own.outlines]
    if mask is not None and not shapes:
        shapes = _segmentation_object(record.image, own.labels, mask) or ()
    sides = own.boxes[:, 2:] - own.boxes[:, :2]
    return tuple(
        AnnotatedObject(
            int(own.labels[row]),
            tuple(own.boxes[row].tolist()),
            shapes[row] if shapes else None,
            crowd=bool(own.crowd[row]),
            difficult=bool(own.difficult[row]),
            area=float(own.areas[row]) if own.areas[row] != sides[row].prod() else None,
        )
        for row in range(len(own))
    )


def said_by_outlines(record: Record) -> bool:
    """Whether the mask of an image is what the outlines of its objects say, and no more."""
    own, mask = record.boxes, record.mask
    return isinstance(mask, OutlineMask) and own is not None and len(mask.outlines) == len(own.outlines)


def has_crowds(record: Record) -> bool:
    """Whether outlines of an image hold crowds, whose pixels are void."""
    return isinstance(record.mask, OutlineMask) and any(outline.crowd for outline in record.mask.outlines)


def _segmentation_object(image: Path, labels: np.ndarray, mask: np.ndarray) -> list[np.ndarray] | None:
    """The pixels of each object of a VOC image, None where there is no such file or it does not fit its XML."""
    path = image.parent.parent / "SegmentationObject" / f"{image.stem}.png"
    if image.parent.name != "JPEGImages" or not path.is_file():
        return None
    values = read_mask_pixels(path)
    if values.shape != mask.shape:
        return None
    inside = (values > 0) & (values != VOID)
    row = values[inside].astype(int) - 1
    fits = row.size == 0 or (row.max() < len(labels) and (labels[row] + 1 == mask[inside]).mean() > 0.99)
    return [values == number for number in range(1, len(labels) + 1)] if fits else None


def _without_empty_masks(records: list[Record]) -> list[Record]:
    """Where no object has an outline, images without objects say nothing about masks either."""
    if any(record.mask is not None and (record.boxes is None or len(record.boxes)) for record in records):
        return records
    return [replace(record, mask=None) for record in records]


def _with_distinct_names(parts: list[Part]) -> list[Part]:
    """Names that an earlier list has get their own list's in front, and a number where that is not enough."""
    taken: set[str] = set()
    distinct = []
    for part in parts:
        records = []
        for record in part.records:
            name, again = record.name, 1
            while name in taken:
                name = f"{part.split}-{record.name}" + (f"-{again}" if again > 1 else "")
                again += 1
            taken.add(name)
            records.append(replace(record, name=name))
        distinct.append(Part(part.split, part.kind, records))
    return distinct
