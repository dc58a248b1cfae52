"""What the lists hold of every class, and where boxes and masks tell different stories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np

from bombo.checks.examine import Examined
from bombo.checks.finding import LIST_ALL, Defect, Hit
from bombo.checks.naming import flow
from bombo.checks.source import Task
from bombo.data.label_space import BACKGROUND, VOID, LabelSpace
from bombo.data.statistics import Statistics, times_unlabelled

EMPTY = Defect(
    "image-empty", "note", "image is annotated as empty", "images are annotated as empty",
    "right if somebody looked and saw nothing. If nobody looked, they teach that there is nothing: take them off the "
    "`list` of their source; the command writes them all down", LIST_ALL,
)  # fmt: skip
NONE_CHOSEN = Defect(
    "image-of-other-classes", "note",
    "image holds none of the classes chosen", "images hold none of the classes chosen",
    "right if they hold other things, or somebody looked and saw nothing. If nobody looked, they teach that there is "
    "nothing: take them off the `list` of their source; the command writes them all down", LIST_ALL,
)  # fmt: skip
MOSTLY_EMPTY = Defect(
    "images-mostly-empty", "warning", "list holds mostly empty images", "lists hold mostly empty images",
    "were they all annotated? What nobody annotated must be left out, by a `list` of the others under their source; "
    "the command writes them all down", LIST_ALL,
)  # fmt: skip
NOTHING = Defect(
    "class-without-annotation", "warning",
    "class has neither boxes nor pixels in train", "classes have neither boxes nor pixels in train",
    "they cannot be learned: leave them out with `classes:`, or add images that hold them",
)  # fmt: skip
NO_PIXELS = Defect(
    "class-without-pixels", "note",
    "class has boxes but no pixels in any mask of train", "classes have boxes but no pixels in any mask of train",
    "nothing has to be done: their masks are learned from boxes alone (weak losses)",
)  # fmt: skip
NO_BOXES = Defect(
    "class-without-boxes", "note",
    "class has pixels in masks but no box in train", "classes have pixels in masks but no box in train",
    "nothing has to be done: their boxes are learned from masks alone (weak losses); is it stuff, such as grass? Then "
    "list it under `stuff:`",
)  # fmt: skip
SPELLING = Defect(
    "class-spelling", "warning",
    "class is spelled in several ways", "classes are spelled in several ways",
    "to BoMBo they are different classes: give them one name, under `names:` of the source (folder of masks, VOC), in "
    "the YAML (YOLO), or in `categories` (COCO)",
)  # fmt: skip
NOT_CHOSEN = Defect(
    "class-not-chosen", "note", "class of a source is left out", "classes of the sources are left out",
    "nothing has to be done: `classes:` does not list them, so they are what `others:` says",
)  # fmt: skip
NO_VAL = Defect(
    "no-val", "note", "list is missing: `val`", "lists are missing: `val`",
    "training then has no figures, no best weights and no galleries: add images with both annotations, or keep some of "
    "train for it, by a `list` under each source",
)  # fmt: skip
NOT_MEASURED = Defect(
    "class-not-in-val", "note", "class of train is missing in val", "classes of train are missing in val",
    "its figures will be empty; add images with it to val if it matters",
)  # fmt: skip
RARE = Defect(
    "class-rare", "note", "class is rare", "classes are rare",
    "expect weak figures for them; more images with them help most",
)  # fmt: skip
UNEVEN = Defect(
    "class-uneven", "note",
    "class is common with one kind of annotation and rare with the other",
    "classes are common with one kind of annotation and rare with the other",
    "what is rare in masks is segmented from boxes, and the reverse; a few images with the other kind help most",
)  # fmt: skip

UNLABELLED = Defect(
    "class-not-looked-for", "note",
    "class was not looked for on some images of train", "classes were not looked for on some images of train",
    "nothing has to be done: there they are neither object nor background. If they were looked for, name them under "
    "`labelled_classes:` of the source",
)  # fmt: skip

_RARE = 0.05  # of the images that the most frequent class has
_UNEVEN = 10.0  # times as large a share of the images with one annotation as with the other
_MOSTLY = 0.5


def count(tasks: Sequence[Task], examined: Sequence[Examined], space: LabelSpace) -> Statistics:
    """Counts the images of one list that can be used, by kind of annotation and class.

    Args:
        tasks: The images.
        examined: What was found in each.
        space: The label space.
    """
    classes = len(space.names)
    boxes, with_boxes, with_pixels = (np.zeros(classes, np.int64) for _ in range(3))
    pixels = np.zeros(256, np.int64)
    kinds = dict.fromkeys(("boxes", "masks", "both", "none"), 0)
    read = 0
    for task, found in zip(tasks, examined, strict=True):
        if task.record is None:
            continue
        kinds[task.record.kind] += 1
        if task.record.boxes is not None:
            labels = task.record.boxes.labels
            own = np.bincount(labels[labels >= 0], minlength=classes)
            boxes += own
            with_boxes += own > 0
        if found.values is not None:
            read += 1
            for value, number in found.values.items():
                pixels[value] += number
                if BACKGROUND < value < VOID:
                    with_pixels[value - 1] += 1
    valid = pixels[:VOID].sum()
    share = pixels[: classes + 1] / valid if valid else np.full(classes + 1, np.nan)
    unlabelled = times_unlabelled((task.record for task in tasks if task.record is not None), classes)
    return Statistics(kinds, boxes, with_boxes, share, with_pixels, read, kinds["masks"] + kinds["both"], unlabelled)


def empty_images(split: str, tasks: Sequence[Task], examined: Sequence[Examined], chosen: bool) -> list[Hit]:
    """Images whose annotation says that there is nothing, and a list that holds mostly such.

    Args:
        split: The list.
        tasks: Its images.
        examined: What was found in each.
        chosen: The data file chooses among the classes: an image without any may well hold others.
    """
    usable = [(task, found) for task, found in zip(tasks, examined, strict=True) if task.record is not None]
    defect = NONE_CHOSEN if chosen else EMPTY
    hits = [Hit(defect, str(task.image)) for task, found in usable if _is_empty(task, found)]
    if not chosen and len(hits) > _MOSTLY * len(usable):
        hits.append(Hit(MOSTLY_EMPTY, split, f"{len(hits):,} of {len(usable):,} images"))
    return hits


def balance(counts: Mapping[str, Statistics], space: LabelSpace) -> list[Hit]:
    """Classes that some kind of annotation knows little or nothing of.

    Args:
        counts: List (`train`, `val`, `test`) → what it holds.
        space: The label space.
    """
    train, val = counts["train"], counts.get("val")
    boxed, masked = (train.images[kind] + train.images["both"] for kind in ("boxes", "masks"))
    leave_out, as_stuff = _lines(train, space)
    hits = []
    for index, name in enumerate(space.names):
        thing = index < space.num_things
        boxes, pixels = int(train.boxes[index]), int(train.images_with_pixels[index])
        in_boxes = int(train.images_with_boxes[index])
        if train.unlabelled[index]:
            hits.append(Hit(UNLABELLED, name, f"{train.unlabelled[index]:,} of {sum(train.images.values()):,} images"))
        if not boxes and not pixels:
            hits.append(Hit(NOTHING, name, fix=leave_out))
        elif not pixels:
            hits.append(Hit(NO_PIXELS, name, f"{boxes:,} boxes, {masked:,} images with masks"))
        elif thing and not boxes:
            detail = f"pixels in {pixels:,} masks, {boxed:,} images with boxes"
            hits.append(Hit(NO_BOXES, name, detail, as_stuff))
        elif thing and not 1 / _UNEVEN <= (in_boxes / boxed) / (pixels / masked) <= _UNEVEN:
            detail = f"in {in_boxes:,} of {boxed:,} images with boxes, in {pixels:,} of {masked:,} masks"
            hits.append(Hit(UNEVEN, name, detail))
        if val is not None and (boxes or pixels) and not val.boxes[index] and not val.images_with_pixels[index]:
            hits.append(Hit(NOT_MEASURED, name))
    return hits + _rare(train, space)


def names(found: Sequence[str], space: LabelSpace) -> list[Hit]:
    """Names that differ in case or in what separates their words only, and names that nobody chose.

    Args:
        found: What the sources call their classes, without background and void.
        space: The label space.
    """
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(found):
        alike.setdefault("".join(filter(str.isalnum, name.casefold())) or name, []).append(name)
    several = [Hit(SPELLING, " and ".join(own)) for own in alike.values() if len(own) > 1]
    return several + [Hit(NOT_CHOSEN, name) for name in dict.fromkeys(found) if name not in space.names]


def _lines(train: Statistics, space: LabelSpace) -> tuple[str, str]:
    """What to write in the data file to leave out classes without annotation, and to call those without boxes stuff."""
    known = [bool(train.boxes[index] or train.images_with_pixels[index]) for index in range(len(space.names))]
    used = list(compress(space.names, known))
    bare = [name for index, name in enumerate(space.things) if known[index] and not train.boxes[index]]
    leave_out = f"they cannot be learned: add images that hold them, or write `classes: {flow(used)}`" if used else ""
    stuff = flow([*space.stuff, *bare])
    return leave_out, (
        "nothing has to be done: their boxes are learned from masks alone (weak losses). If they are stuff, such as "
        f"grass, write `stuff: {stuff}`"
    )


def _rare(train: Statistics, space: LabelSpace) -> list[Hit]:
    images = np.maximum(train.images_with_boxes, train.images_with_pixels)
    common = int(images.argmax())
    return [
        Hit(RARE, name, f"in {images[index]:,} images; {space.names[common]} is in {images[common]:,}")
        for index, name in enumerate(space.names)
        if 0 < images[index] < _RARE * images[common]
    ]


def _is_empty(task: Task, found: Examined) -> bool:
    """Whether all annotation there is says so; a mask that could not be read says nothing."""
    record = task.record
    if record is None or (record.mask is not None and found.values is None):
        return False
    background_only = found.values is None or set(found.values) == {BACKGROUND}
    return (record.boxes is None or len(record.boxes) == 0) and background_only
