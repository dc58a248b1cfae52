from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bombo.data import yolo
from bombo.data.label_space import LabelSpace
from bombo.data.sample import Problems, Record
from bombo.data.sources import YoloSource
from bombo.errors import ConfigError, DataError

PETS = LabelSpace(("cat", "dog"))
SQUARE = "0 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("images/train", "labels/train", "masks/train"):
        (tmp_path / folder).mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(tmp_path / "images/train/a.jpg")
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [dog, cat, cow]\n")
    (tmp_path / "labels/train/a.txt").write_text(SQUARE + "\n")
    return tmp_path


def read(root: Path, problems: Problems | None = None, space: LabelSpace = PETS, **options: Any) -> list[Record]:
    source = YoloSource.model_validate({"format": "yolo", "root": root, "use": "boxes", **options})
    found = problems or Problems()
    records = yolo.read(source, space, found, "train")
    if problems is None and found.errors:
        raise found.errors[0]
    return records


@pytest.mark.parametrize(
    ("rows", "boxes", "labels", "areas"),
    [
        pytest.param("1 0.5 0.5 0.5 0.4", [[5, 3, 15, 7]], [0], [40], id="box"),
        pytest.param(SQUARE, [[2, 2, 10, 6]], [1], [32], id="polygon"),
        pytest.param("0 0 0 1 0 0 1", [[0, 0, 20, 10]], [1], [100], id="triangle: extent and area differ"),
        pytest.param("1 0.95 0.5 0.1006 0.4", [[18, 3, 20, 7]], [0], [8], id="a little outside"),
        pytest.param("2 0.5 0.5 0.5 0.4\n\n1 0.5 0.5 0.5 0.4\n", [[5, 3, 15, 7]], [0], [40], id="class not chosen"),
        pytest.param("", np.zeros((0, 4)), [], [], id="empty: annotated, nothing there"),
    ],
)
def test_boxes(root: Path, rows: str, boxes: Any, labels: list[int], areas: list[float]) -> None:
    (root / "labels/train/a.txt").write_text(rows)
    (record,) = read(root)
    assert record.boxes is not None
    np.testing.assert_allclose(record.boxes.boxes, boxes, atol=0.02)
    np.testing.assert_allclose(record.boxes.areas, areas, atol=0.1)
    assert record.boxes.labels.tolist() == labels
    assert (record.mask, record.size) == (None, (10, 20))


@given(
    x=st.floats(0, 0.9),
    y=st.floats(0, 0.9),
    w=st.floats(0.01, 1),
    h=st.floats(0.01, 1),
    size=st.sampled_from([(7, 30), (64, 48)]),
)
def test_a_box_row_and_its_polygon_row_say_the_same(
    x: float, y: float, w: float, h: float, size: tuple[int, int]
) -> None:
    w, h = min(w, 1 - x), min(h, 1 - y)
    box = yolo._extent(np.array([x + w / 2, y + h / 2, w, h]), size)
    polygon = np.array([x, y, x + w, y, x + w, y + h, x, y + h])
    np.testing.assert_allclose(box, yolo._extent(polygon, size), atol=1e-9)
    assert yolo._polygon_area(polygon, size) == pytest.approx(w * h * size[0] * size[1])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param("0 0.5 0.5 0.5", "4 columns", id="too few"),
        pytest.param("0 0.5 0.5 0.5 0.5 0.9", "6 columns", id="a confidence at the end"),
        pytest.param("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "8 columns", id="odd coordinates"),
        pytest.param("cat 0.5 0.5 0.5 0.5", "no numbers", id="a name"),
        pytest.param("3 0.5 0.5 0.5 0.5", "classes are 0 to 2", id="class out of range"),
        pytest.param("-1 0.5 0.5 0.5 0.5", "no class index", id="negative class"),
        pytest.param("0.5 0.5 0.5 0.5 0.5", "no class index", id="fractional class"),
        pytest.param("0 1.01 0.5 0.5 0.5", "normalised", id="outside"),
        pytest.param("0 nan 0.5 0.5 0.5", "normalised", id="not a number"),
        pytest.param("0 0.5 0.5 0 0.5", "no area", id="no width"),
        pytest.param("0 0.5 0.5 0.5 0.5 0.5 0.5", "no area", id="polygon is a point"),
    ],
)
def test_bad_rows_name_file_and_line(root: Path, row: str, message: str) -> None:
    (root / "labels/train/a.txt").write_text(f"{SQUARE}\n{row}\n")
    with pytest.raises(DataError, match=message) as caught:
        read(root)
    assert caught.value.where == f"{root}/labels/train/a.txt, line 2"
    assert caught.value.fix


@pytest.mark.parametrize("use", ["boxes", "masks", "both"])
def test_a_missing_label_file_is_never_an_empty_image(root: Path, use: str) -> None:
    (root / "labels/train/a.txt").unlink()
    with pytest.raises(DataError, match="label file is missing") as caught:
        read(root, use=use)
    assert "create an empty .txt" in caught.value.fix


