from __future__ import annotations

import gc
import json
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bombo.conversion.annotated import AnnotatedImage, AnnotatedObject
from bombo.conversion.losses import Losses
from bombo.conversion.placing import left_in, linked
from bombo.conversion.to_coco import write_coco
from bombo.conversion.to_folder import write_folder
from bombo.conversion.to_voc import whole_pixels, write_voc
from bombo.conversion.to_yolo import ultralytics_yaml, write_yolo
from bombo.data.data_file import load_data_file, read_split
from bombo.data.label_space import LabelSpace
from bombo.data.sample import BoxAnnotation

SPACE = LabelSpace(("cat", "dog"), ("grass",))
WIDTH, HEIGHT = 1000, 700


def _voc(images: Iterator[AnnotatedImage], root: Path) -> dict[str, str]:
    write_voc(images, SPACE, root, "all")
    return {"format": "voc"}


def _coco(images: Iterator[AnnotatedImage], root: Path) -> dict[str, str]:
    write_coco(images, SPACE, root / "all.json", left_in(root))
    return {"format": "coco", "annotations": "all.json", "images": "."}


def _yolo(images: Iterator[AnnotatedImage], root: Path) -> dict[str, str]:
    write_yolo(images, SPACE, root, "all")
    (root / "data.yaml").write_text(ultralytics_yaml(root, {"train": ["all"]}, SPACE, masks=False))
    return {"format": "yolo"}


WRITERS = {"voc": _voc, "coco": _coco, "yolo": _yolo}


def written_and_read(
    write: Callable[[Iterator[AnnotatedImage], Path], dict[str, str]], *objects: AnnotatedObject
) -> BoxAnnotation:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        Image.new("L", (WIDTH, HEIGHT)).save(root / "a.png")
        entry = write(iter([AnnotatedImage(root / "a.png", (HEIGHT, WIDTH), "a", objects, None)]), root)
        file = root / "bombo.yaml"
        file.write_text(json.dumps({"classes": ["cat", "dog"], "train": [{**entry, "root": ".", "use": "boxes"}]}))
        (record,) = read_split(load_data_file(file), "train", SPACE).records
        assert record.boxes is not None
        return record.boxes


def boxes(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[list[AnnotatedObject]]:
    def build(x: list[float], y: list[float], label: int, difficult: bool) -> AnnotatedObject:
        (x1, x2), (y1, y2) = sorted(x), sorted(y)
        return AnnotatedObject(label, (x1 * WIDTH, y1 * HEIGHT, x2 * WIDTH, y2 * HEIGHT), difficult=difficult)

    sides = st.lists(numbers, min_size=2, max_size=2).filter(lambda pair: abs(pair[0] - pair[1]) >= 1e-3)
    return st.lists(st.builds(build, sides, sides, st.integers(0, 1), st.booleans()), max_size=4)


@pytest.mark.parametrize("write", [_coco, _yolo])
@settings(max_examples=15, deadline=None)
@given(boxes(st.floats(0, 1)))
def test_boxes_of_any_size_come_back(write: Callable[..., dict[str, str]], objects: list[AnnotatedObject]) -> None:
    found = written_and_read(write, *objects)
    assert found.labels.tolist() == [item.label for item in objects]
    assert found.boxes == pytest.approx(np.array([item.box for item in objects]).reshape(-1, 4), abs=1e-3)
    assert found.difficult.tolist() == [item.difficult and write is _coco for item in objects]


@settings(max_examples=25, deadline=None)
@given(boxes(st.integers(0, 100).map(lambda number: number / 100)))
def test_boxes_of_whole_pixels_come_back_from_voc(objects: list[AnnotatedObject]) -> None:
    found = written_and_read(_voc, *objects)
    assert found.boxes.tolist() == [[round(edge) for edge in item.box] for item in objects]
    assert found.difficult.tolist() == [item.difficult for item in objects]


@given(st.tuples(*[st.floats(0, 10)] * 4).filter(lambda box: box[0] < box[2] and box[1] < box[3]))
def test_rounded_boxes_are_near_and_never_empty(box: tuple[float, float, float, float]) -> None:
    x1, y1, x2, y2 = whole_pixels(box, (10, 10))
    assert 0 <= x1 < x2 <= 10
    assert 0 <= y1 < y2 <= 10
    assert np.abs(np.subtract((x1, y1, x2, y2), box)).max() <= 1
    if min(box[2] - box[0], box[3] - box[1]) >= 1:
        assert np.abs(np.subtract((x1, y1, x2, y2), box)).max() <= 0.5


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("kind", ["png", "gif"])
def test_no_image_is_written_over_another(
    tmp_path: Path, links: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(self: Path, target: Path) -> None:
        raise PermissionError

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    for name, shade in (("a.png", 50), (f"b.{kind}", 200)):
        Image.new("L", (8, 8), shade).save(tmp_path / name)
    before = (tmp_path / "a.png").read_bytes()
    place = linked(tmp_path / "out", (".png",), Losses())
    assert place(AnnotatedImage(tmp_path / "a.png", (8, 8), "one", None, None)) == "one.png"
    with pytest.raises(FileExistsError):
        place(AnnotatedImage(tmp_path / f"b.{kind}", (8, 8), "one", None, None))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "out/one.png").read_bytes() == before


@pytest.mark.parametrize("name", [*WRITERS, "folder"])
def test_one_image_is_held_at_a_time(tmp_path: Path, name: str) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    alive = weakref.WeakSet[AnnotatedImage]()
    objects, mask = (AnnotatedObject(0, (0, 0, 4, 4)),), np.full((8, 8), 255, np.uint8)
    most = 0

    def images() -> Iterator[AnnotatedImage]:
        nonlocal most
        for number in range(6):
            image = AnnotatedImage(tmp_path / "a.png", (8, 8), f"a{number}", objects, mask)
            alive.add(image)
            gc.collect()
            most = max(most, len(alive))
            yield image

    if name == "folder":
        write_folder(images(), tmp_path / "out", "all")
    else:
        (tmp_path / "out").mkdir()
        WRITERS[name](images(), tmp_path / "out")
    assert most <= 2


def test_what_a_mask_says_beyond_the_objects(tmp_path: Path) -> None:
    mask = np.zeros((4, 6), np.uint8)
    mask[0, :2], mask[2], mask[3, :2], mask[3, 5] = 1, 3, 255, 2
    losses = Losses()
    image = AnnotatedImage(tmp_path / "a.png", (4, 6), "a", (AnnotatedObject(0, (0, 0, 2, 1), score=0.5),), mask)
    write_coco([image], SPACE, tmp_path / "all.json", left_in(tmp_path), losses)
    content = json.loads((tmp_path / "all.json").read_text())
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    said = [
        (names[item["category_id"]], item["bbox"], item["area"], item["iscrowd"], item.get("score"))
        for item in content["annotations"]
    ]
    assert said == [
        ("cat", [0, 0, 2, 1], 2, 0, 0.5),
        ("grass", [0, 2, 6, 1], 6, 0, None),
        ("void", [0, 3, 6, 1], 3, 1, None),  # also the dog's pixel: the image has no dog
    ]
    assert losses.voided == 1
    assert content["images"] == [{"id": 1, "file_name": "a.png", "height": 4, "width": 6}]


def test_without_void_there_is_no_such_class(tmp_path: Path) -> None:
    write_coco([], SPACE, tmp_path / "all.json", left_in(tmp_path))
    assert json.loads((tmp_path / "all.json").read_text()) == {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "grass"}],
    }


