from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from bombo.data import coco
from bombo.data.label_space import LabelSpace
from bombo.data.sample import Problems, Record
from bombo.data.sources import CocoSource
from bombo.errors import DataError

PETS = LabelSpace(("cat", "dog"))
SQUARE = [[1, 1, 5, 1, 5, 5, 1, 5]]


def an_annotation(number: int = 1, **changes: Any) -> dict[str, Any]:
    whole = {"id": number, "image_id": 0, "category_id": 0, "bbox": [1, 1, 4, 4], "iscrowd": 0, "segmentation": SQUARE}
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


@pytest.fixture
def content() -> dict[str, Any]:
    sizes = {"width": 10, "height": 8}
    return {
        "images": [{"id": 0, "file_name": "a.jpg", **sizes}, {"id": 7, "file_name": "b.jpg", **sizes}],
        "categories": [{"id": 0, "name": "dog"}, {"id": 90, "name": "cat"}, {"id": 3, "name": "cow"}],
        "annotations": [an_annotation()],
    }


def read(
    root: Path, content: dict[str, Any], problems: Problems | None = None, space: LabelSpace = PETS, **options: Any
) -> list[Record]:
    (root / "images").mkdir(exist_ok=True)
    for name in ("a", "b"):
        Image.new("RGB", (10, 8)).save(root / f"images/{name}.jpg")
    (root / "instances.json").write_text(json.dumps(content))
    source = CocoSource.model_validate(
        {"format": "coco", "root": root, "annotations": "instances.json", "use": "both", **options}
    )
    found = problems or Problems()
    records = coco.read(source, space, found)
    if problems is None and found.errors:
        raise found.errors[0]
    return records


def test_boxes(tmp_path: Path, content: dict[str, Any]) -> None:
    content["annotations"] = [
        an_annotation(1, bbox=[1, 2, 4.5, 3], area=7.5),
        an_annotation(2, category_id=90, bbox=[8, 6, 5, 5], iscrowd=1),
        an_annotation(3, category_id=3),
    ]
    first, second = read(tmp_path, content, use="boxes")
    assert first.boxes is not None
    np.testing.assert_allclose(first.boxes.boxes, [[1, 2, 5.5, 5], [8, 6, 10, 8]])
    assert first.boxes.labels.tolist() == [1, 0]
    assert first.boxes.crowd.tolist() == [False, True]
    assert first.boxes.areas.tolist() == [7.5, 4]
    assert (first.mask, first.size, first.name) == (None, (8, 10), "a")
    assert second.boxes is not None
    assert len(second.boxes) == 0


def test_image_without_annotations_is_all_background(tmp_path: Path, content: dict[str, Any]) -> None:
    record = read(tmp_path, content, use="masks")[1]
    assert record.boxes is None
    assert record.mask is not None
    assert not record.mask.load((8, 10)).any()


def test_the_smallest_object_is_on_top_and_crowds_lie_below_all(tmp_path: Path, content: dict[str, Any]) -> None:
    large, small = [[0, 0, 6, 0, 6, 6, 0, 6]], [[2, 2, 4, 2, 4, 4, 2, 4]]
    crowd = {"size": [8, 10], "counts": [0, 8 * 3, 8 * 7]}  # columns 0 to 2, smaller than the dog above it
    outside = {"size": [8, 10], "counts": [8 * 9, 8]}
    content["annotations"] = [
        an_annotation(1, category_id=90, segmentation=small),
        an_annotation(2, category_id=0, segmentation=large),
        an_annotation(3, category_id=0, segmentation=crowd, iscrowd=1),
        an_annotation(4, category_id=3, segmentation=outside),
    ]
    expected = np.zeros((8, 10), np.uint8)
    expected[:, :3] = 255
    expected[:6, :6] = 2
    expected[2:4, 2:4] = 1
    record = read(tmp_path, content)[0]
    assert record.mask is not None
    np.testing.assert_array_equal(record.mask.load((8, 10)), expected)
    record = read(tmp_path, content, space=LabelSpace(("cat", "dog"), others="void"))[0]
    assert record.mask is not None
    expected[:, 9] = 255
    np.testing.assert_array_equal(record.mask.load((8, 10)), expected)
    with pytest.raises(DataError, match="10 x 8 pixels, the file has 8 x 10"):
        record.mask.load((10, 8))