def test_polygons_become_a_mask_the_smallest_on_top(root: Path) -> None:
    (root / "labels/train/a.txt").write_text("1 0.2 0.3 0.3 0.3 0.3 0.5 0.2 0.5\n" + SQUARE)
    (record,) = read(root, use="both")
    assert record.kind == "both"
    assert record.mask is not None
    expected = np.zeros((10, 20), np.uint8)
    expected[2:6, 2:10] = 2
    expected[3:5, 4:6] = 1
    np.testing.assert_array_equal(record.mask.load((10, 20)), expected)
    (root / "labels/train/a.txt").write_text("1 0.5 0.5 0.5 0.4")
    with pytest.raises(DataError, match="a box is no mask"):
        read(root, use="both")


def test_masks_dir(root: Path) -> None:
    (root / "data.yaml").write_text("train: images/train\nmasks_dir: masks\nnames: {0: background, 1: dog, 4: cat}\n")
    pixels = np.zeros((10, 20), np.uint8)
    pixels[0, :3] = 1, 4, 255
    Image.fromarray(pixels).save(root / "masks/train/a.png")
    (root / "labels/train/a.txt").write_text("garbage")  # with `use: masks` nobody may look
    (record,) = read(root, use="masks")
    assert record.boxes is None
    assert record.mask is not None
    assert record.mask.load((10, 20))[0, :4].tolist() == [2, 1, 255, 0]
    pixels[0, 0] = 2
    Image.fromarray(pixels).save(root / "masks/train/a.png")
    with pytest.raises(DataError, match=r"value 2 \(1 px\)"):
        record.mask.load((10, 20))
    (root / "masks/train/a.png").write_text("garbage")
    (root / "labels/train/a.txt").write_text("1 0.5 0.5 0.5 0.4")
    assert read(root, use="boxes")[0].mask is None
    (root / "masks/train/a.png").unlink()
    with pytest.raises(DataError, match="mask is missing"):
        read(root, use="both")


def test_first_class_is_mask_value_zero(root: Path) -> None:
    (root / "data.yaml").write_text("train: images/train\nmasks_dir: masks\nnames: [dog, cat]\n")
    Image.fromarray(np.zeros((10, 20), np.uint8)).save(root / "masks/train/a.png")
    mask = read(root, use="masks")[0].mask
    assert mask is not None
    assert (mask.load((10, 20)) == 2).all()


@pytest.mark.parametrize(
    ("yaml", "files"),
    [
        pytest.param("train: images/train", {}, id="folder"),
        pytest.param("train: images", {}, id="folder above"),
        pytest.param("train: ../images/train", {}, id="as Roboflow writes it"),
        pytest.param("path: coco8\ntrain: images/train", {}, id="path in Ultralytics' own data folder"),
        pytest.param("path: .\ntrain: [images/train]", {}, id="list of folders"),
        pytest.param("train: t.txt", {"t.txt": "./images/train/a.jpg\n"}, id="text list, from its own folder"),
        pytest.param("train: lists/t.txt", {"lists/t.txt": "images/train/a.jpg\n"}, id="text list, from the root"),
        pytest.param(
            "train: lists/t.txt", {"lists/t.txt": "../images/train/a.jpg\n"}, id="text list, relative to itself"
        ),
    ],
)
def test_where_images_are_named(root: Path, yaml: str, files: dict[str, str]) -> None:
    (root / "data.yaml").write_text(f"{yaml}\nnames: [dog, cat]\n")
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    assert [record.name for record in read(root)] == ["a"]


def test_split_and_list(root: Path) -> None:
    (root / "data.yaml").write_text("train: nowhere\nval: images/train\nnames: [dog, cat]\n")
    assert len(read(root, split="val")) == 1
    (root / "part.txt").write_text("images/train/a.jpg\nimages/train/b.jpg\n")
    problems = Problems()
    assert len(read(root, problems, list="part.txt")) == 1
    assert len(problems.errors) == 1
    with pytest.raises(DataError, match="nowhere does not exist"):
        read(root)
    with pytest.raises(ConfigError, match="no `test`"):
        read(root, split="test")


@pytest.mark.parametrize("written", ["a.jpg", "train/a.jpg", "images/train/a.jpg"])
def test_a_list_of_ones_own_may_say_names_only(root: Path, written: str) -> None:
    (root / "data.yaml").write_text("train: [nowhere, images, images/train]\nnames: [dog, cat]\n")
    (root / "part.txt").write_text(f"{written}\n")
    assert [record.name for record in read(root, list="part.txt")] == ["a"]


def test_a_name_is_looked_for_among_the_images_of_its_own_list_first(root: Path) -> None:
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [dog, cat, cow]\n")
    for folder in ("images", "labels"):
        shutil.copytree(root / folder / "train", root / folder / "val")
    (root / "part.txt").write_text("a.jpg\n")
    for split in ("train", "val"):
        (record,) = read(root, list="part.txt", split=split)
        assert record.image == root / "images" / split / "a.jpg"


@pytest.mark.parametrize("names", ["", "names: 3", "names: {a: cat}", "names: []"])
def test_bad_names(root: Path, names: str) -> None:
    (root / "data.yaml").write_text(f"train: images/train\n{names}\n")
    with pytest.raises(ConfigError, match="`names` is missing"):
        read(root)
