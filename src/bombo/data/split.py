"""Cutting a fully annotated list into images that keep only their boxes and images that keep only their masks."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from bombo.errors import BomboError, ConfigError, DataError
from bombo.files import atomic_write


@dataclass(frozen=True)
class PartialSplit:
    """Which images keep which annotation.

    Args:
        boxes: Sorted names of the images that keep only their boxes.
        masks: Sorted names of the images that keep only their masks.
        seed: The seed it was drawn with, None for a user's own lists.
        digest: SHA-256 of the two lists in hex; equal for equal parts, whatever the order they came in.
    """

    boxes: list[str]
    masks: list[str]
    seed: int | None
    digest: str


def split_names(
    classes_by_name: Mapping[str, Collection[int]], *, fraction: float = 0.5, seed: int = 0
) -> PartialSplit:
    """Cuts a fully annotated list in two, so that every class has its share in both parts.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas, ECML 2011): the images of the rarest class are dealt out
    first. The box part then gets its exact size, and images are exchanged as long as that brings the classes nearer
    to `fraction`. All of it is integer arithmetic on an order drawn with SHA-256, so that names and seed give the
    same split on every machine.

    Args:
        classes_by_name: The classes that occur in each image; images without any are spread over both parts.
        fraction: Share of the images that keep their boxes, between 0 and 1; the rest keep their masks.
        seed: Another seed gives another split of the same balance.

    Raises:
        ConfigError: `fraction` is not between 0 and 1.
        DataError: There are no images.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"fraction is {fraction}", fix="give a number between 0 and 1, such as 0.5")
    if not classes_by_name:
        raise DataError("there are no images to split", fix="check the list and the class names")

    names = sorted(classes_by_name, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    column = {label: i for i, label in enumerate(sorted(set().union(*classes_by_name.values())))}
    has = np.zeros((len(names), len(column) + 1), dtype=np.int64)
    has[:, -1] = 1  # the size of the parts: one more class, which every image has
    for row, name in enumerate(names):
        has[row, [column[label] for label in classes_by_name[name]]] = 1

    share = Fraction(fraction).limit_denominator(10_000)
    in_boxes = _deal(has, share)
    _exchange(has, share, in_boxes)
    parts = [[name for name, boxed in zip(names, in_boxes, strict=True) if boxed == part] for part in (True, False)]
    return _split(parts[0], parts[1], seed)


def existing_split(boxes: Sequence[str], masks: Sequence[str], known: Collection[str]) -> PartialSplit:
    """Takes a user's own two lists, such as those of a published split.

    Args:
        boxes: Names of the images that keep only their boxes.
        masks: Names of the images that keep only their masks.
        known: Names of all images there are.

    Raises:
        DataError: A list holds a name twice or a name that is not known, or the lists overlap.
    """
    known = set(known)
    for names, where in ((boxes, "list of box images"), (masks, "list of mask images")):
        if twice := sorted(name for name, count in Counter(names).items() if count > 1):
            raise DataError(f"holds {_some(twice)} more than once", where=where, fix="list every image once")
        if unknown := sorted(set(names) - known):
            raise DataError(
                f"{_some(unknown)} cannot be found among the {len(known):,} images",
                where=where,
                fix=f"write names as the source does (like {min(known)!r})" if known else "check the source's list",
            )
    if both := sorted(set(boxes) & set(masks)):
        raise DataError(
            f"{_some(both)} in both lists; in a partial split an image keeps its boxes or its mask",
            where="lists of box and mask images",
            fix="take each off one of the lists; an image that shall keep both belongs into a source with `use: both`",
        )
    return _split(boxes, masks, None)


def write_split(split: PartialSplit, folder: Path, *, counts: Mapping[str, tuple[int, int]] | None = None) -> None:
    """Writes `train_boxes.txt` and `train_masks.txt` (one name a line) and `split.json` (what they are).

    Args:
        split: What to write.
        folder: Where; made if it is missing.
        counts: For each class name, in how many images of the box part and of the mask part it occurs.

    Raises:
        BomboError: One of the files exists already, or cannot be written.
        DataError: A name cannot stand on a line of its own.
    """
    if odd := [name for name in split.boxes + split.masks if [name] != name.strip().splitlines()]:
        raise DataError(f"{_some(odd)} cannot stand on a line of its own", fix="rename: no line ends or outer spaces")
    about = {
        "seed": split.seed,
        "digest": split.digest,
        "images": {"boxes": len(split.boxes), "masks": len(split.masks)},
        "images_per_class": {name: {"boxes": b, "masks": m} for name, (b, m) in (counts or {}).items()},
    }
    files = {
        "train_boxes.txt": "".join(f"{name}\n" for name in split.boxes),
        "train_masks.txt": "".join(f"{name}\n" for name in split.masks),
        "split.json": json.dumps(about, indent=2, ensure_ascii=False) + "\n",
    }
    if existing := [name for name in files if (folder / name).exists()]:
        raise BomboError(
            f"{existing[0]} exists already and is not overwritten: other runs may rest on that split",
            where=str(folder),
            fix="choose another folder, or delete the old split yourself",
        )
    for name, text in files.items():
        atomic_write(folder / name, text)


def _split(boxes: Sequence[str], masks: Sequence[str], seed: int | None) -> PartialSplit:
    parts = sorted(boxes), sorted(masks)
    return PartialSplit(*parts, seed, hashlib.sha256(json.dumps(parts).encode()).hexdigest())


def _deal(has: np.ndarray, share: Fraction) -> np.ndarray:
    """Deals images out, rarest class first, each to the part that lacks more images of that class, or else in all."""
    whole = share.denominator
    lacks = np.outer((share.numerator, whole - share.numerator), has.sum(axis=0))  # (2, classes) in 1/whole images
    in_boxes, left = np.zeros(len(has), dtype=bool), np.ones(len(has), dtype=bool)
    while left.any():
        remaining = has[left].sum(axis=0)
        rarest = int(np.where(remaining > 0, remaining, len(has) + 1).argmin())
        for row in np.flatnonzero(left & (has[:, rarest] == 1)):
            in_boxes[row] = (lacks[0, rarest], lacks[0, -1]) >= (lacks[1, rarest], lacks[1, -1])
            lacks[0 if in_boxes[row] else 1] -= whole * has[row]
            left[row] = False
    return in_boxes


def _exchange(has: np.ndarray, share: Fraction, in_boxes: np.ndarray) -> None:
    """Brings the box part to its size, then swaps images while the squared class deviations shrink; in place."""
    whole = share.denominator
    wanted, total = round(share * len(has)), share.numerator * has.sum(axis=0)

    def move(from_boxes: bool) -> int:
        """Moves the image that does least harm (or most good) out of a part; returns by how much the sum grew."""
        excess = whole * has[in_boxes].sum(axis=0) - total
        growth = np.where(in_boxes == from_boxes, has @ (whole + (-2 if from_boxes else 2) * excess), 2**62)
        row = int(growth.argmin())
        in_boxes[row] = not from_boxes
        return int(growth[row])

    while (size := int(in_boxes.sum())) != wanted:
        move(from_boxes=size > wanted)
    while 0 < wanted < len(has):
        before = in_boxes.copy()
        if move(from_boxes=True) + move(from_boxes=False) >= 0:
            in_boxes[:] = before
            return


def _some(names: Sequence[str]) -> str:
    """Names three and counts the rest."""
    rest = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(repr(name) for name in names[:3]) + rest
