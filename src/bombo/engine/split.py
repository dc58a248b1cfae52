"""Cuts the fully annotated sources of a data file into box-only and mask-only parts: the partial setting as a view."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from typer import Argument, Option

from bombo.command import checked
from bombo.data.annotation_io import read_list
from bombo.data.data_file import DataFile, label_space, load_data_file, read_split
from bombo.data.data_file_text import data_file_text
from bombo.data.image_io import image_size
from bombo.data.label_space import LabelSpace
from bombo.data.sample import Problems, Record
from bombo.data.split import PartialSplit, existing_split, split_names, write_split
from bombo.errors import BomboError, ConfigError, DataError
from bombo.files import atomic_write
from bombo.wording import counted, typed


@dataclass(frozen=True)
class _Cut:
    """One source, cut: where its lists go, what is in them, the classes in every image, and what was left out."""

    folder: Path
    part: PartialSplit
    classes: dict[str, set[int]]
    skipped: list[DataError]

    def facts(self) -> dict[str, Any]:
        images = {"boxes": len(self.part.boxes), "masks": len(self.part.masks)}
        return {
            "folder": str(self.folder),
            "digest": self.part.digest,
            "images": images,
            "left_out": len(self.classes) - sum(images.values()),
            "skipped": len(self.skipped),
        }


@checked
def split(
    data: Annotated[Path, Argument(help="Data file; its training sources with `use: both` are cut.")],
    out: Annotated[Path, Option(help="Folder for the lists and the new data file.")],
    fraction: Annotated[float, Option(help="Share of the images that keeps its boxes, between 0 and 1.")] = 0.5,
    seed: Annotated[int, Option(min=0, help="Another seed, another split.")] = 0,
    boxes_list: Annotated[Path | None, Option(help="Take this list of box images instead of drawing one.")] = None,
    masks_list: Annotated[Path | None, Option(help="Take this list of mask images instead of drawing one.")] = None,
    skip_bad: Annotated[bool, Option("--skip-bad", help="Leave out images whose files cannot be used.")] = False,
) -> dict[str, Any]:
    """Cut fully annotated images into a part with boxes only and a part with masks only.

    Writes `train_boxes.txt`, `train_masks.txt`, `split.json` (seed, SHA-256 of the lists, images per class) and a
    `data.yaml` ready for training; other sources, `val` and `test` are taken over. Several sources are cut one by one,
    each into a numbered folder. With `skip_bad`, `skipped.json` lists what was left out.

    Returns:
        The new data file, the seed, and for each source that was cut its folder, the digest and how many images are
        in both parts, in neither, and were skipped.

    Raises:
        BomboError: There is nothing to cut, lists do not fit the data, or files exist already.
    """
    file = load_data_file(data)
    space = label_space(file)
    cut = [index for index, source in enumerate(file.train) if source.use == "both"]
    if not cut:
        raise ConfigError("no training source has `use: both`", where=str(data), fix="only full annotation can be cut")
    if (boxes_list is None) != (masks_list is None):
        raise ConfigError("one list alone is no split", where="boxes_list, masks_list", fix="give both, or neither")
    if boxes_list is not None and len(cut) > 1:
        raise ConfigError(
            "several sources have `use: both`", where=str(data), fix="give lists for one source at a time"
        )
    if (out / "data.yaml").exists():
        raise BomboError(
            "data.yaml exists already and is not overwritten", where=str(out), fix="choose another folder for --out"
        )
    cuts: dict[int, _Cut] = {}
    for index in cut:
        classes, skipped = _read(file, index, space, skip_bad)
        if boxes_list is not None and masks_list is not None:
            part = existing_split(list(read_list(boxes_list)), list(read_list(masks_list)), classes)
        else:
            part = split_names(classes, fraction=fraction, seed=seed)
        if not part.boxes or not part.masks:
            raise ConfigError(
                f"of the {len(classes)} images in {file.train[index].root}, {fraction:g} leaves one part without any",
                where="fraction",
                fix="choose another fraction, or cut a longer list",
            )
        cuts[index] = _Cut(out / str(index) if len(cut) > 1 else out, part, classes, skipped)
    _write(out, file, space, cuts)
    return {
        "data": str(out / "data.yaml"),
        "seed": None if boxes_list else seed,
        "parts": [each.facts() for each in cuts.values()],
    }


def describe(facts: dict[str, Any]) -> str:
    """The result of `split` for a person."""
    lines = [
        f"{part['folder']}: {counted(part['images']['boxes'], 'image')} with boxes only, "
        f"{part['images']['masks']:,} with masks only"
        + (f", {part['left_out']:,} in neither list" if part["left_out"] else "")
        + (f", {part['skipped']:,} cannot be used (skipped.json)" if part["skipped"] else "")
        + f"     split {part['digest'][:16]}"
        for part in facts["parts"]
    ]
    return "\n".join([*lines, f"next      bombo train --data {typed(facts['data'])}"])


def _read(file: DataFile, index: int, space: LabelSpace, skip_bad: bool) -> tuple[dict[str, set[int]], list[DataError]]:
    """The classes in every image of one training source, and what was left out."""
    alone = file.model_copy(update={"train": [file.train[index]]})
    read = read_split(alone, "train", space, skip_bad=skip_bad)
    classes: dict[str, set[int]] = {}
    problems = Problems()
    for record in read.records:
        try:
            classes[record.entry] = _classes(record, space)
        except DataError as error:
            problems.add(error)
    problems.raise_unless(skip_bad, len(read.records))
    return classes, [*read.problems, *problems.errors]


def _classes(record: Record, space: LabelSpace) -> set[int]:
    """Things by their boxes; stuff, which has none, by the mask (decoded only if there is stuff)."""
    found = set() if record.boxes is None else {int(label) for label in record.boxes.labels if label >= 0}
    if space.stuff and record.mask is not None:
        values = np.unique(record.mask.load(image_size(record.image)))
        found |= {int(value) - 1 for value in values if space.num_things < value < space.num_mask_values}
    return found


def _write(out: Path, file: DataFile, space: LabelSpace, cuts: dict[int, _Cut]) -> None:
    for cut in cuts.values():
        write_split(cut.part, cut.folder, counts=_counts(cut, space))
    if left_out := [{"file": error.where, "error": error.message} for cut in cuts.values() for error in cut.skipped]:
        atomic_write(out / "skipped.json", json.dumps(left_out, indent=1) + "\n")
    atomic_write(out / "data.yaml", data_file_text(file, out, {index: cut.folder for index, cut in cuts.items()}))


def _counts(cut: _Cut, space: LabelSpace) -> dict[str, tuple[int, int]]:
    def images(names: list[str], index: int) -> int:
        return sum(index in cut.classes[name] for name in names)

    return {name: (images(cut.part.boxes, i), images(cut.part.masks, i)) for i, name in enumerate(space.names)}
