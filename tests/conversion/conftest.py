"""Data sets in all formats with the same content, and ways to compare what they say."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from bombo.data import writers
from bombo.data.data_file import label_space, load_data_file, read_split
from bombo.data.image_io import image_size
from bombo.data.sample import BoxAnnotation
from bombo.data.scenes import make_scene

SCENES = {
    "train": [make_scene(1, 64), make_scene(9, 64, objects=(0, 0))],
    "val": [make_scene(2, 64), make_scene(3, 72)],
}


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One data file for each format, with all the annotation the format holds."""
    root = tmp_path_factory.mktemp("sources")
    writers.write_voc(SCENES, root / "voc", void_rim=1)
    writers.write_coco(SCENES, root / "coco")
    writers.write_yolo(SCENES, root / "yolo")
    (root / "folder").mkdir()
    shutil.copytree(root / "voc/JPEGImages", root / "folder/images")
    shutil.copytree(root / "voc/SegmentationClass", root / "folder/masks")
    names = [*writers.THINGS, *writers.STUFF]
    said = {
        "voc": lambda split: {"list": split, "use": "both"},
        "coco": lambda split: {"annotations": f"{split}.json", "use": "both"},
        "yolo": lambda split: {"use": "both"},
        "folder": lambda split: {"use": "masks", "names": names, "list": f"../voc/ImageSets/Main/{split}.txt"},
    }
    files = {}
    for name, entry in said.items():
        stuff = {} if name == "coco" else {"stuff": ["water"]}
        content = {split: [{"format": name, "root": name, **entry(split)}] for split in SCENES}
        files[name] = root / f"{name}.yaml"
        files[name].write_text(yaml.safe_dump(stuff | content))
    return files


@pytest.fixture
def content() -> Callable[[Path], dict[str, Any]]:
    """Image → boxes with class and flags, and mask in class names, whatever the order of the classes."""

    def read(place: Path) -> dict[str, tuple[list[Any] | None, list[Any] | None]]:
        files = (place / "bombo.yaml", place / "data.yaml") if place.is_dir() else (place,)
        data = load_data_file(next(path for path in files if path.is_file()))
        space = label_space(data)
        said = np.array(["background", *space.names, *["?"] * (255 - len(space.names) - 1), "void"])
        found = {}
        for split in ("train", "val"):
            if not getattr(data, split):
                continue
            for record in read_split(data, split, space).records:  # type: ignore[arg-type]
                own, mask = record.boxes, record.mask
                boxes = None if own is None else [_box(own, row, space.names) for row in range(len(own))]
                pixels = None if mask is None else said[mask.load(image_size(record.image))].tolist()
                found[record.name] = (None if boxes is None else sorted(boxes), pixels)
        return found

    return read


def _box(own: BoxAnnotation, row: int, names: tuple[str, ...]) -> tuple[str, list[float], bool, bool]:
    edges = [round(float(edge), 3) for edge in own.boxes[row]]
    return names[own.labels[row]], edges, bool(own.difficult[row]), bool(own.crowd[row])


@pytest.fixture
def write_masks() -> Callable[..., Path]:
    """Writes a folder of images and masks, and its data file; a mask is rectangles (x1, y1, x2, y2, value)."""

    def write(root: Path, **masks: Sequence[tuple[int, int, int, int, int]]) -> Path:
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for name, rectangles in masks.items():
            mask = np.zeros((60, 80), np.uint8)
            for x1, y1, x2, y2, value in rectangles:
                mask[y1:y2, x1:x2] = value
            Image.fromarray(mask).save(root / f"masks/{name}.png")
            Image.new("RGB", (80, 60)).save(root / f"images/{name}.png")
        file = root / "masks.yaml"
        file.write_text("train:\n  - {format: folder, root: ., use: masks, names: [cat, dog]}\n")
        return file

    return write
