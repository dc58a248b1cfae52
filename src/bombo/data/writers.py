"""Writes generated scenes as the formats people have: a VOC devkit, COCO instances, a YOLO folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageFilter
from pycocotools import mask as rle

from bombo.data.label_space import VOID
from bombo.data.scenes import STUFF, THINGS, Scene, make_scene
from bombo.data.spelling import VocObject, label_map, lines, mask_png, voc_xml, yolo_box
from bombo.errors import ConfigError

_NAMES = THINGS + STUFF
_DEMO_DATA_FILE = """\
# A generated beach: half of the training images carry only boxes, the other half only masks.
train:
  - {format: voc, root: devkit, list: train_boxes, use: boxes}
  - {format: voc, root: devkit, list: train_masks, use: masks}
val:
  - {format: voc, root: devkit, list: val, use: both}
stuff: [water]
"""
_SEEDS_OF_ONE_DEMO = 1_000_000


def write_demo(root: Path, *, seed: int = 0, train: int, val: int, size: int = 128) -> Path:
    """Generates the embedded data set: `root/devkit` with three lists, and the data file that uses them.

    Every image is written with boxes and mask; the data file decides that `train_boxes` lends only its boxes and
    `train_masks` only its masks. No scene stands in two lists.

    Args:
        root: Folder to write to; made if need be.
        seed: Decides all scenes.
        train: Number of training images, half of them for each list.
        val: Number of validation images.
        size: Side of the images in pixels.

    Returns:
        Path of the data file.

    Raises:
        ConfigError: There are too few images for the three lists.
    """
    if train < 2 or val < 1:
        raise ConfigError(f"{train} training and {val} validation images", fix="ask for at least 2 and 1")
    seeds = count(seed * _SEEDS_OF_ONE_DEMO)
    lengths = {"train_boxes": train - train // 2, "train_masks": train // 2, "val": val}
    scenes = {name: [make_scene(next(seeds), size) for _ in range(length)] for name, length in lengths.items()}
    write_voc(scenes, root / "devkit")
    data_file = root / "data.yaml"
    data_file.write_text(_DEMO_DATA_FILE, encoding="utf-8")
    return data_file


def write_voc(scenes: Mapping[str, Sequence[Scene]], root: Path, *, void_rim: int = 0) -> None:
    """Writes a VOC devkit: JPEGImages, Annotations, SegmentationClass, ImageSets/Main and labelmap.txt.

    Args:
        scenes: List name to scenes; image i of a list is called `<list>_<i, five digits>`.
        root: Folder to write to, such as `VOCdevkit/VOC2012`.
        void_rim: Pixels on each side of a thing's outline that become void (255), as VOC's annotators left them.
    """
    images, annotations, masks, lists = _folders(
        root, "JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Main"
    )
    for name, scene in _named(scenes):
        _write_image(scene, images / f"{name}.jpg")
        objects = [VocObject(THINGS[c], _whole(box)) for c, box in zip(scene.labels, scene.boxes, strict=True)]
        xml = voc_xml(root.name, f"{name}.jpg", scene.mask.shape, objects, masked=True)  # type: ignore[arg-type]
        (annotations / f"{name}.xml").write_bytes(xml)
        values = np.where(_rim(scene.instances, void_rim), VOID, scene.mask).astype(np.uint8)
        (masks / f"{name}.png").write_bytes(mask_png(values))
    for list_name in scenes:
        _write_lines(lists / f"{list_name}.txt", [name for name, _ in _named({list_name: scenes[list_name]})])
    (root / "labelmap.txt").write_text(label_map(_NAMES), encoding="utf-8")


def write_coco(scenes: Mapping[str, Sequence[Scene]], root: Path) -> None:
    """Writes `images/*.jpg` and COCO instances as `<list>.json`, segmentations as compressed RLE.

    Instances are things: stuff cannot be said in this format and is left out. Category ids have gaps, as COCO's have.

    Args:
        scenes: List name to scenes.
        root: Folder to write to.
    """
    (images,) = _folders(root, "images")
    categories = [{"id": _category_id(label), "name": name} for label, name in enumerate(THINGS)]
    for list_name in scenes:
        entries: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        for number, (name, scene) in enumerate(_named({list_name: scenes[list_name]}), start=1):
            _write_image(scene, images / f"{name}.jpg")
            height, width = scene.mask.shape
            entries.append({"id": number, "file_name": f"{name}.jpg", "height": height, "width": width})
            for index in range(len(scene.labels)):
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": number, "iscrowd": 0, **_coco_object(scene, index)}
                )
        content = {"images": entries, "annotations": annotations, "categories": categories}
        (root / f"{list_name}.json").write_text(json.dumps(content), encoding="utf-8")


def write_yolo(scenes: Mapping[str, Sequence[Scene]], root: Path) -> None:
    """Writes a folder as Ultralytics reads it: data.yaml, images, box rows in labels, semantic PNGs in masks.

    Box rows and mask values are indices into the same `names`. Background needs a name of its own there, since a mask
    has nothing else to say than a class or 255; it comes last, where Ultralytics itself appends it. Lists whose names
    begin with `val` or `test` become that split, all others `train`.

    Format: https://docs.ultralytics.com/datasets/detect and https://docs.ultralytics.com/datasets/semantic.

    Args:
        scenes: List name to scenes.
        root: Folder to write to; data.yaml names it by its absolute path, since Ultralytics looks for relative ones
            in the working directory.
    """
    splits: dict[str, list[str]] = {}
    for list_name in scenes:
        split = next((split for split in ("val", "test") if list_name.startswith(split)), "train")
        splits.setdefault(split, []).append(f"images/{list_name}")
        images, labels, masks = _folders(root, *(f"{kind}/{list_name}" for kind in ("images", "labels", "masks")))
        for name, scene in _named({list_name: scenes[list_name]}):
            _write_image(scene, images / f"{name}.jpg")
            rows = [
                yolo_box(c, _whole(box), scene.mask.shape) for c, box in zip(scene.labels, scene.boxes, strict=True)
            ]  # type: ignore[arg-type]
            _write_lines(labels / f"{name}.txt", rows)
            values = np.where(scene.mask == 0, len(_NAMES), scene.mask - 1).astype(np.uint8)
            (masks / f"{name}.png").write_bytes(mask_png(values, palette=False))
    names = dict(enumerate((*_NAMES, "background")))
    content = {"path": str(root.resolve()), **splits, "names": names, "masks_dir": "masks"}
    (root / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _named(scenes: Mapping[str, Sequence[Scene]]) -> Iterator[tuple[str, Scene]]:
    for list_name, listed in scenes.items():
        for index, scene in enumerate(listed):
            yield f"{list_name}_{index:05d}", scene


def _folders(root: Path, *names: str) -> list[Path]:
    folders = [root / name for name in names]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return folders


def _write_image(scene: Scene, path: Path) -> None:
    Image.fromarray(scene.image).save(path, quality=95, subsampling=0)  # small things keep their colours


def _write_lines(path: Path, rows: list[str]) -> None:
    path.write_text(lines(rows), encoding="utf-8")


def _whole(box: np.ndarray) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (int(edge) for edge in box)
    return x1, y1, x2, y2


def _rim(instances: np.ndarray, width: int) -> np.ndarray:
    """(H, W) bool: the pixels within `width` of the border between two objects, or object and ground."""
    border = np.zeros(instances.shape, dtype=bool)
    if width == 0:
        return border
    across, down = instances[:, 1:] != instances[:, :-1], instances[1:] != instances[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    return np.asarray(Image.fromarray(border).convert("L").filter(ImageFilter.MaxFilter(2 * width - 1))) > 0


def _category_id(label: int) -> int:
    return 11 * label + 3


def _coco_object(scene: Scene, index: int) -> dict[str, object]:
    x1, y1, x2, y2 = (float(edge) for edge in scene.boxes[index])
    pixels = scene.instances == index + 1
    encoded = rle.encode(np.asfortranarray(pixels, dtype=np.uint8))
    return {
        "category_id": _category_id(int(scene.labels[index])),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": int(pixels.sum()),
        "segmentation": {"size": list(pixels.shape), "counts": encoded["counts"].decode("ascii")},
    }