def test_polygon_rows_are_what_ultralytics_reads(tmp_path: Path) -> None:
    Image.new("L", (10, 20)).save(tmp_path / "a.png")
    square = np.array([0, 0, 4.0, 0, 4, 4, 0, 4])
    apart = np.array([8, 12, 6.0, 10, 8, 10])
    objects = (
        AnnotatedObject(1, (0, 0, 4, 4), [square]),
        AnnotatedObject(0, (0, 0, 8, 12), [square, apart]),
        AnnotatedObject(0, (1, 1, 2, 2)),
        AnnotatedObject(0, (0, 0, 9, 9), crowd=True),
    )
    losses = Losses()
    write_yolo([AnnotatedImage(tmp_path / "a.png", (20, 10), "a", objects, None)], SPACE, tmp_path, "all", losses)
    rows = [row.split() for row in (tmp_path / "labels/all/a.txt").read_text().splitlines()]
    assert rows[0] == ["1", "0", "0", "0.4", "0", "0.4", "0.2", "0", "0.2"]
    joined = np.array(rows[1][1:], float).reshape(-1, 2) * (10, 20)
    assert joined.tolist() == [[0, 0], [4, 0], [4, 4], [6, 10], [8, 10], [8, 12], [6, 10], [4, 4], [0, 4]]
    assert rows[2] == ["0", "0.15", "0.075", "0.1", "0.05"]
    assert len(rows) == 3
    assert losses.num_dropped == 1
    assert any("Ultralytics then drops the polygons" in what for what in losses.changed)


def test_instances_of_voc(tmp_path: Path) -> None:
    Image.new("L", (4, 2)).save(tmp_path / "a.png")
    whole, corner = np.ones((2, 4), bool), np.zeros((2, 4), bool)
    corner[0, 0] = True
    mask = np.array([[2, 1, 1, 255], [1, 1, 1, 255]], np.uint8)
    objects = (AnnotatedObject(1, (0, 0, 1, 1), corner), AnnotatedObject(0, (0, 0, 4, 2), whole))
    write_voc([AnnotatedImage(tmp_path / "a.png", (2, 4), "a", objects, mask)], SPACE, tmp_path / "kit", "all")
    with Image.open(tmp_path / "kit/SegmentationObject/a.png") as image:
        assert np.asarray(image).tolist() == [[1, 2, 2, 0], [2, 2, 2, 0]]  # void is no object
    assert (tmp_path / "kit/ImageSets/Segmentation/all.txt").read_text() == "a\n"
    assert "grass:128,128,0::" in (tmp_path / "kit/labelmap.txt").read_text().splitlines()
