"""Where converted images go: one folder for each format, with a data file that reads it back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from bombo.conversion.annotated import AnnotatedImage
from bombo.conversion.losses import Losses
from bombo.conversion.placing import left_in, linked
from bombo.conversion.to_coco import write_coco
from bombo.conversion.to_folder import write_folder
from bombo.conversion.to_voc import write_voc
from bombo.conversion.to_yolo import ultralytics_yaml, write_yolo
from bombo.data.data_file import DataFile, Split
from bombo.data.image_io import IMAGE_SUFFIXES
from bombo.data.label_space import LabelSpace

Format = Literal["voc", "coco", "yolo", "folder"]


@dataclass(frozen=True)
class Destination:
    """A part of the data set as it will be written.

    Args:
        name: Names its list or folders.
        split: The list of the data file it goes to.
        use: Which annotation it carries.
        masks: Whether masks are files there.
        images: The folder its images stay in, if they are not brought along.
        labelled: The classes that were looked for, None = all.
    """

    name: str
    split: Split
    use: Literal["boxes", "masks", "both"]
    masks: bool
    images: Path | None = None
    labelled: tuple[str, ...] | None = None


def data_file_name(to: Format) -> str:
    """Name of the data file; `data.yaml` is Ultralytics' own where the format is theirs."""
    return "bombo.yaml" if to == "yolo" else "data.yaml"


def write_part(
    to: Format, images: Iterable[AnnotatedImage], space: LabelSpace, root: Path, part: Destination, losses: Losses
) -> None:
    """Writes the images of one part.

    Args:
        to: The format.
        images: Read once, one after the other.
        space: The classes.
        root: The folder; for COCO without its images, the JSON.
        part: What is written.
        losses: Takes note of what cannot be said.
    """
    match to:
        case "voc":
            write_voc(images, space, root, part.name, losses)
        case "yolo":
            write_yolo(images, space, root, part.name, losses)
        case "folder":
            write_folder(images, root, part.name, losses)
        case "coco" if part.images is not None:
            write_coco(images, space, root, left_in(part.images), losses)
        case "coco":
            file = root / "annotations" / f"instances_{part.name}.json"
            write_coco(images, space, file, linked(root / "images", IMAGE_SUFFIXES, losses), losses)


def yolo_yamls(root: Path, parts: Sequence[Destination], space: LabelSpace) -> dict[str, str]:
    """Ultralytics' YAML for each kind of annotation and choice of classes, as it has no word for what images lack.

    Args:
        root: The folder, as it will be called in the end.
        parts: All that was written.
        space: The classes.

    Returns:
        File name → content.
    """
    content = {}
    for name in dict.fromkeys(_yolo_yaml(part, parts) for part in parts):
        own = [part for part in parts if _yolo_yaml(part, parts) == name]
        splits: dict[str, list[str]] = {}
        for part in own:
            splits.setdefault(part.split, []).append(part.name)
        masks = any(part.masks for part in own)
        content[name] = ultralytics_yaml(root, splits, space, masks=masks)
    return content


def data_file_content(
    to: Format,
    parts: Sequence[Destination],
    space: LabelSpace,
    source: DataFile,
    home: Path,
    file: Path | None,
    losses: Losses,
) -> str:
    """The data file that reads what was written, with the choice of classes of the one it came from.

    Args:
        to: The format.
        parts: All that was written.
        space: The classes.
        source: The data file that was read.
        home: The folder of the new one.
        file: The JSON, where images stayed in their place.
        losses: Takes note of a list that moved.
    """
    content: dict[str, Any] = source.model_dump(
        mode="json", include={"classes", "stuff", "others"}, exclude_unset=True, exclude_none=True
    )
    for part in parts:
        content.setdefault(part.split, []).append(_entry(to, part, parts, space, home, file))
    if "train" not in content:
        moved = next(split for split in ("val", "test") if split in content)
        content["train"] = content.pop(moved)
        losses.change("list now stands under `train`: a data file has something to learn from", moved)
    order = ("classes", "stuff", "others", "train", "val", "test")
    content = {key: content[key] for key in order if key in content}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _entry(
    to: Format, part: Destination, parts: Sequence[Destination], space: LabelSpace, home: Path, file: Path | None
) -> dict[str, Any]:
    entry: dict[str, Any] = {"format": to, "root": ".", "use": part.use}
    if part.labelled is not None:
        entry["labelled_classes"] = list(part.labelled)
    match to:
        case "voc":
            return entry | {"list": f"ImageSets/Main/{part.name}.txt"}
        case "coco" if file is not None and part.images is not None:
            root = part.images.resolve()
            where = {"root": _relative(root, home), "annotations": _relative(file.resolve(), root), "images": "."}
            return entry | where
        case "coco":
            return entry | {"annotations": f"annotations/instances_{part.name}.json"}
        case "yolo":
            return entry | {"yaml": _yolo_yaml(part, parts), "split": part.split}
        case "folder":
            places = {"images": f"images/{part.name}", "masks": f"masks/{part.name}"}
            return entry | places | {"names": list(space.names)}


def _yolo_yaml(part: Destination, parts: Sequence[Destination]) -> str:
    groups = list(dict.fromkeys((each.use, each.labelled) for each in parts))
    if len(groups) == 1:
        return "data.yaml"
    alike = [labelled for use, labelled in groups if use == part.use]
    return f"data_{part.use}{f'_{alike.index(part.labelled) + 1}' if len(alike) > 1 else ''}.yaml"


def _relative(path: Path, start: Path) -> str:
    return Path(os.path.relpath(path, start.resolve())).as_posix()
