from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bombo.data.data_file import DataFile, label_space, load_data_file, read_split
from bombo.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four sources that all know cats, each under another number, each with an image called `a`."""
    for folder in ("voc/JPEGImages", "voc/Annotations", "voc/ImageSets/Main", "voc/ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("coco/images", "yolo/images", "yolo/labels", "folder/images", "folder/masks"):
        (tmp_path / folder).mkdir(parents=True)
    for image in ("voc/JPEGImages", "coco/images", "yolo/images", "folder/images"):
        Image.new("RGB", (10, 8)).save(tmp_path / image / "a.jpg")
    box = "<name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
    size = "<size><width>10</width><height>8</height></size>"
    (tmp_path / "voc/Annotations/a.xml").write_text(f"<annotation>{size}<object>{box}</object></annotation>")
    for subset in ("Main", "Segmentation"):
        (tmp_path / f"voc/ImageSets/{subset}/train.txt").write_text("a\n")
    (tmp_path / "voc/ImageSets/Main/trainval.txt").write_text("a\n")
    instances = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 10, "height": 8}],
        "categories": [{"id": 5, "name": "sofa"}, {"id": 17, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 17, "bbox": [1, 1, 4, 4]}],
    }
    (tmp_path / "coco/instances.json").write_text(json.dumps(instances))
    (tmp_path / "yolo/data.yaml").write_text("train: images\nnames: [grass, cat]\n")
    (tmp_path / "yolo/labels/a.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    Image.fromarray(np.full((8, 10), 2, np.uint8)).save(tmp_path / "folder/masks/a.png")
    return tmp_path


SOURCES = {
    "voc": "{format: voc, root: voc, list: trainval, use: boxes, names: [cat, dog]}",
    "coco": "{format: coco, root: coco, annotations: instances.json, use: boxes}",
    "yolo": "{format: yolo, root: yolo, use: boxes}",
    "folder": "{format: folder, root: folder, use: masks, names: [grass, cat]}",
}
ALL = "train:\n" + "".join(f"  - {source}\n" for source in SOURCES.values())


def load(root: Path, text: str) -> DataFile:
    (root / "pets.yaml").write_text(text)
    return load_data_file(root / "pets.yaml")


FOLDERS = {
    "check": ["check", "."],
    "train": ["train", "--data", "."],
    "split": ["split", ".", "--out", "new"],
    "a configuration": ["train", "--data", "pets.yaml", "--config", "."],
    "a ladder": ["ablate", "--data", "pets.yaml", "--ladder", "."],
}


@pytest.mark.parametrize("words", FOLDERS.values(), ids=FOLDERS)
def test_a_folder_is_no_file(words: list[str], bombo_command: Any) -> None:
    ended = bombo_command(*words)
    assert ended.code == 2
    assert ended.err.startswith("bombo: .: is a folder, where a YAML file is expected\n  fix: give the file;")


def test_sources_meet_by_name(root: Path) -> None:
    data = load(root, "classes: [dog, cat]\nstuff: [grass]\n" + ALL)
    space = label_space(data)
    assert (space.things, space.stuff) == (("dog", "cat"), ("grass",))
    records = read_split(data, "train", space).records
    assert [record.kind for record in records] == ["boxes", "boxes", "boxes", "masks"]
    assert [record.name for record in records] == ["0-a", "1-a", "2-a", "3-a"]
    for record in records[:3]:
        assert record.boxes is not None
        assert record.boxes.labels.tolist() == [1]
    assert records[3].mask is not None
    assert (records[3].mask.load((8, 10)) == 2).all()
    assert data.path == root / "pets.yaml"


def test_all_classes_in_the_order_of_the_sources(root: Path) -> None:
    assert label_space(load(root, ALL)).names == ("cat", "dog", "sofa", "grass")
    data = load(root, "others: void\nclasses: [cat]\n" + ALL)
    assert label_space(data).others == "void"


def test_background_and_void_are_no_classes(root: Path) -> None:
    source = "{format: folder, root: folder, use: masks, names: {0: background, 2: cat, 3: void}}"
    assert label_space(load(root, f"train: [{source}]")).names == ("cat",)


def test_skip_bad_leaves_out_and_lists(root: Path) -> None:
    data = load(root, ALL)
    (root / "voc/Annotations/a.xml").unlink()
    (root / "yolo/labels/a.txt").write_text("1 2 3\n")
    with pytest.raises(DataError, match="2 of 4 images") as caught:
        read_split(data, "train", label_space(data))
    assert "voc/Annotations/a.xml" in str(caught.value)
    assert "yolo/labels/a.txt, line 1" in str(caught.value)
    read = read_split(data, "train", label_space(data), skip_bad=True)
    assert [record.name for record in read.records] == ["1-a", "3-a"]
    assert len(read.problems) == 2


def test_nothing_left_is_an_error_even_with_skip_bad(root: Path) -> None:
    data = load(root, f"train: [{SOURCES['voc']}]")
    (root / "voc/Annotations/a.xml").unlink()
    with pytest.raises(DataError, match="1 of 1 images"):
        read_split(data, "train", label_space(data), skip_bad=True)


def test_a_json_named_twice_is_parsed_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(root, f"train:\n- {SOURCES['coco']}\n- {SOURCES['coco']}\n")
    parsed: list[str] = []
    real = json.loads
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(text) or real(text))
    space = label_space(data)
    records = read_split(data, "train", space).records
    assert len(parsed) == 1
    assert [record.name for record in records] == ["0-a", "1-a"]
    read_split(data, "train", space)
    assert len(parsed) == 2  # it was not kept in memory longer than needed


def test_names_are_distinct_within_a_source_too(root: Path) -> None:
    data = load(root, f"train: [{SOURCES['yolo']}]")
    for folder in ("one", "two"):
        for kind, name in (("images", "a.jpg"), ("labels", "a.txt")):
            (root / "yolo" / kind / folder).mkdir()
            (root / "yolo" / kind / folder / name).write_bytes((root / "yolo" / kind / name).read_bytes())
    records = read_split(data, "train", label_space(data)).records
    assert [record.name for record in records] == ["0-a", "0-a-2", "0-a-3"]
    assert len(pickle.dumps(records)) < 10_000  # data-loading workers receive them


HEAD = "train:\n  - format: voc\n    root: voc\n"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        pytest.param(
            HEAD + "    use: mask\n",
            "line 4, train[0].use",
            "`use: mask` is not one of boxes, masks, both. Did you mean `masks`?",
            id="wrong value",
        ),
        pytest.param(HEAD, "line 2, train[0]", "`use` is missing: say which annotation", id="no use"),
        pytest.param(HEAD + "    use: boxes\n    lst: x\n", "line 5, train[0].lst", "Did you mean `list`?", id="key"),
        pytest.param(ALL + "vla: []\n", "line 6, vla", "key `vla` is unknown. Did you mean `val`?", id="key on top"),
        pytest.param("train: []\n", "line 1, train", "at least one entry", id="empty list"),
        pytest.param("val: []\n", "pets.yaml", "`train` is missing", id="no train"),
        pytest.param("train:\n  format: voc\n", "line 1, train", "must be a list", id="no dash"),
        pytest.param("train:\n  - root: voc\n", "line 2, train[0]", "`format` is missing", id="no format"),
        pytest.param("train:\n- format: coc\n", "line 2, train[0]", "Did you mean `coco`?", id="wrong format"),
        pytest.param("train:\n- format: voc\n  use: boxes\n", "line 2, train[0]", "`root` is missing", id="no root"),
        pytest.param(
            "train:\n- use: boxes\n  format: voc\n  root: vic\n", "line 4, train[0].root", "no folder", id="wrong root"
        ),
        pytest.param(
            HEAD + "    use: boxes\n    list: trainvla\n",
            "line 5, train[0].list",
            "Did you mean `trainval`?",
            id="list",
        ),
        pytest.param(HEAD + "    use: boxes\n    list: train\n", "line 5, train[0].list", "Main/train", id="two lists"),
        pytest.param(
            "train:\n- format: folder\n  root: folder\n  names: [a]\n  use: boxes\n",
            "line 5, train[0].use",
            "holds no boxes",
            id="boxes of a folder",
        ),
        pytest.param(
            "train:\n- {format: folder, root: folder, use: masks}\n",
            "line 2, train[0]",
            "`names` for values",
            id="no names",
        ),
        pytest.param(
            "train:\n- {format: folder, root: folder, use: masks, names: [a], masks: msk}\n",
            "line 2, train[0].masks",
            "msk does not exist",
            id="no masks folder",
        ),
        pytest.param(
            "train:\n- {format: coco, root: coco, use: boxes}\n",
            "line 2, train[0]",
            "`annotations` is missing",
            id="no JSON",
        ),
        pytest.param(
            "train:\n- {format: folder, root: folder, use: masks, names: {300: a}}\n",
            "line 2, train[0].names",
            "less than or equal to 255",
            id="value of nine bits",
        ),
        pytest.param("others: nothing\n" + ALL, "line 1, others", "is not one of background, void", id="others"),
        pytest.param(
            "classes: [1]\n" + ALL, "line 1, classes[0]", "`classes: 1`: input should be a valid string", id="no name"
        ),
        pytest.param(ALL + ALL, "line 6", "for the second time", id="key twice"),
        pytest.param("train: [\n", "line 2", "not valid YAML", id="no YAML"),
        pytest.param("- a\n", "pets.yaml", "no YAML mapping", id="a list"),
        pytest.param("", "pets.yaml", "no YAML mapping", id="empty file"),
    ],
)
def test_mistakes_are_named_with_their_line(root: Path, text: str, where: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load(root, text)
    assert caught.value.where.endswith(where)
    assert caught.value.where.startswith(str(root / "pets.yaml"))


def test_several_mistakes_are_all_named(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)train\[0\].use: .*also: .*train\[0\].lst"):
        load(root, HEAD + "    use: mask\n    lst: x\n")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing"):
        load_data_file(tmp_path / "pets.yaml")


def test_unknown_class_and_missing_split(root: Path) -> None:
    data = load(root, "classes:\n  [cat, dgo]\n" + ALL)
    with pytest.raises(ConfigError, match=r"pets.yaml, line 1, classes: .*Did you mean `dog`"):
        label_space(data)
    with pytest.raises(ConfigError, match="no sources for `val`"):
        read_split(data, "val", label_space(load(root, ALL)))


def test_list_with_its_folder(root: Path) -> None:
    for name in ("Main/train", "ImageSets/Segmentation/train.txt", "mine.txt"):
        (root / "mine.txt").write_text("a\n")
        data = load(root, HEAD + f"    use: boxes\n    list: {name}\n")
        assert len(read_split(data, "train", label_space(data)).records) == 1


def test_ultralytics_file_is_answered_with_the_lines_to_write(root: Path) -> None:
    with pytest.raises(ConfigError, match="description of Ultralytics") as caught:
        load_data_file(root / "yolo/data.yaml")
    lines = caught.value.fix.split(":\n", 1)[1]
    (root / "yolo/bombo.yaml").write_text(lines)
    data = load_data_file(root / "yolo/bombo.yaml")
    assert len(read_split(data, "train", label_space(data)).records) == 1
