"""What the labelling tools export, as small as can be: one image with a square of a cat, one with the same of a dog."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

NAMES = ["cat", "dog"]
BOX = (20, 10, 50, 40)  # xyxy
_PICTURES = {"a": "cat", "b": "dog"}
_COLOURS = {"cat": (250, 50, 83), "dog": (51, 221, 255)}
_OBJECT = "<name>{}</name><bndbox><xmin>21</xmin><ymin>11</ymin><xmax>50</xmax><ymax>40</ymax></bndbox>"


def write_exports(root: Path) -> None:
    """Every export that the page on labelling tools names, in the folder its source names."""
    _coco(root / "cvat-coco", "annotations/instances_default.json", "images/default")
    _cvat_voc(root / "cvat-voc")
    _cvat_masks(root / "cvat-masks")
    _coco(root / "label-studio-coco", "result.json", "images", starts="images/")
    _label_studio_brush(root / "label-studio-brush")
    _coco(root / "roboflow-coco/train", "_annotations.coco.json", ".", first=["pets-xyz"])
    _roboflow_yolo(root / "roboflow-yolo")
    _roboflow_masks(root / "roboflow-masks/train")


def a_mask(value: int) -> np.ndarray:
    """(48, 64) uint8, the square has the value."""
    mask = np.zeros((48, 64), np.uint8)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = value
    return mask


def _images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(_PICTURES):
        noise = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((64, 48)).save(folder / f"{name}.jpg")


def _coco(root: Path, annotations: str, images: str, starts: str = "", first: list[str] | None = None) -> None:
    _images(root / images)
    x1, y1, x2, y2 = BOX
    names = [*(first or []), *NAMES]
    square = {"bbox": [x1, y1, x2 - x1, y2 - y1], "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]], "iscrowd": 0}
    size = {"width": 64, "height": 48}
    content = {
        "images": [{"id": i, "file_name": f"{starts}{name}.jpg", **size} for i, name in enumerate(_PICTURES)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": names.index(name), **square}
            for i, name in enumerate(_PICTURES.values())
        ],
    }
    (root / annotations).parent.mkdir(exist_ok=True)
    (root / annotations).write_text(json.dumps(content))


def _cvat_voc(root: Path) -> None:
    _images(root / "JPEGImages")
    _labelmap(root)
    (root / "Annotations").mkdir()
    for name, label in _PICTURES.items():
        size = "<size><width>64</width><height>48</height><depth>3</depth></size>"
        xml = f"<annotation>{size}<object>{_OBJECT.format(label)}</object></annotation>"
        (root / f"Annotations/{name}.xml").write_text(xml)


def _cvat_masks(root: Path) -> None:
    _images(root / "JPEGImages")
    _labelmap(root)
    (root / "SegmentationClass").mkdir()
    for name, label in _PICTURES.items():
        colours = (a_mask(1)[..., None] * np.array(_COLOURS[label])).astype(np.uint8)
        Image.fromarray(colours).save(root / f"SegmentationClass/{name}.png")


def _labelmap(root: Path) -> None:
    colours = {"background": (0, 0, 0), **_COLOURS}
    rows = [f"{name}:{','.join(map(str, colour))}::" for name, colour in colours.items()]
    (root / "labelmap.txt").write_text("\n".join(["# label:color_rgb:parts:actions", *rows, ""]))


def _label_studio_brush(root: Path) -> None:
    _images(root / "images")
    tasks = []
    for number, (name, label) in enumerate(_PICTURES.items(), start=1):
        tasks.append({"id": number, "data": {"image": f"/data/upload/1/{name}.jpg"}})
        region = a_mask(255)
        for part, half in enumerate((np.s_[:, :32], np.s_[:, 32:])):  # two strokes of the brush
            stroke = np.zeros_like(region)
            stroke[half] = region[half]
            Image.fromarray(stroke).save(root / f"task-{number}-annotation-{number}-by-1-tag-{label}-{part}.png")
    (root / "tasks.json").write_text(json.dumps(tasks))


def _roboflow_yolo(root: Path) -> None:
    _images(root / "train/images")
    (root / "train/labels").mkdir()
    for name, label in _PICTURES.items():
        row = f"{NAMES.index(label)} 0.546875 0.5208333 0.46875 0.625\n"
        (root / f"train/labels/{name}.txt").write_text(row)
    content = {"train": "../train/images", "val": "../valid/images", "nc": len(NAMES), "names": NAMES}
    (root / "data.yaml").write_text(yaml.safe_dump(content))


def _roboflow_masks(root: Path) -> None:
    _images(root)
    for name, label in _PICTURES.items():
        Image.fromarray(a_mask(NAMES.index(label) + 1)).save(root / f"{name}_mask.png")
    (root / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n2, dog\n")
