from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bombo.data.image_io import read_mask_pixels
from bombo.engine.colours import class_colours
from bombo.engine.result import Result
from bombo.errors import BomboError

CLASSES = ("cat", "dog", "grass")


def make(**changed: object) -> Result:
    mask = np.zeros((60, 80), dtype=np.uint8)
    mask[:10, :60] = 1  # 600 of 4800 pixels: 12.5 %
    mask[50:, :40] = 2  # 8.3 %
    mask[59, 79] = 3
    parts: dict[str, object] = {
        "image": np.full((60, 80, 3), 200, dtype=np.uint8),
        "boxes": np.array([[1, 2, 11.126, 22], [0, 50, 40, 60], [5, 5, 9, 9]], dtype=np.float32),
        "labels": np.array([0, 1, 0]),
        "scores": np.array([0.9, 0.5, 0.25], dtype=np.float32),
        "mask": mask,
        "classes": CLASSES,
        "name": "photo.jpg",
    }
    return Result(**(parts | changed))  # type: ignore[arg-type]


NOTHING = {
    "boxes": np.zeros((0, 4), np.float32),
    "labels": np.zeros(0, np.int64),
    "scores": np.zeros(0, np.float32),
    "mask": np.zeros((60, 80), np.uint8),
}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": np.zeros((60, 80), np.uint8)}, "image is"),
        ({"image": np.zeros((60, 80, 3), np.float32)}, "image is .* float32"),
        ({"mask": np.zeros((80, 60), np.uint8)}, r"mask is \(80, 60\)"),
        ({"mask": np.zeros((60, 80), np.int64)}, "mask is .* int64"),
        ({"boxes": np.zeros((3, 5))}, "boxes are"),
        ({"boxes": np.zeros(4)}, "boxes are"),
        ({"labels": np.zeros(2, np.int64)}, "3 boxes with labels"),
        ({"scores": np.zeros((3, 1))}, "3 boxes with labels"),
        ({"labels": np.array([0, 3, 1])}, "labels go from 0 to 3"),
        ({"labels": np.array([0, -1, 1])}, "labels go from -1"),
        ({"mask": np.full((60, 80), 4, np.uint8)}, r"mask holds \[4\]"),
        ({"scores": np.array([0.1, 0.5, 0.9])}, "descending"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_inconsistent_parts(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changed)


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({}, "photo.jpg: 2 cat, 1 dog; mask: cat 12 %, dog 8 %, grass < 1 %"),
        ({"labels": np.array([1, 1, 0])}, "photo.jpg: 2 dog, 1 cat; mask: cat 12 %, dog 8 %, grass < 1 %"),
        (NOTHING, "photo.jpg: no objects; mask: background only"),
        (NOTHING | {"name": ""}, "image of 80 by 60: no objects; mask: background only"),
    ],
    ids=["both", "most frequent first", "nothing", "without a name"],
)
def test_one_line(changed: dict[str, object], line: str) -> None:
    assert repr(make(**changed)) == line


def test_length() -> None:
    assert len(make()) == 3
    assert len(make(**NOTHING)) == 0


def test_coco_entries() -> None:
    entries = make().to_coco(17)
    assert json.loads(json.dumps(entries)) == entries
    assert entries[0] == {
        "image_id": 17,
        "category_id": 1,
        "category_name": "cat",
        "bbox": [1.0, 2.0, 10.13, 20.0],
        "score": pytest.approx(0.9),
    }
    assert [entry["category_id"] for entry in entries] == [1, 2, 1]
    assert make(**NOTHING).to_coco("a") == []


def test_mask_file_holds_values_and_colours(tmp_path: Path) -> None:
    result = make()
    path = tmp_path / "masks" / "photo.png"
    result.save_mask(path)
    assert np.array_equal(read_mask_pixels(path), result.mask)
    with Image.open(path) as picture:
        assert picture.mode == "P"
        colours = np.asarray(picture.convert("RGB"))
    assert colours[0, 0].tolist() == class_colours(3)[0].tolist()
    assert colours[59, 79].tolist() == class_colours(3)[2].tolist()
    assert colours[30, 30].tolist() == [0, 0, 0]


def test_mask_file_keeps_void(tmp_path: Path) -> None:
    make(mask=np.full((60, 80), 255, np.uint8)).save_mask(tmp_path / "void.png")
    assert np.all(read_mask_pixels(tmp_path / "void.png") == 255)


def test_plot_parts() -> None:
    result = make()
    plain = np.asarray(result.plot(boxes=False, mask=False))
    assert np.all(plain == 200)
    pictures = [np.asarray(result.plot(boxes=b, mask=m)) for b, m in ((True, True), (True, False), (False, True))]
    assert len({picture.tobytes() for picture in (plain, *pictures)}) == 4
    assert np.array_equal(np.asarray(make(**NOTHING).plot()), plain)


def test_supervision_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)  # as if not installed
    with pytest.raises(BomboError, match="fix: pip install supervision"):
        make().to_supervision()


def test_supervision_gets_the_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=lambda **parts: parts))
    result = make()
    parts = result.to_supervision()
    assert parts["xyxy"] is result.boxes
    assert parts["confidence"] is result.scores
    assert parts["class_id"] is result.labels
    assert parts["data"]["class_name"].tolist() == ["cat", "dog", "cat"]
    assert make(**NOTHING).to_supervision()["data"]["class_name"].shape == (0,)
