from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bombo.data.image_io import image_size
from bombo.engine.convert import convert

Command = Callable[..., Any]
Content = Callable[[Path], dict[str, Any]]


def lines(text: str) -> dict[str, str]:
    return {line[:10].strip(): line[10:] for line in text.splitlines() if line[:10].strip()}


class TestBoxesFromMasks:
    A = ((5, 5, 15, 25, 1), (30, 5, 40, 25, 1), (50, 30, 60, 50, 2), (70, 50, 74, 54, 1))
    B = ((5, 5, 75, 25, 1), (10, 40, 20, 50, 2))

    @pytest.mark.parametrize("to", ["voc", "coco", "yolo"])
    def test_one_box_for_each_component(
        self, tmp_path: Path, bombo_command: Command, to: str, content: Content, write_masks: Command
    ) -> None:
        file = write_masks(tmp_path / "in", a=self.A, b=self.B)
        ended = bombo_command("convert", file, tmp_path / "out", "--boxes-from-masks", to=to)
        assert "6 components of 2 masks → 5 boxes" in ended.out
        assert lines(ended.out)["dropped"].split() == ["1", "components", "under", "32", "px", "a"]
        assert "1 look like several objects that touch" in ended.out
        assert "b: cat, 1,400 px" in ended.out
        assert "--model RUN" in ended.out
        found = content(tmp_path / "out")
        names = ("cat", "dog")
        for name, listed in (("a", self.A[:3]), ("b", self.B)):
            boxes = sorted((names[v - 1], [float(e) for e in box], False, False) for *box, v in listed)
            assert found[name][0] == boxes
        small = {"coco": "void"}.get(to, "cat")  # COCO cannot say a pixel that is no object's
        assert found["a"][1][52][72] == small
        report = json.loads((tmp_path / "out/conversion.json").read_text())
        assert report["masks"]["void_out"] == (16 if small == "void" else 0)

    def test_into_one_json(
        self, tmp_path: Path, bombo_command: Command, content: Content, write_masks: Command
    ) -> None:
        file = write_masks(tmp_path / "in", a=self.A)
        out = tmp_path / "new/boxes.json"
        ended = bombo_command("convert", file, out, "--boxes-from-masks")
        assert ended.code == 0
        assert sorted(path.name for path in out.parent.iterdir()) == [
            "boxes.conversion.json",
            "boxes.json",
            "boxes.yaml",
        ]
        instances = json.loads(out.read_text())
        assert [item["bbox"] for item in instances["annotations"] if not item["iscrowd"]] == [
            [5, 5, 10, 20],
            [30, 5, 10, 20],
            [50, 30, 10, 20],
        ]
        assert content(out.with_suffix(".yaml"))["a"][0] == [
            ("cat", [5.0, 5.0, 15.0, 25.0], False, False),
            ("cat", [30.0, 5.0, 40.0, 25.0], False, False),
            ("dog", [50.0, 30.0, 60.0, 50.0], False, False),
        ]

    def test_a_network_may_split_them(self, world: Path, trained: Path, tmp_path: Path, bombo_command: Command) -> None:
        options = {"model": trained, "device": "cpu", "split": "train"}
        ended = bombo_command("convert", world, tmp_path / "out", "--boxes-from-masks", to="coco", **options)
        assert ended.code == 0
        assert "the network split " in ended.out
        report = json.loads((tmp_path / "out/conversion.json").read_text())
        written = json.loads((tmp_path / "out/annotations/instances_train_both.json").read_text())["annotations"]
        boxes = [item for item in written if not item["iscrowd"] and "score" in item]
        assert len(boxes) == report["objects"]["from_masks"] > 0
        assert all(0 < item["score"] <= 1 for item in boxes)
        plain = convert(world, tmp_path / "plain", to="coco", split="train", boxes_from_masks=True)
        assert plain.objects["components"] == report["objects"]["components"]
        assert "score" not in (tmp_path / "plain/annotations/instances_train_both.json").read_text()


class TestMasksFromBoxes:
    def boxes_only(self, sources: dict[str, Path], tmp_path: Path) -> Path:
        file = tmp_path / "boxes.yaml"
        folder = sources["voc"].parent
        file.write_text(f"train:\n  - {{format: voc, root: {folder / 'voc'}, list: val, use: boxes}}\n")
        return file

    def test_fill_is_the_boxes_the_smallest_on_top(
        self, sources: dict[str, Path], tmp_path: Path, content: Content
    ) -> None:
        file = self.boxes_only(sources, tmp_path)
        result = convert(file, tmp_path / "out", to="folder", masks_from_boxes="fill")
        assert (result.masks["from_boxes"], result.masks["out"], result.masks["void_out"]) == (2, 2, 0)
        for name, (boxes, _) in content(file).items():
            height, width = image_size(tmp_path / f"out/images/train/{name}.jpg")
            expected = np.full((height, width), "background", dtype=object)
            for label, (x1, y1, x2, y2), *_ in sorted(
                boxes or (), key=lambda item: -(item[1][2] - item[1][0]) * (item[1][3] - item[1][1])
            ):
                expected[int(y1) : int(y2), int(x1) : int(x2)] = label
            assert content(tmp_path / "out/data.yaml")[name][1] == expected.tolist()

    def test_where_two_disagree_is_void(
        self, sources: dict[str, Path], tmp_path: Path, bombo_command: Command, content: Content
    ) -> None:
        file = self.boxes_only(sources, tmp_path)
        ended = bombo_command("convert", file, tmp_path / "out", to="coco", masks_from_boxes="grabcut+ellipse")
        assert "2 made of boxes" in lines(ended.out)["masks"]
        assert "bombo derive" in ended.out
        before, after = content(file), content(tmp_path / "out/data.yaml")
        for name, (boxes, mask) in after.items():
            assert boxes == before[name][0]
            said = {value for row in mask or () for value in row}
            assert {"void", "background", *(label for label, *_ in boxes or ())} >= said > {"void", "background"}

    def test_outlines_that_are_known_are_kept(self, sources: dict[str, Path], tmp_path: Path, content: Content) -> None:
        instances = json.loads((sources["coco"].parent / "coco/val.json").read_text())
        first = next(item for item in instances["annotations"] if item["image_id"] == 2)
        for item in instances["annotations"]:
            if item is not first:
                item["segmentation"] = []
        (tmp_path / "a.json").write_text(json.dumps(instances))
        folder = sources["coco"].parent / "coco/images"
        convert(tmp_path / "a.json", tmp_path / "out", to="coco", images=folder, masks_from_boxes="fill")
        made = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())["annotations"]
        assert [item["segmentation"] for item in made if item["bbox"] == first["bbox"]] == [first["segmentation"]]
        assert all(item["segmentation"]["counts"] for item in made)
        assert content(tmp_path / "out/data.yaml")["val_00001"][1] is not None
