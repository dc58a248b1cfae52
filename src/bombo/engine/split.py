"""Cuts the fully annotated sources of a data file into box-only and mask-only parts: the partial setting as a view."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from typer import Argument, Option

from bombo.command import checked
from bombo.data.annotation_io import read_list
from bombo.data.data_file import DataFile, label_space, load_data_file, read_split
from bombo.data.label_space import LabelSpace
from bombo.data.sample import Record
from bombo.data.split import PartialSplit, existing_split, split_names, write_split
from bombo.errors import ConfigError
from bombo.files import atomic_write


@checked
def split(
    data: Annotated[Path, Argument(help="Data file; its training sources with `use: both` are cut.")],
    out: Annotated[Path, Option(help="Folder for the lists and the new data file.")],
    fraction: Annotated[float, Option(help="Share of the images that keeps its boxes, between 0 and 1.")] = 0.5,
    seed: Annotated[int, Option(min=0, help="Another seed, another split.")] = 0,
    boxes_list: Annotated[Path | None, Option(help="Take this list of box images instead of drawing one.")] = None,
    masks_list: Annotated[Path | None, Option(help="Take this list of mask images instead of drawing one.")] = None,
) -> dict[str, Any]:
    """Cut fully annotated images into a part with boxes only and a part with masks only.

    Writes `train_boxes.txt`, `train_masks.txt`, `split.json` (seed, SHA-256 of the lists, images per class) and a
    `data.yaml` ready for training; other sources, `val` and `test` are taken over. Several sources are cut one by one,
    each into a numbered folder.

    Returns:
        For each source that was cut: its folder, the digest, and the number of images in both parts.

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
    lists: dict[int, tuple[Path, Path]] = {}
    parts = []
    for index in cut:
        records = read_split(_alone(file, index), "train", space).records
        folder = out / str(index) if len(cut) > 1 else out
        classes = {record.entry: _classes(record, space) for record in records}
        if boxes_list is not None and masks_list is not None:
            part = existing_split(list(read_list(boxes_list)), list(read_list(masks_list)), classes)
        else:
            part = split_names(classes, fraction=fraction, seed=seed)
        write_split(part, folder, counts=_counts(part, classes, space))
        lists[index] = (folder / "train_boxes.txt", folder / "train_masks.txt")
        images = {"boxes": len(part.boxes), "masks": len(part.masks)}
        parts.append(
            {
                "folder": str(folder),
                "digest": part.digest,
                "images": images,
                "left_out": len(classes) - sum(images.values()),
            }
        )
    atomic_write(out / "data.yaml", _data_file(file, out, lists))
    return {"data": str(out / "data.yaml"), "seed": None if boxes_list else seed, "parts": parts}


def describe(facts: dict[str, Any]) -> str:
    """The result of `split` for a person."""
    lines = [
        f"{part['folder']}: {part['images']['boxes']:,} images with boxes only, "
        f"{part['images']['masks']:,} with masks only"
        + (f", {part['left_out']:,} in neither list" if part["left_out"] else "")
        + f"     split {part['digest'][:16]}"
        for part in facts["parts"]
    ]
    return "\n".join([*lines, f"next      bombo train --data {facts['data']}"])


def _alone(file: DataFile, index: int) -> DataFile:
    return file.model_copy(update={"train": [file.train[index]]})


def _classes(record: Record, space: LabelSpace) -> set[int]:
    """Things by their boxes; stuff, which has none, by the mask (decoded only if there is stuff)."""
    found = set() if record.boxes is None else {int(label) for label in record.boxes.labels if label >= 0}
    if space.stuff and record.mask is not None:
        from bombo.data.image_io import image_size

        values = np.unique(record.mask.load(image_size(record.image)))
        found |= {int(value) - 1 for value in values if space.num_things < value < space.num_mask_values}
    return found


def _counts(part: PartialSplit, classes: dict[str, set[int]], space: LabelSpace) -> dict[str, tuple[int, int]]:
    def images(names: list[str], index: int) -> int:
        return sum(index in classes[name] for name in names)

    return {name: (images(part.boxes, i), images(part.masks, i)) for i, name in enumerate(space.names)}


def _data_file(file: DataFile, out: Path, lists: dict[int, tuple[Path, Path]]) -> str:
    """The new data file: paths relative to where it lies, cut sources twice, once for each kind of annotation."""

    def relative(path: Path) -> str:
        return Path(os.path.relpath(path, out)).as_posix()

    def entry(source: Any, **changed: str) -> dict[str, Any]:
        own = source.model_dump(mode="python", by_alias=True, exclude_unset=True)
        plain = {key: relative(value) if key in ("root", "list") else value for key, value in own.items()}
        inside = {key: value for key, value in plain.items() if isinstance(value, Path)}
        plain |= {key: Path(os.path.relpath(value, source.root)).as_posix() for key, value in inside.items()}
        return {"format": source.format, **plain, **changed}

    content: dict[str, Any] = file.model_dump(mode="json", include={"classes", "stuff", "others"}, exclude_unset=True)
    content["train"] = []
    for index, source in enumerate(file.train):
        if index in lists:
            for kind, path in zip(("boxes", "masks"), lists[index], strict=True):
                content["train"].append(entry(source, list=relative(path), use=kind))
        else:
            content["train"].append(entry(source))
    for name in ("val", "test"):
        if sources := getattr(file, name):
            content[name] = [entry(source) for source in sources]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
