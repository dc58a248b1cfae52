from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from bombo.conversion.recognise import recognise
from bombo.data.data_file import read_split
from bombo.data.label_space import LabelSpace
from bombo.engine import convert as engine
from bombo.engine.convert import convert
from bombo.errors import BomboError, ConfigError

Command = Callable[..., Any]
Content = Callable[[Path], dict[str, Any]]
WIDTH, HEIGHT = 40, 24
NOTHING = coco_mask.encode(np.zeros((HEIGHT, WIDTH), np.uint8, order="F"))


def square(x: int, y: int, side: int, **said: Any) -> dict[str, Any]:
    outline = [x, y, x + side, y, x + side, y + side, x, y + side]
    return {"category_id": 1, "bbox": [x, y, side, side], "segmentation": [outline], "iscrowd": 0, **said}


def write_coco(file: Path, images: dict[str, list[dict[str, Any]]], names: tuple[str, ...] = ("cat", "dog")) -> Path:
    content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    content["categories"] = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    for number, (name, items) in enumerate(images.items(), start=1):
        path = file.parent / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(path)
        content["images"].append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for item in items:
            content["annotations"].append({"id": len(content["annotations"]) + 1, "image_id": number, **item})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def lists(file: Path) -> dict[str, Any]:
    content = yaml.safe_load(file.read_text())
    return {split: content[split] for split in ("train", "val", "test") if split in content}


def cat(*box: float) -> tuple[str, list[float], bool, bool]:
    return ("cat", list(box), False, False)


def test_lists_of_one_yolo_yaml_say_masks_alike(tmp_path: Path, content: Content) -> None:
    write_coco(tmp_path / "in/train.json", {"a.png": [square(2, 2, 8), square(20, 4, 8, iscrowd=1)]})
    write_coco(tmp_path / "in/val.json", {"b.png": [square(2, 2, 8)]})
    convert(tmp_path / "in", tmp_path / "out", to="yolo")
    found = content(tmp_path / "out")
    assert {name: boxes for name, (boxes, _) in found.items()} == {"a": [cat(2, 2, 10, 10)], "b": [cat(2, 2, 10, 10)]}
    assert [row.count("cat") for row in found["b"][1]] == [0] * 2 + [8] * 8 + [0] * 14


class TestLists:
    @pytest.mark.parametrize(
        ("there", "split", "written"),
        [
            pytest.param(("val", "test"), None, {"train": "val", "test": "test"}, id="none to train on"),
            pytest.param(("train", "val"), "val", {"train": "val"}, id="one of two"),
        ],
    )
    def test_an_image_is_in_one_list_only(
        self, tmp_path: Path, there: tuple[str, ...], split: str | None, written: dict[str, str]
    ) -> None:
        for name in there:
            write_coco(tmp_path / f"in/{name}.json", {f"{name}.png": [square(2, 2, 8)]})
        result = convert(tmp_path / "in", tmp_path / "out", to="coco", split=split)
        assert {key: [entry["annotations"] for entry in own] for key, own in lists(result.data).items()} == {
            key: [f"annotations/instances_{name}.json"] for key, name in written.items()
        }
        assert result.images["out"] == len(written)
        assert "list now stands under `train`" in result.describe()

    def test_a_yolo_yaml_without_train(self, sources: dict[str, Path], tmp_path: Path) -> None:
        root = tmp_path / "yolo"
        shutil.copytree(sources["yolo"].parent / "yolo", root)
        description = yaml.safe_load((root / "data.yaml").read_text())
        (root / "data.yaml").write_text(yaml.safe_dump({k: v for k, v in description.items() if k != "train"}))
        assert convert(root, tmp_path / "out", to="coco").images["out"] == 2

    def test_a_list_that_is_not_there(self, tmp_path: Path, bombo_command: Command) -> None:
        file = write_coco(tmp_path / "a.json", {"a.png": []})
        ended = bombo_command("convert", file, tmp_path / "out", "--to", "voc", "--split", "val")
        assert ended.code == 2
        assert "there are no sources for `val`" in ended.err
        assert "choose one of train" in ended.err
        with pytest.raises(ConfigError, match="no sources for `val`"):
            read_split(recognise(file, None, None).data, "val", LabelSpace(("cat", "dog")))

    @pytest.mark.parametrize("target", ["out", "out.json"])
    def test_no_images(self, tmp_path: Path, bombo_command: Command, target: str) -> None:
        file = write_coco(tmp_path / "a.json", {})
        ended = bombo_command("convert", file, tmp_path / target, "--to", "coco")
        assert ended.code == 2
        assert "there are no images" in ended.err
        assert list(tmp_path.iterdir()) == [file]