def test_compressed_rle_and_several_polygons(tmp_path: Path, content: dict[str, Any]) -> None:
    region = np.zeros((8, 10), np.uint8, order="F")
    region[5:, 7:] = 1
    rle = coco_mask.encode(region)
    polygons = [[0, 0, 2, 0, 2, 2, 0, 2], [4, 0, 6, 0, 6, 2, 4, 2]]
    content["annotations"] = [
        an_annotation(1, segmentation={"size": [8, 10], "counts": rle["counts"].decode()}),
        an_annotation(2, segmentation=polygons, category_id=90),
    ]
    mask = read(tmp_path, content)[0].mask
    assert mask is not None
    expected = region * 2
    expected[:2, [0, 1, 4, 5]] = 1
    np.testing.assert_array_equal(mask.load((8, 10)), expected)


def edit(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["annotations"][0].__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "message", "where"),
    [
        pytest.param(edit("image_id", 5), "no image with id 5", "annotation 1", id="unknown image"),
        pytest.param(edit("category_id", 1), "no category with id 1", "annotation 1", id="unknown category"),
        pytest.param(edit("category_id", [1]), "no category", "annotation 1", id="category is a list"),
        pytest.param(edit("bbox", None), "bbox is None", "annotation 1", id="no box"),
        pytest.param(edit("bbox", [1, 2, 3]), "four numbers", "annotation 1", id="three numbers"),
        pytest.param(edit("bbox", [1, 2, "3", 4]), "four numbers", "annotation 1", id="text"),
        pytest.param(edit("bbox", [1, 2, math.nan, 4]), "finite", "annotation 1", id="not a number"),
        pytest.param(edit("bbox", [1, 2, 0, 4]), "no area", "annotation 1", id="no width"),
        pytest.param(edit("bbox", [11, 2, 3, 4]), "outside", "annotation 1", id="outside"),
        pytest.param(edit("segmentation", []), "would become background", "annotation 1", id="no segmentation"),
        pytest.param(edit("segmentation", [[1, 2, 3, 4]]), "polygon", "annotation 1", id="two points"),
        pytest.param(edit("segmentation", [[1, 2, 3, 4, 5]]), "polygon", "annotation 1", id="odd count"),
        pytest.param(edit("segmentation", [[1, 2, 3, 4, 5, math.inf]]), "polygon", "annotation 1", id="infinite"),
        pytest.param(edit("segmentation", [[]]), "polygon", "annotation 1", id="empty polygon"),
        pytest.param(edit("segmentation", [1, 2, 3, 4, 5, 6]), "polygon", "annotation 1", id="flat polygon"),
        pytest.param(edit("segmentation", "x"), "polygon", "annotation 1", id="text polygon"),
        pytest.param(
            edit("segmentation", {"size": [10, 8], "counts": [80]}), "RLE size", "annotation 1", id="RLE size"
        ),
        pytest.param(edit("segmentation", {"size": [8, 10], "counts": [79]}), "add up", "annotation 1", id="RLE sum"),
        pytest.param(
            edit("segmentation", {"size": [8, 10], "counts": [90, -10]}), "add up", "annotation 1", id="negative RLE"
        ),
        pytest.param(lambda c: c["images"][1].update(id=0), "image id 0 stands twice", "json", id="image twice"),
        pytest.param(lambda c: c["categories"][1].update(id=0), "category id 0 stands", "json", id="category twice"),
        pytest.param(lambda c: c["images"][0].pop("height"), "no image size", "image id 0", id="no height"),
        pytest.param(lambda c: c["images"][0].update(file_name="z.jpg"), "image is missing", "z.jpg", id="no file"),
        pytest.param(lambda c: c["images"][0].pop("file_name"), "file_name is None", "image id 0", id="no file name"),
        pytest.param(lambda c: c["images"][0].pop("id"), "`id` of an image", "json", id="no id"),
        pytest.param(lambda c: c.pop("categories"), "`categories` is missing", "json", id="no categories"),
        pytest.param(lambda c: c.update(images=[3]), "no list of entries", "json", id="entry is no mapping"),
    ],
)
def test_bad_content_names_file_and_annotation(
    tmp_path: Path, content: dict[str, Any], change: Callable[[dict[str, Any]], None], message: str, where: str
) -> None:
    change(content)
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, content)
    assert caught.value.where.endswith(where)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("folder", "annotations", "images"),
    [
        pytest.param("", "instances.json", ".", id="root"),
        pytest.param("train", "train/instances.json", "train", id="the JSON's folder"),
        pytest.param("images/default", "annotations/instances_default.json", "images/default", id="a subset"),
        pytest.param("val2017", "annotations/instances_val2017.json", "val2017", id="a subset under root"),
    ],
)
def test_images_elsewhere_are_found_for_the_message(
    tmp_path: Path, content: dict[str, Any], folder: str, annotations: str, images: str
) -> None:
    for place in ("images", "annotations", folder):
        (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / "train").mkdir(exist_ok=True)
    Image.new("RGB", (10, 8)).save(tmp_path / folder / "a.jpg")
    (tmp_path / annotations).write_text(json.dumps(content))
    source = CocoSource.model_validate({"format": "coco", "root": tmp_path, "annotations": annotations, "use": "boxes"})
    found, lost = Problems(), Problems()
    assert not coco.read(source, PETS, found)
    there, nowhere = found.errors
    assert there.fix == f"the JSON's names start at {tmp_path / folder}: write `images: {images}`"
    assert nowhere.fix is not None
    assert "restore it" in nowhere.fix
    mended = source.model_copy(update={"images": tmp_path / images})
    assert [record.image for record in coco.read(mended, PETS, lost)] == [tmp_path / folder / "a.jpg"]


