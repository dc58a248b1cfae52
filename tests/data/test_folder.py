from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bombo.data import folder
from bombo.data.label_space import LabelSpace
from bombo.data.sample import Problems, Record
from bombo.data.sources import FolderSource
from bombo.errors import DataError

PETS = LabelSpace(("cat", "dog"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (6, 4)).save(tmp_path / "images/a.jpg")
    write_mask(tmp_path, [0])
    return tmp_path


def write_mask(root: Path, values: Any) -> None:
    first_row = np.array(values, np.uint8)
    pixels = np.zeros((4, 6, *first_row.shape[1:]), np.uint8)
    pixels[0, : len(first_row)] = first_row
    Image.fromarray(pixels).save(root / "masks/a.png")


def read(root: Path, problems: Problems | None = None, space: LabelSpace = PETS, **options: Any) -> list[Record]:
    source = FolderSource.model_validate({"format": "folder", "root": root, "use": "masks", **options})
    found = problems or Problems()
    records = folder.read(source, space, found)
    if problems is None and found.errors:
        raise found.errors[0]
    return records


def load(root: Path, **options: Any) -> np.ndarray:
    (record,) = read(root, **options)
    assert record.boxes is None
    assert record.mask is not None
    return record.mask.load((4, 6))


COLOURS = {"dog": [9, 0, 0], "cat": [0, 9, 0], "void": [1, 1, 1]}


@pytest.mark.parametrize(
    ("stored", "options", "expected"),
    [
        pytest.param([1, 2, 255, 0], {"names": ["dog", "cat"]}, [2, 1, 255, 0], id="list"),
        pytest.param([7, 9, 3, 255], {"names": {7: "cat", 9: "dog", 3: "void"}}, [1, 2, 255, 255], id="mapping"),
        pytest.param([0, 1], {"names": {0: "cat", 1: "background"}}, [1, 0], id="0 is a class"),
        pytest.param([255, 0, 255], {"names": {255: "cat"}}, [1, 0, 1], id="binary, mapped"),
        pytest.param([255, 0], {"names": {1: "cat", 255: "void"}}, [255, 0], id="void, said so"),
        pytest.param([1, 255, 0], {"names": ["cat"]}, [1, 255, 0], id="one class with void"),
        pytest.param([[9, 0, 0], [0, 9, 0], [1, 1, 1], [0, 0, 0]], {"colours": COLOURS}, [2, 1, 255, 0], id="colours"),
        pytest.param(
            [[0, 0, 0], [5, 5, 5]],
            {"colours": {"dog": [0, 0, 0], "background": [5, 5, 5]}},
            [2, 0],
            id="black is a class",
        ),
    ],
)
def test_masks(root: Path, stored: Any, options: dict[str, Any], expected: list[int]) -> None:
    write_mask(root, stored)
    assert load(root, **options)[0, : len(expected)].tolist() == expected


@pytest.mark.parametrize(
    ("stored", "options", "message", "fix"),
    [
        pytest.param([3, 3, 4], {"names": ["cat", "dog"]}, r"value 3, 4 \(3 px\) is no class", "names:", id="no class"),
        pytest.param([255], {"names": ["cat"]}, "255 means void", "names: {255: cat}", id="binary"),
        pytest.param([[9, 0, 0]], {"names": ["cat"]}, "RGB colours, values were expected", "colours:", id="colours"),
        pytest.param([1], {"colours": COLOURS}, "holds values", "names:", id="values"),
        pytest.param(
            [[9, 9, 0]], {"colours": COLOURS}, r"colour \[9, 9, 0\] \(1 px\)", "colours:", id="unknown colour"
        ),
        pytest.param([[255, 255, 255]], {"colours": COLOURS}, "colour", "colours:", id="colour beyond the last"),
    ],
)
def test_bad_masks(root: Path, stored: Any, options: dict[str, Any], message: str, fix: str) -> None:
    write_mask(root, stored)
    with pytest.raises(DataError, match=message) as caught:
        load(root, **options)
    assert fix in caught.value.fix
    assert caught.value.where == f"{root}/masks/a.png"


def test_pairing(root: Path) -> None:
    for name in ("b.png", "c.png"):
        Image.new("RGB", (6, 4)).save(root / "images" / name)
    Image.new("L", (6, 4)).save(root / "masks/c.bmp")
    (root / "images/Thumbs.db").write_text("no image")
    problems = Problems()
    records = read(root, problems, names=["cat"])
    assert [record.name for record in records] == ["a", "c"]
    assert [(error.where, "no mask b.png" in error.message) for error in problems.errors] == [
        (f"{root}/images/b.png", True)
    ]
    (root / "part.txt").write_text("c.png\na\nx\n")
    problems = Problems()
    assert [record.name for record in read(root, problems, names=["cat"], list="part.txt")] == ["c", "a"]
    assert [error.where for error in problems.errors] == [f"{root}/part.txt, line 3"]


def test_two_images_of_one_name(root: Path) -> None:
    Image.new("RGB", (6, 4)).save(root / "images/a.png")
    with pytest.raises(DataError, match="but for its suffix"):
        read(root, names=["cat"])


def test_empty_folder(root: Path) -> None:
    (root / "images/a.jpg").unlink()
    with pytest.raises(DataError, match="no images"):
        read(root, names=["cat"])