class TestWhatBomboReads:
    @pytest.mark.parametrize(
        "segmentation",
        [
            pytest.param({"size": [HEIGHT, WIDTH], "counts": NOTHING["counts"].decode()}, id="no pixel"),
            pytest.param([[20, 4, 30, 4, 25, 4]], id="a line"),
            pytest.param([[50, 4, 60, 4, 55, 9]], id="beside the image"),
        ],
    )
    def test_outlines_no_row_can_say(self, tmp_path: Path, content: Content, segmentation: Any) -> None:
        items = [square(2, 2, 8), square(20, 4, 8, segmentation=segmentation)]
        file = write_coco(tmp_path / "a.json", {"a.png": items})
        result = convert(file, tmp_path / "out", to="yolo")
        assert "1 outlines without a pixel, written as boxes" in result.describe()
        boxes, mask = content(tmp_path / "out")["a"]
        assert boxes == [cat(2, 2, 10, 10), cat(20, 4, 28, 12)]
        assert sum(row.count("cat") for row in mask) == 64

    @pytest.mark.parametrize("name", ["a:b", "#dog", " cat", "cat "])
    def test_classes_voc_cannot_name(self, tmp_path: Path, bombo_command: Command, name: str) -> None:
        file = write_coco(tmp_path / "a.json", {"a.png": [square(2, 2, 8)]}, (name, "cow"))
        ended = bombo_command("convert", file, tmp_path / "out", "--to", "voc")
        assert ended.code == 2
        assert f"VOC cannot name a class {name!r}" in ended.err
        assert not (tmp_path / "out").exists()

    def test_image_names_lists_cannot_say(self, tmp_path: Path, content: Content) -> None:
        devkit = tmp_path / "VOC"
        for folder in ("JPEGImages/sub", "Annotations/sub"):
            (devkit / folder).mkdir(parents=True)
        (devkit / "all.txt").write_text("sub/a\nsub-a\n")
        for name in ("sub/a", "sub-a"):
            Image.new("RGB", (WIDTH, HEIGHT)).save(devkit / f"JPEGImages/{name}.png")
            size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
            (devkit / f"Annotations/{name}.xml").write_text(f"<annotation>{size}</annotation>")
        (tmp_path / "data.yaml").write_text("train: [{format: voc, root: VOC, list: ../all.txt, use: boxes}]\n")
        shutil.move(devkit / "all.txt", tmp_path / "all.txt")
        convert(tmp_path / "data.yaml", tmp_path / "out", to="voc")
        assert set(content(tmp_path / "out")) == {"sub-a", "train-sub-a"}
        file = write_coco(tmp_path / "a.json", {" a b .png": []})
        convert(file, tmp_path / "again", to="voc")
        assert set(content(tmp_path / "again")) == {"a b"}

    def test_what_does_not_read_back_is_not_kept(self, tmp_path: Path) -> None:
        file = write_coco(tmp_path / "in/a.json", {"a\nb.png": []})  # two lines of a list
        with pytest.raises(BomboError, match="does not read back as it was written, so nothing is kept"):
            convert(file, tmp_path / "out", to="voc")
        assert [path.name for path in tmp_path.iterdir()] == ["in"]

    @pytest.mark.parametrize("target", ["out", "out.json"])
    def test_what_is_missing_is_noticed(self, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
        file = write_coco(tmp_path / "in/a.json", {"a.png": [square(2, 2, 8)]})
        write = engine.write_part

        def forgetful(to: Any, images: Any, *rest: Any) -> None:
            write(to, (type(image)(image.image, image.size, image.name, (), None) for image in images), *rest)

        monkeypatch.setattr(engine, "write_part", forgetful)
        with pytest.raises(BomboError, match="1 images with 1 boxes went in, 1 with 0 came out"):
            convert(file, tmp_path / target, to="coco")
        assert [path.name for path in tmp_path.iterdir()] == ["in"]


class TestLosses:
    @pytest.mark.parametrize(
        ("item", "to", "told"),
        [
            pytest.param(square(2, 2, 8, score=0.5), "coco", "1 `score` of annotations not carried over", id="score"),
            pytest.param(square(2, 2, 8, area=7), "voc", "1 `area` of objects not carried over", id="area"),
            pytest.param(square(2, 2, 8, area=7), "yolo", "1 `area` of objects not carried over", id="area of rows"),
            pytest.param(square(2, 2, 8), "voc", "2 polygons written as pixels", id="polygons"),
            pytest.param(square(4, 4, 2), "voc", "1 outlines in part below another object", id="hidden"),
            pytest.param(
                square(2, 2, 8, category_id=2, segmentation=[]), "coco", "1 boxes of stuff, of void", id="void"
            ),
        ],
    )
    def test_each_is_named(self, tmp_path: Path, item: dict[str, Any], to: Any, told: str) -> None:
        file = write_coco(tmp_path / "a.json", {"a.png": [square(2, 2, 8), item]}, ("cat", "ignore"))
        result = convert(file, tmp_path / "out", to=to)
        assert told in result.describe()
        assert result.objects["in"] == 2

    def test_what_voc_says_of_its_objects(self, tmp_path: Path) -> None:
        for folder in ("JPEGImages", "Annotations"):
            (tmp_path / "VOC" / folder).mkdir(parents=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "VOC/JPEGImages/a.png")
        said = {(1, 1): "<truncated>1</truncated>", (5, 5): "<truncated>0</truncated>"}  # as the boxes say, too
        said |= {(4, 4): "<truncated>1</truncated><actions><jumping>1</jumping></actions>", (3, 3): ""}
        objects = [
            f"<object><name>cat</name>{more}<bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>9</xmax><ymax>9</ymax>"
            "</bndbox></object>"
            for (x, y), more in said.items()
        ]
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
        (tmp_path / "VOC/Annotations/a.xml").write_text(f"<annotation>{size}{''.join(objects)}</annotation>")
        result = convert(tmp_path / "VOC", tmp_path / "out", to="voc")
        assert {what: note.count for what, note in result.losses.changed.items()} == {
            "`actions` of objects not carried over": 1,
            "`truncated` of objects not carried over: a box at the image's edge says it": 1,
        }


class TestOptions:
    @pytest.mark.parametrize(
        ("words", "told"),
        [
            pytest.param(["{voc.yaml}", "--names", "cat"], "leave --names out", id="names, data file"),
            pytest.param(["{voc.yaml}", "--images", "."], "leave --images out", id="images, data file"),
            pytest.param(["{coco/train.json}", "--names", "cat"], "leave --names out", id="names, coco"),
            pytest.param(["{voc}", "--images", "."], "leave --images out", id="images, voc"),
            pytest.param(
                ["{coco/train.json}", "--images", "/nowhere"], ": /nowhere does not exist", id="no such folder"
            ),
            pytest.param(["{folder}", "--names", "1=cat,1=dog"], "says a class or a value twice", id="one value"),
            pytest.param(["{folder}", "--names", "cat,cat"], "says a class or a value twice", id="one class"),
        ],
    )
    def test_slips_are_told(
        self, sources: dict[str, Path], tmp_path: Path, bombo_command: Command, words: list[str], told: str
    ) -> None:
        src, *options = words
        ended = bombo_command("convert", sources["voc"].parent / src[1:-1], tmp_path / "out", "--to", "voc", *options)
        assert ended.code == 2
        assert told in ended.err
        assert "Value error" not in ended.err

    def test_a_link_to_an_empty_folder_is_filled(self, tmp_path: Path, content: Content) -> None:
        file = write_coco(tmp_path / "a.json", {"a.png": []})
        (tmp_path / "real").mkdir()
        (tmp_path / "out").symlink_to(tmp_path / "real")
        convert(file, tmp_path / "out", to="yolo")
        assert (tmp_path / "out").is_symlink()
        assert set(content(tmp_path / "real")) == {"a"}

    def test_a_copied_yolo_data_set_reads_its_own_images(self, tmp_path: Path) -> None:
        file = write_coco(tmp_path / "a.json", {"a.png": []})
        convert(file, tmp_path / "out", to="yolo")
        shutil.copytree(tmp_path / "out", tmp_path / "copy")
        data = recognise(tmp_path / "copy/bombo.yaml", None, None).data
        (record,) = read_split(data, "train", LabelSpace(("cat", "dog"))).records
        assert record.image == tmp_path / "copy/images/train/a.png"
