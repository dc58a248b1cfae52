"""A folder that looks as README and documentation say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from documented import SMALL, blocks
from PIL import Image
from tool_exports import write_exports

import bombo

_COLOURS = np.array([[90, 140, 220], [200, 120, 40], [60, 50, 50], [60, 160, 60]], dtype=np.int64)
_NAMES = {1: "cat", 2: "dog"}


@pytest.fixture(scope="session")
def _pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("docs") / "pets", np.random.default_rng(0)
    root.mkdir()
    _data_files(root)
    _coco(root / "photos", rng)
    _folder(root / "fieldwork", rng)
    _voc(root / "VOC2012", rng)
    _yolo(root / "farm", rng)
    _coco(root / "team1", rng, "all.json")
    _coco(root / "team2", rng, "dogs.json", {2: "dog"})
    write_exports(root)
    shutil.copy(root / "photos" / "images" / "0.jpg", root / "photo.jpg")
    bombo.train(data=root / "pets.yaml", out=root / "runs" / "pets-1", **SMALL)
    return root


@pytest.fixture
def pets(_pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a page: three formats, data files, and a finished run."""
    root = tmp_path / "pets"
    shutil.copytree(_pets, root)
    monkeypatch.chdir(root)
    return root


def _data_files(root: Path) -> None:
    (data_file,) = blocks("README.md", "yaml")
    (root / "pets.yaml").write_text(data_file.text)
    (root / "small.yaml").write_text(yaml.safe_dump(SMALL))
    both = "{format: voc, root: VOC2012, list: Segmentation/val, use: both}"
    (root / "full.yaml").write_text(f"classes: [cat, dog]\ntrain:\n  - {both}\nval:\n  - {both}\n")
    (root / "my_boxes.txt").write_text("a\n")
    (root / "my_masks.txt").write_text("b\n")


def _picture(path: Path, rng: np.random.Generator) -> np.ndarray:
    """A picture of one animal on grass, unlike any other, and its mask: 1 cat, 2 dog, 3 grass."""
    mask = np.full((48, 64), 3, dtype=np.uint8)
    mask[: rng.integers(8, 30)] = 0
    mask[10:40, 20:50] = rng.integers(1, 3)
    coarse = Image.fromarray(rng.integers(0, 90, (6, 8), dtype=np.uint8)).resize((64, 48))
    path.parent.mkdir(parents=True, exist_ok=True)
    shaded = _COLOURS[mask] + np.asarray(coarse, dtype=np.int64)[..., None] - 45
    Image.fromarray(shaded.clip(0, 255).astype(np.uint8)).save(path)
    return mask


def _coco(root: Path, rng: np.random.Generator, file: str = "boxes.json", names: dict[int, str] = _NAMES) -> None:
    images, annotations = [], []
    for index in range(4):
        mask = _picture(root / "images" / f"{index}.jpg", rng)
        images.append({"id": index, "file_name": f"{index}.jpg", "width": 64, "height": 48})
        annotations.append(
            {
                "id": index,
                "image_id": index,
                "category_id": int(mask[20, 30]),
                "bbox": [20, 10, 30, 30],
                "area": 900,
                "iscrowd": 0,
                "segmentation": [[20, 10, 50, 10, 50, 40, 20, 40]],
            }
        )
    categories = [{"id": number, "name": name} for number, name in names.items()]
    known = [annotation for annotation in annotations if annotation["category_id"] in names]
    content = {"images": images, "annotations": known, "categories": categories}
    (root / file).write_text(json.dumps(content))
    (root / "train.txt").write_text("0.jpg\n1.jpg\n2.jpg\n")
    (root / "val.txt").write_text("3.jpg\n")


def _folder(root: Path, rng: np.random.Generator) -> None:
    (root / "masks").mkdir(parents=True)
    for index in range(4):
        mask = _picture(root / "images" / f"{index}.jpg", rng)
        Image.fromarray(mask).save(root / "masks" / f"{index}.png")
    (root / "train.txt").write_text("0\n1\n2\n")
    (root / "val.txt").write_text("3\n")


def _voc(root: Path, rng: np.random.Generator) -> None:
    for folder in ("Annotations", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    for folder, names in {"Layout": "c", "Main": "abc", "Segmentation": "ab"}.items():  # only these have masks
        (root / "ImageSets" / folder).mkdir(parents=True)
        (root / "ImageSets" / folder / "val.txt").write_text("\n".join(names) + "\n")
    for name in "abc":
        mask = _picture(root / "JPEGImages" / f"{name}.jpg", rng)
        value, word = {1: (8, "cat"), 2: (12, "dog")}[int(mask[20, 30])]
        values = np.where(np.isin(mask, (1, 2)), value, 0).astype(np.uint8)
        if name != "c":
            Image.fromarray(values).save(root / "SegmentationClass" / f"{name}.png")
        (root / "Annotations" / f"{name}.xml").write_text(
            "<annotation><size><width>64</width><height>48</height></size><object>"
            f"<name>{word}</name><bndbox><xmin>21</xmin><ymin>11</ymin><xmax>50</xmax><ymax>40</ymax></bndbox>"
            "</object></annotation>"
        )


def _yolo(root: Path, rng: np.random.Generator) -> None:
    for split in ("train", "val"):
        (root / "labels" / split).mkdir(parents=True)
        for index in range(3):
            mask = _picture(root / "images" / split / f"{index}.jpg", rng)
            row = f"{int(mask[20, 30]) - 1} 0.546875 0.520833 0.46875 0.625\n"
            (root / "labels" / split / f"{index}.txt").write_text(row)
    content = {"train": "images/train", "val": "images/val", "names": {0: "cat", 1: "dog"}}
    (root / "data.yaml").write_text(yaml.safe_dump(content))
