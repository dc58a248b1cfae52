from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from bombo.data import writers
from bombo.data.yaml_file import YamlFile
from bombo.engine.convert import convert
from bombo.errors import DataError

Command = Callable[..., Any]
Content = Callable[[Path], dict[str, Any]]
FORMATS = ("voc", "coco", "yolo", "folder")


class TestRecognising:
    @pytest.mark.parametrize(
        ("path", "what"),
        [
            ("voc", "VOC devkit"),
            ("coco/train.json", "COCO instances"),
            ("coco", "COCO instances"),
            ("yolo", "YOLO data set"),
            ("yolo/data.yaml", "YOLO data set"),
            ("voc.yaml", "data file"),
        ],
    )
    def test_data_sets_are_known_by_their_content(
        self, sources: dict[str, Path], tmp_path: Path, path: str, what: str, content: Content
    ) -> None:
        src = sources["voc"].parent / path
        result = convert(src, tmp_path / "out", to="voc")
        assert result.source.startswith(f"{what} {src}")
        read_back = content(tmp_path / "out/data.yaml")
        whole = content(sources[src.parts[len(sources["voc"].parent.parts)].removesuffix(".yaml")])
        assert {name: boxes for name, (boxes, _) in read_back.items()} == {
            name: boxes for name, (boxes, _) in whole.items() if name in read_back
        }
        assert len(read_back) == (2 if path.endswith(".json") else 4)

    def test_folders_of_masks_need_names(
        self, sources: dict[str, Path], tmp_path: Path, bombo_command: Command, content: Content
    ) -> None:
        folder = sources["voc"].parent / "folder"
        ended = bombo_command("convert", folder, tmp_path / "out", to="yolo")
        assert ended.code == 2
        assert "--names cat,dog" in ended.err
        names = ",".join((*writers.THINGS, *writers.STUFF))
        assert bombo_command("convert", folder, tmp_path / "out", to="yolo", names=names).code == 0
        expected = {name: mask for name, (_, mask) in content(sources["folder"]).items()}
        assert {name: mask for name, (_, mask) in content(tmp_path / "out/bombo.yaml").items()} == expected

    def test_an_object_mask_of_0_and_255(self, tmp_path: Path, content: Content, write_masks: Command) -> None:
        write_masks(tmp_path / "in", a=[(5, 5, 15, 25, 255)])
        (tmp_path / "in/masks.yaml").unlink()
        result = convert(tmp_path / "in", tmp_path / "out", to="voc", names="255=cat", boxes_from_masks=True)
        assert result.objects["out"] == 1
        assert content(tmp_path / "out/data.yaml")["a"][0] == [("cat", [5.0, 5.0, 15.0, 25.0], False, False)]

    def test_a_devkit_with_masks_for_some_images(self, sources: dict[str, Path], tmp_path: Path) -> None:
        devkit = tmp_path / "VOC"
        shutil.copytree(sources["voc"].parent / "voc", devkit)
        (devkit / "SegmentationClass/train_00000.png").unlink()
        (devkit / "Annotations/val_00000.xml").unlink()
        result = convert(devkit, tmp_path / "out", to="coco")
        assert result.images == {"boxes": 1, "masks": 1, "both": 2, "out": 4}
        (devkit / "SegmentationClass/val_00000.png").unlink()
        with pytest.raises(DataError, match="file is missing"):
            convert(devkit, tmp_path / "again", to="coco")

    def test_polygons_and_boxes_in_one_file(self, tmp_path: Path) -> None:
        root = tmp_path / "mixed"
        for folder in ("images", "labels"):
            (root / folder).mkdir(parents=True)
        rows = {
            "a": "0 0.1 0.1 0.5 0.1 0.5 0.5\n",
            "b": "0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.5 0.5 0.2 0.2\n",
            "c": "",
        }
        for name, text in rows.items():
            Image.new("RGB", (40, 20)).save(root / f"images/{name}.png")
            (root / f"labels/{name}.txt").write_text(text)
        (root / "data.yaml").write_text("train: images\nnames: [cat, dog]\n")
        result = convert(root, tmp_path / "out", to="coco")
        assert result.images == {"boxes": 1, "masks": 0, "both": 2, "out": 3}
        made = json.loads((tmp_path / "out/annotations/instances_train_boxes.json").read_text())["annotations"]
        assert made[0]["segmentation"] == [pytest.approx([4, 2, 20, 2, 20, 10])]
        assert (made[1]["segmentation"], made[1]["bbox"]) == ([], pytest.approx([16, 8, 8, 4]))
        again = convert(tmp_path / "out/data.yaml", tmp_path / "again", to="yolo")
        assert again.objects["out"] == 3

    def test_box_rows_alone_say_nothing_about_masks(self, sources: dict[str, Path], tmp_path: Path) -> None:
        root = tmp_path / "boxes"
        shutil.copytree(sources["yolo"].parent / "yolo", root)
        shutil.rmtree(root / "masks")
        description = YamlFile(root / "data.yaml").content
        description = {key: value for key, value in description.items() if key not in ("path", "masks_dir")}
        (root / "data.yaml").write_text(yaml.safe_dump(description))
        assert convert(root, tmp_path / "out", to="voc").images == {"boxes": 4, "masks": 0, "both": 0, "out": 4}

    def test_images_of_one_name_in_two_lists(self, sources: dict[str, Path], tmp_path: Path, content: Content) -> None:
        file = tmp_path / "twice.yaml"
        entry = f"- {{format: voc, root: {sources['voc'].parent / 'voc'}, list: val, use: both}}"
        file.write_text(f"train:\n  {entry}\nval:\n  {entry}\n")
        for to in FORMATS:
            convert(file, tmp_path / to, to=to)
            assert set(content(tmp_path / to)) == {*("val_00000", "val_00001", "val-val_00000", "val-val_00001")}

    def test_images_no_reader_of_the_format_knows(self, tmp_path: Path, content: Content, write_masks: Command) -> None:
        file = write_masks(tmp_path / "in", a=[(5, 5, 15, 25, 1)])
        Image.new("RGB", (80, 60), "red").save(tmp_path / "in/images/a.gif")
        (tmp_path / "in/images/a.png").unlink()
        result = convert(file, tmp_path / "out", to="voc")
        assert list(result.losses.changed) == ["images saved as PNG, since readers of this format know no .gif"]
        with Image.open(tmp_path / "out/JPEGImages/a.png") as image:
            assert (image.format, image.getpixel((0, 0))) == ("PNG", (255, 0, 0))
        assert "a" in content(tmp_path / "out/data.yaml")