def test_broken_json_names_the_line(tmp_path: Path, content: dict[str, Any]) -> None:
    read(tmp_path, content)
    (tmp_path / "instances.json").write_text('{"images":\n [,]}')
    source = CocoSource.model_validate(
        {"format": "coco", "root": tmp_path, "annotations": "instances.json", "use": "boxes"}
    )
    with pytest.raises(DataError, match=r"instances\.json, line 2"):
        coco.class_names(source)


def test_garbage_compressed_rle_is_a_data_error(tmp_path: Path, content: dict[str, Any]) -> None:
    content["annotations"] = [an_annotation(segmentation={"size": [8, 10], "counts": "oooooo9999"})]
    mask = read(tmp_path, content)[0].mask
    assert mask is not None
    with pytest.raises(DataError, match="cannot be decoded") as caught:
        mask.load((8, 10))
    assert caught.value.where.endswith("annotation 1")


def test_what_is_not_used_is_not_checked(tmp_path: Path, content: dict[str, Any]) -> None:
    content["annotations"] = [an_annotation(segmentation="garbage")]
    assert read(tmp_path, content, use="boxes")[0].kind == "boxes"
    content["annotations"] = [an_annotation(bbox="garbage")]
    assert read(tmp_path, content, use="masks")[0].kind == "masks"


def test_a_list_takes_a_part(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / "part.txt").write_text("b.jpg\n")
    assert [record.name for record in read(tmp_path, content, list="part.txt")] == ["b"]
    (tmp_path / "part.txt").write_text("b.jpg\nc.jpg\n")
    problems = Problems()
    assert len(read(tmp_path, content, problems, list="part.txt")) == 1
    assert [error.where for error in problems.errors] == [f"{tmp_path}/part.txt, line 2"]


def test_coco_mini_against_pycocotools(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shared_data / "coco_mini"
    source = CocoSource.model_validate({"format": "coco", "root": root, "annotations": "instances.json", "use": "both"})
    space = LabelSpace(tuple(sorted(coco.class_names(source))))  # another order than the file's
    problems = Problems()
    records = coco.read(source, space, problems)
    oracle = COCO(str(root / "instances.json"))
    capsys.readouterr()
    names = {number: category["name"] for number, category in oracle.cats.items()}
    assert (len(records), problems.errors) == (129, [])
    assert sum(len(record.boxes) for record in records if record.boxes is not None) == len(oracle.anns) == 918
    for record, (number, image) in zip(records, oracle.imgs.items(), strict=True):
        items = oracle.imgToAnns[number]
        assert record.boxes is not None
        assert record.mask is not None
        xywh = np.array([item["bbox"] for item in items], np.float64).reshape(-1, 4)
        limits = [image["width"], image["height"]] * 2
        np.testing.assert_allclose(
            record.boxes.boxes, np.clip(np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]), 0, limits), rtol=1e-6
        )
        assert [space.names[label] for label in record.boxes.labels] == [names[item["category_id"]] for item in items]
        assert record.boxes.crowd.tolist() == [bool(item["iscrowd"]) for item in items]
        expected = np.zeros(record.size, np.uint8)
        objects = [(item["iscrowd"], oracle.annToMask(item), item) for item in items]
        for crowd, region, item in sorted(objects, key=lambda o: (-o[0], -int(o[1].sum()))):
            expected[region == 1] = 255 if crowd else space.names.index(names[item["category_id"]]) + 1
        assert record.size is not None
        np.testing.assert_array_equal(record.mask.load(record.size), expected, err_msg=record.name)
