"""All that a data set says, by list and by kind of annotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from bombo.conversion.annotated import AnnotatedObject, Shape
from bombo.conversion.extras import note_coco
from bombo.conversion.losses import Losses
from bombo.conversion.recognise import Recognised
from bombo.data.annotation_io import Mend
from bombo.data.data_file import Split, class_names, label_space, load_data_file, read_split
from bombo.data.dataset import require_declared_size
from bombo.data.image_io import image_size, orientation, read_as_stored, read_image, read_mask_pixels
from bombo.data.label_space import BACKGROUND_NAMES, VOID, VOID_NAMES, LabelSpace
from bombo.data.masks import OutlineMask
from bombo.data.sample import Record
from bombo.data.sources import CocoSource
from bombo.errors import BomboError, DataError

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


def read(
    found: Recognised,
    splits: Sequence[Split],
    losses: Losses,
    *,
    to_coco: bool,
    skip_bad: bool,
    mend: Mend | None = None,
) -> Content:
    """Reads annotation, no pixel yet. Classes the data file leaves out are kept: a conversion chooses nothing.

    Args:
        found: The data set.
        splits: Which of its lists.
        losses: Takes note of what is not read.
        to_coco: Whether the target is COCO, too.
        skip_bad: Leave out images that cannot be used.
        mend: Mends what the files of boxes say.

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
        read = read_split(data, split, space, skip_bad=skip_bad, partial=not found.whole, as_annotated=True, mend=mend)
        skipped += read.problems
        records = read.records if found.whole else _without_empty_masks(read.records)
        for kind in ("both", "boxes", "masks"):
            if own := [record for record in records if record.kind == kind]:
                parts.append(Part(split, kind, own))
    return Content(space, _with_distinct_names(parts), skipped)


def require_readable(file: Path, space: LabelSpace, images: int, boxes: int) -> None:
    """Reads what a conversion wrote, no pixel of it, and counts it.

    Args:
        file: The new data file.
        space: The classes.
        images: How many were written.
        boxes: How many were written.

    Raises:
        BomboError: It cannot be read, or some are missing.
    """
    try:
        data = load_data_file(file)
        label_space(data)
        splits = [split for split in get_args(Split) if getattr(data, split)]
        records = [record for split in splits for record in read_split(data, split, space, as_annotated=True).records]
    except BomboError as error:
        reason = error.message
    else:
        found = len(records), sum(len(record.boxes) for record in records if record.boxes is not None)
        if found == (images, boxes):
            return
        reason = f"{images} images with {boxes} boxes went in, {found[0]} with {found[1]} came out"
    fix = "convert to another format; and please report it, with the annotation if you may share it"
    raise BomboError(f"does not read back as it was written, so nothing is kept: {reason}", where=file.name, fix=fix)


def check_size(record: Record) -> tuple[int, int]:
    """(height, width) of an image as shown.

    Raises:
        DataError: The file is no image, or its annotation says another size.
    """
    size = image_size(record.image)
    require_declared_size(record, size)
    return size


def upright(record: Record) -> tuple[tuple[int, int], np.ndarray | None]:
    """(height, width) of an image, and its pixels where the file is turned by its EXIF orientation.

    The pixels are as shown; or as stored, where that is the size the annotation says.

    Raises:
        DataError: The file is no image, or its annotation says another size.
    """
    if not 1 < orientation(record.image) <= 8:
        return check_size(record), None
    pixels = read_image(record.image)
    if record.size == (pixels.shape[1], pixels.shape[0]) != pixels.shape[:2]:
        pixels = read_as_stored(record.image)
    size = (pixels.shape[0], pixels.shape[1])
    require_declared_size(record, size)
    return size, pixels


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


def named_for_files(records: Sequence[Record], split: Split, taken: set[str]) -> list[Record]:
    """Names for files: without folders and outer spaces, which lists cannot say, and none that is taken.

    These get their list's in front, and a number where that is not enough.

    Args:
        records: The images of one list.
        split: The list.
        taken: Names of other images; those of these are added.
    """
    named = []
    for record in records:
        name = own = record.name.replace("/", "-").strip()
        again = 1
        while name in taken:
            name = f"{split}-{own}" + (f"-{again}" if again > 1 else "")
            again += 1
        taken.add(name)
        named.append(replace(record, name=name))
    return named


def said_by_outlines(record: Record) -> bool:
    """Whether the mask of an image is what the outlines of its objects say, and no more."""
    own, mask = record.boxes, record.mask
    return isinstance(mask, OutlineMask) and own is not None and len(mask.outlines) == len(own.outlines)


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
    taken: set[str] = set()
    return [replace(part, records=named_for_files(part.records, part.split, taken)) for part in parts]
